//! Batches.

use std::sync::Arc;

use tidegate_gateway::admission::Limits;
use tidegate_model::event::PropertyValue;
use tidegate_model::ports::AppendError;
use tidegate_model::position::PartitionId;

use crate::doubles::{Scripted, Step};
use crate::harness::*;

#[tokio::test]
async fn a_batch_is_one_append_to_the_partition_of_its_key() {
    let harness = harness();
    let body = r#"[
        {"Body":"one","UserProperties":{"Alert":"wind","n":1},"BrokerProperties":{"PartitionKey":"drone-0"}},
        {"Body":"two\nlines","BrokerProperties":{"PartitionKey":"drone-0","MessageId":"m"}}]"#;
    let answer = harness.send(batch("/flights/messages", body)).await;
    answer.created();
    assert!(answer.body.is_empty());
    let stored = harness.read(2).await;
    assert_eq!(stored.len(), 2);
    assert_eq!(&stored[0].body()[..], b"one");
    assert_eq!(stored[0].data.properties.get("Alert"), Some(&PropertyValue::from("wind")));
    assert_eq!(&stored[1].body()[..], b"two\nlines");
    assert_eq!(stored[1].data.system_properties.get("message-id"), Some(&PropertyValue::from("m")));
    assert!(stored.iter().all(|event| event.data.partition_key.as_deref() == Some("drone-0")));
}

#[tokio::test]
async fn batches_without_a_key_take_turns_and_stay_together() {
    let harness = harness();
    for name in ["a", "b", "c", "d", "e"] {
        let body = format!(r#"[{{"Body":"{name}1"}},{{"Body":"{name}2"}}]"#);
        harness.send(batch("/flights/messages", body)).await.created();
    }
    for partition in 0..4 {
        let bodies: Vec<_> = harness.read(partition).await.iter().map(|event| event.body().clone()).collect();
        for pair in bodies.chunks(2) {
            assert_eq!(pair[0][0], pair[1][0], "{bodies:?}");
        }
        assert!(bodies.len() == 2 || (partition == 0 && bodies.len() == 4), "{bodies:?}");
    }
}

#[tokio::test]
async fn addresses_count_for_batches_too() {
    let harness = harness();
    harness.send(batch("/flights/partitions/3/messages", r#"[{"Body":"a"},{"Body":"b"}]"#)).await.created();
    assert_eq!(harness.read(3).await.len(), 2);
    harness
        .send(batch("/flights/publishers/drone-0/messages", r#"[{"Body":"a"},{"Body":"b"}]"#))
        .await
        .created();
    assert!(harness.read(2).await.iter().all(|event| event.data.partition_key.as_deref() == Some("drone-0")));
    harness.send(batch("/flights/messages", "[]")).await.created();
    assert_eq!(harness.read_all().await.len(), 4);
}

#[tokio::test]
async fn a_bad_batch_stores_nothing_and_names_the_event() {
    let harness = harness();
    for (body, status, complaint) in [
        (r#"[{"Body":"a"},{"Body":7}]"#.to_owned(), 400, "event 1"),
        (r#"[{"Body":"a"},{"Body":"b","BrokerProperties":{"PartitionKey":"k"}}]"#.into(), 400, "event 1"),
        ("not json".into(), 400, "no JSON array"),
        (
            format!(
                r#"[{{"Body":"a","UserProperties":{{"p":"{0}"}}}},{{"Body":"{1}"}}]"#,
                "",
                "x".repeat(1_048_577)
            ),
            413,
            "event 1 is 1048577 bytes",
        ),
        (" ".repeat(1_200_000), 413, "larger than 1114112 bytes"),
    ] {
        let answer = harness.send(batch("/flights/messages", body)).await;
        let message = answer.refused(status, &format!("TG-{status}"));
        assert!(message.contains(complaint), "{message}");
    }
    let packed =
        [("Content-Type", "application/vnd.microsoft.servicebus.json"), ("Content-Encoding", "gzip")];
    harness.send(post("/flights/messages", &packed, "[]")).await.refused(415, "TG-400");
    assert_eq!(harness.read_all().await.len(), 0);
}

#[tokio::test]
async fn a_failed_batch_is_all_or_nothing() {
    let harness = harness_with(Limits::default(), |log| {
        Arc::new(Scripted::new(log, |append, _| match append {
            0 => Step::Refuse(AppendError::Throttled { partition: PartitionId(0) }),
            _ => Step::Store,
        }))
    });
    let body = r#"[{"Body":"a"},{"Body":"b"}]"#;
    harness.send(batch("/flights/messages", body)).await.refused(429, "TG-429");
    assert_eq!(harness.read_all().await.len(), 0);
    harness.send(batch("/flights/messages", body)).await.created();
    assert_eq!(harness.read_all().await.len(), 2);
}
