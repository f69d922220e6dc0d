//! What `GET /ready` says: whether every function makes progress, or stands still for a known reason. The same by the names
//! that orchestrators ask for, each with its own question:
//!
//! - `GET /healthz/live`: whether a restart is needed, which it is when the log or the store has stopped;
//! - `GET /healthz/ready`: as `/ready`;
//! - `GET /healthz/progress`: whether every lane moves that should move, whatever else is wrong.
//!
//! `GET /health` asks whether a restart would help; this asks whether work gets done. A function is ready when its lanes
//! run, or are stopped on purpose: the circuit is open, a person paused it, events are held. It is not when a lane is
//! stopped for good, waits for the log or the store, or has had work for [a minute](NO_PROGRESS) and made no progress; nor
//! when nobody owns a lane, here or elsewhere, for longer than it takes to start or to take over.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use tidegate_eventlog::Log;
use tidegate_gateway::Health;
use tidegate_host::ownership::INSTANCE;
use tidegate_host::settings::Sharing;
use tidegate_host::status::{LaneState, LaneStatus};
use tidegate_model::checkpoint::{Lane, Ownership};
use tidegate_model::clock::SharedClock;
use tidegate_model::ports::{Ownerships as _, Registers as _, StoreError};
use tidegate_model::position::SequenceNumber;
use tidegate_model::register::{Register, Version};
use tidegate_store::SqliteStore;

use crate::health;
use crate::node::LaneView;
use crate::sources::{Sources, told};

/// How long a lane may have work and make no progress.
const NO_PROGRESS: Duration = Duration::from_secs(60);

/// How long a lane may be without a living owner at least.
const NO_OWNER: Duration = Duration::from_secs(30);

/// How often the lanes are looked at while nobody asks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How many lines a function has at most; hubs can have a thousand partitions.
const MOST_LINES: usize = 10;

/// Looks at the lanes of a node, and says whether they make progress.
pub(crate) struct Readiness {
    log: Arc<Log>,
    sources: Sources,
    lanes: LaneView,
    store: Arc<SqliteStore>,
    clock: SharedClock,
    seen: Mutex<Progress>,
    owners: Mutex<Owners>,
}

impl Readiness {
    /// Of the hubs of a log, and the lanes once they run, whose owners are in `store`.
    pub(crate) fn new(
        log: Arc<Log>,
        sources: Sources,
        lanes: LaneView,
        store: Arc<SqliteStore>,
        sharing: Sharing,
        clock: SharedClock,
    ) -> Arc<Self> {
        let owners = Mutex::new(Owners::new(sharing));
        Arc::new(Self { log, sources, lanes, store, clock, seen: Mutex::default(), owners })
    }

    /// Looks at the lanes again and again, so that it is known since when one stands still. It ends when it is dropped.
    pub(crate) async fn watch(self: Arc<Self>) -> Infallible {
        loop {
            if let Err(error) = self.look_at_owners().await {
                tracing::debug!(%error, "who owns the lanes cannot be seen at the moment");
            }
            self.answer();
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    async fn look_at_owners(&self) -> Result<(), StoreError> {
        let statuses = self.lanes.lock().clone();
        let mut lanes = statuses.map(|statuses| statuses()).unwrap_or_default();
        // What other readers of a hub have is theirs, and not to be found in the store.
        lanes.retain(|status| self.sources.reader_elsewhere(&status.lane).is_none());
        // Whoever has all lanes needs to ask nobody.
        if lanes.iter().any(|status| status.state == LaneState::Unowned) {
            let (ownerships, instances) =
                (self.store.ownerships().await?, self.store.registers(INSTANCE).await?);
            self.owners.lock().look(&lanes, &ownerships, &instances, self.clock.monotonic());
        } else {
            self.owners.lock().look(&lanes, &[], &[], self.clock.monotonic());
        }
        Ok(())
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
        let mut problems: Vec<String> = match health::of(&self.log.hubs(), self.store.failure(), &[]) {
            Health::Healthy => Vec::new(),
            Health::Unhealthy { reason } => reason.lines().map(str::to_owned).collect(),
        };
        // The functions on them do not run, and have no lanes that would tell.
        problems.extend(self.sources.not_open().iter().map(|(source, status)| told(source, status)));
        answer(problems, &lanes, &seen, &self.owners.lock(), now)
    }
}

/// What the route says about itself.
pub(crate) fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(paths(ready, healthz_ready, live, progress))]
    struct Ready;
    Ready::openapi()
}

/// The route, which is open to everybody.
pub(crate) fn route(readiness: Arc<Readiness>) -> Router {
    Router::new()
        .route("/ready", get(ready))
        .route("/healthz/live", get(live))
        .route("/healthz/ready", get(healthz_ready))
        .route("/healthz/progress", get(progress))
        .with_state(readiness)
}

/// Whether a restart is needed.
#[utoipa::path(
    get, path = "/healthz/live", tag = "program", security(()),
    responses(
        (status = 200, body = Answer, description = "It is not"),
        (status = 503, body = Answer, description = "The log or the store has stopped, and only a restart begins it again"),
    ),
)]
async fn live(State(readiness): State<Arc<Readiness>>) -> (StatusCode, Json<Answer>) {
    let problems: Vec<String> = health::stopped(&readiness.log.hubs(), readiness.store.failure()).collect();
    let status = if problems.is_empty() { LIVE } else { NOT_LIVE };
    answered(Answer { status, problems, functions: Vec::new() }, LIVE)
}

/// Whether every lane moves that should move.
#[utoipa::path(
    get, path = "/healthz/progress", tag = "program", security(()),
    responses(
        (status = 200, body = Answer, description = "Every lane with work goes on, or stands still on purpose"),
        (status = 503, body = Answer, description = "One does not; `problems` says which and why"),
    ),
)]
async fn progress(State(readiness): State<Arc<Readiness>>) -> (StatusCode, Json<Answer>) {
    let statuses = readiness.lanes.lock().clone();
    let lanes = statuses.map(|statuses| statuses()).unwrap_or_default();
    let now = readiness.clock.monotonic();
    let mut seen = readiness.seen.lock();
    seen.look(&lanes, now);
    let answer = answer(Vec::new(), &lanes, &seen, &readiness.owners.lock(), now);
    let status = if answer.status == READY { PROGRESSING } else { STUCK };
    answered(Answer { status, ..answer }, PROGRESSING)
}

fn answered(answer: Answer, good: &str) -> (StatusCode, Json<Answer>) {
    let status = if answer.status == good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(answer))
}

/// Whether events are processed, as `/ready`.
#[utoipa::path(
    get, path = "/healthz/ready", tag = "program", security(()),
    responses(
        (status = 200, body = Answer, description = "Every function makes progress, or stands still on purpose"),
        (status = 503, body = Answer, description = "One does not; `problems` says why"),
    ),
)]
async fn healthz_ready(State(readiness): State<Arc<Readiness>>) -> (StatusCode, Json<Answer>) {
    answered(readiness.answer(), READY)
}

/// Whether events are processed.
#[utoipa::path(
    get, path = "/ready", tag = "program", security(()),
    responses(
        (status = 200, body = Answer, description = "Every function makes progress, or stands still on purpose"),
        (status = 503, body = Answer, description = "One does not; `problems` says why"),
    ),
)]
async fn ready(State(readiness): State<Arc<Readiness>>) -> (StatusCode, Json<Answer>) {
    answered(readiness.answer(), READY)
}

const READY: &str = "ready";
const NOT_READY: &str = "not-ready";
const LIVE: &str = "live";
const NOT_LIVE: &str = "not-live";
const PROGRESSING: &str = "progressing";
const STUCK: &str = "stuck";

/// What is answered.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Readiness)]
struct Answer {
    status: &'static str,
    /// What is wrong besides the functions.
    problems: Vec<String>,
    functions: Vec<FunctionAnswer>,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = FunctionReadiness)]
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

/// Since when each lane that is not owned here has no living owner elsewhere.
#[derive(Debug)]
struct Owners {
    /// How long an instance may be silent, and a lane without a living owner.
    patience: Duration,
    without: BTreeMap<Lane, Ownerless>,
    /// The last sign of life of each instance, and when it was seen first.
    signs: BTreeMap<String, (Version, Duration)>,
}

#[derive(Debug)]
struct Ownerless {
    since: Duration,
    /// The owner that is silent or gone, if it has one.
    owner: Option<String>,
}

impl Owners {
    fn new(sharing: Sharing) -> Self {
        let takes_over = match sharing {
            Sharing::Alone => Duration::ZERO,
            Sharing::Shared { expires_after, .. } => expires_after.saturating_mul(3),
        };
        Self { patience: NO_OWNER.max(takes_over), without: BTreeMap::new(), signs: BTreeMap::new() }
    }

    /// Takes in who owns what, and which instances gave a sign of life, at `now`, on the steady clock.
    fn look(
        &mut self,
        lanes: &[LaneStatus],
        ownerships: &[Ownership],
        instances: &[Register],
        now: Duration,
    ) {
        self.signs.retain(|name, _| instances.iter().any(|instance| instance.name == *name));
        for instance in instances {
            let sign = self.signs.entry(instance.name.clone()).or_insert((instance.version, now));
            if sign.0 != instance.version {
                *sign = (instance.version, now);
            }
        }
        let unowned: Vec<&Lane> = lanes
            .iter()
            .filter(|status| status.state == LaneState::Unowned)
            .map(|status| &status.lane)
            .collect();
        self.without.retain(|lane, _| unowned.contains(&lane));
        for lane in unowned {
            let stored = ownerships.iter().find(|ownership| ownership.lane == *lane);
            let owner = stored.map(|stored| stored.owner.clone()).filter(|owner| !owner.is_empty());
            let sign = owner.as_ref().and_then(|owner| self.signs.get(owner));
            if sign.is_some_and(|(_, at)| now.saturating_sub(*at) < self.patience) {
                self.without.remove(lane);
            } else {
                self.without.entry(lane.clone()).or_insert(Ownerless { since: now, owner: None }).owner =
                    owner;
            }
        }
    }

    fn problem_of(&self, lane: &Lane, now: Duration) -> Option<String> {
        let Ownerless { since, owner } = self.without.get(lane)?;
        let without = now.saturating_sub(*since);
        let why = match owner {
            Some(owner) => format!("its owner {owner} is not heard of"),
            None => "it has no owner".to_owned(),
        };
        (without >= self.patience)
            .then(|| format!("the lane {lane} is processed by nobody for {} s: {why}", without.as_secs()))
    }
}

fn stands_on_purpose(state: &LaneState) -> bool {
    matches!(state, LaneState::Gated { .. } | LaneState::Held { .. } | LaneState::Unowned)
}

/// The answer (pure).
fn answer(
    problems: Vec<String>,
    lanes: &[LaneStatus],
    progress: &Progress,
    owners: &Owners,
    now: Duration,
) -> Answer {
    let mut functions: BTreeMap<&str, (Vec<String>, BTreeMap<String, usize>)> = BTreeMap::new();
    for status in lanes {
        let (problems, notes) = functions.entry(status.lane.function.as_str()).or_default();
        problems.extend(problem_of(status, progress.without(&status.lane, now)));
        let ownerless = owners.problem_of(&status.lane, now);
        if ownerless.is_some() {
            problems.extend(ownerless);
        } else if let Some(note) = note_of(&status.state) {
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
    use tidegate_model::checkpoint::{Epoch, FunctionName};
    use tidegate_model::clock::Timestamp;
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
        answer(Vec::new(), lanes, &progress, &Owners::new(Sharing::Alone), seconds(*second))
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
    fn a_lane_that_nobody_owns_is_not_ready_once_somebody_should_have_taken_it() {
        let unowned = || vec![lane(0, 3, LaneState::Unowned)];
        let owned_by = |owner: &str| Ownership {
            lane: lane(0, 0, LaneState::Unowned).lane,
            owner: owner.to_owned(),
            epoch: Epoch(1),
            changed_at: Timestamp::default(),
        };
        let instance = |beat: u64| Register {
            name: "b".to_owned(),
            version: Version(beat),
            value: serde_json::Value::Null,
            changed_at: Timestamp::default(),
        };
        let sharing = |expires_after| Sharing::Shared { heartbeat: seconds(1), expires_after };
        let mut owners = Owners::new(sharing(seconds(10)));
        let says = |owners: &Owners, second| {
            let answer = answer(Vec::new(), &unowned(), &Progress::default(), owners, seconds(second));
            (answer.status, problems(&answer).join("\n"))
        };
        owners.look(&unowned(), &[], &[], seconds(0));
        assert_eq!(says(&owners, 29).0, READY, "somebody may be about to take it");
        let (status, said) = says(&owners, 30);
        assert_eq!(status, NOT_READY);
        assert_eq!(said, "the lane f/h/0 is processed by nobody for 30 s: it has no owner");

        // Another instance has it as long as it is heard of.
        for beat in 0..20 {
            owners.look(&unowned(), &[owned_by("b")], &[instance(beat)], seconds(40 + 5 * beat));
        }
        assert_eq!(says(&owners, 135).0, READY);
        for second in (140..=194).step_by(5) {
            owners.look(&unowned(), &[owned_by("b")], &[instance(19)], seconds(second));
        }
        assert_eq!(says(&owners, 194).0, READY, "it is silent since 135");
        let (status, said) = says(&owners, 195);
        assert_eq!(status, NOT_READY);
        assert_eq!(said, "the lane f/h/0 is processed by nobody for 30 s: its owner b is not heard of");
        owners.look(&unowned(), &[owned_by("")], &[], seconds(200));
        assert!(says(&owners, 200).1.ends_with("for 35 s: it has no owner"));

        owners.look(&[lane(0, 3, LaneState::Running)], &[], &[], seconds(200));
        owners.look(&unowned(), &[], &[], seconds(205));
        assert_eq!(says(&owners, 234).0, READY, "it begins anew when somebody had it");

        let mut patient = Owners::new(sharing(seconds(60)));
        patient.look(&unowned(), &[], &[], seconds(0));
        assert_eq!((says(&patient, 179).0, says(&patient, 180).0), (READY, NOT_READY));
    }

    #[test]
    fn the_answer_stays_small() {
        let stopped = |partition| lane(partition, 3, LaneState::Stopped { error: "why".to_owned() });
        let answer = after(&[(0, (0..1000).map(stopped).collect())]);
        assert_eq!(problems(&answer).len(), MOST_LINES + 1);
        assert_eq!(problems(&answer)[MOST_LINES], "and 990 more; see `tidegate checkpoints`");
    }
}
