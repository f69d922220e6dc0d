//! The notices on their way, and how far each got with its targets.

use async_trait::async_trait;
use rusqlite::{Connection, Row, TransactionBehavior, params};
use tidegate_model::clock::Timestamp;
use tidegate_model::notice::{Delivery, DeliveryState, NewNotice, Notice, NoticeId};
use tidegate_model::ports::{Outbox, StoreError};

use crate::checksum::Checksum;
use crate::error::Failure;
use crate::sqlite_store::{SqliteStore, integer, unsigned};

/// The columns of a notice, as [`read_notice`] expects them.
const NOTICE_COLUMNS: &str = "id, kind, subject, at, data, checksum";

/// The columns of a delivery, as [`read_delivery`] expects them.
const DELIVERY_COLUMNS: &str = "notice, target, tries, state, at, error, checksum";

#[async_trait]
impl Outbox for SqliteStore {
    async fn due_notices(
        &self,
        targets: &[String],
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notice>, StoreError> {
        let targets = targets.to_vec();
        self.readers.run(move |connection| due(connection, &targets, now, limit)).await
    }

    async fn recent_notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        self.readers
            .run(move |connection| {
                let snapshot = connection.transaction()?;
                let mut newest = snapshot.prepare_cached(&format!(
                    "SELECT {NOTICE_COLUMNS} FROM notices ORDER BY id DESC LIMIT ?1"
                ))?;
                let mut rows = newest.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
                let mut notices = Vec::new();
                while let Some(row) = rows.next()? {
                    notices.push(read_notice(&snapshot, row)?);
                }
                Ok(notices)
            })
            .await
    }

    async fn record_delivery(
        &self,
        notice: NoticeId,
        target: &str,
        state: DeliveryState,
        error: Option<&str>,
    ) -> Result<(), StoreError> {
        let (target, error) = (target.to_owned(), error.map(str::to_owned));
        self.write(move |connection| record(connection, notice, target, state, error)).await
    }

    async fn prune_notices(&self, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |connection| prune(connection, now)).await
    }
}

/// Adds a notice under the next number.
pub(crate) fn add(connection: &Connection, notice: &NewNotice) -> Result<(), Failure> {
    let NewNotice { kind, subject, at, data } = notice;
    let data = data.to_string();
    // The checksum holds the number, so that is needed first. Numbers are never used twice.
    let mut last = connection
        .prepare_cached("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'notices'), 0)")?;
    let id = last.query_row([], |row| row.get::<_, i64>(0))? + 1;
    connection
        .prepare_cached(
            "INSERT INTO notices (id, kind, subject, at, data, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            id,
            kind,
            subject,
            at.as_millis(),
            data,
            notice_checksum(id, kind, subject, at.as_millis(), &data),
        ])?;
    Ok(())
}

/// Calls `each` with every notice and its deliveries.
pub(crate) fn for_each(
    connection: &Connection,
    mut each: impl FnMut(Result<Notice, Failure>),
) -> Result<(), Failure> {
    let mut all = connection.prepare(&format!("SELECT {NOTICE_COLUMNS} FROM notices ORDER BY id"))?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        each(read_notice(connection, row));
    }
    Ok(())
}

/// Goes through the notices that are kept, from the first on. Deliveries that were made are passed without being read.
fn due(
    connection: &mut Connection,
    targets: &[String],
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Notice>, Failure> {
    let snapshot = connection.transaction()?;
    let mut find = snapshot.prepare_cached(&format!(
        "SELECT {NOTICE_COLUMNS} FROM notices
         WHERE EXISTS (SELECT 1 FROM json_each(?1) AS wanted
                       LEFT JOIN deliveries ON deliveries.notice = notices.id AND deliveries.target = wanted.value
                       WHERE state IS NULL OR (state = 'due' AND deliveries.at <= ?2))
         ORDER BY id LIMIT ?3"
    ))?;
    let targets = serde_json::Value::from(targets).to_string();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = find.query((targets, now.as_millis(), limit))?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        due.push(read_notice(&snapshot, row)?);
    }
    Ok(due)
}

fn record(
    connection: &mut Connection,
    notice: NoticeId,
    target: String,
    state: DeliveryState,
    error: Option<String>,
) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let id = integer(notice.0, "notice's number")?;
    let mut find = transaction.prepare_cached("SELECT 1 FROM notices WHERE id = ?1")?;
    // It may have been forgotten meanwhile.
    if !find.exists([id])? {
        return Ok(());
    }
    let known = deliveries(&transaction, id)?.into_iter().find(|delivery| delivery.target == target);
    let tries = known.map_or(0, |delivery| delivery.tries).saturating_add(1);
    write_delivery(&transaction, id, &Delivery { target, tries, state, error })?;
    drop(find);
    transaction.commit()?;
    Ok(())
}

fn prune(connection: &mut Connection, now: Timestamp) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut outdated = Vec::new();
    let mut all = transaction.prepare_cached(&format!("SELECT {NOTICE_COLUMNS} FROM notices ORDER BY id"))?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let notice = read_notice(&transaction, row)?;
        if notice.is_outdated(now) {
            outdated.push(integer(notice.id.0, "notice's number")?);
        }
    }
    drop(rows);
    drop(all);
    for id in outdated {
        transaction.prepare_cached("DELETE FROM deliveries WHERE notice = ?1")?.execute([id])?;
        transaction.prepare_cached("DELETE FROM notices WHERE id = ?1")?.execute([id])?;
    }
    transaction.commit()?;
    Ok(())
}

fn read_notice(connection: &Connection, row: &Row<'_>) -> Result<Notice, Failure> {
    let (id, at): (i64, i64) = (row.get(0)?, row.get(3)?);
    let (kind, subject, data): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(4)?);
    if row.get::<_, i64>(5)? != notice_checksum(id, &kind, &subject, at, &data) {
        return Err(Failure::Stored(format!("the notice {id} does not match its checksum")));
    }
    let data = serde_json::from_str(&data)
        .map_err(|error| Failure::Stored(format!("the data of the notice {id}: {error}")))?;
    Ok(Notice {
        id: NoticeId(unsigned(id, "notice's number")?),
        notice: NewNotice { kind, subject, at: Timestamp::from_millis(at), data },
        deliveries: deliveries(connection, id)?,
    })
}

fn deliveries(connection: &Connection, notice: i64) -> Result<Vec<Delivery>, Failure> {
    let mut of_notice = connection.prepare_cached(&format!(
        "SELECT {DELIVERY_COLUMNS} FROM deliveries WHERE notice = ?1 ORDER BY target"
    ))?;
    let mut rows = of_notice.query([notice])?;
    let mut deliveries = Vec::new();
    while let Some(row) = rows.next()? {
        deliveries.push(read_delivery(row)?);
    }
    Ok(deliveries)
}

fn read_delivery(row: &Row<'_>) -> Result<Delivery, Failure> {
    let notice: i64 = row.get(0)?;
    let (target, tries): (String, u32) = (row.get(1)?, row.get(2)?);
    let (state, at): (String, i64) = (row.get(3)?, row.get(4)?);
    let error: Option<String> = row.get(5)?;
    let stored =
        |what: &str| Failure::Stored(format!("the delivery of the notice {notice} to {target} {what}"));
    let checksum = delivery_checksum(notice, &target, tries, &state, at, error.as_deref());
    if row.get::<_, i64>(6)? != checksum {
        return Err(stored("does not match its checksum"));
    }
    let at = Timestamp::from_millis(at);
    let state = match state.as_str() {
        "due" => DeliveryState::Due(at),
        "delivered" => DeliveryState::Delivered(at),
        "given-up" => DeliveryState::GivenUp(at),
        _ => return Err(stored("has an unknown state")),
    };
    Ok(Delivery { target, tries, state, error })
}

fn write_delivery(connection: &Connection, notice: i64, delivery: &Delivery) -> Result<(), Failure> {
    let Delivery { target, tries, state, error } = delivery;
    let (state, at) = match state {
        DeliveryState::Due(at) => ("due", at.as_millis()),
        DeliveryState::Delivered(at) => ("delivered", at.as_millis()),
        DeliveryState::GivenUp(at) => ("given-up", at.as_millis()),
    };
    connection
        .prepare_cached(
            "REPLACE INTO deliveries (notice, target, tries, state, at, error, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            notice,
            target,
            tries,
            state,
            at,
            error,
            delivery_checksum(notice, target, *tries, state, at, error.as_deref()),
        ])?;
    Ok(())
}

fn notice_checksum(id: i64, kind: &str, subject: &str, at: i64, data: &str) -> i64 {
    Checksum::of("notices")
        .number(id)
        .bytes(kind.as_bytes())
        .bytes(subject.as_bytes())
        .number(at)
        .bytes(data.as_bytes())
        .value()
}

fn delivery_checksum(
    notice: i64,
    target: &str,
    tries: u32,
    state: &str,
    at: i64,
    error: Option<&str>,
) -> i64 {
    Checksum::of("deliveries")
        .number(notice)
        .bytes(target.as_bytes())
        .number(tries.into())
        .bytes(state.as_bytes())
        .number(at)
        .optional(error.map(str::as_bytes))
        .value()
}
