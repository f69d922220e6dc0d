//! Traces of the running program as an OpenTelemetry receiver gets them: from the request of a producer to the commit.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use parking_lot::Mutex;
use prost::Message as _;
use serde_json::Value;
use tidegate_adapters::event_hubs::client::{Client, Remote};
use tidegate_model::clock::SystemClock;
use tidegate_model::event::{EventData, PropertyValue};
use tokio::net::TcpListener;

use crate::support::{CONFIG, Place, Server, started, text, wait_until};

/// What has arrived.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<Span>>>);

impl Received {
    /// A receiver, and where it is.
    async fn listen() -> (Self, String) {
        let received = Self::default();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .route("/v1/metrics", post(async || StatusCode::OK))
            .with_state(received.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (received, endpoint)
    }

    fn spans(&self) -> Vec<Span> {
        self.0.lock().clone()
    }

    /// The publish that goes on with a trace, the invocation that is linked to it, and the commit of that.
    fn chain_of(&self, traceparent: &str) -> Option<(Span, Span, Span)> {
        let spans = self.spans();
        let (trace, parent) = ids_of(traceparent);
        let publish = spans.iter().find(|span| span.trace_id == trace && span.parent_span_id == parent)?;
        // Each names the other that was told of before it.
        let names = |one: &Span, other: &Span| {
            let is_other = |link: &Link| link.span_id == other.span_id && link.trace_id == other.trace_id;
            one.links.iter().any(is_other)
        };
        let process = spans.iter().find(|span| names(span, publish) || names(publish, span))?;
        let commit = spans
            .iter()
            .find(|span| span.trace_id == process.trace_id && span.parent_span_id == process.span_id)?;
        Some((publish.clone(), process.clone(), commit.clone()))
    }
}

async fn take(State(received): State<Received>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    received.0.lock().extend(scopes.flat_map(|scope| scope.spans));
    StatusCode::OK
}

/// Trace and span of a `traceparent`, as OTLP has them.
fn ids_of(traceparent: &str) -> (Vec<u8>, Vec<u8>) {
    let parts: Vec<&str> = traceparent.split('-').collect();
    let bytes = |hex: &str| {
        let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect::<Vec<u8>>()
    };
    (bytes(parts[1]), bytes(parts[2]))
}

/// A server that sends its traces, with an AMQP front door.
fn serve(place: &Place) -> (Server, Value) {
    started(place.command("run --http 127.0.0.1:0 --amqp 127.0.0.1:0 --json"))
}

fn config(endpoint: &str, sample_ratio: u8) -> String {
    format!("{CONFIG}\n[otlp]\nendpoint = \"{endpoint}\"\nsample_ratio = {sample_ratio}\n")
}

/// One event with a property, sent by a client of Event Hubs.
async fn send_by_amqp(start: &Value, property: &str, value: &str) {
    let connection = start["connection_string"].as_str().unwrap().parse().unwrap();
    let clock = SystemClock::shared();
    let remote = Remote::of_connection_string(&connection, Some("flights"), None, clock.clone()).unwrap();
    let producer = Client::new(remote, clock);
    let producer = producer.producer(None).await.unwrap();
    let mut event = EventData::new(&b"{\"icao24\":\"amqp\"}"[..]);
    event.properties = [(property, PropertyValue::from(value))].into_iter().collect();
    producer.send(None, &[event]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_leads_from_the_producer_to_the_commit() {
    const EVENT: &str = "00-1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b-2c2c2c2c2c2c2c2c-01";
    const LINES: &str = "00-3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d-4e4e4e4e4e4e4e4e-01";
    const AMQP: &str = "00-5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f-6a6a6a6a6a6a6a6a-01";
    let (received, endpoint) = Received::listen().await;
    let place = Place::new(&config(&endpoint, 1));
    let (server, start) = serve(&place);
    let client = server.client(place.key());
    for (content_type, traceparent, body) in [
        ("application/octet-stream", EVENT, "{\"icao24\":\"one\"}"),
        ("application/x-ndjson", LINES, "{\"icao24\":\"two\"}\n{\"icao24\":\"three\"}\n"),
    ] {
        let headers = [("content-type", content_type), ("traceparent", traceparent)];
        let answer = client.ask("POST", "/flights/messages", &headers, body.as_bytes());
        assert_eq!(answer.status, 201, "{}", text(&answer.body));
    }
    // The SDKs for Event Hubs name it so.
    send_by_amqp(&start, "Diagnostic-Id", AMQP).await;

    for (traceparent, is_on_the_event) in [(EVENT, true), (LINES, false), (AMQP, true)] {
        let mut chain = None;
        wait_until("the whole chain has arrived", || {
            chain = received.chain_of(traceparent);
            chain.is_some()
        });
        let (publish, process, commit) = chain.unwrap();
        assert_eq!(
            (&*publish.name, &*process.name, &*commit.name),
            ("publish flights", "process aircraft", "commit")
        );
        assert!(publish.end_time_unix_nano <= commit.end_time_unix_nano, "{publish:?} {commit:?}");
        let (trace, producer) = ids_of(traceparent);
        let to_producer = process.links.iter().any(|link| link.trace_id == trace && link.span_id == producer);
        assert_eq!(to_producer, is_on_the_event, "only what is on an event is known behind the log");
    }
    assert!(server.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_sent_whatever_the_share_is() {
    let (received, endpoint) = Received::listen().await;
    let place = Place::new(&config(&endpoint, 0));
    let (server, _) = serve(&place);
    let client = server.client(place.key());
    for round in 0..20 {
        // Many go well, each in batches of their own.
        assert!(client.publish(
            "flights",
            "?key=/icao24",
            format!("{{\"icao24\":\"a{round}\"}}\n").as_bytes()
        ));
    }
    assert!(client.publish("flights", "?partition=3", b"no JSON\n"));
    place.caught_up(21);
    // A server that stops sends what is left.
    assert!(server.terminate().success());
    let spans = received.spans();
    let failed: Vec<&Span> = spans.iter().filter(|span| span.name == "process aircraft").collect();
    assert!(!failed.is_empty(), "{spans:?}");
    for span in &failed {
        let status = span.status.as_ref().map(|status| status.code());
        assert_eq!(status, Some(SpanStatus::Error), "nothing that went well is sent: {span:?}");
        assert!(span.events.iter().any(|event| event.name == "event failed"));
        assert!(spans.iter().any(|commit| commit.name == "commit" && commit.parent_span_id == span.span_id));
    }
    assert!(spans.iter().all(|span| !span.name.starts_with("publish")), "{spans:?}");
}
