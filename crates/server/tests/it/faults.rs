//! The program under faults that come at the worst moment: killed while its circuit opens and before anybody was told,
//! killed in a redrive, with a downstream that goes away under load, and in a flood of events that cannot be processed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tidegate_alerts::catcher::CaughtMail;
use tidegate_model::clock::SystemClock;

use crate::alerts::{Mails, link_in, press};
use crate::downstream::{Downstream, Mode, Row, rows, stored_rows};
use crate::ledger::{Random, body, check_results};
use crate::support::{Client, Place, Server, started, wait_minutes, wait_until};

/// Publishes numbers: the event `n` is number `n / KEYS` of key `n % KEYS`.
const KEYS: u64 = 40;

fn lines(numbers: std::ops::Range<u64>) -> Vec<u8> {
    numbers.flat_map(|n| format!("{{\"id\":\"k{}\",\"n\":{}}}\n", n % KEYS, n / KEYS).into_bytes()).collect()
}

fn publish(client: &Client, numbers: std::ops::Range<u64>) {
    assert!(client.publish("h", "?key=/id", &lines(numbers)));
}

/// The rows that the first `published` numbers make, without those that are dead letters.
fn expected(published: u64, dead_letters: &[Value]) -> BTreeMap<String, Row> {
    let set_aside: BTreeSet<Vec<u8>> = dead_letters.iter().map(body).collect();
    assert_eq!(set_aside.len(), dead_letters.len(), "an event was set aside twice");
    let numbers: Vec<(String, i64)> = (0..published)
        .filter(|n| !set_aside.contains(lines(*n..*n + 1).trim_ascii_end()))
        .map(|n| (format!("k{}", n % KEYS), (n / KEYS) as i64))
        .collect();
    rows(numbers.iter().map(|(key, n)| (key.as_str(), *n)))
}

fn account(client: &Client) -> Value {
    client.objects("/api/v1/audit").remove(0)
}

fn circuit(client: &Client) -> Value {
    client.objects("/api/v1/circuits").remove(0)
}

/// Waits until every event is applied or a dead letter, and no one is parked.
fn resolved(client: &Client, published: u64) {
    resolved_within(1, client, published);
}

fn resolved_within(minutes: u32, client: &Client, published: u64) {
    wait_minutes(minutes, "everything is resolved", || {
        let account = account(client);
        account["published"] == published && account["pending"] == 0 && account["parked"] == 0
    });
}

fn ended_well(place: &Place, server: Server) {
    assert!(server.terminate().success());
    assert_eq!(place.run("audit --deep").status.code(), Some(0));
    assert_eq!(place.run("fsck").status.code(), Some(0));
}

/// More failures than this open the circuit of [`config`].
const THRESHOLD: usize = 10;

fn config(on_exhausted: &str, mail_port: u16) -> String {
    format!(
        "[hub.h]\npartitions = 4\n\
         [function.f]\nhub = \"h\"\nkind = \"rust\"\norder = \"key\"\non_exhausted = \"{on_exhausted}\"\n\
         max_event_batch_size = 8\nretry = {{ strategy = \"fixed\", max_attempts = 2, delay = \"1ms\" }}\n\
         circuit = {{ threshold = {THRESHOLD}, minimum_volume = 5, probe = \"manual\", ramp = \"0s\", \
         poll_interval = \"50ms\" }}\n\
         [email.ops]\nhost = \"127.0.0.1\"\nport = {mail_port}\ntls = \"none\"\ntimeout = \"5s\"\n\
         from = \"tidegate@example.com\"\nto = [\"mia@example.com\"]\n"
    )
}

/// When the program is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// After so many failures of the downstream were answered and none of the others; or when the circuit is open, if that
    /// comes first.
    Failures(u64),
    /// When it has a connection to the mail server, and the mail server has said nothing yet.
    BeforeTheMail,
}

/// A mail server that ends every connection without a word, so that no mail can leave the program.
struct Mute {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Mute {
    fn at(listener: TcpListener) -> Self {
        let (address, is_over) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let is_over = is_over.clone();
            move || while listener.accept().is_ok() && !is_over.load(Ordering::SeqCst) {}
        });
        Self { address, is_over, thread }
    }

    /// Leaves the address to somebody else.
    fn end(self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address).unwrap());
        self.thread.join().unwrap();
    }
}

fn killed_while_it_opens(moment: Moment, on_exhausted: &str) {
    let what = format!("{moment:?}, {on_exhausted}");
    let (downstream, mail_server) = (Downstream::start(), TcpListener::bind("127.0.0.1:0").unwrap());
    let mail_port = mail_server.local_addr().unwrap().port();
    let place = Place::new(&config(on_exhausted, mail_port));
    let server = downstream.serve(&place);
    let client = server.client(place.key());
    publish(&client, 0..KEYS);
    resolved(&client, KEYS);

    const PUBLISHED: u64 = 1000;
    downstream.becomes(Mode::Away);
    if let Moment::Failures(answered) = moment {
        downstream.hold_from(answered + 1);
    }
    publish(&client, KEYS..PUBLISHED);
    match moment {
        Moment::Failures(_) => {
            let mute = Mute::at(mail_server);
            wait_until("it is about to open", || downstream.holds() || circuit(&client)["state"] == "open");
            server.kill();
            mute.end();
        }
        Moment::BeforeTheMail => {
            let connection = mail_server.accept().unwrap();
            server.kill();
            drop((connection, mail_server));
        }
    }
    downstream.release();
    let left = place.json("circuit status f").remove(0);

    // It is still away after the restart.
    let mut mails = Mails::catch_at(mail_port);
    let server = downstream.serve(&place);
    let client = server.client(place.key());
    wait_until("the circuit is open", || circuit(&client)["state"] == "open");
    if left["state"] == "open" {
        let now = circuit(&client);
        assert_eq!((&now["since"], &now["reason"]), (&left["since"], &left["reason"]), "{what}");
    } else {
        assert!(matches!(moment, Moment::Failures(_)), "{what}: it was open when the mail was sent");
    }
    let mut caught: Vec<CaughtMail> = Vec::new();
    let mut comes = |subject: &str| {
        wait_until(subject, || {
            caught.extend(mails.one());
            caught.last().is_some_and(|mail| mail.header("Subject").unwrap().contains(subject))
        });
        caught.last().unwrap().clone()
    };
    let link = link_in(&comes("f is stopped"), &server);
    downstream.becomes(Mode::Takes);
    assert_eq!(press(&server.client("no key".to_owned()), &link).0, 200, "{what}");
    comes("f is working again");
    resolved(&client, PUBLISHED);
    let told = |subject: &str| {
        caught.iter().filter(|mail| mail.header("Subject").unwrap().contains(subject)).count()
    };
    assert_eq!(told("f is stopped"), 1, "{what}");
    assert_eq!(told("leaves f to the others"), 0, "{what}: there are no others but the one that was killed");

    let letters = place.json("dead-letters list");
    // Each of its two lives counts for itself, as two instances do.
    let most = if on_exhausted == "hold" { 0 } else { 2 * THRESHOLD };
    assert!(letters.len() <= most, "{what}: {} dead letters", letters.len());
    assert_eq!(stored_rows(&place), expected(PUBLISHED, &letters), "{what}");
    let opened = place.json("trail").iter().filter(|entry| entry["action"] == "circuit.opened").count();
    assert!(opened <= 1, "{what}: it opened {opened} times");
    ended_well(&place, server);
}

#[test]
fn killed_while_the_circuit_opens_it_tells_once_and_loses_nothing() {
    // At the beginning, around the threshold, and far enough beyond it that the circuit is open.
    let failures = [1, 8, 10, 11, 13, 16, 1000];
    std::thread::scope(|scope| {
        for (number, failures) in failures.into_iter().enumerate() {
            let on_exhausted = if number % 2 == 0 { "hold" } else { "dead-letter" };
            scope.spawn(move || killed_while_it_opens(Moment::Failures(failures), on_exhausted));
        }
    });
}

#[test]
fn killed_between_the_opening_and_the_mail_it_tells_once() {
    killed_while_it_opens(Moment::BeforeTheMail, "hold");
}

#[test]
fn killed_again_and_again_in_a_redrive_each_effect_comes_once_and_in_order() {
    const LETTERS: u64 = 3000;
    let downstream = Downstream::start();
    let place = Place::new(
        "[hub.h]\npartitions = 4\n\
         [function.f]\nhub = \"h\"\nkind = \"rust\"\norder = \"key\"\nmax_event_batch_size = 16\n",
    );
    downstream.becomes(Mode::Refuses);
    let server = downstream.serve(&place);
    let client = server.client(place.key());
    publish(&client, 0..LETTERS);
    resolved(&client, LETTERS);
    assert_eq!(account(&client)["dead_lettered"], LETTERS);
    assert!(server.terminate().success());

    downstream.becomes(Mode::Takes);
    // Another seed kills at other moments.
    let seed = std::env::var("TIDEGATE_CRASH_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random = Random(seed.unwrap_or(20_261_122));
    let redrive = "dead-letters redrive --all --reason mended";
    let mut kills = 0;
    for _ in 0..6 {
        let server = downstream.serve(&place);
        let client = server.client(place.key());
        let mut command = place.command(redrive);
        let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (before, enough) = (downstream.taken(), 1 + random.below(500));
        let mut done = 0;
        wait_until("enough of them are given to the function", || {
            done = account(&client)["applied"].as_u64().unwrap();
            downstream.taken() - before >= enough || done == LETTERS
        });
        kills += u64::from(done < LETTERS);
        server.kill();
        // It fails if the server died before it was through.
        running.wait().unwrap();
    }
    assert!(kills > 1, "everything was redriven before it was killed");

    let server = downstream.serve(&place);
    let client = server.client(place.key());
    place.ok(redrive);
    wait_until("every redrive is resolved", || account(&client)["applied"] == LETTERS);
    let seen = account(&client);
    assert_eq!((&seen["parked"], &seen["dead_lettered"]), (&0.into(), &0.into()), "{seen}");
    assert!(place.json("dead-letters list").iter().all(|one| one["redrives"] == 1), "each went once");
    assert_eq!(stored_rows(&place), expected(LETTERS, &[]));
    ended_well(&place, server);
}

/// How an outage under load goes on, in events that are published.
struct Load {
    /// How many in a second; as many as are acknowledged if this is `None`.
    rate: Option<u64>,
    /// In a request.
    batch: u64,
    /// When the downstream goes away.
    away_at: u64,
    /// When it comes back, if the circuit is open by then.
    back_at: u64,
    /// The end.
    end: u64,
}

/// The downstream goes away while events come in, and comes back while they still do. The circuit closes by itself.
fn outage_under_load(on_exhausted: &str, load: &Load, most_dead_letters: usize) {
    let downstream = Downstream::start();
    let place = Place::new(&format!(
        "[hub.h]\npartitions = 4\n\
         [function.f]\nhub = \"h\"\nkind = \"rust\"\norder = \"key\"\non_exhausted = \"{on_exhausted}\"\n\
         max_event_batch_size = 256\nretry = {{ strategy = \"exponential\", min_interval = \"20ms\", max_interval = \"200ms\" }}\n\
         circuit = {{ probe_after = \"500ms\", probe_longest = \"1s\", ramp = \"1s\", poll_interval = \"100ms\" }}\n"
    ));
    let server = downstream.serve(&place);
    let client = server.client(place.key());
    let published = AtomicU64::new(0);
    let clock = SystemClock::shared();
    let began = clock.monotonic();
    let note = |what: &str| {
        let (seconds, seen) = ((clock.monotonic() - began).as_secs_f64(), account(&client));
        let [published, pending, parked, set_aside] =
            ["published", "pending", "parked", "dead_lettered"].map(|field| seen[field].clone());
        println!(
            "{on_exhausted} {seconds:6.1} s  {what}: {published} published, {pending} pending, {parked} parked, \
             {set_aside} dead letters"
        );
    };
    let has_opened = std::thread::scope(|scope| {
        scope.spawn(|| {
            for first in (0..load.end).step_by(load.batch as usize) {
                let end = load.end.min(first + load.batch);
                if let Some(rate) = load.rate {
                    let due = began + Duration::from_millis(first * 1000 / rate);
                    wait_until("it is time for the next batch", || clock.monotonic() >= due);
                }
                publish(&client, first..end);
                published.store(end, Ordering::SeqCst);
            }
        });
        let has_published = |events| published.load(Ordering::SeqCst) >= events;
        wait_until("load flows", || has_published(load.away_at));
        note("the downstream goes away");
        downstream.becomes(Mode::Away);
        wait_until("the circuit opens", || circuit(&client)["state"] == "open");
        note("the circuit is open");
        wait_minutes(3, "load has gathered", || has_published(load.back_at));
        let was_closed = circuit(&client)["state"] == "closed";
        note("the downstream comes back");
        downstream.becomes(Mode::Takes);
        wait_minutes(3, "everything is published", || has_published(load.end));
        !was_closed
    });
    assert!(has_opened, "it was open while the downstream was away");
    note("everything is published");
    resolved_within(5, &client, load.end);
    note("everything is resolved");
    wait_until("the circuit closes by itself", || circuit(&client)["state"] == "closed");
    let letters = place.json("dead-letters list");
    assert!(letters.len() <= most_dead_letters, "{} dead letters", letters.len());
    assert_eq!(stored_rows(&place), expected(load.end, &letters));
    let seen = account(&client);
    assert_eq!((&seen["applied"], &seen["ok"]), (&(load.end - letters.len() as u64).into(), &true.into()));
    ended_well(&place, server);
}

const SHORT: Load = Load { rate: None, batch: 250, away_at: 5000, back_at: 20_000, end: 30_000 };

#[test]
fn an_outage_under_load_with_hold_ends_with_every_event_applied_once_and_in_order() {
    outage_under_load("hold", &SHORT, 0);
}

#[test]
fn an_outage_under_load_sets_no_more_aside_than_the_threshold() {
    outage_under_load("dead-letter", &SHORT, 100);
}

/// 10,000 events a second for a minute and a half, of which the downstream is away for a minute.
const MINUTE: Load =
    Load { rate: Some(10_000), batch: 500, away_at: 100_000, back_at: 700_000, end: 900_000 };

/// The outage at its full size. Prints what happened when.
///
/// `cargo test --release -p tidegate --test it -- --ignored --nocapture faults::an_outage_of_a_minute`
#[test]
#[ignore = "it takes minutes"]
fn an_outage_of_a_minute_at_ten_thousand_events_a_second() {
    outage_under_load("hold", &MINUTE, 0);
}

/// The same where attempts that are used up end in the dead letters.
#[test]
#[ignore = "it takes minutes"]
fn an_outage_of_a_minute_sets_no_more_aside_than_the_threshold() {
    outage_under_load("dead-letter", &MINUTE, 100);
}

#[test]
fn an_event_that_ends_the_program_is_set_aside_and_the_others_are_applied() {
    const EVENTS: u64 = 400;
    /// A program that is started again by its supervisor so often and still ends is one that never comes up.
    const MOST_STARTS: usize = 20;
    let downstream = Downstream::start();
    let place = Place::new(
        "[hub.h]\npartitions = 4\n\
         [function.f]\nhub = \"h\"\nkind = \"rust\"\norder = \"key\"\nmax_event_batch_size = 32\n\
         retry = { strategy = \"fixed\", max_attempts = 3, delay = \"1ms\" }\n",
    );
    // While nobody processes, everything can be published.
    place.write("functionless.toml", b"[hub.h]\npartitions = 4\n");
    let (server, _) = started(place.command("run --http 127.0.0.1:0 --json --config functionless.toml"));
    let client = server.client(place.key());
    publish(&client, 0..EVENTS / 2);
    assert!(client.publish("h", "?key=/id", b"{\"id\":\"k7\",\"n\":-1,\"aborts\":true}\n"));
    publish(&client, EVENTS / 2..EVENTS);
    assert!(server.terminate().success());

    let mut starts = 0;
    let server = loop {
        starts += 1;
        assert!(starts <= MOST_STARTS, "it was started {MOST_STARTS} times");
        let Some(mut server) = downstream.try_serve(&place) else { continue };
        let client = server.client(place.key());
        let mut is_resolved = false;
        wait_until("everything is resolved, or the program ends", || {
            is_resolved = client.try_objects("/api/v1/audit").is_some_and(|accounts| {
                accounts[0]["published"] == EVENTS + 1
                    && accounts[0]["pending"] == 0
                    && accounts[0]["parked"] == 0
            });
            is_resolved || !server.is_alive()
        });
        if is_resolved {
            break server;
        }
    };
    assert!(starts > 1, "nothing ended it");
    let letters = place.json("dead-letters list");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["partition_key"], "k7");
    assert_eq!(letters[0]["attempts"][0]["kind"], "interrupted");
    assert_eq!(stored_rows(&place), expected(EVENTS, &[]));
    ended_well(&place, server);
}

#[test]
fn a_flood_of_corrupt_events_stops_nothing_and_each_is_set_aside_once() {
    const EVENTS: u64 = 20_000;
    let place = Place::new(
        "[hub.h]\npartitions = 4\n\
         [function.f]\nhub = \"h\"\nkind = \"upsert\"\nkey = \"/id\"\norder = \"key\"\nmax_event_batch_size = 256\n",
    );
    let server = place.serve();
    let client = server.client(place.key());
    let mut random = Random(20_261_122);
    for first in (0..EVENTS).step_by(500) {
        let line = |n: u64| match (n % 2, random.below(3)) {
            (0, _) => format!("{{\"id\":\"d{}\",\"n\":{n},\"m{}\":{n}}}\n", n % 37, n % 5).into_bytes(),
            (_, 0) => format!("{{\"id\":\"d{}\",\"n\":{n}\n", n % 37).into_bytes(),
            (_, 1) => format!("{{\"n\":{n}}}\n").into_bytes(),
            _ => [format!("{{\"id\":\"d{}\",\"n\":{n},\"t\":\"", n % 37).as_bytes(), b"\xff\"}\n"].concat(),
        };
        let lines: Vec<u8> = (first..first + 500).flat_map(line).collect();
        assert!(client.publish("h", "?key=/id", &lines));
    }
    place.caught_up(EVENTS);
    let seen = account(&client);
    assert_eq!((&seen["applied"], &seen["dead_lettered"]), (&(EVENTS / 2).into(), &(EVENTS / 2).into()));
    check_results(&place, &place.json("events read h"));
    let circuit = circuit(&client);
    assert_eq!((&circuit["state"], &circuit["since"]), (&"closed".into(), &Value::Null), "it never opened");
    assert_eq!(place.json("trail --subject f"), Vec::<Value>::new());
    ended_well(&place, server);
}
