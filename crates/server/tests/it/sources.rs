//! Hubs of others: one program's function reads another program's hub, over AMQP.

use serde_json::{Value, json};

use crate::support::{Place, Refused, Server, started};

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
