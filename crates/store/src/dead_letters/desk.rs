//! What a person at a desk wants of dead letters beyond the port: the newest first, how many there are and were over time,
//! and to write a note.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use rusqlite::{Connection, params};
use serde_json::Value;
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{DeadLetterFilter, DeadLetterId, Fingerprint, StoredDeadLetter};
use tidegate_model::ports::StoreError;
use tidegate_model::trail::{Act, TrailEntry};

use super::causes::Causes;
use super::search::{self, Start};
use super::states;
use crate::error::Failure;
use crate::sqlite_store::{SqliteStore, unsigned};
use crate::trail;

/// The action of a note in the audit trail. Its subject is the number of the dead letter, its reason the note.
const NOTE: &str = "dead-letter.note";

impl SqliteStore {
    /// How many dead letters were set aside from `from` on, by cause: a count for each of `buckets` times of length `step`,
    /// the oldest first. Whatever became of them later.
    ///
    /// # Errors
    /// When the store does not answer, or is damaged.
    pub async fn dead_letter_trend(
        &self,
        from: Timestamp,
        step: Duration,
        buckets: usize,
    ) -> Result<Vec<(Fingerprint, Vec<u64>)>, StoreError> {
        self.readers.run(move |connection| trend(connection, from, step, buckets)).await
    }

    /// At most `limit` dead letters that match, with ids less than `before`, the greatest first.
    ///
    /// # Errors
    /// When the store does not answer, or is damaged.
    pub async fn newest_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        before: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let filter = filter.clone();
        let before = before.and_then(|before| i64::try_from(before.0).ok()).unwrap_or(i64::MAX);
        self.readers
            .run(move |connection| {
                let snapshot = connection.transaction()?;
                let ids = search::ids(&snapshot, &filter, None, Start::Before(before), limit)?;
                ids.into_iter().map(|id| super::expect(&snapshot, id)).collect()
            })
            .await
    }

    /// At most `limit` lines of the audit trail with numbers less than `before`, the newest first; of one subject if given.
    ///
    /// # Errors
    /// When the store does not answer, or is damaged.
    pub async fn newest_trail(
        &self,
        subject: Option<&str>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<TrailEntry>, StoreError> {
        let subject = subject.map(str::to_owned);
        let before = before.unwrap_or(u64::MAX);
        self.readers
            .run(move |connection| trail::list_back(connection, subject.as_deref(), before, limit))
            .await
    }

    /// The causes of the dead letters that match, the most frequent first and at most `limit`, and how many there are.
    ///
    /// # Errors
    /// When the store does not answer, or is damaged.
    pub async fn dead_letter_causes(
        &self,
        filter: &DeadLetterFilter,
        limit: usize,
    ) -> Result<Causes, StoreError> {
        let filter = filter.clone();
        self.readers
            .run(move |connection| {
                let snapshot = connection.transaction()?;
                super::causes::of(&snapshot, &filter, limit)
            })
            .await
    }

    /// The lanes that these dead letters are of. Their events are not read.
    ///
    /// # Errors
    /// When the store does not answer, or is damaged.
    pub async fn dead_letter_lanes(&self, ids: &[DeadLetterId]) -> Result<BTreeSet<Lane>, StoreError> {
        let ids = ids.to_vec();
        self.readers.run(move |connection| lanes(connection, &ids)).await
    }

    /// Writes a note about a dead letter into the audit trail: `act.reason` is what it says. False when there is no such
    /// dead letter.
    ///
    /// # Errors
    /// When the store does not answer, or is damaged.
    pub async fn note_dead_letter(&self, id: DeadLetterId, act: &Act) -> Result<bool, StoreError> {
        let act = act.clone();
        self.write_durably(move |connection| note(connection, id, &act)).await
    }
}

fn trend(
    connection: &Connection,
    from: Timestamp,
    step: Duration,
    buckets: usize,
) -> Result<Vec<(Fingerprint, Vec<u64>)>, Failure> {
    let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1);
    let end =
        from.as_millis().saturating_add(step.saturating_mul(i64::try_from(buckets).unwrap_or(i64::MAX)));
    // Cause by cause, so that an index alone tells, however many dead letters there are.
    let mut causes = connection.prepare_cached("SELECT fingerprint, status FROM dead_letter_causes")?;
    let mut count = connection.prepare_cached(
        "SELECT (dead_lettered_at - ?3) / ?4 AS bucket, count(*)
         FROM dead_letter_states INDEXED BY dead_letters_by_cause_and_time
         WHERE fingerprint = ?1 AND status = ?2 AND dead_lettered_at >= ?3 AND dead_lettered_at < ?5
         GROUP BY bucket",
    )?;
    let mut by_cause: HashMap<i64, Vec<u64>> = HashMap::new();
    let mut all = causes.query([])?;
    while let Some(cause) = all.next()? {
        let (fingerprint, status): (i64, String) = (cause.get(0)?, cause.get(1)?);
        let mut rows = count.query(params![fingerprint, status, from.as_millis(), step, end])?;
        while let Some(row) = rows.next()? {
            let bucket = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX);
            let counts = by_cause.entry(fingerprint).or_insert_with(|| vec![0; buckets]);
            if let Some(counted) = counts.get_mut(bucket) {
                *counted += unsigned(row.get(1)?, "count")?;
            }
        }
    }
    let mut trend: Vec<(Fingerprint, Vec<u64>)> = (by_cause.into_iter())
        .map(|(fingerprint, counts)| (Fingerprint(fingerprint.cast_unsigned()), counts))
        .collect();
    trend.sort_unstable_by_key(|(fingerprint, counts)| {
        (std::cmp::Reverse(counts.iter().sum::<u64>()), *fingerprint)
    });
    Ok(trend)
}

fn lanes(connection: &Connection, ids: &[DeadLetterId]) -> Result<BTreeSet<Lane>, Failure> {
    let mut lanes = BTreeSet::new();
    for id in ids {
        lanes.extend(states::find(connection, *id)?.map(|state| state.lane));
    }
    Ok(lanes)
}

fn note(connection: &Connection, id: DeadLetterId, act: &Act) -> Result<bool, Failure> {
    let Ok(number) = i64::try_from(id.0) else { return Ok(false) };
    let mut find = connection.prepare_cached("SELECT count(*) FROM dead_letter_states WHERE id = ?1")?;
    if find.query_row([number], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(false);
    }
    trail::write(connection, NOTE, &id.to_string(), act, &Value::Null)?;
    Ok(true)
}
