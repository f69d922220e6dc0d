//! Checkpoints and ownerships as blobs, against Azurite.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_adapters::event_hubs::blobs::{
    BlobAccess, BlobAccount, BlobCheckpoint, BlobCheckpoints, BlobContainer, BlobError, ConsumerOf, Mirror,
    http_client, known_checkpoints,
};
use tidegate_clients::Azurite;
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::clock::SystemClock;
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::{Checkpoints, EventLog};
use tidegate_model::position::SequenceNumber;
use tokio::sync::watch;

use crate::harness::{OtherHub, P0, P1, read_n};

fn consumer() -> ConsumerOf {
    ConsumerOf {
        namespace: "NS.servicebus.windows.net".to_owned(),
        hub: "Flights".to_owned(),
        consumer_group: "$Default".to_owned(),
    }
}

fn account_of(azurite: &Azurite) -> BlobAccount {
    azurite.connection_string().parse().unwrap()
}

fn container_in(account: BlobAccount, name: &str) -> BlobContainer {
    let client = http_client(&account).unwrap();
    BlobContainer::new(account, name.to_owned(), client, SystemClock::shared())
}

async fn blobs(azurite: &Azurite, container: &str) -> BlobCheckpoints {
    let blobs = BlobCheckpoints::new(container_in(account_of(azurite), container), &consumer());
    blobs.create().await.unwrap();
    blobs.create().await.expect("it is there already");
    blobs
}

#[tokio::test]
async fn a_checkpoint_is_written_and_read_again() {
    let Some(azurite) = Azurite::for_test() else { return };
    let blobs = blobs(&azurite, "checkpoints").await;
    assert_eq!(blobs.checkpoint(P0).await.unwrap(), None);
    for number in [5, 7] {
        blobs.write_checkpoint(P0, SequenceNumber(number), &format!("{number}00:1")).await.unwrap();
    }
    let expected =
        BlobCheckpoint { sequence_number: Some(SequenceNumber(7)), offset: Some("700:1".to_owned()) };
    assert_eq!(blobs.checkpoint(P0).await.unwrap(), Some(expected.clone()));
    assert_eq!(known_checkpoints(&blobs, 2).await.unwrap(), BTreeMap::from([(P0, expected.clone())]));

    // Names are in lower case, as the clients of Event Hubs write them.
    let lower = ConsumerOf {
        namespace: "ns.servicebus.windows.net".to_owned(),
        hub: "flights".to_owned(),
        consumer_group: "$default".to_owned(),
    };
    let same = BlobCheckpoints::new(container_in(account_of(&azurite), "checkpoints"), &lower);
    assert_eq!(same.checkpoint(P0).await.unwrap(), Some(expected));
}

#[tokio::test]
async fn of_two_who_claim_one_wins_and_who_was_replaced_is_told() {
    let Some(azurite) = Azurite::for_test() else { return };
    let blobs = blobs(&azurite, "owners").await;
    assert_eq!(blobs.ownership(P0).await.unwrap(), None);
    let (one, other) = tokio::join!(blobs.claim(P0, "one", None), blobs.claim(P0, "other", None));
    let (won, lost) = match (one, other) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        both => panic!("{both:?}"),
    };
    assert!(lost.is_lost_race(), "{lost}");
    let renewed = blobs.claim(P0, won.owner.as_deref().unwrap(), Some(&won)).await.unwrap();

    let seen = blobs.ownership(P0).await.unwrap().expect("it is owned");
    assert_eq!(seen.owner, won.owner);
    let taken = blobs.claim(P0, "thief", Some(&seen)).await.unwrap();
    let replaced = blobs.claim(P0, "late", Some(&renewed)).await.unwrap_err();
    assert!(replaced.is_lost_race(), "{replaced}");
    assert!(blobs.release(P0, &renewed).await.unwrap_err().is_lost_race());
    blobs.release(P0, &taken).await.unwrap();
    assert_eq!(blobs.ownership(P0).await.unwrap().expect("the blob is there").owner, None);
}

#[tokio::test]
async fn whoever_may_not_write_is_told_so_without_the_secret() {
    let Some(azurite) = Azurite::for_test() else { return };
    let wrong = BlobAccount {
        access: BlobAccess::SharedKey { account: "devstoreaccount1".to_owned(), key: b"hush-hush".to_vec() },
        ..account_of(&azurite)
    };
    let signature = BlobAccount {
        access: BlobAccess::Signature("sv=2021-12-02&sig=hush".to_owned()),
        ..account_of(&azurite)
    };
    for account in [wrong, signature] {
        let blobs = BlobCheckpoints::new(container_in(account, "c"), &consumer());
        let error = blobs.create().await.unwrap_err();
        assert!(matches!(&error, BlobError::Refused { status: 403 | 400, .. }), "{error}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
    let account = account_of(&azurite);
    drop(azurite);
    let blobs = BlobCheckpoints::new(container_in(account, "c"), &consumer());
    let error = blobs.checkpoint(P0).await.unwrap_err();
    assert!(matches!(error, BlobError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn copies_follow_the_slowest_function_of_the_store() {
    let Some(azurite) = Azurite::for_test() else { return };
    let hub = OtherHub::start().await;
    hub.append_numbers(P0, 0..20).await;
    hub.append_numbers(P1, 0..3).await;
    let log = hub.reader().await;
    let store = Arc::new(MemoryStore::new());
    let lane = |function: &str, partition| Lane {
        function: FunctionName::new(function).unwrap(),
        hub: EventLog::hub(&*log).clone(),
        partition,
    };
    let clock = SystemClock::shared();
    for (function, partition, position) in [("fast", P0, 15), ("slow", P0, 6), ("fast", P1, 0)] {
        let lane = lane(function, partition);
        store.begin(&lane, log.incarnation(), SequenceNumber(position), clock.now()).await.unwrap();
    }
    let mirror = Mirror {
        store: store.clone(),
        log: log.clone(),
        blobs: Arc::new(blobs(&azurite, "mirror").await),
        interval: std::time::Duration::from_secs(10),
        clock: clock.clone(),
    };
    let mut written = BTreeMap::new();
    mirror.copy(&mut written).await.unwrap();
    assert_eq!(written, BTreeMap::new(), "no offset is known yet");

    read_n(&*log, P0, SequenceNumber::ZERO, 20).await;
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(mirror.run(stopped));
    stop.send_replace(true);
    running.await.unwrap();
    let copy = BlobCheckpoints::new(container_in(account_of(&azurite), "mirror"), &consumer());
    let checkpoint = copy.checkpoint(P0).await.unwrap().expect("it was written at the end");
    assert_eq!(
        (checkpoint.sequence_number, checkpoint.offset.as_deref()),
        (Some(SequenceNumber(5)), Some("5"))
    );
    assert_eq!(copy.checkpoint(P1).await.unwrap(), None, "nothing is resolved there");
}
