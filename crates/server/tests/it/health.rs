//! What `GET /health` tells somebody who watches.

use std::process::Command;

use crate::support::{Place, Server, program, started, text, wait_until};

fn health(server: &Server) -> (u16, String) {
    let answer = server.client("none is needed".to_owned()).request("GET", "/health", "text/plain", b"");
    let (status, body) = answer.unwrap();
    (status, text(&body))
}

/// The server in a shell that lets it write files of so many kibibytes only. It is told so by an error: the signal
/// that would end it is ignored.
fn with_file_limit(place: &Place, kibibytes: u32) -> Command {
    let mut command = Command::new("bash");
    command.current_dir(place.path()).env_remove("TIDEGATE_LOG").args([
        "-c",
        "trap '' XFSZ; ulimit -f $1; shift; exec \"$@\"",
        "-",
    ]);
    command.arg(kibibytes.to_string()).arg(program().get_program());
    command.args(["run", "--http", "127.0.0.1:0", "--json", "--data-dir", "data"]);
    command
}

#[test]
fn a_log_that_has_stopped_is_unhealthy_until_a_restart() {
    let place = Place::new("[hub.h]\npartitions = 1\n");
    let (server, _) = started(with_file_limit(&place, 512));
    let client = server.client(place.key());
    assert_eq!(health(&server).0, 200);

    let lines = |n: u32| format!("{{\"n\":{n},\"pad\":\"{}\"}}\n", "x".repeat(1000)).into_bytes();
    let mut acknowledged = 0;
    wait_until("the log stops", || {
        let (status, answer) =
            client.request("POST", "/h/messages", "application/x-ndjson", &lines(acknowledged)).unwrap();
        match status {
            201 => acknowledged += 1,
            _ => assert!(text(&answer).contains("TG-302"), "{status} {}", text(&answer)),
        }
        status != 201
    });
    let (status, said) = health(&server);
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("the log takes no more events") && said.contains("restart the server"), "{said}");
    assert!(said.contains("00000000000000000000.seg"), "{said}");
    let _ = server.terminate();

    let server = place.serve();
    assert_eq!(health(&server).0, 200);
    assert!(server.client(place.key()).publish("h", "", &lines(acknowledged)));
    let stored = place.json("events read h").len();
    assert!(stored > acknowledged as usize, "{stored} of {acknowledged} and one more");
}
