//! A message that has come, read where it lies.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::codec::error::{DecodeError, DecodeProblem};
use crate::codec::message::delivery::{self, Stamp};
use crate::codec::message::properties::{Header, Properties};
use crate::codec::message::sections::{BodyKind, Section, Sections};
use crate::codec::names::annotation;
use crate::codec::read::{Decoded, Reader};
use crate::codec::value::Value;

/// An encoded message and where its sections are. What it gives out are parts of its bytes.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
    sections: Sections,
}

impl Message {
    /// Finds the sections of a message. See [`Sections::scan`] for what is checked.
    pub fn parse(bytes: Bytes) -> Result<Self, DecodeError> {
        let sections = Sections::scan(&bytes)?;
        Ok(Self { bytes, sections })
    }

    /// The whole message.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where the sections are.
    pub fn sections(&self) -> &Sections {
        &self.sections
    }

    /// Checks the inside of every section: after that no accessor fails, except [`Message::body`] for a body of more values
    /// than [`crate::codec::value::MAX_VALUES`]. A broker asks this before it stores a message for others to read.
    pub fn check(&self) -> Result<(), DecodeError> {
        self.header()?;
        self.properties()?;
        let sections = &self.sections;
        let maps = [
            (sections.delivery_annotations, "message.delivery-annotations"),
            (sections.message_annotations, "message.message-annotations"),
            (sections.application_properties, "message.application-properties"),
            (sections.footer, "message.footer"),
        ];
        for (section, place) in maps {
            let Some(mut reader) = self.section(section) else { continue };
            let (mut content, count) = reader.map_content(place)?;
            for _ in 0..count / 2 {
                let name = content.check_name(place)?;
                if name == annotation::PARTITION_KEY.as_bytes() && section == sections.message_annotations {
                    check_partition_key(content.clone())?;
                }
                content.check(place)?;
            }
            if !content.is_at_end() {
                return Err(content.wrong(place, DecodeProblem::WrongSize));
            }
        }
        let place = match sections.body_kind {
            BodyKind::None | BodyKind::Data => return Ok(()),
            BodyKind::Value => "message.amqp-value",
            BodyKind::Sequence => "message.amqp-sequence",
        };
        let mut body = Reader::sharing_range(&self.bytes, sections.body.range());
        while !body.is_at_end() {
            body.descriptor(place)?;
            body.check(place)?;
        }
        Ok(())
    }

    /// Appends the message as it is delivered, with the broker's stamp on it: see [`encode_delivery`], which does the same
    /// for bytes that have not been parsed.
    ///
    /// [`encode_delivery`]: crate::codec::message::encode_delivery
    pub fn encode_delivery(&self, out: &mut BytesMut, stamp: &Stamp<'_>) -> Result<(), DecodeError> {
        delivery::write_delivery(out, stamp, &self.bytes, &self.sections)
    }

    /// How the message is to be handled.
    pub fn header(&self) -> Result<Option<Header>, DecodeError> {
        self.section(self.sections.header).map(|mut reader| Header::decode(&mut reader)).transpose()
    }

    /// The standard properties.
    pub fn properties(&self) -> Result<Option<Properties>, DecodeError> {
        self.section(self.sections.properties).map(|mut reader| Properties::decode(&mut reader)).transpose()
    }

    /// The delivery annotations.
    pub fn delivery_annotations(&self) -> Pairs<'_> {
        self.pairs(self.sections.delivery_annotations, "message.delivery-annotations")
    }

    /// The message annotations.
    pub fn message_annotations(&self) -> Pairs<'_> {
        self.pairs(self.sections.message_annotations, "message.message-annotations")
    }

    /// The producer's own properties.
    pub fn application_properties(&self) -> Pairs<'_> {
        self.pairs(self.sections.application_properties, "message.application-properties")
    }

    /// The value of the first application property of a name.
    pub fn application_property(&self, name: &str) -> Result<Option<Value>, DecodeError> {
        self.application_properties().value_of(name)
    }

    /// The partition key that the producer gave; none when it gave none or null.
    pub fn partition_key(&self) -> Result<Option<ByteString>, DecodeError> {
        let mut pairs = self.message_annotations();
        while let Some(name) = pairs.next_name()? {
            if name == annotation::PARTITION_KEY.as_bytes() {
                check_partition_key(pairs.reader.clone())?;
                return pairs.reader.optional_text(pairs.place);
            }
            pairs.skip_value()?;
        }
        Ok(None)
    }

    /// What the broker wrote on a delivered event, in one go over the annotations.
    pub fn event_stamp(&self) -> Result<EventStamp, DecodeError> {
        const PLACE: &str = "message.message-annotations";
        let mut stamp = EventStamp::default();
        let mut pairs = self.message_annotations();
        while let Some(name) = pairs.next_name()? {
            match name {
                b"x-opt-sequence-number" => stamp.sequence_number = pairs.reader.integer(PLACE)?,
                b"x-opt-enqueued-time" => stamp.enqueued_time = pairs.reader.integer(PLACE)?,
                b"x-opt-offset" => stamp.offset = pairs.reader.optional_text(PLACE)?,
                b"x-opt-partition-key" => stamp.partition_key = pairs.reader.optional_text(PLACE)?,
                _ => pairs.skip_value()?,
            }
        }
        Ok(stamp)
    }

    /// The payload of a body that is one data section; none for any other body.
    pub fn data(&self) -> Option<Bytes> {
        if self.sections.body_sections == 1 { self.data_sections().next() } else { None }
    }

    /// The payloads of the data sections: the parts of a body, or the messages of a batch. Nothing when the body is of
    /// another kind.
    pub fn data_sections(&self) -> DataSections<'_> {
        let body =
            if self.sections.body_kind == BodyKind::Data { self.sections.body } else { Section::default() };
        DataSections { reader: Reader::sharing_range(&self.bytes, body.range()), bytes: &self.bytes }
    }

    /// The body, decoded.
    pub fn body(&self) -> Result<Body, DecodeError> {
        let mut reader = Reader::sharing_range(&self.bytes, self.sections.body.range());
        match self.sections.body_kind {
            BodyKind::None => Ok(Body::None),
            BodyKind::Data => match self.data() {
                Some(data) => Ok(Body::Data(data)),
                None => Ok(Body::Parts(self.data_sections().collect())),
            },
            BodyKind::Value => {
                reader.descriptor("message.amqp-value")?;
                reader.value("message.amqp-value").map(Body::Value)
            }
            BodyKind::Sequence => {
                let mut items = Vec::new();
                while !reader.is_at_end() {
                    reader.descriptor("message.amqp-sequence")?;
                    if let Value::List(more) = reader.value("message.amqp-sequence")? {
                        items.extend(more);
                    }
                }
                Ok(Body::Sequence(items))
            }
        }
    }

    fn section(&self, section: Section) -> Option<Reader<'_>> {
        if section.is_empty() { None } else { Some(Reader::sharing_range(&self.bytes, section.content())) }
    }

    fn pairs(&self, section: Section, place: &'static str) -> Pairs<'_> {
        let content = self.section(section).map(|mut reader| reader.map_content(place));
        match content {
            None => Pairs { reader: Reader::sharing_range(&self.bytes, 0..0), left: 0, wrong: None, place },
            Some(Ok((reader, count))) => Pairs { reader, left: count / 2, wrong: None, place },
            Some(Err(error)) => {
                Pairs { reader: Reader::sharing_range(&self.bytes, 0..0), left: 0, wrong: Some(error), place }
            }
        }
    }
}

/// A partition key is text, or null. Anything else is refused instead of ignored, because the key decides about order.
fn check_partition_key(mut value: Reader<'_>) -> Decoded<()> {
    const PLACE: &str = "message.message-annotations";
    let at = value.at();
    match value.u8(PLACE)? {
        0x40 | 0xa1 | 0xb1 | 0xa3 | 0xb3 => Ok(()),
        found => {
            let problem = DecodeProblem::WrongType { expected: "a partition key that is a string", found };
            Err(DecodeError::new(PLACE, at, problem))
        }
    }
}

/// What the broker wrote on a delivered event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventStamp {
    /// The place in the partition.
    pub sequence_number: Option<i64>,
    /// The place in the partition as clients name it.
    pub offset: Option<ByteString>,
    /// When the broker took the event, in milliseconds since 1970.
    pub enqueued_time: Option<i64>,
    /// The partition key.
    pub partition_key: Option<ByteString>,
}

/// A body, decoded.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// There is none.
    None,
    /// One data section, as almost all events have.
    Data(Bytes),
    /// Several data sections.
    Parts(Vec<Bytes>),
    /// The items of all sequence sections.
    Sequence(Vec<Value>),
    /// One value.
    Value(Value),
}

/// The payloads of the data sections of a message, parts of its bytes.
pub struct DataSections<'a> {
    reader: Reader<'a>,
    bytes: &'a Bytes,
}

impl<'a> DataSections<'a> {
    /// The next payload, borrowed. It saves the counting of references that `Bytes` do.
    pub fn next_slice(&mut self) -> Option<&'a [u8]> {
        if self.reader.is_at_end() {
            return None;
        }
        // The scan has seen that these are data sections, end to end.
        self.reader.descriptor("message.data").ok()?;
        self.reader.binary("message.data").ok()
    }
}

impl Iterator for DataSections<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.next_slice().map(|payload| self.bytes.slice_ref(payload))
    }
}

/// The pairs of annotations or application properties, in order. After an error there are no more.
pub struct Pairs<'a> {
    reader: Reader<'a>,
    left: usize,
    wrong: Option<DecodeError>,
    place: &'static str,
}

impl<'a> Pairs<'a> {
    /// The value of the first pair with this name; the values before it are stepped over.
    pub fn value_of(&mut self, name: &str) -> Result<Option<Value>, DecodeError> {
        while let Some(found) = self.next_name()? {
            if found == name.as_bytes() {
                return self.value().map(Some);
            }
            self.skip_value()?;
        }
        Ok(None)
    }

    /// The name of the next pair. Its value must be read or skipped before the next call.
    fn next_name(&mut self) -> Decoded<Option<&'a [u8]>> {
        if let Some(error) = self.wrong.take() {
            return Err(error);
        }
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.reader.name(self.place).map(Some)
    }

    fn value(&mut self) -> Decoded<Value> {
        self.reader.value(self.place)
    }

    fn skip_value(&mut self) -> Decoded<()> {
        self.reader.skip(self.place)
    }

    fn pair(&mut self) -> Decoded<Option<(ByteString, Value)>> {
        if let Some(error) = self.wrong.take() {
            return Err(error);
        }
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let name = self.reader.name_text(self.place)?;
        let value = self.reader.value(self.place)?;
        Ok(Some((name, value)))
    }
}

impl Iterator for Pairs<'_> {
    type Item = Result<(ByteString, Value), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.pair();
        if pair.is_err() {
            self.left = 0;
        }
        pair.transpose()
    }
}
