//! Stopping and going on.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tidegate::Program;
use tidegate_function::{Event, FunctionDefinition, fold, json};

use crate::support::{CONFIG, Place, wait_until};

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

/// A function that is never done, and a server that would wait for it for an hour.
const HANGING: &str = "[hub.h]\npartitions = 1\n\
                       [function.hanging]\nhub = \"h\"\nkind = \"rust\"\ntimeout = \"1h\"\n\
                       [processor]\ndrain_timeout = \"1h\"\n";

/// Names the directory of a test to the process that is its server.
const SERVER_OF: &str = "TIDEGATE_TEST_SERVER_OF";

/// The function; it says that it was entered by a file.
fn hanging() -> FunctionDefinition {
    fold("hanging").decode(json::<Value>).key(|_: &Value| "one".to_owned()).apply(
        |_: Option<Value>, _: Value, _: &Event| -> Value {
            let place = std::env::var_os(SERVER_OF).expect("this is the server's process");
            std::fs::write(Path::new(&place).join("entered"), "").expect("write a file");
            loop {
                std::thread::park();
            }
        },
    )
}

/// The server with that function. Its own process, because signals are for a whole process: this test program again,
/// with this test alone.
fn hanging_server(place: &Place) -> Child {
    let this_test = "drain::a_second_signal_ends_a_stop_that_hangs";
    Command::new(std::env::current_exe().expect("this test program"))
        .args(["--exact", this_test, "--nocapture"])
        .env(SERVER_OF, place.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// What that process does.
fn be_the_server(place: &OsStr) {
    let at = |name| Path::new(place).join(name).to_str().expect("text").to_owned();
    let (config, data) = (at("tidegate.toml"), at("data"));
    let exit = Program::new().function(hanging()).run([
        "tidegate",
        "run",
        "--config",
        &config,
        "--data-dir",
        &data,
        "--http",
        "127.0.0.1:0",
    ]);
    assert_eq!(format!("{exit:?}"), format!("{:?}", ExitCode::from(1)));
}

#[test]
fn a_second_signal_ends_a_stop_that_hangs() {
    if let Some(place) = std::env::var_os(SERVER_OF) {
        return be_the_server(&place);
    }
    let place = Place::new(HANGING);
    let file = place.write("lines.ndjson", b"{\"n\":1}\n{\"n\":2}\n");
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM), (Signal::TERM, Signal::INT)]
    {
        let mut server = hanging_server(&place);
        let signal = |signal| kill_process(Pid::from_child(&server), signal).expect("it can be signalled");
        let announced = || place.data().join("server.json").exists();
        wait_until("the server accepts work", announced);
        place.ok(&format!("send h --file {}", file.display()));
        wait_until("the function was entered", || place.path().join("entered").exists());
        signal(first);
        wait_until("the server is stopping", || !announced());
        signal(second);
        let exit = server.wait().expect("it has ended");
        assert!(exit.success(), "the program said that it did not stop cleanly");
        std::fs::remove_file(place.path().join("entered")).expect("remove a file");
    }
    // Nothing was lost, and nothing counts as done.
    let account = &place.json("audit")[0];
    assert_eq!(account["ok"], true, "{account}");
    assert_eq!((account["published"].as_u64(), account["pending"].as_u64()), (Some(6), Some(6)));
    assert_eq!(place.json("dead-letters list").len(), 0);
}
