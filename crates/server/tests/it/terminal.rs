//! What a person at a terminal asks: is all well, what happened to this event, what goes on.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};

use crate::dead_letters::{fails, processed};
use crate::support::{CONFIG, Place, text, wait_until};

/// A command on a terminal of 80 columns and 24 lines.
struct Screen {
    child: Child,
    keyboard: File,
    terminal: File,
    seen: Arc<Mutex<vt100::Parser>>,
    reader: Option<JoinHandle<()>>,
}

impl Screen {
    fn open(mut command: Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("it is granted");
        unlockpt(&master).expect("it is unlocked");
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("it takes a size");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let terminal = File::options().read(true).write(true).open(name.to_str().expect("a path"));
        let terminal = terminal.expect("it is opened");
        let stdio = || Stdio::from(terminal.try_clone().expect("it is shared"));
        command
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR");
        let child = command.spawn().expect("the command starts");
        let keyboard = File::from(master);
        let mut output = keyboard.try_clone().expect("it is shared");
        let seen = Arc::new(Mutex::new(vt100::Parser::new(24, 80, 0)));
        let parser = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal that nobody has open any more cannot be read.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                parser.lock().process(&bytes[..count]);
            }
        });
        Self { child, keyboard, terminal, seen, reader: Some(reader) }
    }

    fn text(&self) -> String {
        self.seen.lock().screen().contents()
    }

    fn waits_for(&self, text: &str) {
        wait_until(&format!("the screen shows {text:?}"), || self.text().contains(text));
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("keys are taken");
    }

    fn is_sent(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it can be signalled");
    }

    /// Waits for the end; how it ended. The terminal is as it was.
    fn ends(mut self) -> ExitStatus {
        let status = self.child.wait().expect("it ends");
        let modes = tcgetattr(&self.terminal).expect("the terminal tells its modes").local_modes;
        assert!(
            modes.contains(LocalModes::ICANON | LocalModes::ECHO),
            "what is typed is seen again: {modes:?}"
        );
        drop(self.terminal);
        drop(self.keyboard);
        self.reader.take().expect("it is taken once").join().expect("the reader ends");
        let seen = self.seen.lock();
        assert!(
            !seen.screen().alternate_screen() && !seen.screen().hide_cursor(),
            "the screen is given back"
        );
        status
    }
}

fn top(place: &Place) -> Screen {
    Screen::open(place.command("top"))
}

#[test]
fn top_shows_what_runs_down_to_the_event_and_gives_the_terminal_back() {
    let place = processed();
    let server = place.serve();
    let mut screen = top(&place);
    screen.waits_for("needs a person");
    screen.waits_for("aircraft");
    screen.press("\r");
    screen.waits_for("aircraft on flights");
    screen.waits_for("running");
    screen.press("d");
    screen.waits_for("EXAMPLE");
    screen.waits_for("permanent");
    screen.press("\r");
    screen.waits_for("flights/");
    screen.press("\r");
    screen.waits_for("it is");
    screen.waits_for("dead-lettered");
    screen.press("q");
    assert!(screen.ends().success());
    assert!(server.terminate().success());
}

#[test]
fn top_pauses_a_function_for_a_reason() {
    let place = processed();
    let server = place.serve();
    let mut screen = top(&place);
    screen.waits_for("aircraft");
    screen.press("p");
    screen.waits_for("a reason is needed");
    screen.press("the disk is full\r");
    screen.waits_for("aircraft is paused");
    screen.waits_for("aircraft paused");
    let paused = place.json("resume");
    assert_eq!(paused[0]["reason"], "the disk is full");
    screen.press("p");
    screen.waits_for("goes on from its checkpoint");
    screen.press("\r");
    screen.waits_for("aircraft is resumed");
    assert!(place.json("resume").is_empty());
    screen.press("\u{3}");
    assert!(screen.ends().success());
    assert!(server.terminate().success());
}

#[test]
fn top_survives_its_server_and_a_signal_gives_the_terminal_back() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let screen = top(&place);
    screen.waits_for("all is well");
    server.kill();
    screen.waits_for("no answer");
    let server = place.serve();
    screen.waits_for("all is well");
    screen.is_sent(Signal::TERM);
    assert!(screen.ends().success());
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT] {
        let screen = top(&place);
        screen.waits_for("all is well");
        screen.is_sent(signal);
        assert!(screen.ends().success(), "{signal:?}");
    }
    assert!(server.terminate().success());
}

#[test]
fn top_is_for_a_terminal_and_a_server() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let said = fails(&place, "top", 2);
    assert!(said.contains("top is for a terminal") && said.contains("tidegate status"), "{said}");
    assert!(server.terminate().success());
    let screen = top(&place);
    screen.waits_for("no server runs");
    assert_eq!(screen.ends().code(), Some(1));
}

#[test]
fn everything_that_the_console_lists_is_listed_here_as_json() {
    let place = processed();
    let server = place.serve();
    let listings = [
        "status",
        "hubs list",
        "hubs show flights",
        "events read flights --partition 0",
        "documents collections",
        "documents list aircraft",
        "documents get aircraft a1",
        "documents history aircraft a1",
        "dead-letters list",
        "dead-letters groups",
        "dead-letters trend",
        "dead-letters show 1",
        "circuit status",
        "functions",
        "functions aircraft",
        "config effective",
        "checkpoints",
        "audit",
        "logs",
        "trace --key a1",
        "tokens list",
    ];
    for words in listings {
        let output = place.run(&format!("{words} --json"));
        // `status` has a code of its own for what needs a person, which the dead letters do.
        assert!(matches!(output.status.code(), Some(0 | 4)), "{words}: {}", text(&output.stderr));
        let objects = crate::support::objects(&text(&output.stdout));
        assert!(words == "tokens list" || objects.iter().any(Value::is_object), "{words}: {objects:?}");
        // For a person it is something else.
        let told = text(&place.run(words).stdout);
        assert!(!told.trim_start().starts_with("{\"") && !told.is_empty(), "{words}: {told}");
    }
    // Of these there are none, which is said as well.
    for words in ["parked list", "alerts", "trail", "resume"] {
        assert!(place.json(words).is_empty(), "{words}");
    }
    let history = place.json("documents history aircraft a1").remove(0);
    assert_eq!(history["writers"][0]["outcome"], "resolved", "{history}");
    let trend = place.json("dead-letters trend --within 1h --buckets 4").remove(0);
    let counts =
        trend["groups"].as_array().unwrap().iter().flat_map(|group| group["counts"].as_array().unwrap());
    assert_eq!(counts.filter_map(Value::as_u64).sum::<u64>(), 3, "{trend}");
    assert!(place.ok("dead-letters trend").contains('█'));
    assert!(server.terminate().success());
}

fn status(place: &Place, code: i32) -> Value {
    let output = place.run("status --json");
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("an object")
}

/// The overview that it is made of is worked out once a second for everybody.
fn status_becomes(place: &Place, code: i32) -> Value {
    wait_until("the overview is a new one", || place.run("status").status.code() == Some(code));
    status(place, code)
}

#[test]
fn status_says_whether_all_is_well_and_what_to_do() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let well = place.run("status");
    assert_eq!(well.status.code(), Some(0), "{}", text(&well.stderr));
    assert!(text(&well.stdout).starts_with("all is well   tidegate "), "{}", text(&well.stdout));
    assert!(text(&well.stderr).contains("next: tidegate top"), "{}", text(&well.stderr));
    assert_eq!(status(&place, 0)["server"], true);
    place.ok("pause aircraft --reason later");
    let paused = status_becomes(&place, 4);
    assert_eq!(
        (&paused["well"], &paused["overview"]["functions"][0]["function"]),
        (&json!(false), &json!("aircraft"))
    );
    let need = &paused["needs"][0];
    assert!(need["what"].as_str().unwrap().starts_with("aircraft is paused since"), "{need}");
    let command = need["command"].as_str().unwrap();
    assert_eq!(command, "tidegate resume aircraft --data-dir data");
    place.program(command.trim_start_matches("tidegate "));
    assert_eq!(status_becomes(&place, 0)["needs"], json!([]));
    assert!(server.terminate().success());

    // And without a server: what waits there is waiting for one.
    let place = processed();
    let output = place.run("status");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(4), "{err}");
    assert!(out.contains("one thing needs a person") && out.contains("no server runs"), "{out}");
    assert!(out.contains("3 dead letters wait for a decision about aircraft"), "{out}");
    assert!(err.contains("next: tidegate dead-letters groups --function aircraft --data-dir data"), "{err}");
}

#[test]
fn trace_tells_an_events_story_by_its_place_or_its_key() {
    for with_server in [false, true] {
        let place = processed();
        let server = with_server.then(|| place.serve());
        let letter = place.json("dead-letters list").remove(0);
        let (partition, sequence) = (&letter["partition"], &letter["sequence_number"]);
        let words = format!("trace --hub flights --partition {partition} --sequence {sequence}");
        let told = place.ok(&words);
        assert!(told.starts_with(&format!("event flights/{partition}/{sequence}")), "{told}");
        for expected in ["published", "aircraft: dead-lettered", "rejected"] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
        let traced = place.json(&words).remove(0);
        assert_eq!(traced["functions"][0]["outcome"], "dead-lettered");

        let told = place.ok("trace --key a7");
        // Which document an event is about is known where the function runs.
        let end = if with_server { "aircraft: applied  document aircraft/a7" } else { "aircraft: resolved" };
        assert!(told.contains(end), "{told}");
        let of_key = place.json("trace --hub flights --key a7");
        assert_eq!(of_key.len(), 1);
        assert_eq!(of_key[0]["event"]["partition_key"], "a7");
        let nobody = fails(&place, "trace --key nobody", 1);
        assert!(nobody.contains("no event with the key nobody") && !nobody.contains("--within"), "{nobody}");
        let part = fails(&place, "trace --key nobody --within 1", 1);
        assert!(part.contains("TG-404") && part.contains("look through all of them with --within"), "{part}");
        if let Some(server) = server {
            assert!(server.terminate().success());
        }
    }
    let place = processed();
    assert!(fails(&place, "trace --hub flights", 2).contains("--key"));
    assert!(fails(&place, "trace --hub flights --sequence 1", 2).contains("--partition"));
    assert!(fails(&place, "trace --hub none --partition 0 --sequence 1", 1).contains("TG-404"));
}

#[test]
fn functions_alerts_and_settings_are_listed() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let table = place.ok("functions");
    assert!(table.contains("aircraft") && table.contains("upsert"), "{table}");
    assert_eq!(place.json("functions")[0]["settings"]["order"], "partition");
    let shown = place.ok("functions aircraft");
    assert!(shown.contains("settings.retry.max_attempts") && shown.contains("512"), "{shown}");
    assert!(fails(&place, "functions nobody", 1).contains("TG-404"));
    assert!(place.ok("alerts").contains("there was no alert"));
    assert!(place.ok("alerts --open").contains("no alert is open"));
    let settings = place.ok("config effective --set");
    assert!(settings.contains("partitions") && settings.contains("tidegate.toml"), "{settings}");
    assert!(!settings.contains("default"), "{settings}");
    assert!(server.terminate().success());
}

#[test]
fn shells_and_man_are_told_about_every_command() {
    let place = Place::new(CONFIG);
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run_alone(&format!("completions {shell}"));
        assert!(script.contains("dead-letters") && script.contains("status"), "{shell}");
    }
    let bash = place.write("tidegate.bash", place.run_alone("completions bash").as_bytes());
    let read = Command::new("bash").args(["-n"]).arg(&bash).output().expect("bash runs");
    assert!(read.status.success(), "{}", text(&read.stderr));
    place.run_alone("man --dir manual");
    let page =
        std::fs::read_to_string(place.path().join("manual/tidegate-dead-letters-redrive.1")).expect("a page");
    assert!(page.contains(".TH") && page.contains("redrive"), "{page}");
    assert!(place.path().join("manual/tidegate.1").exists());
}
