//! Traces and metrics over HTTP, as a receiver decodes them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::clock::{SystemClock, Timestamp};
use tidegate_model::event::HubName;
use tidegate_model::observe::{
    CommitReport, CommittedBatch, DecidedEvents, EventFailure, Fate, InvocationId, InvocationReport,
    PublishEnd, PublishReport,
};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::Observer;
use tidegate_model::position::{PartitionId, SequenceNumber};
use tidegate_telemetry::otlp::OtlpSettings;
use tidegate_telemetry::{Format, Telemetry};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What a receiver was sent.
#[derive(Debug)]
enum Received {
    Spans(Vec<Span>, HeaderMap),
    Metrics(ExportMetricsServiceRequest),
}

#[derive(Clone)]
struct Receiver {
    received: mpsc::UnboundedSender<Received>,
    /// What the next requests are answered with.
    refuse: Arc<parking_lot::Mutex<Vec<StatusCode>>>,
}

async fn traces(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if let Some(refusal) = receiver.refuse.lock().pop() {
        return refusal;
    }
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let spans = request.resource_spans.into_iter().flat_map(|resource| {
        let names = resource.resource.unwrap().attributes;
        assert!(names.iter().any(|name| name.key == "service.name"));
        resource.scope_spans.into_iter().flat_map(|scope| scope.spans)
    });
    receiver.received.send(Received::Spans(spans.collect(), headers)).unwrap();
    StatusCode::OK
}

async fn metrics(State(receiver): State<Receiver>, body: Bytes) -> StatusCode {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    receiver.received.send(Received::Metrics(request)).unwrap();
    StatusCode::OK
}

async fn listen(address: SocketAddr, receiver: Receiver) -> (SocketAddr, JoinHandle<()>) {
    let router = Router::new()
        .route("/v1/traces", post(traces))
        .route("/v1/metrics", post(metrics))
        .with_state(receiver);
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

fn settings(address: SocketAddr, interval: Duration) -> OtlpSettings {
    OtlpSettings {
        endpoint: format!("http://{address}/"),
        headers: vec![("authorization".to_owned(), "Bearer secret".to_owned())],
        sample_ratio: 1.0,
        interval,
        timeout: Duration::from_secs(10),
        first_pause: Duration::from_millis(5),
        instance: "test".to_owned(),
    }
}

fn lane() -> Lane {
    Lane {
        function: FunctionName::new("fold").unwrap(),
        hub: HubName::new("flights").unwrap(),
        partition: PartitionId(3),
    }
}

/// A batch of four events from `first` on, from its publish to its commit; the second event of it fails.
fn batch(observer: &dyn Observer, id: u64, first: u64) {
    let (lane, at, took) = (lane(), Timestamp::from_millis(1_700_000_000_000), Duration::from_millis(3));
    let (first, last) = (SequenceNumber(first), SequenceNumber(first + 3));
    observer.published(&PublishReport {
        hub: &lane.hub,
        partition: lane.partition,
        events: 4,
        at,
        took,
        end: PublishEnd::Stored(first),
        trace: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    });
    let failure = EventFailure {
        sequence_number: SequenceNumber(first.0 + 1),
        key: Some("a"),
        attempts: 1,
        kind: None,
        error: "no such device",
        fate: Fate::DeadLettered,
    };
    observer.invoked(&InvocationReport {
        id: InvocationId(id),
        lane: &lane,
        function_version: "1",
        first,
        last,
        events: 4,
        is_parked: false,
        at,
        took,
        counts: OutcomeCounts { applied: 3, dead_lettered: 1, ..OutcomeCounts::default() },
        error: None,
        failed: 1,
        failures: &[failure],
        traces: &[],
    });
    let decided = DecidedEvents { invocation: Some(InvocationId(id)), ..DecidedEvents::default() };
    let batches = [CommittedBatch { lane: &lane, position: SequenceNumber(last.0 + 1), decided: &decided }];
    observer.committed(&CommitReport { at, took, failed_tries: 0, documents: 3, batches: &batches });
}

fn receiver() -> (Receiver, mpsc::UnboundedReceiver<Received>) {
    let (received, inbox) = mpsc::unbounded_channel();
    (Receiver { received, refuse: Arc::default() }, inbox)
}

/// The next spans, until there are so many.
async fn spans(inbox: &mut mpsc::UnboundedReceiver<Received>, many: usize) -> Vec<Span> {
    let mut all = Vec::new();
    while all.len() < many {
        if let Received::Spans(spans, headers) = inbox.recv().await.unwrap() {
            assert_eq!(headers["authorization"], "Bearer secret");
            assert_eq!(headers["content-type"], "application/x-protobuf");
            all.extend(spans);
        }
    }
    all
}

fn sample(telemetry: &Telemetry, sample: &str) -> f64 {
    let text = telemetry.scrape(Format::Prometheus);
    let line = text.lines().find(|line| line.starts_with(sample)).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn publish_invocation_and_commit_arrive_linked() {
    let (receiver, mut inbox) = receiver();
    let (address, serving) = listen(SocketAddr::from(([127, 0, 0, 1], 0)), receiver).await;
    let telemetry = Telemetry::new("1.2.3", SystemClock::shared());
    telemetry.export(settings(address, Duration::ZERO)).unwrap();
    batch(&*telemetry.observer(), 7, 100);
    let spans = spans(&mut inbox, 3).await;
    let [publish, process, commit] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(
        (&*publish.name, &*process.name, &*commit.name),
        ("publish flights", "process fold", "commit")
    );
    assert_eq!(publish.trace_id[..2], [0x4b, 0xf9]);
    assert_eq!(process.links[0].span_id, publish.span_id);
    assert_eq!((&commit.trace_id, &commit.parent_span_id), (&process.trace_id, &process.span_id));
    assert_eq!(process.status.as_ref().unwrap().message, "no such device");
    serving.abort();
}

#[tokio::test]
async fn what_the_receiver_did_not_take_arrives_when_it_is_back() {
    let (receiver, mut inbox) = receiver();
    // A place where nobody listens now.
    let (address, serving) = listen(SocketAddr::from(([127, 0, 0, 1], 0)), receiver.clone()).await;
    serving.abort();
    let _ = serving.await;

    let telemetry = Telemetry::new("1.2.3", SystemClock::shared());
    telemetry.export(settings(address, Duration::ZERO)).unwrap();
    let observer = telemetry.observer();
    for n in 0..100 {
        batch(&*observer, n, n * 4);
    }
    // It is back, and still busy for a moment.
    let busy = vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY];
    *receiver.refuse.lock() = busy;
    let (_, serving) = listen(address, receiver.clone()).await;
    let all = spans(&mut inbox, 300).await;
    assert_eq!(all.len(), 300);
    assert!(receiver.refuse.lock().is_empty(), "it was sent again after each refusal");
    let mut ids: Vec<_> = all.iter().map(|span| span.span_id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 300, "each arrives once");
    assert_eq!(sample(&telemetry, "tidegate_otlp_spans_total{outcome=\"dropped\"}"), 0.0);

    // What it never takes is not sent for ever.
    receiver.refuse.lock().push(StatusCode::BAD_REQUEST);
    batch(&*observer, 1000, 4000);
    batch(&*observer, 1001, 4004);
    while sample(&telemetry, "tidegate_otlp_spans_total{outcome=\"refused\"}") == 0.0 {
        tokio::task::yield_now().await;
    }
    batch(&*observer, 1002, 4008);
    spans(&mut inbox, 1).await;
    telemetry.close().await;
    serving.abort();
}

#[tokio::test]
async fn spans_that_wait_too_long_are_dropped_and_counted() {
    let telemetry = Telemetry::new("1.2.3", SystemClock::shared());
    // Nobody listens at port 9 of the loopback, which is discard's.
    telemetry.export(settings(SocketAddr::from(([127, 0, 0, 1], 9)), Duration::ZERO)).unwrap();
    let observer = telemetry.observer();
    for n in 0..10_000 {
        batch(&*observer, n, n * 4);
    }
    let dropped = sample(&telemetry, "tidegate_otlp_spans_total{outcome=\"dropped\"}");
    assert!((20_000.0..30_000.0).contains(&dropped), "{dropped}");
}

#[tokio::test]
async fn metrics_arrive_with_their_kinds_and_units() {
    let (receiver, mut inbox) = receiver();
    let (address, serving) = listen(SocketAddr::from(([127, 0, 0, 1], 0)), receiver).await;
    let telemetry = Telemetry::new("1.2.3", SystemClock::shared());
    batch(&*telemetry.observer(), 7, 100);
    telemetry.export(settings(address, Duration::from_millis(5))).unwrap();
    let request = loop {
        if let Received::Metrics(request) = inbox.recv().await.unwrap() {
            break request;
        }
    };
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let named = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    assert!(matches!(&named("tidegate_publishes").data, Some(Data::Sum(sum)) if sum.is_monotonic));
    let duration = named("tidegate_publish_duration_seconds");
    assert!(matches!(&duration.data, Some(Data::Histogram(of)) if of.data_points[0].count == 1));
    assert_eq!(duration.unit, "s");
    assert!(matches!(&named("process_start_time_seconds").data, Some(Data::Gauge(_))));
    telemetry.close().await;
    serving.abort();
}

#[test]
fn an_endpoint_that_is_none_is_refused_without_its_headers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _in_it = runtime.enter();
    let telemetry = Telemetry::new("1.2.3", SystemClock::shared());
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    for endpoint in ["localhost:4318", "ftp://x", ""] {
        let settings = OtlpSettings { endpoint: endpoint.to_owned(), ..settings(address, Duration::ZERO) };
        assert!(!format!("{settings:?}").contains("secret"));
        let refused = telemetry.export(settings).unwrap_err().to_string();
        assert!(refused.contains("OTLP endpoint") && !refused.contains("secret"), "{refused}");
    }
}
