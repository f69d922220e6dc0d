//! Checks of the window that circuits look at.

use crate::checkpoint::FunctionName;
use crate::clock::Timestamp;
use crate::commit::Commit;
use crate::health::{BUCKET_MILLIS, HealthCounts, HealthRecord, InstanceHealth, KEPT_FOR};
use crate::ports::Commits;

use super::StoreFactory;
use super::samples::*;

/// What commits bring is added up, second by second and instance by instance, for each circuit apart.
pub async fn health_adds_up<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    assert_eq!(store.health(&circuit("track"), at(0)).await, Ok(Vec::new()));
    // Twice in one commit, and again in another.
    store
        .commit(&of([record("track", "b", 0, 1), record("track", "b", 0, 2), record("track", "a", 0, 3)]))
        .await
        .unwrap();
    store
        .commit(&of([record("track", "b", 0, 4), record("track", "b", 1, 5), record("dep", "b", 0, 6)]))
        .await
        .unwrap();
    let store = factory.reopen(store).await;
    let health = store.health(&circuit("track"), at(0)).await.unwrap();
    assert_eq!(health, [instance("a", 3), instance("b", 12)]);
    assert_eq!(store.health(&circuit("dep"), at(0)).await, Ok(vec![instance("b", 6)]));
    assert_eq!(store.health(&circuit("unknown"), at(0)).await, Ok(Vec::new()));
}

/// The window begins with the second that is asked for.
pub async fn the_window_of_health_begins_where_asked<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let records = (0..10).map(|second| record("track", "a", second, 1 << second));
    store.commit(&of(records)).await.unwrap();
    for from in 0..10 {
        let since = at(from * BUCKET_MILLIS);
        let sum = (from..10).map(|second| 1 << second).sum();
        assert_eq!(store.health(&circuit("track"), since).await, Ok(vec![instance("a", sum)]), "from {from}");
    }
    assert_eq!(store.health(&circuit("track"), at(10 * BUCKET_MILLIS)).await, Ok(Vec::new()));
}

/// A commit that is refused brings no health.
pub async fn a_refused_commit_brings_no_health<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let mut commit = step(0, epoch, 5, 6);
    commit.health = vec![record("track", "a", 0, 1)];
    store.commit(&commit).await.unwrap_err();
    assert_eq!(store.health(&circuit("track"), at(0)).await, Ok(Vec::new()));
}

/// Seconds that are older than an hour when others are added are forgotten.
pub async fn old_health_is_forgotten<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let hour = i64::try_from(KEPT_FOR.as_millis()).unwrap() / BUCKET_MILLIS;
    assert_eq!(hour * BUCKET_MILLIS, 3_600_000);
    store.commit(&of([record("track", "a", 0, 1), record("dep", "a", 0, 1)])).await.unwrap();
    let mut commit = of([record("track", "a", hour - 10, 2)]);
    commit.at = at((hour - 10) * BUCKET_MILLIS);
    store.commit(&commit).await.unwrap();
    assert_eq!(store.health(&circuit("track"), at(0)).await, Ok(vec![instance("a", 3)]), "not old yet");
    let mut commit = of([record("track", "a", hour + 10, 4)]);
    commit.at = at((hour + 10) * BUCKET_MILLIS);
    store.commit(&commit).await.unwrap();
    assert_eq!(store.health(&circuit("track"), at(0)).await, Ok(vec![instance("a", 6)]));
    assert_eq!(store.health(&circuit("dep"), at(0)).await, Ok(Vec::new()));
}

fn of(records: impl IntoIterator<Item = HealthRecord>) -> Commit {
    Commit { health: records.into_iter().collect(), ..documents_only([]) }
}

fn circuit(name: &str) -> FunctionName {
    FunctionName::new(name).unwrap()
}

/// Different counts of everything, in the n-th second, that grow with `factor`.
fn record(name: &str, instance: &str, second: i64, factor: u64) -> HealthRecord {
    let second = Timestamp::from_millis(at(0).as_millis() + second * BUCKET_MILLIS);
    HealthRecord { circuit: circuit(name), instance: instance.to_owned(), second, counts: times(factor) }
}

fn instance(name: &str, factor: u64) -> InstanceHealth {
    InstanceHealth { instance: name.to_owned(), counts: times(factor) }
}

fn times(factor: u64) -> HealthCounts {
    HealthCounts {
        succeeded: 1_000_000_007 * factor,
        failing: 3 * factor,
        failed_attempts: 5 * factor,
        failed: 7 * factor,
        failed_lanes: 11 * factor,
    }
}
