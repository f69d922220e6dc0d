//! Messages put together: small ones from parts, and large numbers of them straight into a buffer.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use crate::codec::message::delivery::{self, PartitionRuntime, Stamp};
use crate::codec::message::properties::{Header, Properties};
use crate::codec::message::view::Body;
use crate::codec::names::descriptor;
use crate::codec::value::{Map, Symbol, Value};
use crate::codec::write;

/// A message in parts, for requests and replies and for clients that send single events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessageBuilder {
    header: Option<Header>,
    message_annotations: Map,
    properties: Option<Properties>,
    application_properties: Map,
    body: Option<Body>,
}

impl MessageBuilder {
    /// A message without sections. Without a body it is written with the value null, since a message must have one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives it a header.
    #[must_use]
    pub fn header(mut self, header: Header) -> Self {
        self.header = Some(header);
        self
    }

    /// Gives it standard properties.
    #[must_use]
    pub fn properties(mut self, properties: Properties) -> Self {
        self.properties = Some(properties);
        self
    }

    /// Adds a message annotation.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.message_annotations.push(Symbol::new(name), value);
        self
    }

    /// Adds an application property.
    #[must_use]
    pub fn application_property(mut self, name: impl Into<ByteString>, value: impl Into<Value>) -> Self {
        self.application_properties.push(name.into(), value);
        self
    }

    /// Gives it a body of one data section.
    #[must_use]
    pub fn data(mut self, payload: impl Into<Bytes>) -> Self {
        self.body = Some(Body::Data(payload.into()));
        self
    }

    /// Gives it a body of one value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Value>) -> Self {
        self.body = Some(Body::Value(value.into()));
        self
    }

    /// Gives it any body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    /// The encoded message.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode_into(&mut out);
        out.freeze()
    }

    /// Appends the encoded message.
    pub fn encode_into(&self, out: &mut BytesMut) {
        if let Some(header) = &self.header {
            header.encode(out);
        }
        if !self.message_annotations.is_empty() {
            write::descriptor(out, descriptor::MESSAGE_ANNOTATIONS);
            write::map(out, &self.message_annotations);
        }
        if let Some(properties) = &self.properties {
            properties.encode(out);
        }
        if !self.application_properties.is_empty() {
            write::descriptor(out, descriptor::APPLICATION_PROPERTIES);
            write::map(out, &self.application_properties);
        }
        match &self.body {
            Some(Body::Data(payload)) => data(out, payload),
            Some(Body::Parts(parts)) => parts.iter().for_each(|part| data(out, part)),
            Some(Body::Value(value)) => {
                write::descriptor(out, descriptor::AMQP_VALUE);
                write::value(out, value);
            }
            Some(Body::Sequence(items)) => {
                write::descriptor(out, descriptor::AMQP_SEQUENCE);
                write::list(out, items);
            }
            None | Some(Body::None) => {
                write::descriptor(out, descriptor::AMQP_VALUE);
                write::null(out);
            }
        }
    }
}

/// Appends a data section.
pub(super) fn data(out: &mut BytesMut, payload: &[u8]) {
    match u8::try_from(payload.len()) {
        Ok(length) => out.extend_from_slice(&[0x00, 0x53, descriptor::DATA as u8, 0xa0, length]),
        Err(_) => {
            let [a, b, c, d] = (payload.len() as u32).to_be_bytes();
            out.extend_from_slice(&[0x00, 0x53, descriptor::DATA as u8, 0xb0, a, b, c, d]);
        }
    }
    out.extend_from_slice(payload);
}

/// Appends the sections of a message to a buffer, one call for each, with nothing in between: for messages that are made in
/// large numbers of parts that lie elsewhere. The calls have to come in the order of the methods below.
pub struct MessageWriter<'a> {
    out: &'a mut BytesMut,
}

impl<'a> MessageWriter<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut BytesMut) -> Self {
        Self { out }
    }

    /// The header.
    pub fn header(&mut self, header: &Header) -> &mut Self {
        header.encode(self.out);
        self
    }

    /// The state of the partition, as delivery annotations.
    pub fn runtime(&mut self, runtime: &PartitionRuntime<'_>) -> &mut Self {
        delivery::write_runtime(self.out, runtime);
        self
    }

    /// What the broker says about an event, as message annotations.
    pub fn stamp(&mut self, stamp: &Stamp<'_>) -> &mut Self {
        delivery::write_stamp(self.out, stamp, |_| {});
        self
    }

    /// The same, with more annotations behind.
    pub fn stamp_with(&mut self, stamp: &Stamp<'_>, more: impl FnOnce(&mut MapWriter<'_>)) -> &mut Self {
        delivery::write_stamp(self.out, stamp, more);
        self
    }

    /// Message annotations of one's own.
    pub fn message_annotations(&mut self, pairs: impl FnOnce(&mut MapWriter<'_>)) -> &mut Self {
        self.map(descriptor::MESSAGE_ANNOTATIONS, SYMBOLS, pairs);
        self
    }

    /// The standard properties.
    pub fn properties(&mut self, properties: &Properties) -> &mut Self {
        properties.encode(self.out);
        self
    }

    /// The producer's own properties.
    pub fn application_properties(&mut self, pairs: impl FnOnce(&mut MapWriter<'_>)) -> &mut Self {
        self.map(descriptor::APPLICATION_PROPERTIES, STRINGS, pairs);
        self
    }

    /// A data section.
    pub fn data(&mut self, payload: &[u8]) -> &mut Self {
        data(self.out, payload);
        self
    }

    /// A body that is one value.
    pub fn value(&mut self, value: &Value) -> &mut Self {
        write::descriptor(self.out, descriptor::AMQP_VALUE);
        write::value(self.out, value);
        self
    }

    fn map(&mut self, code: u64, names: KeyCodes, pairs: impl FnOnce(&mut MapWriter<'_>)) {
        write::descriptor(self.out, code);
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 9]);
        let mut writer = MapWriter { out: self.out, names, count: 0 };
        pairs(&mut writer);
        let count = writer.count;
        write::close_compound(self.out, start, 0xc1, 0xd1, count);
    }
}

/// The format codes of a map's keys: short and long.
type KeyCodes = (u8, u8);
const STRINGS: KeyCodes = (0xa1, 0xb1);
pub(super) const SYMBOLS: KeyCodes = (0xa3, 0xb3);

/// Appends pairs to a map.
pub struct MapWriter<'a> {
    out: &'a mut BytesMut,
    names: KeyCodes,
    /// Keys and values so far.
    count: usize,
}

impl<'a> MapWriter<'a> {
    pub(super) fn continuing(out: &'a mut BytesMut, names: KeyCodes) -> Self {
        Self { out, names, count: 0 }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Encoded pairs, as they are.
    pub(super) fn raw(&mut self, pairs: &[u8], count: usize) {
        self.out.extend_from_slice(pairs);
        self.count += count;
    }

    /// A string.
    pub fn string(&mut self, name: &str, text: &str) {
        write::string(self.key(name), text);
    }

    /// A binary.
    pub fn binary(&mut self, name: &str, bytes: &[u8]) {
        write::binary(self.key(name), bytes);
    }

    /// A boolean.
    pub fn boolean(&mut self, name: &str, truth: bool) {
        write::boolean(self.key(name), truth);
    }

    /// A signed integer of 32 bits.
    pub fn int(&mut self, name: &str, number: i32) {
        write::int(self.key(name), number);
    }

    /// A signed integer of 64 bits.
    pub fn long(&mut self, name: &str, number: i64) {
        write::long(self.key(name), number);
    }

    /// A floating-point number.
    pub fn double(&mut self, name: &str, number: f64) {
        write::fixed(self.key(name), 0x82, number.to_be_bytes());
    }

    /// A time, in milliseconds since 1970.
    pub fn timestamp(&mut self, name: &str, milliseconds: i64) {
        write::timestamp(self.key(name), milliseconds);
    }

    /// Null.
    pub fn null(&mut self, name: &str) {
        self.key(name).put_u8(0x40);
    }

    /// Any value.
    pub fn value(&mut self, name: &str, value: &Value) {
        write::value(self.key(name), value);
    }

    fn key(&mut self, name: &str) -> &mut BytesMut {
        self.count += 2;
        let (small, large) = self.names;
        write::variable(self.out, small, large, name.as_bytes());
        self.out
    }
}
