//! What dead letters tell: the event, whole, and the story of its failure.

use bytes::Bytes;
use bytestring::ByteString;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{DeadLetter, DocumentSnapshot};
use tidegate_model::document::{CollectionName, DocumentId};
use tidegate_model::event::{Event, EventData};
use tidegate_model::position::{Incarnation, SequenceNumber};

use crate::checksum::Checksum;
use crate::codec;
use crate::error::Failure;
use crate::ownerships::{lane, lane_key};
use crate::sqlite_store::integer;

/// The columns of a dead letter, as [`Columns::read`] expects them.
const COLUMNS: &str = "function, hub, partition, id, class, incarnation, sequence_number, enqueued_at, dead_lettered_at, \
                       function_version, reason, partition_key, document_collection, document_id, checksum, attempts, \
                       properties, system_properties, document_body, body";

/// Adds the story of a dead letter; its number is the next.
pub(super) fn insert(connection: &Connection, letter: &DeadLetter) -> Result<i64, Failure> {
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
    Ok(connection.last_insert_rowid())
}

/// Writes the story of a dead letter anew. Its lane and its event stay.
pub(super) fn update(connection: &Connection, id: i64, letter: &DeadLetter) -> Result<(), Failure> {
    let columns = Columns::of(letter)?;
    let mut update = connection.prepare_cached(
        "UPDATE dead_letters SET class = ?2, dead_lettered_at = ?3, function_version = ?4, reason = ?5,
                                 document_collection = ?6, document_id = ?7, document_body = ?8, attempts = ?9,
                                 checksum = ?10
         WHERE id = ?1",
    )?;
    update.execute(params![
        id,
        columns.class,
        columns.dead_lettered_at,
        columns.function_version,
        columns.reason,
        columns.document_collection,
        columns.document_id,
        columns.document_body,
        columns.attempts,
        columns.checksum(),
    ])?;
    Ok(())
}

/// The story of a dead letter, if there is one.
pub(super) fn find(connection: &Connection, id: i64) -> Result<Option<DeadLetter>, Failure> {
    let mut find = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM dead_letters WHERE id = ?1"))?;
    let mut rows = find.query([id])?;
    rows.next()?.map(read).transpose()
}

/// The life of the hub that the event of a dead letter is of.
pub(super) fn incarnation(connection: &Connection, id: i64) -> Result<Option<Incarnation>, Failure> {
    let mut find = connection.prepare_cached("SELECT incarnation FROM dead_letters WHERE id = ?1")?;
    let found = find.query_row([id], |row| row.get::<_, [u8; 16]>(0)).optional()?;
    Ok(found.map(|bytes| Incarnation(uuid::Uuid::from_bytes(bytes))))
}

fn read(row: &Row<'_>) -> Result<DeadLetter, Failure> {
    let id: i64 = row.get(3)?;
    let columns = Columns::read(row)?;
    if row.get::<_, i64>(14)? != columns.checksum() {
        return Err(Failure::Stored(format!("the dead letter {id} does not match its checksum")));
    }
    columns.into_letter().map_err(|error| Failure::Stored(format!("the dead letter {id}: {error}")))
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
                    amqp: None,
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
