//! What is known elsewhere, as it is now: positions, lanes, circuits. It is looked at once a second.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::CircuitState;
use tidegate_model::clock::Timestamp;
use tidegate_model::event::HubName;
use tidegate_model::position::PartitionId;

use crate::flow::Show;

/// Looks at the program.
#[async_trait]
pub trait Look: Send + Sync + 'static {
    /// How it is at `now`. What it cannot see it leaves out.
    async fn look(&self, now: Timestamp) -> State;
}

/// How the program is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The hubs that are read or written, those of others included.
    pub hubs: Vec<HubState>,
    /// The hubs of others that are to be read, whether they are there or not.
    pub sources: Vec<SourceState>,
    /// The functions, each with its lanes.
    pub functions: Vec<FunctionState>,
    /// The circuits: those of functions and of what they need.
    pub circuits: Vec<(FunctionName, CircuitState)>,
}

/// A hub.
#[derive(Clone, Debug, PartialEq)]
pub struct HubState {
    /// Its name.
    pub hub: HubName,
    /// How many partitions it has.
    pub partitions: u32,
    /// How many events it ever had: all tails together.
    pub published: u64,
    /// How many events it keeps.
    pub kept: u64,
    /// Bytes that were published since the program started; `None` for a hub of somebody else.
    pub published_bytes: Option<u64>,
    /// How many partitions are out of service.
    pub damaged: u32,
}

/// A hub of somebody else.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceState {
    /// What it is called here.
    pub source: HubName,
    /// What is known of it while it is open; `None` while it is away, and its functions have not begun.
    pub open: Option<OpenSource>,
}

/// A hub of somebody else that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSource {
    /// When it answered last to what it is asked twice a minute: where its partitions begin and end.
    pub answered_at: Timestamp,
    /// Bytes of events that are held ahead of the functions.
    pub buffered_bytes: u64,
}

/// A function.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionState {
    /// Its name.
    pub function: FunctionName,
    /// The hub it reads.
    pub hub: HubName,
    /// What else it needs: the circuits that keep its events back besides its own.
    pub dependencies: Vec<FunctionName>,
    /// Whether a person stopped it.
    pub paused: bool,
    /// Its dead letters that wait for a decision.
    pub dead_letters: u64,
    /// The lanes of this program.
    pub lanes: Vec<LaneState>,
}

/// A lane.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneState {
    /// The partition.
    pub partition: PartitionId,
    /// What it does: a word.
    pub state: &'static str,
    /// Whether this program owns it. Of others only the lag is known here, from their checkpoints.
    pub is_owned: bool,
    /// Whether it is stopped by a circuit or a person.
    pub is_gated: bool,
    /// Events behind the checkpoint.
    pub lag: u64,
    /// Events that are parked, those that are held included.
    pub parked: u64,
    /// Events that are held.
    pub held: u64,
    /// When the first event that has no outcome was enqueued; `None` without lag.
    pub oldest_at: Option<Timestamp>,
}

/// Every word that [`LaneState::state`] can be.
pub const LANE_STATES: [&str; 8] =
    ["running", "retrying", "held", "gated", "waiting", "unowned", "stopped", "released"];

impl FunctionState {
    fn owned(&self) -> impl Iterator<Item = &LaneState> {
        self.lanes.iter().filter(|lane| lane.is_owned)
    }

    /// Events behind the checkpoints.
    pub fn lag(&self) -> u64 {
        self.owned().map(|lane| lane.lag).sum()
    }

    /// How old the oldest event is that has no outcome, in seconds; zero without lag.
    pub fn lag_seconds(&self, now: Timestamp) -> f64 {
        let oldest = self.owned().filter_map(|lane| lane.oldest_at).min();
        oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64())
    }

    /// Events that could be processed now if there was somebody to do it: not those that are parked, nor those behind a
    /// circuit, a pause, or an event that is held.
    pub fn workable(&self) -> u64 {
        self.owned().filter(|lane| self.can_move(lane)).map(|lane| lane.lag).sum()
    }

    /// The same over all lanes, also those that other programs own.
    pub fn workable_anywhere(&self) -> u64 {
        self.lanes.iter().filter(|lane| self.can_move(lane)).map(|lane| lane.lag).sum()
    }

    fn can_move(&self, lane: &LaneState) -> bool {
        !self.paused && !lane.is_gated && !matches!(lane.state, "held" | "stopped")
    }

    /// Parked events.
    pub fn parked(&self) -> u64 {
        self.owned().map(|lane| lane.parked).sum()
    }

    /// Held events.
    pub fn held(&self) -> u64 {
        self.owned().map(|lane| lane.held).sum()
    }
}

/// The last [`State`] that was seen, and when.
#[derive(Debug, Default)]
pub(crate) struct Seen(RwLock<Arc<(Timestamp, State)>>);

impl Seen {
    pub(crate) fn put(&self, at: Timestamp, state: State) {
        *self.0.write() = Arc::new((at, state));
    }

    pub(crate) fn get(&self) -> Arc<(Timestamp, State)> {
        Arc::clone(&self.0.read())
    }
}

/// How many lanes are shown one by one; with more only the sums of functions are.
const MOST_LANES: usize = 1000;

/// What was [`Seen`] as a scrape shows it.
#[derive(Debug)]
pub(crate) struct StateCollector(pub(crate) Arc<Seen>);

impl Collector for StateCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let seen = self.0.get();
        let (at, state) = &*seen;
        let mut show = Show(&mut encoder);
        let hub = |value: fn(&HubState) -> f64| {
            state.hubs.iter().map(move |hub| ([("hub", hub.hub.as_str())], value(hub)))
        };
        show.gauges(
            "tidegate_hub_partitions",
            "Partitions of a hub",
            None,
            hub(|hub| f64::from(hub.partitions)),
        )?;
        show.gauges(
            "tidegate_hub_damaged_partitions",
            "Partitions of a hub that are out of service",
            None,
            hub(|hub| f64::from(hub.damaged)),
        )?;
        show.counters(
            "tidegate_hub_events",
            "Events that a hub ever had: the sum of its partitions' next sequence numbers",
            state.hubs.iter().map(|hub| ([("hub", hub.hub.as_str())], hub.published)),
        )?;
        show.gauges("tidegate_hub_kept_events", "Events that a hub keeps", None, hub(|hub| hub.kept as f64))?;

        show.gauges(
            "tidegate_source_open",
            "1 while a hub of somebody else is read; 0 while it is away and its functions wait for it",
            None,
            state.sources.iter().map(|source| {
                ([("source", source.source.as_str())], f64::from(u8::from(source.open.is_some())))
            }),
        )?;
        let source = |value: fn(&OpenSource) -> f64| {
            let open = state.sources.iter().filter_map(|source| Some((source, source.open.as_ref()?)));
            open.map(move |(source, open)| ([("source", source.source.as_str())], value(open)))
        };
        show.gauges(
            "tidegate_source_answered_timestamp",
            "When a hub of somebody else told last where its partitions begin and end, since 1970; it is asked twice a minute",
            Some(Unit::Seconds),
            source(|open| open.answered_at.as_millis() as f64 / 1e3),
        )?;
        show.gauges(
            "tidegate_source_buffered",
            "Events of a hub of somebody else that are held ahead of the functions",
            Some(Unit::Bytes),
            source(|open| open.buffered_bytes as f64),
        )?;

        let function = |value: &dyn Fn(&FunctionState) -> f64| {
            let values: Vec<_> = state
                .functions
                .iter()
                .map(|function| ([("function", function.function.as_str())], value(function)))
                .collect();
            values
        };
        show.gauges(
            "tidegate_lag_events",
            "Events that have no outcome, over the lanes of this program",
            None,
            function(&|function| function.lag() as f64),
        )?;
        show.gauges(
            "tidegate_lag",
            "Age of the oldest event that has no outcome",
            Some(Unit::Seconds),
            function(&|function| function.lag_seconds(*at)),
        )?;
        show.gauges(
            "tidegate_workable_events",
            "Events that have no outcome and could be processed now: without those behind a circuit, a pause or a held event",
            None,
            function(&|function| function.workable() as f64),
        )?;
        show.gauges(
            "tidegate_parked_events",
            "Events that are parked, held ones included",
            None,
            function(&|function| function.parked() as f64),
        )?;
        show.gauges(
            "tidegate_held_events",
            "Parked events that wait for a circuit or a person",
            None,
            function(&|function| function.held() as f64),
        )?;
        show.gauges(
            "tidegate_dead_letters",
            "Dead letters that wait for a decision",
            None,
            function(&|function| function.dead_letters as f64),
        )?;
        show.gauges(
            "tidegate_paused",
            "1 while a person has stopped the function",
            None,
            function(&|function| f64::from(u8::from(function.paused))),
        )?;
        show.gauges(
            "tidegate_lanes",
            "Lanes of a function by what they do",
            None,
            state.functions.iter().flat_map(|function| {
                LANE_STATES.map(|word| {
                    let lanes = function.lanes.iter().filter(|lane| lane.state == word).count();
                    ([("function", function.function.as_str()), ("state", word)], lanes as f64)
                })
            }),
        )?;
        let is_few = state.functions.iter().map(|function| function.lanes.len()).sum::<usize>() <= MOST_LANES;
        show.gauges(
            "tidegate_lane_lag_events",
            "Events of a lane that have no outcome; left out where there are more than 1000 lanes",
            None,
            state.functions.iter().filter(|_| is_few).flat_map(|function| {
                function.owned().map(|lane| {
                    let labels = [
                        ("function", function.function.as_str().to_owned()),
                        ("hub", function.hub.as_str().to_owned()),
                        ("partition", lane.partition.to_string()),
                    ];
                    (labels, lane.lag as f64)
                })
            }),
        )?;
        show.gauges(
            "tidegate_circuit_state",
            "1 for the state that a circuit is in",
            None,
            state.circuits.iter().flat_map(|(circuit, current)| {
                [CircuitState::Closed, CircuitState::Open, CircuitState::HalfOpen].map(|possible| {
                    let labels = [("circuit", circuit.as_str()), ("state", possible.as_str())];
                    (labels, f64::from(u8::from(possible == *current)))
                })
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(state: &'static str, lag: u64) -> LaneState {
        LaneState {
            partition: PartitionId(0),
            state,
            is_owned: state != "unowned",
            is_gated: state == "gated",
            lag,
            parked: 2,
            held: 1,
            oldest_at: (lag > 0).then(|| Timestamp::from_millis(5_000)),
        }
    }

    fn function(lanes: Vec<LaneState>) -> FunctionState {
        FunctionState {
            function: FunctionName::new("f").unwrap(),
            hub: HubName::new("h").unwrap(),
            dependencies: Vec::new(),
            paused: false,
            dead_letters: 0,
            lanes,
        }
    }

    #[test]
    fn what_cannot_move_is_not_workable() {
        let mut seen = function(vec![
            lane("running", 10),
            lane("retrying", 5),
            lane("gated", 100),
            lane("held", 1000),
            lane("stopped", 10_000),
            lane("unowned", 100_000),
        ]);
        assert_eq!((seen.lag(), seen.workable()), (11_115, 15));
        assert_eq!(seen.workable_anywhere(), 100_015, "others may process what this program does not own");
        assert_eq!((seen.parked(), seen.held()), (10, 5));
        seen.paused = true;
        assert_eq!(seen.workable(), 0);
    }

    #[test]
    fn lag_in_seconds_is_that_of_the_oldest_event() {
        let now = Timestamp::from_millis(12_500);
        assert_eq!(function(vec![lane("running", 1), lane("running", 0)]).lag_seconds(now), 7.5);
        assert_eq!(function(vec![lane("running", 0)]).lag_seconds(now), 0.0);
    }
}
