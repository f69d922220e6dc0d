//! What people and programs do with dead letters: each act one transaction, with its lines in the audit trail.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde_json::Value;
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{
    Acted, DeadLetterFilter, DeadLetterId, DeadLetterStatus, Lease, StoredDeadLetter,
};
use tidegate_model::event::EventData;
use tidegate_model::parking::ParkedEvent;
use tidegate_model::trail::{Act, NewTrailEntry, action};

use super::counts::CauseCounts;
use super::states::{self, State};
use super::{edits, search, whole};
use crate::accounts::{Account, Accounts};
use crate::error::Failure;
use crate::parking::queues::PlaceChange;
use crate::parking::rows;
use crate::sqlite_store::integer;
use crate::trail;

pub(super) fn redrive(
    connection: &mut Connection,
    ids: &[DeadLetterId],
    force: bool,
    act: &Act,
) -> Result<Vec<Acted>, Failure> {
    let transaction = begin(connection)?;
    let allows = |status| match status {
        DeadLetterStatus::Open => true,
        DeadLetterStatus::Quarantined => force,
        _ => false,
    };
    let (mut accounts, mut counts) = (Accounts::default(), CauseCounts::default());
    let mut places: BTreeMap<Lane, PlaceChange> = BTreeMap::new();
    let mut version = rows::new_versions(&transaction, ids.len())?;
    let mut answers = Vec::with_capacity(ids.len());
    for id in ids {
        let mut state = match to_act_on(&transaction, *id, act, allows)? {
            Ok(state) => state,
            Err(hindered) => {
                answers.push(hindered);
                continue;
            }
        };
        let dead_letter = whole(&transaction, state.clone())?;
        let checkpoint = accounts.checkpoint(&transaction, &state.lane)?;
        if checkpoint.is_none_or(|checkpoint| checkpoint.incarnation != dead_letter.letter.incarnation) {
            answers.push(Acted::OtherIncarnation);
            continue;
        }
        let place = match places.get_mut(&state.lane) {
            Some(place) => place,
            None => {
                let place = PlaceChange::begin(&transaction, &state.lane)?;
                places.entry(state.lane.clone()).or_insert(place)
            }
        };
        place.park(&transaction, &ParkedEvent::redrive(&dead_letter, act.at), version)?;
        version += 1;
        let event = state.sequence_number;
        accounts.move_event(&transaction, &state.lane, event, Account::DeadLettered, Account::Parked)?;
        state.redrives = state.redrives.saturating_add(1);
        states::change(&transaction, state, DeadLetterStatus::Redriving, act.at, &mut counts)?;
        write_trail(&transaction, *id, action::REDRIVE, act)?;
        answers.push(Acted::Done);
    }
    if !places.is_empty() {
        rows::is_acted_on(&transaction)?;
    }
    places.into_values().try_for_each(|place| place.finish(&transaction))?;
    counts.write(&transaction)?;
    accounts.write(&transaction)?;
    transaction.commit()?;
    Ok(answers)
}

pub(super) fn discard(
    connection: &mut Connection,
    ids: &[DeadLetterId],
    act: &Act,
) -> Result<Vec<Acted>, Failure> {
    let transaction = begin(connection)?;
    let (mut accounts, mut counts) = (Accounts::default(), CauseCounts::default());
    let mut answers = Vec::with_capacity(ids.len());
    for id in ids {
        let state = match to_act_on(&transaction, *id, act, DeadLetterStatus::is_unsettled)? {
            Ok(state) => state,
            Err(hindered) => {
                answers.push(hindered);
                continue;
            }
        };
        let event = state.sequence_number;
        accounts.move_event(&transaction, &state.lane, event, Account::DeadLettered, Account::Discarded)?;
        states::change(&transaction, state, DeadLetterStatus::Discarded, act.at, &mut counts)?;
        write_trail(&transaction, *id, action::DISCARD, act)?;
        answers.push(Acted::Done);
    }
    counts.write(&transaction)?;
    accounts.write(&transaction)?;
    transaction.commit()?;
    Ok(answers)
}

pub(super) fn edit(
    connection: &mut Connection,
    id: DeadLetterId,
    revision: u32,
    event: &EventData,
    entry: &NewTrailEntry,
) -> Result<Acted, Failure> {
    let transaction = begin(connection)?;
    let mut state = match to_act_on(&transaction, id, &entry.act, DeadLetterStatus::is_unsettled)? {
        Ok(state) => state,
        Err(hindered) => return Ok(hindered),
    };
    if state.revision != revision {
        return Ok(Acted::OtherRevision(state.revision));
    }
    if state.partition_key.as_deref() != event.partition_key.as_deref() {
        return Err(Failure::refused(format!(
            "the edit of dead letter {id} changes its partition key, and with it its place in the order; leave the key as \
             it is, or publish the event anew and discard the dead letter"
        )));
    }
    state.revision = revision
        .checked_add(1)
        .ok_or_else(|| Failure::refused(format!("dead letter {id} was edited {revision} times")))?;
    edits::write(&transaction, integer(id.0, "dead letter's number")?, state.revision, event)?;
    states::update(&transaction, &state)?;
    trail::append(&transaction, entry)?;
    transaction.commit()?;
    Ok(Acted::Done)
}

pub(super) fn lease(
    connection: &mut Connection,
    filter: &DeadLetterFilter,
    limit: usize,
    until: Timestamp,
    act: &Act,
) -> Result<Vec<StoredDeadLetter>, Failure> {
    if !filter.status.is_empty() && !filter.status.contains(&DeadLetterStatus::Open) {
        return Ok(Vec::new());
    }
    let filter = DeadLetterFilter { status: vec![DeadLetterStatus::Open], ..filter.clone() };
    let transaction = begin(connection)?;
    let mut leased = Vec::new();
    for id in search::ids(&transaction, &filter, Some(act.at), search::Start::After(0), limit)? {
        let mut state = states::find(&transaction, id)?.ok_or_else(|| {
            Failure::Stored(format!("an index names the dead letter {id}, which is not there"))
        })?;
        state.lease = Some(Lease { holder: act.by.clone(), until });
        state.leases = state.leases.saturating_add(1);
        states::update(&transaction, &state)?;
        write_trail(&transaction, id, action::LEASE, act)?;
        leased.push(whole(&transaction, state)?);
    }
    transaction.commit()?;
    Ok(leased)
}

pub(super) fn extend_lease(
    connection: &mut Connection,
    ids: &[DeadLetterId],
    until: Timestamp,
    act: &Act,
) -> Result<Vec<Acted>, Failure> {
    let transaction = begin(connection)?;
    let mut answers = Vec::with_capacity(ids.len());
    for id in ids {
        let is_open = |status| status == DeadLetterStatus::Open;
        let mut state = match to_act_on(&transaction, *id, act, is_open)? {
            Ok(state) => state,
            Err(hindered) => {
                answers.push(hindered);
                continue;
            }
        };
        // A lease that ran out cannot be extended: somebody else may have had one since.
        let Some(lease) = state.lease.take().filter(|lease| lease.is_held(act.at)) else {
            answers.push(Acted::WrongStatus(state.status));
            continue;
        };
        state.lease = Some(Lease { until, ..lease }).filter(|lease| lease.is_held(act.at));
        states::update(&transaction, &state)?;
        write_trail(&transaction, *id, action::EXTEND_LEASE, act)?;
        answers.push(Acted::Done);
    }
    transaction.commit()?;
    Ok(answers)
}

/// The state of a dead letter if an act on it may go on, as far as its existence, its lease and its status say.
fn to_act_on(
    transaction: &Transaction<'_>,
    id: DeadLetterId,
    act: &Act,
    allows: impl FnOnce(DeadLetterStatus) -> bool,
) -> Result<Result<State, Acted>, Failure> {
    Ok(match states::find(transaction, id)? {
        None => Err(Acted::NotFound),
        Some(state) if state.is_leased_to_another(&act.by, act.at) => Err(Acted::Leased),
        Some(state) if !allows(state.status) => Err(Acted::WrongStatus(state.status)),
        Some(state) => Ok(state),
    })
}

fn begin(connection: &mut Connection) -> Result<Transaction<'_>, Failure> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

fn write_trail(
    transaction: &Transaction<'_>,
    id: DeadLetterId,
    action: &str,
    act: &Act,
) -> Result<(), Failure> {
    trail::write(transaction, action, &id.to_string(), act, &Value::Null)
}
