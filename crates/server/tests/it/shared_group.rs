//! A consumer group that this program and a processor of the official client for JavaScript share through blobs in Azurite.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidegate_clients::Azurite;

use crate::support::{Place, Server, started, wait_until};

const PARTITIONS: usize = 4;

const OURS: &str = r#"
[source.theirs]
kind = "event-hubs"
connection_string = { file = "theirs.txt" }
hub = "flights"

[source.theirs.checkpoint_blobs]
connection_string = { file = "storage.txt" }
container = "shared"
claim_interval = "1s"

[function.aircraft]
hub = "theirs"
kind = "upsert"
key = "/icao24"
collection = "aircraft"
"#;

/// A consumer that checkpoints everything and tells what it does, line by line, until its input ends.
const PROCESSOR: &str = r#"
const { EventHubConsumerClient, earliestEventPosition } = require("@azure/event-hubs");
const { BlobCheckpointStore } = require("@azure/eventhubs-checkpointstore-blob");
const { ContainerClient } = require("@azure/storage-blob");
const [connection, blobs] = process.argv.slice(2);
const tell = (what) => console.log(JSON.stringify(what));
const client = new EventHubConsumerClient(
  "$Default", connection, "flights", new BlobCheckpointStore(new ContainerClient(blobs, "shared")),
  { loadBalancingOptions: { strategy: "greedy", updateIntervalInMs: 1000, partitionOwnershipExpirationIntervalInMs: 6000 } });
const subscription = client.subscribe({
  processInitialize: async ({ partitionId }) => tell({ has: Number(partitionId) }),
  processClose: async (reason, { partitionId }) => tell({ left: Number(partitionId) }),
  processEvents: async (events, context) => {
    for (const event of events) tell({ partition: Number(context.partitionId), round: event.body.round });
    if (events.length > 0) await context.updateCheckpoint(events.at(-1));
  },
  processError: async (error) => tell({ error: String(error) }),
}, { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 0.2 });
process.stdin.resume();
process.stdin.on("end", async () => {
  await subscription.close();
  await client.close();
  process.exit(0);
});
"#;

struct Processor {
    child: Child,
    told: Arc<Mutex<Vec<Value>>>,
    _script: tempfile::TempDir,
}

impl Processor {
    fn start(azurite: &Azurite, connection: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let script = place.path().join("processor.js");
        std::fs::write(&script, PROCESSOR).unwrap();
        let mut child = Command::new("node")
            .arg(&script)
            .args([connection, &azurite.connection_string()])
            .env("NODE_PATH", azurite.modules())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let (lines, heard) = (BufReader::new(child.stdout.take().unwrap()).lines(), told.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, told, _script: place }
    }

    /// The partitions that it has.
    fn has(&self) -> BTreeSet<u64> {
        let mut has = BTreeSet::new();
        for line in &*self.told.lock().unwrap() {
            has.extend(line["has"].as_u64());
            if let Some(left) = line["left"].as_u64() {
                has.remove(&left);
            }
        }
        has
    }

    /// The rounds of the events that it was given, by partition.
    fn events(&self) -> Vec<(u64, u64)> {
        let told = self.told.lock().unwrap();
        told.iter().filter_map(|line| Some((line["partition"].as_u64()?, line["round"].as_u64()?))).collect()
    }

    /// Has it leave its partitions, and waits until it has ended.
    fn close(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The partitions that our program has.
fn ours_has(ours: &Place) -> BTreeSet<u64> {
    let checkpoints = ours.json("checkpoints");
    let owned = checkpoints.iter().filter(|lane| lane["state"] == "running");
    owned.map(|lane| lane["partition"].as_u64().unwrap()).collect()
}

/// Publishes an event about each of twenty aircraft in every round; how many.
fn send(theirs: &Place, rounds: std::ops::Range<u32>) -> usize {
    let mut lines = String::new();
    for round in rounds.clone() {
        for aircraft in 0..20 {
            lines.push_str(&format!("{{\"icao24\":\"a{aircraft}\",\"round\":{round}}}\n"));
        }
    }
    let file = theirs.write("lines.ndjson", lines.as_bytes());
    theirs.ok(&format!("send flights --key /icao24 --file {}", file.display()));
    rounds.len() * 20
}

fn ready(ours: &Place, server: &Server) -> Value {
    server.client(ours.key()).ask("GET", "/ready", &[], b"").json()["status"].clone()
}

#[test]
fn a_processor_of_the_official_client_and_ours_balance_and_do_not_both_process() {
    let Some(azurite) = Azurite::for_test() else { return };
    let (theirs, ours) = (Place::new("[hub.flights]\npartitions = 4\n"), Place::new(OURS));
    let (_their_server, said) = started(theirs.command("run --http 127.0.0.1:0 --amqp 127.0.0.1:0 --json"));
    let connection = said["connection_string"].as_str().unwrap();
    ours.write("theirs.txt", connection.as_bytes());
    ours.write("storage.txt", azurite.connection_string().as_bytes());
    let first = send(&theirs, 0..5);
    let our_server = ours.serve();
    let applied = || {
        let account = &ours.json("audit")[0];
        assert_eq!(account["ok"], true, "{account}");
        usize::try_from(account["applied"].as_u64().unwrap()).unwrap()
    };
    wait_until("ours, alone, has processed everything", || applied() == first);
    assert_eq!(ours_has(&ours).len(), PARTITIONS);
    // What is resolved is known to the group before the other one joins it.
    let copied = || {
        let positions: u64 =
            ours.json("checkpoints").iter().map(|lane| lane["position"].as_u64().unwrap()).sum();
        let copies: Vec<Value> = checkpoint_blobs(&azurite);
        let events: u64 = copies.iter().map(|copy| copy.as_u64().unwrap() + 1).sum();
        positions == events
    };
    wait_until("the checkpoints are copied", copied);

    let mut other = Processor::start(&azurite, connection);
    wait_until("each has two", || {
        let (ours, other) = (ours_has(&ours), other.has());
        ours.len() == 2 && other.len() == 2 && ours.is_disjoint(&other)
    });
    let second = send(&theirs, 5..10);
    wait_until("both have processed the rest", || applied() - first + other.events().len() >= second);
    assert_eq!(applied() - first + other.events().len(), second, "nothing was processed by both");
    assert!(other.events().iter().all(|(_, round)| *round >= 5), "it began where the group was");
    let shown = ours.json("checkpoints");
    assert_eq!(shown.iter().filter(|lane| lane["state"] == "unowned").count(), 2, "{shown:?}");
    assert_eq!(ready(&ours, &our_server), "ready", "what others of the group read is no trouble of ours");

    // It leaves, and ours goes on where it was: nothing is processed twice.
    let by_other = other.events().len();
    other.close();
    wait_until("ours has all again", || ours_has(&ours).len() == PARTITIONS);
    let third = send(&theirs, 10..15);
    let rounds = || {
        let documents = ours.json("documents list aircraft");
        documents.iter().map(|document| document["document"]["round"].clone()).collect::<Vec<_>>()
    };
    wait_until("the newest is applied", || rounds().iter().all(|round| *round == json!(14)));
    let account = &ours.json("audit")[0];
    assert_eq!(
        (&account["ok"], &account["pending"], &account["dead_lettered"]),
        (&json!(true), &json!(0), &json!(0))
    );
    // The lanes that came back begin anew where the group was: what is counted of them is of the third sending.
    let followed = ours.json("trail").into_iter().filter(|entry| entry["action"] == "checkpoint.follow");
    let passed_over: u64 = followed
        .map(|entry| entry["detail"]["to"].as_u64().unwrap() - entry["detail"]["from"].as_u64().unwrap())
        .sum();
    assert_eq!(passed_over, by_other as u64, "exactly what the other one did is not done again");
    assert_eq!(third, 100);

    // A program that is killed has its partitions back as soon as it runs again.
    our_server.kill();
    let our_server = ours.serve();
    wait_until("ours has all again", || ours_has(&ours).len() == PARTITIONS);
    assert!(our_server.terminate().success());
}

/// The sequence numbers of the checkpoint blobs.
fn checkpoint_blobs(azurite: &Azurite) -> Vec<Value> {
    const LIST: &str = r#"
const { ContainerClient } = require("@azure/storage-blob");
const { BlobCheckpointStore } = require("@azure/eventhubs-checkpointstore-blob");
new BlobCheckpointStore(new ContainerClient(process.argv[1], "shared"))
  .listCheckpoints("127.0.0.1", "flights", "$Default")
  .then((all) => console.log(JSON.stringify(all.map((one) => one.sequenceNumber))));
"#;
    let output = Command::new("node")
        .args(["-e", LIST, &azurite.connection_string()])
        .env("NODE_PATH", azurite.modules())
        .output()
        .unwrap();
    serde_json::from_str(&crate::support::succeeded(output, "the official client")).unwrap()
}
