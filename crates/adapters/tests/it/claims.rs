//! Partitions claimed by ownership blobs, against Azurite: programs share the partitions of a group, leave what was taken from
//! them, and go on where the group is.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate_adapters::event_hubs::RemoteLog;
use tidegate_adapters::event_hubs::blobs::{
    BlobAccount, BlobCheckpoints, BlobContainer, Claims, ConsumerOf, http_client,
};
use tidegate_adapters::event_hubs::client::{Receive, StartAt};
use tidegate_clients::Azurite;
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::clock::SystemClock;
use tidegate_model::error::ErrorKind;
use tidegate_model::event::HubName;
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::{Checkpoints as _, DeadLetters as _, EventLog};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::blob_server::{BlobServer, Mood};
use crate::harness::{MUCH, OtherHub, P0, bodies, clock, read_n};

fn blobs(azurite: &Azurite, container: &str) -> BlobCheckpoints {
    blobs_at(&azurite.connection_string(), container)
}

/// The checkpoints and ownerships of a consumer group of the hub `flights`.
pub(crate) fn blobs_at(connection_string: &str, container: &str) -> BlobCheckpoints {
    let account: BlobAccount = connection_string.parse().unwrap();
    let client = http_client(&account).unwrap();
    let container = BlobContainer::new(account, container.to_owned(), client, SystemClock::shared());
    let consumer = ConsumerOf {
        namespace: "other.servicebus.windows.net".to_owned(),
        port: None,
        hub: "flights".to_owned(),
        consumer_group: "$Default".to_owned(),
    };
    BlobCheckpoints::new(container, consumer)
}

fn function() -> FunctionName {
    FunctionName::new("f").unwrap()
}

fn lane(partition: PartitionId) -> Lane {
    Lane { function: function(), hub: HubName::new("theirs").unwrap(), partition }
}

/// A program that claims partitions.
struct Program {
    log: Arc<RemoteLog>,
    store: Arc<MemoryStore>,
    assigned: watch::Receiver<BTreeSet<PartitionId>>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Program {
    async fn start(hub: &OtherHub, azurite: &Azurite, container: &str, owner: &str) -> Self {
        Self::start_over(hub, blobs(azurite, container), owner).await
    }

    async fn start_over(hub: &OtherHub, blobs: BlobCheckpoints, owner: &str) -> Self {
        let log = hub
            .reader_with(|options| (options.shares_partitions, options.owner_level) = (true, Some(0)))
            .await;
        let store = Arc::new(MemoryStore::new());
        let clock = SystemClock::shared();
        for partition in (0..log.partition_count()).map(PartitionId) {
            store
                .begin(&lane(partition), log.incarnation(), SequenceNumber::ZERO, clock.now())
                .await
                .unwrap();
        }
        blobs.create().await.unwrap();
        let claims = Claims {
            log: log.clone(),
            blobs: Arc::new(blobs),
            functions: vec![function()],
            store: store.clone(),
            owner: owner.to_owned(),
            // Azurite tells times in whole seconds.
            interval: Duration::from_millis(300),
            clock,
        };
        let (stop, stopped) = watch::channel(false);
        let assigned = log.assigned().unwrap();
        let running = tokio::spawn(claims.run(stopped));
        Self { log, store, assigned, stop, running }
    }

    async fn has(&self, count: usize) -> BTreeSet<PartitionId> {
        self.assigned.clone().wait_for(|assigned| assigned.len() == count).await.unwrap().clone()
    }

    async fn end(self) {
        self.stop.send_replace(true);
        self.running.await.unwrap();
        assert!(self.assigned.borrow().is_empty(), "nothing is read any more");
    }
}

async fn four() -> OtherHub {
    OtherHub::start_named(HubName::new("flights").unwrap(), 4, clock()).await
}

fn four_partitions() -> BTreeSet<PartitionId> {
    (0..4).map(PartitionId).collect()
}

#[tokio::test]
async fn nothing_is_read_any_more_however_the_claiming_ends() {
    let (hub, account) = (four().await, BlobServer::start().await);
    let program = Program::start_over(&hub, account.checkpoints(), "one").await;
    program.has(4).await;
    program.running.abort();
    assert!(program.running.await.unwrap_err().is_cancelled());
    assert!(program.assigned.borrow().is_empty());
    let error = program.log.read(P0, SequenceNumber::ZERO, MUCH).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
}

#[tokio::test]
async fn ownerships_are_released_at_once_also_when_claims_and_renewals_are_not_answered() {
    let (hub, account) = (four().await, BlobServer::start().await);
    account.checkpoints().create().await.unwrap();
    let claimed = Program::start_over(&hub, account.checkpoints(), "one").await;
    claimed.has(4).await;
    account.set(Mood::Silent);
    // All four renewals are written, and nobody says so.
    account.until(|content| content.refused >= 4).await;
    account.set(Mood::Well);
    claimed.end().await;
    let left = account.checkpoints();
    let owner = async |partition| left.ownership(partition).await.unwrap().unwrap().owner;
    for partition in four_partitions() {
        assert_eq!(owner(partition).await, None, "{partition}");
    }

    // The first claim is written, and nobody says so.
    account.set(Mood::Silent);
    let claiming = Program::start_over(&hub, account.checkpoints(), "two").await;
    account.until(|content| content.refused >= 1).await;
    account.set(Mood::Well);
    claiming.end().await;
    for partition in four_partitions() {
        assert_eq!(owner(partition).await, None, "{partition}");
    }
}

#[tokio::test]
async fn programs_share_the_partitions_of_a_group_and_take_over_what_is_released() {
    let Some(azurite) = Azurite::for_test() else { return };
    let hub = four().await;
    for partition in four_partitions() {
        hub.append_numbers(partition, 0..3).await;
    }
    let one = Program::start(&hub, &azurite, "shared", "one").await;
    assert_eq!(one.has(4).await, four_partitions(), "who is alone has all");
    assert_eq!(bodies(&read_n(&*one.log, P0, SequenceNumber::ZERO, 3).await), [0, 1, 2]);

    let other = Program::start(&hub, &azurite, "shared", "other").await;
    let (ours, theirs) = (one.has(2).await, other.has(2).await);
    assert!(ours.is_disjoint(&theirs), "{ours:?} {theirs:?}");
    for partition in theirs {
        let error = one.log.read(partition, SequenceNumber(1), MUCH).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        assert_eq!(bodies(&read_n(&*other.log, partition, SequenceNumber::ZERO, 3).await), [0, 1, 2]);
    }
    let reader = |partition| one.log.reader(partition);
    while !four_partitions().difference(&ours).all(|partition| reader(*partition).as_deref() == Some("other"))
    {
        tokio::task::yield_now().await;
    }

    other.end().await;
    assert_eq!(one.has(4).await, four_partitions());
    one.end().await;
    let left = blobs(&azurite, "shared");
    for partition in four_partitions() {
        assert_eq!(left.ownership(partition).await.unwrap().expect("the blob stays").owner, None);
    }
}

#[tokio::test]
async fn what_a_dead_processor_had_is_taken_when_its_ownership_has_expired_and_its_checkpoint_counts() {
    let Some(azurite) = Azurite::for_test() else { return };
    let hub = four().await;
    hub.append_numbers(P0, 0..10).await;
    let theirs = blobs(&azurite, "dead");
    theirs.create().await.unwrap();
    for partition in four_partitions() {
        theirs.claim(partition, "dead", None).await.unwrap();
    }
    theirs.write_checkpoint(P0, SequenceNumber(6), "6", "dead").await.unwrap();
    hub.append_numbers(PartitionId(2), 0..10).await;
    theirs.write_checkpoint(PartitionId(2), SequenceNumber(6), "6", "one").await.unwrap();
    // One that is past the end means nothing.
    theirs.write_checkpoint(PartitionId(1), SequenceNumber(60), "60", "dead").await.unwrap();
    let program = Program::start(&hub, &azurite, "dead", "one").await;
    program.has(4).await;
    let at = async |partition| program.store.checkpoint(&lane(partition)).await.unwrap().unwrap().position;
    assert_eq!((at(P0).await, at(PartitionId(1)).await), (SequenceNumber(7), SequenceNumber::ZERO));
    // What it wrote itself is a copy of its store, which may be put back by a person.
    assert_eq!(at(PartitionId(2)).await, SequenceNumber::ZERO);
    let trail = program.store.trail(None, 0, 10).await.unwrap();
    let [entry] = trail.as_slice() else { panic!("{trail:?}") };
    assert_eq!((entry.action.as_str(), entry.subject.as_str()), ("checkpoint.follow", "f/theirs/0"));
    assert_eq!(entry.detail, serde_json::json!({ "from": 0, "to": 7 }));
    program.end().await;
}

#[tokio::test]
async fn who_starts_again_under_its_name_has_its_partitions_at_once() {
    let Some(azurite) = Azurite::for_test() else { return };
    let hub = four().await;
    let before = blobs(&azurite, "again");
    before.create().await.unwrap();
    for partition in four_partitions() {
        let owner = if partition == P0 { "another" } else { "one" };
        before.claim(partition, owner, None).await.unwrap();
    }
    let program = Program::start(&hub, &azurite, "again", "one").await;
    let mut assigned = program.assigned.clone();
    let first = assigned.wait_for(|assigned| assigned.len() == 2).await.unwrap().clone();
    assert!(!first.contains(&P0), "of two owners each has its share: {first:?}");
    program.end().await;
}

#[tokio::test]
async fn a_reader_that_takes_without_claiming_is_not_fought() {
    let Some(azurite) = Azurite::for_test() else { return };
    let hub = four().await;
    hub.append_numbers(P0, 0..3).await;
    let program = Program::start(&hub, &azurite, "thief", "one").await;
    program.has(4).await;
    read_n(&*program.log, P0, SequenceNumber::ZERO, 3).await;
    let receive = Receive {
        consumer_group: "$Default".to_owned(),
        partition: P0,
        start: StartAt::SequenceNumber(SequenceNumber::ZERO),
        owner_level: Some(0),
    };
    let thief = hub.client();
    let mut receiver = thief.receive(&receive).await.unwrap();
    receiver.grant(3);
    let left = program.has(3).await;
    assert!(!left.contains(&P0));
    let error = program.log.read(P0, SequenceNumber(1), MUCH).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    // Its blob is given up, and stays so while what is ours is renewed again and again.
    let seen = blobs(&azurite, "thief");
    while seen.ownership(P0).await.unwrap().expect("it is there").owner.is_some() {}
    let other = *left.first().unwrap();
    for _ in 0..3 {
        let etag = async || seen.ownership(other).await.unwrap().unwrap().etag().to_owned();
        let before = etag().await;
        while etag().await == before {}
    }
    assert_eq!(seen.ownership(P0).await.unwrap().unwrap().owner, None);
    for _ in 0..3 {
        receiver.next().await.unwrap();
    }
    program.end().await;
}

/// The way to the blobs, on which everything gets lost from some moment on: nobody answers, and nobody says that.
struct Way {
    address: SocketAddr,
    is_lost: watch::Sender<bool>,
    /// True once somebody who waited for an answer on it has given up.
    given_up: watch::Sender<bool>,
}

impl Way {
    async fn to(host: SocketAddr) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way =
            Arc::new(Self { address, is_lost: watch::Sender::default(), given_up: watch::Sender::default() });
        let carried = way.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carried.clone().carry(near, host));
            }
        });
        way
    }

    async fn carry(self: Arc<Self>, mut near: TcpStream, host: SocketAddr) {
        let mut far = TcpStream::connect(host).await.unwrap();
        let mut is_lost = self.is_lost.subscribe();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
            _ = is_lost.wait_for(|is_lost| *is_lost) => {}
        }
        let mut bytes = [0; 4096];
        while let Ok(1..) = near.read(&mut bytes).await {}
        self.given_up.send_replace(true);
    }
}

#[tokio::test]
async fn what_cannot_be_renewed_is_left_before_others_take_it_however_long_the_blobs_say_nothing() {
    let Some(azurite) = Azurite::for_test() else { return };
    let hub = four().await;
    let text = azurite.connection_string();
    let (_, rest) = text.split_once("BlobEndpoint=http://").unwrap();
    let (host, _) = rest.split_once('/').unwrap();
    let way = Way::to(host.parse().unwrap()).await;
    let over_it = text.replace(&format!("http://{host}/"), &format!("http://{}/", way.address));
    let program = Program::start_over(&hub, blobs_at(&over_it, "silent"), "one").await;
    program.has(4).await;
    way.is_lost.send_replace(true);
    let mut given_up = way.given_up.subscribe();
    tokio::select! {
        biased;
        _ = program.has(0) => {}
        _ = given_up.wait_for(|given_up| *given_up) => panic!("they were read for as long as the blobs were waited for"),
    }
    program.running.abort();
}
