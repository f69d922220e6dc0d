//! Uploads of lines that go well.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use serde_json::json;
use tidegate_gateway::admission::Limits;
use tidegate_model::event::EventData;
use tidegate_model::partitioner::partition_of_key;
use tower::ServiceExt;

use crate::doubles::Gated;
use crate::harness::*;

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn each_line_is_an_event_and_empty_lines_are_skipped() {
    let harness = harness();
    let body = "{\"a\":1}\r\n\n\r\n not json \nlast";
    let answer = harness.send(lines("/flights/messages?partition=2", body)).await;
    answer.created();
    assert_eq!(answer.json(), json!({"events": 3, "bytes": 21}));
    let bodies: Vec<_> = harness.read(2).await.into_iter().map(|event| event.data).collect();
    assert_eq!(bodies, ["{\"a\":1}", " not json ", "last"].map(EventData::new));
}

#[tokio::test]
async fn an_empty_upload_is_nothing_and_no_error() {
    let harness = harness();
    for body in ["", "\n", "\r\n\n"] {
        let answer = harness.send(lines("/flights/messages?key=/id", body)).await;
        answer.created();
        assert_eq!(answer.json(), json!({"events": 0, "bytes": 0}));
    }
    assert_eq!(harness.read_all().await.len(), 0);
}

#[tokio::test]
async fn keys_decide_the_partition_and_lines_without_one_are_published_all_the_same() {
    let harness = harness();
    let keyed = [
        ("drone-0", r#"{"device/id":{"~":"drone-0"},"n":1}"#),
        ("drone-3", r#"{"n":2,"device/id":{"~":"drone-3"}}"#),
        ("drone-0", r#"{"device/id":{"~":"drone-0"},"n":3}"#),
        ("é\"x", r#"{"device/id":{"~":"\u00e9\"x"},"n":4}"#),
        ("17", r#"{"device/id":{"~":17},"n":5}"#),
        ("damaged later", r#"{"device/id":{"~":"damaged later"},"#),
    ];
    let keyless = [
        r#"{"device/id":{"~":null}}"#,
        r#"{"device/id":{"~":""}}"#,
        r#"{"device/id":{"#,
        "corrupt",
        "[]",
        "\u{0}",
    ];
    let all: Vec<_> = keyed.iter().map(|(_, line)| *line).chain(keyless).collect();
    let answer = harness.send(lines("/flights/messages?key=/device~1id/~0", all.join("\n"))).await;
    answer.created();
    assert_eq!(answer.json()["events"], all.len());

    let stored = harness.read_all().await;
    for (key, line) in keyed {
        let (partition, event) = stored.iter().find(|(_, event)| event.body() == line).expect(line);
        assert_eq!(event.data.partition_key.as_deref(), Some(key));
        assert_eq!(*partition, partition_of_key(key, 4).0, "{key}");
    }
    for line in keyless {
        let (_, event) = stored.iter().find(|(_, event)| event.body() == line).expect(line);
        assert_eq!(event.data.partition_key, None, "{line}");
    }
    let of_drone_0: Vec<_> =
        (stored.iter()).filter(|(_, event)| event.data.partition_key.as_deref() == Some("drone-0")).collect();
    assert!(of_drone_0[0].1.body().ends_with(b"1}") && of_drone_0[1].1.body().ends_with(b"3}"));
}

#[tokio::test]
async fn a_publishers_lines_have_its_name_as_the_key() {
    let harness = harness();
    harness.send(lines("/flights/publishers/drone-0/messages", "a\nb")).await.created();
    let stored = harness.read(2).await;
    assert_eq!(stored.len(), 2);
    assert!(stored.iter().all(|event| event.data.partition_key.as_deref() == Some("drone-0")));
    harness.send(lines("/flights/partitions/3/messages", "a\nb")).await.created();
    assert_eq!(harness.read(3).await.len(), 2);

    for (uri, complaint) in [
        ("/flights/publishers/a/messages?key=/id", "both a key"),
        ("/flights/messages?key=/id&partition=1", "both a key"),
        ("/flights/messages?key=id", "must begin with '/'"),
        ("/flights/messages?key=/~", "'~'"),
    ] {
        let message = harness.send(lines(uri, "{}")).await.refused(400, "TG-400");
        assert!(message.contains(complaint), "{uri}: {message}");
    }
}

#[tokio::test]
async fn lines_without_a_key_go_to_the_partitions_in_runs() {
    let limits = Limits { bulk_chunk_bytes: 1000, ..Limits::default() };
    let harness = harness_with(limits, |log| log);
    let body: String = (0..80).map(|n| format!("{n:022}\n")).collect();
    harness.send(lines("/flights/messages", body)).await.created();
    for partition in 0..4 {
        let numbers: Vec<u32> = (harness.read(partition).await.iter())
            .map(|event| std::str::from_utf8(event.body()).unwrap().parse().unwrap())
            .collect();
        assert!(numbers.len() >= 14, "{numbers:?}");
        assert!(numbers.is_sorted(), "{numbers:?}");
        let runs = numbers.chunk_by(|one, next| one + 1 == *next).count();
        assert!(runs <= 4, "{runs} runs: {numbers:?}");
    }
}

#[tokio::test]
async fn packed_lines_are_unpacked() {
    let harness = harness();
    let text: String = (0..20_000).map(|n| format!("{{\"id\":\"device-{}\",\"n\":{n}}}\n", n % 17)).collect();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    let headers = [("Content-Type", "application/x-ndjson"), ("Content-Encoding", "gzip")];
    let answer = harness.send(post("/flights/messages?key=/id", &headers, encoder.finish().unwrap())).await;
    answer.created();
    assert_eq!(answer.json(), json!({"events": 20_000, "bytes": text.len() - 20_000}));
    assert_eq!(harness.bodies().await.len(), 20_000);

    let headers = [("Content-Type", "application/x-ndjson"), ("Content-Encoding", "br")];
    harness.send(post("/flights/messages", &headers, "x")).await.refused(415, "TG-400");
}

#[tokio::test]
async fn partitions_are_appended_side_by_side_and_each_in_order() {
    let mut gate = None;
    let limits = Limits { bulk_chunk_bytes: 2000, ..Limits::default() };
    let harness = harness_with(limits, |log| {
        let gated = Arc::new(Gated::new(log));
        gate = Some(gated.clone());
        gated
    });
    let gate = gate.unwrap();
    let body: String = (0..2000).map(|n| format!("{{\"id\":{},\"n\":{n:05}}}\n", n % 40)).collect();
    let mut answer = Box::pin(harness.router.clone().oneshot(lines("/flights/messages?key=/id", body)));
    while gate.waiting() < 4 {
        assert!((&mut answer).now_or_never().is_none());
    }
    gate.open(10_000);
    assert_eq!(answer.await.unwrap().status().as_u16(), 201);
    assert_eq!(gate.most_at_once.load(Ordering::SeqCst), 4);
    assert_eq!(gate.most_at_once_in_one_partition.load(Ordering::SeqCst), 1);
    for partition in 0..4 {
        let numbers: Vec<_> = (harness.read(partition).await.iter())
            .map(|event| event.body()[event.body().len() - 6..].to_vec())
            .collect();
        assert!(!numbers.is_empty() && numbers.is_sorted());
    }
}

/// However long the upload and however slow the log: only the window is read ahead.
#[tokio::test]
async fn an_upload_is_not_read_ahead_of_the_log() {
    for (body_line, bulk_chunk_bytes) in
        [("x".repeat(1000), MIB / 4), ("x".into(), MIB / 4), ("x".into(), 9 * MIB)]
    {
        let mut gate = None;
        let limits = Limits { bulk_window_bytes: 2 * MIB, bulk_chunk_bytes, ..Limits::default() };
        let harness = harness_with(limits, |log| {
            let gated = Arc::new(Gated::new(log));
            gate = Some(gated.clone());
            gated
        });
        let pulled = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let piece =
            axum::body::Bytes::from(format!("{body_line}\n").repeat(64 * 1024 / (body_line.len() + 1)));
        let endless = {
            let pulled = pulled.clone();
            futures_util::stream::repeat_with(move || {
                pulled.fetch_add(piece.len(), Ordering::SeqCst);
                Ok::<_, std::io::Error>(piece.clone())
            })
        };
        let request = lines("/flights/messages", Body::from_stream(endless));
        let mut answer = Box::pin(harness.router.clone().oneshot(request));
        for round in 1..4 {
            let mut quiet = 0;
            while quiet < 200 {
                let before = pulled.load(Ordering::SeqCst);
                assert!((&mut answer).now_or_never().is_none(), "an endless upload has no answer");
                quiet = if pulled.load(Ordering::SeqCst) == before { quiet + 1 } else { 0 };
            }
            let pulled = pulled.load(Ordering::SeqCst);
            let most =
                (2 * MIB + (round - 1) * MIB) / (body_line.len() + 128) * (body_line.len() + 1) + 64 * 1024;
            assert!(pulled <= most, "{pulled} bytes were read in round {round}, not {most}");
            gate.as_ref().unwrap().open(1);
        }
    }
}

#[tokio::test]
async fn the_largest_line_fits_and_one_byte_more_does_not() {
    let harness = harness();
    let text = |length: usize| format!("one\n{}\r\nthree", "x".repeat(length));
    harness.send(lines("/flights/messages", text(MIB))).await.created();
    assert_eq!(harness.read_all().await.len(), 3);

    let answer = harness.send(lines("/flights/messages", text(MIB + 1))).await;
    let message = answer.refused(413, "TG-413");
    assert!(message.contains("line 1 (from 0)") && message.contains("1048576"), "{message}");
    assert_eq!(answer.acknowledged(), 1);
    assert_eq!(harness.read_all().await.len(), 4, "the line before the long one is stored");

    let keyed = format!("{{\"id\":\"k\"}}\n{{\"id\":\"key\",\"x\":\"{}\"}}", "x".repeat(MIB - 19));
    let answer = harness.send(lines("/flights/messages?key=/id", keyed)).await;
    let message = answer.refused(413, "TG-413");
    assert!(message.contains("line 1 (from 0) is with its partition key 1048579 bytes"), "{message}");
    assert_eq!(answer.acknowledged(), 1);
}

#[tokio::test]
async fn a_key_that_is_too_long_stops_the_upload_at_its_line() {
    let harness = harness();
    let body = format!("{{\"id\":\"a\"}}\n\n{{\"id\":\"{}\"}}\n{{\"id\":\"b\"}}\n", "k".repeat(129));
    let answer = harness.send(lines("/flights/messages?key=/id", body)).await;
    let message = answer.refused(400, "TG-400");
    assert!(message.contains("line 2 (from 0) is 129 bytes long"), "{message}");
    assert_eq!(answer.acknowledged(), 2, "empty lines count");
    assert_eq!(harness.bodies().await, [r#"{"id":"a"}"#]);
}
