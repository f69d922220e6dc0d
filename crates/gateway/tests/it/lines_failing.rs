//! Uploads of lines that fail on the way: what is acknowledged, and that a sender who goes on from there loses nothing.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tidegate_gateway::admission::Limits;
use tidegate_model::ports::AppendError;
use tidegate_model::position::PartitionId;

use crate::doubles::{Scripted, Step};
use crate::harness::*;

fn failed(may_have_been_stored: bool) -> AppendError {
    AppendError::Failed { detail: "I/O error".into(), may_have_been_stored }
}

fn small_chunks() -> Limits {
    Limits { bulk_chunk_bytes: 600, bulk_window_bytes: 4000, ..Limits::default() }
}

#[tokio::test]
async fn a_full_disk_in_one_partition_ends_the_upload_at_its_first_open_line() {
    let harness = harness_with(small_chunks(), |log| {
        Arc::new(Scripted::new(log, |_, partition| match partition.0 {
            // drone-3 lives there.
            1 => Step::Refuse(AppendError::DiskFull { detail: "no space".into() }),
            _ => Step::Store,
        }))
    });
    let mut text: Vec<_> = (0..10).map(|n| format!("{{\"id\":\"drone-0\",\"n\":{n}}}")).collect();
    text.push(r#"{"id":"drone-3"}"#.into());
    text.extend((0..10).map(|n| format!("{{\"id\":\"drone-0\",\"n\":1{n}}}")));
    let answer = harness.send(lines("/flights/messages?key=/id", text.join("\n"))).await;
    let message = answer.refused(507, "TG-303");
    assert!(
        message.starts_with("storing line 10 (from 0) failed: ") && message.contains("no space"),
        "{message}"
    );
    assert_eq!(answer.acknowledged(), 10);
    let action = answer.json()["action"].as_str().unwrap().to_owned();
    assert!(
        action.contains("first 10 lines of the request are stored") && action.contains("come twice"),
        "{action}"
    );
    assert!(harness.read(2).await.len() >= 10);
    assert_eq!(harness.read(1).await.len(), 0);
}

/// They would only come twice: the sender goes on from the failed line.
#[tokio::test]
async fn after_a_failure_no_more_lines_behind_it_are_stored() {
    let harness = harness_with(small_chunks(), |log| {
        Arc::new(Scripted::new(log, |_, partition| match partition.0 {
            1 => Step::Refuse(failed(false)),
            _ => Step::Store,
        }))
    });
    // Three lines of drone-3 fill a chunk, which fails; then come five chunks for drone-0, of which the first is under
    // way by then, or done and the second is.
    let line_of = |device: &str| format!("{{\"id\":\"{device}\",\"text\":\"{}\"}}", "x".repeat(50));
    let text = [vec![line_of("drone-3"); 3], vec![line_of("drone-0"); 15]].concat();
    let answer = harness.send(lines("/flights/messages?key=/id", text.join("\n"))).await;
    answer.refused(500, "TG-302");
    assert_eq!(answer.acknowledged(), 0);
    let stored = harness.read(2).await.len();
    assert!(stored <= 6, "{stored} lines were stored");
}

#[tokio::test]
async fn an_append_that_fails_midway_stops_its_partition_there() {
    for stored_all_the_same in [false, true] {
        let harness = harness_with(small_chunks(), move |log| {
            Arc::new(Scripted::new(log, move |append, _| match append {
                3 if stored_all_the_same => Step::StoreAndFail(failed(true)),
                3 => Step::Refuse(failed(false)),
                _ => Step::Store,
            }))
        });
        let text: String = (0..100).map(|n| format!("{n:072}\n")).collect();
        let answer = harness.send(lines("/flights/partitions/0/messages", text)).await;
        answer.refused(500, "TG-302");
        // Each chunk holds three lines of 72 + 128 bytes.
        assert_eq!(answer.acknowledged(), 9);
        assert_eq!(harness.read(0).await.len(), if stored_all_the_same { 12 } else { 9 });
    }
}

/// The log asks to slow down: the upload does, and goes on.
#[tokio::test(start_paused = true)]
async fn a_busy_log_slows_the_upload_and_does_not_fail_it() {
    let throttled = || Step::Refuse(AppendError::Throttled { partition: PartitionId(0) });
    let harness = harness_with(small_chunks(), |log| {
        Arc::new(Scripted::new(log, move |append, _| if append % 3 == 2 { Step::Store } else { throttled() }))
    });
    let text: String = (0..50).map(|n| format!("{n:072}\n")).collect();
    harness.send(lines("/flights/partitions/0/messages", text)).await.created();
    assert_eq!(harness.read(0).await.len(), 50);
    assert!(harness.bodies().await.is_sorted());

    let harness = harness_with(small_chunks(), |log| Arc::new(Scripted::new(log, move |_, _| throttled())));
    let answer = harness.send(lines("/flights/messages?timeout=5", "a\nb\n")).await;
    answer.refused(429, "TG-429");
    assert_eq!(answer.acknowledged(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_append_that_never_answers_ends_the_upload() {
    let harness = harness_with(small_chunks(), |log| {
        Arc::new(Scripted::new(log, |append, _| if append == 1 { Step::Hang } else { Step::Store }))
    });
    let text: String = (0..100).map(|n| format!("{n:072}\n")).collect();
    let answer = harness.send(lines("/flights/partitions/0/messages?timeout=5", text)).await;
    let message = answer.refused(408, "TG-408");
    assert!(message.contains("within 5 seconds"), "{message}");
    assert_eq!(answer.acknowledged(), 3);
    assert_eq!(harness.read(0).await.len(), 3);
}

#[tokio::test]
async fn a_body_that_breaks_off_publishes_its_whole_lines_only() {
    let harness = harness();
    let pieces = [Ok("one\ntw"), Ok("o\nthr"), Err(std::io::Error::other("connection reset"))];
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let answer = harness.send(lines("/flights/messages", body)).await;
    let message = answer.refused(400, "TG-400");
    assert!(message.contains("broke off after 11 bytes: connection reset"), "{message}");
    assert_eq!(answer.acknowledged(), 2);
    assert_eq!(harness.bodies().await, ["one", "two"]);
}

#[tokio::test]
async fn a_packed_body_that_is_damaged_publishes_its_whole_lines_only() {
    let text: String = (0..30_000).map(|n| format!("line {n}\n")).collect();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let headers = [("Content-Type", "application/x-ndjson"), ("Content-Encoding", "gzip")];

    let cut = &packed[..packed.len() / 2];
    let wrong_sum = [&packed[..packed.len() - 8], &[0; 8]].concat();
    let trailing = [&packed[..], b"garbage"].concat();
    for (body, whole) in [(cut, false), (&wrong_sum, true), (&trailing, true), (b"plain\ntext\n", false)] {
        let harness = harness();
        let answer = harness.send(post("/flights/partitions/0/messages", &headers, body.to_vec())).await;
        let message = answer.refused(400, "TG-400");
        assert!(message.contains("no complete gzip stream"), "{message}");
        let stored: Vec<_> = harness.read(0).await.into_iter().map(|event| event.data.body).collect();
        assert_eq!(answer.acknowledged(), stored.len() as u64);
        assert!(!whole || stored.len() >= 20_000, "{} lines", stored.len());
        for (n, line) in stored.iter().enumerate() {
            assert_eq!(line, &format!("line {n}"));
        }
    }

    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&b"\n".repeat(64 * 1024 * 1024)).unwrap();
    let answer = harness().send(post("/flights/messages", &headers, encoder.finish().unwrap())).await;
    let message = answer.refused(400, "TG-400");
    assert!(message.contains("more than 200 times"), "{message}");
}

#[derive(Clone, Debug)]
struct Upload {
    /// The key of each line, `None` for one that is corrupt.
    lines: Vec<Option<u8>>,
    /// Which appends fail, and whether their events are stored all the same.
    failures: HashMap<usize, bool>,
    chunk_bytes: usize,
    window_bytes: usize,
    piece: usize,
}

fn upload() -> impl Strategy<Value = Upload> {
    (
        proptest::collection::vec(proptest::option::weighted(0.8, 0_u8..12), 1..120),
        proptest::collection::hash_map(0_usize..30, any::<bool>(), 0..4),
        200_usize..2000,
        400_usize..4000,
        1_usize..400,
    )
        .prop_map(|(lines, failures, chunk_bytes, window_bytes, piece)| Upload {
            lines,
            failures,
            chunk_bytes,
            window_bytes,
            piece,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// A sender who goes on from the acknowledged line until all is acknowledged has every line in the log, and where
    /// no failed append stored anything, the acknowledged lines are exactly the leading lines in the log.
    #[test]
    fn going_on_from_the_acknowledged_line_loses_nothing(upload in upload()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let limits = Limits {
                bulk_chunk_bytes: upload.chunk_bytes,
                bulk_window_bytes: upload.window_bytes,
                ..Limits::default()
            };
            let failures = upload.failures.clone();
            let harness = harness_with(limits, move |log| {
                Arc::new(Scripted::new(log, move |append, _| match failures.get(&append) {
                    None => Step::Store,
                    Some(false) => Step::Refuse(failed(false)),
                    Some(true) => Step::StoreAndFail(failed(true)),
                }))
            });
            let text: Vec<String> = (upload.lines.iter().enumerate())
                .map(|(n, key)| match key {
                    Some(key) => format!("{{\"n\":{n:04},\"id\":\"device-{key}\"}}"),
                    None => format!("{{\"n\":{n:04},"),
                })
                .collect();
            let number = |body: &[u8]| std::str::from_utf8(&body[5..9]).unwrap().parse::<usize>().unwrap();

            let mut from = 0;
            for attempt in 0.. {
                prop_assert!(attempt <= upload.failures.len(), "each attempt uses up a failure");
                let body = text[from..].join("\n").into_bytes();
                let pieces: Vec<_> = body.chunks(upload.piece).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
                let body = Body::from_stream(futures_util::stream::iter(pieces));
                let answer = harness.send(lines("/flights/messages?key=/id", body)).await;

                let mut stored: Vec<_> = harness.read_all().await.iter().map(|(_, event)| number(event.body())).collect();
                stored.sort_unstable();
                stored.dedup();
                let leading = stored.iter().enumerate().take_while(|(index, n)| index == *n).count();
                if answer.status.as_u16() == 201 {
                    prop_assert_eq!(stored.len(), text.len());
                    break;
                }
                let acknowledged = usize::try_from(answer.acknowledged()).unwrap();
                prop_assert!(from + acknowledged <= leading, "{} + {} > {}", from, acknowledged, leading);
                if attempt == 0 && upload.failures.values().all(|stored| !stored) {
                    prop_assert_eq!(acknowledged, leading);
                }
                from += acknowledged;
            }
            // Order: the last time each line of a key was stored is in the order of the lines.
            let mut last_of_key: HashMap<String, Vec<usize>> = HashMap::new();
            for (_, event) in harness.read_all().await {
                if let Some(key) = &event.data.partition_key {
                    let numbers = last_of_key.entry(key.to_string()).or_default();
                    let n = number(event.body());
                    numbers.retain(|earlier| *earlier != n);
                    numbers.push(n);
                }
            }
            for numbers in last_of_key.values() {
                prop_assert!(numbers.is_sorted(), "{:?}", numbers);
            }
            Ok(())
        })?;
    }
}
