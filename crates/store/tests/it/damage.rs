//! Damaged files: never a panic, never a wrong state that passes for a good one.

use std::path::Path;

use tidegate_model::clock::{Clock, SystemClock, TestClock, Timestamp};
use tidegate_model::ports::StoreError;
use tidegate_store::check::check;
use tidegate_store::{OpenError, SqliteStore, StoreOptions};

use crate::acts;
use crate::load::{self, Holding, Place};

const COMMITS: u64 = 40;

/// The bytes of a store: the database file and its write-ahead log.
#[derive(Clone)]
struct Files {
    database: Vec<u8>,
    wal: Vec<u8>,
}

impl Files {
    /// The files of a store after [`COMMITS`] commits. With a log that is never moved, all commits are in it.
    async fn of_the_load(wal_bytes: u64, close: bool) -> Self {
        let place = Place::new();
        let options = StoreOptions { wal_bytes, ..StoreOptions::default() };
        let store = SqliteStore::open(&place.path(), &options, SystemClock::shared()).unwrap();
        let epoch = load::begin(&store).await;
        for n in 0..COMMITS {
            load::commit(&store, epoch, n).await.unwrap();
        }
        if close {
            store.close().await.unwrap();
        }
        Self::at(&place)
    }

    /// The file of a store after steps that fill every table.
    async fn of_the_acts() -> Self {
        let place = Place::new();
        let store = place.open();
        acts::begin(&store).await;
        for n in 0..acts::STEPS_TO_EVERY_TABLE {
            acts::step(&store, n).await.unwrap();
        }
        store.close().await.unwrap();
        Self::at(&place)
    }

    fn at(place: &Place) -> Self {
        let wal = std::fs::read(wal_path(&place.path())).unwrap_or_default();
        Self { database: std::fs::read(place.path()).unwrap(), wal }
    }

    fn write(&self, path: &Path) {
        std::fs::write(path, &self.database).unwrap();
        std::fs::write(wal_path(path), &self.wal).unwrap();
    }
}

fn wal_path(path: &Path) -> std::path::PathBuf {
    path.with_extension("db-wal")
}

/// One way to damage a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    FlippedBit { at: usize, bit: u8 },
    ZeroedSector { at: usize },
    CutOff { at: usize },
}

impl Damage {
    fn any(random: &TestClock, length: usize) -> Self {
        let at = usize::try_from(random.random() % length as u64).unwrap();
        match random.random() % 4 {
            0 => Self::ZeroedSector { at: at / 512 * 512 },
            1 => Self::CutOff { at },
            _ => Self::FlippedBit { at, bit: (random.random() % 8) as u8 },
        }
    }

    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Self::FlippedBit { at, bit } => bytes[at] ^= 1 << bit,
            Self::ZeroedSector { at } => {
                let end = bytes.len().min(at + 512);
                bytes[at..end].fill(0);
            }
            Self::CutOff { at } => bytes.truncate(at),
        }
    }
}

fn random(seed: u64) -> std::sync::Arc<TestClock> {
    TestClock::new(Timestamp::from_millis(0), seed)
}

#[tokio::test]
async fn a_damaged_write_ahead_log_is_cut_at_a_commit() {
    let files = Files::of_the_load(1 << 30, false).await;
    assert!(files.wal.len() > 400_000, "the commits are in the log");
    let random = random(1);
    let mut cut = 0;
    for _ in 0..120 {
        let damage = Damage::any(&random, files.wal.len());
        let mut damaged = files.clone();
        damage.apply(&mut damaged.wal);
        let place = Place::new();
        damaged.write(&place.path());
        let store = place.open();
        let commits = load::commits_in(&store).await.unwrap();
        assert!(commits <= COMMITS, "{damage:?}");
        load::assert_holds(&store, commits).await;
        cut += u64::from(commits < COMMITS);

        // The work goes on where the log was cut.
        let epoch = load::begin(&store).await;
        load::commit(&store, epoch, commits).await.unwrap();
        load::assert_holds(&store, commits + 1).await;
        store.close().await.unwrap();
        assert_eq!(check(&place.path()).unwrap().problems, [""; 0], "{damage:?}");
    }
    assert!(cut > 60, "only {cut} of the damages were in the way");
}

#[tokio::test]
async fn damage_in_the_database_file_is_seen_when_it_matters() {
    let files = Files::of_the_load(64 << 10, true).await;
    assert!(files.wal.is_empty() && files.database.len() > 200_000, "the commits are in the database file");
    damage_is_seen(&files, 2, async |store| Holding::of(&store).await).await;
}

#[tokio::test]
async fn damage_of_what_waits_is_seen_when_it_matters() {
    let files = Files::of_the_acts().await;
    assert!(files.wal.is_empty() && files.database.len() > 100_000, "the steps are in the database file");
    damage_is_seen(&files, 3, async |store| acts::Everything::of(&store).await).await;
}

/// Damages the database file in 200 ways. What is read must be what was written, or an error, or a problem for the check.
async fn damage_is_seen<T: PartialEq>(
    files: &Files,
    seed: u64,
    read: impl AsyncFn(SqliteStore) -> Result<T, StoreError>,
) {
    let sound = Place::new();
    files.write(&sound.path());
    let expected = read(sound.open()).await.unwrap();
    let random = random(seed);
    let (mut refused, mut seen) = (0, 0);
    for _ in 0..200 {
        let damage = Damage::any(&random, files.database.len());
        let mut damaged = files.clone();
        damage.apply(&mut damaged.database);
        let place = Place::new();
        damaged.write(&place.path());

        let report = check(&place.path()).unwrap();
        let store = match SqliteStore::open(&place.path(), &StoreOptions::default(), SystemClock::shared()) {
            Ok(store) => store,
            // A file that was cut to nothing is no store yet.
            Err(error) => {
                let typed = matches!(
                    error,
                    OpenError::NotAStore { .. }
                        | OpenError::NewerFormat { .. }
                        | OpenError::Store(StoreError::Damaged { .. })
                );
                assert!(typed, "{damage:?}: {error:?}");
                assert!(error.to_string().contains("store.db"), "{error}");
                refused += 1;
                continue;
            }
        };
        match read(store).await {
            Err(StoreError::Damaged { detail }) => {
                assert!(detail.contains("store.db"), "{detail}");
                assert!(!report.is_clean(), "{damage:?} was read as {detail}, and not found by the check");
                seen += 1;
            }
            Err(other) => panic!("{damage:?}: {other:?}"),
            // An index can lose a row without a trace on the way to it; the check compares it with the table.
            Ok(found) => assert!(found == expected || !report.is_clean(), "{damage:?} was not found"),
        }
    }
    assert!(refused > 5 && seen > 50, "{refused} refused at opening, {seen} seen while reading");
}
