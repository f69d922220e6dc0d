//! Hubs of others: one program's function reads another program's hub, over AMQP.

use serde_json::{Value, json};
use tidegate_clients::Azurite;

use crate::support::{Place, Refused, Server, started};
use crate::visitor::Visitor;

const THEIRS: &str = "[hub.flights]\npartitions = 4\n";

/// Reads the hub of the other program.
const OURS: &str = r#"
[source.theirs]
kind = "event-hubs"
connection_string = { file = "theirs.txt" }
hub = "flights"

[function.aircraft]
hub = "theirs"
kind = "upsert"
key = "/icao24"
collection = "aircraft"
max_event_batch_size = 100
"#;

fn start(place: &Place, amqp: &str) -> (Server, Value) {
    started(place.command(&format!("run --http 127.0.0.1:0 --amqp {amqp} --json")))
}

fn send(place: &Place, rounds: std::ops::Range<u32>) -> u64 {
    let mut lines = String::new();
    for round in rounds.clone() {
        for aircraft in 0..20 {
            lines.push_str(&format!("{{\"icao24\":\"a{aircraft}\",\"round\":{round}}}\n"));
        }
    }
    let file = place.write("lines.ndjson", lines.as_bytes());
    place.ok(&format!("send flights --key /icao24 --file {}", file.display()));
    u64::from(rounds.end - rounds.start) * 20
}

fn rounds_of(place: &Place) -> Vec<u64> {
    let documents = place.json("documents list aircraft");
    documents.iter().map(|document| document["document"]["round"].as_u64().unwrap()).collect()
}

#[test]
fn a_function_reads_the_hub_of_another_program_through_all_its_restarts() {
    let (theirs, ours) = (Place::new(THEIRS), Place::new(OURS));
    let (their_server, said) = start(&theirs, "127.0.0.1:0");
    let amqp = said["amqp"].as_str().unwrap().to_owned();
    let address = amqp.split("://").last().unwrap().to_owned();
    ours.write("theirs.txt", said["connection_string"].as_str().unwrap().as_bytes());
    let mut published = send(&theirs, 0..20);
    let our_server = ours.serve();
    ours.caught_up(published);
    assert_eq!(rounds_of(&ours), [19; 20]);

    // Theirs ends without a word, and comes back with more.
    their_server.kill();
    let (their_server, _) = start(&theirs, &address);
    published += send(&theirs, 20..40);
    ours.caught_up(published);
    assert_eq!(rounds_of(&ours), [39; 20]);

    // Ours ends without a word, and goes on where its store says.
    our_server.kill();
    published += send(&theirs, 40..60);
    let our_server = ours.serve();
    ours.caught_up(published);
    assert_eq!(rounds_of(&ours), [59; 20]);
    let account = &ours.json("audit")[0];
    assert_eq!((&account["ok"], &account["applied"]), (&json!(true), &json!(published)));
    assert_eq!((&account["hub"], &account["lost"]), (&json!("theirs"), &json!(0)));
    assert!(our_server.terminate().success());
    assert!(their_server.terminate().success());
}

#[test]
fn a_source_that_is_away_at_the_start_comes_and_goes_and_comes_back() {
    let theirs = Place::new(THEIRS);
    let (their_server, said) = start(&theirs, "127.0.0.1:0");
    let address = said["amqp"].as_str().unwrap().split("://").last().unwrap().to_owned();
    let mut published = send(&theirs, 0..20);
    their_server.kill();

    // Ours starts without it, and the function on its own hub runs meanwhile.
    let ours = Place::new(&format!(
        "{OURS}\n[hub.own]\n[function.own]\nhub = \"own\"\nkind = \"upsert\"\nkey = \"/id\"\ncollection = \"own\"\n"
    ));
    ours.write("theirs.txt", said["connection_string"].as_str().unwrap().as_bytes());
    let our_server = ours.serve();
    let body = ours.write("own.ndjson", b"{\"id\":\"1\"}\n");
    ours.ok(&format!("send own --file {}", body.display()));
    crate::support::wait_until("the function on our own hub has run", || {
        ours.json("documents list own").len() == 1
    });
    // Nobody can take its name for a hub meanwhile.
    let refused = ours.run("hubs create theirs");
    let said = crate::support::text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("theirs is the name of a source"), "{said}");

    let (their_server, _) = start(&theirs, &address);
    let caught_up = |published: u64| {
        crate::support::wait_until("everything of theirs is resolved", || {
            // Until the source has come, it cannot be accounted for.
            let accounts = crate::support::objects(&crate::support::text(&ours.run("audit --json").stdout));
            accounts.iter().any(|account| account["hub"] == "theirs" && account["applied"] == published)
        });
    };
    caught_up(published);
    assert_eq!(rounds_of(&ours), [19; 20]);
    their_server.kill();
    let (their_server, _) = start(&theirs, &address);
    published += send(&theirs, 20..40);
    caught_up(published);
    assert_eq!(rounds_of(&ours), [39; 20]);

    // Nothing is lost, and nothing was applied twice.
    let accounts = ours.json("audit");
    let of_source = accounts.iter().find(|account| account["hub"] == "theirs").unwrap();
    assert_eq!((&of_source["ok"], &of_source["applied"]), (&json!(true), &json!(published)));
    assert_eq!(ours.json("documents list own").len(), 1);
    assert!(our_server.terminate().success());
    assert!(their_server.terminate().success());
}

#[test]
fn whoever_is_not_let_in_is_told_so_at_the_start() {
    let (theirs, ours) = (Place::new(THEIRS), Place::new(OURS));
    let (_server, said) = start(&theirs, "127.0.0.1:0");
    let connection = said["connection_string"].as_str().unwrap();
    let key = connection.split("SharedAccessKey=").nth(1).unwrap().split(';').next().unwrap();
    ours.write("theirs.txt", connection.replace(key, "hush-hush").as_bytes());
    let Err(Refused { said, .. }) = ours.try_serve() else { panic!("it started") };
    assert!(said.contains("TG-401") && said.contains("[source.theirs] cannot be read"), "{said}");
    assert!(!said.contains("hush-hush"), "{said}");
}

#[test]
fn two_sources_of_one_consumer_group_are_refused_where_a_partition_has_one_reader() {
    let theirs = Place::new(&format!("{THEIRS}consumer_groups = [\"second\"]\n"));
    let (_server, said) = start(&theirs, "127.0.0.1:0");
    let connection = said["connection_string"].as_str().unwrap();
    let second = "\n[source.again]\nkind = \"event-hubs\"\nconnection_string = { file = \"theirs.txt\" }\n\
                  hub = \"Flights\"\nowner_level = 0\nconsumer_group = \"$default\"\n\
                  [function.again]\nhub = \"again\"\nkind = \"upsert\"\nkey = \"/icao24\"\ncollection = \"again\"\n";
    let ours = Place::new(&format!("{OURS}{second}"));
    ours.write("theirs.txt", connection.as_bytes());
    let Err(Refused { said, .. }) = ours.try_serve() else { panic!("it started") };
    for part in ["[source.again] and [source.theirs]", "same consumer group", "`consumer_group` of its own"] {
        assert!(said.contains(part), "{part}: {said}");
    }

    // With the help that is given, both get everything; without an owner level they may share the group.
    let published = send(&theirs, 0..5);
    for mended in [second.replace("$default", "second"), second.replace("owner_level = 0\n", "")] {
        let ours = Place::new(&format!("{OURS}{mended}"));
        ours.write("theirs.txt", connection.as_bytes());
        let _server = ours.serve();
        crate::support::wait_until("both have everything", || {
            let accounts = ours.json("audit");
            accounts.len() == 2 && accounts.iter().all(|account| account["applied"] == published)
        });
    }
}

/// Reads the checkpoints of a container with the official client: its partitions and their sequence numbers.
const LIST: &str = r#"
const { ContainerClient } = require("@azure/storage-blob");
const { BlobCheckpointStore } = require("@azure/eventhubs-checkpointstore-blob");
const store = new BlobCheckpointStore(new ContainerClient(process.argv[2], "checkpoints"));
const [command, from] = [process.argv[3], process.argv[4]];
(async () => {
    const group = { fullyQualifiedNamespace: "127.0.0.1", eventHubName: "flights", consumerGroup: "$Default" };
    if (command === "write") {
        for (let partition = 0; partition < 4; partition++) {
            await store.updateCheckpoint({ ...group, partitionId: String(partition), offset: from, sequenceNumber: Number(from) });
        }
    }
    const all = await store.listCheckpoints("127.0.0.1", "flights", "$Default");
    console.log(JSON.stringify(all.map((one) => [one.partitionId, one.sequenceNumber, one.offset])));
})();
"#;

/// Runs the official client.
fn official_client(azurite: &Azurite, container: &str, words: &[&str]) -> Vec<Value> {
    let place = tempfile::tempdir().unwrap();
    let script = place.path().join("list.js");
    std::fs::write(&script, LIST.replace("\"checkpoints\"", &format!("{container:?}"))).unwrap();
    let output = std::process::Command::new("node")
        .arg(&script)
        .arg(azurite.connection_string())
        .args(words)
        .env("NODE_PATH", azurite.modules())
        .output()
        .unwrap();
    let said = crate::support::succeeded(output, "the official client");
    serde_json::from_str(&said).unwrap()
}

#[test]
fn checkpoints_are_exchanged_with_the_official_clients_as_blobs() {
    let Some(azurite) = Azurite::for_test() else { return };
    let config = OURS.replace(
        "hub = \"flights\"",
        "hub = \"flights\"\ncheckpoint_blobs = { connection_string = { file = \"storage.txt\" }, container = \"checkpoints\", claim_interval = \"1s\" }",
    );
    let theirs = Place::new(THEIRS);
    let (their_server, said) = start(&theirs, "127.0.0.1:0");
    let ours = Place::new(&config);
    ours.write("theirs.txt", said["connection_string"].as_str().unwrap().as_bytes());
    ours.write("storage.txt", azurite.connection_string().as_bytes());
    let published = send(&theirs, 0..20);
    let our_server = ours.serve();
    ours.caught_up(published);
    // The last copies are written when it ends.
    assert!(our_server.terminate().success());
    let checkpoints = ours.json("checkpoints");
    let mut listed = official_client(&azurite, "checkpoints", &["list"]);
    listed.sort_by_key(ToString::to_string);
    let mut expected: Vec<Value> = Vec::new();
    for checkpoint in checkpoints.iter().filter(|checkpoint| checkpoint["position"] != 0) {
        let last = checkpoint["position"].as_u64().unwrap() - 1;
        expected.push(json!([checkpoint["partition"].to_string(), last, last.to_string()]));
    }
    assert_eq!(listed, expected);

    // A program without a store goes on where the blobs say: first where we were, then where the official client was.
    send(&theirs, 20..21);
    let moved = |function: &str, already: u64| {
        let moved = Place::new(&config.replace("[function.aircraft]", &format!("[function.{function}]")));
        for file in ["theirs.txt", "storage.txt"] {
            moved.write(file, &std::fs::read(ours.path().join(file)).unwrap());
        }
        let _server = moved.serve();
        crate::support::wait_until("everything else is resolved", || {
            moved.json("audit").first().is_some_and(|account| account["pending"] == 0)
        });
        let account = &moved.json("audit")[0];
        assert_eq!((&account["applied"], &account["ok"]), (&json!(published + 20 - already), &json!(true)));
    };
    moved("again", published);
    official_client(&azurite, "checkpoints", &["write", "3"]);
    moved("migrated", 4 * 4);
    assert!(their_server.terminate().success());
}

/// What a group has left in its container: the leases of an Event Processor Host, and the checkpoint of a client that keeps
/// the port in the namespace. Then it lists what is there under that namespace, and the host's leases.
const EARLIER: &str = r#"
const { ContainerClient } = require("@azure/storage-blob");
const { BlobCheckpointStore } = require("@azure/eventhubs-checkpointstore-blob");
const [connection, namespace, command] = process.argv.slice(1);
const container = new ContainerClient(connection, "earlier");
const store = new BlobCheckpointStore(container);
const group = { fullyQualifiedNamespace: namespace, eventHubName: "flights", consumerGroup: "$Default" };
const lease = (partition) => container.getBlockBlobClient(`127.0.0.1/flights/$Default/${partition}`);
(async () => {
    if (command === "write") {
        await container.createIfNotExists();
        for (const partition of ["0", "1"]) {
            const body = JSON.stringify({ PartitionId: partition, Owner: "o", Token: "t", Epoch: 3, Offset: "3", SequenceNumber: 3 });
            await lease(partition).upload(body, body.length);
        }
        await store.updateCheckpoint({ ...group, partitionId: "2", offset: "2", sequenceNumber: 2 });
    }
    const leases = await Promise.all(["0", "1"].map(async (of) => JSON.parse((await lease(of).downloadToBuffer()).toString()).SequenceNumber));
    const known = await store.listCheckpoints(namespace, "flights", "$Default");
    console.log(JSON.stringify([leases, known.map((one) => [one.partitionId, one.sequenceNumber])]));
})();
"#;

#[test]
fn functions_begin_where_an_event_processor_host_or_a_client_that_keeps_the_port_was() {
    let Some(azurite) = Azurite::for_test() else { return };
    let theirs = Place::new(THEIRS);
    let (_their_server, said) = start(&theirs, "127.0.0.1:0");
    let connection = said["connection_string"].as_str().unwrap();
    let namespace = said["amqp"].as_str().unwrap().split("://").last().unwrap().to_owned();
    let client = |command: &str| -> Value {
        let output = std::process::Command::new("node")
            .args(["-e", EARLIER, &azurite.connection_string(), &namespace, command])
            .env("NODE_PATH", azurite.modules())
            .output()
            .unwrap();
        serde_json::from_str(&crate::support::succeeded(output, "the official client")).unwrap()
    };
    assert_eq!(client("write"), json!([[3, 3], [["2", 2]]]));
    let published = send(&theirs, 0..20);
    let program = |prefix: &str| {
        let blobs = format!(
            "hub = \"flights\"\ncheckpoint_blobs = {{ connection_string = {{ file = \"storage.txt\" }}, container = \"earlier\", \
             claim_interval = \"1s\"{prefix} }}"
        );
        let ours = Place::new(&OURS.replace("hub = \"flights\"", &blobs));
        ours.write("theirs.txt", connection.as_bytes());
        ours.write("storage.txt", azurite.connection_string().as_bytes());
        let server = ours.serve();
        crate::support::wait_until("everything else is resolved", || {
            ours.json("audit").first().is_some_and(|account| account["pending"] == 0)
        });
        let account = &ours.json("audit")[0];
        assert_eq!((&account["applied"], &account["ok"]), (&json!(published - 4 - 4 - 3), &json!(true)));
        let (status, log) = server.terminate_and_tell();
        assert!(status.success());
        log
    };
    // What other clients wrote is found at the start, and a person is told how to share with them.
    let prefix = format!("{namespace}/flights/$default");
    let log = program("");
    assert!(log.contains("names its blobs otherwise") && log.contains(&prefix), "{log}");
    assert_eq!(client("list"), json!([[3, 3], [["2", 2]]]), "nobody writes there");
    // Named as that client names it, the group's blobs are written where it sees them.
    let log = program(&format!(", prefix = \"{prefix}\""));
    assert!(!log.contains("names its blobs otherwise"), "{log}");
    let [leases, known] = &client("list").as_array().unwrap().clone()[..] else { panic!("two lists") };
    assert_eq!(*leases, json!([3, 3]), "nobody writes leases");
    let copied: u64 = known.as_array().unwrap().iter().map(|known| known[1].as_u64().unwrap() + 1).sum();
    assert_eq!(copied, published);
}

#[test]
fn a_source_that_is_away_is_named_with_what_is_known_of_it() {
    let (theirs, ours) = (Place::new(THEIRS), Place::new(OURS));
    let (their_server, said) = start(&theirs, "127.0.0.1:0");
    let amqp = said["amqp"].as_str().unwrap().split("://").last().unwrap().to_owned();
    ours.write("theirs.txt", said["connection_string"].as_str().unwrap().as_bytes());
    let published = send(&theirs, 0..20);
    let our_server = ours.serve();
    ours.caught_up(published);
    let there = &ours.json("hubs list")[0];
    assert_eq!((&there["source"], &there["state"]), (&json!("theirs"), &json!("there")));
    assert_eq!(there["functions"], json!(["aircraft"]));
    assert_eq!(there["partitions"].as_array().unwrap().len(), 4);
    assert!(our_server.terminate().success());
    their_server.kill();

    // Nobody runs: the name and the checkpoints are known.
    let audit = ours.run("audit --json");
    let account = &crate::support::objects(&crate::support::text(&audit.stdout))[0];
    assert_eq!((&account["hub"], &account["source"]["state"]), (&json!("theirs"), &json!("not-read")));
    assert_eq!((&account["applied"], &account["pending"]), (&json!(published), &json!(0)));
    let said = crate::support::text(&audit.stderr);
    assert!(audit.status.code() == Some(1) && said.contains("TG-504"), "{:?} {said}", audit.status);
    assert!(said.contains("the source theirs is not-read"), "{said}");

    // It starts without the source, and says so wherever one looks.
    let our_server = ours.serve();
    let listed = &ours.json("hubs list")[0];
    assert_eq!((&listed["source"], &listed["state"]), (&json!("theirs"), &json!("away")), "{listed}");
    assert!(listed["since"].is_string() && listed["problem"].as_str().unwrap().contains(&amqp), "{listed}");
    let overview = our_server.client(ours.key()).ask("GET", "/api/v1/overview", &[], b"").json();
    let hub = &overview["hubs"][0];
    assert_eq!(
        (&hub["hub"], &hub["away"], &hub["status"]["state"]),
        (&json!("theirs"), &json!(true), &json!("away"))
    );
    assert!(hub["status"]["problem"].as_str().unwrap().contains(&amqp), "{hub}");
    let status = ours.run("status");
    let said = crate::support::text(&status.stdout);
    assert!(said.contains("the source theirs is away since"), "{said}");
    for page in ["/", "/hubs", "/hubs/theirs"] {
        let shown = Visitor::at(&our_server.http).get(page);
        assert!(shown.status == 200 && shown.body.contains("cannot be reached"), "{page}: {}", shown.body);
        assert!(shown.body.contains(&amqp), "{page} says why: {}", shown.body);
    }
    let positions = listed["partitions"].as_array().unwrap().iter();
    let ready = our_server.client(ours.key()).ask("GET", "/ready", &[], b"");
    assert_eq!(ready.status, 503);
    assert!(ready.json()["problems"][0].as_str().unwrap().starts_with("the source theirs is away since"));
    let resolved: u64 =
        positions.map(|partition| partition["checkpoints"][0]["position"].as_u64().unwrap()).sum();
    assert_eq!(resolved, published);
    let shown = crate::support::text(&ours.run("hubs list").stdout);
    assert!(shown.contains("theirs") && shown.contains("away since"), "{shown}");
    for words in ["audit", "audit theirs", "audit --deep"] {
        let audit = ours.run(words);
        let said = crate::support::text(&audit.stderr);
        assert_eq!(audit.status.code(), Some(1), "{words}: {said}");
        for part in ["TG-504", "the source theirs is away since", "up to its checkpoints"] {
            assert!(said.contains(part), "{words}, {part}: {said}");
        }
    }
    let refused = ours.run("hubs show theirs");
    let said = crate::support::text(&refused.stderr);
    assert!(said.contains("the source theirs is away since"), "{said}");
    let unknown = crate::support::text(&ours.run("audit nobody").stderr);
    assert!(unknown.contains("there is no hub"), "{unknown}");

    // It comes back, and all is as it was.
    let (their_server, _) = start(&theirs, &amqp);
    crate::support::wait_until("the source is there", || ours.json("hubs list")[0]["state"] == "there");
    crate::support::wait_until("it is accounted for", || ours.run("audit").status.code() == Some(0));

    // It goes while it is read: it is said to be away, and what is known of it stays.
    their_server.kill();
    crate::support::wait_until("it is away", || ours.json("hubs list")[0]["state"] == "away");
    let listed = &ours.json("hubs list")[0];
    assert!(listed["since"].is_string() && listed["partitions"][0]["tail"].is_u64(), "{listed}");
    crate::support::wait_until("the overview says so", || {
        let overview = our_server.client(ours.key()).ask("GET", "/api/v1/overview", &[], b"").json();
        overview["hubs"][0]["away"] == true && overview["hubs"][0]["partitions"] == 4
    });
    let shown = Visitor::at(&our_server.http).get("/hubs/theirs");
    assert!(
        shown.body.contains("cannot be reached") && shown.body.contains("As it was known last"),
        "{}",
        shown.body
    );
    assert!(our_server.terminate().success());
}

#[test]
fn a_reader_that_takes_a_partition_ends_the_lane_and_the_message_says_who() {
    let Some(azurite) = Azurite::for_test() else { return };
    let (theirs, ours) = (
        Place::new(THEIRS),
        Place::new(&OURS.replace("hub = \"flights\"", "hub = \"flights\"\nowner_level = 3")),
    );
    let (_their_server, said) = start(&theirs, "127.0.0.1:0");
    let connection = said["connection_string"].as_str().unwrap();
    ours.write("theirs.txt", connection.as_bytes());
    let mut published = send(&theirs, 0..20);
    let our_server = ours.serve();
    ours.caught_up(published);

    // The official client reads partition 0 with a higher owner level, and stays.
    const THIEF: &str = r#"
const { EventHubConsumerClient, latestEventPosition } = require("@azure/event-hubs");
const client = new EventHubConsumerClient("$Default", process.argv[1], "flights");
let began = false;
client.subscribe("0", {
  processEvents: async () => { if (!began) { began = true; console.log("reads"); } },
  processError: async (error) => console.log(String(error)),
}, { ownerLevel: 9, startPosition: latestEventPosition, maxWaitTimeInSeconds: 0.2 });
"#;
    let mut thief = std::process::Command::new("node")
        .args(["-e", THIEF, connection])
        .env("NODE_PATH", azurite.modules())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut lines = std::io::BufReader::new(thief.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut said).unwrap();
    assert_eq!(said.trim(), "reads");

    published += send(&theirs, 20..40);
    let lane_0 = || ours.json("checkpoints").into_iter().find(|lane| lane["partition"] == 0).unwrap();
    crate::support::wait_minutes(3, "the lane has ended", || lane_0()["state"] == "stopped");
    let lane = lane_0();
    let said = lane.to_string();
    for part in
        ["TG-307", "was taken over by another reader", "epoch of '9'", "owner level 3", "amqp:link:stolen"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    // The others go on, and nothing of its events is resolved by that.
    crate::support::wait_until("the others are done", || {
        let lanes = ours.json("checkpoints");
        lanes.iter().all(|lane| lane["partition"] == 0 || lane["position"] == lane["tail"])
    });
    let account = &ours.json("audit")[0];
    assert_eq!(account["ok"], true, "{account}");
    let (applied, pending) = (account["applied"].as_u64().unwrap(), account["pending"].as_u64().unwrap());
    assert!(pending > 0 && applied + pending == published, "{account}");

    // When the other one has gone, a restart takes it back.
    thief.kill().unwrap();
    thief.wait().unwrap();
    assert!(our_server.terminate().success());
    let _our_server = ours.serve();
    ours.caught_up(published);
}
