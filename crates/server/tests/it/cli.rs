//! The commands, against a server and against a directory.

use crate::support::{CONFIG, Place, objects, program, succeeded, text};

/// A store or a log that cannot be reached ends the start at once, and it says where and what can be done.
#[test]
fn a_start_that_does_not_reach_its_files_names_the_place_and_the_way_out() {
    for (part, inside) in [("log", "flights"), ("store", "state.db")] {
        let place = Place::new(CONFIG);
        assert!(place.serve().terminate().success());
        let (directory, kept) = (place.data().join(part), place.path().join("kept"));
        std::fs::rename(&directory, &kept).unwrap();
        place.write(&format!("data/{part}"), b"no directory");
        let refused = place.run("run --http 127.0.0.1:0");
        assert_eq!(refused.status.code(), Some(1));
        let said = text(&refused.stderr);
        assert!(said.contains("error[TG-205]") && said.contains(&format!("data/{part}")), "{said}");
        assert!(
            said.contains("help: check that") && said.contains("this user may read and write it"),
            "{said}"
        );

        std::fs::remove_file(&directory).unwrap();
        std::fs::rename(&kept, &directory).unwrap();
        assert!(directory.join(inside).exists());
        assert!(place.serve().terminate().success(), "nothing was changed");
    }
}

#[test]
fn a_second_process_is_refused_and_told_the_way_out() {
    let place = Place::new(CONFIG);
    let _server = place.serve();
    let second = place.run("run --http 127.0.0.1:0");
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(said.contains("error[TG-201]: the data directory data is in use by process "), "{said}");
    assert!(said.contains("help: stop it (kill ") && said.contains("--data-dir"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_named_before_anything_is_made() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let address = server.http.strip_prefix("http://").unwrap();
    let mut second = program();
    second.current_dir(place.path()).args(["run", "--data-dir", "other", "--http", address]);
    let refused = second.output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains(&format!("cannot listen on {address}")) && said.contains("--http"), "{said}");
    assert!(!place.path().join("other/log").exists());
}

#[test]
fn commands_find_the_server_and_need_its_key() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let elsewhere = |key: Option<&str>| {
        let mut command = program();
        command.current_dir("/").args(["hubs", "--json", "--server", &server.http]);
        command.env("TIDEGATE_DATA_DIR", "/nonexistent");
        if let Some(key) = key {
            command.env("TIDEGATE_KEY", key);
        }
        command.output().unwrap()
    };
    assert_eq!(objects(&succeeded(elsewhere(Some(&place.key())), "hubs"))[0]["hub"], "flights");
    // On this machine looking is open; what shows something wrong is refused all the same.
    assert_eq!(objects(&succeeded(elsewhere(None), "hubs"))[0]["hub"], "flights");
    let refused = elsewhere(Some("wrong"));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("error[TG-401]"), "{}", text(&refused.stderr));
    let client = server.client("wrong".to_owned());
    assert_eq!(client.request("GET", "/health", "text/plain", b"").unwrap().0, 200);
    for path in [
        "/api/v1/hubs",
        "/api/v1/collections",
        "/api/v1/dead-letters",
        "/api/v1/audit",
        "/api/v1/hubs/flights/events?partition=0",
    ] {
        assert_eq!(client.request("GET", path, "text/plain", b"").unwrap().0, 401, "{path}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let place = Place::new(CONFIG);
    let said = |words: &str| {
        let output = place.run(words);
        assert!(!output.status.success(), "{words}");
        text(&output.stderr)
    };
    assert!(said("documents list aircraft").contains("there is no data directory at data"));
    let server = place.serve();
    for (words, expected) in [
        (
            "documents get aircraft a",
            "error[TG-404]: the collection aircraft has no document \"a\"\n  help: collections with documents: there are none",
        ),
        ("send flight --file /dev/null", "error[TG-404]: there is no hub \"flight\""),
        ("events read flight", "error[TG-404]: there is no hub \"flight\"\n  help: hubs here: flights"),
        ("events read flights --partition 8", "error[TG-404]: the hub flights has no partition 8"),
        (
            "events read flights --from tomorrow",
            "error[TG-400]: there is no place \"tomorrow\" in a hub\n  help: a place is earliest,",
        ),
        ("dead-letters show 7", "error[TG-404]: there is no dead letter 7"),
        ("dead-letters list --class odd", "error[TG-400]"),
        ("send flight --file tidegate.toml", "error[TG-404]"),
        ("audit flight", "error[TG-404]: there is no hub \"flight\""),
    ] {
        let said = said(words);
        assert!(said.contains(expected), "{words}: {said}");
    }
    assert!(server.terminate().success());
}

#[test]
fn listings_are_complete_over_many_pages_and_can_be_cut() {
    let place =
        Place::new("[hub.h]\npartitions = 2\n[function.f]\nhub = \"h\"\nkind = \"upsert\"\nkey = \"/id\"\n");
    let lines: String = (0..2500).map(|n| format!("{{\"id\":\"a/b?c={n:04} é\"}}\n")).collect();
    let file = place.write("lines.ndjson", lines.as_bytes());
    let server = place.serve();
    place.ok(&format!("send h --file {}", file.display()));
    place.caught_up(2500);
    let check = || {
        let ids = |words: &str| -> Vec<String> {
            place.json(words).iter().map(|document| document["id"].as_str().unwrap().to_owned()).collect()
        };
        let all = ids("documents list f");
        assert_eq!(all, (0..2500).map(|n| format!("a/b?c={n:04} é")).collect::<Vec<_>>());
        assert_eq!(ids("documents list f --limit 1001"), all[..1001]);
        assert_eq!(place.json("events read h").len(), 2500);
        assert_eq!(place.json("events read h --limit 1700").len(), 1700);
        assert_eq!(place.json("events read h --partition 1 --from latest"), Vec::<serde_json::Value>::new());
        let from_10 = place.json("events read h --partition 0 --from 10 --limit 1");
        assert_eq!(from_10[0]["sequence_number"], 10);
    };
    check();
    assert!(server.terminate().success());
    check();
}

#[test]
fn commands_without_a_server_wait_for_each_other() {
    let place = Place::new(CONFIG);
    let file = place.write("lines.ndjson", b"{\"icao24\":\"a\"}\n");
    place.ok(&format!("send flights --file {}", file.display()));
    let commands: Vec<_> = (0..6)
        .map(|_| place.command("hubs --json").stdout(std::process::Stdio::piped()).spawn().unwrap())
        .collect();
    for command in commands {
        succeeded(command.wait_with_output().unwrap(), "hubs");
    }
}

#[test]
fn an_ephemeral_server_leaves_nothing() {
    let place = Place::new(CONFIG);
    let mut command = program();
    command.current_dir(place.path()).args(["run", "--ephemeral", "--http", "127.0.0.1:0", "--json"]);
    let (server, started) = crate::support::started(command);
    let directory = std::path::PathBuf::from(started["data_dir"].as_str().unwrap());
    assert!(directory.join("tidegate.json").exists());
    assert!(server.terminate().success());
    assert!(!directory.exists());
}

#[test]
fn without_a_configuration_the_way_to_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let output = program().current_dir(dir.path()).arg("run").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("error[TG-103]: there is no configuration") && said.contains("tidegate config sample"),
        "{said}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_hub_keeps_its_number_of_partitions() {
    let place = Place::new(CONFIG);
    assert!(place.serve().terminate().success());
    place.write("tidegate.toml", CONFIG.replace("partitions = 8", "partitions = 4").as_bytes());
    let refused = place.run("run --http 127.0.0.1:0");
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("error[TG-206]: the hub flights has 8 partitions, not 4"), "{said}");
    place.write("tidegate.toml", CONFIG.as_bytes());
    assert!(place.serve().terminate().success());
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let place = Place::new(CONFIG);
    let lines: String = (0..20_000).map(|n| format!("{{\"icao24\":\"{n}\"}}\n")).collect();
    let file = place.write("lines.ndjson", lines.as_bytes());
    place.ok(&format!("send flights --file {}", file.display()));
    let mut reading =
        place.command("events read flights --json").stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(reading.stdout.take());
    assert!(reading.wait().unwrap().success());
}

#[test]
fn an_error_code_is_explained() {
    let page = succeeded(program().args(["explain", "TG-201"]).output().unwrap(), "explain");
    assert!(page.starts_with("# TG-201: "));
    assert_eq!(program().args(["explain", "TG-000"]).output().unwrap().status.code(), Some(2));
}
