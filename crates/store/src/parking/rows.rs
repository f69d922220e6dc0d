//! A parked event as its two rows: what changes and what is looked for in `parked`, the event itself in `parked_events`.

use bytestring::ByteString;
use rusqlite::{Connection, Row, params};
use tidegate_model::checkpoint::Lane;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::DeadLetterId;
use tidegate_model::event::{Event, EventData};
use tidegate_model::parking::{ParkedEvent, ParkedVersion, StoredParked, Turn};
use tidegate_model::ports::StoreError;
use tidegate_model::position::{Incarnation, SequenceNumber};

use crate::checksum::Checksum;
use crate::codec;
use crate::error::Failure;
use crate::sqlite_store::{integer, unsigned};

/// The columns of a parked event, as [`ParkedRow::read`] expects them.
pub(crate) const COLUMNS: &str = "sequence_number, version, partition_key, turn_at, held, parked_at, redrive_of, incarnation, \
                                  enqueued_at, size, event, attempts, checksum";

/// A row of `parked`.
#[derive(Clone, Debug)]
pub(crate) struct ParkedRow {
    pub(crate) sequence_number: i64,
    pub(crate) version: i64,
    pub(crate) partition_key: Option<String>,
    /// When its turn is; `None` when it is held.
    turn_at: Option<i64>,
    /// Why it is held; `None` when it is not.
    held: Option<String>,
    pub(crate) parked_at: i64,
    pub(crate) redrive_of: Option<i64>,
    incarnation: [u8; 16],
    pub(crate) enqueued_at: i64,
    pub(crate) size: i64,
    /// The number of its row in `parked_events`.
    pub(crate) event: i64,
    attempts: String,
}

impl ParkedRow {
    /// A row of [`COLUMNS`].
    pub(crate) fn read(row: &Row<'_>, lane: &Lane) -> Result<Self, Failure> {
        let read = Self {
            sequence_number: row.get(0)?,
            version: row.get(1)?,
            partition_key: row.get(2)?,
            turn_at: row.get(3)?,
            held: row.get(4)?,
            parked_at: row.get(5)?,
            redrive_of: row.get(6)?,
            incarnation: row.get(7)?,
            enqueued_at: row.get(8)?,
            size: row.get(9)?,
            event: row.get(10)?,
            attempts: row.get(11)?,
        };
        if row.get::<_, i64>(12)? != read.checksum(lane) {
            let number = read.sequence_number;
            return Err(Failure::Stored(format!(
                "the parked event {number} of {lane} does not match its checksum"
            )));
        }
        Ok(read)
    }

    fn checksum(&self, lane: &Lane) -> i64 {
        Checksum::of("parked")
            .lane(lane)
            .number(self.sequence_number)
            .number(self.version)
            .optional(self.partition_key.as_ref().map(String::as_bytes))
            .optional_number(self.turn_at)
            .optional(self.held.as_ref().map(String::as_bytes))
            .number(self.parked_at)
            .optional_number(self.redrive_of)
            .bytes(&self.incarnation)
            .number(self.enqueued_at)
            .number(self.size)
            .number(self.event)
            .bytes(self.attempts.as_bytes())
            .value()
    }

    pub(crate) fn sequence_number(&self) -> Result<SequenceNumber, Failure> {
        Ok(SequenceNumber(unsigned(self.sequence_number, "sequence number")?))
    }

    pub(crate) fn redrive_of(&self) -> Result<Option<DeadLetterId>, Failure> {
        self.redrive_of.map(|id| unsigned(id, "dead letter's number").map(DeadLetterId)).transpose()
    }

    /// When it is tried.
    pub(crate) fn turn(&self, lane: &Lane) -> Result<Turn, Failure> {
        match (self.turn_at, &self.held) {
            (Some(at), None) => Ok(Turn::At(Timestamp::from_millis(at))),
            (None, Some(reason)) => Ok(Turn::Held { reason: reason.clone() }),
            _ => {
                let number = self.sequence_number;
                Err(Failure::Stored(format!("the parked event {number} of {lane} has no turn or two")))
            }
        }
    }
}

/// The row of a parked event, if there is one. `number` is the lane's.
pub(crate) fn find(
    connection: &Connection,
    number: i64,
    lane: &Lane,
    event: SequenceNumber,
) -> Result<Option<ParkedRow>, Failure> {
    let Ok(event) = i64::try_from(event.0) else { return Ok(None) };
    let mut find = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM parked WHERE lane = ?1 AND sequence_number = ?2"))?;
    let mut rows = find.query([number, event])?;
    rows.next()?.map(|row| ParkedRow::read(row, lane)).transpose()
}

/// The parked event of a row, whole.
pub(crate) fn whole(connection: &Connection, lane: &Lane, row: ParkedRow) -> Result<StoredParked, Failure> {
    let turn = row.turn(lane)?;
    let number = row.sequence_number;
    let stored = |what: &str| Failure::Stored(format!("the parked event {number} of {lane}: {what}"));
    let mut find = connection.prepare_cached(
        "SELECT checksum, properties, system_properties, body FROM parked_events WHERE number = ?1",
    )?;
    let mut rows = find.query([row.event])?;
    let event = rows.next()?.ok_or_else(|| stored("its body is missing"))?;
    let text = |index| Ok::<_, Failure>(event.get_ref(index)?.as_str().map_err(rusqlite::Error::from)?);
    let (properties, system_properties) = (text(1)?, text(2)?);
    let body: Vec<u8> = event.get(3)?;
    if event.get::<_, i64>(0)?
        != event_checksum(lane, number, row.event, properties, system_properties, &body)
    {
        return Err(stored("its body does not match its checksum"));
    }
    let data = EventData {
        properties: codec::decode_properties(properties).map_err(|error| stored(&error))?,
        system_properties: codec::decode_properties(system_properties).map_err(|error| stored(&error))?,
        body: body.into(),
        partition_key: row.partition_key.as_deref().map(ByteString::from),
        amqp: None,
    };
    Ok(StoredParked {
        version: ParkedVersion(unsigned(row.version, "version")?),
        parked: ParkedEvent {
            lane: lane.clone(),
            incarnation: Incarnation(uuid::Uuid::from_bytes(row.incarnation)),
            event: Event {
                sequence_number: row.sequence_number()?,
                enqueued_at: Timestamp::from_millis(row.enqueued_at),
                data,
            },
            turn,
            attempts: codec::decode_attempts(&row.attempts).map_err(|error| stored(&error))?,
            parked_at: Timestamp::from_millis(row.parked_at),
            redrive_of: row.redrive_of()?,
        },
    })
}

/// Adds a parked event under a new version.
pub(crate) fn insert(
    connection: &Connection,
    number: i64,
    parked: &ParkedEvent,
    version: i64,
) -> Result<ParkedRow, Failure> {
    let ParkedEvent { lane, event, .. } = parked;
    let sequence_number = integer(event.sequence_number.0, "sequence number")?;
    let properties = codec::encode_properties(&event.data.properties);
    let system_properties = codec::encode_properties(&event.data.system_properties);
    let body: &[u8] = &event.data.body;
    let event_number = next_event(connection)?;
    let checksum = event_checksum(lane, sequence_number, event_number, &properties, &system_properties, body);
    connection
        .prepare_cached(
            "INSERT INTO parked_events (number, checksum, properties, system_properties, body)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![event_number, checksum, properties, system_properties, body])?;

    let (turn_at, held) = turn_columns(&parked.turn);
    let row = ParkedRow {
        sequence_number,
        version,
        partition_key: parked.key().map(ToString::to_string),
        turn_at,
        held,
        parked_at: parked.parked_at.as_millis(),
        redrive_of: parked.redrive_of.map(|id| integer(id.0, "dead letter's number")).transpose()?,
        incarnation: parked.incarnation.0.into_bytes(),
        enqueued_at: event.enqueued_at.as_millis(),
        size: integer(parked.size(), "size")?,
        event: event_number,
        attempts: codec::encode_attempts(&parked.attempts),
    };
    let inserted = connection
        .prepare_cached(
            "INSERT INTO parked (lane, sequence_number, version, partition_key, turn_at, held, parked_at, redrive_of,
                                 incarnation, enqueued_at, size, event, attempts, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            number,
            row.sequence_number,
            row.version,
            row.partition_key,
            row.turn_at,
            row.held,
            row.parked_at,
            row.redrive_of,
            row.incarnation,
            row.enqueued_at,
            row.size,
            row.event,
            row.attempts,
            row.checksum(lane),
        ])?;
    if inserted == 0 {
        return Err(
            StoreError::ParkedMoved { lane: lane.clone(), sequence_number: event.sequence_number }.into()
        );
    }
    Ok(row)
}

/// Takes a parked event away.
pub(crate) fn delete(connection: &Connection, number: i64, row: &ParkedRow) -> Result<(), Failure> {
    connection
        .prepare_cached("DELETE FROM parked WHERE lane = ?1 AND sequence_number = ?2")?
        .execute([number, row.sequence_number])?;
    connection.prepare_cached("DELETE FROM parked_events WHERE number = ?1")?.execute([row.event])?;
    Ok(())
}

/// Gives a parked event another turn, and other attempts if given, under a new version.
pub(crate) fn turn_to(
    connection: &Connection,
    number: i64,
    lane: &Lane,
    mut row: ParkedRow,
    turn: &Turn,
    attempts: Option<String>,
    version: i64,
) -> Result<(), Failure> {
    (row.turn_at, row.held) = turn_columns(turn);
    row.version = version;
    if let Some(attempts) = attempts {
        row.attempts = attempts;
    }
    connection
        .prepare_cached(
            "UPDATE parked SET version = ?3, turn_at = ?4, held = ?5, attempts = ?6, checksum = ?7
             WHERE lane = ?1 AND sequence_number = ?2",
        )?
        .execute(params![
            number,
            row.sequence_number,
            row.version,
            row.turn_at,
            row.held,
            row.attempts,
            row.checksum(lane)
        ])?;
    Ok(())
}

/// The newest version that was ever given.
pub(crate) fn last_version(connection: &Connection) -> Result<i64, Failure> {
    let mut last = connection.prepare_cached("SELECT value FROM counters WHERE name = 'parked'")?;
    Ok(last.query_row([], |row| row.get(0))?)
}

/// Takes `count` new versions; the first of them.
pub(crate) fn new_versions(connection: &Connection, count: usize) -> Result<i64, Failure> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let mut take = connection
        .prepare_cached("UPDATE counters SET value = value + ?1 WHERE name = 'parked' RETURNING value")?;
    let last: i64 = take.query_row([count], |row| row.get(0))?;
    Ok(last - count + 1)
}

/// Notes that somebody acts on parked events.
pub(crate) fn is_acted_on(connection: &Connection) -> Result<(), Failure> {
    let version = new_versions(connection, 1)?;
    connection
        .prepare_cached(
            "INSERT INTO counters (name, value) VALUES ('parked-acts', ?1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute([version])?;
    Ok(())
}

/// The newest version when somebody acted on parked events last.
pub(crate) fn acted_at(connection: &Connection) -> Result<i64, Failure> {
    let mut last = connection
        .prepare_cached("SELECT coalesce(max(value), 0) FROM counters WHERE name = 'parked-acts'")?;
    Ok(last.query_row([], |row| row.get(0))?)
}

fn next_event(connection: &Connection) -> Result<i64, Failure> {
    let mut last = connection.prepare_cached("SELECT coalesce(max(number), 0) FROM parked_events")?;
    Ok(last.query_row([], |row| row.get::<_, i64>(0))? + 1)
}

fn turn_columns(turn: &Turn) -> (Option<i64>, Option<String>) {
    match turn {
        Turn::At(at) => (Some(at.as_millis()), None),
        Turn::Held { reason } => (None, Some(reason.clone())),
    }
}

/// The checksum of a row of `parked_events`. It holds whose it is, so that no event passes for another.
fn event_checksum(
    lane: &Lane,
    sequence_number: i64,
    number: i64,
    properties: &str,
    system_properties: &str,
    body: &[u8],
) -> i64 {
    Checksum::of("parked_events")
        .lane(lane)
        .number(sequence_number)
        .number(number)
        .bytes(properties.as_bytes())
        .bytes(system_properties.as_bytes())
        .bytes(body)
        .value()
}
