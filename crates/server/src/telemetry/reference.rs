//! The reference of the metrics, and whether what is shipped to look at them looks at what there is.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use tower::ServiceExt as _;

use tidegate_eventlog::{Log, LogOptions};
use tidegate_gateway::amqp::AmqpMetrics;
use tidegate_gateway::throughput::Quota;
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::circuit::CircuitState;
use tidegate_model::clock::{SystemClock, Timestamp};
use tidegate_model::event::HubName;
use tidegate_model::observe::{InvocationId, InvocationReport, PublishEnd, PublishReport};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::position::{PartitionId, SequenceNumber};
use tidegate_telemetry::families::{Family, FamilyKind, families_of};
use tidegate_telemetry::state::{FunctionState, HubState, LaneState, Look, OpenSource, SourceState, State};
use tidegate_telemetry::{Format, Telemetry};

use crate::config::TlsConfig;
use crate::logging::kept_lines;
use crate::telemetry::{Certificates, HttpMetrics};
use crate::tls::Certificate;

struct OneOfEach;

fn function() -> FunctionName {
    FunctionName::new("f").unwrap()
}

fn hub() -> HubName {
    HubName::new("h").unwrap()
}

#[async_trait]
impl Look for OneOfEach {
    async fn look(&self, _: Timestamp) -> State {
        let hub_state = HubState {
            hub: hub(),
            partitions: 1,
            published: 1,
            kept: 1,
            published_bytes: Some(1),
            damaged: 0,
        };
        let lane = LaneState {
            partition: PartitionId(0),
            state: "running",
            is_owned: true,
            is_gated: false,
            lag: 0,
            parked: 0,
            held: 0,
            oldest_at: None,
        };
        let function_state = FunctionState {
            function: function(),
            hub: hub(),
            dependencies: Vec::new(),
            paused: false,
            dead_letters: 0,
            lanes: vec![lane],
        };
        let circuits = vec![(function(), CircuitState::Closed)];
        let open = Some(OpenSource { answered_at: Timestamp::default(), buffered_bytes: 0 });
        let sources = vec![SourceState { source: hub(), open }];
        State { hubs: vec![hub_state], sources, functions: vec![function_state], circuits }
    }
}

/// The certificate of a front door, in this directory.
fn certificate(dir: &Path) -> Arc<Certificate> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut files = TlsConfig { certificate: "cert.pem".into(), key: "key.pem".into() };
    files.seen_from(dir);
    Arc::new(Certificate::load(files).unwrap())
}

/// Everything that a server shows, with one hub and one function.
async fn all() -> Vec<Family> {
    let dir = tempfile::tempdir().unwrap();
    let clock = SystemClock::shared();
    let log = Log::open(dir.path(), LogOptions::default(), clock.clone()).unwrap();
    log.create_hub(&hub(), 1).unwrap();
    let telemetry = Telemetry::new("0", clock.clone());
    telemetry.register(|registry| log.metrics().register(registry));
    telemetry.register(|registry| kept_lines().register(registry));
    telemetry.register(|registry| Quota::unlimited().register(registry));
    telemetry.register(|registry| AmqpMetrics::default().register(registry));
    let certificates = Certificates(vec![("amqp", certificate(dir.path()))]);
    telemetry.register(|registry| registry.register_collector(Box::new(certificates)));
    let http = HttpMetrics::default();
    telemetry.register(|registry| http.register(registry));
    let asked = http.around(Router::new(), &clock).oneshot(Request::new(Body::empty())).await;
    assert!(asked.is_ok());
    let observer = telemetry.observer();
    let (at, took) = (Timestamp::default(), std::time::Duration::ZERO);
    let (partition, end) = (PartitionId(0), PublishEnd::Failed);
    observer.published(&PublishReport { hub: &hub(), partition, events: 1, at, took, end, trace: None });
    let lane = Lane { function: function(), hub: hub(), partition };
    observer.invoked(&InvocationReport {
        id: InvocationId(1),
        lane: &lane,
        function_version: "1",
        first: SequenceNumber(0),
        last: SequenceNumber(0),
        events: 1,
        is_parked: false,
        at,
        took,
        counts: OutcomeCounts::default(),
        error: None,
        failed: 0,
        failures: &[],
        traces: &[],
    });
    Arc::clone(&telemetry).look(&OneOfEach).await;
    families_of(&telemetry.scrape(Format::OpenMetrics))
}

/// The name by which Prometheus knows it.
fn name_of(family: &Family) -> String {
    let suffix = match family.kind {
        FamilyKind::Counter => "_total",
        FamilyKind::Info => "_info",
        FamilyKind::Gauge | FamilyKind::Histogram => "",
    };
    format!("{}{suffix}", family.name)
}

fn reference(families: &[Family]) -> String {
    let mut page = String::from(
        "# Metrics\n\nGenerated from what `GET /metrics` shows: `TIDEGATE_UPDATE_REFERENCE=1 cargo test -p tidegate --lib \
         reference`.\n\nCounters begin at zero with the program, but for `tidegate_hub_events_total`. A histogram has \
         `_bucket`, `_sum` and `_count`. Labels\nhave as many values as there are hubs, functions, circuits, partitions, routes and \
         conditions; nothing that events or clients bring along is a label.\nHow to read them: [telemetry](telemetry.md).\n\n| metric | kind | \
         labels | what it tells |\n|---|---|---|---|\n",
    );
    for family in families {
        let kind = match family.kind {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
            FamilyKind::Histogram => "histogram",
            FamilyKind::Info => "info",
        };
        let mut labels: Vec<String> = Vec::new();
        for (name, _) in family.samples.iter().flat_map(|sample| &sample.labels) {
            let name = format!("`{name}`");
            if name != "`le`" && !labels.contains(&name) {
                labels.push(name);
            }
        }
        assert!(!family.samples.is_empty(), "{} has no sample here", family.name);
        let help = family.help.trim_end_matches('.');
        page.push_str(&format!("| `{}` | {kind} | {} | {help} |\n", name_of(family), labels.join(", ")));
    }
    page
}

#[tokio::test]
async fn the_reference_of_the_metrics_is_the_generated_one() {
    let page = reference(&all().await);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md");
    if std::env::var_os("TIDEGATE_UPDATE_REFERENCE").is_some() {
        std::fs::write(path, &page).expect("write the reference");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/reference/metrics.md is out of date; regenerate it with\n  \
         TIDEGATE_UPDATE_REFERENCE=1 cargo test -p tidegate --lib reference"
    );
}

/// The names of metrics in a text: words that begin as ours do.
fn named_in(text: &str) -> Vec<String> {
    let is_of_name =
        |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ':';
    let words = text.split(|character: char| !is_of_name(character));
    words
        .filter(|word| word.starts_with("tidegate_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn what_is_shipped_looks_at_metrics_that_there_are() {
    let families = all().await;
    let is_there = |name: &str| {
        families.iter().any(|family| {
            let of_histogram = family.kind == FamilyKind::Histogram
                && ["_bucket", "_sum", "_count"]
                    .iter()
                    .any(|suffix| name == format!("{}{suffix}", family.name));
            name == name_of(family) || of_histogram
        })
    };
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");
    for file in ["grafana/tidegate.json", "prometheus/tidegate.rules.yml"] {
        let text = std::fs::read_to_string(format!("{deploy}/{file}")).unwrap();
        let named = named_in(&text);
        assert!(named.len() > 10, "{file}");
        let missing: Vec<&String> = named.iter().filter(|name| !is_there(name)).collect();
        assert!(missing.is_empty(), "{file} looks at what is not there: {missing:?}");
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/grafana/tidegate.json");
    let dashboard: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(
        dashboard["title"].is_string() && dashboard["schemaVersion"].as_u64() > Some(36) && panels.len() > 8
    );
    let mut ids: Vec<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "each panel has its own number");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            assert!(!target["expr"].as_str().unwrap().is_empty(), "{}", panel["title"]);
        }
    }
}
