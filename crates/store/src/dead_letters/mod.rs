//! The dead letters.

mod acts;
pub(crate) mod causes;
pub(crate) mod counts;
mod desk;
mod edits;
pub(crate) mod search;
pub(crate) mod states;
mod stories;

use async_trait::async_trait;
use rusqlite::Connection;
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{
    Acted, DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetterId, DeadLetterStatus, StoredDeadLetter,
};
use tidegate_model::event::{EventData, HubName};
use tidegate_model::ports::{DeadLetters, StoreError};
use tidegate_model::position::{Incarnation, SequenceNumber};
use tidegate_model::trail::{Act, NewTrailEntry, TrailEntry};

pub use self::causes::Causes;
use self::counts::CauseCounts;
use self::search::Start;
use self::states::State;
use crate::accounts::{Account, Accounts};
use crate::error::Failure;
use crate::sqlite_store::{SqliteStore, integer, unsigned};
use crate::trail;

#[async_trait]
impl DeadLetters for SqliteStore {
    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<StoredDeadLetter>, StoreError> {
        self.readers
            .run(move |connection| {
                let snapshot = connection.transaction()?;
                let state = states::find(&snapshot, id)?;
                state.map(|state| whole(&snapshot, state)).transpose()
            })
            .await
    }

    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let filter = filter.clone();
        self.readers
            .run(move |connection| {
                let snapshot = connection.transaction()?;
                let ids = search::ids(&snapshot, &filter, None, number_after(after), limit)?;
                ids.into_iter().map(|id| expect(&snapshot, id)).collect()
            })
            .await
    }

    async fn find_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<DeadLetterId>, StoreError> {
        let filter = filter.clone();
        self.readers
            .run(move |connection| {
                let snapshot = connection.transaction()?;
                search::ids(&snapshot, &filter, None, number_after(after), limit)
            })
            .await
    }

    async fn group_dead_letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetterGroup>, StoreError> {
        let filter = filter.clone();
        self.readers
            .run(move |connection| {
                let snapshot = connection.transaction()?;
                Ok(causes::of(&snapshot, &filter, usize::MAX)?.groups)
            })
            .await
    }

    async fn count_dead_letters(&self) -> Result<Vec<(Lane, u64)>, StoreError> {
        self.readers
            .run(|connection| {
                let snapshot = connection.transaction()?;
                search::count_unsettled(&snapshot)
            })
            .await
    }

    async fn redrive(&self, ids: &[DeadLetterId], force: bool, act: &Act) -> Result<Vec<Acted>, StoreError> {
        let (ids, act) = (ids.to_vec(), act.clone());
        self.write_durably(move |connection| acts::redrive(connection, &ids, force, &act)).await
    }

    async fn discard(&self, ids: &[DeadLetterId], act: &Act) -> Result<Vec<Acted>, StoreError> {
        let (ids, act) = (ids.to_vec(), act.clone());
        self.write_durably(move |connection| acts::discard(connection, &ids, &act)).await
    }

    async fn edit(
        &self,
        id: DeadLetterId,
        revision: u32,
        event: &EventData,
        entry: NewTrailEntry,
    ) -> Result<Acted, StoreError> {
        let event = event.clone();
        self.write_durably(move |connection| acts::edit(connection, id, revision, &event, &entry)).await
    }

    async fn lease_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        limit: usize,
        until: Timestamp,
        act: &Act,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let (filter, act) = (filter.clone(), act.clone());
        self.write(move |connection| acts::lease(connection, &filter, limit, until, &act)).await
    }

    async fn extend_lease(
        &self,
        ids: &[DeadLetterId],
        until: Timestamp,
        act: &Act,
    ) -> Result<Vec<Acted>, StoreError> {
        let (ids, act) = (ids.to_vec(), act.clone());
        self.write(move |connection| acts::extend_lease(connection, &ids, until, &act)).await
    }

    async fn trail(
        &self,
        subject: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<TrailEntry>, StoreError> {
        let subject = subject.map(str::to_owned);
        self.readers.run(move |connection| trail::list(connection, subject.as_deref(), after, limit)).await
    }
}

/// Adds an open dead letter under the next number.
pub(crate) fn open(
    connection: &Connection,
    letter: &DeadLetter,
    at: Timestamp,
    counts: &mut CauseCounts,
) -> Result<(), Failure> {
    let id = DeadLetterId(unsigned(stories::insert(connection, letter)?, "dead letter's number")?);
    states::insert(connection, &State::of(&StoredDeadLetter::open(id, letter.clone(), at)), counts)
}

/// Changes a dead letter that something refers to: its story and its state.
pub(crate) fn change_whole(
    connection: &Connection,
    id: DeadLetterId,
    counts: &mut CauseCounts,
    change: impl FnOnce(&mut StoredDeadLetter),
) -> Result<(), Failure> {
    let was = states::find(connection, id)?.ok_or_else(|| missing(id))?;
    let mut stored = whole(connection, was.clone())?;
    change(&mut stored);
    stories::update(connection, integer(id.0, "dead letter's number")?, &stored.letter)?;
    states::replace(connection, &was, &State::of(&stored), counts)
}

/// The redrive of a dead letter was applied or filtered.
pub(crate) fn settle(
    connection: &Connection,
    id: DeadLetterId,
    at: Timestamp,
    counts: &mut CauseCounts,
) -> Result<(), Failure> {
    let state = states::find(connection, id)?.ok_or_else(|| missing(id))?;
    states::change(connection, state, DeadLetterStatus::Redriven, at, counts)
}

/// The events of a lane from `from` on are read again: their dead letters that wait for something do not any more.
pub(crate) fn replay(
    connection: &Connection,
    lane: &Lane,
    incarnation: Incarnation,
    from: SequenceNumber,
    at: Timestamp,
) -> Result<(), Failure> {
    use DeadLetterStatus::{Open, Quarantined, Redriving};
    let waiting = DeadLetterFilter {
        function: Some(lane.function.clone()),
        hub: Some(lane.hub.clone()),
        partition: Some(lane.partition),
        from_sequence_number: Some(from),
        status: vec![Open, Quarantined, Redriving],
        ..DeadLetterFilter::default()
    };
    let mut counts = CauseCounts::default();
    for id in search::ids(connection, &waiting, None, FIRST, usize::MAX)? {
        if stories::incarnation(connection, integer(id.0, "dead letter's number")?)? == Some(incarnation) {
            let state = states::find(connection, id)?.ok_or_else(|| missing(id))?;
            states::change(connection, state, DeadLetterStatus::Replayed, at, &mut counts)?;
        }
    }
    counts.write(connection)
}

/// Discards dead letters of a hub that wait for somebody, at most so many; how many there were.
pub(crate) fn discard_of_hub(
    connection: &Connection,
    hub: &HubName,
    at: Timestamp,
    most: usize,
) -> Result<u64, Failure> {
    let unsettled = DeadLetterStatus::ALL.into_iter().filter(|status| status.is_unsettled());
    let filter = DeadLetterFilter {
        hub: Some(hub.clone()),
        status: unsettled.collect(),
        ..DeadLetterFilter::default()
    };
    let (mut accounts, mut counts) = (Accounts::default(), CauseCounts::default());
    let ids = search::ids(connection, &filter, None, FIRST, most)?;
    for id in &ids {
        let state = states::find(connection, *id)?.ok_or_else(|| missing(*id))?;
        let event = state.sequence_number;
        accounts.move_event(connection, &state.lane, event, Account::DeadLettered, Account::Discarded)?;
        states::change(connection, state, DeadLetterStatus::Discarded, at, &mut counts)?;
    }
    counts.write(connection)?;
    accounts.write(connection)?;
    Ok(ids.len() as u64)
}

/// The dead letter with this state, whole.
pub(crate) fn whole(connection: &Connection, state: State) -> Result<StoredDeadLetter, Failure> {
    let id = integer(state.id.0, "dead letter's number")?;
    let letter = stories::find(connection, id)?.ok_or_else(|| without_story(id))?;
    let edited = match state.revision {
        0 => None,
        revision => Some(edits::find(connection, id, revision, &letter.event.data)?),
    };
    Ok(StoredDeadLetter {
        id: state.id,
        letter,
        status: state.status,
        changed_at: state.changed_at,
        fingerprint: state.fingerprint,
        edited,
        revision: state.revision,
        redrives: state.redrives,
        returns: state.returns,
        lease: state.lease,
        leases: state.leases,
    })
}

/// The dead letter that an index or a parked event names.
fn expect(connection: &Connection, id: DeadLetterId) -> Result<StoredDeadLetter, Failure> {
    let state = states::find(connection, id)?.ok_or_else(|| missing(id))?;
    whole(connection, state)
}

/// The beginning.
const FIRST: Start = Start::After(0);

fn number_after(after: Option<DeadLetterId>) -> Start {
    after.map_or(FIRST, |after| Start::After(i64::try_from(after.0).unwrap_or(i64::MAX)))
}

fn missing(id: DeadLetterId) -> Failure {
    Failure::Stored(format!("the dead letter {id} is missing, and something refers to it"))
}

fn without_story(id: i64) -> Failure {
    Failure::Stored(format!("the dead letter {id} has lost its event"))
}
