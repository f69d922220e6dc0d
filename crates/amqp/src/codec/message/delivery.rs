//! Events as they are delivered: the producer's message with what the broker says about it.

use bytes::BytesMut;

use crate::codec::error::DecodeError;
use crate::codec::message::build::{MapWriter, SYMBOLS};
use crate::codec::message::sections::Sections;
use crate::codec::names::{annotation, descriptor};
use crate::codec::read::{Decoded, Reader};
use crate::codec::write;

/// What the broker says about an event: message annotations.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The place in the partition.
    pub sequence_number: i64,
    /// The place in the partition as clients name it.
    pub offset: &'a str,
    /// When the broker took the event, in milliseconds since 1970.
    pub enqueued_time: i64,
    /// The partition key, if the producer gave one.
    pub partition_key: Option<&'a str>,
    /// The state of the partition, for a receiver that asked for it.
    pub runtime: Option<PartitionRuntime<'a>>,
}

/// The state of a partition at the time of a delivery: delivery annotations.
#[derive(Clone, Copy, Debug)]
pub struct PartitionRuntime<'a> {
    /// The sequence number of the last event.
    pub last_sequence_number: i64,
    /// The offset of the last event.
    pub last_offset: &'a str,
    /// When the broker took the last event, in milliseconds since 1970.
    pub last_enqueued_time: i64,
    /// When this was looked up, in milliseconds since 1970.
    pub retrieved_at: i64,
}

/// Appends a stored message with the broker's stamp on it.
///
/// The producer's header, message annotations, properties, body and footer are copied byte by byte. Annotations of the
/// names that the stamp has, and delivery annotations, which were meant for the broker, are left out.
///
/// # Errors
/// When the message is not one; then `out` is as it was. A message that passed
/// [`crate::codec::message::Message::check`] is always one.
pub fn encode_delivery(out: &mut BytesMut, stamp: &Stamp<'_>, message: &[u8]) -> Result<(), DecodeError> {
    let sections = Sections::scan(message)?;
    write_delivery(out, stamp, message, &sections)
}

/// The same for a message whose sections are known: those of this very message.
pub(super) fn write_delivery(
    out: &mut BytesMut,
    stamp: &Stamp<'_>,
    message: &[u8],
    sections: &Sections,
) -> Result<(), DecodeError> {
    let start = out.len();
    out.reserve(message.len() + ROOM_FOR_STAMP);
    out.extend_from_slice(&message[sections.header.range()]);
    if let Some(runtime) = &stamp.runtime {
        write_runtime(out, runtime);
    }
    let mut copied = Ok(());
    write_stamp(out, stamp, |map| {
        if !sections.message_annotations.is_empty() {
            copied = copy_annotations(map, Reader::range(message, sections.message_annotations.content()));
        }
    });
    if copied.is_err() {
        out.truncate(start);
        return copied;
    }
    out.extend_from_slice(&message[sections.producer_part(message.len())..]);
    Ok(())
}

/// More than what stands before the producer's part, for keys and offsets of common length.
const ROOM_FOR_STAMP: usize = 320;

/// Copies the producer's annotations but for those that the stamp has, in runs as long as possible.
fn copy_annotations(map: &mut MapWriter<'_>, mut section: Reader<'_>) -> Decoded<()> {
    const PLACE: &str = "message.message-annotations";
    let (mut content, count) = section.map_content(PLACE)?;
    let mut run_start = content.at();
    let mut run_count = 0;
    for _ in 0..count / 2 {
        let pair = content.at();
        let reserved = is_reserved(content.name(PLACE)?);
        content.skip(PLACE)?;
        if reserved {
            map.raw(content.between(run_start, pair), run_count);
            run_start = content.at();
            run_count = 0;
        } else {
            run_count += 2;
        }
    }
    map.raw(content.between(run_start, content.at()), run_count);
    Ok(())
}

fn is_reserved(name: &[u8]) -> bool {
    const NAMES: [&str; 4] = [
        annotation::SEQUENCE_NUMBER,
        annotation::OFFSET,
        annotation::ENQUEUED_TIME,
        annotation::PARTITION_KEY,
    ];
    name.starts_with(b"x-opt-") && NAMES.iter().any(|reserved| reserved.as_bytes() == name)
}

/// The beginning of the message annotations of every event: descriptor, head of a large map, sequence number, time, and the
/// name of the offset. It is appended in one piece; then numbers are put in their places.
const TEMPLATE: [u8; OFFSET_AT] = {
    let mut bytes = [0; OFFSET_AT];
    let mut at = put(&mut bytes, 0, &[0x00, 0x53, descriptor::MESSAGE_ANNOTATIONS as u8, 0xd1]);
    at += 8;
    at = put(&mut bytes, at, &[0xa3, annotation::SEQUENCE_NUMBER.len() as u8]);
    at = put(&mut bytes, at, annotation::SEQUENCE_NUMBER.as_bytes());
    at = put(&mut bytes, at, &[0x81]);
    assert!(at == SEQUENCE_AT);
    at = put(&mut bytes, at + 8, &[0xa3, annotation::ENQUEUED_TIME.len() as u8]);
    at = put(&mut bytes, at, annotation::ENQUEUED_TIME.as_bytes());
    at = put(&mut bytes, at, &[0x83]);
    assert!(at == TIME_AT);
    at = put(&mut bytes, at + 8, &[0xa3, annotation::OFFSET.len() as u8]);
    at = put(&mut bytes, at, annotation::OFFSET.as_bytes());
    assert!(at == OFFSET_AT);
    bytes
};
const MAP_AT: usize = 3;
const SEQUENCE_AT: usize = 12 + 2 + annotation::SEQUENCE_NUMBER.len() + 1;
const TIME_AT: usize = SEQUENCE_AT + 8 + 2 + annotation::ENQUEUED_TIME.len() + 1;
const OFFSET_AT: usize = TIME_AT + 8 + 2 + annotation::OFFSET.len();

const fn put(bytes: &mut [u8; OFFSET_AT], at: usize, part: &[u8]) -> usize {
    let mut i = 0;
    while i < part.len() {
        bytes[at + i] = part[i];
        i += 1;
    }
    at + part.len()
}

/// Appends the message annotations, and those that `more` adds.
pub(super) fn write_stamp(out: &mut BytesMut, stamp: &Stamp<'_>, more: impl FnOnce(&mut MapWriter<'_>)) {
    let start = out.len();
    let mut head = TEMPLATE;
    head[SEQUENCE_AT..SEQUENCE_AT + 8].copy_from_slice(&stamp.sequence_number.to_be_bytes());
    head[TIME_AT..TIME_AT + 8].copy_from_slice(&stamp.enqueued_time.to_be_bytes());
    out.extend_from_slice(&head);
    write::string(out, stamp.offset);
    let mut count = 6;
    let mut map = MapWriter::continuing(out, SYMBOLS);
    if let Some(key) = stamp.partition_key {
        map.string(annotation::PARTITION_KEY, key);
    }
    more(&mut map);
    count += map.count();
    let size_at = start + MAP_AT + 1;
    let size = (out.len() - size_at - 4) as u32;
    out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
    out[size_at + 4..size_at + 8].copy_from_slice(&(count as u32).to_be_bytes());
}

/// Appends the delivery annotations.
pub(super) fn write_runtime(out: &mut BytesMut, runtime: &PartitionRuntime<'_>) {
    write::descriptor(out, descriptor::DELIVERY_ANNOTATIONS);
    write::compound(out, 0xc1, 0xd1, 8, |out| {
        let mut map = MapWriter::continuing(out, SYMBOLS);
        map.long(annotation::LAST_SEQUENCE_NUMBER, runtime.last_sequence_number);
        map.string(annotation::LAST_OFFSET, runtime.last_offset);
        map.timestamp(annotation::LAST_ENQUEUED_TIME, runtime.last_enqueued_time);
        map.timestamp(annotation::RETRIEVAL_TIME, runtime.retrieved_at);
    });
}
