//! The handle that the program has to all of it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::ports::Observer;

use crate::exposition::{Format, in_prometheus_format};
use crate::flow::{Flow, FlowCollector};
use crate::process::ProcessCollector;
use crate::sampler::{Rates, Sampler};
use crate::series::{SeriesAnswer, SeriesUnit};
use crate::state::{Look, Seen, State, StateCollector};

/// How often the program is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What can be seen of a program.
pub struct Telemetry {
    clock: SharedClock,
    registry: Mutex<Registry>,
    flow: Arc<Flow>,
    seen: Arc<Seen>,
    sampler: Mutex<Sampler>,
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
        let (registry, sampler) = (Mutex::new(registry), Mutex::default());
        Arc::new(Self { clock, registry, flow, seen, sampler })
    }

    /// Lets a box add its instruments.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock());
    }

    /// Who the boxes tell.
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.flow) as Arc<dyn Observer>
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
    pub async fn watch(self: Arc<Self>, look: Arc<dyn Look>) {
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
