//! A full disk: producers are refused, functions wait, nothing is lost, and everything goes on when there is room.
//!
//! The data directory is a small file system in memory. It takes the right to mount one: elsewhere these tests say
//! that they did not run.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::ledger::{Random, body, check_log, check_results, line};
use crate::support::{Client, Place, Server, objects, text, wait_until};

/// Two attempts, at once one after the other: an outage that used them up would show quickly.
const CONFIG: &str = "[hub.h]\npartitions = 2\n\
                      [function.f]\nhub = \"h\"\nkind = \"upsert\"\nkey = \"/id\"\nmax_event_batch_size = 64\n\
                      retry = { strategy = \"fixed\", max_attempts = 2, delay = \"1ms\" }\n\
                      [processor]\ndrain_timeout = \"1s\"\n";

const FIRST_LINES: usize = 2000;
const ALL_LINES: usize = 40_000;

/// A small file system in memory, unmounted when dropped.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one, or says on standard output why not.
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let options = format!("size={size}");
        match run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at)) {
            Ok(()) => Some(Self { at }),
            Err(reason) => {
                println!("not run: a small file system cannot be mounted here: {reason}");
                None
            }
        }
    }

    /// Gives it another size.
    fn resize(&self, size: &str) {
        run(Command::new("mount").arg("-o").arg(format!("remount,size={size}")).arg(&self.at)).unwrap();
    }

    /// Fills what is left of it, to the last page, with somebody else's data.
    fn fill(&self) {
        let path = self.at.join("ballast");
        let mut ballast: File = OpenOptions::new().create(true).append(true).open(path).unwrap();
        while ballast.write_all(&[1; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.at));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(text(&output.stderr)) }
}

/// A server whose disk became full while it was publishing and processing.
struct Full {
    server: Server,
    /// The lines of the file.
    lines: Vec<Vec<u8>>,
    /// The lines of the file that are durable, as `tidegate send` said.
    acknowledged: Vec<Vec<u8>>,
    /// What it said to go on with.
    resume: String,
}

/// Publishes and processes a little, then fills the disk, then publishes until that is refused.
fn fill_while_working(place: &Place, disk: &SmallDisk) -> Full {
    let mut random = Random(7);
    let lines: Vec<Vec<u8>> = (0..ALL_LINES as u64).map(|number| line(&mut random, number)).collect();
    let first = place.write("first.ndjson", &lines[..FIRST_LINES].join(&b'\n'));
    let file = place.write("lines.ndjson", &lines.join(&b'\n'));
    let server = place.serve();
    place.ok(&format!("send h --key /id --file {}", first.display()));
    place.caught_up(FIRST_LINES as u64);

    // From here on nothing can be committed, while the log still has the room that it wrote ahead.
    disk.fill();
    let send = format!("send h --key /id --rate 10000 --skip {FIRST_LINES} --file {} --json", file.display());
    let sent = place.run(&send);
    assert_eq!(sent.status.code(), Some(1));
    let said = text(&sent.stderr);
    assert!(said.contains("error[TG-303]") && said.contains("free some space"), "{said}");
    let durable = usize::try_from(objects(&text(&sent.stdout))[0]["acknowledged"].as_u64().unwrap()).unwrap();
    assert!(said.contains(&format!("the first {durable} lines are durable")), "{said}");
    assert!(said.contains("in the request that begins at line "), "{said}");
    let resume = said.lines().find_map(|line| line.split("resume with: tidegate ").nth(1)).unwrap();
    let resume = resume.replace(" --data-dir data", "").replace(" --rate 10000", "");
    assert!(resume.contains(&format!("--skip {durable}")), "{resume}");
    assert!((FIRST_LINES + 1..ALL_LINES).contains(&durable), "{durable}");
    Full { server, acknowledged: lines[..durable].to_vec(), lines, resume }
}

fn stored_lines(place: &Place) -> BTreeSet<Vec<u8>> {
    place.json("events read h").iter().map(body).collect()
}

/// Publishes lines one by one until one is refused; those that were acknowledged, and the refusal.
fn publish_until_refused(
    client: &Client,
    path: &str,
    content_type: &str,
    name: &str,
) -> (Vec<Vec<u8>>, u16, Value) {
    let mut acknowledged = Vec::new();
    for number in 0..100_000 {
        let line = format!("{{\"id\":\"{name}\",\"n\":{number}}}").into_bytes();
        let (status, answer) = client.request("POST", path, content_type, &line).unwrap();
        if status != 201 {
            return (acknowledged, status, serde_json::from_slice(&answer).unwrap());
        }
        acknowledged.push(line);
    }
    panic!("the disk does not get full");
}

/// How many events have failed attempts on record.
fn attempts_on_record(data: &Path) -> i64 {
    let store = data.join("store/state.db");
    let connection = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    connection.query_row("SELECT count(*) FROM attempts", [], |row| row.get(0)).unwrap()
}

/// Goes on after room was made, to the end, and checks everything.
fn go_on(place: &Place, server: Server, resume: &str, acknowledged: &[Vec<u8>]) {
    // What was published before is processed without anybody's help.
    place.caught_up(place.json("events read h").len() as u64);
    place.ok(resume);
    let events = place.json("events read h");
    place.caught_up(events.len() as u64);
    check_log(&events, acknowledged);
    check_results(place, &events);
    assert!(server.terminate().success());
    assert_eq!(place.run("audit").status.code(), Some(0));
    assert_eq!(place.run("fsck").status.code(), Some(0));
    check_results(place, &events);
}

#[test]
fn producers_are_refused_functions_wait_and_both_go_on_when_there_is_room() {
    let place = Place::new(CONFIG);
    let Some(disk) = SmallDisk::mount(place.data(), "16m") else { return };
    let Full { mut server, lines, mut acknowledged, resume } = fill_while_working(&place, &disk);

    // The count was exact: those lines are stored, and the next one is not.
    let stored = stored_lines(&place);
    assert!(acknowledged.iter().all(|line| stored.contains(line)));
    assert!(!stored.contains(&lines[acknowledged.len()]));

    // Whatever way events come, they are refused alike.
    let client = server.client(place.key());
    for (path, content_type, name) in [
        ("/h/partitions/0/messages", "application/json", "by one"),
        ("/h/partitions/1/messages", "application/x-ndjson", "by line"),
    ] {
        let (more, status, answer) = publish_until_refused(&client, path, content_type, name);
        acknowledged.extend(more);
        assert_eq!(status, 507, "{answer}");
        assert_eq!(answer["code"], "TG-303");
        let told = |field: &str| answer[field].as_str().unwrap().to_owned();
        assert!(told("detail").contains("free some space"), "{answer}");
        assert!(told("action").contains("when the server has free space"), "{answer}");
    }

    // Both lanes wait, and say for what; nothing is held against their events.
    let waits = |lane: &Value| {
        lane["state"] == "waiting"
            && lane["error"].as_str().is_some_and(|error| error.contains("disk is full"))
    };
    wait_until("both lanes wait for room", || place.json("checkpoints").iter().all(waits));
    let (before, dead_letters) = (place.json("checkpoints"), place.json("dead-letters list"));
    // Longer than what was refused just now.
    let line = format!("{{\"id\":\"{}\"}}\n", "no room ".repeat(10));
    for _ in 0..5 {
        assert!(!client.publish("h", "?key=/id", line.as_bytes()));
    }
    let after = place.json("checkpoints");
    for (before, after) in before.iter().zip(&after) {
        assert!(waits(after) && after["lag"].as_u64().unwrap() > 0, "{after}");
        assert_eq!(before["position"], after["position"]);
    }
    assert_eq!(place.json("dead-letters list"), dead_letters);
    assert_eq!(attempts_on_record(&place.data()), 0);
    assert!(server.is_alive());
    assert_eq!(
        client.request("GET", "/health", "text/plain", b"").unwrap().0,
        200,
        "a restart would not help"
    );

    disk.resize("128m");
    let events = stored_lines(&place).len();
    go_on(&place, server, &resume, &acknowledged);
    assert!(events > acknowledged.len() / 2);
}

/// Tries to start a server on a full disk: it says what is wrong and ends.
fn assert_refuses_to_start(place: &Place) {
    let refused = place.try_serve().err().expect("there is no room to take the lanes over");
    assert_eq!(refused.status.code(), Some(1), "{}", refused.said);
    let said = refused.said;
    assert!(said.contains("error[TG-303]") && said.contains("help: free some space"), "{said}");
}

#[test]
fn a_server_that_is_killed_or_stopped_on_a_full_disk_comes_up_when_there_is_room() {
    for is_killed in [true, false] {
        let place = Place::new(CONFIG);
        let Some(disk) = SmallDisk::mount(place.data(), "16m") else { return };
        let Full { server, acknowledged, resume, .. } = fill_while_working(&place, &disk);
        let events = stored_lines(&place).len();
        if is_killed {
            server.kill();
        } else {
            let (status, log) = server.terminate_and_tell();
            assert_eq!(status.code(), Some(1), "{log}");
            assert!(log.contains("their events will be processed again"), "{log}");
            assert!(log.contains("error[TG-303]") && log.contains("help: free some space"), "{log}");
        }
        for _ in 0..3 {
            disk.fill();
            assert_refuses_to_start(&place);
        }
        disk.resize("128m");
        let server = place.serve();
        assert_eq!(stored_lines(&place).len(), events);
        go_on(&place, server, &resume, &acknowledged);
    }
}

#[test]
fn a_first_start_that_finds_no_room_leaves_nothing_that_hinders_the_next_one() {
    let place = Place::new(CONFIG);
    let Some(disk) = SmallDisk::mount(place.data(), "4k") else { return };
    let mut refused = 0;
    let server = (1..1000).find_map(|pages| {
        // Steps of a page at first, so that the disk is full at each file once; the segments are larger.
        let kib = 4 * if pages < 20 { pages } else { pages * pages / 20 };
        disk.resize(&format!("{kib}k"));
        match place.try_serve() {
            Ok(server) => Some(server),
            Err(why) => {
                assert!(
                    why.said.contains("error[TG-303]") && why.said.contains("free some space"),
                    "{kib} KiB: {}",
                    why.said
                );
                refused += 1;
                None
            }
        }
    });
    let server = server.expect("it starts when the disk is large enough");
    assert!(refused > 20, "only {refused} starts were refused");
    disk.resize("16m");
    assert!(server.client(place.key()).publish("h", "?key=/id", b"{\"id\":\"a\"}\n"));
    place.caught_up(1);
    assert!(server.terminate().success());
    assert_eq!(place.run("audit").status.code(), Some(0));
}
