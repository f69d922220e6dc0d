//! The documents.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use tidegate_model::clock::Timestamp;
use tidegate_model::document::{CollectionName, Document, DocumentId, ETag};
use tidegate_model::ports::{Documents, StoreError};
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::checksum::Checksum;
use crate::error::Failure;
use crate::schema::documents_table;
use crate::sqlite_store::{SqliteStore, unsigned};

/// The columns of a document, as [`read`] expects them.
const COLUMNS: &str = "partition, sequence_number, etag, updated_at, checksum, body";

#[async_trait]
impl Documents for SqliteStore {
    async fn documents(
        &self,
        collection: &CollectionName,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        let (collection, ids): (_, Arc<[DocumentId]>) = (collection.clone(), ids.into());
        self.readers.run(move |connection| read_many(connection, &collection, &ids)).await
    }

    async fn list_documents(
        &self,
        collection: &CollectionName,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let (collection, after) = (collection.clone(), after.cloned());
        self.readers.run(move |connection| list(connection, &collection, after.as_ref(), limit)).await
    }

    async fn collections(&self) -> Result<Vec<(CollectionName, u64)>, StoreError> {
        self.readers
            .run(|connection| {
                let found = collections(connection)?;
                Ok(found.into_iter().map(|collection| (collection.name, collection.documents)).collect())
            })
            .await
    }
}

/// A collection as it is stored.
pub(crate) struct Collection {
    /// Names its table.
    pub(crate) number: i64,
    pub(crate) name: CollectionName,
    /// How many documents it has.
    pub(crate) documents: u64,
}

/// The collections, ordered by name.
pub(crate) fn collections(connection: &Connection) -> Result<Vec<Collection>, Failure> {
    let mut all =
        connection.prepare_cached("SELECT number, name, documents FROM collections ORDER BY name")?;
    let mut rows = all.query([])?;
    let mut collections = Vec::new();
    while let Some(row) = rows.next()? {
        let name = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        collections.push(Collection {
            number: row.get(0)?,
            name: CollectionName::new(name).map_err(|error| Failure::Stored(error.to_string()))?,
            documents: unsigned(row.get(2)?, "count of documents")?,
        });
    }
    Ok(collections)
}

/// The number of a collection, if it has documents.
pub(crate) fn number_of(
    connection: &Connection,
    collection: &CollectionName,
) -> Result<Option<i64>, Failure> {
    let mut find = connection.prepare_cached("SELECT number FROM collections WHERE name = ?1")?;
    Ok(find.query_row([collection.as_str()], |row| row.get(0)).optional()?)
}

fn read_many(
    connection: &mut Connection,
    collection: &CollectionName,
    ids: &[DocumentId],
) -> Result<Vec<Option<Document>>, Failure> {
    let mut found = vec![None; ids.len()];
    let snapshot = connection.transaction()?;
    let Some(number) = number_of(&snapshot, collection)? else { return Ok(found) };
    // In the order of the ids, neighbours are on the same pages of the index.
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_unstable_by(|one, other| ids[*one].cmp(&ids[*other]));
    let mut find = snapshot
        .prepare_cached(&format!("SELECT {COLUMNS} FROM {} WHERE id = ?1", documents_table(number)))?;
    for index in order {
        let mut rows = find.query([ids[index].as_str()])?;
        if let Some(row) = rows.next()? {
            found[index] = Some(read(row, ids[index].clone())?);
        }
    }
    Ok(found)
}

fn list(
    connection: &mut Connection,
    collection: &CollectionName,
    after: Option<&DocumentId>,
    limit: usize,
) -> Result<Vec<Document>, Failure> {
    let snapshot = connection.transaction()?;
    let Some(number) = number_of(&snapshot, collection)? else { return Ok(Vec::new()) };
    let table = documents_table(number);
    let mut page = snapshot
        .prepare_cached(&format!("SELECT {COLUMNS}, id FROM {table} WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
    // No id is empty, so all are greater than the empty text.
    let after = after.map_or("", DocumentId::as_str);
    let mut rows = page.query((after, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let mut documents = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?;
        let id = DocumentId::new(id).map_err(|error| Failure::Stored(format!("in {table}: {error}")))?;
        documents.push(read(row, id)?);
    }
    Ok(documents)
}

/// The document with this id in a row of [`COLUMNS`].
pub(crate) fn read(row: &Row<'_>, id: DocumentId) -> Result<Document, Failure> {
    let numbers: [i64; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
    let body = row.get_ref(5)?.as_bytes().map_err(rusqlite::Error::from)?;
    if row.get::<_, i64>(4)? != checksum(&id, &numbers, body) {
        return Err(Failure::Stored(format!("the document {id} does not match its checksum")));
    }
    let [partition, sequence_number, etag, updated_at] = numbers;
    let partition = u32::try_from(partition)
        .map_err(|_| Failure::Stored(format!("the document {id} is of partition {partition}")))?;
    Ok(Document {
        body: Bytes::copy_from_slice(body),
        partition: PartitionId(partition),
        sequence_number: SequenceNumber(unsigned(sequence_number, "sequence number")?),
        etag: ETag(unsigned(etag, "etag")?),
        updated_at: Timestamp::from_millis(updated_at),
        id,
    })
}

/// The checksum of a document; `numbers` are partition, sequence number, etag and time of change.
pub(crate) fn checksum(id: &DocumentId, numbers: &[i64; 4], body: &[u8]) -> i64 {
    let checksum = Checksum::of("documents").bytes(id.as_str().as_bytes()).bytes(body);
    numbers.iter().fold(checksum, |checksum, number| checksum.number(*number)).value()
}
