//! What the configuration says about mistakes: every one of them, with the place, the right names and an example.

use tidegate::config::{Config, FunctionKind, Registered, SAMPLE};
use tidegate_function::Merge;

use crate::support::CONFIG;

fn problems(text: &str) -> Vec<String> {
    match Config::parse(text, "tidegate.toml", Registered::Only(&["enrich", "score"])) {
        Ok(_) => Vec::new(),
        Err(failure) => {
            assert_eq!(failure.exit, tidegate::failure::Exit::Usage);
            failure.problems.iter().map(ToString::to_string).collect()
        }
    }
}

#[test]
fn the_configuration_of_the_reference_works_as_written() {
    for text in [CONFIG, SAMPLE] {
        let config = Config::parse(text, "tidegate.toml", Registered::Any).unwrap();
        assert_eq!((config.hubs.len(), config.functions.len()), (1, 1));
        let (hub, function) = (&config.hubs[0], &config.functions[0]);
        assert_eq!((hub.name.as_str(), hub.partitions), ("flights", 8));
        assert_eq!(function.settings.max_event_batch_size, 512);
        assert_eq!(function.settings.retry.max_attempts(), Some(4));
        let FunctionKind::Upsert(upsert) = &function.kind else { panic!("{function:?}") };
        assert_eq!((upsert.collection.as_str(), upsert.upsert.merge), ("aircraft", Merge::Patch));
    }
}

#[test]
fn the_defaults_are_those_of_the_host() {
    let text = "[hub.a]\n[function.f]\nhub = \"a\"\nkind = \"upsert\"\nkey = \"/id\"\n";
    let config = Config::parse(text, "tidegate.toml", Registered::Any).unwrap();
    assert_eq!(config.functions[0].settings, tidegate_host::settings::FunctionSettings::default());
    assert_eq!(config.processor.host, tidegate_host::settings::HostOptions::default());
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8780");
    assert_eq!(Config::empty().hubs, []);
}

/// Each text with everything that is said about it.
#[test]
fn a_mistake_is_named_with_its_place_and_the_way_out() {
    let hub = "valid keys: `partitions`, `retention`, `retention_bytes`";
    for (text, expected) in [
        (
            "[hub.flights]\npartition = 8\n",
            vec![format!("error[TG-101]: tidegate.toml:2: unknown key `partition` in [hub.flights]\n  help: did you mean `partitions`?\n  help: {hub}")],
        ),
        (
            "[hubs.flights]\n",
            vec!["error[TG-101]: tidegate.toml:1: unknown table or key `hubs`\n  help: did you mean `hub`?\n  help: valid tables: `hub`, `function`, `http`, `processor`".to_owned()],
        ),
        (
            "[hub.flights]\ncolour = \"blue\"\n",
            vec![format!("error[TG-101]: tidegate.toml:2: unknown key `colour` in [hub.flights]\n  help: {hub}")],
        ),
        (
            "[hub.flights]\npartitions = \"8\"\n",
            vec!["error[TG-102]: tidegate.toml:2: `partitions` of [hub.flights] is \"8\": expected a whole number from 1 to 1024\n  help: for example `partitions = 8`".to_owned()],
        ),
        (
            "[hub.flights]\npartitions = 0\n",
            vec!["error[TG-102]: tidegate.toml:2: `partitions` of [hub.flights] is 0: expected a whole number from 1 to 1024\n  help: for example `partitions = 8`".to_owned()],
        ),
        (
            "[hub.flights]\nretention = \"7 days\"\n",
            vec!["error[TG-102]: tidegate.toml:2: `retention` of [hub.flights] is \"7 days\": expected a duration above zero, or \"forever\"\n  help: for example `retention = \"7d\"`".to_owned()],
        ),
        (
            "[hub.flights]\nretention_bytes = 5000\n",
            vec!["error[TG-102]: tidegate.toml:2: `retention_bytes` of [hub.flights] is 5000: expected a size above zero: a whole number and one of the units `B`, `KiB`, `MiB`, `GiB`, `TiB`\n  help: for example `retention_bytes = \"64MiB\"`".to_owned()],
        ),
        (
            "[hub.\"a/b\"]\n",
            vec!["error[TG-102]: tidegate.toml:1: [hub.a/b]: hub \"a/b\" may hold only letters, digits, '-', '_' and '.'\n  help: a name has letters, digits, and inside also `-`, `_` and `.`".to_owned()],
        ),
        (
            "[hub.flights]\n[hub.Flights]\n",
            vec!["error[TG-102]: tidegate.toml:2: [hub.Flights] and [hub.flights] differ only in the case of their letters\n  help: clients could not tell them apart: rename one".to_owned()],
        ),
        (
            "hub = 5\n",
            vec!["error[TG-102]: tidegate.toml:1: `hub` must hold tables with names\n  help: write it as\n  help: [hub.flights]\n  help: partitions = 8\n  help: retention = \"7d\"".to_owned()],
        ),
        (
            "[http]\nlisten = \"localhost\"\n",
            vec!["error[TG-102]: tidegate.toml:2: `listen` of [http] is \"localhost\": expected an IP address and a port\n  help: for example `listen = \"127.0.0.1:8780\"`".to_owned()],
        ),
        (
            "[hub.flights]\n[function.f]\nhub = \"flight\"\nkind = \"upsert\"\nkey = \"/id\"\n",
            vec!["error[TG-103]: tidegate.toml:3: [function.f]: `hub` is \"flight\", which is not declared\n  help: did you mean `flights`?\n  help: declared hubs: `flights`\n  help: declare it with a table [hub.flight]".to_owned()],
        ),
        (
            "[function.f]\nhub = \"a\"\nkind = \"upsert\"\nkey = \"/id\"\n",
            vec!["error[TG-103]: tidegate.toml:2: [function.f]: `hub` is \"a\", which is not declared\n  help: declared hubs: there are none\n  help: declare it with a table [hub.a]".to_owned()],
        ),
        (
            "[hub.a]\n[function.scores]\nhub = \"a\"\nkind = \"rust\"\n",
            vec!["error[TG-103]: tidegate.toml:4: [function.scores]: kind = \"rust\", but this program registers no function \"scores\"\n  help: did you mean `score`?\n  help: registered functions: `enrich`, `score`\n  help: register it with Program::function".to_owned()],
        ),
        (
            "[hub.a]\n[function.score]\nhub = \"a\"\nkind = \"rust\"\nmerge = \"patch\"\n",
            vec!["error[TG-102]: tidegate.toml:5: [function.score]: `merge` has no meaning with kind = \"rust\"\n  help: remove it: the function itself decides this".to_owned()],
        ),
        (
            "[hub.a]\n[function.f]\nhub = \"a\"\nkind = \"upsert\"\n",
            vec!["error[TG-102]: tidegate.toml:2: [function.f]: kind = \"upsert\" needs a `key`\n  help: add `key = \"/id\"`: a JSON pointer to the field that names the document".to_owned()],
        ),
        (
            "[hub.a]\n[function.f]\nhub = \"a\"\nkind = \"upsert\"\nkey = \"id\"\n",
            vec!["error[TG-102]: tidegate.toml:5: `key` of [function.f] is \"id\": expected a JSON pointer: a text that begins with `/`\n  help: for example `key = \"/icao24\"`".to_owned()],
        ),
        (
            "[hub.a]\n[function.f]\nhub = \"a\"\nkind = \"lambda\"\nkey = \"/id\"\n",
            vec!["error[TG-102]: tidegate.toml:4: `kind` of [function.f] is \"lambda\": expected one of \"upsert\", \"rust\"\n  help: for example `kind = \"upsert\"`".to_owned()],
        ),
        (
            "[hub.a]\n[function.f]\nhub = \"a\"\nkind = \"upsert\"\nkey = \"/id\"\nretry = \"often\"\n",
            vec!["error[TG-102]: tidegate.toml:6: `retry` of [function.f] is \"often\": expected a table\n  help: for example `retry = { strategy = \"exponential\", max_attempts = 4, min_interval = \"100ms\", max_interval = \"10s\" }`".to_owned()],
        ),
        (
            "[hub.a]\n[function.f]\nhub = \"a\"\nkind = \"upsert\"\nkey = \"/id\"\nretry = { strategy = \"fixed\", min_interval = \"1s\" }\n",
            vec!["error[TG-102]: tidegate.toml:6: `retry` of [function.f]: `min_interval` has no meaning with strategy = \"fixed\"\n  help: remove it, or choose the other strategy".to_owned()],
        ),
        (
            "[hub.a]\n[function.f]\nhub = \"a\"\nkind = \"upsert\"\nkey = \"/id\"\nretry = { strategy = \"exponential\", min_interval = \"9s\", max_interval = \"1s\" }\n",
            vec!["error[TG-102]: tidegate.toml:6: `retry` of [function.f]: `min_interval` is above `max_interval`\n  help: exchange them".to_owned()],
        ),
        (
            "[hub.a]\n[function.f]\nhub = \"a\"\nkind = \"upsert\"\nkey = \"/id\"\nmin_event_batch_size = 200\n",
            vec!["error[TG-102]: tidegate.toml:6: [function.f]: min_event_batch_size must not be above max_event_batch_size\n  help: change one of the two".to_owned()],
        ),
        (
            "[hub.a]\n[function.f]\nhub = \"a\"\nkind = \"upsert\"\nkey = \"/id\"\ninitial_offset = \"yesterday\"\n",
            vec!["error[TG-102]: tidegate.toml:6: `initial_offset` of [function.f] is \"yesterday\": expected \"earliest\", \"latest\" or a time such as \"2026-01-31T12:00:00Z\"\n  help: for example `initial_offset = \"earliest\"`".to_owned()],
        ),
    ] {
        assert_eq!(problems(text), expected, "{text}");
    }
}

#[test]
fn text_that_is_no_toml_is_named_with_its_line() {
    let found = problems("[hub.flights]\npartitions = = 8\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("error[TG-104]: tidegate.toml:2: "), "{found:?}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once_in_the_order_of_the_file() {
    let text = "[hub.flights]\npartitions = -1\nretain = \"7d\"\n\n[function.f]\nhub = \"flight\"\nkind = \"upsert\"\n\
                timeout = 5\nmax_wait_time = \"soon\"\nkey = \"/id\"\n\n[htpp]\n";
    let lines: Vec<String> = problems(text)
        .iter()
        .map(|problem| problem.split(": ").take(2).collect::<Vec<_>>().join(": "))
        .collect();
    assert_eq!(
        lines,
        [
            "error[TG-102]: tidegate.toml:2",
            "error[TG-101]: tidegate.toml:3",
            "error[TG-102]: tidegate.toml:8",
            "error[TG-102]: tidegate.toml:9",
            "error[TG-101]: tidegate.toml:12",
        ]
    );
}

#[test]
fn a_time_may_be_written_as_text_or_as_tomls_own() {
    for time in ["\"2026-01-31T12:00:00Z\"", "2026-01-31T12:00:00Z"] {
        let text = format!(
            "[hub.a]\n[function.f]\nhub = \"a\"\nkind = \"upsert\"\nkey = \"/id\"\ninitial_offset = {time}\n"
        );
        let config = Config::parse(&text, "tidegate.toml", Registered::Any).unwrap();
        let start = format!("{:?}", config.functions[0].settings.initial_offset);
        assert_eq!(start, "EnqueuedTime(Timestamp(1769860800000))");
    }
}
