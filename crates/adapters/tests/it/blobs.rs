//! Checkpoints and ownerships as blobs, against Azurite.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_adapters::event_hubs::blobs::{
    BlobAccess, BlobAccount, BlobCheckpoint, BlobCheckpoints, BlobContainer, BlobError, ConsumerOf,
    FoundCheckpoint, Mirror, http_client, known_checkpoints,
};
use tidegate_clients::Azurite;
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::clock::SystemClock;
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::{Checkpoints, EventLog};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::watch;

use crate::harness::{OtherHub, P0, P1, read_n};

fn consumer() -> ConsumerOf {
    ConsumerOf {
        namespace: "NS.servicebus.windows.net".to_owned(),
        port: None,
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
    let blobs = BlobCheckpoints::new(container_in(account_of(azurite), container), consumer());
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
        blobs.write_checkpoint(P0, SequenceNumber(number), &format!("{number}00:1"), "me").await.unwrap();
    }
    let expected = BlobCheckpoint {
        sequence_number: Some(SequenceNumber(7)),
        offset: Some("700:1".to_owned()),
        written_by: Some("me".to_owned()),
    };
    assert_eq!(blobs.checkpoint(P0).await.unwrap(), Some(expected.clone()));
    let found = FoundCheckpoint {
        checkpoint: expected.clone(),
        blob: "ns.servicebus.windows.net/flights/$default/checkpoint/0".to_owned(),
        other_prefix: None,
    };
    assert_eq!(known_checkpoints(&blobs, 2).await.unwrap(), BTreeMap::from([(P0, found)]));

    // Names are in lower case, as the clients of Event Hubs write them.
    let lower = ConsumerOf {
        namespace: "ns.servicebus.windows.net".to_owned(),
        port: None,
        hub: "flights".to_owned(),
        consumer_group: "$default".to_owned(),
    };
    let same = BlobCheckpoints::new(container_in(account_of(&azurite), "checkpoints"), lower);
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
        let blobs = BlobCheckpoints::new(container_in(account, "c"), consumer());
        let error = blobs.create().await.unwrap_err();
        assert!(matches!(&error, BlobError::Refused { status: 403 | 400, .. }), "{error}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
    let account = account_of(&azurite);
    drop(azurite);
    let blobs = BlobCheckpoints::new(container_in(account, "c"), consumer());
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
        writer: "us".to_owned(),
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
    let copy = BlobCheckpoints::new(container_in(account_of(&azurite), "mirror"), consumer());
    let checkpoint = copy.checkpoint(P0).await.unwrap().expect("it was written at the end");
    assert_eq!(
        (checkpoint.sequence_number, checkpoint.offset.as_deref()),
        (Some(SequenceNumber(5)), Some("5"))
    );
    assert_eq!(copy.checkpoint(P1).await.unwrap(), None, "nothing is resolved there");
}

#[tokio::test]
async fn of_a_shared_group_no_copy_takes_the_place_of_a_later_one() {
    let Some(azurite) = Azurite::for_test() else { return };
    let hub = OtherHub::start().await;
    hub.append_numbers(P0, 0..20).await;
    let log = hub.reader_with(|options| options.shares_partitions = true).await;
    log.assign(P0);
    read_n(&*log, P0, SequenceNumber::ZERO, 20).await;
    let store = Arc::new(MemoryStore::new());
    let clock = SystemClock::shared();
    let lane =
        Lane { function: FunctionName::new("f").unwrap(), hub: EventLog::hub(&*log).clone(), partition: P0 };
    store.begin(&lane, log.incarnation(), SequenceNumber(6), clock.now()).await.unwrap();
    let copies = blobs(&azurite, "shared").await;
    let seen = async || {
        let checkpoint = copies.checkpoint(P0).await.unwrap().expect("there is one");
        (checkpoint.sequence_number.map(|number| number.0), checkpoint.written_by.unwrap_or_default())
    };
    let theirs = async |number: u64| {
        copies.write_checkpoint(P0, SequenceNumber(number), &number.to_string(), "they").await.unwrap();
    };
    let mirror = Mirror {
        store: store.clone(),
        log: log.clone(),
        blobs: Arc::new(blobs(&azurite, "shared").await),
        writer: "us".to_owned(),
        interval: std::time::Duration::from_secs(10),
        clock,
    };
    // Each time as a program that has just started, or was held up for a while: it knows nothing of what it wrote.
    let copy = async || mirror.copy(&mut BTreeMap::new()).await.unwrap();
    copy().await;
    assert_eq!(seen().await, (Some(5), "us".to_owned()));
    theirs(9).await;
    copy().await;
    assert_eq!(seen().await, (Some(9), "they".to_owned()), "whoever had the partition since was further");
    theirs(3).await;
    copy().await;
    assert_eq!(seen().await, (Some(5), "us".to_owned()));
    theirs(60).await;
    copy().await;
    assert_eq!(
        seen().await,
        (Some(5), "us".to_owned()),
        "what is past the end is of another life of the hub"
    );
    theirs(3).await;
    log.unassign(P0, "another has it");
    copy().await;
    assert_eq!(seen().await, (Some(3), "they".to_owned()), "what others have is theirs to write");

    // The others go on with what comes, and this program, which has the partition again, was not told of it yet.
    hub.append_numbers(P0, 20..40).await;
    theirs(30).await;
    log.assign(P0);
    copy().await;
    assert_eq!(seen().await, (Some(30), "they".to_owned()), "the hub knows where it ends");
}

/// Puts blobs there with Microsoft's client: their names and what is in them.
fn upload(azurite: &Azurite, container: &str, contents: &[(&str, &str)]) {
    const UPLOAD: &str = r#"
const { ContainerClient } = require("@azure/storage-blob");
const [connection, container, contents] = process.argv.slice(1);
(async () => {
    const client = new ContainerClient(connection, container);
    await client.createIfNotExists();
    for (const [name, body] of JSON.parse(contents)) {
        const metadata = body === "" ? { sequencenumber: "7", offset: "700" } : undefined;
        await client.getBlockBlobClient(name).upload(body, Buffer.byteLength(body), { metadata });
    }
})();
"#;
    let contents = serde_json::to_string(contents).unwrap();
    let output = std::process::Command::new("node")
        .args(["-e", UPLOAD, &azurite.connection_string(), container, &contents])
        .env("NODE_PATH", azurite.modules())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn what_event_processor_hosts_and_clients_with_other_names_left_is_found_where_ours_has_nothing() {
    let Some(azurite) = Azurite::for_test() else { return };
    let lease = |number: u64| {
        format!(
            r#"{{"PartitionId":"0","Owner":"o","Token":"t","Epoch":3,"Offset":"{number}00","SequenceNumber":{number}}}"#
        )
    };
    let too_large = format!(r#"{{"Offset":"1","SequenceNumber":1,"Owner":"{}"}}"#, "x".repeat(70_000));
    upload(
        &azurite,
        "before",
        &[
            ("ns.servicebus.windows.net/flights/$Default/0", &lease(17)),
            ("ns.servicebus.windows.net/flights/$Default/1", r#"{"Offset":"","SequenceNumber":0,"Epoch":1}"#),
            ("ns.servicebus.windows.net/flights/$Default/2", &too_large),
            ("prefix-$Default/0", &lease(18)),
            ("prefix-$Default/1", &lease(19)),
            // As the client for Go names them, and as the one for Python does where the connection string has a port.
            ("NS.servicebus.windows.net/Flights/$Default/checkpoint/3", ""),
            ("ns.servicebus.windows.net:5680/flights/$default/checkpoint/4", ""),
        ],
    );
    let found = async |blobs: &BlobCheckpoints| {
        let known = known_checkpoints(blobs, 5).await.unwrap();
        known
            .into_iter()
            .map(|(partition, found)| (partition.0, found.checkpoint.sequence_number.unwrap().0, found.blob))
            .collect::<Vec<_>>()
    };
    let of_functions = (0, 17, "ns.servicebus.windows.net/flights/$Default/0".to_owned());
    let of_go = (3, 7, "NS.servicebus.windows.net/Flights/$Default/checkpoint/3".to_owned());
    let of_python = (4, 7, "ns.servicebus.windows.net:5680/flights/$default/checkpoint/4".to_owned());
    let plain = blobs(&azurite, "before").await;
    assert_eq!(found(&plain).await, [of_functions, of_go.clone()]);

    let container = || container_in(account_of(&azurite), "before");
    let with_port = BlobCheckpoints::new(container(), ConsumerOf { port: Some(5680), ..consumer() });
    let hosts = with_port.with_legacy("prefix-".to_owned());
    let of_hosts = (0, 18, "prefix-$Default/0".to_owned());
    let other_of_hosts = (1, 19, "prefix-$Default/1".to_owned());
    assert_eq!(found(&hosts).await, [of_hosts.clone(), other_of_hosts.clone(), of_go, of_python.clone()]);
    assert_eq!(
        hosts.find(PartitionId(4)).await.unwrap().unwrap().other_prefix.as_deref(),
        Some("ns.servicebus.windows.net:5680/flights/$default")
    );

    // Under a prefix of one's own the other names do not count, and what is written is found first.
    let named = BlobCheckpoints::new(container(), consumer())
        .under("ns.servicebus.windows.net:5680/flights/$default".to_owned())
        .with_legacy("prefix-".to_owned());
    assert_eq!(found(&named).await, [of_hosts, other_of_hosts.clone(), of_python.clone()]);
    named.write_checkpoint(P0, SequenceNumber(20), "2000", "us").await.unwrap();
    let written = (0, 20, "ns.servicebus.windows.net:5680/flights/$default/checkpoint/0".to_owned());
    assert_eq!(found(&named).await, [written, other_of_hosts, of_python]);
}
