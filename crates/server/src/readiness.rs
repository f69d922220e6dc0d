//! What `GET /ready` says: whether every function makes progress, or stands still for a known reason.
//!
//! `GET /health` asks whether a restart would help; this asks whether work gets done. A function is ready when its lanes
//! run, or are stopped on purpose: the circuit is open, a person paused it, events are held. It is not when a lane is
//! stopped for good, waits for the log or the store, or has had work for [a minute](NO_PROGRESS) and made no progress.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::Serialize;

use tidegate_eventlog::HubLog;
use tidegate_gateway::Health;
use tidegate_host::status::{LaneState, LaneStatus};
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::SharedClock;
use tidegate_model::position::SequenceNumber;

use crate::health;
use crate::node::LaneView;

/// How long a lane may have work and make no progress.
const NO_PROGRESS: Duration = Duration::from_secs(60);

/// How often the lanes are looked at while nobody asks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How many lines a function has at most; hubs can have a thousand partitions.
const MOST_LINES: usize = 10;

/// Looks at the lanes of a node, and says whether they make progress.
pub(crate) struct Readiness {
    hubs: Vec<Arc<HubLog>>,
    lanes: LaneView,
    clock: SharedClock,
    seen: Mutex<Progress>,
}

impl Readiness {
    /// Of these hubs, and the lanes once they run.
    pub(crate) fn new(hubs: Vec<Arc<HubLog>>, lanes: LaneView, clock: SharedClock) -> Arc<Self> {
        Arc::new(Self { hubs, lanes, clock, seen: Mutex::default() })
    }

    /// Looks at the lanes again and again, so that it is known since when one stands still. It ends when it is dropped.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            self.answer();
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    fn answer(&self) -> Answer {
        let statuses = self.lanes.lock().clone();
        let Some(statuses) = statuses else {
            let problem = "no function runs: the server starts or stops".to_owned();
            return Answer { status: NOT_READY, problems: vec![problem], functions: Vec::new() };
        };
        let lanes = statuses();
        let now = self.clock.monotonic();
        let mut seen = self.seen.lock();
        seen.look(&lanes, now);
        let problems = match health::of(&self.hubs, &[]) {
            Health::Healthy => Vec::new(),
            Health::Unhealthy { reason } => reason.lines().map(str::to_owned).collect(),
        };
        answer(problems, &lanes, &seen, now)
    }
}

/// The route, which is open to everybody.
pub(crate) fn route(readiness: Arc<Readiness>) -> Router {
    Router::new().route("/ready", get(ready)).with_state(readiness)
}

async fn ready(State(readiness): State<Arc<Readiness>>) -> (StatusCode, Json<Answer>) {
    let answer = readiness.answer();
    let is_ready = answer.status == READY;
    (if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(answer))
}

const READY: &str = "ready";
const NOT_READY: &str = "not-ready";

/// What is answered.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Answer {
    status: &'static str,
    /// What is wrong besides the functions.
    problems: Vec<String>,
    functions: Vec<FunctionAnswer>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct FunctionAnswer {
    function: String,
    ready: bool,
    /// Which lanes are not ready, and why.
    problems: Vec<String>,
    /// Why lanes stand still on purpose.
    notes: Vec<String>,
}

/// Since when each lane that has work is where it is.
#[derive(Debug, Default)]
struct Progress(BTreeMap<Lane, (SequenceNumber, Duration)>);

impl Progress {
    /// Takes in how the lanes are at `now`, on the steady clock.
    fn look(&mut self, lanes: &[LaneStatus], now: Duration) {
        self.0.retain(|lane, _| lanes.iter().any(|status| status.lane == *lane));
        for status in lanes {
            if status.lag() == 0 || stands_on_purpose(&status.state) {
                self.0.remove(&status.lane);
                continue;
            }
            let seen = self.0.entry(status.lane.clone()).or_insert((status.position, now));
            if seen.0 != status.position {
                *seen = (status.position, now);
            }
        }
    }

    /// How long a lane has had work and made no progress.
    fn without(&self, lane: &Lane, now: Duration) -> Option<Duration> {
        self.0.get(lane).map(|(_, since)| now.saturating_sub(*since))
    }
}

fn stands_on_purpose(state: &LaneState) -> bool {
    matches!(state, LaneState::Gated { .. } | LaneState::Held { .. } | LaneState::Unowned)
}

/// The answer (pure).
fn answer(problems: Vec<String>, lanes: &[LaneStatus], progress: &Progress, now: Duration) -> Answer {
    let mut functions: BTreeMap<&str, (Vec<String>, BTreeMap<String, usize>)> = BTreeMap::new();
    for status in lanes {
        let (problems, notes) = functions.entry(status.lane.function.as_str()).or_default();
        problems.extend(problem_of(status, progress.without(&status.lane, now)));
        if let Some(note) = note_of(&status.state) {
            *notes.entry(note).or_default() += 1;
        }
    }
    let functions: Vec<FunctionAnswer> = functions
        .into_iter()
        .map(|(function, (problems, notes))| FunctionAnswer {
            function: function.to_owned(),
            ready: problems.is_empty(),
            problems: bounded(problems),
            notes: bounded(notes.into_iter().map(|(note, lanes)| format!("{lanes} lanes: {note}")).collect()),
        })
        .collect();
    let is_ready = problems.is_empty() && functions.iter().all(|function| function.ready);
    Answer { status: if is_ready { READY } else { NOT_READY }, problems, functions }
}

fn problem_of(status: &LaneStatus, without_progress: Option<Duration>) -> Option<String> {
    let lane = &status.lane;
    match &status.state {
        LaneState::Stopped { error } => Some(format!("the lane {lane} is stopped: {error}")),
        LaneState::Waiting { error } => Some(format!("the lane {lane} waits: {error}")),
        LaneState::Released => Some(format!("the lane {lane} is released: nobody here processes it")),
        LaneState::Gated { .. } | LaneState::Held { .. } | LaneState::Unowned => None,
        LaneState::Running | LaneState::Retrying { .. } => {
            let idle = without_progress.filter(|idle| *idle >= NO_PROGRESS)?;
            let doing = match (&status.state, &status.watchdog) {
                (LaneState::Retrying { sequence_number, failures, error, .. }, _) => {
                    format!("event {sequence_number} failed {failures} times and is tried again: {error}")
                }
                (_, Some(step)) => step.what.clone(),
                (_, None) => "the function has not answered".to_owned(),
            };
            let (seconds, lag) = (idle.as_secs(), status.lag());
            Some(format!(
                "the lane {lane} has {lag} events to process and made no progress for {seconds} s: {doing}"
            ))
        }
    }
}

fn note_of(state: &LaneState) -> Option<String> {
    match state {
        LaneState::Gated { why } => Some(format!("nothing is fetched: {why}")),
        LaneState::Held { events } => Some(format!("wait behind events that are held: {events}")),
        LaneState::Unowned => Some("another instance processes them, or will".to_owned()),
        _ => None,
    }
}

fn bounded(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(MOST_LINES);
    if more > 0 {
        lines.truncate(MOST_LINES);
        lines.push(format!("and {more} more; see `tidegate checkpoints`"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use tidegate_model::checkpoint::FunctionName;
    use tidegate_model::event::HubName;
    use tidegate_model::position::PartitionId;

    use super::*;

    fn lane(partition: u32, position: u64, state: LaneState) -> LaneStatus {
        LaneStatus {
            lane: Lane {
                function: FunctionName::new("f").unwrap(),
                hub: HubName::new("h").unwrap(),
                partition: PartitionId(partition),
            },
            state,
            position: SequenceNumber(position),
            tail: SequenceNumber(10),
            parked: 0,
            held: 0,
            progressed_at: None,
            watchdog: None,
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Looks at each of these moments, and answers at the last.
    fn after(looks: &[(u64, Vec<LaneStatus>)]) -> Answer {
        let mut progress = Progress::default();
        for (second, lanes) in looks {
            progress.look(lanes, seconds(*second));
        }
        let (second, lanes) = looks.last().unwrap();
        answer(Vec::new(), lanes, &progress, seconds(*second))
    }

    fn problems(answer: &Answer) -> Vec<String> {
        answer.functions.iter().flat_map(|function| function.problems.clone()).collect()
    }

    #[test]
    fn a_lane_with_work_and_without_progress_for_a_minute_is_not_ready() {
        let running = |position| vec![lane(0, position, LaneState::Running), lane(1, 10, LaneState::Running)];
        assert_eq!(after(&[(0, running(3)), (59, running(3))]).status, READY);
        let answer = after(&[(0, running(3)), (60, running(3))]);
        assert_eq!(answer.status, NOT_READY);
        assert_eq!(
            problems(&answer),
            [
                "the lane f/h/0 has 7 events to process and made no progress for 60 s: the function has not answered"
            ]
        );
        assert_eq!(after(&[(0, running(3)), (50, running(4)), (109, running(4))]).status, READY);
        assert_eq!(after(&[(0, running(10)), (300, running(10))]).status, READY, "no work, no progress");
    }

    #[test]
    fn an_event_that_is_tried_for_long_is_named() {
        let state = LaneState::Retrying {
            sequence_number: SequenceNumber(3),
            failures: 9,
            error: "no answer".to_owned(),
            delay: seconds(10),
        };
        let lanes = vec![lane(0, 3, state)];
        let answer = after(&[(0, lanes.clone()), (75, lanes)]);
        assert!(
            problems(&answer)[0].ends_with("for 75 s: event 3 failed 9 times and is tried again: no answer")
        );
    }

    #[test]
    fn a_lane_that_stands_on_purpose_is_ready_and_says_why() {
        let gated = || LaneState::Gated { why: "paused by mia: rest".to_owned() };
        let lanes = vec![lane(0, 3, gated()), lane(1, 4, gated()), lane(2, 4, LaneState::Held { events: 2 })];
        let paused = after(&[(0, lanes.clone()), (500, lanes.clone())]);
        assert_eq!(paused.status, READY);
        assert_eq!(
            paused.functions[0].notes,
            [
                "2 lanes: nothing is fetched: paused by mia: rest",
                "1 lanes: wait behind events that are held: 2"
            ]
        );
        let resumed = vec![lane(0, 3, LaneState::Running)];
        let looks = [(0, lanes), (500, resumed.clone()), (559, resumed)];
        assert_eq!(after(&looks).status, READY, "its minute begins when it may go on");
    }

    #[test]
    fn a_lane_that_is_stopped_or_waits_is_not_ready_at_once() {
        let stopped = LaneState::Stopped { error: "damaged".to_owned() };
        let waiting = LaneState::Waiting { error: "the disk is full".to_owned() };
        let answer = after(&[(0, vec![lane(0, 3, stopped), lane(1, 3, waiting)])]);
        assert_eq!(answer.status, NOT_READY);
        assert_eq!(
            problems(&answer),
            ["the lane f/h/0 is stopped: damaged", "the lane f/h/1 waits: the disk is full"]
        );
    }

    #[test]
    fn the_answer_stays_small() {
        let stopped = |partition| lane(partition, 3, LaneState::Stopped { error: "why".to_owned() });
        let answer = after(&[(0, (0..1000).map(stopped).collect())]);
        assert_eq!(problems(&answer).len(), MOST_LINES + 1);
        assert_eq!(problems(&answer)[MOST_LINES], "and 990 more; see `tidegate checkpoints`");
    }
}
