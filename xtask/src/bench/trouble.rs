//! What it costs when things go wrong: order by key, keys that fail, dead letters by the hundred thousand, an outage.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidegate_function::{Decode, Function, JsonPointer, Merge, Upsert, upsert};
use tidegate_host::circuit::{CircuitSettings, ProbePolicy};
use tidegate_host::processor::Processor;
use tidegate_host::retry::RetryPolicy;
use tidegate_host::settings::{FunctionSettings, OnExhausted, Order};
use tidegate_host::status::LaneState;
use tidegate_model::answer::{Answer, Answers};
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{DeadLetterFilter, DeadLetterStatus};
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::{
    Checkpoints, CurrentDocument, DeadLetters, FunctionDescriptor, FunctionError, Invocation,
};
use tidegate_model::position::SequenceNumber;
use tidegate_model::trail::Act;

use super::pipeline::{self, System};

/// How long the downstream of the outage takes for a batch, so that the backlog lasts.
const DOWNSTREAM: Duration = Duration::from_millis(2);

/// One key in so many fails.
const FAILING_KEYS: u64 = 100;

/// What runs in order by key took.
#[derive(Serialize, Deserialize)]
pub(crate) struct Keys {
    /// Until the events of all keys that work were applied, in seconds.
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) counts: OutcomeCounts,
}

/// What the redrive took.
#[derive(Serialize, Deserialize)]
pub(crate) struct Redrive {
    pub(crate) dead_letters: u64,
    /// From the first redrive until the last event was applied, in seconds.
    pub(crate) wall_s: f64,
}

/// What an outage took.
#[derive(Serialize, Deserialize)]
pub(crate) struct Recovery {
    /// From the first failure until the circuit was open, in seconds.
    pub(crate) opened_s: f64,
    /// From the downstream's return until events flowed, in seconds; most of it is the wait for the next probe.
    pub(crate) flowing_s: f64,
    /// From there until a second with at least four fifths of the rate before the outage was over, in seconds; the ramp.
    pub(crate) full_speed_s: f64,
    pub(crate) probe_after_s: f64,
    pub(crate) ramp_s: f64,
    pub(crate) dead_letters: u64,
}

/// Which events fail.
#[derive(Clone)]
enum Failing {
    /// Those of one key in [`FAILING_KEYS`], for ever.
    Keys,
    /// All, while this is true.
    All(Arc<AtomicBool>),
    /// All are rejected, while this is true.
    Rejected(Arc<AtomicBool>),
}

impl Failing {
    fn answer(&self, event: &Event) -> Option<Answer> {
        match self {
            Self::Keys => {
                let key = event.data.partition_key.as_ref()?;
                let number: u64 = key.rsplit('-').next()?.parse().ok()?;
                number.is_multiple_of(FAILING_KEYS).then(|| Answer::fail("this device never works"))
            }
            Self::All(is_down) => {
                is_down.load(Ordering::Relaxed).then(|| Answer::fail("the downstream is away"))
            }
            Self::Rejected(is_bad) => {
                is_bad.load(Ordering::Relaxed).then(|| Answer::reject("a bad deployment"))
            }
        }
    }
}

/// The upsert of the main job, with events that fail.
struct Troubled {
    inner: Arc<dyn Function>,
    failing: Failing,
}

struct Planned {
    inner: Box<dyn Invocation>,
    /// What is said of events that the upsert is not given.
    said: Vec<(SequenceNumber, Answer)>,
    /// How long the downstream takes for a batch.
    takes: Duration,
}

#[async_trait]
impl Function for Troubled {
    fn descriptor(&self) -> &FunctionDescriptor {
        self.inner.descriptor()
    }

    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        let mut said = Vec::new();
        let mut given = Vec::with_capacity(events.len());
        for event in events {
            match self.failing.answer(&event) {
                Some(answer) => {
                    let ends = matches!(answer, Answer::Fail(_));
                    said.push((event.sequence_number, answer));
                    if ends {
                        break;
                    }
                }
                None => given.push(event),
            }
        }
        let takes = match self.failing {
            Failing::All(_) => DOWNSTREAM,
            Failing::Keys | Failing::Rejected(_) => Duration::ZERO,
        };
        Ok(Box::new(Planned { inner: self.inner.plan(given)?, said, takes }))
    }
}

#[async_trait]
impl Invocation for Planned {
    fn documents(&self) -> &[DocumentId] {
        self.inner.documents()
    }

    async fn run(self: Box<Self>, current: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        let mut answers = self.inner.run(current).await?;
        for (number, answer) in self.said {
            answers.push(number, answer);
        }
        Ok(answers)
    }
}

fn settings() -> FunctionSettings {
    FunctionSettings {
        max_event_batch_size: 512,
        order: Order::Key,
        retry: RetryPolicy::ExponentialBackoff {
            max_attempts: Some(4),
            min_interval: Duration::from_millis(100),
            max_interval: Duration::from_secs(10),
        },
        ..FunctionSettings::default()
    }
}

async fn start(
    system: &System,
    failing: Option<Failing>,
    settings: FunctionSettings,
) -> anyhow::Result<Processor> {
    let key = JsonPointer::new("/deviceId")?;
    let inner: Arc<dyn Function> =
        Arc::new(upsert("devices", Upsert { decode: Decode::Json, key, merge: Merge::Patch }));
    let function = match failing {
        Some(failing) => Arc::new(Troubled { inner, failing }),
        None => inner,
    };
    system.process_with(function, settings).await
}

async fn counts(system: &System) -> anyhow::Result<OutcomeCounts> {
    let mut counts = OutcomeCounts::default();
    for checkpoint in system.store.checkpoints().await? {
        counts += checkpoint.counts;
    }
    Ok(counts)
}

/// Publishes everything while it is processed in order by key; with `failing`, some keys fail for ever.
pub(crate) fn keys(input: &Path, dir: &Path, failing: bool) -> anyhow::Result<Keys> {
    pipeline::runtime()?.block_on(async {
        let system = System::open(dir)?;
        let processor = start(&system, failing.then_some(Failing::Keys), settings()).await?;
        let measure = super::measure::Measure::begin();
        pipeline::produce(&system.hub, input).await?;
        // What fails is parked: the lanes reach the end when everything else is applied.
        tokio::select! {
            () = processor.caught_up() => {}
            why = until_gated(&processor) => anyhow::bail!("some keys stopped all others: {why}"),
        }
        let taken = measure.end();
        processor.drain(Duration::from_secs(10)).await;
        let counts = counts(&system).await?;
        system.log.close();
        Ok(Keys { wall_s: taken.wall_s, cpu_s: taken.cpu_s, counts })
    })
}

/// Waits until the circuit lets no events through; why it does not.
async fn until_gated(processor: &Processor) -> String {
    loop {
        for lane in processor.status() {
            if let LaneState::Gated { why } = lane.state {
                return why;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A bad deployment rejected everything; the next one redrives it.
pub(crate) fn redrive(input: &Path, dir: &Path) -> anyhow::Result<Redrive> {
    pipeline::runtime()?.block_on(async {
        let system = System::open(dir)?;
        let is_bad = Arc::new(AtomicBool::new(true));
        let processor = start(&system, Some(Failing::Rejected(Arc::clone(&is_bad))), settings()).await?;
        pipeline::produce(&system.hub, input).await?;
        processor.caught_up().await;
        let dead_letters = counts(&system).await?.dead_lettered;

        is_bad.store(false, Ordering::Relaxed);
        let began = Instant::now();
        let open = DeadLetterFilter { status: vec![DeadLetterStatus::Open], ..DeadLetterFilter::default() };
        let act = Act {
            by: "bench".to_owned(),
            reason: "the deployment was fixed".to_owned(),
            at: Timestamp::from_millis(0),
        };
        let mut after = None;
        loop {
            let ids = system.store.find_dead_letters(&open, after, 5000).await?;
            let Some(last) = ids.last() else { break };
            after = Some(*last);
            system.store.redrive(&ids, false, &act).await?;
            for lane in processor.lanes() {
                lane.changed_from_outside();
            }
        }
        processor.settled().await;
        let wall_s = began.elapsed().as_secs_f64();
        processor.drain(Duration::from_secs(10)).await;
        let after = counts(&system).await?;
        // Corrupt events are rejected again.
        anyhow::ensure!(after.parked == 0 && after.applied > dead_letters * 9 / 10, "{after:?}");
        system.log.close();
        Ok(Redrive { dead_letters, wall_s })
    })
}

/// The downstream goes away in the middle of a backlog, and comes back.
pub(crate) fn recovery(input: &Path, dir: &Path) -> anyhow::Result<Recovery> {
    pipeline::runtime()?.block_on(async {
        let system = System::open(dir)?;
        pipeline::produce(&system.hub, input).await?;
        let is_down = Arc::new(AtomicBool::new(false));
        let (probe_after, ramp) = (Duration::from_secs(2), CircuitSettings::default().ramp);
        let circuit = CircuitSettings {
            probe: ProbePolicy::Automatic { after: probe_after, longest: probe_after },
            poll_interval: Duration::from_millis(200),
            ..CircuitSettings::default()
        };
        let settings = FunctionSettings {
            max_event_batch_size: 20,
            circuit,
            on_exhausted: OnExhausted::Hold,
            ..settings()
        };
        let processor = start(&system, Some(Failing::All(Arc::clone(&is_down))), settings).await?;

        let resolved = || async { anyhow::Ok(counts(&system).await?.applied) };
        let rate = async |span: Duration| {
            let (began, before) = (Instant::now(), resolved().await?);
            tokio::time::sleep(span).await;
            anyhow::Ok((resolved().await? - before) as f64 / began.elapsed().as_secs_f64())
        };
        let clean = rate(Duration::from_secs(2)).await?;
        is_down.store(true, Ordering::Relaxed);
        let down = Instant::now();
        let is_gated = || processor.status().iter().all(|lane| matches!(lane.state, LaneState::Gated { .. }));
        while !is_gated() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let opened_s = down.elapsed().as_secs_f64();
        tokio::time::sleep(Duration::from_secs(3)).await;
        is_down.store(false, Ordering::Relaxed);
        let back = Instant::now();
        while is_gated() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let flowing_s = back.elapsed().as_secs_f64();
        let flowing = Instant::now();
        while rate(Duration::from_secs(1)).await? < clean * 0.8 {
            anyhow::ensure!(
                flowing.elapsed() < Duration::from_secs(60),
                "it never reached {clean:.0} events/s again"
            );
        }
        let full_speed_s = flowing.elapsed().as_secs_f64();
        let dead_letters = counts(&system).await?.dead_lettered;
        drop(processor);
        Ok(Recovery {
            opened_s,
            flowing_s,
            full_speed_s,
            probe_after_s: probe_after.as_secs_f64(),
            ramp_s: ramp.as_secs_f64(),
            dead_letters,
        })
    })
}
