//! Programs that share the partitions of somebody else's hub through blobs in Azurite: one is killed, stopped in good order,
//! or held up, and the other goes on where the group is.
//!
//! The function writes one document an event, so that what each program has done can be seen: no event of the group is
//! missing, and which ones both have. An ETag grows with each commit of a store, which shows the order.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tidegate_clients::Azurite;

use crate::support::{Place, Server, started, wait_minutes, wait_until};

const OURS: &str = r#"
[source.theirs]
kind = "event-hubs"
connection_string = { file = "theirs.txt" }
hub = "flights"

[source.theirs.checkpoint_blobs]
connection_string = { file = "storage.txt" }
container = "handover"
claim_interval = "1s"

[function.events]
hub = "theirs"
kind = "upsert"
key = "/id"
collection = "events"
max_event_batch_size = 10
"#;

const AIRCRAFT: u32 = 40;

/// Another program's hub, and what is known of it.
struct Group {
    azurite: Azurite,
    theirs: Place,
    _their_server: Server,
    connection: String,
    sent: std::cell::Cell<u32>,
}

impl Group {
    fn new() -> Option<Self> {
        let azurite = Azurite::for_test()?;
        let theirs = Place::new("[hub.flights]\npartitions = 4\n");
        let (server, said) = started(theirs.command("run --http 127.0.0.1:0 --amqp 127.0.0.1:0 --json"));
        let connection = said["connection_string"].as_str().unwrap().to_owned();
        Some(Self { azurite, theirs, _their_server: server, connection, sent: std::cell::Cell::new(0) })
    }

    /// A program of the group.
    fn program(&self) -> Place {
        let place = Place::new(OURS);
        place.write("theirs.txt", self.connection.as_bytes());
        place.write("storage.txt", self.azurite.connection_string().as_bytes());
        place
    }

    /// Publishes so many events about each aircraft.
    fn send(&self, rounds: u32) {
        let begin = self.sent.get();
        let mut lines = String::new();
        for round in begin..begin + rounds {
            for aircraft in 0..AIRCRAFT {
                let id = format!("a{aircraft}-{round}");
                lines
                    .push_str(&format!("{{\"id\":\"{id}\",\"icao24\":\"a{aircraft}\",\"round\":{round}}}\n"));
            }
        }
        let file = self.theirs.write("lines.ndjson", lines.as_bytes());
        self.theirs.ok(&format!("send flights --key /icao24 --file {}", file.display()));
        self.sent.set(begin + rounds);
    }

    fn all(&self) -> BTreeSet<String> {
        (0..self.sent.get())
            .flat_map(|round| (0..AIRCRAFT).map(move |aircraft| format!("a{aircraft}-{round}")))
            .collect()
    }

    /// The sequence numbers that the checkpoint blobs have, by partition.
    fn checkpoints(&self) -> BTreeMap<String, u64> {
        const LIST: &str = r#"
const { ContainerClient } = require("@azure/storage-blob");
const { BlobCheckpointStore } = require("@azure/eventhubs-checkpointstore-blob");
new BlobCheckpointStore(new ContainerClient(process.argv[1], "handover"))
  .listCheckpoints("127.0.0.1", "flights", "$Default")
  .then((all) => console.log(JSON.stringify(all.map((one) => [one.partitionId, one.sequenceNumber]))));
"#;
        let output = Command::new("node")
            .args(["-e", LIST, &self.azurite.connection_string()])
            .env("NODE_PATH", self.azurite.modules())
            .output()
            .unwrap();
        let listed = crate::support::succeeded(output, "the official client");
        serde_json::from_str::<Vec<(String, u64)>>(&listed).unwrap().into_iter().collect()
    }

    /// Waits until the blobs say that the group has done everything.
    fn all_is_copied(&self) {
        let everything = u64::from(self.sent.get() * AIRCRAFT);
        wait_until("the checkpoints are copied", || {
            self.checkpoints().values().map(|number| number + 1).sum::<u64>() == everything
        });
    }
}

/// The partitions that a program processes.
fn has(place: &Place) -> BTreeSet<u64> {
    let checkpoints = place.json("checkpoints");
    let owned = checkpoints.iter().filter(|lane| lane["state"] == "running");
    owned.map(|lane| lane["partition"].as_u64().unwrap()).collect()
}

/// The events that a program has processed.
fn done(place: &Place) -> BTreeSet<String> {
    let documents = place.json("documents list events");
    documents.iter().map(|document| document["id"].as_str().unwrap().to_owned()).collect()
}

/// In the order of the commits, the rounds of each aircraft only grow.
fn assert_order(place: &Place) {
    let mut by_aircraft: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for document in place.json("documents list events") {
        let body = &document["document"];
        let etag = u64::from_str_radix(document["etag"].as_str().unwrap(), 16).unwrap();
        let rounds = by_aircraft.entry(body["icao24"].as_str().unwrap().to_owned()).or_default();
        rounds.push((body["round"].as_u64().unwrap(), etag));
    }
    for (aircraft, mut rounds) in by_aircraft {
        rounds.sort_unstable();
        assert!(rounds.is_sorted_by_key(|(_, etag)| *etag), "{aircraft}: {rounds:?}");
    }
}

fn assert_account(place: &Place) {
    let account = &place.json("audit")[0];
    assert_eq!((&account["ok"], &account["lost"]), (&Value::Bool(true), &Value::from(0)), "{account}");
}

/// Both run, and each has its half.
fn two(group: &Group) -> (Place, Server, Place, Server) {
    let (one, other) = (group.program(), group.program());
    let first = one.serve();
    wait_until("the first has all", || has(&one).len() == 4);
    let second = other.serve();
    wait_until("each has two", || {
        let (one, other) = (has(&one), has(&other));
        one.len() == 2 && other.len() == 2 && one.is_disjoint(&other)
    });
    (one, first, other, second)
}

/// The log lines about partitions that were claimed, and from whom: an owner, or nobody.
fn claimed_from(log: &str) -> Vec<bool> {
    let claims = log.lines().filter(|line| line.contains("the partition is claimed"));
    claims.map(|line| line.contains("nobody")).collect()
}

#[test]
fn what_a_killed_program_had_the_other_takes_over_and_gives_back_its_share() {
    let Some(group) = Group::new() else { return };
    let (one, first, other, second) = two(&group);
    group.send(20);
    wait_until("everything is processed", || done(&one).len() + done(&other).len() == group.all().len());
    group.all_is_copied();
    let by_one = done(&one);
    first.kill();

    group.send(20);
    wait_until("the other has its partitions", || has(&other).len() == 4);
    wait_until("it has gone on with them", || by_one.len() + done(&other).len() == group.all().len());
    assert!(by_one.is_disjoint(&done(&other)), "nothing is processed twice");
    let union: BTreeSet<String> = by_one.union(&done(&other)).cloned().collect();
    assert_eq!(union, group.all());
    group.all_is_copied();

    // It comes back, and its share with it.
    let first = one.serve();
    wait_until("each has two", || has(&one).len() == 2 && has(&other).len() == 2);
    group.send(20);
    wait_until("everything is processed", || done(&one).len() + done(&other).len() == group.all().len());
    assert!(done(&one).is_disjoint(&done(&other)), "nothing is processed twice");
    for place in [&one, &other] {
        assert_order(place);
        assert_account(place);
    }
    let (status, log) = second.terminate_and_tell();
    assert!(status.success());
    // Its own first two were taken from the first one too, while that was there.
    assert_eq!(claimed_from(&log), [false; 4], "they were taken when they had expired: {log}");
    assert!(first.terminate().success());
}

#[test]
fn what_a_drained_program_had_goes_over_at_once_and_nothing_is_done_twice() {
    let Some(group) = Group::new() else { return };
    let (one, first, other, second) = two(&group);
    group.send(60);
    wait_until("the first has begun", || !done(&one).is_empty());
    assert!(first.terminate().success());
    group.send(20);
    let by_one = done(&one);
    wait_until("the other has gone on", || by_one.len() + done(&other).len() >= group.all().len());
    assert_eq!(has(&other).len(), 4);
    assert!(by_one.is_disjoint(&done(&other)), "nothing is processed twice");
    let union: BTreeSet<String> = by_one.union(&done(&other)).cloned().collect();
    assert_eq!(union, group.all());
    assert_order(&one);
    assert_order(&other);
    assert_account(&other);
    let (status, log) = second.terminate_and_tell();
    assert!(status.success());
    assert_eq!(claimed_from(&log), [false, false, true, true], "the last two were released: {log}");
}

#[test]
fn a_program_that_was_held_up_does_not_put_its_group_back() {
    let Some(group) = Group::new() else { return };
    let (one, first, other, second) = two(&group);
    group.send(20);
    wait_until("everything is processed", || done(&one).len() + done(&other).len() == group.all().len());
    group.all_is_copied();
    group.send(60);
    // Somewhere on the way, perhaps within an invocation or a commit.
    wait_until("the first is busy", || done(&one).len() > 20 * AIRCRAFT as usize / 2 + 20);
    first.signal(Signal::STOP);
    wait_until("the other has its partitions", || has(&other).len() == 4);
    group.send(20);
    let newest = format!("-{}", group.sent.get() - 1);
    wait_until("the other is done", || {
        done(&other).iter().filter(|id| id.ends_with(&newest)).count() == AIRCRAFT as usize
    });
    group.all_is_copied();
    let before = group.checkpoints();

    first.signal(Signal::CONT);
    wait_minutes(2, "each has two again", || has(&one).len() == 2 && has(&other).len() == 2);
    assert_eq!(group.checkpoints(), before, "nobody is put back");
    group.send(20);
    group.all_is_copied();
    let union: BTreeSet<String> = done(&one).union(&done(&other)).cloned().collect();
    assert_eq!(union, group.all());
    assert_order(&one);
    assert_order(&other);
    assert_account(&one);
    assert_account(&other);
    assert!(first.terminate().success());
    assert!(second.terminate().success());
}
