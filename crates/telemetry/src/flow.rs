//! What flows: publishes, invocations and commits, counted from what the boxes tell.
//!
//! A report costs one look for the function's instruments and a handful of atomic additions, whatever the number of events in
//! it; only a batch whose events came at many different times adds one for each of these, and those are bounded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::Timestamp;
use tidegate_model::error::ErrorKind;
use tidegate_model::event::HubName;
use tidegate_model::observe::{CommitReport, InvocationReport, PublishEnd, PublishReport};
use tidegate_model::ports::{Observer, StoreError};

use crate::histogram::{Counts, Histogram};

/// Counts what flows.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    hubs: RwLock<BTreeMap<HubName, Arc<OfHub>>>,
    functions: RwLock<BTreeMap<FunctionName, Arc<OfFunction>>>,
    commits: AtomicU64,
    commit_documents: AtomicU64,
    commit_duration: Histogram,
    /// Commits that the store did not take: it did not answer, or it refused.
    commits_unanswered: AtomicU64,
    commits_refused: AtomicU64,
}

#[derive(Debug, Default)]
struct OfHub {
    stored: AtomicU64,
    failed: AtomicU64,
    duration: Histogram,
}

#[derive(Debug, Default)]
struct OfFunction {
    answered: AtomicU64,
    failed: AtomicU64,
    events: AtomicU64,
    duration: Histogram,
    applied: AtomicU64,
    filtered: AtomicU64,
    dead_lettered: AtomicU64,
    parked: AtomicU64,
    failed_attempts: AtomicU64,
    latency: Histogram,
}

/// What a function has done since the program started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Events that were applied, filtered or set aside.
    pub(crate) processed: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) failed_attempts: u64,
    pub(crate) latency: Counts,
}

fn add(counter: &AtomicU64, many: u64) {
    counter.fetch_add(many, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The entry of `name`, made if it is the first time.
fn of<K: Ord + Clone, V: Default>(all: &RwLock<BTreeMap<K, Arc<V>>>, name: &K) -> Arc<V> {
    if let Some(known) = all.read().get(name) {
        return Arc::clone(known);
    }
    Arc::clone(all.write().entry(name.clone()).or_default())
}

impl Flow {
    /// What each function has done.
    pub(crate) fn done(&self) -> Vec<(FunctionName, Done)> {
        let functions = self.functions.read();
        let done = functions.iter().map(|(name, of)| {
            let dead_lettered = get(&of.dead_lettered);
            let done = Done {
                processed: get(&of.applied) + get(&of.filtered) + dead_lettered,
                dead_lettered,
                failed_attempts: get(&of.failed_attempts),
                latency: of.latency.counts(),
            };
            (name.clone(), done)
        });
        done.collect()
    }

    /// Forgets hubs that are no more.
    pub(crate) fn keep_hubs(&self, is_there: impl Fn(&HubName) -> bool) {
        if self.hubs.read().keys().any(|hub| !is_there(hub)) {
            self.hubs.write().retain(|hub, _| is_there(hub));
        }
    }
}

impl Observer for Flow {
    fn published(&self, report: &PublishReport<'_>) {
        let hub = of(&self.hubs, report.hub);
        match report.end {
            PublishEnd::Stored(_) => {
                add(&hub.stored, 1);
                hub.duration.observe(report.took, 1);
            }
            PublishEnd::Failed => add(&hub.failed, 1),
        }
    }

    fn invoked(&self, report: &InvocationReport<'_>) {
        let function = of(&self.functions, &report.lane.function);
        add(if report.error.is_none() { &function.answered } else { &function.failed }, 1);
        add(&function.events, report.events);
        function.duration.observe(report.took, 1);
        if report.failed > 0 {
            add(&function.failed_attempts, report.failed);
        }
        if report.counts.parked > 0 {
            add(&function.parked, report.counts.parked);
        }
    }

    fn committed(&self, report: &CommitReport<'_>) {
        add(&self.commits, 1);
        add(&self.commit_documents, report.documents);
        self.commit_duration.observe(report.took, 1);
        for batch in report.batches {
            let function = of(&self.functions, &batch.lane.function);
            let counts = &batch.decided.counts;
            add(&function.applied, counts.applied);
            if counts.filtered > 0 {
                add(&function.filtered, counts.filtered);
            }
            if counts.dead_lettered > 0 {
                add(&function.dead_lettered, counts.dead_lettered);
            }
            for &(enqueued_at, events) in batch.decided.enqueued.runs() {
                function.latency.observe(report.at.since(enqueued_at), events);
            }
        }
    }

    fn not_committed(&self, _: Timestamp, error: &StoreError) {
        let is_unanswered = error.kind() == ErrorKind::Transient;
        add(if is_unanswered { &self.commits_unanswered } else { &self.commits_refused }, 1);
    }
}

/// A [`Flow`] as a scrape shows it.
#[derive(Debug)]
pub(crate) struct FlowCollector(pub(crate) Arc<Flow>);

impl Collector for FlowCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let flow = &*self.0;
        let mut show = Show(&mut encoder);
        let hubs: Vec<_> = flow.hubs.read().iter().map(|(name, of)| (name.clone(), Arc::clone(of))).collect();
        show.counters(
            "tidegate_publishes",
            "Batches of producers at the front doors, by what became of them",
            hubs.iter().flat_map(|(hub, of)| {
                [("stored", &of.stored), ("failed", &of.failed)]
                    .map(|(outcome, counter)| ([("hub", hub.as_str()), ("outcome", outcome)], get(counter)))
            }),
        )?;
        show.histograms(
            "tidegate_publish_duration",
            "Time from a batch at a front door to its durability",
            hubs.iter().map(|(hub, of)| ([("hub", hub.as_str())], &of.duration)),
        )?;

        let functions: Vec<_> =
            flow.functions.read().iter().map(|(name, of)| (name.clone(), Arc::clone(of))).collect();
        let each = |counter: fn(&OfFunction) -> &AtomicU64| {
            functions.iter().map(move |(name, of)| ([("function", name.as_str())], get(counter(of))))
        };
        show.counters(
            "tidegate_invocations",
            "Invocations of a function; one that failed as a whole has its events tried one by one",
            functions.iter().flat_map(|(name, of)| {
                [("answered", &of.answered), ("failed", &of.failed)].map(|(outcome, counter)| {
                    ([("function", name.as_str()), ("outcome", outcome)], get(counter))
                })
            }),
        )?;
        show.counters(
            "tidegate_invocation_events",
            "Events that functions were given, each time they were",
            each(|of| &of.events),
        )?;
        show.histograms(
            "tidegate_invocation_duration",
            "Time that invocations take, with the wait for documents",
            functions.iter().map(|(name, of)| ([("function", name.as_str())], &of.duration)),
        )?;
        show.counters(
            "tidegate_processed_events",
            "Events whose outcome is in the store",
            functions.iter().flat_map(|(name, of)| {
                [("applied", &of.applied), ("filtered", &of.filtered), ("dead-lettered", &of.dead_lettered)]
                    .map(|(outcome, counter)| {
                        ([("function", name.as_str()), ("outcome", outcome)], get(counter))
                    })
            }),
        )?;
        show.counters(
            "tidegate_parkings",
            "Events that were parked to be tried again, each time they were",
            each(|of| &of.parked),
        )?;
        show.counters(
            "tidegate_failed_attempts",
            "Failed attempts at events, rejections included",
            each(|of| &of.failed_attempts),
        )?;
        show.histograms(
            "tidegate_event_latency",
            "Time from when the log took an event to when its outcome was in the store",
            functions.iter().map(|(name, of)| ([("function", name.as_str())], &of.latency)),
        )?;

        show.counter("tidegate_commits", "Commits that are in the store", get(&flow.commits))?;
        show.counters(
            "tidegate_commit_failures",
            "Commits that the store did not answer or refused; they are tried again or taken back",
            [
                ([("outcome", "unanswered")], get(&flow.commits_unanswered)),
                ([("outcome", "refused")], get(&flow.commits_refused)),
            ],
        )?;
        show.counter(
            "tidegate_committed_documents",
            "Document states that were written",
            get(&flow.commit_documents),
        )?;
        show.histogram(
            "tidegate_commit_duration",
            "Time that commits take, with all tries",
            &flow.commit_duration,
        )
    }
}

/// Shows families of values.
pub(crate) struct Show<'a, 'e>(pub(crate) &'a mut DescriptorEncoder<'e>);

impl Show<'_, '_> {
    pub(crate) fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> std::fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    pub(crate) fn counter(&mut self, name: &str, help: &str, value: u64) -> std::fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    pub(crate) fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> std::fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    pub(crate) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        value: f64,
    ) -> std::fmt::Result {
        self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?.encode_gauge(&value)
    }

    fn histograms<'h, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, &'h Histogram)>,
    ) -> std::fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, histogram) in values {
            encode(histogram, metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> std::fmt::Result {
        encode(histogram, self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?)
    }
}

fn encode(histogram: &Histogram, mut metric: MetricEncoder<'_>) -> std::fmt::Result {
    let counts = histogram.counts();
    metric.encode_histogram::<NoLabelSet>(histogram.sum(), counts.total(), &counts.buckets(), None)
}
