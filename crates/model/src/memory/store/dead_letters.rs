//! The dead letters and the audit trail, in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::checkpoint::Lane;
use crate::clock::Timestamp;
use crate::dead_letter::{
    Acted, DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetterId, DeadLetterStatus, Fingerprint, Lease,
    StoredDeadLetter,
};
use crate::event::EventData;
use crate::parking::ParkedEvent;
use crate::ports::{DeadLetters, StoreError};
use crate::trail::{Act, NewTrailEntry, TrailEntry, action};

use super::{MemoryStore, State};

impl State {
    pub(super) fn open_dead_letter(&mut self, letter: DeadLetter, at: Timestamp) {
        let id = DeadLetterId(self.dead_letters.last_key_value().map_or(1, |(last, _)| last.0 + 1));
        self.dead_letters.insert(id, StoredDeadLetter::open(id, letter, at));
    }

    /// The dead letter with this number if an act on it may go on, as far as its existence, its lease and its status say.
    fn for_act(
        &mut self,
        id: DeadLetterId,
        act: &Act,
        allows: impl FnOnce(DeadLetterStatus) -> bool,
    ) -> Result<&mut StoredDeadLetter, Acted> {
        let dead_letter = self.dead_letters.get_mut(&id).ok_or(Acted::NotFound)?;
        if dead_letter.is_leased_to_another(&act.by, act.at) {
            return Err(Acted::Leased);
        }
        if !allows(dead_letter.status) {
            return Err(Acted::WrongStatus(dead_letter.status));
        }
        Ok(dead_letter)
    }

    fn redrive(&mut self, id: DeadLetterId, force: bool, act: &Act) -> Result<(), Acted> {
        let allows = |status| match status {
            DeadLetterStatus::Open => true,
            DeadLetterStatus::Quarantined => force,
            _ => false,
        };
        let letter = self.for_act(id, act, allows)?.letter.clone();
        let checkpoint = self.checkpoints.get(&letter.lane);
        if checkpoint.is_none_or(|checkpoint| checkpoint.incarnation != letter.incarnation) {
            return Err(Acted::OtherIncarnation);
        }
        let dead_letter = self.for_act(id, act, |_| true)?;
        dead_letter.status = DeadLetterStatus::Redriving;
        dead_letter.changed_at = act.at;
        dead_letter.redrives += 1;
        dead_letter.lease = None;
        let parked = ParkedEvent::redrive(dead_letter, act.at);
        self.parked.park(parked);
        self.parked.is_acted_on();
        self.recount(&letter.lane, letter.event.sequence_number, |counts| {
            counts.dead_lettered -= 1;
            counts.parked += 1;
        });
        self.write_trail(about(id, action::REDRIVE, act));
        Ok(())
    }

    fn discard(&mut self, id: DeadLetterId, act: &Act) -> Result<(), Acted> {
        let dead_letter = self.for_act(id, act, DeadLetterStatus::is_unsettled)?;
        dead_letter.status = DeadLetterStatus::Discarded;
        dead_letter.changed_at = act.at;
        dead_letter.lease = None;
        let (lane, number) = (dead_letter.letter.lane.clone(), dead_letter.letter.event.sequence_number);
        self.recount(&lane, number, |counts| {
            counts.dead_lettered -= 1;
            counts.discarded += 1;
        });
        self.write_trail(about(id, action::DISCARD, act));
        Ok(())
    }

    fn extend_lease(&mut self, id: DeadLetterId, until: Timestamp, act: &Act) -> Result<(), Acted> {
        let dead_letter = self.for_act(id, act, |status| status == DeadLetterStatus::Open)?;
        // A lease that ran out cannot be extended: somebody else may have had one since.
        let Some(lease) = dead_letter.lease.as_mut().filter(|lease| lease.is_held(act.at)) else {
            return Err(Acted::WrongStatus(dead_letter.status));
        };
        lease.until = until;
        if !lease.is_held(act.at) {
            dead_letter.lease = None;
        }
        self.write_trail(about(id, action::EXTEND_LEASE, act));
        Ok(())
    }

    fn matching<'a>(
        &'a self,
        filter: &'a DeadLetterFilter,
        after: Option<DeadLetterId>,
    ) -> impl Iterator<Item = &'a StoredDeadLetter> {
        let after = after.unwrap_or(DeadLetterId(0));
        self.dead_letters.values().filter(move |stored| stored.id > after && filter.matches(stored))
    }
}

#[async_trait]
impl DeadLetters for MemoryStore {
    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<StoredDeadLetter>, StoreError> {
        self.read(|state| state.dead_letters.get(&id).cloned())
    }

    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        self.read(|state| state.matching(filter, after).take(limit).cloned().collect())
    }

    async fn find_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<DeadLetterId>, StoreError> {
        self.read(|state| state.matching(filter, after).take(limit).map(|stored| stored.id).collect())
    }

    async fn group_dead_letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetterGroup>, StoreError> {
        self.read(|state| {
            let mut by_cause = BTreeMap::<Fingerprint, Vec<&StoredDeadLetter>>::new();
            for stored in state.matching(filter, None) {
                by_cause.entry(stored.fingerprint).or_default().push(stored);
            }
            let mut groups: Vec<_> = by_cause.into_values().filter_map(|members| group(&members)).collect();
            groups.sort_by_key(|group| (std::cmp::Reverse(group.count), std::cmp::Reverse(group.newest)));
            groups
        })
    }

    async fn count_dead_letters(&self) -> Result<Vec<(Lane, u64)>, StoreError> {
        self.read(|state| {
            let unsettled = state.dead_letters.values().filter(|stored| stored.status.is_unsettled());
            state.count_by_lane(
                unsettled.map(|stored| (&stored.letter.lane, stored.letter.event.sequence_number)),
            )
        })
    }

    async fn redrive(&self, ids: &[DeadLetterId], force: bool, act: &Act) -> Result<Vec<Acted>, StoreError> {
        self.act(|state| Ok(ids.iter().map(|id| acted(state.redrive(*id, force, act))).collect()))
    }

    async fn discard(&self, ids: &[DeadLetterId], act: &Act) -> Result<Vec<Acted>, StoreError> {
        self.act(|state| Ok(ids.iter().map(|id| acted(state.discard(*id, act))).collect()))
    }

    async fn edit(
        &self,
        id: DeadLetterId,
        revision: u32,
        event: &EventData,
        entry: NewTrailEntry,
    ) -> Result<Acted, StoreError> {
        self.act(|state| {
            let dead_letter = match state.for_act(id, &entry.act, DeadLetterStatus::is_unsettled) {
                Ok(dead_letter) => dead_letter,
                Err(hindered) => return Ok(hindered),
            };
            if dead_letter.revision != revision {
                return Ok(Acted::OtherRevision(dead_letter.revision));
            }
            if dead_letter.letter.event.data.partition_key != event.partition_key {
                let detail = format!(
                    "the edit of dead letter {id} changes its partition key, and with it its place in the order; \
                     leave the key as it is, or publish the event anew and discard the dead letter"
                );
                return Err(StoreError::Refused { detail });
            }
            dead_letter.edited = Some(event.clone());
            dead_letter.revision += 1;
            state.write_trail(entry);
            Ok(Acted::Done)
        })
    }

    async fn lease_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        limit: usize,
        until: Timestamp,
        act: &Act,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        self.act(|state| {
            let is_free = |stored: &&mut StoredDeadLetter| {
                let is_held = stored.lease.as_ref().is_some_and(|lease| lease.is_held(act.at));
                stored.status == DeadLetterStatus::Open && !is_held && filter.matches(stored)
            };
            let mut leased = Vec::new();
            for stored in state.dead_letters.values_mut().filter(is_free).take(limit) {
                stored.lease = Some(Lease { holder: act.by.clone(), until });
                stored.leases += 1;
                leased.push(stored.clone());
            }
            for stored in &leased {
                state.write_trail(about(stored.id, action::LEASE, act));
            }
            Ok(leased)
        })
    }

    async fn extend_lease(
        &self,
        ids: &[DeadLetterId],
        until: Timestamp,
        act: &Act,
    ) -> Result<Vec<Acted>, StoreError> {
        self.act(|state| Ok(ids.iter().map(|id| acted(state.extend_lease(*id, until, act))).collect()))
    }

    async fn trail(
        &self,
        subject: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<TrailEntry>, StoreError> {
        self.read(|state| {
            let lines = state
                .trail
                .iter()
                .filter(|line| line.number > after && subject.is_none_or(|subject| line.subject == subject));
            lines.take(limit).cloned().collect()
        })
    }
}

fn acted(result: Result<(), Acted>) -> Acted {
    result.err().unwrap_or(Acted::Done)
}

fn group(members: &[&StoredDeadLetter]) -> Option<DeadLetterGroup> {
    let newest = members.iter().max_by_key(|stored| (stored.letter.dead_lettered_at, stored.id))?;
    let oldest = members.iter().map(|stored| stored.letter.dead_lettered_at).min()?;
    Some(DeadLetterGroup {
        fingerprint: newest.fingerprint,
        function: newest.letter.lane.function.clone(),
        class: newest.letter.class,
        reason: newest.letter.reason.clone(),
        count: members.len() as u64,
        first_at: oldest,
        last_at: newest.letter.dead_lettered_at,
        newest: newest.id,
    })
}

fn about(id: DeadLetterId, action: &'static str, act: &Act) -> NewTrailEntry {
    NewTrailEntry { action, subject: id.to_string(), act: act.clone(), detail: serde_json::Value::Null }
}
