//! The demo.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::thread::JoinHandle;

use serde_json::json;

use crate::support::{Place, objects, program, succeeded, text, wait_until};
use crate::visitor::Visitor;

#[test]
fn the_demo_accounts_for_every_event_and_can_be_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = program();
        command.current_dir(dir.path()).args(["demo", "--json", "--data-dir", "data"]);
        objects(&succeeded(command.output().unwrap(), "demo")).remove(0)
    };
    for round in 1..=2 {
        let report = run();
        assert_eq!(report["ok"], true, "{report}");
        assert_eq!(report["published"]["events"], 60_320);
        assert_eq!(report["documents"], 63);
        let letters = &report["dead_letters"];
        assert_eq!((&letters["total"], &letters["labelled_this_run"]), (&(320 * round).into(), &320.into()));
        assert_eq!(letters["exact"], true);
        let causes = letters["by_cause"].as_array().unwrap();
        assert_eq!(causes.len(), 4);
        for cause in causes {
            assert_eq!(cause["count"], 80 * round, "{cause}");
            assert!(cause["example"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
        }
        assert_eq!(report["audit"][0]["published"], 60_320 * round);
        assert_eq!(report["checkpoints"].as_array().unwrap().len(), 8);
        assert!(report["checkpoints"].as_array().unwrap().iter().all(|one| one["lag"] == 0));
    }
    // What the demo tells to type works as it is.
    let place = Place::at(dir);
    assert_eq!(place.json("documents list aircraft").len(), 63);
    assert_eq!(place.json("audit")[0]["ok"], true);
    assert!(place.serve().terminate().success());
}

/// A demo that serves, and what it printed before.
struct Serving {
    child: Child,
    said: String,
    log: Option<JoinHandle<String>>,
}

impl Serving {
    fn start(words: &[&str], dir: &std::path::Path) -> Self {
        let mut command = program();
        command.current_dir(dir).arg("demo").args(words).args(["--serve", "--data-dir", "data"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        // Its log is read all the time, so that it never waits for a full pipe.
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = Vec::new();
            let _ = stderr.read_to_end(&mut log);
            text(&log)
        });
        let mut said = String::new();
        while !said.contains("stop with Ctrl-C") {
            if stdout.read_line(&mut said).unwrap() == 0 {
                panic!("the demo ended:\n{said}\n{}", log.join().unwrap());
            }
        }
        // Nothing more is printed, and nothing waits for a reader.
        Self { child, said, log: Some(log) }
    }

    fn printed(&self, beginning: &str) -> String {
        let line = self.said.lines().map(str::trim).find(|line| line.starts_with(beginning));
        line.unwrap_or_else(|| panic!("{beginning} is not printed:\n{}", self.said)).to_owned()
    }

    /// A browser that opened the printed link and pressed its button.
    fn signed_in(&self) -> Visitor {
        let url = self.said.lines().map(str::trim).find(|line| line.contains("/sign-in?link=")).unwrap();
        let (origin, link) = url.split_once("/sign-in").unwrap();
        let mut browser = Visitor::at(origin);
        let page = browser.get(&format!("/sign-in{link}"));
        let done = browser.post("/sign-in", &[("link", &page.field("link")), ("then", "/")]);
        assert_eq!((done.status, done.leads_to()), (303, "/"), "{}", done.body);
        browser
    }

    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let ended = self.child.wait().unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        assert!(ended.success(), "{log}");
        // What the link in it opens is nobody's business who reads the log.
        assert!(!log.contains("tgl_"), "{log}");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What somebody does who has never seen the program, with what the demo prints and the page shows.
#[test]
fn who_opens_the_printed_link_puts_right_what_failed() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Serving::start(&[], dir.path());
    let mut browser = demo.signed_in();
    let letters = browser.api("/api/v1/dead-letters?limit=1");
    let id = letters["items"][0]["id"].as_u64().unwrap();
    let page = browser.get(&format!("/dead-letters/{id}/edit"));
    let (csrf, revision) = (page.field("csrf"), page.field("revision"));
    let body = r#"{"icao24":"abc123","callsign":"mended"}"#;
    let fields = |what| {
        [
            ("csrf", csrf.as_str()),
            ("revision", revision.as_str()),
            ("form", "text"),
            ("body", body),
            ("properties", "{}"),
            ("reason", "the report was cut off"),
            ("do", what),
        ]
    };
    let address = format!("/dead-letters/{id}/edit");
    let checked = browser.post(&address, &fields("check"));
    assert!(checked.body.contains("It would be applied."), "{}", checked.body);
    let redriven = browser.post(&address, &fields("redrive"));
    assert_eq!(redriven.status, 303, "{}", redriven.body);
    wait_until("the mended event is in a document", || {
        let found = browser.get("/api/v1/collections/aircraft/documents/abc123");
        found.status == 200 && found.json()["document"]["callsign"] == "mended"
    });
    let trail = browser.api("/api/v1/trail?limit=1000");
    let session = browser.session();
    let by = |action: &str| {
        let lines = trail["items"].as_array().unwrap();
        lines.iter().any(|line| line["action"] == action && line["by"] == session["name"])
    };
    assert!(by("dead-letter.edit") && by("dead-letter.redrive"), "{trail}");
    // Who has only the address may look, and is told how to get in.
    let mut other = Visitor::at(&demo.printed("http://127.0.0.1:"));
    assert_eq!(other.session()["role"], "reader");
    let told = demo.printed("tidegate tokens sign-in-link --data-dir ");
    assert!(told.ends_with("data"), "{told}");
    assert!(other.get("/sign-in").body.contains("tidegate tokens sign-in-link --data-dir"));
    demo.stop();
}

#[test]
fn the_demo_of_an_outage_can_be_looked_at_too() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Serving::start(&["--outage"], dir.path());
    let mut browser = demo.signed_in();
    assert_eq!(browser.session()["role"], json!("operator"));
    assert_eq!(browser.get("/circuits").status, 200);
    let circuit = browser.api("/api/v1/circuits");
    assert_eq!(circuit["items"][0]["state"], "closed", "{circuit}");
    let csrf = browser.session()["csrf"].as_str().unwrap().to_owned();
    let headers = [("content-type", "application/json"), ("tidegate-csrf", csrf.as_str())];
    let pause = browser.send("POST", "/api/v1/pauses/positions/pause", &headers, r#"{"reason":"look"}"#);
    assert_eq!(pause.status, 200, "{}", pause.body);
    demo.stop();
}
