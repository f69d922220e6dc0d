//! What a person does with dead letters: look, edit, discard, lease, export and import, with a server and without one.

use serde_json::{Value, json};

use crate::support::{CONFIG, Place, Server, objects, succeeded, text};

/// A place where 203 lines were processed, 3 of them corrupt: dead letters 1 to 3.
pub(crate) fn processed() -> Place {
    let place = Place::new(CONFIG);
    let mut lines: String = (0..200).map(|n| format!("{{\"icao24\":\"a{n}\",\"n\":{n}}}\n")).collect();
    lines.push_str("{\"icao24\":\n{\"n\":1}\n[7]\n");
    let file = place.write("lines.ndjson", lines.as_bytes());
    let server = place.serve();
    place.ok(&format!("send flights --key /icao24 --file {}", file.display()));
    place.caught_up(203);
    assert!(server.terminate().success());
    place
}

/// Runs the same with the directory opened by each command, and with a server.
fn both_ways(check: impl Fn(&Place, Option<&Server>)) {
    let place = processed();
    check(&place, None);
    let place = processed();
    let server = place.serve();
    check(&place, Some(&server));
    assert!(server.terminate().success());
}

/// A command with words that have blanks in them.
fn run_with(place: &Place, words: &str, more: &[&str]) -> std::process::Output {
    place.command(words).args(more).output().unwrap()
}

/// A command that fails with an exit code; what it says.
pub(crate) fn fails(place: &Place, words: &str, code: i32) -> String {
    let output = place.run(words);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words}: {said}");
    said
}

fn shown(place: &Place, id: u64) -> Value {
    place.json(&format!("dead-letters show {id}")).remove(0)
}

fn ids(letters: &[Value]) -> Vec<u64> {
    letters.iter().map(|letter| letter["id"].as_u64().unwrap()).collect()
}

/// The dead letter of the line without a key.
fn without_key(place: &Place) -> Value {
    let letters = place.json("dead-letters list");
    letters.into_iter().find(|letter| letter["body_base64"] == "eyJuIjoxfQ==").unwrap()
}

#[test]
fn they_are_listed_by_what_they_have_in_common() {
    let place = processed();
    let all = place.json("dead-letters list");
    assert_eq!(ids(&all), [1, 2, 3]);
    for (field, value) in [
        ("status", json!("open")),
        ("redrives", json!(0)),
        ("returns", json!(0)),
        ("revision", json!(0)),
        ("lease", Value::Null),
        ("edited", Value::Null),
        ("class", json!("permanent")),
    ] {
        assert_eq!(all[0][field], value, "{field}");
    }
    let one = &all[1];
    let partition = one["partition"].as_u64().unwrap();
    let number = one["sequence_number"].as_u64().unwrap();
    let at = one["dead_lettered_at"].as_str().unwrap();
    let cause = one["fingerprint"].as_str().unwrap();
    let of_cause: Vec<u64> =
        ids(&all.iter().filter(|letter| letter["fingerprint"] == cause).cloned().collect::<Vec<_>>());
    for (filter, expected) in [
        ("--function aircraft".to_owned(), vec![1, 2, 3]),
        ("--class exhausted".to_owned(), vec![]),
        ("--status open,quarantined".to_owned(), vec![1, 2, 3]),
        ("--status discarded".to_owned(), vec![]),
        ("--since 1h".to_owned(), vec![1, 2, 3]),
        ("--until 1h".to_owned(), vec![]),
        ("--since 2100-01-01T00:00:00Z".to_owned(), vec![]),
        (format!("--cause {cause}"), of_cause),
        (
            format!("--partition {partition} --from-sequence {number} --before-sequence {}", number + 1),
            vec![one["id"].as_u64().unwrap()],
        ),
        ("--key none".to_owned(), vec![]),
        ("--after 2".to_owned(), vec![3]),
        ("--limit 1".to_owned(), vec![1]),
    ] {
        assert_eq!(ids(&place.json(&format!("dead-letters list {filter}"))), expected, "{filter}");
    }
    assert!(!ids(&place.json(&format!("dead-letters list --since {at}"))).is_empty());
    let groups = place.json("dead-letters groups");
    let counted: u64 = groups.iter().map(|group| group["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, 3);
    assert!(groups.iter().any(|group| group["fingerprint"] == cause));
    let table = place.ok("dead-letters groups");
    assert!(table.contains(cause), "{table}");
    assert!(place.ok("dead-letters list --key none").contains("there are no dead letters that match"));
}

#[test]
fn who_mistypes_a_function_is_not_told_that_all_is_well() {
    let place = processed();
    for words in [
        "dead-letters list --function aircarft",
        "dead-letters groups --function aircarft",
        "dead-letters redrive --function aircarft --dry-run",
        "dead-letters discard --function aircarft --reason x",
        "parked list --function aircarft",
    ] {
        let said = fails(&place, words, 1);
        assert!(said.contains("no function aircarft has run here"), "{words}: {said}");
        assert!(said.contains("functions here: aircraft"), "{words}: {said}");
    }
}

#[test]
fn a_dry_run_says_what_the_act_would_say_and_names_the_command_for_it() {
    let place = processed();
    place.ok("dead-letters discard 2 --reason x");
    let dry = place.run("dead-letters redrive 1 2 99 --dry-run");
    assert_eq!(dry.status.code(), Some(1));
    let (out, said) = (text(&dry.stdout), text(&dry.stderr));
    assert!(out.contains("1 dead letters would be redriven; 2 would not; nothing was changed"), "{out}");
    assert!(said.contains("tidegate dead-letters redrive 1 2 99 --reason TEXT"), "{said}");
    for expected in ["there is no dead letter 99", "discarded, and so nothing to act on: 2"] {
        assert!(said.contains(expected), "{said}");
    }
    let dry = place.ok("dead-letters discard 2 --dry-run");
    assert!(dry.contains("0 dead letters would be discarded; 1 are already"), "{dry}");
    let dry = place.run("dead-letters redrive --function aircraft --class permanent --dry-run");
    let (out, said) = (text(&dry.stdout), text(&dry.stderr));
    assert!(out.contains("2 dead letters would be redriven; nothing was changed"), "{out}");
    let command = "tidegate dead-letters redrive --function aircraft --class permanent --reason TEXT";
    assert!(said.contains(command), "{said}");
    assert!(place.json("dead-letters list").iter().all(|letter| letter["redrives"] == 0));
    assert!(fails(&place, "dead-letters redrive 1", 2).contains("--reason"));
}

#[test]
fn the_newest_come_first_where_that_is_asked_for_and_pages_join() {
    let place = processed();
    let server = place.serve();
    let client = server.client(place.key());
    let page = |path: &str| {
        let answer = client.ask("GET", path, &[("accept", "application/json")], b"").json();
        let numbers: Vec<u64> = (answer["items"].as_array().unwrap().iter())
            .map(|item| item.get("id").or(item.get("number")).unwrap().as_u64().unwrap())
            .collect();
        (numbers, answer["next"].clone())
    };
    let letters = |rest: &str| page(&format!("/api/v1/dead-letters?order=newest&limit=2{rest}"));
    assert_eq!(letters(""), (vec![3, 2], json!("2")));
    assert_eq!(letters("&after=2"), (vec![1], Value::Null));
    assert_eq!(letters("&after=2&status=discarded"), (vec![], Value::Null));
    assert_eq!(page("/api/v1/dead-letters?order=oldest&limit=2"), (vec![1, 2], json!("2")));
    for id in 1..=3 {
        client.post_json(&format!("/api/v1/dead-letters/{id}/note"), &json!({ "note": "looked at" }));
    }
    let lines = |rest: &str| page(&format!("/api/v1/trail?order=newest&limit=1{rest}"));
    let (first, next) = lines("");
    // A line that comes in meanwhile moves nothing.
    client.post_json("/api/v1/dead-letters/1/note", &json!({ "note": "again" }));
    let (second, _) = lines(&format!("&after={}", next.as_str().unwrap()));
    assert_eq!(second, [first[0] - 1]);
    let (of_one, _) = page("/api/v1/trail?order=newest&subject=1");
    assert_eq!(of_one, [first[0] + 1, first[0] - 2]);
    let wrong = client.ask("GET", "/api/v1/trail?order=up", &[], b"");
    assert_eq!(wrong.status, 400);
    assert!(text(&wrong.body).contains("order is oldest or newest"), "{}", text(&wrong.body));
    assert!(server.terminate().success());
}

#[test]
fn what_is_wrong_with_a_command_is_named() {
    let place = processed();
    for (words, code, expected) in [
        ("dead-letters list --cause abc", 1, "the parameter cause cannot be \"abc\""),
        ("dead-letters list --status gone", 1, "the parameter status cannot be \"gone\""),
        ("dead-letters list --since yesterday", 2, "--since cannot be \"yesterday\""),
        ("dead-letters show 99", 1, "error[TG-404]: there is no dead letter 99"),
        ("dead-letters redrive --reason x", 2, "it is not said which dead letters"),
        ("dead-letters redrive 1 --all --reason x", 2, "numbers and conditions are given"),
        ("dead-letters redrive 1", 2, "--reason"),
        ("dead-letters redrive 99 --reason x", 1, "there is no dead letter 99"),
        ("dead-letters redrive 1 --wait --reason x", 2, "no server runs"),
        ("dead-letters redrive 1 --rate 0 --reason x", 2, "--rate"),
        ("dead-letters discard 1 99 --reason x", 1, "there is no dead letter 99"),
        ("dead-letters edit 2 --reason x", 2, "name your editor in the variable EDITOR"),
        ("dead-letters edit 2 --file nothing --reason x", 2, "cannot read nothing"),
        ("dead-letters edit 2 --patch { --reason x", 2, "the body cannot be patched"),
        ("dead-letters edit 99 --body {} --reason x", 1, "there is no dead letter 99"),
        ("dead-letters lease --limit 1 --for 5", 1, "a lease cannot be \"5\" long"),
        ("dead-letters lease --limit 0 --for 5m", 1, "1 to 100 dead letters"),
        ("dead-letters release 99", 1, "there is no dead letter 99"),
        ("dead-letters import nothing --reason x", 2, "cannot read nothing"),
        ("dead-letters export --file tidegate.toml", 1, "cannot write tidegate.toml"),
    ] {
        let mut command = place.command(words);
        command.env_remove("EDITOR").env_remove("VISUAL");
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words}: {said}");
        assert!(said.contains(expected), "{words}: {said}");
    }
    let blank = run_with(&place, "dead-letters discard 1", &["--reason", " "]);
    assert!(text(&blank.stderr).contains("this needs a reason"), "{}", text(&blank.stderr));
}

#[test]
fn an_edit_is_a_revision_beside_the_event() {
    both_ways(|place, _| {
        let letter = without_key(place);
        let id = letter["id"].as_u64().unwrap();
        let edit = |more: &[&str]| run_with(place, &format!("dead-letters edit {id} --reason mended"), more);
        let dry = succeeded(edit(&["--patch", "{\"icao24\":\"late\"}", "--dry-run"]), "a dry run");
        assert!(dry.contains("+  \"icao24\": \"late\"") && dry.contains("nothing was"), "{dry}");
        assert_eq!(shown(place, id)["revision"], 0);

        let said = succeeded(edit(&["--patch", "{\"icao24\":\"late\"}"]), "an edit");
        assert!(said.contains("has revision 1 now"), "{said}");
        let file = place.write("body.json", b"{\"icao24\":\"later\",\"n\":1}");
        succeeded(edit(&["--file", file.to_str().unwrap()]), "an edit");
        let again = succeeded(edit(&["--file", file.to_str().unwrap()]), "the same edit");
        assert!(again.contains("nothing was changed"), "{again}");

        let shown = shown(place, id);
        assert_eq!((&shown["revision"], &shown["status"]), (&json!(2), &json!("open")));
        assert_eq!(shown["body_base64"], letter["body_base64"], "the event as it was read is kept");
        assert_eq!(shown["event"]["body"], "{\"icao24\":\"later\",\"n\":1}");
        let history = shown["history"].as_array().unwrap();
        assert_eq!(history.len(), 2);
        assert_eq!(history[0]["action"], "dead-letter.edit");
        assert_eq!(history[0]["reason"], "mended");
        assert!(history[0]["by"].as_str().unwrap().contains("RootManageSharedAccessKey"));
        assert_eq!(history[0]["detail"]["event"]["body"], "{\"n\":1,\"icao24\":\"late\"}");
        let page = place.ok(&format!("dead-letters show {id}"));
        for part in ["edited, revision 2", "what was done", "dead-letter.edit by", "\"icao24\": \"later\""] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains('\u{1b}'), "colours are for terminals");
    });
}

#[test]
fn an_editor_makes_a_revision() {
    let place = processed();
    let mut command = place.command("dead-letters edit 2 --reason mended --json");
    command.env("EDITOR", "printf '{\"icao24\":\"x\"}' >");
    let edited = objects(&succeeded(command.output().unwrap(), "an edit"));
    assert_eq!((&edited[0]["result"], &edited[0]["revision"]), (&json!("edited"), &json!(1)));
    assert_eq!(shown(&place, 2)["event"]["body"], "{\"icao24\":\"x\"}");
}

#[test]
fn discarded_ones_are_kept_and_accounted_for() {
    both_ways(|place, _| {
        let dry = place.json("dead-letters discard 2 --reason x --dry-run");
        assert_eq!(ids(&dry), [2]);
        assert_eq!(shown(place, 2)["status"], "open");
        let discarded = place.json("dead-letters discard 2 --reason unwanted");
        assert_eq!(discarded, [json!({"id": 2, "result": "done"})]);
        let again = place.ok("dead-letters discard 2 --reason unwanted");
        assert!(again.contains("0 dead letters discarded; 1 were already"), "{again}");
        let said = fails(place, "dead-letters redrive 2 --reason x", 1);
        assert!(said.contains("error[TG-409]: discarded, and so nothing to act on: 2"), "{said}");
        assert_eq!(shown(place, 2)["status"], "discarded");
        let account = place.json("audit").remove(0);
        assert_eq!((&account["discarded"], &account["dead_lettered"]), (&json!(1), &json!(2)));
        assert_eq!(account["ok"], true);
        let trail = place.json("trail --subject 2");
        assert_eq!(trail.len(), 1);
        assert_eq!(
            (&trail[0]["action"], &trail[0]["reason"]),
            (&json!("dead-letter.discard"), &json!("unwanted"))
        );
        let listed = place.ok("trail");
        assert!(listed.contains("unwanted"), "{listed}");
    });
}

#[test]
fn a_lease_keeps_others_away() {
    both_ways(|place, _| {
        let as_user = |user: &str, words: &str| {
            let mut command = place.command(words);
            command.env("USER", user);
            command.output().unwrap()
        };
        let leased =
            objects(&succeeded(as_user("ann", "dead-letters lease --limit 2 --for 5m --json"), "a lease"));
        assert_eq!(ids(&leased), [1, 2]);
        assert_eq!(leased[0]["lease"]["holder"], "ann (RootManageSharedAccessKey)");
        let rest =
            objects(&succeeded(as_user("bob", "dead-letters lease --limit 9 --for 1h --json"), "a lease"));
        assert_eq!(ids(&rest), [3]);
        let refused = as_user("bob", "dead-letters discard 1 --reason x");
        assert_eq!(refused.status.code(), Some(1));
        let said = text(&refused.stderr);
        assert!(said.contains("error[TG-409]: leased by somebody else: 1"), "{said}");
        succeeded(as_user("ann", "dead-letters extend 1 --for 10m"), "a longer lease");
        succeeded(as_user("ann", "dead-letters release 1"), "a release");
        succeeded(as_user("bob", "dead-letters discard 1 --reason x"), "a discard");
        let own = succeeded(as_user("ann", "dead-letters discard 2 --reason x"), "a discard of one's own");
        assert!(own.contains("1 dead letters discarded"), "{own}");
    });
}

/// A copy of the data directory, as a backup is.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn an_exported_file_brings_edits_into_a_copy_of_the_data_directory_and_into_no_other() {
    let (place, other) = (processed(), processed());
    let restored = Place::new(crate::support::CONFIG);
    copy(&place.data(), &restored.data());
    place.ok("dead-letters discard 3 --reason nobody-needs-it");
    for id in [1, 2] {
        let mut edit = place.command(&format!("dead-letters edit {id} --reason mended"));
        succeeded(
            edit.args(["--body", &format!("{{\"icao24\":\"late-{id}\"}}")]).output().unwrap(),
            "an edit",
        );
    }
    let file = restored.path().join("letters.ndjson");
    place.ok(&format!("dead-letters export --file {}", file.display()));

    let said = restored.ok("dead-letters import letters.ndjson --reason restored");
    assert!(said.contains("2 dead letters edited, 1 unchanged, 0 lines not taken"), "{said}");
    let again = restored.ok("dead-letters import letters.ndjson --reason restored");
    assert!(again.contains("0 dead letters edited, 3 unchanged"), "{again}");
    let events = |place: &Place| [1, 2, 3].map(|id| shown(place, id)["event"].clone());
    assert_eq!(events(&restored), events(&place));
    restored.ok("dead-letters redrive 1 2 --reason restored");
    let server = restored.serve();
    crate::support::wait_until("they are applied", || {
        restored.json("dead-letters list --status redriven").len() == 2
    });
    assert_eq!(restored.json("documents get aircraft late-1")[0]["document"], json!({"icao24": "late-1"}));
    assert!(server.terminate().success());
    assert_eq!(restored.run("audit --deep").status.code(), Some(0));

    // Another life of the hub has other events under these numbers.
    let refused = other.run(&format!("dead-letters import {} --reason x", file.display()));
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("in this life of the hub") && said.contains("publish it there"), "{said}");
    assert!(other.json("dead-letters list").iter().all(|letter| letter["revision"] == 0));
}

#[test]
fn an_exported_file_brings_edits_back() {
    both_ways(|place, _| {
        place.ok("dead-letters export --file letters.ndjson");
        let file = place.path().join("letters.ndjson");
        let exported = objects(&std::fs::read_to_string(&file).unwrap());
        let listed = place.json("dead-letters list");
        for (line, letter) in exported.iter().zip(&listed) {
            for (field, value) in letter.as_object().unwrap() {
                assert_eq!(&line[field], value, "{field}");
            }
        }
        let unchanged = place.ok("dead-letters import letters.ndjson --reason back");
        assert!(unchanged.contains("0 dead letters edited, 3 unchanged, 0 lines not taken"), "{unchanged}");

        let mut lines = exported;
        for line in &mut lines {
            line["event"]["body"] = json!("{\"icao24\":\"back\"}");
            line["event"]["properties"] = json!({"mended": true});
        }
        lines[2]["sequence_number"] = json!(1_000_000);
        let mut changed: Vec<String> = lines.iter().map(ToString::to_string).collect();
        changed.push("{\"id\":1".to_owned());
        place.write("changed.ndjson", changed.join("\n").as_bytes());
        let dry = place.run("dead-letters import changed.ndjson --reason back --dry-run");
        assert!(text(&dry.stdout).contains("2 dead letters would be edited"), "{}", text(&dry.stdout));
        assert_eq!(shown(place, 1)["revision"], 0);

        let output = place.run("dead-letters import changed.ndjson --reason back");
        assert_eq!(output.status.code(), Some(1));
        let (out, said) = (text(&output.stdout), text(&output.stderr));
        assert!(out.contains("2 dead letters edited, 0 unchanged, 2 lines not taken"), "{out}");
        assert!(
            said.contains("line 3 of changed.ndjson: there is no dead letter of aircraft/flights/"),
            "{said}"
        );
        assert!(said.contains("line 4 of changed.ndjson: it is no exported dead letter"), "{said}");
        let edited = shown(place, 1);
        assert_eq!(
            (&edited["revision"], &edited["event"]["properties"]),
            (&json!(1), &json!({"mended": true}))
        );

        // Once more takes nothing twice; an older export does not overwrite what came after it.
        let again = place.run("dead-letters import changed.ndjson --reason back");
        assert!(
            text(&again.stdout).contains("0 dead letters edited, 2 unchanged"),
            "{}",
            text(&again.stdout)
        );
        lines[0]["event"]["body"] = json!("{\"icao24\":\"other\"}");
        place.write("old.ndjson", format!("{}\n", lines[0]).as_bytes());
        let old = fails(place, "dead-letters import old.ndjson --reason back", 1);
        assert!(old.contains("error[TG-409]") && old.contains("newest revision"), "{old}");
    });
}
