//! The one place where effects happen: everything of a commit, in one transaction.

use std::ops::RangeFrom;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tidegate_model::checkpoint::{Checkpoint, FunctionName};
use tidegate_model::clock::Timestamp;
use tidegate_model::commit::{Commit, CommitGuarantee, CommitReceipt, DocumentWrite, LaneCommit};
use tidegate_model::dead_letter::DeadLetter;
use tidegate_model::document::{CollectionName, ETag, Precondition};
use tidegate_model::health::InstanceHealth;
use tidegate_model::parking::{ParkedVersion, Reparked, Unparked, UnparkedEnd};
use tidegate_model::ports::{Commits, StoreError};

use crate::accounts::{self, Account};
use crate::dead_letters::counts::CauseCounts;
use crate::error::Failure;
use crate::parking::queues::PlaceChange;
use crate::parking::rows;
use crate::schema::{create_documents_table, documents_table};
use crate::sqlite_store::{SqliteStore, integer, unsigned};
use crate::{attempts, checkpoints, codec, dead_letters, documents, health, ownerships};

#[async_trait]
impl Commits for SqliteStore {
    fn guarantee(&self) -> CommitGuarantee {
        CommitGuarantee::OneTransaction
    }

    async fn health(
        &self,
        circuit: &FunctionName,
        since: Timestamp,
    ) -> Result<Vec<InstanceHealth>, StoreError> {
        let circuit = circuit.clone();
        self.readers.run(move |connection| health::since(connection, &circuit, since)).await
    }

    async fn commit(&self, commit: &Commit) -> Result<CommitReceipt, StoreError> {
        let commit = checked(commit.clone())?;
        let forgotten_in = Arc::clone(&self.health_forgotten);
        self.write(move |connection| {
            // Once in each bucket is often enough. Should the commit fail, the next bucket's does it.
            let bucket = health::bucket(commit.at);
            let forget = forgotten_in.swap(bucket, Ordering::Relaxed) != bucket;
            write(connection, &commit, forget)
        })
        .await
    }

    async fn barrier(&self) -> Result<(), StoreError> {
        self.sync().await
    }
}

/// The commit with its documents in the order of collection and id, if it passes the checks that need no store. In that
/// order neighbours are written to the same pages, one after the other.
fn checked(mut commit: Commit) -> Result<Commit, StoreError> {
    let refused = |detail| StoreError::Refused { detail };
    commit.check_lanes().map_err(refused)?;
    commit.documents.sort_unstable_by(|one, other| key(one).cmp(&key(other)));
    if let Some(twice) = commit.documents.windows(2).find(|pair| key(&pair[0]) == key(&pair[1])) {
        let DocumentWrite { id, collection, .. } = &twice[0];
        return Err(refused(format!("the commit writes the document {id} of {collection} twice")));
    }
    Ok(commit)
}

fn key(write: &DocumentWrite) -> (&CollectionName, &tidegate_model::document::DocumentId) {
    (&write.collection, &write.id)
}

fn write(connection: &mut Connection, commit: &Commit, forget: bool) -> Result<CommitReceipt, Failure> {
    // Whatever fails below drops the transaction, which rolls it back.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut stored = Vec::with_capacity(commit.lanes.len());
    for step in &commit.lanes {
        stored.push(check_lane(&transaction, step)?);
    }
    let etag: i64 = transaction
        .prepare_cached("UPDATE counters SET value = value + 1 WHERE name = 'etag' RETURNING value")?
        .query_row([], |row| row.get(0))?;
    for writes in commit.documents.chunk_by(|one, next| one.collection == next.collection) {
        write_documents(&transaction, writes, etag, commit.at)?;
    }
    let changes = commit.lanes.iter().map(|step| step.parked.len() + step.reparked.len()).sum();
    let mut versions = if changes > 0 { rows::new_versions(&transaction, changes)? } else { 0 }..;
    let mut counts = CauseCounts::default();
    for (step, checkpoint) in commit.lanes.iter().zip(stored) {
        write_lane(&transaction, step, checkpoint, commit.at, &mut versions, &mut counts)?;
    }
    counts.write(&transaction)?;
    for record in &commit.health {
        health::add(&transaction, record)?;
    }
    if forget {
        health::forget(&transaction, commit.at)?;
    }
    transaction.commit()?;
    Ok(CommitReceipt { etag: ETag(unsigned(etag, "etag")?) })
}

/// The checkpoint that the step goes on from, if it may.
fn check_lane(transaction: &Transaction<'_>, step: &LaneCommit) -> Result<Checkpoint, Failure> {
    let lane = &step.lane;
    let stored = ownerships::find(transaction, lane)?.map(|ownership| ownership.epoch);
    let checkpoint = checkpoints::find(transaction, lane)?.filter(|_| stored == Some(step.epoch));
    let Some(checkpoint) = checkpoint else {
        return Err(StoreError::Fenced { lane: lane.clone(), ours: step.epoch, stored }.into());
    };
    if checkpoint.incarnation != step.incarnation {
        let (ours, stored) = (step.incarnation, checkpoint.incarnation);
        return Err(StoreError::OtherIncarnation { lane: lane.clone(), ours, stored }.into());
    }
    if checkpoint.position != step.advance.from {
        let (from, stored) = (step.advance.from, checkpoint.position);
        return Err(StoreError::CheckpointMoved { lane: lane.clone(), from, stored }.into());
    }
    Ok(checkpoint)
}

fn write_lane(
    transaction: &Transaction<'_>,
    step: &LaneCommit,
    mut checkpoint: Checkpoint,
    at: Timestamp,
    versions: &mut RangeFrom<i64>,
    counts: &mut CauseCounts,
) -> Result<(), Failure> {
    checkpoint.position = step.advance.to;
    checkpoint.counts += step.counts;
    checkpoint.updated_at = at;

    attempts::remove_before(transaction, &step.lane, step.advance.to)?;
    for event in &step.attempts {
        attempts::write(transaction, &step.lane, event)?;
    }
    for letter in &step.dead_letters {
        dead_letters::open(transaction, letter, at, counts)?;
    }
    if !(step.parked.is_empty() && step.unparked.is_empty() && step.reparked.is_empty()) {
        write_parked(transaction, step, &mut checkpoint, at, versions, counts)?;
    }
    checkpoints::write(transaction, &checkpoint)
}

/// Writes what happens in the parking place of a lane. The version is compared with the row that is changed.
fn write_parked(
    transaction: &Transaction<'_>,
    step: &LaneCommit,
    checkpoint: &mut Checkpoint,
    at: Timestamp,
    versions: &mut RangeFrom<i64>,
    counts: &mut CauseCounts,
) -> Result<(), Failure> {
    let lane = &step.lane;
    let mut place = PlaceChange::begin(transaction, lane)?;
    let number = place.number();
    let find = |sequence_number, version: ParkedVersion| {
        let found = rows::find(transaction, number, lane, sequence_number)?;
        let unchanged = found.filter(|row| u64::try_from(row.version) == Ok(version.0));
        let moved = || StoreError::ParkedMoved { lane: lane.clone(), sequence_number };
        unchanged.ok_or_else(|| Failure::Store(moved()))
    };
    let mut next_version = || versions.next().unwrap_or(i64::MAX);
    for Reparked { sequence_number, version, turn, attempts } in &step.reparked {
        let row = find(*sequence_number, *version)?;
        let attempts = codec::encode_attempts(attempts);
        rows::turn_to(transaction, number, lane, row, turn, Some(attempts), next_version())?;
    }
    for Unparked { sequence_number, version, end } in &step.unparked {
        let row = find(*sequence_number, *version)?;
        let redrive_of = row.redrive_of()?;
        place.unpark(transaction, row)?;
        accounts::move_event(checkpoint, *sequence_number, Account::Parked, end.outcome().into())?;
        match (redrive_of, end) {
            (None, UnparkedEnd::Applied | UnparkedEnd::Filtered) => {}
            (Some(id), UnparkedEnd::Applied | UnparkedEnd::Filtered) => {
                dead_letters::settle(transaction, id, at, counts)?;
            }
            (None, UnparkedEnd::DeadLettered(letter)) => dead_letters::open(transaction, letter, at, counts)?,
            (Some(id), UnparkedEnd::DeadLettered(story)) => {
                let story = DeadLetter::clone(story);
                dead_letters::change_whole(transaction, id, counts, |letter| letter.come_back(story, at))?;
            }
        }
    }
    for parked in &step.parked {
        place.park(transaction, parked, next_version())?;
    }
    place.finish(transaction)
}

/// Writes documents of one collection. The precondition is part of the statement: it changes one row or none.
fn write_documents(
    transaction: &Transaction<'_>,
    writes: &[DocumentWrite],
    etag: i64,
    at: Timestamp,
) -> Result<(), Failure> {
    let Some(collection) = writes.first().map(|write| &write.collection) else { return Ok(()) };
    let number = match documents::number_of(transaction, collection)? {
        Some(number) => number,
        None => create_collection(transaction, collection)?,
    };
    let table = documents_table(number);
    let mut insert = transaction.prepare_cached(&format!(
        "INSERT INTO {table} (id, partition, sequence_number, etag, updated_at, checksum, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING"
    ))?;
    let mut update = transaction.prepare_cached(&format!(
        "UPDATE {table} SET partition = ?2, sequence_number = ?3, etag = ?4, updated_at = ?5, checksum = ?6, body = ?7
         WHERE id = ?1 AND etag = ?8"
    ))?;
    let mut inserted = 0;
    for write in writes {
        let id = write.id.as_str();
        let body = std::str::from_utf8(&write.body).map_err(|error| {
            Failure::refused(format!(
                "the state of the document {id} of {collection} is not UTF-8 text: {error}"
            ))
        })?;
        let partition = i64::from(write.partition.0);
        let sequence_number = integer(write.sequence_number.0, "sequence number")?;
        let checksum =
            documents::checksum(&write.id, &[partition, sequence_number, etag, at.as_millis()], &write.body);
        let values = params![id, partition, sequence_number, etag, at.as_millis(), checksum, body];
        let changed = match write.precondition {
            Precondition::Absent => {
                inserted += 1;
                insert.execute(values)?
            }
            // No stored etag is larger than SQLite's integers.
            Precondition::Matches(ETag(before)) => match i64::try_from(before) {
                Ok(before) => update.execute(params![
                    id,
                    partition,
                    sequence_number,
                    etag,
                    at.as_millis(),
                    checksum,
                    body,
                    before
                ])?,
                Err(_) => 0,
            },
        };
        if changed == 0 {
            let (collection, id) = (collection.clone(), write.id.clone());
            return Err(StoreError::DocumentChanged { collection, id }.into());
        }
    }
    if inserted > 0 {
        transaction
            .prepare_cached("UPDATE collections SET documents = documents + ?2 WHERE number = ?1")?
            .execute((number, inserted))?;
    }
    Ok(())
}

fn create_collection(transaction: &Transaction<'_>, collection: &CollectionName) -> Result<i64, Failure> {
    let number = transaction.query_row(
        "INSERT INTO collections (name, documents) VALUES (?1, 0) RETURNING number",
        [collection.as_str()],
        |row| row.get(0),
    )?;
    create_documents_table(transaction, number)?;
    Ok(number)
}
