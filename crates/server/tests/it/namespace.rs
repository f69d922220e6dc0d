//! The namespace as configuration: consumer groups, access rules, tokens, throughput, the AMQP front door; and the
//! emulator's own file.

use std::time::Duration;

use tidegate::config::{Config, DevelopmentKey, Registered, SecretSource};
use tidegate_gateway::auth::{Right, TokenAlgorithm};
use tidegate_gateway::throughput::ThroughputUnits;

use crate::support::{Place, program, started, text as text_of};

fn parse(text: &str) -> Config {
    Config::parse(text, "tidegate.toml", Registered::Any).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    match Config::parse(text, "tidegate.toml", Registered::Any) {
        Ok(_) => Vec::new(),
        Err(failure) => failure.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn without_a_word_there_is_nothing_open() {
    let config = Config::empty();
    assert_eq!((config.amqp.listen, config.amqp.tls, config.amqp.websocket), (None, None, true));
    assert_eq!(config.amqp.development_key, DevelopmentKey::Off);
    assert_eq!((config.amqp.max_connections, config.amqp.max_frame_size), (5000, 1 << 20));
    assert_eq!(config.amqp.idle_timeout, Duration::from_secs(240));
    assert_eq!((config.access.len(), config.access_token, config.throughput), (0, None, None));
}

#[test]
fn a_namespace_is_read_as_it_is_written() {
    let config = parse(
        r#"
        [hub.flights]
        consumer_groups = ["billing", "$default", "Audit"]
        [hub.drones]
        [access.pumps]
        rights = ["send", "listen"]
        hub = "flights"
        primary_key = { env = "PUMPS_KEY" }
        secondary_key = "hush"
        [access.boss]
        rights = ["manage"]
        primary_key = { file = "boss.key" }
        [access_token]
        issuer = "https://login.example.com"
        audience = "api://tidegate"
        algorithm = "ES256"
        key = { file = "issuer.pem" }
        [throughput]
        units = 2
        auto_inflate_max = 5
        [amqp]
        listen = "127.0.0.1:5671"
        tls = { certificate = "server.pem", key = "server.key" }
        websocket = false
        development_key = "loopback"
        max_connections = 7
        max_frame_size = "64KiB"
        idle_timeout = "1m"
        "#,
    );
    let groups =
        |hub: usize| config.hubs[hub].consumer_groups.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((groups(0), groups(1)), (vec![], vec!["billing".to_owned(), "Audit".to_owned()]));
    let [boss, pumps] = &config.access[..] else { panic!("{:?}", config.access) };
    assert_eq!((boss.name.as_str(), &boss.rights[..], &boss.hub), ("boss", &[Right::Manage][..], &None));
    assert_eq!(pumps.rights, [Right::Send, Right::Listen]);
    assert_eq!(pumps.hub.as_ref().unwrap().as_str(), "flights");
    assert_eq!(pumps.primary_key, SecretSource::Variable("PUMPS_KEY".into()));
    let token = config.access_token.as_ref().unwrap();
    assert_eq!(
        (&token.settings.audiences[..], token.settings.algorithm),
        (&["api://tidegate".to_owned()][..], TokenAlgorithm::Es256)
    );
    assert_eq!(config.throughput, Some(ThroughputUnits { units: 2, auto_inflate_max: 5 }));
    let amqp = &config.amqp;
    assert_eq!(amqp.tls.as_ref().unwrap().key.to_str(), Some("server.key"));
    assert_eq!((amqp.websocket, amqp.development_key), (false, DevelopmentKey::Loopback));
    assert_eq!(
        (amqp.max_connections, amqp.max_frame_size, amqp.idle_timeout),
        (7, 65536, Duration::from_secs(60))
    );
    assert!(!format!("{config:?}").contains("hush"), "a secret is shown");
    assert_eq!(
        parse("[throughput]\nunits = 3\n").throughput,
        Some(ThroughputUnits { units: 3, auto_inflate_max: 3 })
    );
}

#[test]
fn a_mistake_is_named_with_the_way_out() {
    let rule = "[hub.flights]\n[access.a]\nrights = [\"send\"]\nprimary_key = \"hush\"\n";
    for (text, complaint) in [
        ("[hub.a]\nconsumer_groups = [\"b\", \"B\"]\n".to_owned(), "the consumer groups b and B are one"),
        (
            "[hub.a]\nconsumer_groups = [\"a/b\"]\n".to_owned(),
            "the name of the consumer group \"a/b\" may hold only",
        ),
        ("[hub.a]\nconsumer_groups = \"b\"\n".to_owned(), "expected an array of names"),
        ("[hub.a]\nconsumer_group = [\"b\"]\n".to_owned(), "did you mean `consumer_groups`?"),
        (rule.replace("send", "write"), "expected an array of \"send\", \"listen\" and \"manage\""),
        (rule.replace("[\"send\"]", "[]"), "expected an array of \"send\", \"listen\" and \"manage\""),
        (rule.replace("access.a]", "access.\"a b\"]"), "this is no name of an access rule"),
        (
            format!("{rule}hub = \"flight\"\n"),
            "`hub` is \"flight\", which is not declared\n  help: did you mean `flights`?",
        ),
        (rule.replace("primary_key", "key"), "unknown key `key` in [access.a]"),
        (format!("{rule}secondary_key = 5\n"), "`secondary_key` of [access.a]: expected a text, or"),
        ("[access_token]\nissuer = \"i\"\nkey = \"hush\"\n".to_owned(), "[access_token] has no `audience`"),
        (
            "[access_token]\nissuer = \"i\"\naudience = []\nkey = \"hush\"\n".to_owned(),
            "expected a text, or an array of texts",
        ),
        (
            "[access_token]\nissuer = \"i\"\naudience = \"a\"\nkey = \"hush\"\nalgorithm = \"none\"\n"
                .to_owned(),
            "expected one of \"RS256\"",
        ),
        ("[throughput]\n".to_owned(), "[throughput] has no `units`"),
        ("[throughput]\nunits = 0\n".to_owned(), "expected a whole number from 1 to 1000"),
        ("[throughput]\nunits = 4\nauto_inflate_max = 2\n".to_owned(), "`auto_inflate_max` is below `units`"),
        ("[amqp]\nlisten = 5672\n".to_owned(), "expected an IP address and a port"),
        ("[amqp]\ntls = true\n".to_owned(), "`tls` of [amqp] is true: expected a table"),
        ("[amqp]\ntls = { certificate = \"c.pem\" }\n".to_owned(), "`tls` of [amqp] has no `key`"),
        ("[amqp]\ntls = { certificate = \"\", key = \"k\" }\n".to_owned(), "expected the path of a file"),
        (
            "[amqp]\ndevelopment_key = true\n".to_owned(),
            "expected one of \"off\", \"loopback\", \"anywhere\"",
        ),
        ("[amqp]\nmax_frame_size = \"511B\"\n".to_owned(), "it is from 512 to 16777216"),
        ("[amqp]\nidle_timeout = \"25h\"\n".to_owned(), "`idle_timeout` is above a day"),
        ("[ampq]\n".to_owned(), "did you mean `amqp`?"),
    ] {
        let found = problems(&text);
        assert!(found.iter().any(|problem| problem.contains(complaint)), "{text}: {found:?}");
        assert!(!found.concat().contains("hush"), "a secret is shown: {found:?}");
    }
}

const EMULATOR: &str = r#"{"UserConfig":{"NamespaceConfig":[{"Type":"EventHub","Name":"emulatorNs1","Entities":[
    {"Name":"eh1","PartitionCount":"2","ConsumerGroups":[{"Name":"cg1"}]}]}],"LoggingConfig":{"Type":"File"}}}"#;

#[test]
fn the_emulators_configuration_runs_as_it_is() {
    let place = Place::new("");
    place.write("Config.json", EMULATOR.as_bytes());
    for option in ["--emulator-config", "--config"] {
        let (server, _) =
            started(place.command(&format!("run {option} Config.json --http 127.0.0.1:0 --json")));
        let client = server.client("SAS_KEY_VALUE".to_owned());
        let (status, body) = client.request("POST", "/eh1/messages", "text/plain", b"x").unwrap();
        assert_eq!(status, 201, "{}", text_of(&body));
        let (status, _) =
            server.client("wrong".to_owned()).request("POST", "/eh1/messages", "text/plain", b"x").unwrap();
        assert_eq!(status, 401);
    }
    assert_eq!(place.json("hubs")[0]["partitions"].as_array().unwrap().len(), 2);
    let checked =
        program().current_dir(place.path()).args(["config", "check", "Config.json"]).output().unwrap();
    let checked = text_of(&checked.stdout);
    assert!(checked.contains("note: Config.json: UserConfig.LoggingConfig is not used"), "{checked}");
}

#[test]
fn the_key_that_everybody_knows_is_not_taken_where_others_could_use_it() {
    let place = Place::new("[hub.a]\n");
    place.write("Config.json", EMULATOR.as_bytes());
    for words in [
        "run --emulator-config Config.json --http 0.0.0.0:0",
        "run --emulator-config Config.json --http 127.0.0.1:0 --amqp 0.0.0.0:0",
        "run --config tidegate.toml --development-key loopback --http [::]:0",
    ] {
        let output = place.run(words);
        let told = text_of(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(
            told.contains("the development key, which everybody knows") && told.contains("TG-102"),
            "{told}"
        );
    }
    assert!(!place.data().exists(), "nothing was made");

    let (server, _) = started(place.command("run --config tidegate.toml --http 127.0.0.1:0 --json"));
    let client = server.client("SAS_KEY_VALUE".to_owned());
    assert_eq!(client.request("POST", "/a/messages", "text/plain", b"x").unwrap().0, 401);
}

#[test]
fn what_the_configuration_opens_and_limits_is_open_and_limited() {
    let place = Place::new(
        "[hub.a]\n[hub.b]\n[access.pumps]\nrights = [\"send\"]\nhub = \"a\"\nprimary_key = { file = \"pumps.key\" }\n\
         [throughput]\nunits = 1\n",
    );
    let refused = place.try_serve().err().expect("the key is not there");
    assert!(refused.said.contains("`primary_key` of [access.pumps]:"), "{}", refused.said);

    place.write("pumps.key", b"pump-key\n");
    let server = place.serve();
    let client = server.client("pump-key".to_owned());
    let batch = format!("[{}]", vec![r#"{"Body":"x"}"#; 30_000].join(","));
    let batch_type = "application/vnd.microsoft.servicebus.json";
    assert_eq!(client.request("POST", "/b/messages", "text/plain", b"x").unwrap().0, 403);
    assert_eq!(client.request("POST", "/a/messages", batch_type, batch.as_bytes()).unwrap().0, 201);
    // Half a minute of what one unit takes: no machine is so slow that it is over.
    let (status, body) = client.request("POST", "/a/messages", "text/plain", b"x").unwrap();
    assert_eq!(status, 429, "{}", text_of(&body));
    assert!(text_of(&body).contains("Error code : 50002"), "{}", text_of(&body));
}

#[test]
fn what_holds_is_shown_as_a_configuration_that_says_the_same() {
    let text = "[hub.flights]\n[function.f]\nhub = \"flights\"\nkind = \"upsert\"\nkey = \"/id\"\nretry = { strategy = \"fixed\", \
                delay = \"2s\" }\n[amqp]\nlisten = \"127.0.0.1:5672\"\n[throughput]\nunits = 2\n";
    let secrets = "[access.a]\nrights = [\"send\"]\nprimary_key = \"hush\"\nsecondary_key = { env = \"KEY\" }\n\
                   [webhook.w]\nurl = \"https://hush.example.com\"\nheaders = { a = \"hush\", b = { env = \"B\" } }\n";
    let (config, listing) = Config::parse_with_listing(text, "c", Registered::Any).unwrap();
    let (again, twice) = Config::parse_with_listing(&listing, "the listing", Registered::Any).unwrap();
    assert_eq!(again, config, "{listing}");
    assert_eq!(twice, listing);
    for line in [
        "[hub.flights]\n# partitions = 4\n",
        "# retention_bytes: no limit\n",
        "[function.f.retry]\nstrategy = \"fixed\"\n",
        "delay = \"2s\"\n",
        "[function.f.circuit]\n# enabled = true\n",
        "[http]\n# listen = \"127.0.0.1:8780\"\n",
        "[amqp]\nlisten = \"127.0.0.1:5672\"\n# tls: traffic is not encrypted\n",
    ] {
        assert!(listing.contains(line), "{line}{listing}");
    }
    let (_, listing) = Config::parse_with_listing(secrets, "c", Registered::Any).unwrap();
    assert!(!listing.contains("hush"), "{listing}");
    assert!(listing.contains("primary_key = \"(secret)\"\nsecondary_key = { env = \"KEY\" }\n"), "{listing}");

    let place = Place::new(text);
    place.write("Config.json", EMULATOR.as_bytes());
    let shown = program().current_dir(place.path()).args(["config", "show", "Config.json"]).output().unwrap();
    let shown = text_of(&shown.stdout);
    assert!(shown.contains("[hub.eh1]\npartitions = 2\n"), "{shown}");
    assert!(shown.contains("consumer_groups = [\"cg1\"]\n"), "{shown}");
}
