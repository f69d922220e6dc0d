//! Who is told, and what the link in a mail does, with a real server.

use std::net::SocketAddr;
use std::process::Output;

use tidegate_alerts::catcher::{Catcher, CaughtMail};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Receiver;

use crate::support::{Client, Place, Server, text, wait_until};

/// A mail server, with the runtime that it runs on.
pub(crate) struct Mails {
    runtime: Runtime,
    catcher: Catcher,
    mails: Receiver<CaughtMail>,
}

impl Mails {
    pub(crate) fn catch() -> Self {
        Self::catch_at(0)
    }

    pub(crate) fn catch_at(port: u16) -> Self {
        let runtime = Runtime::new().unwrap();
        let (catcher, mails) = runtime.block_on(Catcher::listen(port)).unwrap();
        Self { runtime, catcher, mails }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.catcher.address()
    }

    /// A mail that came, if there is one.
    pub(crate) fn one(&mut self) -> Option<CaughtMail> {
        self.mails.try_recv().ok()
    }

    /// The next mail whose subject has this in it.
    pub(crate) fn next(&mut self, subject: &str) -> CaughtMail {
        self.runtime.block_on(async {
            loop {
                let mail = self.mails.recv().await.expect("the mail server runs");
                if mail.header("Subject").is_some_and(|found| found.contains(subject)) {
                    return mail;
                }
            }
        })
    }

    /// A configuration that has mails sent here, with `more` in it.
    fn config(&self, more: &str) -> String {
        let function =
            "[hub.h]\npartitions = 1\n[function.f]\nhub = \"h\"\nkind = \"upsert\"\nkey = \"/id\"\n";
        format!("{function}{}{more}", self.email())
    }

    /// The part of a configuration that has mails sent here.
    pub(crate) fn email(&self) -> String {
        format!(
            "[email.ops]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"tidegate@example.com\"\n\
             to = [\"mia@example.com\"]\n",
            self.catcher.address().port()
        )
    }
}

pub(crate) fn link_in(mail: &CaughtMail, server: &Server) -> String {
    let text = mail.text();
    let link = text.split_whitespace().find(|word| word.contains("/restart/")).expect("a link");
    link.strip_prefix(&server.http).expect("it leads to the server").to_owned()
}

pub(crate) fn press(client: &Client, path: &str) -> (u16, String) {
    let form = "application/x-www-form-urlencoded";
    let (status, page) = client.request("POST", path, form, b"name=Mia").unwrap();
    (status, text(&page))
}

fn state(place: &Place) -> String {
    place.json("circuit status f")[0]["state"].as_str().unwrap().to_owned()
}

#[test]
fn the_link_in_the_mail_closes_the_circuit_once_and_needs_no_key() {
    let mut mails = Mails::catch();
    let place = Place::new(&mails.config(""));
    let server = place.serve();
    place.ok("circuit open f --reason test");
    let link = link_in(&mails.next("f is stopped"), &server);

    let stranger = server.client("no key".to_owned());
    let (status, page) = stranger.request("GET", &link, "text/plain", b"").unwrap();
    assert_eq!(status, 200, "{}", text(&page));
    assert_eq!(state(&place), "open", "looking changes nothing");
    assert_eq!(stranger.request("GET", "/api/v1/circuits", "text/plain", b"").unwrap().0, 401);
    let forged = format!("{}AAAA", &link[..link.len() - 4]);
    assert_eq!(press(&stranger, &forged).0, 403);
    assert_eq!(state(&place), "open");

    let seen = || {
        let overview = server.client(place.key()).ask("GET", "/api/v1/overview", &[], b"").json();
        overview["functions"][0]["circuit"]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(seen(), "open");
    assert_eq!(press(&stranger, &link).0, 200);
    assert_eq!(seen(), "closed", "what was looked at a moment before is not shown any more");
    assert_eq!(state(&place), "closed");
    assert!(mails.next("f is working again").text().contains("closed"));
    let trail = place.json("trail");
    let close = trail.iter().find(|entry| entry["action"] == "circuit.close").expect("it is in the trail");
    assert_eq!(close["by"], "Mia by the link to ops:mia@example.com");

    // It survives a restart of the server that the link was used.
    assert!(server.terminate().success());
    let server = place.serve();
    assert_eq!(press(&server.client("no key".to_owned()), &link).0, 410);
}

#[test]
fn dead_letters_that_grow_are_told() {
    let mut mails = Mails::catch();
    let rules = "[alerts]\ndead_letters_above = 1\nevaluation_interval = \"100ms\"\n";
    let place = Place::new(&mails.config(rules));
    let server = place.serve();
    let client = server.client(place.key());
    assert!(client.publish("h", "", b"{\"id\":\"a\"}\n{\"no\":1}\n{\"no\":2}\n"));
    let mail = mails.next("f: dead letters are growing");
    assert!(mail.text().contains("new dead letters: 2"), "{}", mail.text());
    assert_eq!(mail.to, ["mia@example.com"]);
}

#[test]
fn a_mail_that_nobody_took_is_sent_after_the_next_start() {
    let place = {
        let mails = Mails::catch();
        let place = Place::new(&mails.config(""));
        // The mail server goes away before anything is to be told.
        drop(mails);
        place
    };
    let server = place.serve();
    place.ok("circuit open f --reason test");
    assert!(server.terminate().success());

    let mut mails = Mails::catch();
    place.write("tidegate.toml", mails.config("").as_bytes());
    let server = place.serve();
    let link = link_in(&mails.next("f is stopped"), &server);
    assert_eq!(press(&server.client("no key".to_owned()), &link).0, 200);
}

#[test]
fn a_secret_that_is_missing_is_named_and_one_that_is_there_is_not_shown() {
    let config = "[email.ops]\nhost = \"mail.invalid\"\nuser = \"u\"\npassword = { file = \"password\" }\n\
                  from = \"a@example.com\"\nto = [\"b@example.com\"]\n\
                  [webhook.hook]\nurl = { env = \"TIDEGATE_TEST_URL\" }\nsecret = \"a-secret-of-sixteen-bytes\"\n\
                  headers = { Authorization = { env = \"TIDEGATE_TEST_TOKEN\" } }\n";
    let place = Place::new(config);
    let said = |output: &Output| format!("{}{}", text(&output.stdout), text(&output.stderr));
    let run = place.run("run --http 127.0.0.1:0");
    assert_eq!(run.status.code(), Some(2), "{}", said(&run));
    let expected = "error[TG-103]: `password` of [email.ops]: ";
    assert!(
        said(&run).contains(expected) && said(&run).contains("password cannot be read"),
        "{}",
        said(&run)
    );

    place.write("password", b"hush-hush-hush\n");
    let run = place.run("run --http 127.0.0.1:0");
    let expected = "`url` of [webhook.hook]: the environment variable TIDEGATE_TEST_URL is not set";
    assert!(said(&run).contains(expected), "{}", said(&run));
    let with_url = |words: &str, url: &str| {
        let mut command = place.command(words);
        command.env("TIDEGATE_TEST_URL", url);
        command
    };
    let run = with_url("run --http 127.0.0.1:0", "http://127.0.0.1:9/hush").output().unwrap();
    let expected =
        "`headers.Authorization` of [webhook.hook]: the environment variable TIDEGATE_TEST_TOKEN is not set";
    assert!(said(&run).contains(expected), "{}", said(&run));

    let check =
        crate::support::program().current_dir(place.path()).args(["config", "check"]).output().unwrap();
    assert!(check.status.success(), "a check needs no secrets: {}", said(&check));
    let token = "Bearer hush-hush-hush";
    let mut command = with_url("run --http 127.0.0.1:0", "hush://127.0.0.1:9");
    let refused = command.env("TIDEGATE_TEST_TOKEN", token).output().unwrap();
    assert!(said(&refused).contains("its url must begin with https:// or http://"), "{}", said(&refused));
    assert!(!said(&refused).contains("hush"), "{}", said(&refused));
    let mut command = with_url("run --http 127.0.0.1:0 --json", "http://127.0.0.1:9/hush");
    command.env("TIDEGATE_TEST_TOKEN", token).env("TIDEGATE_LOG", "debug");
    let (server, _) = crate::support::started(command);
    let (status, log) = server.terminate_and_tell();
    assert!(status.success(), "{log}");
    assert!(!log.contains("hush") && !log.contains("sixteen"), "a secret is in the log: {log}");
    assert!(!said(&check).contains("hush") && !said(&run).contains("hush"));
}

#[test]
fn a_function_whose_circuit_is_open_is_ready_and_says_why() {
    let place =
        Place::new("[hub.h]\npartitions = 1\n[function.f]\nhub = \"h\"\nkind = \"upsert\"\nkey = \"/id\"\n");
    let server = place.serve();
    place.ok("circuit open f --reason test");
    let ready = || {
        let (status, body) =
            server.client("no key".to_owned()).request("GET", "/ready", "text/plain", b"").unwrap();
        (status, text(&body))
    };
    wait_until("the lane is gated", || ready().1.contains("nothing is fetched"));
    assert_eq!(ready().0, 200, "it stands still on purpose");
    place.ok("circuit close f --reason test");
    wait_until("the lane goes on", || !ready().1.contains("nothing is fetched"));
}
