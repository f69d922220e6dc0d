//! The link in the mail, with a real server: fetched by scanners, pressed by many at once, expired, forged, and outlived by
//! its outage.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::alerts::{Mails, link_in, press};
use crate::support::{Client, Place, Server, text};

const HUB: &str = "[hub.h]\npartitions = 1\n[function.f]\nhub = \"h\"\nkind = \"upsert\"\nkey = \"/id\"\n";

/// A place whose circuit is open, with the link that was sent.
struct Site {
    mails: Mails,
    place: Place,
    server: Server,
    link: String,
}

impl Site {
    fn new(more: &str) -> Self {
        let mut mails = Mails::catch();
        let place = Place::new(&format!("{HUB}{}{more}", mails.email()));
        let server = place.serve();
        place.ok("circuit open f --reason test");
        let link = link_in(&mails.next("f is stopped"), &server);
        Self { mails, place, server, link }
    }

    /// Somebody without a key.
    fn stranger(&self) -> Client {
        self.server.client("no key".to_owned())
    }

    fn state(&self) -> Value {
        self.place.json("circuit status f")[0]["state"].clone()
    }

    /// How often each act on the function is in the trail.
    fn acts(&self) -> BTreeMap<String, usize> {
        let mut acts = BTreeMap::new();
        for entry in self.place.json("trail --subject f") {
            *acts.entry(entry["action"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        acts
    }
}

#[test]
fn a_scanner_may_fetch_the_link_in_any_way_and_of_many_who_press_one_restarts() {
    let site = Site::new("");
    let agents = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) BingPreview/1.0b",
        "Barracuda Sentinel (EE)",
        "Google-Safety; GoogleImageProxy",
        "curl/8.5.0",
        "",
        "() { :; }; /bin/true",
    ];
    std::thread::scope(|scope| {
        for agent in agents {
            let (stranger, link) = (site.stranger(), &site.link);
            scope.spawn(move || {
                for method in ["GET", "HEAD", "GET", "OPTIONS", "PUT", "DELETE", "PATCH", "GET"] {
                    let headers = [
                        ("user-agent", agent),
                        ("purpose", "prefetch"),
                        ("sec-purpose", "prefetch;prerender"),
                        ("range", "bytes=0-1023"),
                        ("content-type", "application/x-www-form-urlencoded"),
                    ];
                    let answer = stranger.ask(method, link, &headers, b"name=scanner");
                    let expected = if ["GET", "HEAD"].contains(&method) { 200 } else { 405 };
                    assert_eq!(answer.status, expected, "{method} {agent}: {}", text(&answer.body));
                    assert_eq!(method == "GET", text(&answer.body).contains("<form method=\"post\">"));
                }
                // Links in mails get a parameter or a slash from those who rewrite them.
                let status = stranger.ask("GET", &format!("{link}?utm_source=mail"), &[], b"").status;
                assert_eq!(status, 200);
            });
        }
    });
    assert_eq!(site.state(), "open");
    assert_eq!(site.acts(), BTreeMap::from([("circuit.open".to_owned(), 1)]), "looking leaves no trace");

    let presses: Vec<u16> = std::thread::scope(|scope| {
        let one = || scope.spawn(|| press(&site.stranger(), &site.link).0);
        let all: Vec<_> = std::iter::repeat_with(one).take(12).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(presses.iter().filter(|status| **status == 200).count(), 1, "{presses:?}");
    // The others are told that it is being used, or was.
    assert!(presses.iter().all(|status| [200, 409, 410].contains(status)), "{presses:?}");
    assert_eq!(site.state(), "closed");
    let once = ["circuit.close", "circuit.open", "circuit.restart-link"].map(|act| (act.to_owned(), 1));
    assert_eq!(site.acts(), BTreeMap::from(once));
    let (status, page) = press(&site.stranger(), &site.link);
    assert!(status == 410 && page.contains("was used already"), "{status}: {page}");
}

#[test]
fn a_link_that_was_changed_anywhere_is_refused() {
    let site = Site::new("");
    let token = site.link.strip_prefix("/restart/").unwrap();
    let step = token.len() / 24;
    for at in (0..token.len()).step_by(step).chain([token.len() - 1]) {
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        let forged = format!("/restart/{}{other}{}", &token[..at], &token[at + 1..]);
        for (method, status) in [
            ("GET", site.stranger().ask("GET", &forged, &[], b"").status),
            ("POST", press(&site.stranger(), &forged).0),
        ] {
            assert_eq!(status, 403, "{method} {forged}");
        }
    }
    for cut in [0, 1, token.len() / 2, token.len() - 1] {
        let status = press(&site.stranger(), &format!("/restart/{}", &token[..cut])).0;
        assert!([403, 404, 405].contains(&status), "{cut}: {status}");
    }
    assert_eq!(site.state(), "open");
}

#[test]
fn a_link_that_has_expired_says_so_and_what_to_do() {
    let site = Site::new("[alerts]\nlink_lifetime = \"1ms\"\n");
    let looked = text(&site.stranger().ask("GET", &site.link, &[], b"").body);
    let (status, pressed) = press(&site.stranger(), &site.link);
    assert_eq!(status, 410);
    for page in [looked, pressed] {
        assert!(page.contains("has expired") && page.contains("tidegate circuit close"), "{page}");
    }
    assert_eq!(site.state(), "open");
}

#[test]
fn a_link_about_an_earlier_outage_restarts_nothing() {
    let mut site = Site::new("");
    site.place.ok("circuit close f --reason by-hand");
    let (status, page) = press(&site.stranger(), &site.link);
    assert!(status == 409 && page.contains("f is running"), "{status}: {page}");
    site.place.ok("circuit open f --reason again");
    let (status, page) = press(&site.stranger(), &site.link);
    assert!(status == 410 && page.contains("earlier outage"), "{status}: {page}");
    assert_eq!(site.state(), "open");

    // The newer mail has a link that works, also for a server that was started anew.
    let newer = link_in(&site.mails.next("f is stopped"), &site.server);
    let Site { place, server, .. } = site;
    server.kill();
    let server = place.serve();
    assert_eq!(press(&server.client("no key".to_owned()), &newer).0, 200);
    assert_eq!(place.json("circuit status f")[0]["state"], "closed");
}
