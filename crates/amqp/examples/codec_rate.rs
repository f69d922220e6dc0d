//! What the codec costs: nanoseconds for each event, on one core.
//!
//! Run with `cargo run --release -p tidegate-amqp --example codec_rate`.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tidegate_amqp::codec::frame::{self, Frame};
use tidegate_amqp::codec::message::{BatchBuilder, Message, MessageBuilder, Stamp, encode_delivery};
use tidegate_amqp::codec::performative::{DeliveryTag, Performative, Transfer};

const EVENTS: usize = 100;
const PAYLOAD: usize = 200;
const RUNS: usize = 100;
const ROUNDS: usize = 100;

fn main() {
    let plain = MessageBuilder::new().data(vec![b'x'; PAYLOAD]).encode();
    let with_properties = MessageBuilder::new()
        .annotation("x-opt-partition-key", "device-0001")
        .application_property("kind", "temperature")
        .application_property("unit", "celsius")
        .data(vec![b'x'; PAYLOAD])
        .encode();

    for (name, event) in [("plain event", &plain), ("event with key and two properties", &with_properties)] {
        println!("{name}, {PAYLOAD} bytes of payload, {} bytes in all", event.len());
        let mut batch = BatchBuilder::new(Some("device-0001"));
        for _ in 0..EVENTS {
            batch.add(event);
        }
        let batch = batch.finish();
        measure("split a batch of 100, as slices", || split_slices(&batch));
        measure("split a batch of 100, as bytes", || split(&batch));
        measure("split, parse and check each event", || split_and_check(&batch));

        let mut out = BytesMut::with_capacity(EVENTS * 1024);
        measure("encode a delivery, in its frame", || deliver(&mut out, event));
        measure("encode and read back a delivery", || deliver_and_read(&mut out, event));
    }
}

/// Runs `round`, which handles 100 events, many times, and prints the best of many short runs.
fn measure(what: &str, mut round: impl FnMut() -> usize) {
    let best = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..ROUNDS {
                assert_eq!(black_box(round()), EVENTS);
            }
            start.elapsed().as_nanos() as f64 / (ROUNDS * EVENTS) as f64
        })
        .fold(f64::INFINITY, f64::min);
    println!("  {what:<36} {best:>7.1} ns/event");
}

fn split_slices(batch: &Bytes) -> usize {
    let batch = Message::parse(batch.clone()).expect("a batch");
    let mut events = batch.data_sections();
    let mut count = 0;
    while let Some(event) = events.next_slice() {
        black_box(event);
        count += 1;
    }
    count
}

fn split(batch: &Bytes) -> usize {
    let batch = Message::parse(batch.clone()).expect("a batch");
    batch.data_sections().map(black_box).count()
}

fn split_and_check(batch: &Bytes) -> usize {
    let batch = Message::parse(batch.clone()).expect("a batch");
    let mut count = 0;
    for event in batch.data_sections() {
        let event = Message::parse(event).expect("an event");
        event.check().expect("a sound event");
        black_box(event.partition_key().expect("a key or none"));
        count += 1;
    }
    count
}

fn deliver(out: &mut BytesMut, event: &[u8]) -> usize {
    out.clear();
    for sequence_number in 0..EVENTS as u32 {
        let stamp = Stamp {
            sequence_number: i64::from(sequence_number) + 1_000_000,
            offset: "1000000",
            enqueued_time: 1_795_289_632_768,
            partition_key: Some("device-0001"),
            runtime: None,
        };
        let transfer = Transfer {
            handle: 1,
            delivery_id: Some(sequence_number),
            delivery_tag: Some(DeliveryTag::from_number(sequence_number)),
            message_format: Some(0),
            settled: Some(true),
            ..Transfer::default()
        };
        let written = frame::write_transfer_with(out, 1, &transfer, 65_536, |out| {
            encode_delivery(out, &stamp, event).expect("an event");
        });
        written.expect("it fits");
    }
    black_box(&out);
    EVENTS
}

fn deliver_and_read(out: &mut BytesMut, event: &[u8]) -> usize {
    deliver(out, event);
    let mut received = std::mem::take(out);
    let mut count = 0;
    while let Some(mut frame) = Frame::take(&mut received, 65_536).expect("frames") {
        let Ok(Performative::Transfer(_)) = Performative::decode(&mut frame.body) else { continue };
        let message = Message::parse(frame.body).expect("an event");
        black_box(message.event_stamp().expect("a stamp"));
        black_box(message.data());
        count += 1;
    }
    *out = BytesMut::with_capacity(EVENTS * 1024);
    count
}
