//! What the log counts about itself: once for each group that is written.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tidegate_model::event::HubName;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHub {
    hub: String,
}

impl OfHub {
    fn new(hub: &HubName) -> Self {
        Self { hub: hub.as_str().to_owned() }
    }
}

/// The instruments of all hubs of a log.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    events: Family<OfHub, Counter>,
    bytes: Family<OfHub, Counter>,
    appends: Family<OfHub, Counter>,
    writes: Family<OfHub, Counter>,
    refused: Family<OfHub, Counter>,
    duration: Family<OfHub, Histogram, fn() -> Histogram>,
}

impl Default for LogMetrics {
    fn default() -> Self {
        Self {
            events: Family::default(),
            bytes: Family::default(),
            appends: Family::default(),
            writes: Family::default(),
            refused: Family::default(),
            duration: Family::new_with_constructor(write_durations),
        }
    }
}

/// From 50 µs, a fast disk's sync, to 1.6 s.
fn write_durations() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 2.0, 16))
}

impl LogMetrics {
    /// Adds them to what a scrape shows.
    pub fn register(&self, registry: &mut Registry) {
        let Self { events, bytes, appends, writes, refused, duration } = self.clone();
        registry.register("tidegate_published_events", "Events that are durable in the log", events);
        registry.register_with_unit(
            "tidegate_published",
            "Bytes that these events took in the log",
            Unit::Bytes,
            bytes,
        );
        registry.register("tidegate_log_appends", "Appends that are durable: batches of producers", appends);
        registry.register(
            "tidegate_log_writes",
            "Groups of appends that were written and synced at once",
            writes,
        );
        registry.register("tidegate_log_refused_appends", "Appends that were refused or failed", refused);
        registry.register_with_unit(
            "tidegate_log_write_duration",
            "Time to write and sync a group",
            Unit::Seconds,
            duration,
        );
    }

    /// What is durable in a hub since the program started, in bytes.
    pub fn published_bytes(&self, hub: &HubName) -> u64 {
        self.bytes.get(&OfHub::new(hub)).map_or(0, |counter| counter.get())
    }

    /// The instruments of one hub.
    pub(crate) fn of(&self, hub: &HubName) -> HubMetrics {
        let labels = OfHub::new(hub);
        HubMetrics {
            events: self.events.get_or_create(&labels).clone(),
            bytes: self.bytes.get_or_create(&labels).clone(),
            appends: self.appends.get_or_create(&labels).clone(),
            writes: self.writes.get_or_create(&labels).clone(),
            refused: self.refused.get_or_create(&labels).clone(),
            duration: self.duration.get_or_create(&labels).clone(),
        }
    }

    /// A hub is gone: it is shown no more.
    pub(crate) fn forget(&self, hub: &HubName) {
        let labels = OfHub::new(hub);
        self.events.remove(&labels);
        self.bytes.remove(&labels);
        self.appends.remove(&labels);
        self.writes.remove(&labels);
        self.refused.remove(&labels);
        self.duration.remove(&labels);
    }
}

/// The instruments of one hub.
#[derive(Clone, Debug)]
pub(crate) struct HubMetrics {
    events: Counter,
    bytes: Counter,
    appends: Counter,
    writes: Counter,
    refused: Counter,
    duration: Histogram,
}

impl HubMetrics {
    /// A group is durable.
    pub(crate) fn written(&self, events: u64, bytes: u64, appends: u64, took: Duration) {
        self.events.inc_by(events);
        self.bytes.inc_by(bytes);
        self.appends.inc_by(appends);
        self.writes.inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// The appends of a group were answered with an error.
    pub(crate) fn refused(&self, appends: usize) {
        self.refused.inc_by(appends as u64);
    }
}
