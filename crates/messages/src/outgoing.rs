//! Events to messages.

use bytes::BytesMut;
use tidegate_amqp::codec::message::{
    MessageWriter, PartitionRuntime, Properties as Standard, Stamp, encode_delivery,
};
use tidegate_amqp::codec::names::annotation;
use tidegate_amqp::codec::value::Value;
use tidegate_model::clock::Timestamp;
use tidegate_model::event::{EventData, Properties};
use tidegate_model::ports::{EventView, PartitionEnds};

use crate::properties::{set_standard, value_of};

/// Appends an event as a receiver gets it. `runtime` is the state of the partition, for a receiver that asked for it.
pub fn write_event(out: &mut BytesMut, event: &EventView<'_>, runtime: Option<&Runtime>) {
    let offset = event.offset().to_string();
    let stamp = Stamp {
        sequence_number: i64::try_from(event.sequence_number.0).unwrap_or(i64::MAX),
        offset: &offset,
        enqueued_time: event.enqueued_at.as_millis(),
        partition_key: event.partition_key.and_then(|key| std::str::from_utf8(key).ok()),
        runtime: runtime.map(Runtime::annotations),
    };
    // A stored message is one, since it was checked when it came; what is not is delivered by its body.
    let encoded = event.message.is_some_and(|message| encode_delivery(out, &stamp, message).is_ok());
    if !encoded {
        put_together(out, event, &stamp);
    }
}

/// The state of a partition, as it is told with each event.
#[derive(Clone, Debug)]
pub struct Runtime {
    last_sequence_number: i64,
    last_offset: String,
    last_enqueued_time: i64,
    retrieved_at: i64,
}

impl Runtime {
    /// The state at `now`.
    pub fn of(ends: PartitionEnds, now: Timestamp) -> Self {
        Self {
            last_sequence_number: ends.last().map_or(-1, |last| i64::try_from(last.0).unwrap_or(i64::MAX)),
            last_offset: ends.last_offset().map_or_else(|| "-1".to_owned(), |offset| offset.to_string()),
            last_enqueued_time: ends.last_enqueued_at.map_or(0, Timestamp::as_millis),
            retrieved_at: now.as_millis(),
        }
    }

    fn annotations(&self) -> PartitionRuntime<'_> {
        PartitionRuntime {
            last_sequence_number: self.last_sequence_number,
            last_offset: &self.last_offset,
            last_enqueued_time: self.last_enqueued_time,
            retrieved_at: self.retrieved_at,
        }
    }
}

/// A message for an event that did not come over AMQP.
fn put_together(out: &mut BytesMut, event: &EventView<'_>, stamp: &Stamp<'_>) {
    let mut writer = MessageWriter::new(out);
    if let Some(runtime) = &stamp.runtime {
        writer.runtime(runtime);
    }
    let (standard, others) = described(event.system_properties);
    writer.stamp_with(stamp, |map| {
        for (name, value) in &others {
            map.value(name, value);
        }
    });
    finish(&mut writer, &standard, event.properties, event.body);
}

/// Appends an event as a producer sends it to a hub: the message it came as, or one that is put together.
pub fn write_message(out: &mut BytesMut, event: &EventData) {
    if let Some(message) = event.message() {
        out.extend_from_slice(message.bytes());
        return;
    }
    let mut writer = MessageWriter::new(out);
    let (standard, others) = described(&event.system_properties);
    if event.partition_key.is_some() || !others.is_empty() {
        writer.message_annotations(|map| {
            if let Some(key) = &event.partition_key {
                map.string(annotation::PARTITION_KEY, key);
            }
            for (name, value) in &others {
                map.value(name, value);
            }
        });
    }
    finish(&mut writer, &standard, &event.properties, &event.body);
}

/// Which of the system properties are standard properties of a message, and which are annotations.
fn described(system_properties: &Properties) -> (Standard, Vec<(&str, Value)>) {
    let mut standard = Standard::default();
    let mut others = Vec::new();
    for (name, value) in system_properties.iter() {
        if !set_standard(&mut standard, name, value) {
            others.push((name, value_of(value)));
        }
    }
    (standard, others)
}

fn finish(writer: &mut MessageWriter<'_>, standard: &Standard, properties: &Properties, body: &[u8]) {
    if *standard != Standard::default() {
        writer.properties(standard);
    }
    if !properties.is_empty() {
        writer.application_properties(|map| {
            for (name, value) in properties.iter() {
                map.value(name, &value_of(value));
            }
        });
    }
    writer.data(body);
}
