//! A load whose every state is known: after n commits the store must hold exactly [`assert_holds`]`(n)`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tidegate_model::attempt::{Attempt, EventAttempts, FailureClass, FailureKind};
use tidegate_model::checkpoint::{Advance, Epoch, FunctionName, Lane};
use tidegate_model::clock::{SystemClock, Timestamp};
use tidegate_model::commit::{Commit, DocumentWrite, LaneCommit};
use tidegate_model::dead_letter::{DeadLetter, DeadLetterFilter, DocumentSnapshot, StoredDeadLetter};
use tidegate_model::document::{CollectionName, Document, DocumentId, Precondition};
use tidegate_model::event::{Event, EventData, HubName, PropertyValue};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::{Checkpoints, Commits, DeadLetters, Documents, Ownerships, StoreError};
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber};
use tidegate_store::{SqliteStore, StoreOptions};

/// How many documents the load writes over and over, besides the one that every commit writes.
const DOCUMENTS: u64 = 7;

/// A directory for one store file.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    pub(crate) fn open(&self) -> SqliteStore {
        open(&self.path())
    }
}

/// Opens a store with a small write-ahead log, so that its pages are moved often.
pub(crate) fn open(path: &Path) -> SqliteStore {
    let options = StoreOptions { wal_bytes: 256 << 10, ..StoreOptions::default() };
    SqliteStore::open(path, &options, SystemClock::shared()).unwrap()
}

/// Begins the load's lane, or takes it over.
pub(crate) async fn begin(store: &SqliteStore) -> Epoch {
    store.begin(&lane(), incarnation(), SequenceNumber::ZERO, at(0)).await.unwrap();
    store.claim(&lane(), "the load", at(0)).await.unwrap().epoch
}

/// The number of commits in the store, by its checkpoint.
pub(crate) async fn commits_in(store: &SqliteStore) -> Result<u64, StoreError> {
    Ok(store.checkpoint(&lane()).await?.map_or(0, |checkpoint| checkpoint.position.0 / 10))
}

/// Commit number `n`, from 0: ten events, of which one is filtered and one a dead letter; two documents; attempts.
pub(crate) async fn commit(store: &SqliteStore, epoch: Epoch, n: u64) -> Result<(), StoreError> {
    let commit = nth_commit(store, epoch, n).await?;
    store.commit(&commit).await.map(|_| ())
}

pub(crate) async fn nth_commit(store: &SqliteStore, epoch: Epoch, n: u64) -> Result<Commit, StoreError> {
    let ids = [id("common"), id(&format!("d{}", n % DOCUMENTS))];
    let current = store.documents(&collection(), &ids).await?;
    let documents = ids.into_iter().zip(current).map(|(id, current)| DocumentWrite {
        collection: collection(),
        id,
        body: body(n),
        partition: PartitionId(0),
        sequence_number: SequenceNumber(n * 10 + 9),
        precondition: current.map_or(Precondition::Absent, |document| Precondition::Matches(document.etag)),
    });
    let step = LaneCommit {
        lane: lane(),
        epoch,
        incarnation: incarnation(),
        advance: Advance { from: SequenceNumber(n * 10), to: SequenceNumber(n * 10 + 10) },
        counts: OutcomeCounts { applied: 8, filtered: 1, dead_lettered: 1, ..OutcomeCounts::default() },
        dead_letters: vec![letter(n)],
        attempts: vec![attempts(n)],
        parked: Vec::new(),
        unparked: Vec::new(),
        reparked: Vec::new(),
    };
    Ok(Commit { lanes: vec![step], documents: documents.collect(), health: Vec::new(), at: at(n) })
}

/// All that the store holds of the load. Etags are left out: a refused commit may use one up.
#[derive(Debug, PartialEq)]
pub(crate) struct Holding {
    position: u64,
    counts: OutcomeCounts,
    attempts: Vec<EventAttempts>,
    documents: Vec<(DocumentId, Bytes, SequenceNumber, Timestamp)>,
    counted_documents: u64,
    dead_letters: Vec<DeadLetter>,
    counted_dead_letters: u64,
    /// Whether dead letters that are looked for by an index are those of the table: where it is damaged, some may be missing.
    indexes_agree: bool,
}

impl Holding {
    /// What the store holds. Documents are read both ways, by id and in order.
    pub(crate) async fn of(store: &SqliteStore) -> Result<Self, StoreError> {
        let checkpoint = store.checkpoint(&lane()).await?;
        store.ownerships().await?;
        let filter = DeadLetterFilter { function: Some(lane().function), ..DeadLetterFilter::default() };
        let letters = store.list_dead_letters(&filter, None, usize::MAX).await?;
        let all_letters = store.list_dead_letters(&DeadLetterFilter::default(), None, usize::MAX).await?;
        let indexes_agree = letters == all_letters;
        let listed = store.list_documents(&collection(), None, usize::MAX).await?;
        let mut ids: Vec<_> = (0..DOCUMENTS).map(|n| id(&format!("d{n}"))).collect();
        ids.push(id("common"));
        let mut found: Vec<Document> =
            store.documents(&collection(), &ids).await?.into_iter().flatten().collect();
        found.sort_by(|one, other| one.id.cmp(&other.id));
        assert_eq!(listed, found);
        Ok(Self {
            position: checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.position.0),
            counts: checkpoint.map_or(OutcomeCounts::default(), |checkpoint| checkpoint.counts),
            attempts: store.attempts(&lane()).await?,
            documents: found
                .into_iter()
                .map(|found| (found.id, found.body, found.sequence_number, found.updated_at))
                .collect(),
            counted_documents: store.collections().await?.into_iter().map(|(_, count)| count).sum(),
            dead_letters: letters.into_iter().map(|StoredDeadLetter { letter, .. }| letter).collect(),
            counted_dead_letters: store.count_dead_letters().await?.into_iter().map(|(_, count)| count).sum(),
            indexes_agree,
        })
    }

    /// What the store holds after `commits` of them.
    pub(crate) fn after(commits: u64) -> Self {
        let mut documents: Vec<_> = (0..DOCUMENTS.min(commits))
            .map(|document| {
                // The last commit that wrote this document.
                let n = (commits - 1) - (commits - 1 - document) % DOCUMENTS;
                (id(&format!("d{document}")), body(n), SequenceNumber(n * 10 + 9), at(n))
            })
            .collect();
        if let Some(last) = commits.checked_sub(1) {
            documents.insert(0, (id("common"), body(last), SequenceNumber(last * 10 + 9), at(last)));
        }
        Self {
            position: commits * 10,
            counts: OutcomeCounts {
                applied: commits * 8,
                filtered: commits,
                dead_lettered: commits,
                ..OutcomeCounts::default()
            },
            attempts: commits.checked_sub(1).map(attempts).into_iter().collect(),
            counted_documents: documents.len() as u64,
            documents,
            dead_letters: (0..commits).map(letter).collect(),
            counted_dead_letters: commits,
            indexes_agree: true,
        }
    }
}

/// Checks that the store holds exactly the first `commits`, in every part.
pub(crate) async fn assert_holds(store: &SqliteStore, commits: u64) {
    assert_eq!(Holding::of(store).await, Ok(Holding::after(commits)));
}

pub(crate) fn collection() -> CollectionName {
    CollectionName::new("aircraft").unwrap()
}

pub(crate) fn id(id: &str) -> DocumentId {
    DocumentId::new(id).unwrap()
}

pub(crate) fn lane() -> Lane {
    Lane {
        function: FunctionName::new("track").unwrap(),
        hub: HubName::new("flights").unwrap(),
        partition: PartitionId(0),
    }
}

fn incarnation() -> Incarnation {
    Incarnation(uuid::Uuid::from_u128(7))
}

fn at(n: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + n as i64)
}

/// A state that tells which commit wrote it, of any size up to a few pages.
fn body(n: u64) -> Bytes {
    Bytes::from(format!("{{\"commit\":{n},\"padding\":\"{}\"}}", "x".repeat((n * 997 % 7000) as usize)))
}

fn attempts(n: u64) -> EventAttempts {
    EventAttempts {
        sequence_number: SequenceNumber(n * 10 + 12),
        attempts: vec![Attempt { at: at(n), kind: FailureKind::Transient, error: format!("commit {n}") }],
    }
}

fn letter(n: u64) -> DeadLetter {
    let properties = [("commit", PropertyValue::Long(n as i64))].into_iter().collect();
    let data = EventData { properties, ..EventData::new(vec![n as u8; (n * 131 % 3000) as usize]) };
    DeadLetter {
        lane: lane(),
        incarnation: incarnation(),
        event: Event { sequence_number: SequenceNumber(n * 10 + 3), enqueued_at: at(n), data },
        function_version: "1".to_owned(),
        class: FailureClass::Permanent,
        reason: format!("commit {n}"),
        attempts: attempts(n).attempts,
        dead_lettered_at: at(n),
        document: Some(DocumentSnapshot { collection: collection(), id: id("common"), body: Some(body(n)) }),
    }
}
