//! A lane that is processed [with care](crate::caution): how that is learnt, and what is done about it.

use tidegate_model::attempt::EventAttempts;
use tidegate_model::clock::Timestamp;
use tidegate_model::error::ErrorKind;
use tidegate_model::event::Event;
use tidegate_model::parking::{ParkedHead, ParkingPlace, Turn};
use tidegate_model::ports::{RegisterChange, StoreError};
use tidegate_model::position::SequenceNumber;
use tidegate_model::register::{RegisterKey, Version};
use tokio::sync::OwnedRwLockWriteGuard;
use tracing::{info, warn};

use super::parking::QueueId;
use super::work::{DECIDED_EVENT, Work};
use super::{PartitionPump, Stop};
use crate::caution::{CAUTION, Caution, TakenOver, Trying, taken_over};
use crate::circuit::exchange::{Exchange, exchange};
use crate::invoker::Invocated;
use crate::lane::Care;
use crate::status::LaneState;

/// What was read of a lane that is loaded.
pub(super) struct Loaded<'a> {
    pub(super) position: SequenceNumber,
    pub(super) tail: SequenceNumber,
    pub(super) attempts: &'a [EventAttempts],
    pub(super) parked: &'a ParkingPlace,
}

impl PartitionPump {
    // ---------------------------------------------------------------- what is known

    /// Finds out whether the lane is to be processed with care.
    pub(super) async fn learn_care(&self, loaded: &Loaded<'_>) -> Result<(), StoreError> {
        let lane = self.lane();
        let in_disorder = match lane.care() {
            Care::Unknown { in_disorder } => in_disorder,
            Care::Known { interrupted: None, .. } => return Ok(()),
            Care::Known { interrupted: Some(trying), .. } => {
                if !self.is_as_it_was(trying, loaded).await? {
                    lane.interruption_is_recorded();
                }
                return Ok(());
            }
        };
        let register = self.store.register(&self.care_key()).await?;
        let mut version = register.as_ref().map_or(Version::NONE, |register| register.version);
        let before = register.and_then(|register| {
            serde_json::from_value::<Caution>(register.value)
                .inspect_err(
                    |error| warn!(lane = %lane.lane, %error, "what was known of a disorderly end is lost"),
                )
                .ok()
        });
        let is_trying = match before.as_ref().and_then(|before| before.trying) {
            Some(trying) => self.is_as_it_was(trying, loaded).await?,
            None => false,
        };
        let now = self.clock.now();
        let is_due = |turn: &Turn| matches!(turn, Turn::At(at) if *at <= now);
        let caution = taken_over(
            before.as_ref(),
            TakenOver {
                in_disorder,
                position: loaded.position,
                tail: loaded.tail,
                has_parked_due: loaded.parked.heads.iter().any(|head| is_due(&head.turn)),
                is_trying,
                batch: self.settings.max_event_batch_size as u64,
                ahead: (self.in_flight_bytes / DECIDED_EVENT) as u64,
                now,
            },
        );
        if caution != before {
            version = self.change_caution(version, caution.as_ref()).await.map_err(read_again)?;
        }
        let interrupted = caution.as_ref().and_then(|caution| caution.trying).filter(|_| in_disorder);
        if let (true, Some(Caution { ends, .. })) = (in_disorder, &caution) {
            warn!(lane = %lane.lane, ends, position = %loaded.position, "the owner before did not end in good order; the lane goes on with care");
        }
        if let Some(Trying { sequence_number, .. }) = interrupted {
            warn!(lane = %lane.lane, %sequence_number, "the program ended while the function had this event, and nothing else ran; that is a failed attempt");
        }
        lane.set_care(Care::Known { caution, version, interrupted });
        Ok(())
    }

    /// Whether an event that was tried while nothing else ran is unresolved, and no further attempt at it is recorded.
    async fn is_as_it_was(&self, trying: Trying, loaded: &Loaded<'_>) -> Result<bool, StoreError> {
        let Trying { sequence_number, attempts, is_parked } = trying;
        if is_parked {
            let stored = self.store.parked(&self.lane().lane, sequence_number).await?;
            return Ok(stored.is_some_and(|stored| stored.parked.attempts.len() as u64 == attempts));
        }
        let recorded = loaded.attempts.iter().find(|record| record.sequence_number == sequence_number);
        let recorded = recorded.map_or(0, |record| record.attempts.len() as u64);
        Ok(loaded.position <= sequence_number && recorded == attempts)
    }

    fn care_key(&self) -> RegisterKey {
        RegisterKey::new(CAUTION, self.lane().lane.to_string())
    }

    async fn change_caution(&self, from: Version, to: Option<&Caution>) -> Result<Version, StoreError> {
        let value = to.map(serde_json::to_value).transpose().map_err(|error| StoreError::Refused {
            detail: format!("what is known of a disorderly end cannot be written: {error}"),
        })?;
        if value.is_none() && from == Version::NONE {
            return Ok(from);
        }
        let key = self.care_key();
        let change =
            RegisterChange { key, from, value, at: self.clock.now(), notices: Vec::new(), trail: Vec::new() };
        match exchange(&*self.store, change).await? {
            Exchange::Done(version) => Ok(version),
            Exchange::Moved => Err(StoreError::RegisterMoved { register: self.care_key().to_string() }),
        }
    }

    /// Changes what is known, and waits for the store to take it. When somebody else has changed it, the lane is loaded
    /// again.
    async fn change_care(&self, next: impl Fn(Option<Caution>) -> Option<Caution>) -> Result<(), Stop> {
        let lane = self.lane();
        let mut failures = 0;
        while let Care::Known { caution, version, interrupted } = lane.care() {
            let caution = next(caution);
            match self.change_caution(version, caution.as_ref()).await {
                Ok(version) => {
                    lane.set_care(Care::Known { caution, version, interrupted });
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    lane.set_care(Care::Unknown { in_disorder: interrupted.is_some() });
                }
                Err(error) if error.kind() == ErrorKind::Transient => {
                    failures += 1;
                    self.wait_out(failures, &error.to_string()).await?;
                }
                Err(error) => return Err(Stop::Failed(error.to_string())),
            }
        }
        Err(Stop::Reload)
    }

    /// The queue at whose head the program ended, if that is yet to be recorded.
    pub(super) fn interrupted_queue(&self, parked: &ParkingPlace) -> Option<QueueId> {
        let Care::Known { interrupted: Some(Trying { sequence_number, is_parked: true, .. }), .. } =
            self.lane().care()
        else {
            return None;
        };
        let head = parked.heads.iter().find(|head| head.sequence_number == sequence_number);
        if head.is_none() {
            // It is behind another one now, and is named again when it is tried.
            self.lane().interruption_is_recorded();
        }
        let queue_of =
            |head: &ParkedHead| head.key.clone().map_or(QueueId::Alone(sequence_number), QueueId::Key);
        head.map(queue_of)
    }

    // ---------------------------------------------------------------- what is done

    /// Before anything is tried in a lane that is processed with care: what was decided is in the store, and as few events
    /// go together as is necessary. True if it is.
    pub(super) async fn take_care(&self, work: &mut Work) -> Result<bool, Stop> {
        let Care::Known { caution: Some(caution), interrupted, .. } = self.lane().care() else {
            return Ok(false);
        };
        if self.lane().progress().borrow().ticket < work.submitted {
            self.workspace.hurry();
            self.unless_drained(self.committed(work.submitted)).await?;
        }
        let has_parked_due = work.parking.is_due_by(caution.since);
        if interrupted.is_none() && caution.is_over(work.position, has_parked_due) {
            self.change_care(|_| None).await?;
            if caution.ends > 0 {
                info!(lane = %self.lane().lane, "everything that may have been under way was tried; the lane goes on as ever");
            }
            return Ok(false);
        }
        if interrupted.is_some() || caution.is_one_by_one(work.position, has_parked_due) {
            work.allowed = 1;
        }
        Ok(true)
    }

    /// Whether the program ended at this event, and that is yet to be recorded.
    pub(super) fn is_interrupted(&self, sequence_number: SequenceNumber, is_parked: bool) -> bool {
        let Care::Known { interrupted: Some(trying), .. } = self.lane().care() else { return false };
        trying.sequence_number == sequence_number && trying.is_parked == is_parked
    }

    /// Whether the next event of the log is suspected of having ended the program.
    pub(super) fn suspects_next(&self, position: SequenceNumber) -> bool {
        let Care::Known { caution: Some(caution), .. } = self.lane().care() else { return false };
        caution.suspects(position)
    }

    /// Whether the first parked event that is tried is suspected of having ended the program.
    pub(super) fn suspects_parked(&self, work: &Work) -> bool {
        let Care::Known { caution: Some(caution), .. } = self.lane().care() else { return false };
        caution.suspects_parked(work.parking.is_due_by(caution.since))
    }

    /// Names an event in the store before the function gets it: should the program end meanwhile, whoever takes over the
    /// lane knows.
    pub(super) async fn name_event(&self, trying: Trying) -> Result<(), Stop> {
        let (position, now): (SequenceNumber, Timestamp) =
            (self.lane().progress().borrow().position, self.clock.now());
        self.change_care(|caution| {
            Some(match caution {
                Some(caution) => Caution { trying: Some(trying), ..caution },
                None => Caution::of_one(trying, position, now),
            })
        })
        .await
    }

    /// Invokes the function with one event that may end the program: while no other function runs, until the guard that is
    /// returned is dropped, and named in the store.
    pub(super) async fn invoke_alone(
        &mut self,
        work: &Work,
        trying: Trying,
        event: impl Fn(&Work) -> Vec<Event>,
    ) -> Result<(Invocated, OwnedRwLockWriteGuard<()>), Stop> {
        let Trying { sequence_number, .. } = trying;
        let error =
            format!("the program may have ended because of event {sequence_number}: it is tried alone");
        self.lane().set_state(LaneState::Waiting { error });
        let alone = self.unless_drained(self.invoker.alone()).await?;
        self.name_event(trying).await?;
        warn!(lane = %self.lane().lane, %sequence_number, "the event is tried while nothing else runs: the program may have ended because of it");
        self.lane().set_state(LaneState::Running);
        let invocated = self.invoke_until_it_can_be_done(work, event, false).await?;
        Ok((invocated, alone))
    }

    /// Waits until what an event that was tried with care came to is in the store.
    pub(super) async fn is_recorded(&self, ticket: u64) -> Result<(), Stop> {
        self.workspace.hurry();
        self.unless_drained(self.committed(ticket)).await?;
        self.lane().interruption_is_recorded();
        Ok(())
    }
}

/// Somebody else changed what was read: that is no reason to give up.
fn read_again(error: StoreError) -> StoreError {
    match error.kind() {
        ErrorKind::Conflict => StoreError::Unavailable { detail: error.to_string() },
        _ => error,
    }
}
