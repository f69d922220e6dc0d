//! Single events.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use futures_util::FutureExt;
use tidegate_gateway::admission::Limits;
use tidegate_model::event::{EventData, PropertyValue};
use tidegate_model::partitioner::partition_of_key;
use tower::ServiceExt;

use crate::doubles::Gated;
use crate::harness::*;

#[tokio::test]
async fn the_body_is_the_event_byte_for_byte() {
    let harness = harness();
    for body in [&b""[..], b"{}", b"\x00\xff\r\n\n", &[b'x'; 100_000]] {
        let answer =
            harness.send(post("/flights/messages?timeout=60&api-version=2014-01", &[], body.to_vec())).await;
        answer.created();
        assert!(answer.body.is_empty() && !answer.headers.contains_key("content-type"));
    }
    let stored = harness.read_all().await;
    assert_eq!(stored.len(), 4);
    for (partition, event) in &stored {
        let expected = [&b""[..], b"{}", b"\x00\xff\r\n\n", &[b'x'; 100_000]][*partition as usize];
        assert_eq!(event.data, EventData::new(expected.to_vec()), "keyless events take turns");
    }
}

#[tokio::test]
async fn headers_become_key_system_properties_and_properties() {
    let harness = harness();
    let headers = [
        ("Content-Type", "application/json; charset=utf-8"),
        ("Content-Encoding", "gzip"),
        ("BrokerProperties", r#"{"PartitionKey":"drone-0","MessageId":"m-1","CorrelationId":"c"}"#),
        ("Alert", "\"Strong Wind\""),
        ("Priority", "3"),
        ("Ratio", "0.5"),
        ("Plain", "no quotes"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("User-Agent", "curl/8"),
        ("Accept", "*/*"),
        ("X-Forwarded-For", "10.0.0.1"),
    ];
    harness.send(post("/flights/messages", &headers, "x")).await.created();
    let stored = harness.read(2).await;
    assert_eq!(stored.len(), 1, "drone-0 of four partitions belongs to 2");
    let event = &stored[0].data;
    assert_eq!(event.partition_key.as_deref(), Some("drone-0"));
    let system = [
        ("content-type", PropertyValue::from("application/json; charset=utf-8")),
        ("content-encoding", "gzip".into()),
        ("message-id", "m-1".into()),
        ("correlation-id", "c".into()),
    ];
    assert_eq!(event.system_properties, system.into_iter().collect());
    assert_eq!(event.properties.len(), 5, "{:?}", event.properties);
    for (name, value) in [
        ("alert", PropertyValue::from("Strong Wind")),
        ("priority", PropertyValue::Long(3)),
        ("ratio", PropertyValue::Double(0.5)),
        ("plain", "no quotes".into()),
        ("traceparent", headers[7].1.into()),
    ] {
        assert_eq!(event.properties.get(name), Some(&value), "{name}");
    }
}

#[tokio::test]
async fn the_address_chooses_the_partition() {
    let harness = harness();
    harness.send(post("/flights/partitions/3/messages", &[], "three")).await.created();
    harness.send(post("/flights/messages?partition=1", &[], "one")).await.created();
    harness.send(post("/flights/publishers/device%20001/messages", &[], "publisher")).await.created();
    assert_eq!(&harness.read(3).await[0].data, &EventData::new("three"));
    assert_eq!(&harness.read(1).await[0].data, &EventData::new("one"));
    let of_publisher = harness.read(partition_of_key("device 001", 4).0).await;
    assert_eq!(of_publisher.last().unwrap().data, EventData::new("publisher").with_key("device 001"));

    let same_key = [("BrokerProperties", r#"{"PartitionKey":"a"}"#)];
    harness.send(post("/flights/publishers/a/messages", &same_key, "x")).await.created();
    for uri in
        ["/flights/publishers/b/messages", "/flights/partitions/0/messages", "/flights/messages?partition=0"]
    {
        harness.send(post(uri, &same_key, "x")).await.refused(400, "TG-400");
    }
    for uri in
        ["/flights/partitions/4/messages", "/flights/partitions/x/messages", "/flights/messages?partition=9"]
    {
        let message = harness.send(post(uri, &[], "x")).await.refused(404, "TG-404");
        assert!(message.contains("it has 4, numbered from 0"), "{message}");
    }
    assert_eq!(harness.read_all().await.len(), 4);
}

#[tokio::test]
async fn the_answer_comes_after_the_append_and_not_before() {
    let mut gate = None;
    let harness = harness_with(Limits::default(), |log| {
        let gated = Arc::new(Gated::new(log));
        gate = Some(gated.clone());
        gated
    });
    let gate = gate.unwrap();
    for request in [
        post("/flights/messages", &[], "event"),
        batch("/flights/messages", r#"[{"Body":"batch"}]"#),
        lines("/flights/messages", "line"),
    ] {
        let mut answer = Box::pin(harness.router.clone().oneshot(request));
        for _ in 0..100 {
            assert!((&mut answer).now_or_never().is_none(), "answered before the events were durable");
        }
        assert_eq!(gate.waiting(), 1, "the append has begun");
        gate.open(1);
        assert_eq!(answer.await.unwrap().status().as_u16(), 201);
    }
    assert_eq!(harness.bodies().await, ["batch", "event", "line"]);
}

#[tokio::test]
async fn an_event_has_a_largest_size_with_its_properties() {
    let harness = harness();
    let largest = 1024 * 1024;
    harness.send(post("/flights/messages", &[], vec![b'x'; largest])).await.created();
    let message =
        harness.send(post("/flights/messages", &[], vec![b'x'; largest + 1])).await.refused(413, "TG-413");
    assert_eq!(message, "event 0 is 1048577 bytes large; the limit is 1048576");
    (harness.send(post("/flights/messages", &[("a", "b")], vec![b'x'; largest])).await)
        .refused(413, "TG-413");
    (harness.send(post("/flights/messages", &[], vec![b'x'; 2 * largest])).await).refused(413, "TG-413");

    let pieces = (0..40).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 64 * 1024]));
    let undeclared = Body::from_stream(futures_util::stream::iter(pieces));
    let message = harness.send(post("/flights/messages", &[], undeclared)).await.refused(413, "TG-413");
    assert_eq!(message, "the body is larger than 1114112 bytes");
    assert_eq!(harness.read_all().await.len(), 1);
}

#[tokio::test]
async fn bad_headers_and_parameters_are_named() {
    let harness = harness();
    let long_key = format!(r#"{{"PartitionKey":"{}"}}"#, "k".repeat(129));
    for (uri, headers, complaint) in [
        ("/flights/messages", &[("BrokerProperties", "{")][..], "BrokerProperties"),
        ("/flights/messages", &[("BrokerProperties", "[]")], "BrokerProperties"),
        ("/flights/messages", &[("BrokerProperties", &long_key)], "129 bytes long"),
        ("/flights/messages?timeout=soon", &[], "timeout"),
        ("/flights/messages?timeout=0", &[], "timeout"),
        ("/flights/messages?partition=-1", &[], "partition"),
        ("/flights/messages?key=/id", &[], "not declared as lines"),
        ("/flights/partitions/0/messages?partition=0", &[], "partition"),
        (&format!("/flights/publishers/{}/messages", "p".repeat(129)), &[], "129 bytes long"),
        ("/%ff/messages", &[], "address"),
    ] {
        let message = harness.send(post(uri, headers, "x")).await.refused(400, "TG-400");
        assert!(message.contains(complaint), "{uri}: {message}");
    }
    harness.send(post("/flights/messages?unknown=1&timeout=5&x", &[], "x")).await.created();
    assert_eq!(harness.read_all().await.len(), 1);
}

#[tokio::test]
async fn other_addresses_and_methods_are_answered_in_json() {
    let harness = harness();
    harness.send(post("/", &[], "")).await.refused(404, "TG-404");
    harness.send(post("/a/b/c/d", &[], "")).await.refused(404, "TG-404");
    let answer = harness.send(Request::get("/flights/messages").body(Body::empty()).unwrap()).await;
    answer.refused(405, "TG-400");
    assert_eq!(answer.headers["allow"], "POST");
}
