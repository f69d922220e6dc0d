//! Notices lanes that should move and do not, and does something about it, step by step.
//!
//! A lane is stuck when it has work, is owned here, does not say that it waits for something, and nothing of it was
//! committed for a while: [`stuck_after`](crate::settings::HostOptions::stuck_after), or as long as one invocation of its
//! function may take if that is longer. Then the first step is taken, and after each further such while the next one: the
//! lane looks again at what is there; its pump is replaced; with other processors, the lane is left to them; a person is
//! told that nothing helped. What a step costs is only that events which are not committed are processed again.
//!
//! What was done stands in the lane's status, in the log, and in a register together with a notice, `partition.stuck`. When
//! the lane moves again the register is removed with a notice, `partition.moving`: by whoever owns the lane then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::{SharedClock, Timestamp, timeout};
use tidegate_model::notice::NewNotice;
use tidegate_model::parking::{ParkedHead, Turn};
use tidegate_model::ports::{RegisterChange, Store, StoreError};
use tidegate_model::position::SequenceNumber;
use tidegate_model::register::{Register, RegisterKey, Version};
use tracing::{info, warn};

use crate::circuit::exchange::exchange;
use crate::lane::{LaneIndex, OwnedLane};
use crate::pumps::Pumps;
use crate::settings::FunctionSettings;
use crate::status::{LaneState, WatchdogAction, WatchdogStep};

/// The [kind](RegisterKey::kind) of the registers of lanes that are stuck. A register's name is the lane's.
pub const WATCHDOG: &str = "watchdog";

/// How often lanes are looked at within the time after which they are stuck.
const LOOKS: u32 = 4;

/// How long a lane is left to other processors.
const REFUSED_FOR: Duration = Duration::from_secs(300);

/// What an invocation that took all its time needs besides, to be recorded.
const GRACE: Duration = Duration::from_secs(10);

/// How far a lane is: this changes with each of its commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    position: SequenceNumber,
    ticket: u64,
}

/// What a look at a lane finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    mark: Mark,
    /// How long it may stay as it is; `None` if there is nothing to do for it, or it says what it waits for.
    should_move_within: Option<Duration>,
    can_be_handed_over: bool,
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// All is well, or it is too early to say something else.
    Nothing,
    /// The next step is due.
    Act(WatchdogAction),
    /// After a step, it moves again.
    Moves,
}

/// What is remembered of a lane between two looks.
#[derive(Clone, Copy, Debug)]
struct Watched {
    mark: Mark,
    /// Since when it stands still, or since the last step.
    since: Duration,
    /// What it was allowed at the last look.
    patience: Duration,
    last: Option<WatchdogAction>,
}

impl Watched {
    fn new(mark: Mark, now: Duration) -> Self {
        Self { mark, since: now, patience: Duration::ZERO, last: None }
    }

    /// Decides what to do about a lane at `now`.
    fn look(&mut self, look: Look, now: Duration) -> Finding {
        if look.mark != self.mark {
            (self.mark, self.since) = (look.mark, now);
            self.patience = look.should_move_within.unwrap_or_default();
            return if self.last.take().is_some() { Finding::Moves } else { Finding::Nothing };
        }
        let patience = look.should_move_within.unwrap_or_default();
        // When a long pause is over, what comes after it has its own time.
        let begins_anew = patience < self.patience;
        self.patience = patience;
        if look.should_move_within.is_none() || begins_anew {
            self.since = now;
            return Finding::Nothing;
        }
        if now.saturating_sub(self.since) < patience {
            return Finding::Nothing;
        }
        let next = match self.last {
            None => WatchdogAction::ReadAgain,
            Some(WatchdogAction::ReadAgain) => WatchdogAction::Restarted,
            Some(WatchdogAction::Restarted) if look.can_be_handed_over => WatchdogAction::HandedOver,
            Some(WatchdogAction::Restarted | WatchdogAction::HandedOver) => WatchdogAction::Reported,
            Some(WatchdogAction::Reported) => return Finding::Nothing,
        };
        (self.since, self.last) = (now, Some(next));
        Finding::Act(next)
    }
}

/// How long a lane in this state may stay as it is; `None` if it says what it waits for, or is not at work.
fn patience(state: &LaneState, settings: &FunctionSettings, stuck_after: Duration) -> Option<Duration> {
    let pause = match state {
        LaneState::Running => Duration::ZERO,
        LaneState::Retrying { delay, .. } => *delay,
        LaneState::Held { .. }
        | LaneState::Gated { .. }
        | LaneState::Waiting { .. }
        | LaneState::Unowned
        | LaneState::Stopped { .. }
        | LaneState::Released => return None,
    };
    let gathers = if settings.min_event_batch_size > 1 { settings.max_wait_time } else { Duration::ZERO };
    let at_work = stuck_after.max(settings.timeout.saturating_add(GRACE));
    Some(at_work.saturating_add(pause).saturating_add(gathers))
}

/// What the register of a lane holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    action: WatchdogAction,
    since: Timestamp,
    instance: String,
    what: String,
    position: SequenceNumber,
}

/// Watches over the lanes of a processor.
pub(crate) struct Watchdog {
    store: Arc<dyn Store>,
    clock: SharedClock,
    owner: String,
    stuck_after: Duration,
    lanes: Arc<[OwnedLane]>,
    /// How the function of each lane is run.
    settings: Vec<FunctionSettings>,
    pumps: Arc<Pumps>,
    watched: BTreeMap<LaneIndex, Watched>,
}

impl Watchdog {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: SharedClock,
        owner: String,
        stuck_after: Duration,
        lanes: Arc<[OwnedLane]>,
        settings: Vec<FunctionSettings>,
        pumps: Arc<Pumps>,
    ) -> Self {
        Self { store, clock, owner, stuck_after, lanes, settings, pumps, watched: BTreeMap::new() }
    }

    /// Looks at all lanes now and then, for ever.
    pub(crate) async fn run(mut self) {
        loop {
            self.clock.sleep(self.stuck_after / LOOKS).await;
            let mut has_work = Vec::with_capacity(self.lanes.len());
            for lane in &*self.lanes {
                has_work.push(self.has_work(lane).await);
            }
            for (index, has_work) in has_work.iter().enumerate() {
                self.look_at(index, *has_work);
            }
            if let Err(error) = self.record(&has_work).await {
                warn!(%error, "what the watchdog did is recorded later");
            }
        }
    }

    /// Whether a lane has something to do: events that are not resolved, or parked ones whose turn has come. A store that
    /// does not tell counts as no.
    async fn has_work(&self, lane: &OwnedLane) -> bool {
        let status = lane.status();
        if !lane.is_owned() || !matches!(status.state, LaneState::Running | LaneState::Retrying { .. }) {
            return false;
        }
        if status.position < status.tail {
            return true;
        }
        let now = self.clock.now();
        let is_due = |head: &ParkedHead| matches!(head.turn, Turn::At(at) if at <= now);
        let place = self.answer(self.store.parking_place(&lane.lane)).await;
        place.is_ok_and(|place| place.heads.iter().any(is_due))
    }

    /// Looks at a lane, and takes the step that is due.
    fn look_at(&mut self, index: LaneIndex, has_work: bool) {
        let lane = &self.lanes[index];
        if !lane.is_owned() {
            self.watched.remove(&index);
            return;
        }
        let (status, now) = (lane.status(), self.clock.monotonic());
        let progress = *lane.progress().borrow();
        let patience = patience(&status.state, &self.settings[index], self.stuck_after);
        let look = Look {
            mark: Mark { position: progress.position, ticket: progress.ticket },
            should_move_within: patience.filter(|_| has_work),
            can_be_handed_over: lane.is_shared(),
        };
        let watched = self.watched.entry(index).or_insert(Watched::new(look.mark, now));
        let stands_for = now.saturating_sub(watched.since);
        match watched.look(look, now) {
            Finding::Nothing => {}
            Finding::Moves => {
                info!(lane = %lane.lane, "the lane moves again");
                lane.watched(None);
            }
            Finding::Act(action) => {
                let does = match action {
                    WatchdogAction::ReadAgain => "it looks again at what is there",
                    WatchdogAction::Restarted => "its pump is replaced",
                    WatchdogAction::HandedOver => "it is left to other processors for a while",
                    WatchdogAction::Reported => "nothing helped; a person is needed",
                };
                let (seconds, work) = (stands_for.as_secs(), status.lag());
                let what = format!(
                    "it stands at event {} for {seconds} s, with {work} events to do and {} parked: {does}",
                    status.position, status.parked
                );
                warn!(lane = %lane.lane, action = action.as_str(), what, "the lane is stuck");
                lane.watched(Some(WatchdogStep { action, since: self.clock.now(), what }));
                match action {
                    WatchdogAction::ReadAgain => lane.changed_from_outside(),
                    WatchdogAction::Restarted => self.pumps.restart(index),
                    WatchdogAction::HandedOver => lane.refuse_until(now.saturating_add(REFUSED_FOR)),
                    WatchdogAction::Reported => {}
                }
            }
        }
    }

    /// Brings the registers to what is known of the lanes, with a notice for each change. What fails is made up for by the
    /// next call.
    async fn record(&self, has_work: &[bool]) -> Result<(), StoreError> {
        let registers = self.answer(self.store.registers(WATCHDOG)).await?;
        for (lane, has_work) in self.lanes.iter().zip(has_work) {
            let name = lane.lane.to_string();
            let register = registers.iter().find(|register| register.name == name);
            let stored: Option<Stored> =
                register.and_then(|register| serde_json::from_value(register.value.clone()).ok());
            let status = lane.status();
            let change = match &status.watchdog {
                _ if !lane.is_owned() => None,
                Some(step) => self.stuck(&lane.lane, step, status.position, register, stored.as_ref()),
                None => register.and_then(|register| {
                    // It may have been stuck under another owner; it moves if it got further, or has done everything.
                    let got_further = stored.is_none_or(|stored| stored.position < status.position);
                    let is_done =
                        matches!(status.state, LaneState::Running) && !has_work && status.lag() == 0;
                    (got_further || is_done).then(|| self.moving(&lane.lane, status.position, register))
                }),
            };
            if let Some(change) = change {
                // Whoever was faster has recorded it, or the next call finds out.
                self.answer(exchange(&*self.store, change)).await?;
            }
        }
        Ok(())
    }

    fn stuck(
        &self,
        lane: &Lane,
        step: &WatchdogStep,
        position: SequenceNumber,
        register: Option<&Register>,
        stored: Option<&Stored>,
    ) -> Option<RegisterChange> {
        let WatchdogStep { action, since, what } = step.clone();
        let now = Stored { action, since, instance: self.owner.clone(), what, position };
        if stored == Some(&now) {
            return None;
        }
        // It has nothing that could fail to become JSON.
        let value = serde_json::to_value(&now).ok()?;
        let notice = self.notice("partition.stuck", lane, value.clone());
        Some(self.change(lane, register, Some(value), notice))
    }

    fn moving(&self, lane: &Lane, position: SequenceNumber, register: &Register) -> RegisterChange {
        let data = serde_json::json!({
            "instance": self.owner,
            "position": position,
            "was": register.value,
        });
        self.change(lane, Some(register), None, self.notice("partition.moving", lane, data))
    }

    fn notice(&self, kind: &str, lane: &Lane, data: serde_json::Value) -> NewNotice {
        NewNotice { kind: kind.to_owned(), subject: lane.to_string(), at: self.clock.now(), data }
    }

    fn change(
        &self,
        lane: &Lane,
        register: Option<&Register>,
        value: Option<serde_json::Value>,
        notice: NewNotice,
    ) -> RegisterChange {
        RegisterChange {
            key: RegisterKey::new(WATCHDOG, lane.to_string()),
            from: register.map_or(Version::NONE, |register| register.version),
            value,
            at: self.clock.now(),
            notices: vec![notice],
            trail: Vec::new(),
        }
    }

    /// What the store answers, if it answers: a watchdog must not be stuck itself.
    async fn answer<T>(&self, asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let limit = self.stuck_after / LOOKS;
        timeout(&*self.clock, limit, asked)
            .await
            .unwrap_or_else(|| Err(StoreError::Unavailable { detail: format!("no answer within {limit:?}") }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn mark(position: u64, ticket: u64) -> Mark {
        Mark { position: SequenceNumber(position), ticket }
    }

    fn at_work(mark: Mark) -> Look {
        Look { mark, should_move_within: Some(MINUTE), can_be_handed_over: true }
    }

    fn watched() -> Watched {
        Watched::new(mark(0, 0), Duration::ZERO)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lane_that_stands_still_gets_one_step_after_the_other() {
        let mut watched = watched();
        let steps: Vec<(u64, WatchdogAction)> = (0..600)
            .filter_map(|second| match watched.look(at_work(mark(0, 0)), seconds(second)) {
                Finding::Act(action) => Some((second, action)),
                _ => None,
            })
            .collect();
        assert_eq!(
            steps,
            [
                (60, WatchdogAction::ReadAgain),
                (120, WatchdogAction::Restarted),
                (180, WatchdogAction::HandedOver),
                (240, WatchdogAction::Reported)
            ]
        );
        assert_eq!(watched.look(at_work(mark(0, 1)), seconds(600)), Finding::Moves);
        assert_eq!(watched.look(at_work(mark(0, 1)), seconds(659)), Finding::Nothing);
        assert_eq!(watched.look(at_work(mark(0, 1)), seconds(660)), Finding::Act(WatchdogAction::ReadAgain));
    }

    #[test]
    fn what_comes_after_a_long_pause_has_its_own_time() {
        let mut watched = watched();
        let pauses = Look { should_move_within: Some(60 * MINUTE), ..at_work(mark(0, 0)) };
        assert_eq!(watched.look(pauses, seconds(1)), Finding::Nothing);
        assert_eq!(watched.look(at_work(mark(0, 0)), seconds(3500)), Finding::Nothing);
        assert_eq!(watched.look(at_work(mark(0, 0)), seconds(3559)), Finding::Nothing);
        let late = watched.look(at_work(mark(0, 0)), seconds(3560));
        assert_eq!(late, Finding::Act(WatchdogAction::ReadAgain));
    }

    #[test]
    fn nobody_to_hand_over_to_is_one_step_less() {
        let mut watched = Watched { last: Some(WatchdogAction::Restarted), ..watched() };
        let look = Look { can_be_handed_over: false, ..at_work(mark(0, 0)) };
        assert_eq!(watched.look(look, MINUTE), Finding::Act(WatchdogAction::Reported));
    }

    #[test]
    fn who_says_what_it_waits_for_is_not_stuck() {
        let settings = FunctionSettings { timeout: seconds(5), ..FunctionSettings::default() };
        let patience = |state: LaneState| patience(&state, &settings, MINUTE);
        let text = String::new;
        assert_eq!(patience(LaneState::Running), Some(MINUTE));
        let delay = seconds(600);
        let retrying =
            LaneState::Retrying { sequence_number: SequenceNumber(1), failures: 1, error: text(), delay };
        assert_eq!(patience(retrying), Some(delay + MINUTE), "its pause is not its fault");
        for state in [
            LaneState::Held { events: 1 },
            LaneState::Gated { why: text() },
            LaneState::Waiting { error: text() },
            LaneState::Unowned,
            LaneState::Stopped { error: text() },
            LaneState::Released,
        ] {
            assert_eq!(patience(state), None);
        }
    }

    #[test]
    fn an_invocation_may_take_the_time_that_it_has_and_a_batch_may_gather() {
        let slow = FunctionSettings {
            timeout: seconds(300),
            min_event_batch_size: 10,
            max_wait_time: seconds(30),
            ..FunctionSettings::default()
        };
        assert_eq!(patience(&LaneState::Running, &slow, MINUTE), Some(seconds(300) + GRACE + seconds(30)));
    }

    proptest! {
        /// Whatever a lane does: no step comes sooner than its patience after the last step or sign of progress, and steps
        /// come in their order.
        #[test]
        fn no_step_comes_too_soon(
            looks in proptest::collection::vec((1..50_u64, 0..3_u64, any::<bool>()), 0..200),
        ) {
            let mut watched = watched();
            let (mut now, mut ticket, mut quiet_since, mut last) = (0, 0, 0, None);
            for (later, progress, works) in looks {
                now += later;
                ticket += progress / 2;
                let look = Look { should_move_within: works.then_some(MINUTE), ..at_work(mark(0, ticket)) };
                match watched.look(look, seconds(now)) {
                    Finding::Act(action) => {
                        prop_assert!(works && now - quiet_since >= 60);
                        prop_assert!(last < Some(action), "{action:?} after {last:?}");
                        (quiet_since, last) = (now, Some(action));
                    }
                    Finding::Moves => {
                        prop_assert!(last.is_some());
                        (quiet_since, last) = (now, None);
                    }
                    Finding::Nothing if progress / 2 > 0 || !works => quiet_since = now,
                    Finding::Nothing => {}
                }
            }
        }
    }
}
