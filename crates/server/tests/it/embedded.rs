//! The program with functions of its user's.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate::Program;
use tidegate_function::{Event, FunctionDefinition, fold, json};

use crate::support::{Place, wait_until};

#[derive(Deserialize)]
struct Reading {
    sensor: String,
    celsius: f64,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Sensor {
    readings: u64,
    warmest: f64,
}

fn warmest(current: Option<Sensor>, reading: Reading, _event: &Event) -> Sensor {
    let before = current.unwrap_or_default();
    Sensor { readings: before.readings + 1, warmest: before.warmest.max(reading.celsius) }
}

fn function() -> FunctionDefinition {
    fold("sensors").decode(json::<Reading>).key(|reading| reading.sensor.clone()).apply(warmest)
}

#[test]
fn a_function_of_ones_own_runs_when_the_configuration_names_it() {
    let place = Place::new(
        "[hub.readings]\npartitions = 2\n[function.sensors]\nhub = \"readings\"\nkind = \"rust\"\n",
    );
    let (config, data) = (place.path().join("tidegate.toml"), place.data());
    let (config, data) = (config.to_str().unwrap().to_owned(), data.to_str().unwrap().to_owned());

    // The plain program does not know the function, and says what it knows.
    let refused = place.run("run --http 127.0.0.1:0");
    assert_eq!(refused.status.code(), Some(2));
    assert!(crate::support::text(&refused.stderr).contains("registers no function \"sensors\""));

    let server = std::thread::spawn({
        let command_line =
            ["tidegate", "run", "--config", &config, "--data-dir", &data, "--http", "127.0.0.1:0", "--json"]
                .map(str::to_owned);
        move || Program::new().function(function()).run(command_line)
    });
    wait_until("the server accepts work", || place.data().join("server.json").exists());
    let lines =
        b"{\"sensor\":\"s1\",\"celsius\":3.5}\n{\"sensor\":\"s1\",\"celsius\":7.25}\n{\"sensor\":\"s1\"}\n";
    let file = place.write("lines.ndjson", lines);
    place.ok(&format!("send readings --key /sensor --file {}", file.display()));
    place.caught_up(3);
    assert_eq!(
        place.json("documents get sensors s1")[0]["document"],
        json!({"readings": 2, "warmest": 7.25})
    );
    assert_eq!(place.json("dead-letters list").len(), 1);

    // The server listens for signals by now; no other test of this process does.
    let this = rustix::process::getpid();
    rustix::process::kill_process(this, rustix::process::Signal::TERM).unwrap();
    let exit = server.join().unwrap();
    assert_eq!(format!("{exit:?}"), format!("{:?}", ExitCode::SUCCESS));
    assert_eq!(place.json("audit")[0]["applied"], 2);
}
