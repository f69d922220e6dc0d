//! The demo.

use crate::support::{Place, objects, program, succeeded};

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
