//! What the configuration says about mistakes: every one of them, with the place, the right names and an example.

use std::time::Duration;

use tidegate::config::elements::retention::RetentionTime;
use tidegate::config::{Config, FunctionKind, Registered, SAMPLE, SecretSource};
use tidegate_alerts::target::{DEFAULT_EMAIL_TIMEOUT, DEFAULT_WEBHOOK_TIMEOUT, MailTls, Schema};
use tidegate_function::Merge;
use tidegate_host::circuit::{CircuitSettings, ProbePolicy};
use tidegate_host::settings::{AtLimit, OnExhausted, Order, ParkingLimits, Sharing};

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
    assert_eq!(config.alerts.rules, tidegate_alerts::rules::RuleSettings::default());
    assert_eq!(config.alerts.link_lifetime, tidegate_alerts::links::DEFAULT_LIFETIME);
    assert_eq!((config.alerts.base_url, config.emails.len(), config.webhooks.len()), (None, 0, 0));
    assert_eq!(config.audit.keep, RetentionTime::For(Duration::from_secs(90 * 86_400)));
    assert_eq!(Config::empty().hubs, []);
    // A table of which only one key is given has the defaults of the others.
    let partly = format!("{text}parking = {{ max_events = 7 }}\ncircuit = {{ threshold = 7 }}\n");
    let settings =
        Config::parse(&partly, "tidegate.toml", Registered::Any).unwrap().functions.remove(0).settings;
    let defaults = tidegate_host::settings::FunctionSettings::default();
    assert_eq!(settings.parking, ParkingLimits { max_events: 7, ..defaults.parking });
    assert_eq!(settings.circuit, CircuitSettings { threshold: 7, ..defaults.circuit });
}

/// Each text with everything that is said about it.
#[test]
fn a_mistake_is_named_with_its_place_and_the_way_out() {
    let hub = "valid keys: `partitions`, `retention`, `retention_bytes`, `consumer_groups`";
    for (text, expected) in [
        (
            "[hub.flights]\npartition = 8\n",
            vec![format!("error[TG-101]: tidegate.toml:2: unknown key `partition` in [hub.flights]\n  help: did you mean `partitions`?\n  help: {hub}")],
        ),
        (
            "[hubs.flights]\n",
            vec!["error[TG-101]: tidegate.toml:1: unknown table or key `hubs`\n  help: did you mean `hub`?\n  help: valid tables: `hub`, `source`, `function`, `dependency`, `alerts`, `email`, `webhook`, `audit`, `http`, `read_api`, `console`, `oidc`, `mask`, `amqp`, `access`, `access_token`, `throughput`, `processor`, `logs`, `otlp`, `scale`".to_owned()],
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
            vec!["error[TG-102]: tidegate.toml:1: `hub` must hold tables with names\n  help: write it as\n  help: [hub.flights]\n  help: partitions = 8\n  help: retention = \"7d\"\n  help: consumer_groups = [\"billing\"]".to_owned()],
        ),
        (
            "[http]\nlisten = \"localhost\"\n",
            vec!["error[TG-102]: tidegate.toml:2: `listen` of [http] is \"localhost\": expected an IP address and a port\n  help: for example `listen = \"127.0.0.1:8780\"`".to_owned()],
        ),
        (
            "[hub.flights]\n[function.f]\nhub = \"flight\"\nkind = \"upsert\"\nkey = \"/id\"\n",
            vec!["error[TG-103]: tidegate.toml:3: [function.f]: `hub` is \"flight\", which is not declared\n  help: did you mean `flights`?\n  help: declared hubs: `flights`\n  help: declare it with a table [hub.flight], or [source.flight] if it is somebody else's".to_owned()],
        ),
        (
            "[function.f]\nhub = \"a\"\nkind = \"upsert\"\nkey = \"/id\"\n",
            vec!["error[TG-103]: tidegate.toml:2: [function.f]: `hub` is \"a\", which is not declared\n  help: declared hubs: there are none\n  help: declare it with a table [hub.a], or [source.a] if it is somebody else's".to_owned()],
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
fn what_happens_when_things_go_wrong_is_read_as_it_is_written() {
    let text = r#"
        [hub.a]
        [function.f]
        hub = "a"
        kind = "upsert"
        key = "/id"
        order = "key"
        on_exhausted = "hold"
        parking = { max_events = 5, max_bytes = "1KiB", max_age = "2h", at_limit = "dead-letter" }
        [function.f.circuit]
        enabled = false
        threshold = 3
        window = "20s"
        minimum_volume = 4
        failure_ratio = 1
        probe = "manual"
        probe_timeout = "5s"
        ramp = "0s"
        step_aside = "0s"
        poll_interval = "250ms"
        [alerts]
        dead_letters_above = 0
        base_url = "https://tide.example.com/"
        link_lifetime = "1h"
        evaluation_interval = "1s"
        [email.ops]
        host = "mail.example.com"
        user = "tidegate"
        password = { env = "MAIL_PASSWORD" }
        from = "Tidegate <tidegate@example.com>"
        to = ["mia@example.com", "noor@example.com"]
        [webhook.pager]
        url = "https://pager.example.com/events"
        schema = "event-grid"
        secret = { file = "pager.secret" }
        headers = { Authorization = "Bearer hush", X-Tenant = { env = "TENANT" } }
        handshake = true
        [webhook.chat]
        url = { env = "CHAT_URL" }
        [webhook.open]
        url = "https://chat.example.com/services/hush"
        [audit]
        keep = "forever"
        [processor]
        instances = "several"
        heartbeat = "2s"
        expires_after = "20s"
        stuck_after = "90s"
    "#;
    let config = Config::parse(text, "tidegate.toml", Registered::Any).unwrap();
    let settings = &config.functions[0].settings;
    assert_eq!((settings.order, settings.on_exhausted), (Order::Key, OnExhausted::Hold));
    let limits = ParkingLimits {
        max_events: 5,
        max_bytes: 1024,
        max_age: Duration::from_secs(7200),
        at_limit: AtLimit::DeadLetter,
    };
    assert_eq!(settings.parking, limits);
    let circuit = CircuitSettings {
        enabled: false,
        threshold: 3,
        window: Duration::from_secs(20),
        minimum_volume: 4,
        failure_ratio: 1.0,
        probe: ProbePolicy::Manual,
        probe_timeout: Duration::from_secs(5),
        ramp: Duration::ZERO,
        step_aside: Duration::ZERO,
        poll_interval: Duration::from_millis(250),
    };
    assert_eq!(settings.circuit, circuit);
    assert_eq!(config.alerts.rules.growing_above, 0);
    assert_eq!(config.alerts.base_url.as_deref(), Some("https://tide.example.com"));
    assert_eq!(config.alerts.evaluation_interval, Duration::from_secs(1));
    let email = &config.emails[0];
    assert_eq!((email.port, email.tls, email.timeout), (587, MailTls::StartTls, DEFAULT_EMAIL_TIMEOUT));
    let password = SecretSource::Variable("MAIL_PASSWORD".to_owned());
    assert_eq!(email.credentials, Some(("tidegate".to_owned(), password)));
    assert_eq!(config.webhooks[0].url, SecretSource::Variable("CHAT_URL".to_owned()));
    assert_eq!(config.audit.keep, RetentionTime::Forever);
    let host = &config.processor.host;
    let (heartbeat, expires_after) = (Duration::from_secs(2), Duration::from_secs(20));
    assert_eq!(host.sharing, Sharing::Shared { heartbeat, expires_after });
    assert_eq!(host.stuck_after, Duration::from_secs(90));
    let webhook = &config.webhooks[2];
    assert_eq!((webhook.schema, webhook.timeout), (Schema::EventGrid, DEFAULT_WEBHOOK_TIMEOUT));
    assert!(webhook.handshake);
    assert!(!format!("{config:?}").contains("hush"), "a secret is shown");
}

#[test]
fn a_mistake_about_failures_and_alerts_is_named_with_the_way_out() {
    let in_function = |line: &str| {
        format!("[hub.a]\n[function.f]\nhub = \"a\"\nkind = \"upsert\"\nkey = \"/id\"\n{line}\n")
    };
    for (line, message, help) in [
        (
            "order = \"keys\"",
            "`order` of [function.f] is \"keys\": expected one of \"partition\", \"key\", \"none\"",
            "order = \"key\"",
        ),
        ("on_exhausted = \"retry\"", "expected one of \"dead-letter\", \"hold\"", "on_exhausted = \"hold\""),
        ("parking = 5", "`parking` of [function.f] is 5: expected a table", "max_events"),
        (
            "parking = { max_event = 5 }",
            "unknown key `max_event` in `parking` of [function.f]",
            "did you mean `max_events`?",
        ),
        ("parking = { max_events = 0 }", "expected a whole number from 1 to", "max_events = 100"),
        (
            "circuit = { thresold = 5 }",
            "unknown key `thresold` in `circuit` of [function.f]",
            "did you mean `threshold`?",
        ),
        ("circuit = { failure_ratio = 1.5 }", "expected a number above 0 and up to 1", "failure_ratio = 0.5"),
        (
            "circuit = { window = \"2h\" }",
            "window must be longer than zero and at most an hour",
            "for example circuit = {",
        ),
        ("circuit = { window = \"1500ms\" }", "window must be whole seconds", "for example circuit = {"),
        (
            "circuit = { probe = \"manual\", probe_after = \"1s\" }",
            "`probe_after` has no meaning with probe = \"manual\"",
            "remove it",
        ),
        (
            "circuit = { probe_after = \"10m\" }",
            "the time before the first probe must not be above the longest",
            "for example",
        ),
    ] {
        let found = problems(&in_function(line));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].contains("tidegate.toml:6:"), "{line}: {}", found[0]);
        assert!(found[0].contains(message) && found[0].contains(help), "{line}: {}", found[0]);
    }
    let email = "[email.ops]\nhost = \"m\"\nfrom = \"a@example.com\"\nto = [\"b@example.com\"]\n";
    let webhook = "[webhook.hook]\nurl = \"https://example.com\"\n";
    for (text, message) in [
        ("[email.ops]\nhost = \"m\"\nfrom = \"a@example.com\"\n".to_owned(), "[email.ops] has no `to`"),
        (format!("{email}user = \"u\"\n"), "`user` needs a `password`"),
        (format!("{email}password = \"hush\"\n"), "`password` needs a `user`"),
        (
            format!("{email}tls = \"none\"\nuser = \"u\"\npassword = {{ env = \"P\" }}\n"),
            "set tls to starttls or tls",
        ),
        (email.replace("b@", "b@@"), "is no mail address"),
        (format!("{email}timeout = \"10m\"\n"), "at most 5 minutes"),
        (format!("{webhook}secret = \"hush\"\n"), "could be guessed"),
        (format!("{webhook}secret = 12345678901234567\n"), "`secret` of [webhook.hook]: expected a text, or"),
        (
            format!("{webhook}secret = {{ vault = \"hush\" }}\n"),
            "`secret` of [webhook.hook]: expected a text, or",
        ),
        (format!("{webhook}headers = {{ \"a b\" = \"hush\" }}\n"), "is no name of a header"),
        (format!("{webhook}headers = \"hush\"\n"), "expected a table of headers"),
        ("[webhook.hook]\nurl = \"ftp://example.com\"\n".to_owned(), "must begin with https://"),
        ("[alerts]\nbase_url = \"example.com\"\n".to_owned(), "begins with `https://` or `http://`"),
        ("[alerts]\nparking_percent = 101\n".to_owned(), "a whole number from 1 to 100"),
        ("[hub.restart]\n".to_owned(), "is taken by the links in mails"),
    ] {
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(message), "{text}: {}", found[0]);
        assert!(
            !found[0].contains("hush") && !found[0].contains("12345678901234567"),
            "a secret is shown: {}",
            found[0]
        );
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
