//! Looks once a second and makes series and rates of what it sees.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::Timestamp;
use tidegate_model::event::HubName;

use crate::flow::Done;
use crate::histogram::Counts;
use crate::series::{Series, SeriesAnswer, SeriesUnit};
use crate::state::State;

/// Over how many seconds a rate is averaged.
const RATE_SECONDS: usize = 10;

/// Over how many seconds percentiles of latencies go.
const LATENCY_SECONDS: usize = 60;

/// How fast everything is now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// By hub.
    pub hubs: BTreeMap<HubName, HubRates>,
    /// By function.
    pub functions: BTreeMap<FunctionName, FunctionRates>,
}

/// How fast a hub is: averages of the last ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct HubRates {
    /// Events that come in.
    pub incoming_per_s: Option<f64>,
    /// Bytes that come in; `None` for a hub of somebody else.
    pub bytes_per_s: Option<f64>,
}

/// How fast a function is: averages of the last ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FunctionRates {
    /// Events that come into the hub it reads.
    pub incoming_per_s: Option<f64>,
    /// Events that are applied, filtered or set aside.
    pub processed_per_s: Option<f64>,
    /// Events that are set aside.
    pub dead_lettered_per_s: Option<f64>,
    /// Failed attempts.
    pub failed_per_s: Option<f64>,
    /// Events without outcome, over the lanes of this program.
    pub lag_events: u64,
    /// How old the oldest of them is, in seconds.
    pub lag_s: f64,
    /// Events that could be processed now.
    pub workable: u64,
    /// From when the log took an event to when its outcome was in the store, in the last minute; `None` without any.
    pub latency_ms: Option<Percentiles>,
}

/// Percentiles in milliseconds, as near as the buckets of a histogram tell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// What 1 in 100 is slower than.
    pub p99: f64,
    /// What 1 in 1000 is slower than.
    pub p999: f64,
}

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    series: Series,
    /// When it looked last, on the steady clock, and what it saw.
    before: Option<Duration>,
    hubs: BTreeMap<HubName, (u64, Option<u64>)>,
    functions: BTreeMap<FunctionName, Done>,
    /// The latencies of the last seconds.
    latencies: BTreeMap<FunctionName, VecDeque<Counts>>,
    rates: Rates,
}

impl Sampler {
    /// Takes in what is seen at `now`.
    pub(crate) fn take(
        &mut self,
        monotonic: Duration,
        now: Timestamp,
        state: &State,
        done: Vec<(FunctionName, Done)>,
    ) {
        let elapsed = self.before.map(|before| monotonic.saturating_sub(before).as_secs_f64());
        let elapsed = elapsed.filter(|elapsed| *elapsed > 0.0);
        // Without a look before there is no rate; a counter that went back belongs to another life of its hub.
        let per_second = |after: u64, before: Option<u64>| {
            let gained = after.checked_sub(before?)?;
            elapsed.map(|elapsed| gained as f64 / elapsed)
        };
        let mut values = Vec::new();
        for hub in &state.hubs {
            let before = self.hubs.insert(hub.hub.clone(), (hub.published, hub.published_bytes));
            let incoming = per_second(hub.published, before.map(|(events, _)| events));
            values.push((name_of_hub(&hub.hub, "incoming"), SeriesUnit::EventsPerSecond, incoming));
            if let Some(bytes) = hub.published_bytes {
                let bytes = per_second(bytes, before.and_then(|(_, bytes)| bytes));
                values.push((name_of_hub(&hub.hub, "bytes"), SeriesUnit::BytesPerSecond, bytes));
            }
        }
        let mut done: BTreeMap<FunctionName, Done> = done.into_iter().collect();
        for function in &state.functions {
            let name = &function.function;
            let after = done.remove(name).unwrap_or_default();
            // One that is seen for the first time had done nothing before.
            let before = self.functions.insert(name.clone(), after).unwrap_or_default();
            let rate = |of: fn(&Done) -> u64| per_second(of(&after), Some(of(&before)));
            let of = |what: &str| name_of_function(name, what);
            values.push((of("processed"), SeriesUnit::EventsPerSecond, rate(|done| done.processed)));
            values.push((of("dead_lettered"), SeriesUnit::EventsPerSecond, rate(|done| done.dead_lettered)));
            values.push((of("failed"), SeriesUnit::EventsPerSecond, rate(|done| done.failed_attempts)));
            values.push((of("lag"), SeriesUnit::Events, Some(function.lag() as f64)));
            values.push((of("lag_s"), SeriesUnit::Seconds, Some(function.lag_seconds(now))));
            let latencies = after.latency.since(&before.latency);
            let quantile = |quantile| latencies.quantile_ms(quantile);
            values.push((of("latency_p50"), SeriesUnit::Milliseconds, quantile(0.5)));
            values.push((of("latency_p99"), SeriesUnit::Milliseconds, quantile(0.99)));
            let recent = self.latencies.entry(name.clone()).or_default();
            if recent.len() >= LATENCY_SECONDS {
                recent.pop_front();
            }
            recent.push_back(latencies);
        }
        self.series.add(monotonic, now, values);
        self.hubs.retain(|name, _| state.hubs.iter().any(|hub| hub.hub == *name));
        self.before = Some(monotonic);
        self.rates = self.rates_of(now, state);
    }

    fn rates_of(&self, now: Timestamp, state: &State) -> Rates {
        let average = |name: String| self.series.average(&name, RATE_SECONDS);
        let hubs = state.hubs.iter().map(|hub| {
            let name = &hub.hub;
            let rates = HubRates {
                incoming_per_s: average(name_of_hub(name, "incoming")),
                bytes_per_s: average(name_of_hub(name, "bytes")),
            };
            (name.clone(), rates)
        });
        let functions = state.functions.iter().map(|function| {
            let name = &function.function;
            let of = |what: &str| average(name_of_function(name, what));
            let recent = self.latencies.get(name).into_iter().flatten();
            let latencies = recent.fold(Counts::default(), |sum, second| sum.plus(second));
            let rates = FunctionRates {
                incoming_per_s: average(name_of_hub(&function.hub, "incoming")),
                processed_per_s: of("processed"),
                dead_lettered_per_s: of("dead_lettered"),
                failed_per_s: of("failed"),
                lag_events: function.lag(),
                lag_s: function.lag_seconds(now),
                workable: function.workable(),
                latency_ms: percentiles_of(&latencies),
            };
            (name.clone(), rates)
        });
        Rates { hubs: hubs.collect(), functions: functions.collect() }
    }

    pub(crate) fn rates(&self) -> Rates {
        self.rates.clone()
    }

    pub(crate) fn read(&self, names: &[String], seconds: u64) -> SeriesAnswer {
        self.series.read(names, seconds)
    }

    pub(crate) fn names(&self) -> Vec<(String, SeriesUnit)> {
        self.series.names()
    }
}

fn name_of_hub(hub: &HubName, what: &str) -> String {
    format!("hub.{hub}.{what}")
}

fn name_of_function(function: &FunctionName, what: &str) -> String {
    format!("function.{function}.{what}")
}

fn percentiles_of(latencies: &Counts) -> Option<Percentiles> {
    Some(Percentiles {
        p50: latencies.quantile_ms(0.5)?,
        p99: latencies.quantile_ms(0.99)?,
        p999: latencies.quantile_ms(0.999)?,
    })
}

#[cfg(test)]
mod tests {
    use tidegate_model::position::PartitionId;

    use super::*;
    use crate::histogram::Histogram;
    use crate::state::{FunctionState, HubState, LaneState};

    fn hub() -> HubName {
        HubName::new("h").unwrap()
    }

    fn function() -> FunctionName {
        FunctionName::new("f").unwrap()
    }

    fn state(published: u64, lag: u64) -> State {
        let hub_state = HubState {
            hub: hub(),
            partitions: 1,
            published,
            kept: published,
            published_bytes: Some(published * 100),
            damaged: 0,
        };
        let lane = LaneState {
            partition: PartitionId(0),
            state: "running",
            is_owned: true,
            is_gated: false,
            lag,
            parked: 0,
            held: 0,
            oldest_at: (lag > 0).then_some(Timestamp::default()),
        };
        let function = FunctionState {
            function: function(),
            hub: hub(),
            dependencies: Vec::new(),
            paused: false,
            dead_letters: 0,
            lanes: vec![lane],
        };
        State { hubs: vec![hub_state], functions: vec![function], ..State::default() }
    }

    fn done(processed: u64, latency: &Histogram) -> Vec<(FunctionName, Done)> {
        let done =
            Done { processed, dead_lettered: 0, failed_attempts: processed / 10, latency: latency.counts() };
        vec![(function(), done)]
    }

    #[test]
    fn counters_become_rates_and_percentiles() {
        let (mut sampler, latency) = (Sampler::default(), Histogram::default());
        let second = |second| (Duration::from_secs(second), Timestamp::from_millis(second as i64 * 1000));
        let (monotonic, now) = second(5);
        sampler.take(monotonic, now, &state(1000, 0), done(0, &latency));
        let first = sampler.rates();
        assert_eq!(first.hubs[&hub()].incoming_per_s, None, "there is no rate without a look before");
        assert_eq!(first.functions[&function()].latency_ms, None);

        latency.observe(Duration::from_millis(4), 1);
        latency.observe(Duration::from_millis(400), 99);
        let (monotonic, now) = second(7);
        sampler.take(monotonic, now, &state(1500, 20), done(400, &latency));
        let rates = sampler.rates();
        assert_eq!(rates.hubs[&hub()], HubRates { incoming_per_s: Some(250.0), bytes_per_s: Some(25_000.0) });
        let rates = rates.functions[&function()];
        assert_eq!((rates.incoming_per_s, rates.processed_per_s), (Some(250.0), Some(200.0)));
        assert_eq!((rates.failed_per_s, rates.dead_lettered_per_s), (Some(20.0), Some(0.0)));
        assert_eq!((rates.lag_events, rates.lag_s, rates.workable), (20, 7.0, 20));
        let percentiles = rates.latency_ms.unwrap();
        assert!(percentiles.p50 > 300.0 && percentiles.p99 <= 500.0 && percentiles.p50 < percentiles.p999);

        let answer = sampler.read(&["function.f.processed".to_owned(), "hub.h.incoming".to_owned()], 3);
        assert_eq!(answer.series[0].points, [None, None, Some(200.0)]);
        assert_eq!(answer.series[1].points, [None, None, Some(250.0)]);
    }

    #[test]
    fn a_hub_that_was_made_anew_has_no_rate_at_first() {
        let (mut sampler, latency) = (Sampler::default(), Histogram::default());
        for (second, published) in [(1, 1000), (2, 3), (3, 13)] {
            let now = Timestamp::from_millis(second as i64 * 1000);
            sampler.take(Duration::from_secs(second), now, &state(published, 0), done(0, &latency));
        }
        let answer = sampler.read(&["hub.h.incoming".to_owned()], 3);
        assert_eq!(answer.series[0].points, [None, None, Some(10.0)]);
    }
}
