//! An attack on a server: random and mutated frames over many connections, between clients that behave.
//!
//! The attackers have a key that may send to one hub and receive everywhere, so that most of what they say is looked at in
//! earnest. The clients that behave use another hub, to which nobody else may send: what is in its log afterwards is
//! exactly what was acknowledged to them, or something is wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use tidegate_amqp::codec::frame::write_sasl;
use tidegate_amqp::codec::message::{Message, MessageBuilder};
use tidegate_amqp::codec::performative::DeliveryState;
use tidegate_amqp::codec::sasl::{self, SaslFrame, SaslInit};
use tidegate_amqp::connection::{CreditPolicy, Event, Outgoing, Part};
use tidegate_eventlog::{HubLog, Log, LogOptions};
use tidegate_gateway::Gateway;
use tidegate_gateway::admission::Limits;
use tidegate_gateway::amqp::{AmqpBounds, AmqpDoor};
use tidegate_gateway::auth::{AccessRule, Authorizer, Right, Scope, SecretKey};
use tidegate_gateway::namespace::ConsumerGroups;
use tidegate_model::clock::SystemClock;
use tidegate_model::event::HubName;
use tidegate_model::ports::{EventLog, ReadLimit};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::mutate::{Random, mutate};
use crate::peer::Peer;
use crate::seeds;

/// The hub of the clients that behave.
const GOOD_HUB: &str = "telemetry";
const GOOD_RULE: &str = "behaves";
const ATTACKER_RULE: &str = "attacks";
const LISTENER_RULE: &str = "listens";
const KEY: &str = "not-a-secret";

/// How many partitions both hubs have, and how many clients behave: each has a partition for itself.
const PARTITIONS: u32 = 2;

/// How many frames an attacker says on one connection at most.
const FRAMES_PER_CONNECTION: usize = 60;

/// The server under attack: the door over a log on disk.
pub struct Stand {
    log: Log,
    good: Arc<HubLog>,
    door: AmqpDoor,
}

impl Stand {
    /// A server whose log is in `dir`.
    ///
    /// # Errors
    /// When the log cannot be made.
    pub fn new(dir: &Path, bounds: AmqpBounds) -> anyhow::Result<Self> {
        let clock = SystemClock::shared();
        let log = Log::open(dir, LogOptions::default(), Arc::clone(&clock))?;
        let good = log.create_hub(&HubName::new(GOOD_HUB)?, PARTITIONS)?;
        let attacked = log.create_hub(&HubName::new(seeds::HUB)?, PARTITIONS)?;
        let rule = |name: &str, right, scope| {
            anyhow::Ok(AccessRule {
                name: name.into(),
                keys: vec![SecretKey::new(KEY)?],
                rights: [right].into_iter().collect(),
                scope,
            })
        };
        let rules = vec![
            rule(GOOD_RULE, Right::Manage, Scope::Hub(HubName::new(GOOD_HUB)?))?,
            rule(ATTACKER_RULE, Right::Manage, Scope::Hub(HubName::new(seeds::HUB)?))?,
            rule(LISTENER_RULE, Right::Listen, Scope::Namespace)?,
        ];
        let gateway = Arc::new(Gateway::new(Arc::new(Authorizer::new(rules)?), Limits::default(), clock));
        gateway.open_hub_with(good.clone(), Some(good.clone()), ConsumerGroups::default())?;
        gateway.open_hub_with(attacked.clone(), Some(attacked), ConsumerGroups::default())?;
        let door = AmqpDoor::new(gateway, bounds);
        Ok(Self { log, good, door })
    }

    /// Serves until `stop` turns true.
    pub async fn serve(&self, listener: TcpListener, stop: watch::Receiver<bool>) {
        self.door.serve(listener, stop).await;
    }

    /// Closes the log. What is in it can be checked before and after.
    pub fn close(&self) {
        self.log.close();
    }

    /// Checks that the log has exactly what was acknowledged.
    ///
    /// # Errors
    /// What is missing, or is there and should not be.
    pub async fn check(&self, report: &Report) -> anyhow::Result<()> {
        check(&self.good, report).await
    }
}

/// Opens the log of a server that has ended, and checks that it has exactly what was acknowledged.
///
/// # Errors
/// What is missing, or is there and should not be.
pub async fn check_log(dir: &Path, report: &Report) -> anyhow::Result<()> {
    let log = Log::open(dir, LogOptions::default(), SystemClock::shared())?;
    let hub = log.hub(&HubName::new(GOOD_HUB)?).context("the hub is gone")?;
    check(&hub, report).await?;
    log.close();
    Ok(())
}

async fn check(hub: &HubLog, report: &Report) -> anyhow::Result<()> {
    for partition in 0..PARTITIONS {
        let acknowledged = report.acknowledged.get(&partition).copied().unwrap_or_default();
        let limit = ReadLimit { events: 1000, bytes: 1 << 20 };
        let mut next = SequenceNumber(0);
        loop {
            let events = hub.read(PartitionId(partition), next, limit).await?;
            let Some(last) = events.last() else { break };
            for event in &events {
                let expected = body(partition, event.sequence_number.0);
                ensure!(event.data.body == expected, "event {} is not what was sent", event.sequence_number);
            }
            next = SequenceNumber(last.sequence_number.0 + 1);
        }
        ensure!(next.0 == acknowledged, "{acknowledged} events were acknowledged, {} are in the log", next.0);
    }
    Ok(())
}

fn body(partition: u32, number: u64) -> Bytes {
    Bytes::from(format!("event {number} of partition {partition}"))
}

/// How hard the attack is.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// How many frames are thrown that the server looks at.
    pub frames: u64,
    /// How many attackers there are at a time.
    pub attackers: usize,
    /// What the frames are made from.
    pub seed: u64,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Frames that were thrown while the server had not ended the connection.
    pub frames: u64,
    /// All frames that were thrown.
    pub thrown: u64,
    /// The connections they went over.
    pub connections: u64,
    /// How many events of each partition were acknowledged to the clients that behave; each was read again too.
    pub acknowledged: BTreeMap<u32, u64>,
}

/// What those who take part share.
struct Field {
    address: SocketAddr,
    attack: Attack,
    frames: AtomicU64,
    thrown: AtomicU64,
    connections: AtomicU64,
    over: AtomicBool,
}

/// Attacks the server at an address. `progress` is told how many frames were thrown, now and then.
///
/// # Errors
/// When a client that behaves is not served as it should be.
pub async fn attack(
    address: SocketAddr,
    attack: Attack,
    mut progress: impl FnMut(u64) + Send,
) -> anyhow::Result<Report> {
    let field = Arc::new(Field {
        address,
        attack,
        frames: AtomicU64::new(0),
        thrown: AtomicU64::new(0),
        connections: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    let mut attackers = tokio::task::JoinSet::new();
    for number in 0..attack.attackers {
        attackers.spawn(assail(Arc::clone(&field), number as u64));
    }
    attackers.spawn(never_reads(Arc::clone(&field)));
    let mut good = tokio::task::JoinSet::new();
    for partition in 0..PARTITIONS {
        good.spawn(behave(Arc::clone(&field), partition));
    }
    let mut acknowledged = BTreeMap::new();
    let mut told = 0;
    loop {
        tokio::select! {
            Some(ended) = attackers.join_next() => {
                ended.context("an attacker panicked")?;
                progress(field.frames.load(Ordering::Relaxed));
                // The one that never reads stays until the others are gone.
                if attackers.len() <= 1 {
                    field.over.store(true, Ordering::Relaxed);
                }
            }
            Some(ended) = good.join_next() => {
                let (partition, events) = ended.context("a client panicked")??;
                acknowledged.insert(partition, events);
            }
            () = tick() => {
                let frames = field.frames.load(Ordering::Relaxed);
                if frames >= told + attack.frames / 20 {
                    told = frames;
                    progress(frames);
                }
            }
            else => break,
        }
        if good.is_empty() {
            attackers.abort_all();
            break;
        }
    }
    Ok(Report {
        frames: field.frames.load(Ordering::Relaxed),
        thrown: field.thrown.load(Ordering::Relaxed),
        connections: field.connections.load(Ordering::Relaxed),
        acknowledged,
    })
}

async fn tick() {
    SystemClock::shared().sleep(Duration::from_millis(50)).await;
}

/// Connects again and again, and says what it should not.
async fn assail(field: Arc<Field>, number: u64) {
    let mut random = Random::new(field.attack.seed ^ (number << 32));
    let frames = seeds::frames();
    while field.frames.load(Ordering::Relaxed) < field.attack.frames {
        let Ok(stream) = TcpStream::connect(field.address).await else { continue };
        field.connections.fetch_add(1, Ordering::Relaxed);
        let _ = stream.set_nodelay(true);
        let (from_server, mut to_server) = stream.into_split();
        // Most read what they are told, and count only what is said before the end; the others leave it where it is.
        let ended = Arc::new(AtomicBool::new(false));
        let reads = !random.once_in(8);
        let reader = reads.then(|| tokio::spawn(hear_the_end(from_server, Arc::clone(&ended))));
        let mut said = greeting(&mut random);
        let changed_of_100 = [2, 10, 50][random.below(3)];
        let mut unsaid = 0;
        for _ in 0..1 + random.below(FRAMES_PER_CONNECTION) {
            said.extend_from_slice(&frame(&frames, changed_of_100, &mut random));
            unsaid += 1;
            if !random.once_in(3) {
                continue;
            }
            if to_server.write_all(&std::mem::take(&mut said)).await.is_err() {
                break;
            }
            field.thrown.fetch_add(unsaid, Ordering::Relaxed);
            if ended.load(Ordering::Relaxed) {
                break;
            }
            if reads {
                field.frames.fetch_add(unsaid, Ordering::Relaxed);
            }
            unsaid = 0;
        }
        // Some say goodbye, some are gone at once.
        if random.once_in(2) {
            let _ = to_server.shutdown().await;
        }
        if let Some(reader) = reader {
            reader.abort();
        }
    }
}

/// Reads until the server ends the connection, with a close or without.
async fn hear_the_end(mut from_server: OwnedReadHalf, ended: Arc<AtomicBool>) {
    // The descriptor of a close.
    const CLOSE: [u8; 3] = [0x00, 0x53, 0x18];
    let mut heard = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from_server.read(&mut heard).await {
        if heard[..read].windows(CLOSE.len()).any(|three| three == CLOSE) {
            break;
        }
    }
    ended.store(true, Ordering::Relaxed);
}

/// How a connection begins: mostly as it should, so that what follows is looked at.
fn greeting(random: &mut Random) -> Vec<u8> {
    let greetings = seeds::greetings();
    let mut said = match random.below(8) {
        0 => greetings[4].clone(),
        1 => greetings.concat(),
        2 => random.bytes(20),
        _ => {
            let mut out = BytesMut::new();
            let init = SaslInit {
                mechanism: sasl::PLAIN,
                initial_response: Some(Bytes::from(format!("\0{ATTACKER_RULE}\0{KEY}"))),
                hostname: None,
            };
            write_sasl(&mut out, &SaslFrame::Init(init));
            [&greetings[0][..], &out, &greetings[4]].concat()
        }
    };
    // Open, begin and two links, so that most frames have something to be about.
    if !random.once_in(5) {
        said.extend(seeds::frames()[..4].concat());
    }
    if random.once_in(20) {
        mutate(&mut said, &[], 4096, random);
    }
    said
}

/// A frame: as it should be, changed with its size put right, or changed anywhere; the ones that end everything are rare.
fn frame(frames: &[Vec<u8>], changed_of_100: usize, random: &mut Random) -> Vec<u8> {
    let enders = 3;
    let most = if random.once_in(30) { frames.len() } else { frames.len() - enders };
    let mut frame = frames[random.below(most)].clone();
    let other = frames[random.below(frames.len())].clone();
    match random.below(100) {
        roll if roll >= changed_of_100 => {}
        // So that the frames behind it are found.
        roll if roll >= changed_of_100 / 4 => {
            let mut body = frame.split_off(8.min(frame.len()));
            mutate(&mut body, &other, 4096, random);
            frame.extend(body);
            let size = u32::try_from(frame.len()).unwrap_or(u32::MAX).to_be_bytes();
            frame[..4].copy_from_slice(&size);
        }
        _ => mutate(&mut frame, &other, 4096, random),
    }
    frame
}

/// Receives with all the credit there is, and never reads.
async fn never_reads(field: Arc<Field>) {
    let mut kept = Vec::new();
    while !field.over.load(Ordering::Relaxed) {
        if kept.len() < 20
            && let Ok(mut peer) = Peer::connect(field.address, LISTENER_RULE, KEY).await
        {
            field.connections.fetch_add(1, Ordering::Relaxed);
            if let Ok(link) = peer.receiver(GOOD_HUB, kept.len() as u32 % PARTITIONS).await {
                let _ = peer.engine.grant_credit(link, 1_000_000);
                let _ = peer.write().await;
            }
            kept.push(peer);
        }
        tick().await;
    }
}

/// Sends events one after the other to a partition of its own, reads each again, and answers how many there were.
async fn behave(field: Arc<Field>, partition: u32) -> anyhow::Result<(u32, u64)> {
    let mut peer = Peer::connect(field.address, GOOD_RULE, KEY).await?;
    let sender = peer.sender(GOOD_HUB, partition).await?;
    let receiver = peer.receiver(GOOD_HUB, partition).await?;
    peer.engine.set_credit_policy(receiver, CreditPolicy::Window(100))?;
    let mut acknowledged = 0;
    let mut read = 0;
    while !field.over.load(Ordering::Relaxed) {
        let message = MessageBuilder::new().data(body(partition, acknowledged)).encode();
        let sent = peer.engine.send(sender, &Outgoing::default(), &[Part::Share(&message)])?;
        let mut is_acknowledged = false;
        while !is_acknowledged || read <= acknowledged || !peer.engine.can_send(sender) {
            match peer.engine.next_event() {
                Some(Event::Settled { first, last, state, .. }) if (first..=last).contains(&sent) => {
                    ensure!(state == Some(DeliveryState::Accepted), "an event was not accepted: {state:?}");
                    is_acknowledged = true;
                }
                Some(Event::Delivery(delivery)) => {
                    let message = Message::parse(delivery.payload)?;
                    ensure!(
                        message.data() == Some(body(partition, read)),
                        "event {read} is not what was sent"
                    );
                    read += 1;
                }
                Some(Event::Closed(ending)) => bail!("a client that behaves was cut: {ending:?}"),
                Some(Event::Detached { error, .. }) => bail!("a link was detached: {error:?}"),
                Some(_) => {}
                None => peer.moved().await?,
            }
        }
        acknowledged += 1;
    }
    Ok((partition, acknowledged))
}
