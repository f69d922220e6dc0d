//! The demo of an outage, as a newcomer starts it.

use crate::support::{Place, objects, program, succeeded};

#[test]
fn an_outage_ends_with_every_report_applied_once() {
    let dir = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = program();
        command.current_dir(dir.path()).args(["demo", "--outage", "--json", "--data-dir", "data"]);
        command.output().unwrap()
    };
    let facts = objects(&succeeded(run(), "demo --outage")).remove(0);
    assert_eq!(facts["ok"], true, "{facts}");
    assert!(facts["failures"].as_u64() > Some(0), "{facts}");
    let rules = ["failing-events", "final-failures", "every-lane"];
    assert!(rules.iter().any(|rule| facts["rule"] == *rule), "{facts}");
    assert!(facts["opened_at"].as_str() >= facts["away_at"].as_str(), "{facts}");
    assert!(facts["published_while_open"].as_u64() >= Some(900), "{facts}");
    assert_eq!(facts["requests_while_open"], 0);
    assert_eq!(facts["mail_subject"], "[tidegate] positions is stopped: its circuit is open");
    let text = facts["mail_text"].as_str().unwrap();
    assert!(text.contains("/restart/") && text.contains(facts["reason"].as_str().unwrap()), "{text}");
    let (_, why) = text.split_once("Why events fail:").expect("it says why");
    assert!(why.lines().nth(1).is_some_and(|line| line.contains(" of positions (transient): ")), "{text}");
    assert_eq!((&facts["link_shown"], &facts["link_pressed"]), (&200.into(), &200.into()));
    assert_eq!(
        (&facts["circuit_after_looking"], &facts["link_pressed_again"]),
        (&"open".into(), &410.into())
    );
    assert_eq!(facts["restarted_by"], "you by the link to ops:ops@example.com");
    assert_eq!(
        (&facts["dead_letters"], &facts["parked"], &facts["pending"]),
        (&0.into(), &0.into(), &0.into())
    );
    assert!(facts["published"].as_u64() >= Some(3000), "{facts}");
    assert_eq!(facts["applied"], facts["published"]);
    assert_eq!(facts["downstream_different"], facts["published"]);
    assert!(facts["documents"].as_u64() > Some(10), "{facts}");
    assert_eq!(facts["documents_right"], facts["documents"]);
    assert_eq!(facts["audit_ok"], true);

    let again = run();
    assert_eq!(again.status.code(), Some(2), "what is there already cannot be compared");
    // What the demo tells to type works as it is.
    let place = Place::at(dir);
    let trail = place.json("trail");
    let did =
        |action: &str| trail.iter().any(|entry| entry["action"] == action && entry["subject"] == "positions");
    assert!(did("circuit.restart-link") && did("circuit.close"), "{trail:?}");
    assert_eq!(place.json("circuit status")[0]["state"], "closed");
    let causes = place.json("circuit failures");
    assert!(
        causes.iter().any(|cause| cause["function"] == "positions" && cause["attempts"].as_u64() > Some(0)),
        "a life of the program that is over has told why: {causes:?}"
    );
    place.ok("audit --deep");
}
