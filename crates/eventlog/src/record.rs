//! The record: one event as bytes.
//!
//! ```text
//! length u32 │ format u8 = 1 │ flags u8 │ key │ properties │ system properties │ body
//! length u32 │ format u8 = 2 │ flags u8 │ key │ lengths │ message │ properties │ system properties
//! ```
//!
//! `length` counts what follows it. The flags say which of key (1), properties (2) and system properties (4) are
//! there. Format 1 is an event without an encoded message; its body is the rest. In format 2 three varints say how long the parts
//! of the message are: what is before the body, the body, and what is behind it. Numbers are little-endian; a "varint" is
//! LEB128. See `docs/design/log-format.md`.

use std::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;
use tidegate_model::clock::Timestamp;
use tidegate_model::event::{EncodedMessage, EventData, Properties, PropertyValue};
use tidegate_model::ports::EventPlace;
use tidegate_model::position::SequenceNumber;

/// The format of an event without an encoded message.
const PLAIN: u8 = 1;

/// The format of an event with its encoded message.
const WITH_MESSAGE: u8 = 2;

/// The newest format that this version knows.
pub(crate) const NEWEST_FORMAT: u8 = WITH_MESSAGE;

const HAS_KEY: u8 = 1;
const HAS_PROPERTIES: u8 = 2;
const HAS_SYSTEM_PROPERTIES: u8 = 4;

const LENGTH_FIELD: usize = 4;

/// How many bytes [`encode`] writes for this event.
pub(crate) fn encoded_len(event: &EventData) -> usize {
    let key = event.partition_key.as_ref().map_or(0, |key| text_len(key.len()));
    let content = match event.message() {
        None => event.body.len(),
        Some(message) => parts_of(message).map(varint_len).iter().sum::<usize>() + message.len(),
    };
    LENGTH_FIELD
        + 2
        + key
        + properties_len(&event.properties)
        + properties_len(&event.system_properties)
        + content
}

/// How long a message is before its body, in it, and behind it.
fn parts_of(message: &EncodedMessage) -> [usize; 3] {
    let body = message.body_range();
    [body.start, body.len(), message.len() - body.end]
}

fn text_len(len: usize) -> usize {
    varint_len(len) + len
}

fn varint_len(value: usize) -> usize {
    (value.max(1).ilog2() / 7 + 1) as usize
}

fn properties_len(properties: &Properties) -> usize {
    if properties.is_empty() {
        return 0;
    }
    let entries: usize =
        properties.iter().map(|(name, value)| text_len(name.len()) + 1 + value_len(value)).sum();
    varint_len(properties.len()) + entries
}

fn value_len(value: &PropertyValue) -> usize {
    match value {
        PropertyValue::Null | PropertyValue::Bool(_) => 0,
        PropertyValue::Long(_) | PropertyValue::Double(_) | PropertyValue::Timestamp(_) => 8,
        PropertyValue::String(text) => text_len(text.len()),
        PropertyValue::Binary(bytes) => text_len(bytes.len()),
        PropertyValue::Uuid(_) => 16,
    }
}

/// Appends the record of an event whose [`encoded_len`] fits into 32 bits.
pub(crate) fn encode(event: &EventData, into: &mut Vec<u8>) {
    let start = into.len();
    into.extend_from_slice(&[0; LENGTH_FIELD]);
    let mut flags = 0;
    if event.partition_key.is_some() {
        flags |= HAS_KEY;
    }
    if !event.properties.is_empty() {
        flags |= HAS_PROPERTIES;
    }
    if !event.system_properties.is_empty() {
        flags |= HAS_SYSTEM_PROPERTIES;
    }
    let message = event.message();
    into.extend_from_slice(&[if message.is_some() { WITH_MESSAGE } else { PLAIN }, flags]);
    if let Some(key) = &event.partition_key {
        put_bytes(into, key.as_bytes());
    }
    if let Some(message) = message {
        parts_of(message).into_iter().for_each(|len| put_varint(into, len));
        into.extend_from_slice(message.bytes());
    }
    put_properties(into, &event.properties);
    put_properties(into, &event.system_properties);
    if message.is_none() {
        into.extend_from_slice(&event.body);
    }
    let length =
        u32::try_from(into.len() - start - LENGTH_FIELD).expect("the caller checked the encoded length");
    into[start..start + LENGTH_FIELD].copy_from_slice(&length.to_le_bytes());
}

fn put_varint(into: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(into, bytes.len());
    into.extend_from_slice(bytes);
}

fn put_properties(into: &mut Vec<u8>, properties: &Properties) {
    if properties.is_empty() {
        return;
    }
    put_varint(into, properties.len());
    for (name, value) in properties.iter() {
        put_bytes(into, name.as_bytes());
        match value {
            PropertyValue::Null => into.push(0),
            PropertyValue::Bool(false) => into.push(1),
            PropertyValue::Bool(true) => into.push(2),
            PropertyValue::Long(number) => {
                into.push(3);
                into.extend_from_slice(&number.to_le_bytes());
            }
            PropertyValue::Double(number) => {
                into.push(4);
                into.extend_from_slice(&number.to_le_bytes());
            }
            PropertyValue::String(text) => {
                into.push(5);
                put_bytes(into, text.as_bytes());
            }
            PropertyValue::Timestamp(time) => {
                into.push(6);
                into.extend_from_slice(&time.as_millis().to_le_bytes());
            }
            PropertyValue::Binary(bytes) => {
                into.push(7);
                put_bytes(into, bytes);
            }
            PropertyValue::Uuid(uuid) => {
                into.push(8);
                into.extend_from_slice(uuid.as_bytes());
            }
        }
    }
}

/// Bytes that are no record, although their checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordProblem {
    #[error("a record ends before its content does")]
    Short,
    #[error("a record goes on behind its content")]
    Long,
    #[error("a record has format {0}, which a newer version wrote")]
    Format(u8),
    #[error("a record has unknown flags {0:#04x}")]
    Flags(u8),
    #[error("a property has the unknown type {0}")]
    PropertyType(u8),
    #[error("a text of a record is not UTF-8")]
    NotText,
}

/// The records of a payload, one after the other. The bytes of keys, names and bodies are shared, not copied.
pub(crate) struct Records<'b> {
    bytes: &'b Bytes,
    at: usize,
    end: usize,
}

impl<'b> Records<'b> {
    /// The records of the payload that is at `payload` in `bytes`.
    pub(crate) fn new(bytes: &'b Bytes, payload: Range<usize>) -> Self {
        Self { bytes, at: payload.start, end: payload.end }
    }

    /// Where the next event is, without building it.
    pub(crate) fn next_place(
        &mut self,
        number: SequenceNumber,
        enqueued_at: Timestamp,
    ) -> Result<EventPlace, RecordProblem> {
        let (start, end) = self.bounds()?;
        let mut fields = Fields { bytes: self.bytes, at: start, end };
        let place = EventPlace::new(number, enqueued_at, 0..0);
        match fields.byte()? {
            PLAIN => {
                let flags = fields.flags()?;
                let partition_key = fields.key_if(flags)?.map(small);
                let properties = fields.both_properties_if(flags)?;
                Ok(EventPlace { partition_key, properties, body: small(fields.at..end), ..place })
            }
            WITH_MESSAGE => {
                let flags = fields.flags()?;
                let partition_key = fields.key_if(flags)?.map(small);
                let (message, body) = fields.message()?;
                Ok(EventPlace { partition_key, message: Some(small(message)), body: small(body), ..place })
            }
            format => Err(RecordProblem::Format(format)),
        }
    }

    /// Steps over one record without looking into it.
    pub(crate) fn skip_one(&mut self) -> Result<(), RecordProblem> {
        self.bounds().map(|_| ())
    }

    /// Where the next record's content is; moves behind it.
    fn bounds(&mut self) -> Result<(usize, usize), RecordProblem> {
        let rest = &self.bytes[self.at..self.end];
        let (length, _) = rest.split_first_chunk().ok_or(RecordProblem::Short)?;
        let length = u32::from_le_bytes(*length) as usize;
        if rest.len() - LENGTH_FIELD < length {
            return Err(RecordProblem::Short);
        }
        let start = self.at + LENGTH_FIELD;
        self.at = start + length;
        Ok((start, self.at))
    }
}

/// A place in the bytes that are read at once, which are much fewer than 4 GiB.
fn small(range: Range<usize>) -> Range<u32> {
    let place = |at| u32::try_from(at).expect("a frame takes at most 64 MiB");
    place(range.start)..place(range.end)
}

impl Iterator for Records<'_> {
    type Item = Result<EventData, RecordProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.end {
            return None;
        }
        Some(self.bounds().and_then(|(start, end)| decode(self.bytes, start, end)))
    }
}

fn decode(bytes: &Bytes, start: usize, end: usize) -> Result<EventData, RecordProblem> {
    let mut fields = Fields { bytes, at: start, end };
    match fields.byte()? {
        PLAIN => {
            let flags = fields.flags()?;
            let partition_key = fields.key_if(flags)?.map(|key| fields.text_at(key)).transpose()?;
            let (properties, system_properties) = fields.both_properties_if(flags)?;
            let body = bytes.slice(fields.at..end);
            Ok(EventData { partition_key, properties, system_properties, body, amqp: None })
        }
        WITH_MESSAGE => {
            let flags = fields.flags()?;
            let partition_key = fields.key_if(flags)?.map(|key| fields.text_at(key)).transpose()?;
            let (message, body) = fields.message()?;
            let (properties, system_properties) = fields.both_properties_if(flags)?;
            if fields.at != end {
                return Err(RecordProblem::Long);
            }
            let inside = body.start - message.start..body.end - message.start;
            let amqp = EncodedMessage::new(bytes.slice(message), inside);
            Ok(EventData { partition_key, properties, system_properties, body: bytes.slice(body), amqp })
        }
        format => Err(RecordProblem::Format(format)),
    }
}

struct Fields<'a> {
    bytes: &'a Bytes,
    at: usize,
    end: usize,
}

impl Fields<'_> {
    fn flags(&mut self) -> Result<u8, RecordProblem> {
        let flags = self.byte()?;
        if flags & !(HAS_KEY | HAS_PROPERTIES | HAS_SYSTEM_PROPERTIES) != 0 {
            return Err(RecordProblem::Flags(flags));
        }
        Ok(flags)
    }

    fn key_if(&mut self, flags: u8) -> Result<Option<Range<usize>>, RecordProblem> {
        if flags & HAS_KEY != 0 { self.bytes().map(Some) } else { Ok(None) }
    }

    /// Where the message is, and in it the body.
    fn message(&mut self) -> Result<(Range<usize>, Range<usize>), RecordProblem> {
        let [head, body, tail] = [self.varint()?, self.varint()?, self.varint()?];
        // Each varint is below 2^35, so their sum does not overflow 64 bits; elsewhere it is refused as too long.
        let len = head.checked_add(body).and_then(|len| len.checked_add(tail)).ok_or(RecordProblem::Short)?;
        let message = self.take(len)?;
        let start = message.start + head;
        Ok((message, start..start + body))
    }

    fn both_properties_if(&mut self, flags: u8) -> Result<(Properties, Properties), RecordProblem> {
        let own = if flags & HAS_PROPERTIES != 0 { self.properties()? } else { Properties::NONE };
        let system = if flags & HAS_SYSTEM_PROPERTIES != 0 { self.properties()? } else { Properties::NONE };
        Ok((own, system))
    }

    fn take(&mut self, len: usize) -> Result<std::ops::Range<usize>, RecordProblem> {
        if self.end - self.at < len {
            return Err(RecordProblem::Short);
        }
        self.at += len;
        Ok(self.at - len..self.at)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordProblem> {
        let range = self.take(N)?;
        Ok(self.bytes[range].try_into().expect("the range is N long"))
    }

    fn byte(&mut self) -> Result<u8, RecordProblem> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn varint(&mut self) -> Result<usize, RecordProblem> {
        let mut value = 0_usize;
        // Five groups of seven bits hold every length that fits into a frame.
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordProblem::Short)
    }

    fn bytes(&mut self) -> Result<std::ops::Range<usize>, RecordProblem> {
        let len = self.varint()?;
        self.take(len)
    }

    fn text(&mut self) -> Result<ByteString, RecordProblem> {
        let range = self.bytes()?;
        self.text_at(range)
    }

    fn text_at(&self, range: Range<usize>) -> Result<ByteString, RecordProblem> {
        ByteString::try_from(self.bytes.slice(range)).map_err(|_| RecordProblem::NotText)
    }

    fn properties(&mut self) -> Result<Properties, RecordProblem> {
        let count = self.varint()?;
        // A property takes at least two bytes: a count that cannot be true must not reserve memory.
        let mut list = Vec::with_capacity(count.min((self.end - self.at) / 2));
        for _ in 0..count {
            let name = self.text()?;
            list.push((name, self.value()?));
        }
        Ok(list.into_iter().collect())
    }

    fn value(&mut self) -> Result<PropertyValue, RecordProblem> {
        Ok(match self.byte()? {
            0 => PropertyValue::Null,
            1 => PropertyValue::Bool(false),
            2 => PropertyValue::Bool(true),
            3 => PropertyValue::Long(i64::from_le_bytes(self.array()?)),
            4 => PropertyValue::Double(f64::from_le_bytes(self.array()?)),
            5 => {
                let range = self.bytes()?;
                let text = std::str::from_utf8(&self.bytes[range]).map_err(|_| RecordProblem::NotText)?;
                PropertyValue::String(text.to_owned())
            }
            6 => PropertyValue::Timestamp(Timestamp::from_millis(i64::from_le_bytes(self.array()?))),
            7 => {
                let range = self.bytes()?;
                PropertyValue::Binary(self.bytes[range].to_vec())
            }
            8 => PropertyValue::Uuid(uuid::Uuid::from_bytes(self.array()?)),
            other => return Err(RecordProblem::PropertyType(other)),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = PropertyValue> {
        prop_oneof![
            Just(PropertyValue::Null),
            any::<bool>().prop_map(PropertyValue::Bool),
            any::<i64>().prop_map(PropertyValue::Long),
            // NaN is not equal to itself; its bits are checked apart.
            any::<f64>().prop_filter("no NaN", |number| !number.is_nan()).prop_map(PropertyValue::Double),
            ".{0,20}".prop_map(PropertyValue::String),
            any::<i64>().prop_map(|ms| PropertyValue::Timestamp(Timestamp::from_millis(ms))),
            prop::collection::vec(any::<u8>(), 0..200).prop_map(PropertyValue::Binary),
            any::<u128>().prop_map(|bits| PropertyValue::Uuid(uuid::Uuid::from_u128(bits))),
        ]
    }

    fn properties() -> impl Strategy<Value = Properties> {
        prop::collection::vec((".{0,10}", value()), 0..5).prop_map(|list| list.into_iter().collect())
    }

    pub(crate) fn event() -> impl Strategy<Value = EventData> {
        let key = prop::option::of(".{0,200}".prop_map(ByteString::from));
        let part = || prop::collection::vec(any::<u8>(), 0..400);
        let message = prop::option::of((part(), part()));
        (key, properties(), properties(), part(), message).prop_map(
            |(partition_key, properties, system_properties, body, around)| {
                let event = match around {
                    None => EventData::new(body),
                    Some((head, tail)) => {
                        let place = head.len()..head.len() + body.len();
                        let bytes = [head, body, tail].concat().into();
                        EventData::of_message(EncodedMessage::new(bytes, place).unwrap())
                    }
                };
                EventData { partition_key, properties, system_properties, ..event }
            },
        )
    }

    fn records(payload: &Bytes) -> Records<'_> {
        Records::new(payload, 0..payload.len())
    }

    fn encoded(events: &[EventData]) -> Bytes {
        let mut payload = Vec::new();
        for event in events {
            let before = payload.len();
            encode(event, &mut payload);
            assert_eq!(payload.len() - before, encoded_len(event));
        }
        payload.into()
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_were(events in prop::collection::vec(event(), 0..8)) {
            let decoded: Result<Vec<_>, _> = records(&encoded(&events)).collect();
            prop_assert_eq!(decoded.as_ref(), Ok(&events));
        }

        #[test]
        fn skipping_lands_on_the_next_record(events in prop::collection::vec(event(), 1..8)) {
            let payload = encoded(&events);
            let mut records = records(&payload);
            for _ in 1..events.len() {
                records.skip_one().unwrap();
            }
            prop_assert_eq!(records.next(), Some(Ok(events.last().unwrap().clone())));
            prop_assert_eq!(records.next(), None);
        }

        #[test]
        fn places_show_what_decoding_gives(events in prop::collection::vec(event(), 1..8)) {
            let payload = encoded(&events);
            let mut records = records(&payload);
            for (number, event) in (7..).zip(&events) {
                let (number, time) = (SequenceNumber(number), Timestamp::from_millis(-3));
                let place = records.next_place(number, time).unwrap();
                let at = |range: Range<u32>| &payload[range.start as usize..range.end as usize];
                prop_assert_eq!((place.sequence_number, place.enqueued_at), (number, time));
                prop_assert_eq!(at(place.body), &event.body[..]);
                prop_assert_eq!(place.partition_key.map(at), event.partition_key.as_ref().map(|key| &key.as_bytes()[..]));
                prop_assert_eq!(place.message.clone().map(at), event.message().map(|message| &message.bytes()[..]));
                if place.message.is_none() {
                    prop_assert_eq!(place.properties, (event.properties.clone(), event.system_properties.clone()));
                }
            }
            prop_assert_eq!(records.next_place(SequenceNumber::ZERO, Timestamp::default()).err(), Some(RecordProblem::Short));
        }

        #[test]
        fn hostile_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), format in 0_u8..4) {
            for within in [0, format] {
                if within > 0 && bytes.len() > 5 {
                    // A record whose length and format are right gets further.
                    let length = u32::try_from(bytes.len() - LENGTH_FIELD).unwrap();
                    bytes[..LENGTH_FIELD].copy_from_slice(&length.to_le_bytes());
                    bytes[LENGTH_FIELD] = within;
                    bytes[LENGTH_FIELD + 1] &= 7;
                }
                let payload = Bytes::from(bytes.clone());
                for record in records(&payload) {
                    if record.is_err() {
                        break;
                    }
                }
                let mut places = records(&payload);
                while places.next_place(SequenceNumber::ZERO, Timestamp::default()).is_ok() {}
            }
        }

        #[test]
        fn a_changed_byte_never_panics(event in event(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut bytes = encoded(&[event]).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            for record in records(&bytes.into()) {
                if record.is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn the_bits_of_a_nan_are_kept() {
        let nan = f64::from_bits(0x7ff8_0000_0000_1234);
        let properties = [("nan", PropertyValue::Double(nan))].into_iter().collect();
        let event = EventData { properties, ..EventData::default() };
        let decoded = records(&encoded(&[event])).next().unwrap().unwrap();
        match decoded.properties.get("nan") {
            Some(PropertyValue::Double(number)) => assert_eq!(number.to_bits(), nan.to_bits()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plain_record_is_as_it_always_was() {
        let properties = [("n", PropertyValue::Bool(true))].into_iter().collect();
        let event = EventData { properties, ..EventData::new("body").with_key("k") };
        let mut bytes = vec![13, 0, 0, 0, 1, HAS_KEY | HAS_PROPERTIES, 1, b'k', 1, 1, b'n', 2];
        bytes.extend_from_slice(b"body");
        bytes[0] = u8::try_from(bytes.len() - LENGTH_FIELD).unwrap();
        assert_eq!(encoded(std::slice::from_ref(&event)), bytes);
        assert_eq!(records(&bytes.into()).next(), Some(Ok(event)));
    }

    #[test]
    fn a_record_of_a_newer_version_is_told_from_damage() {
        let mut bytes = encoded(&[EventData::new("x")]).to_vec();
        bytes[LENGTH_FIELD] = NEWEST_FORMAT + 1;
        let newer = RecordProblem::Format(NEWEST_FORMAT + 1);
        assert_eq!(records(&bytes.clone().into()).next(), Some(Err(newer)));
        let payload = bytes.into();
        assert_eq!(
            records(&payload).next_place(SequenceNumber::ZERO, Timestamp::default()).err(),
            Some(newer)
        );
    }

    #[test]
    fn a_message_shares_the_bytes_of_the_payload_and_its_body_those_of_the_message() {
        let message = EncodedMessage::new(vec![7; 1000].into(), 10..900).unwrap();
        let payload = encoded(&[EventData::of_message(message)]);
        let event = records(&payload).next().unwrap().unwrap();
        let message = event.message().unwrap();
        assert!(payload.as_ptr_range().contains(&message.bytes().as_ptr()));
        assert_eq!(event.body.as_ptr(), message.bytes()[10..].as_ptr());
    }

    #[test]
    fn bodies_and_keys_share_the_bytes_of_the_payload() {
        let payload =
            encoded(&[EventData::new(vec![9; 1000]).with_key("a key that is longer than any inline text")]);
        let event = records(&payload).next().unwrap().unwrap();
        let inside = |bytes: &[u8]| payload.as_ptr_range().contains(&bytes.as_ptr());
        assert!(inside(&event.body));
        assert!(inside(event.partition_key.as_ref().unwrap().as_bytes()));
    }
}
