//! When a person is told (pure): what the numbers say, and whether that is news.
//!
//! The rules look at an [`Observation`], plain numbers that the caller gathers, and say of each thing they watch whether
//! its [`Condition`] is raised. [`decide`] compares that with what was told before: an alert is told once when it begins,
//! again every [`repeat_every`](RuleSettings::repeat_every) while it lasts, and once when it is over. A condition that
//! comes and goes is one alert: it is over only after it was clear for [`settle`](RuleSettings::settle).
//!
//! Circuits have no rule here: their notices are made in the transaction that opens or closes them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::circuit::CircuitState;
use tidegate_model::clock::Timestamp;

/// What the rules compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSettings {
    /// More open dead letters than this, set aside within [`growing_within`](Self::growing_within), are told.
    pub growing_above: u64,
    /// The window of [`growing_above`](Self::growing_above).
    pub growing_within: Duration,
    /// An open dead letter that is older is told.
    pub ageing_after: Duration,
    /// A partition that has work and an owner, and makes no progress for so long, is told.
    pub stuck_after: Duration,
    /// A function that events arrive for, and that resolves none for so long, is told.
    pub silent_after: Duration,
    /// A parking place that is filled to so many hundredths of its limit is told; at most 100.
    pub parking_percent: u8,
    /// How often an alert that lasts is told again.
    pub repeat_every: Duration,
    /// For how long a condition must be clear before its alert is over.
    pub settle: Duration,
}

impl Default for RuleSettings {
    /// Ten dead letters in ten minutes; the oldest after four hours; five minutes without progress or output; a parking
    /// place at four fifths; told again every four hours; over after two minutes.
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        Self {
            growing_above: 10,
            growing_within: minutes(10),
            ageing_after: minutes(240),
            stuck_after: minutes(5),
            silent_after: minutes(5),
            parking_percent: 80,
            repeat_every: minutes(240),
            settle: minutes(2),
        }
    }
}

/// What is known at one moment. Gather it whole or not at all: what is missing counts as gone, and its alerts end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Every function.
    pub functions: Vec<FunctionObservation>,
}

/// The numbers of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionObservation {
    /// The function.
    pub function: FunctionName,
    /// How many of its dead letters are unsettled.
    pub open_dead_letters: u64,
    /// How many of those were set aside within [`RuleSettings::growing_within`].
    pub recent_dead_letters: u64,
    /// When the oldest unsettled one was set aside.
    pub oldest_dead_letter: Option<Timestamp>,
    /// Its circuit. While that is not closed, standing still is no news.
    pub circuit: CircuitState,
    /// True while a person has paused it.
    pub paused: bool,
    /// Its lanes.
    pub lanes: Vec<LaneObservation>,
}

/// The numbers of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneObservation {
    /// The lane.
    pub lane: Lane,
    /// Who owns it, if anybody does.
    pub owner: Option<String>,
    /// How many events of the log it has yet to resolve.
    pub pending: u64,
    /// When the log took the first of them.
    pub oldest_pending_at: Option<Timestamp>,
    /// When the log took the newest event of the partition.
    pub last_enqueued_at: Option<Timestamp>,
    /// When it last resolved an event; when it began, if it never did.
    pub progress_at: Timestamp,
    /// True while a person has paused it, or its function.
    pub paused: bool,
    /// How many events it has parked.
    pub parked_events: u64,
    /// The limit of that; 0 is none.
    pub parked_events_limit: u64,
    /// The sizes of its parked events, in bytes.
    pub parked_bytes: u64,
    /// The limit of that; 0 is none.
    pub parked_bytes_limit: u64,
}

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Dead letters of a function become more.
    DeadLettersGrowing,
    /// The oldest dead letter of a function is old.
    DeadLettersAgeing,
    /// A partition has work and an owner, and stands still.
    PartitionStuck,
    /// Events arrive for a function, and none is resolved.
    InputWithoutOutput,
    /// A parking place is near its limit.
    ParkingFilling,
}

impl Rule {
    /// The kind of the notice that tells it. Its end has the same with `.resolved` behind it.
    pub fn notice_kind(self) -> &'static str {
        match self {
            Self::DeadLettersGrowing => "dead-letters.growing",
            Self::DeadLettersAgeing => "dead-letters.ageing",
            Self::PartitionStuck => "partition.stuck",
            Self::InputWithoutOutput => "input.without-output",
            Self::ParkingFilling => "parking.filling",
        }
    }
}

/// What a rule says of one thing it watches.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// The thing: a function or a lane.
    pub subject: String,
    /// How it stands.
    pub condition: Condition,
    /// The numbers, for a person.
    pub numbers: serde_json::Value,
}

/// How a thing that is watched stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is past its limit.
    Raised,
    /// Neither: just below its limit, or told by another alert. Nothing begins or ends by it.
    Lingering,
    /// It is well.
    Clear,
}

/// What all rules say.
pub fn findings(observation: &Observation, settings: &RuleSettings, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for function in &observation.functions {
        findings.push(growing(function, settings));
        findings.push(ageing(function, settings, now));
        let silent = silent(function, settings, now);
        let is_silent = silent.condition == Condition::Raised;
        findings.push(silent);
        for lane in &function.lanes {
            findings.push(stuck(function, lane, is_silent, settings, now));
            findings.push(parking(function, lane, settings));
        }
    }
    findings
}

fn growing(function: &FunctionObservation, settings: &RuleSettings) -> Finding {
    let recent = function.recent_dead_letters;
    let condition = if recent > settings.growing_above {
        Condition::Raised
    } else if recent > settings.growing_above / 2 {
        Condition::Lingering
    } else {
        Condition::Clear
    };
    Finding {
        rule: Rule::DeadLettersGrowing,
        subject: function.function.to_string(),
        condition,
        numbers: json!({
            "function": function.function,
            "new_dead_letters": recent,
            "limit": settings.growing_above,
            "window_seconds": settings.growing_within.as_secs(),
            "open_dead_letters": function.open_dead_letters,
        }),
    }
}

fn ageing(function: &FunctionObservation, settings: &RuleSettings, now: Timestamp) -> Finding {
    let age = function.oldest_dead_letter.map(|oldest| now.since(oldest));
    let raised = age.is_some_and(|age| age >= settings.ageing_after);
    Finding {
        rule: Rule::DeadLettersAgeing,
        subject: function.function.to_string(),
        condition: if raised { Condition::Raised } else { Condition::Clear },
        numbers: json!({
            "function": function.function,
            "oldest_dead_letter_at": function.oldest_dead_letter,
            "oldest_age_seconds": age.map(|age| age.as_secs()),
            "limit_seconds": settings.ageing_after.as_secs(),
            "open_dead_letters": function.open_dead_letters,
        }),
    }
}

/// Since when a lane has work and does nothing.
fn idle_since(lane: &LaneObservation) -> Option<Timestamp> {
    // A lane that had nothing to do for a day stands still only since the event came that it does not take.
    lane.oldest_pending_at.filter(|_| lane.pending > 0).map(|came_at| came_at.max(lane.progress_at))
}

fn silent(function: &FunctionObservation, settings: &RuleSettings, now: Timestamp) -> Finding {
    let pending: u64 = function.lanes.iter().map(|lane| lane.pending).sum();
    let last_input = function.lanes.iter().filter_map(|lane| lane.last_enqueued_at).max();
    let last_output = function.lanes.iter().map(|lane| lane.progress_at).max();
    let waiting_since = function.lanes.iter().filter_map(idle_since).min().max(last_output);
    let silent_for = waiting_since.map(|since| now.since(since));

    let events_arrive = last_input.is_some_and(|at| now.since(at) < settings.silent_after);
    let nothing_leaves = pending > 0 && silent_for.is_some_and(|silent| silent >= settings.silent_after);
    let condition = match (function.circuit, nothing_leaves, events_arrive) {
        // The circuit's own notices tell it.
        (CircuitState::Open | CircuitState::HalfOpen, _, _) => Condition::Lingering,
        (CircuitState::Closed, true, true) => Condition::Raised,
        // Producers that give up because nothing happens do not make it well.
        (CircuitState::Closed, true, false) => Condition::Lingering,
        (CircuitState::Closed, false, _) => Condition::Clear,
    };
    Finding {
        rule: Rule::InputWithoutOutput,
        subject: function.function.to_string(),
        condition,
        numbers: json!({
            "function": function.function,
            "pending_events": pending,
            "last_event_at": last_input,
            "last_resolved_at": last_output,
            "silent_seconds": silent_for.map(|silent| silent.as_secs()),
            "limit_seconds": settings.silent_after.as_secs(),
            "paused": function.paused,
            "lanes": function.lanes.len(),
            "lanes_without_owner": function.lanes.iter().filter(|lane| lane.owner.is_none()).count(),
        }),
    }
}

fn stuck(
    function: &FunctionObservation,
    lane: &LaneObservation,
    is_silent: bool,
    settings: &RuleSettings,
    now: Timestamp,
) -> Finding {
    let idle_for = idle_since(lane).map(|since| now.since(since));
    let stands_still = idle_for.is_some_and(|idle| idle >= settings.stuck_after);
    // Told otherwise: by the circuit, by who paused it, or for the whole function. Without an owner it is not stuck, it is
    // not processed.
    let told_otherwise =
        function.circuit != CircuitState::Closed || lane.paused || is_silent || lane.owner.is_none();
    let condition = match (stands_still, told_otherwise) {
        (true, false) => Condition::Raised,
        (true, true) => Condition::Lingering,
        (false, _) => Condition::Clear,
    };
    Finding {
        rule: Rule::PartitionStuck,
        subject: lane.lane.to_string(),
        condition,
        numbers: json!({
            "function": lane.lane.function,
            "hub": lane.lane.hub,
            "partition": lane.lane.partition,
            "owner": lane.owner,
            "pending_events": lane.pending,
            "last_progress_at": lane.progress_at,
            "idle_seconds": idle_for.map(|idle| idle.as_secs()),
            "limit_seconds": settings.stuck_after.as_secs(),
        }),
    }
}

fn parking(function: &FunctionObservation, lane: &LaneObservation, settings: &RuleSettings) -> Finding {
    let percent_of = |amount: u64, limit: u64| match limit {
        0 => 0,
        limit => u64::try_from(u128::from(amount) * 100 / u128::from(limit)).unwrap_or(u64::MAX),
    };
    let percent = percent_of(lane.parked_events, lane.parked_events_limit)
        .max(percent_of(lane.parked_bytes, lane.parked_bytes_limit));
    let limit = u64::from(settings.parking_percent);
    let condition = if percent >= limit {
        Condition::Raised
    } else if percent.saturating_add(10) > limit {
        Condition::Lingering
    } else {
        Condition::Clear
    };
    Finding {
        rule: Rule::ParkingFilling,
        subject: lane.lane.to_string(),
        condition,
        numbers: json!({
            "function": function.function,
            "hub": lane.lane.hub,
            "partition": lane.lane.partition,
            "percent": percent,
            "limit_percent": limit,
            "parked_events": lane.parked_events,
            "parked_events_limit": lane.parked_events_limit,
            "parked_bytes": lane.parked_bytes,
            "parked_bytes_limit": lane.parked_bytes_limit,
        }),
    }
}

/// What was told of one alert. It is the value of a register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertState {
    /// The rule.
    pub rule: Rule,
    /// The function or lane.
    pub subject: String,
    /// True while it lasts.
    pub firing: bool,
    /// When it began last.
    pub since: Timestamp,
    /// When it was told last.
    pub told_at: Timestamp,
    /// How often it was told since it began.
    pub told: u32,
    /// While it lasts: since when its condition is clear.
    pub clear_since: Option<Timestamp>,
}

/// How long an alert that is over is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);

/// What to do about a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Nothing,
    /// Remember this, and tell that it began.
    Fire(AlertState),
    /// Remember this, and tell that it lasts.
    Repeat(AlertState),
    /// Remember this, and tell nobody.
    Remember(AlertState),
    /// Remember this, and tell that it is over.
    Resolve(AlertState),
    /// Remember it no longer.
    Forget,
}

/// What to do about a finding, given what was told before.
pub fn decide(
    state: Option<&AlertState>,
    rule: Rule,
    subject: &str,
    condition: Condition,
    settings: &RuleSettings,
    now: Timestamp,
) -> Decision {
    let Some(state) = state.filter(|state| state.firing) else {
        return match (state, condition) {
            (_, Condition::Raised) => Decision::Fire(AlertState {
                rule,
                subject: subject.to_owned(),
                firing: true,
                since: now,
                told_at: now,
                told: 1,
                clear_since: None,
            }),
            (Some(over), _) if now.since(over.told_at) >= REMEMBERED => Decision::Forget,
            _ => Decision::Nothing,
        };
    };
    match (condition, state.clear_since) {
        (Condition::Raised, _) if now.since(state.told_at) >= settings.repeat_every => {
            Decision::Repeat(AlertState {
                told_at: now,
                told: state.told.saturating_add(1),
                clear_since: None,
                ..state.clone()
            })
        }
        (Condition::Raised | Condition::Lingering, Some(_)) => {
            Decision::Remember(AlertState { clear_since: None, ..state.clone() })
        }
        (Condition::Raised | Condition::Lingering, None) => Decision::Nothing,
        (Condition::Clear, clear_since) => {
            if now.since(clear_since.unwrap_or(now)) >= settings.settle {
                return Decision::Resolve(AlertState {
                    firing: false,
                    told_at: now,
                    clear_since: None,
                    ..state.clone()
                });
            }
            match clear_since {
                Some(_) => Decision::Nothing,
                None => Decision::Remember(AlertState { clear_since: Some(now), ..state.clone() }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_model::event::HubName;
    use tidegate_model::position::PartitionId;

    use super::*;

    const MINUTE: i64 = 60_000;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * MINUTE)
    }

    fn lane(partition: u32) -> LaneObservation {
        LaneObservation {
            lane: Lane {
                function: FunctionName::new("aircraft").unwrap(),
                hub: HubName::new("flights").unwrap(),
                partition: PartitionId(partition),
            },
            owner: Some("a".to_owned()),
            pending: 0,
            oldest_pending_at: None,
            last_enqueued_at: None,
            progress_at: at(0),
            paused: false,
            parked_events: 0,
            parked_events_limit: 1000,
            parked_bytes: 0,
            parked_bytes_limit: 0,
        }
    }

    fn function(lanes: Vec<LaneObservation>) -> FunctionObservation {
        FunctionObservation {
            function: FunctionName::new("aircraft").unwrap(),
            open_dead_letters: 0,
            recent_dead_letters: 0,
            oldest_dead_letter: None,
            circuit: CircuitState::Closed,
            paused: false,
            lanes,
        }
    }

    /// The conditions that are not clear.
    fn found(function: FunctionObservation, now: Timestamp) -> Vec<(Rule, String, Condition)> {
        findings(&Observation { functions: vec![function] }, &RuleSettings::default(), now)
            .into_iter()
            .filter(|finding| finding.condition != Condition::Clear)
            .map(|finding| (finding.rule, finding.subject, finding.condition))
            .collect()
    }

    #[test]
    fn a_quiet_function_is_well() {
        assert_eq!(found(function(vec![lane(0), lane(1)]), at(100_000)), []);
    }

    #[test]
    fn dead_letters_are_told_above_the_limit_and_over_at_half_of_it() {
        for (recent, expected) in [
            (11, vec![Condition::Raised]),
            (10, vec![Condition::Lingering]),
            (6, vec![Condition::Lingering]),
            (5, vec![]),
        ] {
            let observed = FunctionObservation { recent_dead_letters: recent, ..function(vec![]) };
            let conditions: Vec<_> =
                found(observed, at(1)).into_iter().map(|(_, _, condition)| condition).collect();
            assert_eq!(conditions, expected, "{recent} dead letters");
        }
    }

    #[test]
    fn an_old_dead_letter_is_told() {
        let observed = FunctionObservation { oldest_dead_letter: Some(at(0)), ..function(vec![]) };
        assert_eq!(found(observed.clone(), at(239)), []);
        assert_eq!(
            found(observed, at(240)),
            [(Rule::DeadLettersAgeing, "aircraft".to_owned(), Condition::Raised)]
        );
    }

    #[test]
    fn a_lane_is_stuck_from_when_it_had_work_not_from_when_it_last_worked() {
        let busy = LaneObservation { progress_at: at(1000), ..lane(1) };
        let behind = LaneObservation {
            pending: 1,
            oldest_pending_at: Some(at(998)),
            last_enqueued_at: Some(at(998)),
            ..lane(0)
        };
        assert_eq!(found(function(vec![behind.clone(), busy.clone()]), at(1002)), []);
        let stuck = found(function(vec![behind.clone(), busy.clone()]), at(1003));
        assert_eq!(stuck, [(Rule::PartitionStuck, "aircraft/flights/0".to_owned(), Condition::Raised)]);

        let without_owner = LaneObservation { owner: None, ..behind.clone() };
        let lingering = found(function(vec![without_owner, busy.clone()]), at(1003));
        assert_eq!(lingering[0].2, Condition::Lingering);
        let open = FunctionObservation { circuit: CircuitState::Open, ..function(vec![behind, busy]) };
        assert!(found(open, at(1003)).iter().all(|(_, _, condition)| *condition == Condition::Lingering));
    }

    #[test]
    fn a_function_that_gets_events_and_resolves_none_is_told_once_for_all_its_lanes() {
        let lanes = (0..3).map(|partition| LaneObservation {
            pending: 7,
            oldest_pending_at: Some(at(10)),
            last_enqueued_at: Some(at(14)),
            ..lane(partition)
        });
        let conditions = found(function(lanes.clone().collect()), at(15));
        let raised: Vec<_> =
            conditions.iter().filter(|(_, _, condition)| *condition == Condition::Raised).collect();
        assert_eq!(raised.len(), 1);
        assert_eq!(raised[0].0, Rule::InputWithoutOutput);

        // One lane that works is enough.
        let mut with_output: Vec<_> = lanes.collect();
        with_output[2] =
            LaneObservation { pending: 0, oldest_pending_at: None, progress_at: at(14), ..lane(2) };
        let raised: Vec<_> = found(function(with_output), at(15)).into_iter().map(|found| found.0).collect();
        assert_eq!(raised, [Rule::PartitionStuck, Rule::PartitionStuck]);
    }

    #[test]
    fn a_parking_place_is_told_near_either_limit() {
        for (events, bytes, expected) in [
            (799, 0, Some(Condition::Lingering)),
            (800, 0, Some(Condition::Raised)),
            (700, 0, None),
            (0, 80, Some(Condition::Raised)),
            (u64::MAX, 0, Some(Condition::Raised)),
        ] {
            let filled = LaneObservation {
                parked_events: events,
                parked_bytes: bytes,
                parked_bytes_limit: 100,
                ..lane(0)
            };
            let condition = found(function(vec![filled]), at(1)).first().map(|(_, _, condition)| *condition);
            assert_eq!(condition, expected, "{events} events, {bytes} bytes");
        }
    }

    /// What is told when these conditions are observed, one a minute.
    fn told(conditions: &[Condition], settings: &RuleSettings) -> Vec<(usize, &'static str)> {
        let mut state: Option<AlertState> = None;
        let mut told = Vec::new();
        for (minute, condition) in conditions.iter().enumerate() {
            let now = at(i64::try_from(minute).unwrap());
            let decision =
                decide(state.as_ref(), Rule::DeadLettersGrowing, "aircraft", *condition, settings, now);
            let word = match &decision {
                Decision::Fire(_) => Some("fire"),
                Decision::Repeat(_) => Some("repeat"),
                Decision::Resolve(_) => Some("resolve"),
                _ => None,
            };
            told.extend(word.map(|word| (minute, word)));
            match decision {
                Decision::Fire(next)
                | Decision::Repeat(next)
                | Decision::Remember(next)
                | Decision::Resolve(next) => state = Some(next),
                Decision::Forget => state = None,
                Decision::Nothing => {}
            }
        }
        told
    }

    #[test]
    fn an_alert_is_told_at_its_beginning_while_it_lasts_and_at_its_end() {
        use Condition::{Clear as C, Lingering as L, Raised as R};
        let settings = RuleSettings { repeat_every: Duration::from_secs(180), ..RuleSettings::default() };
        assert_eq!(told(&[C, R, R, R, R, R], &settings), [(1, "fire"), (4, "repeat")]);
        assert_eq!(told(&[R, C, C, C, C], &settings), [(0, "fire"), (3, "resolve")]);
        assert_eq!(told(&[R, C, R, C, C, C, R], &settings), [(0, "fire"), (5, "resolve"), (6, "fire")]);
        assert_eq!(told(&[R, C, L, C, C, C], &settings), [(0, "fire"), (5, "resolve")]);
        assert_eq!(told(&[L, L, L], &settings), []);
        let at_once = RuleSettings { settle: Duration::ZERO, ..settings };
        assert_eq!(told(&[R, C], &at_once), [(0, "fire"), (1, "resolve")]);
    }

    #[test]
    fn an_alert_that_is_long_over_is_forgotten() {
        let settings = RuleSettings::default();
        let over = AlertState {
            rule: Rule::DeadLettersAgeing,
            subject: "aircraft".to_owned(),
            firing: false,
            since: at(0),
            told_at: at(5),
            told: 1,
            clear_since: None,
        };
        let decide_at = |now| decide(Some(&over), over.rule, &over.subject, Condition::Clear, &settings, now);
        assert_eq!(decide_at(at(5).plus(REMEMBERED).minus(Duration::from_millis(1))), Decision::Nothing);
        assert_eq!(decide_at(at(5).plus(REMEMBERED)), Decision::Forget);
    }

    proptest! {
        #[test]
        fn beginnings_and_ends_take_turns(conditions in proptest::collection::vec(0..3u8, 0..80)) {
            let conditions: Vec<_> = conditions
                .into_iter()
                .map(|number| [Condition::Raised, Condition::Lingering, Condition::Clear][usize::from(number)])
                .collect();
            let told = told(&conditions, &RuleSettings::default());
            let mut firing = false;
            for (_, word) in told {
                match word {
                    "fire" => {
                        prop_assert!(!firing);
                        firing = true;
                    }
                    "resolve" => {
                        prop_assert!(firing);
                        firing = false;
                    }
                    _ => prop_assert!(firing),
                }
            }
        }
    }
}
