//! The record: one event as bytes.
//!
//! ```text
//! length u32 │ format u8 = 1 │ flags u8 │ key │ properties │ system properties │ body
//! ```
//!
//! `length` counts what follows it. The flags say which of key (1), properties (2) and system properties (4) are
//! there; the body is the rest. Numbers are little-endian; a "varint" is LEB128. See `docs/design/log-format.md`.

use bytes::Bytes;
use bytestring::ByteString;
use tidegate_model::clock::Timestamp;
use tidegate_model::event::{EventData, Properties, PropertyValue};

/// The format of the records this version writes.
const FORMAT: u8 = 1;

const HAS_KEY: u8 = 1;
const HAS_PROPERTIES: u8 = 2;
const HAS_SYSTEM_PROPERTIES: u8 = 4;

const LENGTH_FIELD: usize = 4;

/// How many bytes [`encode`] writes for this event.
pub(crate) fn encoded_len(event: &EventData) -> usize {
    let key = event.partition_key.as_ref().map_or(0, |key| text_len(key.len()));
    LENGTH_FIELD
        + 2
        + key
        + properties_len(&event.properties)
        + properties_len(&event.system_properties)
        + event.body.len()
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
    into.extend_from_slice(&[FORMAT, flags]);
    if let Some(key) = &event.partition_key {
        put_bytes(into, key.as_bytes());
    }
    put_properties(into, &event.properties);
    put_properties(into, &event.system_properties);
    into.extend_from_slice(&event.body);
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
    #[error("a record has the unknown format {0}")]
    Format(u8),
    #[error("a record has unknown flags {0:#04x}")]
    Flags(u8),
    #[error("a property has the unknown type {0}")]
    PropertyType(u8),
    #[error("a text of a record is not UTF-8")]
    NotText,
}

/// The records of a payload, one after the other. The bytes of keys, names and bodies are shared, not copied.
pub(crate) struct Records {
    payload: Bytes,
    at: usize,
}

impl Records {
    pub(crate) fn new(payload: Bytes) -> Self {
        Self { payload, at: 0 }
    }

    /// Steps over one record without looking into it.
    pub(crate) fn skip_one(&mut self) -> Result<(), RecordProblem> {
        self.bounds().map(|_| ())
    }

    /// Where the next record's content is; moves behind it.
    fn bounds(&mut self) -> Result<(usize, usize), RecordProblem> {
        let rest = &self.payload[self.at..];
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

impl Iterator for Records {
    type Item = Result<EventData, RecordProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.payload.len() {
            return None;
        }
        Some(self.bounds().and_then(|(start, end)| decode(&self.payload, start, end)))
    }
}

fn decode(payload: &Bytes, start: usize, end: usize) -> Result<EventData, RecordProblem> {
    let mut fields = Fields { payload, at: start, end };
    match fields.byte()? {
        FORMAT => {}
        format => return Err(RecordProblem::Format(format)),
    }
    let flags = fields.byte()?;
    if flags & !(HAS_KEY | HAS_PROPERTIES | HAS_SYSTEM_PROPERTIES) != 0 {
        return Err(RecordProblem::Flags(flags));
    }
    let mut event = EventData::default();
    if flags & HAS_KEY != 0 {
        event.partition_key = Some(fields.text()?);
    }
    if flags & HAS_PROPERTIES != 0 {
        event.properties = fields.properties()?;
    }
    if flags & HAS_SYSTEM_PROPERTIES != 0 {
        event.system_properties = fields.properties()?;
    }
    event.body = payload.slice(fields.at..end);
    Ok(event)
}

struct Fields<'a> {
    payload: &'a Bytes,
    at: usize,
    end: usize,
}

impl Fields<'_> {
    fn take(&mut self, len: usize) -> Result<std::ops::Range<usize>, RecordProblem> {
        if self.end - self.at < len {
            return Err(RecordProblem::Short);
        }
        self.at += len;
        Ok(self.at - len..self.at)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordProblem> {
        let range = self.take(N)?;
        Ok(self.payload[range].try_into().expect("the range is N long"))
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
        ByteString::try_from(self.payload.slice(range)).map_err(|_| RecordProblem::NotText)
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
                let text = std::str::from_utf8(&self.payload[range]).map_err(|_| RecordProblem::NotText)?;
                PropertyValue::String(text.to_owned())
            }
            6 => PropertyValue::Timestamp(Timestamp::from_millis(i64::from_le_bytes(self.array()?))),
            7 => {
                let range = self.bytes()?;
                PropertyValue::Binary(self.payload[range].to_vec())
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
        let body = prop::collection::vec(any::<u8>(), 0..400);
        (key, properties(), properties(), body).prop_map(
            |(partition_key, properties, system_properties, body)| EventData {
                partition_key,
                properties,
                system_properties,
                body: body.into(),
            },
        )
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
            let decoded: Result<Vec<_>, _> = Records::new(encoded(&events)).collect();
            prop_assert_eq!(decoded.as_ref(), Ok(&events));
        }

        #[test]
        fn skipping_lands_on_the_next_record(events in prop::collection::vec(event(), 1..8)) {
            let mut records = Records::new(encoded(&events));
            for _ in 1..events.len() {
                records.skip_one().unwrap();
            }
            prop_assert_eq!(records.next(), Some(Ok(events.last().unwrap().clone())));
            prop_assert_eq!(records.next(), None);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for record in Records::new(bytes.into()) {
                if record.is_err() {
                    break;
                }
            }
        }

        #[test]
        fn a_changed_byte_never_panics(event in event(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut bytes = encoded(&[event]).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            for record in Records::new(bytes.into()) {
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
        let decoded = Records::new(encoded(&[event])).next().unwrap().unwrap();
        match decoded.properties.get("nan") {
            Some(PropertyValue::Double(number)) => assert_eq!(number.to_bits(), nan.to_bits()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bodies_and_keys_share_the_bytes_of_the_payload() {
        let payload =
            encoded(&[EventData::new(vec![9; 1000]).with_key("a key that is longer than any inline text")]);
        let event = Records::new(payload.clone()).next().unwrap().unwrap();
        let inside = |bytes: &[u8]| payload.as_ptr_range().contains(&bytes.as_ptr());
        assert!(inside(&event.body));
        assert!(inside(event.partition_key.as_ref().unwrap().as_bytes()));
    }
}
