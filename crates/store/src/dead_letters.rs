//! The dead letters.

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use rusqlite::{Connection, Row, ToSql, params};
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{DeadLetter, DeadLetterId, DocumentSnapshot, StoredDeadLetter};
use tidegate_model::document::{CollectionName, DocumentId};
use tidegate_model::event::{Event, EventData};
use tidegate_model::ports::{DeadLetterFilter, DeadLetters, StoreError};
use tidegate_model::position::{Incarnation, SequenceNumber};

use crate::checksum::Checksum;
use crate::codec;
use crate::error::Failure;
use crate::ownerships::{lane, lane_key};
use crate::sqlite_store::{SqliteStore, integer, unsigned};

/// The columns of a dead letter, as [`Columns::read`] expects them.
const COLUMNS: &str = "function, hub, partition, id, class, incarnation, sequence_number, enqueued_at, dead_lettered_at, \
                       function_version, reason, partition_key, document_collection, document_id, checksum, attempts, \
                       properties, system_properties, document_body, body";

#[async_trait]
impl DeadLetters for SqliteStore {
    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<StoredDeadLetter>, StoreError> {
        let Ok(id) = i64::try_from(id.0) else { return Ok(None) };
        self.readers
            .run(move |connection| {
                let mut find = connection
                    .prepare_cached(&format!("SELECT {COLUMNS} FROM dead_letters WHERE id = ?1"))?;
                let mut rows = find.query([id])?;
                rows.next()?.map(read).transpose()
            })
            .await
    }

    async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let after = after.map_or(0, |after| i64::try_from(after.0).unwrap_or(i64::MAX));
        let filter = filter.clone();
        self.readers.run(move |connection| list(connection, &filter, after, limit)).await
    }

    async fn count_dead_letters(&self) -> Result<Vec<(Lane, u64)>, StoreError> {
        self.readers.run(|connection| count(connection)).await
    }
}

/// Adds a dead letter under the next number.
pub(crate) fn insert(connection: &Connection, letter: &DeadLetter) -> Result<(), Failure> {
    let columns = Columns::of(letter)?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO dead_letters (function, hub, partition, class, incarnation, sequence_number, enqueued_at,
                                   dead_lettered_at, function_version, reason, partition_key, document_collection,
                                   document_id, checksum, attempts, properties, system_properties, document_body, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
    )?;
    let (function, hub, partition) = lane_key(&columns.lane);
    insert.execute(params![
        function,
        hub,
        partition,
        columns.class,
        columns.incarnation,
        columns.sequence_number,
        columns.enqueued_at,
        columns.dead_lettered_at,
        columns.function_version,
        columns.reason,
        columns.partition_key,
        columns.document_collection,
        columns.document_id,
        columns.checksum(),
        columns.attempts,
        columns.properties,
        columns.system_properties,
        columns.document_body,
        columns.body,
    ])?;
    Ok(())
}

fn list(
    connection: &Connection,
    filter: &DeadLetterFilter,
    after: i64,
    limit: usize,
) -> Result<Vec<StoredDeadLetter>, Failure> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let function = filter.function.as_ref().map(|function| function.as_str());
    let hub = filter.hub.as_ref().map(|hub| hub.as_str());
    let class = filter.class.map(|class| class.as_str());
    let mut conditions = String::from("id > ?1");
    let mut values: Vec<&dyn ToSql> = vec![&after, &limit];
    let given: [(&str, Option<&dyn ToSql>); 3] = [
        ("function", function.as_ref().map(|value| value as _)),
        ("hub", hub.as_ref().map(|value| value as _)),
        ("class", class.as_ref().map(|value| value as _)),
    ];
    for (column, value) in given {
        if let Some(value) = value {
            values.push(value);
            conditions.push_str(&format!(" AND {column} = ?{}", values.len()));
        }
    }
    // Both ways come in the order of ids and stop at the limit.
    let index = if function.is_some() { "INDEXED BY dead_letters_by_function" } else { "NOT INDEXED" };
    let mut page = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM dead_letters {index} WHERE {conditions} ORDER BY id LIMIT ?2"
    ))?;
    let mut rows = page.query(&values[..])?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        letters.push(read(row)?);
    }
    Ok(letters)
}

/// How many rows each lane has, ordered by lane.
pub(crate) fn count(connection: &Connection) -> Result<Vec<(Lane, u64)>, Failure> {
    let mut count = connection.prepare_cached(
        "SELECT function, hub, partition, count(*) FROM dead_letters GROUP BY function, hub, partition
         ORDER BY function, hub, partition",
    )?;
    let mut rows = count.query([])?;
    let mut counts = Vec::new();
    while let Some(row) = rows.next()? {
        counts.push((lane(row)?, unsigned(row.get(3)?, "count")?));
    }
    Ok(counts)
}

/// Calls `each` with every dead letter, in the order of ids.
pub(crate) fn for_each(
    connection: &Connection,
    mut each: impl FnMut(Result<StoredDeadLetter, Failure>),
) -> Result<(), Failure> {
    let mut all = connection.prepare(&format!("SELECT {COLUMNS} FROM dead_letters ORDER BY id"))?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        each(read(row));
    }
    Ok(())
}

fn read(row: &Row<'_>) -> Result<StoredDeadLetter, Failure> {
    let id: i64 = row.get(3)?;
    let columns = Columns::read(row)?;
    if row.get::<_, i64>(14)? != columns.checksum() {
        return Err(Failure::Stored(format!("the dead letter {id} does not match its checksum")));
    }
    let letter =
        columns.into_letter().map_err(|error| Failure::Stored(format!("the dead letter {id}: {error}")))?;
    Ok(StoredDeadLetter { id: DeadLetterId(unsigned(id, "dead letter's number")?), letter })
}

/// A dead letter as its columns.
struct Columns {
    lane: Lane,
    class: String,
    incarnation: [u8; 16],
    sequence_number: i64,
    enqueued_at: i64,
    dead_lettered_at: i64,
    function_version: String,
    reason: String,
    partition_key: Option<String>,
    document_collection: Option<String>,
    document_id: Option<String>,
    attempts: String,
    properties: String,
    system_properties: String,
    document_body: Option<Vec<u8>>,
    body: Vec<u8>,
}

impl Columns {
    fn of(letter: &DeadLetter) -> Result<Self, Failure> {
        let Event { sequence_number, enqueued_at, data } = &letter.event;
        let document = letter.document.as_ref();
        Ok(Self {
            lane: letter.lane.clone(),
            class: letter.class.as_str().to_owned(),
            incarnation: letter.incarnation.0.into_bytes(),
            sequence_number: integer(sequence_number.0, "sequence number")?,
            enqueued_at: enqueued_at.as_millis(),
            dead_lettered_at: letter.dead_lettered_at.as_millis(),
            function_version: letter.function_version.clone(),
            reason: letter.reason.clone(),
            partition_key: data.partition_key.as_ref().map(|key| key.to_string()),
            document_collection: document.map(|document| document.collection.to_string()),
            document_id: document.map(|document| document.id.to_string()),
            attempts: codec::encode_attempts(&letter.attempts),
            properties: codec::encode_properties(&data.properties),
            system_properties: codec::encode_properties(&data.system_properties),
            document_body: document.and_then(|document| document.body.as_ref()).map(|body| body.to_vec()),
            body: data.body.to_vec(),
        })
    }

    fn read(row: &Row<'_>) -> Result<Self, Failure> {
        Ok(Self {
            lane: lane(row)?,
            class: row.get(4)?,
            incarnation: row.get(5)?,
            sequence_number: row.get(6)?,
            enqueued_at: row.get(7)?,
            dead_lettered_at: row.get(8)?,
            function_version: row.get(9)?,
            reason: row.get(10)?,
            partition_key: row.get(11)?,
            document_collection: row.get(12)?,
            document_id: row.get(13)?,
            attempts: row.get(15)?,
            properties: row.get(16)?,
            system_properties: row.get(17)?,
            document_body: row.get(18)?,
            body: row.get(19)?,
        })
    }

    fn checksum(&self) -> i64 {
        Checksum::of("dead_letters")
            .lane(&self.lane)
            .bytes(self.class.as_bytes())
            .bytes(&self.incarnation)
            .number(self.sequence_number)
            .number(self.enqueued_at)
            .number(self.dead_lettered_at)
            .bytes(self.function_version.as_bytes())
            .bytes(self.reason.as_bytes())
            .optional(self.partition_key.as_ref().map(String::as_bytes))
            .optional(self.document_collection.as_ref().map(String::as_bytes))
            .optional(self.document_id.as_ref().map(String::as_bytes))
            .bytes(self.attempts.as_bytes())
            .bytes(self.properties.as_bytes())
            .bytes(self.system_properties.as_bytes())
            .optional(self.document_body.as_deref())
            .bytes(&self.body)
            .value()
    }

    /// The dead letter; the error says which column makes none.
    fn into_letter(self) -> Result<DeadLetter, String> {
        let document = match (self.document_collection, self.document_id) {
            (Some(collection), Some(id)) => Some(DocumentSnapshot {
                collection: CollectionName::try_from(collection).map_err(|error| error.to_string())?,
                id: DocumentId::try_from(id).map_err(|error| error.to_string())?,
                body: self.document_body.map(Bytes::from),
            }),
            (None, None) => None,
            _ => return Err("it names half a document".to_owned()),
        };
        let sequence_number =
            u64::try_from(self.sequence_number).map_err(|_| "its sequence number is negative".to_owned())?;
        Ok(DeadLetter {
            lane: self.lane,
            incarnation: Incarnation(uuid::Uuid::from_bytes(self.incarnation)),
            event: Event {
                sequence_number: SequenceNumber(sequence_number),
                enqueued_at: Timestamp::from_millis(self.enqueued_at),
                data: EventData {
                    partition_key: self.partition_key.map(ByteString::from),
                    properties: codec::decode_properties(&self.properties)?,
                    system_properties: codec::decode_properties(&self.system_properties)?,
                    body: self.body.into(),
                },
            },
            function_version: self.function_version,
            class: self.class.parse().map_err(|()| format!("its class is {:?}", self.class))?,
            reason: self.reason,
            attempts: codec::decode_attempts(&self.attempts)?,
            dead_lettered_at: Timestamp::from_millis(self.dead_lettered_at),
            document,
        })
    }
}
