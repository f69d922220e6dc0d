//! The registers: small facts that are changed by compare-and-set.

use async_trait::async_trait;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};
use serde_json::Value;
use tidegate_model::clock::Timestamp;
use tidegate_model::ports::{RegisterChange, Registers, StoreError};
use tidegate_model::register::{Register, RegisterKey, Version};

use crate::checksum::Checksum;
use crate::error::Failure;
use crate::sqlite_store::{SqliteStore, integer, unsigned};
use crate::{outbox, trail};

/// The columns of a register, as [`read`] expects them.
const COLUMNS: &str = "kind, name, version, value, changed_at, checksum";

#[async_trait]
impl Registers for SqliteStore {
    async fn register(&self, key: &RegisterKey) -> Result<Option<Register>, StoreError> {
        let key = key.clone();
        self.readers
            .run(move |connection| Ok(find(connection, &key)?.and_then(StoredRegister::into_register)))
            .await
    }

    async fn registers(&self, kind: &'static str) -> Result<Vec<Register>, StoreError> {
        self.readers
            .run(move |connection| {
                let mut of_kind = connection.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM registers WHERE kind = ?1 ORDER BY name"
                ))?;
                let mut rows = of_kind.query([kind])?;
                let mut registers = Vec::new();
                while let Some(row) = rows.next()? {
                    registers.extend(read(row)?.into_register());
                }
                Ok(registers)
            })
            .await
    }

    async fn change_register(&self, change: RegisterChange) -> Result<Version, StoreError> {
        self.write_durably(move |connection| apply(connection, &change)).await
    }
}

/// A register as it is stored: one that was removed keeps its row, so that its versions go on from there.
pub(crate) struct StoredRegister {
    name: String,
    version: Version,
    value: Option<Value>,
    changed_at: Timestamp,
}

impl StoredRegister {
    fn into_register(self) -> Option<Register> {
        let Self { name, version, value, changed_at } = self;
        Some(Register { name, version, value: value?, changed_at })
    }
}

fn apply(connection: &mut Connection, change: &RegisterChange) -> Result<Version, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = apply_in(&transaction, change)?;
    transaction.commit()?;
    Ok(version)
}

/// Makes a change a part of what `transaction` does.
pub(crate) fn apply_in(transaction: &Transaction<'_>, change: &RegisterChange) -> Result<Version, Failure> {
    let stored = find(transaction, &change.key)?;
    let last = stored.as_ref().map_or(Version::NONE, |stored| stored.version);
    let current =
        stored.filter(|stored| stored.value.is_some()).map_or(Version::NONE, |stored| stored.version);
    if current != change.from {
        return Err(StoreError::RegisterMoved { register: change.key.to_string() }.into());
    }
    let version = Version(last.0 + 1);
    let RegisterKey { kind, name } = &change.key;
    let (number, changed_at) = (integer(version.0, "version")?, change.at.as_millis());
    let value = change.value.as_ref().map(ToString::to_string);
    transaction
        .prepare_cached(
            "REPLACE INTO registers (kind, name, version, value, changed_at, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            kind,
            name,
            number,
            value,
            changed_at,
            checksum(kind, name, number, value.as_deref(), changed_at),
        ])?;
    for notice in &change.notices {
        outbox::add(transaction, notice)?;
    }
    for entry in &change.trail {
        trail::append(transaction, entry)?;
    }
    Ok(version)
}

/// Calls `each` with every register there is or was.
pub(crate) fn for_each(
    connection: &Connection,
    mut each: impl FnMut(Result<StoredRegister, Failure>),
) -> Result<(), Failure> {
    let mut all = connection.prepare(&format!("SELECT {COLUMNS} FROM registers ORDER BY kind, name"))?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        each(read(row));
    }
    Ok(())
}

fn find(connection: &Connection, key: &RegisterKey) -> Result<Option<StoredRegister>, Failure> {
    let mut find = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM registers WHERE kind = ?1 AND name = ?2"))?;
    let mut rows = find.query((key.kind, &key.name))?;
    rows.next()?.map(read).transpose()
}

fn read(row: &Row<'_>) -> Result<StoredRegister, Failure> {
    let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
    let (version, changed_at) = (row.get(2)?, row.get(4)?);
    let value: Option<String> = row.get(3)?;
    if row.get::<_, i64>(5)? != checksum(&kind, &name, version, value.as_deref(), changed_at) {
        return Err(Failure::Stored(format!("the register {kind}/{name} does not match its checksum")));
    }
    let value = value.map(|value| serde_json::from_str(&value)).transpose();
    Ok(StoredRegister {
        value: value.map_err(|error| Failure::Stored(format!("the register {kind}/{name}: {error}")))?,
        name,
        version: Version(unsigned(version, "version")?),
        changed_at: Timestamp::from_millis(changed_at),
    })
}

fn checksum(kind: &str, name: &str, version: i64, value: Option<&str>, changed_at: i64) -> i64 {
    Checksum::of("registers")
        .bytes(kind.as_bytes())
        .bytes(name.as_bytes())
        .number(version)
        .optional(value.map(str::as_bytes))
        .number(changed_at)
        .value()
}
