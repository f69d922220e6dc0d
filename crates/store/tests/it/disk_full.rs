//! A full disk: nothing is written, nothing is lost, and work goes on when there is room.

use std::path::Path;
use std::process::Command;

use tidegate_model::clock::SystemClock;
use tidegate_model::ports::StoreError;
use tidegate_store::{SqliteStore, StoreOptions};

use crate::load::{self, Place};

/// Commits until the disk is full; returns how many commits are in the store.
async fn fill(store: &SqliteStore, epoch: tidegate_model::checkpoint::Epoch) -> u64 {
    for n in load::commits_in(store).await.unwrap().. {
        match load::commit(store, epoch, n).await {
            Ok(()) => assert!(n < 100_000, "the disk does not get full"),
            Err(StoreError::DiskFull { detail }) => {
                assert!(detail.contains("store.db"), "{detail}");
                return n;
            }
            Err(other) => panic!("commit {n}: {other:?}"),
        }
    }
    unreachable!("there is no last commit")
}

#[tokio::test]
async fn at_the_size_limit_nothing_is_written_until_it_is_raised() {
    let place = Place::new();
    let store = place.open();
    let epoch = load::begin(&store).await;
    store.set_size_limit(Some(300 << 10)).await.unwrap();
    let commits = fill(&store, epoch).await;
    assert!(commits > 5, "only {commits} commits went in");
    load::assert_holds(&store, commits).await;
    for _ in 0..3 {
        assert!(matches!(load::commit(&store, epoch, commits).await, Err(StoreError::DiskFull { .. })));
    }
    load::assert_holds(&store, commits).await;

    store.set_size_limit(None).await.unwrap();
    for n in commits..commits + 20 {
        load::commit(&store, epoch, n).await.unwrap();
    }
    load::assert_holds(&store, commits + 20).await;
    store.close().await.unwrap();
    assert_eq!(tidegate_store::check::check(&place.path()).unwrap().problems, [""; 0]);
    assert!(place.path().metadata().unwrap().len() > 300 << 10);
}

#[tokio::test]
async fn the_size_limit_can_be_given_when_opening() {
    let place = Place::new();
    let options = StoreOptions { size_limit: Some(200 << 10), ..StoreOptions::default() };
    let store = SqliteStore::open(&place.path(), &options, SystemClock::shared()).unwrap();
    let epoch = load::begin(&store).await;
    fill(&store, epoch).await;
    store.close().await.unwrap();
    assert!(place.path().metadata().unwrap().len() <= 200 << 10);
}

/// A file system of its own in memory.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path, size: &str) -> Result<Self, String> {
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={size}"))
            .arg("tmpfs")
            .arg(at))?;
        Ok(Self(at))
    }

    fn grow(&self, size: &str) {
        run(Command::new("mount").arg("-o").arg(format!("remount,size={size}")).arg(self.0)).unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("--lazy").arg(self.0));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[tokio::test]
async fn a_disk_that_is_really_full_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let disk = match SmallDisk::mount(directory.path(), "1m") {
        Ok(disk) => disk,
        Err(reason) => {
            println!("not run: a small file system cannot be mounted here: {reason}");
            return;
        }
    };
    let path = directory.path().join("store.db");
    let store = load::open(&path);
    let epoch = load::begin(&store).await;
    let commits = fill(&store, epoch).await;
    assert!(commits > 5, "only {commits} commits went in");
    load::assert_holds(&store, commits).await;
    assert!(matches!(load::commit(&store, epoch, commits).await, Err(StoreError::DiskFull { .. })));
    load::assert_holds(&store, commits).await;

    disk.grow("64m");
    for n in commits..commits + 50 {
        load::commit(&store, epoch, n).await.unwrap();
    }
    load::assert_holds(&store, commits + 50).await;
    drop(store);

    // Full again, by somebody else's data, and the program stops: nothing is lost either.
    let store = load::open(&path);
    let epoch = load::begin(&store).await;
    let ballast = directory.path().join("ballast");
    assert!(std::fs::write(&ballast, vec![1; 64 << 20]).is_err(), "the disk is full");
    let kept = fill(&store, epoch).await;
    load::assert_holds(&store, kept).await;
    drop(store);
    assert_eq!(tidegate_store::check::check(&path).unwrap().problems, [""; 0]);
    let store = load::open(&path);
    load::assert_holds(&store, kept).await;
    std::fs::remove_file(&ballast).unwrap();
    let epoch = load::begin(&store).await;
    load::commit(&store, epoch, kept).await.unwrap();
    load::assert_holds(&store, kept + 1).await;
}
