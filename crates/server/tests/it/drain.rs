//! Stopping and going on.

use crate::support::{CONFIG, Place};

#[test]
fn a_terminated_server_finishes_what_is_under_way_and_goes_on_from_there() {
    let place = Place::new(CONFIG);
    let lines: String = (0..30_000).map(|n| format!("{{\"icao24\":\"a{}\",\"n\":{n}}}\n", n % 500)).collect();
    let file = place.write("lines.ndjson", lines.as_bytes());

    let server = place.serve();
    place.ok(&format!("send flights --key /icao24 --file {}", file.display()));
    // Whether or not everything is processed by now: what is committed is whole, and nothing is skipped.
    assert!(server.terminate().success());
    assert!(!place.data().join("server.json").exists());
    let account = &place.json("audit")[0];
    assert_eq!(account["ok"], true, "{account}");
    assert_eq!(account["published"], 30_000);

    let server = place.serve();
    place.caught_up(30_000);
    assert!(server.terminate().success());
    let account = &place.json("audit")[0];
    assert_eq!((account["ok"].as_bool(), account["applied"].as_u64()), (Some(true), Some(30_000)));
    let documents = place.json("documents list aircraft");
    assert_eq!(documents.len(), 500);
    for document in documents {
        let aircraft: u64 = document["id"].as_str().unwrap()[1..].parse().unwrap();
        assert_eq!(document["document"]["n"], 29_500 + aircraft);
    }
}

#[test]
fn lines_sent_without_a_server_are_processed_by_the_next_one() {
    let place = Place::new(CONFIG);
    let file = place.write("lines.ndjson", b"{\"icao24\":\"a\"}\n{\"icao24\":\"b\"}\n");
    place.ok(&format!("send flights --key /icao24 --file {}", file.display()));
    assert_eq!(place.json("events read flights").len(), 2);
    let _server = place.serve();
    place.caught_up(2);
    assert_eq!(place.json("documents list aircraft").len(), 2);
}
