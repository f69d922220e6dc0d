//! What dead letters have in common: their causes, the most frequent first.
//!
//! How many dead letters of each cause are in which status is counted as they change, so that a million of them take no
//! longer to be grouped than a hundred. What else a filter may ask for, such as a partition or a key, is looked for.

use std::cmp::Reverse;
use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{
    DeadLetterFilter, DeadLetterGroup, DeadLetterId, DeadLetterStatus, Fingerprint,
};

use super::search::{self, Cause};
use super::states::stored_fingerprint;
use super::stories;
use crate::error::Failure;
use crate::sqlite_store::unsigned;

/// The causes of dead letters, and how many there are in all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Causes {
    /// The most frequent ones, as many as were asked for.
    pub groups: Vec<DeadLetterGroup>,
    /// How many causes there are.
    pub causes: u64,
    /// How many dead letters there are.
    pub dead_letters: u64,
}

/// The causes of the dead letters that match, the most frequent first, at most `limit`.
pub(super) fn of(
    connection: &Connection,
    filter: &DeadLetterFilter,
    limit: usize,
) -> Result<Causes, Failure> {
    let found = match is_counted(filter) {
        true => counted(connection, filter, limit)?,
        false => {
            let all = search::causes(connection, filter)?;
            Counted {
                causes: all.len() as u64,
                dead_letters: all.iter().map(|cause| cause.count).sum(),
                most_frequent: most_frequent(all, limit),
            }
        }
    };
    let mut groups = Vec::with_capacity(found.most_frequent.len());
    for cause in found.most_frequent {
        groups.push(told(connection, &cause)?);
    }
    Ok(Causes { groups, causes: found.causes, dead_letters: found.dead_letters })
}

struct Counted {
    most_frequent: Vec<Cause>,
    causes: u64,
    dead_letters: u64,
}

/// Whether the counts answer it: they know causes, functions, classes and statuses, and their index knows times.
fn is_counted(filter: &DeadLetterFilter) -> bool {
    let DeadLetterFilter {
        hub, partition, from_sequence_number, before_sequence_number, partition_key, ..
    } = filter;
    hub.is_none()
        && partition.is_none()
        && from_sequence_number.is_none()
        && before_sequence_number.is_none()
        && partition_key.is_none()
}

/// By how many there are, and of equally many the newest first.
fn most_frequent(mut causes: Vec<Cause>, limit: usize) -> Vec<Cause> {
    causes.sort_unstable_by_key(|cause| (Reverse(cause.count), Reverse(cause.newest.1)));
    causes.truncate(limit);
    causes
}

/// The causes by their counts; only those that are told are looked at further.
fn counted(connection: &Connection, filter: &DeadLetterFilter, limit: usize) -> Result<Counted, Failure> {
    let statuses: &[DeadLetterStatus] =
        if filter.status.is_empty() { &DeadLetterStatus::ALL } else { &filter.status };
    let mut all = connection.prepare_cached(
        "SELECT fingerprint, status, dead_letters FROM dead_letter_causes
         WHERE (?1 IS NULL OR fingerprint = ?1) AND (?2 IS NULL OR function = ?2) AND (?3 IS NULL OR class = ?3)",
    )?;
    let mut rows = all.query(params![
        filter.fingerprint.map(stored_fingerprint),
        filter.function.as_ref().map(|function| function.as_str()),
        filter.class.map(|class| class.as_str()),
    ])?;
    let mut by_cause: HashMap<i64, (u64, Vec<DeadLetterStatus>)> = HashMap::new();
    while let Some(row) = rows.next()? {
        let status: String = row.get(1)?;
        let Some(status) = statuses.iter().find(|wanted| wanted.as_str() == status) else { continue };
        let fingerprint: i64 = row.get(0)?;
        let count = in_time(connection, filter, fingerprint, *status, unsigned(row.get(2)?, "count")?)?;
        if count > 0 {
            let cause = by_cause.entry(fingerprint).or_default();
            cause.0 += count;
            cause.1.push(*status);
        }
    }
    let (causes, dead_letters) = (by_cause.len() as u64, by_cause.values().map(|(count, _)| count).sum());
    let mut frequent: Vec<(i64, u64, Vec<DeadLetterStatus>)> =
        by_cause.into_iter().map(|(fingerprint, (count, statuses))| (fingerprint, count, statuses)).collect();
    frequent.sort_unstable_by_key(|(fingerprint, count, _)| (Reverse(*count), *fingerprint));
    frequent.truncate(limit);
    let mut most = Vec::with_capacity(frequent.len());
    for (fingerprint, count, statuses) in frequent {
        let (first_at, newest) = ends(connection, filter, fingerprint, &statuses)?;
        most.push(Cause { fingerprint, count, first_at, newest });
    }
    Ok(Counted { most_frequent: most_frequent(most, limit), causes, dead_letters })
}

/// How many dead letters of a cause in a status were set aside in the filter's time, of `all` there are.
fn in_time(
    connection: &Connection,
    filter: &DeadLetterFilter,
    fingerprint: i64,
    status: DeadLetterStatus,
    all: u64,
) -> Result<u64, Failure> {
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM dead_letter_states INDEXED BY dead_letters_by_cause_and_time
         WHERE fingerprint = ?1 AND status = ?2 AND dead_lettered_at >= ?3 AND dead_lettered_at < ?4",
    )?;
    let mut between = |since: i64, until: i64| -> Result<u64, Failure> {
        unsigned(
            count.query_row(params![fingerprint, status.as_str(), since, until], |row| row.get(0))?,
            "count",
        )
    };
    match (filter.since.map(Timestamp::as_millis), filter.until.map(Timestamp::as_millis)) {
        (None, None) => Ok(all),
        // Those that came after a moment are few where the moment is when somebody looked.
        (None, Some(until)) => Ok(all.saturating_sub(between(until, i64::MAX)?)),
        (Some(since), until) => between(since, until.unwrap_or(i64::MAX)),
    }
}

/// When the first dead letter of a cause was set aside, and the newest one: when, and its number.
fn ends(
    connection: &Connection,
    filter: &DeadLetterFilter,
    fingerprint: i64,
    statuses: &[DeadLetterStatus],
) -> Result<(i64, (i64, i64)), Failure> {
    let since = filter.since.map_or(i64::MIN, Timestamp::as_millis);
    let until = filter.until.map_or(i64::MAX, Timestamp::as_millis);
    let from = "FROM dead_letter_states INDEXED BY dead_letters_by_cause_and_time
                WHERE fingerprint = ?1 AND status = ?2 AND dead_lettered_at >= ?3 AND dead_lettered_at < ?4";
    let mut first = connection
        .prepare_cached(&format!("SELECT dead_lettered_at {from} ORDER BY dead_lettered_at LIMIT 1"))?;
    let mut last = connection.prepare_cached(&format!(
        "SELECT dead_lettered_at, id {from} ORDER BY dead_lettered_at DESC, id DESC LIMIT 1"
    ))?;
    let (mut first_at, mut newest) = (i64::MAX, (i64::MIN, 0));
    for status in statuses {
        let which = params![fingerprint, status.as_str(), since, until];
        let found: Option<i64> = first.query_row(which, |row| row.get(0)).optional()?;
        first_at = first_at.min(found.unwrap_or(i64::MAX));
        let found: Option<(i64, i64)> =
            last.query_row(which, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        newest = newest.max(found.unwrap_or((i64::MIN, 0)));
    }
    if newest.1 == 0 {
        return Err(Failure::Stored(format!(
            "dead letters of the cause {} are counted, and there are none",
            Fingerprint(fingerprint.cast_unsigned())
        )));
    }
    Ok((first_at, newest))
}

/// A cause with its reason, which is that of its newest dead letter.
fn told(connection: &Connection, cause: &Cause) -> Result<DeadLetterGroup, Failure> {
    let &Cause { fingerprint, count, first_at, newest: (last_at, newest) } = cause;
    let story = stories::find(connection, newest)?.ok_or_else(|| super::without_story(newest))?;
    Ok(DeadLetterGroup {
        fingerprint: Fingerprint(fingerprint.cast_unsigned()),
        function: story.lane.function,
        class: story.class,
        reason: story.reason,
        count,
        first_at: Timestamp::from_millis(first_at),
        last_at: Timestamp::from_millis(last_at),
        newest: DeadLetterId(unsigned(newest, "dead letter's number")?),
    })
}

/// Compares the counts with the states themselves; what differs, in sentences.
pub(crate) fn differences(connection: &Connection) -> Result<Vec<String>, Failure> {
    let mut counted = connection.prepare(
        "SELECT fingerprint, status, sum(there), sum(counted) FROM (
             SELECT fingerprint, status, count(*) AS there, 0 AS counted FROM dead_letter_states GROUP BY 1, 2
             UNION ALL SELECT fingerprint, status, 0, dead_letters FROM dead_letter_causes)
         GROUP BY 1, 2 HAVING sum(there) <> sum(counted)",
    )?;
    let mut rows = counted.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (fingerprint, status): (i64, String) = (row.get(0)?, row.get(1)?);
        let (there, counted): (i64, i64) = (row.get(2)?, row.get(3)?);
        found.push(format!(
            "the cause {} counts {counted} dead letters that are {status}, and there are {there}",
            Fingerprint(fingerprint.cast_unsigned())
        ));
    }
    Ok(found)
}
