//! The handle that the program has to all of it.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::observe::{CommitReport, InvocationReport, PublishReport};
use tidegate_model::ports::{Observer, StoreError};
use tokio::sync::watch;

use crate::exposition::{Format, in_prometheus_format};
use crate::failures::Failures;
use crate::flow::{Flow, FlowCollector, Show};
use crate::invocation_lines::InvocationLines;
use crate::otlp::{ExportCounts, Exporter, OtlpSettings, Spans, UnusableEndpoint};
use crate::process::ProcessCollector;
use crate::sampler::{Rates, Sampler};
use crate::scale::Demand;
use crate::series::{SeriesAnswer, SeriesUnit};
use crate::state::{Look, Seen, State, StateCollector};

/// How often the program is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What can be seen of a program.
pub struct Telemetry {
    clock: SharedClock,
    registry: Mutex<Registry>,
    flow: Arc<Flow>,
    failures: Arc<Failures>,
    seen: Arc<Seen>,
    sampler: Mutex<Sampler>,
    looks: watch::Sender<u64>,
    version: String,
    spans: Arc<OnceLock<Arc<Spans>>>,
    exported: Arc<ExportCounts>,
    exporter: Mutex<Option<Exporter>>,
}

impl Telemetry {
    /// Of a program of this version, that starts now.
    pub fn new(version: &str, clock: SharedClock) -> Arc<Self> {
        let (flow, seen) = (Arc::<Flow>::default(), Arc::<Seen>::default());
        let mut registry = Registry::default();
        registry.register(
            "tidegate_build",
            "The program",
            prometheus_client::metrics::info::Info::new(vec![("version", version.to_owned())]),
        );
        registry.register_collector(Box::new(FlowCollector(Arc::clone(&flow))));
        registry.register_collector(Box::new(StateCollector(Arc::clone(&seen))));
        registry.register_collector(Box::new(ProcessCollector { started_at: clock.now() }));
        let (spans, exported) = (Arc::default(), Arc::<ExportCounts>::default());
        let counts = OtlpCollector { spans: Arc::clone(&spans), exported: Arc::clone(&exported) };
        registry.register_collector(Box::new(counts));
        Arc::new(Self {
            clock,
            registry: Mutex::new(registry),
            flow,
            failures: Arc::default(),
            seen,
            sampler: Mutex::default(),
            looks: watch::Sender::new(0),
            version: version.to_owned(),
            spans,
            exported,
            exporter: Mutex::default(),
        })
    }

    /// Begins to send traces and metrics. Only once, and where a runtime is.
    ///
    /// # Errors
    /// When the endpoint cannot be used; nothing is sent then.
    pub fn export(self: &Arc<Self>, settings: OtlpSettings) -> Result<(), UnusableEndpoint> {
        let spans = Arc::new(Spans::new(settings.sample_ratio, self.clock.random()));
        let telemetry = Arc::downgrade(self);
        let scrape =
            move || telemetry.upgrade().map_or_else(String::new, |of| of.scrape(Format::OpenMetrics));
        let (counts, clock) = (Arc::clone(&self.exported), Arc::clone(&self.clock));
        let exporter = Exporter::start(settings, &self.version, Arc::clone(&spans), scrape, counts, clock)?;
        // Who comes second is not listened to.
        if self.spans.set(spans).is_ok() {
            *self.exporter.lock() = Some(exporter);
        }
        Ok(())
    }

    /// Sends what is left, for as long as a receiver has to answer at most, and ends that.
    pub async fn close(&self) {
        let exporter = self.exporter.lock().take();
        if let Some(exporter) = exporter {
            exporter.stop().await;
        }
    }

    /// Lets a box add its instruments.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock());
    }

    /// Who the boxes tell.
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(Everybody {
            flow: Arc::clone(&self.flow),
            failures: Arc::clone(&self.failures),
            lines: InvocationLines::default(),
            spans: Arc::clone(&self.spans),
        })
    }

    /// The answer to a scrape.
    pub fn scrape(&self, format: Format) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry.lock())
            .expect("writing to a string does not fail");
        match format {
            Format::OpenMetrics => text,
            Format::Prometheus => in_prometheus_format(&text),
        }
    }

    /// Looks at the program once a second. It ends when it is dropped.
    pub async fn watch(self: Arc<Self>, look: Arc<dyn Look>) -> Infallible {
        loop {
            self.look(&*look).await;
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    /// Looks at the program once.
    pub async fn look(&self, look: &dyn Look) {
        let now = self.clock.now();
        let state = look.look(now).await;
        self.flow.keep_hubs(|hub| state.hubs.iter().any(|seen| seen.hub == *hub));
        self.sampler.lock().take(self.clock.monotonic(), now, &state, self.flow.done());
        self.seen.put(now, state);
        self.looks.send_modify(|looks| *looks += 1);
    }

    /// Changes with each look.
    pub fn looks(&self) -> watch::Receiver<u64> {
        self.looks.subscribe()
    }

    /// What there is to do for a function; `None` when it was not seen.
    pub fn demand(&self, function: &str) -> Option<Demand> {
        let seen = self.seen();
        let state = &seen.1;
        let function = state.functions.iter().find(|known| known.function.as_str() == function)?;
        let needed = state
            .circuits
            .iter()
            .filter(|(circuit, _)| *circuit == function.function || function.dependencies.contains(circuit));
        Some(Demand::of(function, needed.map(|(_, state)| *state)))
    }

    /// Why events failed lately.
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// How fast everything is now.
    pub fn rates(&self) -> Rates {
        self.sampler.lock().rates()
    }

    /// The last `seconds` of series; see [`Series::read`](crate::series::Series::read).
    pub fn series(&self, names: &[String], seconds: u64) -> SeriesAnswer {
        self.sampler.lock().read(names, seconds)
    }

    /// The names of all series with their units.
    pub fn series_names(&self) -> Vec<(String, SeriesUnit)> {
        self.sampler.lock().names()
    }

    /// What was seen last, and when. Nothing is there before the first look.
    pub fn seen(&self) -> Arc<(Timestamp, State)> {
        self.seen.get()
    }
}

/// Tells everybody who wants to know.
struct Everybody {
    flow: Arc<Flow>,
    failures: Arc<Failures>,
    lines: InvocationLines,
    spans: Arc<OnceLock<Arc<Spans>>>,
}

impl Observer for Everybody {
    fn traces_wanted(&self) -> usize {
        self.spans.get().map_or(0, |spans| spans.traces_wanted())
    }

    fn published(&self, report: &PublishReport<'_>) {
        self.flow.published(report);
        if let Some(spans) = self.spans.get() {
            spans.published(report);
        }
    }

    fn invoked(&self, report: &InvocationReport<'_>) {
        self.flow.invoked(report);
        self.failures.invoked(report);
        self.lines.invoked(report);
        if let Some(spans) = self.spans.get() {
            spans.invoked(report);
        }
    }

    fn committed(&self, report: &CommitReport<'_>) {
        self.flow.committed(report);
        if let Some(spans) = self.spans.get() {
            spans.committed(report);
        }
    }

    fn not_committed(&self, at: Timestamp, error: &StoreError) {
        self.flow.not_committed(at, error);
    }
}

/// What was sent, as a scrape shows it.
struct OtlpCollector {
    spans: Arc<OnceLock<Arc<Spans>>>,
    exported: Arc<ExportCounts>,
}

impl std::fmt::Debug for OtlpCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OtlpCollector").finish_non_exhaustive()
    }
}

impl Collector for OtlpCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut show = Show(&mut encoder);
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        let dropped = self.spans.get().map_or(0, |spans| spans.dropped());
        show.counters(
            "tidegate_otlp_spans",
            "Spans for the OTLP receiver: sent, refused by it, or dropped because too many waited",
            [
                ([("outcome", "sent")], get(&self.exported.sent_spans)),
                ([("outcome", "refused")], get(&self.exported.refused_spans)),
                ([("outcome", "dropped")], dropped),
            ],
        )?;
        show.counters(
            "tidegate_otlp_metric_exports",
            "Times that metrics were given to the OTLP receiver",
            [
                ([("outcome", "sent")], get(&self.exported.metrics_sent)),
                ([("outcome", "failed")], get(&self.exported.metrics_failed)),
            ],
        )
    }
}
