//! What can be seen of a running server: a scrape, series.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::downstream::{Downstream, Mode};
use crate::support::{CONFIG, Client, Place, text, wait_minutes, wait_until};

/// Lines with an event each, some of which nobody can process.
fn lines(good: usize, bad: usize) -> Vec<u8> {
    let good = (0..good).map(|n| format!("{{\"icao24\":\"a{}\",\"n\":{n}}}\n", n % 10));
    good.chain((0..bad).map(|n| format!("no JSON {n}\n"))).collect::<String>().into_bytes()
}

pub(crate) fn scrape(client: &Client) -> String {
    let (status, body) = client.request("GET", "/metrics", "text/plain", b"").unwrap();
    assert_eq!(status, 200, "{}", text(&body));
    text(&body)
}

/// The value of a sample.
pub(crate) fn value(scrape: &str, sample: &str) -> Option<f64> {
    let line =
        scrape.lines().find(|line| line.strip_prefix(sample).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// Where Debian's package `prometheus` has it; CI always has it.
pub(crate) fn promtool() -> Option<Command> {
    let found =
        Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Some(Command::new("promtool"));
    }
    assert!(std::env::var_os("CI").is_none(), "promtool is missing: install the Debian package prometheus");
    println!("promtool is not here, so its checks are left out: install the Debian package prometheus");
    None
}

#[test]
fn a_scrape_tells_what_was_published_processed_and_set_aside() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let client = server.client(place.key());
    assert!(client.publish("flights", "?key=/icao24", &lines(500, 3)));
    place.caught_up(503);

    let mut seen = String::new();
    wait_until("the metrics tell of every event", || {
        seen = scrape(&client);
        value(&seen, "tidegate_hub_events_total{hub=\"flights\"}") == Some(503.0)
            && value(&seen, "tidegate_lag_events{function=\"aircraft\"}") == Some(0.0)
            && value(&seen, "tidegate_dead_letters{function=\"aircraft\"}") == Some(3.0)
    });
    let of = |sample: &str| value(&seen, sample).unwrap_or_else(|| panic!("no {sample} in\n{seen}"));
    assert_eq!(of("tidegate_published_events_total{hub=\"flights\"}"), 503.0);
    assert!(of("tidegate_published_bytes_total{hub=\"flights\"}") > 503.0 * 10.0);
    assert!(of("tidegate_publishes_total{hub=\"flights\",outcome=\"stored\"}") >= 1.0);
    assert_eq!(of("tidegate_processed_events_total{function=\"aircraft\",outcome=\"applied\"}"), 500.0);
    assert_eq!(of("tidegate_processed_events_total{function=\"aircraft\",outcome=\"dead-lettered\"}"), 3.0);
    assert_eq!(of("tidegate_failed_attempts_total{function=\"aircraft\"}"), 3.0);
    assert_eq!(of("tidegate_event_latency_seconds_count{function=\"aircraft\"}"), 503.0);
    assert!(of("tidegate_commits_total") >= 1.0 && of("tidegate_committed_documents_total") >= 10.0);
    assert_eq!(of("tidegate_lanes{function=\"aircraft\",state=\"running\"}"), 8.0);
    assert_eq!(of("tidegate_circuit_state{circuit=\"aircraft\",state=\"closed\"}"), 1.0);
    assert!(of("process_resident_memory_bytes") > 1e6 && of("process_start_time_seconds") > 1.6e9);
    assert!(of("process_max_fds") > of("process_open_fds") && of("process_open_fds") > 3.0);
    let upload = "method=\"POST\",route=\"/{hub}/messages\"";
    assert_eq!(of(&format!("tidegate_http_requests_total{{{upload},status=\"2xx\"}}")), 1.0);
    assert_eq!(of(&format!("tidegate_http_request_duration_seconds_count{{{upload}}}")), 1.0);
    assert!(of("tidegate_http_connections") >= 1.0 && of("tidegate_http_requests_under_way") >= 1.0);
    assert_eq!(of("tidegate_amqp_connections{transport=\"tcp\"}"), 0.0);

    if let Some(mut promtool) = promtool() {
        let mut checking = promtool
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        checking.stdin.take().unwrap().write_all(seen.as_bytes()).unwrap();
        let checked = checking.wait_with_output().unwrap();
        let said = text(&checked.stdout) + &text(&checked.stderr);
        assert!(checked.status.success() && said.is_empty(), "{said}");
    }
}

#[test]
fn series_tell_how_fast_it_was_a_second_ago() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let client = server.client(place.key());
    let names = ["hub.flights.incoming", "function.aircraft.processed", "function.aircraft.latency_p99"];
    let path = format!("/api/v1/series?name={}&seconds=60", names.join("&name="));
    let read = || -> Value {
        let (status, body) = client.request("GET", &path, "text/plain", b"").unwrap();
        assert_eq!(status, 200, "{}", text(&body));
        serde_json::from_slice(&body).unwrap()
    };
    let points = |answer: &Value, series: usize| -> Vec<f64> {
        let points = answer["series"][series]["points"].as_array().unwrap();
        assert_eq!(points.len(), 60);
        points.iter().filter_map(Value::as_f64).collect()
    };
    wait_until("it has looked twice", || points(&read(), 0).len() > 1);
    assert!(client.publish("flights", "", &lines(100, 0)));
    let mut answer = Value::Null;
    wait_until("all of it is seen", || {
        answer = read();
        points(&answer, 0).iter().sum::<f64>() > 0.0 && points(&answer, 1).iter().sum::<f64>() > 0.0
    });
    assert_eq!(answer["step_s"], 1);
    assert_eq!(answer["series"][0]["unit"], "events/s");
    assert_eq!(answer["series"][1]["name"], names[1]);
    assert!(!points(&answer, 2).is_empty(), "{answer}");

    let (status, body) = client.request("GET", "/api/v1/series", "text/plain", b"").unwrap();
    assert!(status == 400 && text(&body).contains("?name=hub.NAME.incoming"), "{}", text(&body));
}

/// Runs promtool in the directory of the rules.
fn promtool_says(words: &[&str]) {
    let Some(mut promtool) = promtool() else { return };
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/prometheus");
    let done = promtool.current_dir(rules).args(words).output().unwrap();
    let said = text(&done.stdout) + &text(&done.stderr);
    assert!(done.status.success() && said.contains("SUCCESS"), "{said}");
}

#[test]
fn the_alert_rules_are_valid_and_tell_what_they_are_for() {
    promtool_says(&["check", "rules", "tidegate.rules.yml"]);
    promtool_says(&["test", "rules", "tidegate.test.yml"]);
}

fn get(client: &Client, path: &str) -> (u16, Value) {
    let (status, body) = client.request("GET", path, "text/plain", b"").unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {}", text(&body))))
}

#[test]
fn what_became_of_an_event_is_in_the_logs_also_after_a_restart() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let client = server.client(place.key());
    assert!(client.publish("flights", "?key=/icao24", b"{\"icao24\":\"a\"}\nno JSON\n"));
    place.caught_up(2);
    let letters = client.objects("/api/v1/dead-letters");
    let (partition, number) = (&letters[0]["partition"], &letters[0]["sequence_number"]);
    let path = format!(
        "/api/v1/logs?function=aircraft&hub=flights&partition={partition}&sequence_number={number}&level=warn"
    );
    let lines = client.objects(&path);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let fields = &lines[0]["fields"];
    assert_eq!((&fields["fate"], &fields["sequence_number"]), (&Value::from("dead-lettered"), number));
    let invocation = fields["invocation"].as_str().unwrap();
    assert_eq!(invocation.len(), 16);
    assert_eq!(client.objects(&format!("/api/v1/logs?invocation={invocation}")).len(), 1);

    server.kill();
    let server = place.serve();
    let client = server.client(place.key());
    assert_eq!(client.objects(&path), lines, "they outlive the server");
    let newest = client.objects("/api/v1/logs?limit=1");
    assert_eq!(newest.len(), 1);
    assert!(client.objects("/api/v1/logs?text=ACCEPTING%20work").len() >= 2, "one of each life");
    let (status, body) = client.request("GET", "/api/v1/logs?level=loud", "text/plain", b"").unwrap();
    assert!(status == 400 && text(&body).contains("error, warn, info"), "{}", text(&body));
}

#[test]
fn lines_are_json_where_that_is_asked_for() {
    let place = Place::new(CONFIG);
    let mut command = place.command("run --http 127.0.0.1:0 --json");
    command.env("TIDEGATE_LOG_FORMAT", "json");
    let (server, _) = crate::support::started(command);
    let (_, said) = server.terminate_and_tell();
    let lines: Vec<Value> = crate::support::objects(&said);
    assert!(
        lines.iter().any(|line| line["message"] == "accepting work" && line["fields"]["http"].is_string())
    );
}

#[test]
fn lines_about_events_always_have_the_fields_by_which_they_are_found() {
    let place = Place::new(CONFIG);
    let mut command = place.command("run --http 127.0.0.1:0 --json");
    command.env("TIDEGATE_LOG_FORMAT", "json").env("TIDEGATE_LOG", "info,tidegate::events=debug");
    let (server, _) = crate::support::started(command);
    let client = server.client(place.key());
    assert!(client.publish("flights", "?key=/icao24", &lines(300, 0)));
    // With a key and without one.
    assert!(client.publish("flights", "?partition=2", &lines(0, 3)));
    let with_key =
        [("content-type", "application/octet-stream"), ("BrokerProperties", "{\"PartitionKey\":\"k7\"}")];
    assert_eq!(client.ask("POST", "/flights/messages", &with_key, b"no JSON").status, 201);
    place.caught_up(304);
    let (_, said) = server.terminate_and_tell();
    let all = crate::support::objects(&said);
    let about: Vec<&Value> = all.iter().filter(|line| line["target"] == "tidegate::events").collect();
    let (mut events, mut batches) = (Vec::new(), 0);
    for line in about {
        let fields = &line["fields"];
        assert!(fields["function"] == "aircraft" && fields["hub"] == "flights", "{line}");
        assert!(fields["partition"].is_u64(), "{line}");
        assert_eq!(fields["invocation"].as_str().map(str::len), Some(16), "{line}");
        if fields["sequence_number"].is_u64() {
            assert!(fields["fate"].is_string() && fields["error"].is_string(), "{line}");
            events.push(fields["key"].as_str().unwrap_or_else(|| panic!("no key in {line}")));
        } else {
            assert!(fields["first"].is_u64() && fields["last"].is_u64(), "{line}");
            batches += 1;
        }
    }
    events.sort_unstable();
    assert_eq!(events, ["", "", "", "k7"]);
    assert!(batches > 0, "what went well is told of at debug");
}

#[test]
fn progress_says_which_lane_stands_still_and_why() {
    let config = "[hub.h]\npartitions = 2\n\
                  [function.f]\nhub = \"h\"\nkind = \"rust\"\n\
                  retry = { strategy = \"fixed\", max_attempts = 100, delay = \"2s\" }\n\
                  circuit = { threshold = 1000000 }\n";
    let (downstream, place) = (Downstream::start(), Place::new(config));
    let server = downstream.serve(&place);
    let client = server.client(place.key());
    let health = |path: &str| get(&client, &format!("/healthz/{path}"));
    assert_eq!(health("progress").0, 200);
    downstream.becomes(Mode::Away);
    assert!(client.publish("h", "?partition=1", b"{\"id\":\"a\",\"n\":1}\n"));
    let mut answer = Value::Null;
    wait_minutes(2, "it is said that nothing moves", || {
        let (status, said) = health("progress");
        answer = said;
        status == 503
    });
    assert_eq!(answer["status"], "stuck", "{answer}");
    let problem = answer["functions"][0]["problems"][0].as_str().unwrap();
    assert!(
        problem.starts_with("the lane f/h/1 has 1 events to process and made no progress for 6"),
        "{problem}"
    );
    assert!(problem.contains("event 0 failed") && problem.contains("the downstream is away"), "{problem}");
    assert_eq!(health("live").0, 200, "a restart would not help");
    assert_eq!(health("ready").0, 503);
    let stuck = scrape(&client);
    assert_eq!(value(&stuck, "tidegate_lanes{function=\"f\",state=\"retrying\"}"), Some(1.0));

    downstream.becomes(Mode::Takes);
    wait_until("it moves again", || health("progress").0 == 200 && health("ready").0 == 200);
    assert!(server.terminate().success());
}

#[test]
fn health_and_scale_answer_whoever_starts_and_stops_instances() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let client = server.client(place.key());
    for (path, word) in [("live", "live"), ("ready", "ready"), ("progress", "progressing")] {
        let nobody = server.client("none is needed".to_owned());
        let (status, answer) = get(&nobody, &format!("/healthz/{path}"));
        assert_eq!((status, &answer["status"]), (200, &Value::from(word)), "{answer}");
    }
    wait_until("the function was seen", || {
        client.request("GET", "/api/v1/scale?function=aircraft", "text/plain", b"").unwrap().0 == 200
    });
    let (_, scale) = get(&client, "/api/v1/scale?function=aircraft&target_lag=7");
    assert_eq!(scale, serde_json::json!({"desired":1,"workable_lag":0,"partitions":8,"target_lag":7}));
    assert_eq!(client.request("GET", "/api/v1/scale?function=none", "text/plain", b"").unwrap().0, 404);
}

#[test]
fn an_otlp_receiver_that_is_away_holds_nothing_up_and_its_headers_stay_secret() {
    let config = format!(
        "{CONFIG}\n[otlp]\nendpoint = \"http://127.0.0.1:9\"\nheaders = {{ Authorization = \"Bearer hush\" }}\nsample_ratio = 1\n"
    );
    let place = Place::new(&config);
    assert!(!place.run_alone("config show tidegate.toml").contains("hush"));
    let server = place.serve();
    let client = server.client(place.key());
    assert!(client.publish("flights", "", &lines(100, 1)));
    place.caught_up(101);
    wait_until("it is told that the receiver is away", || {
        let (_, lines) = client.request("GET", "/api/v1/logs?text=OTLP", "text/plain", b"").unwrap();
        String::from_utf8_lossy(&lines).contains("the OTLP receiver does not take")
    });
    let (status, said) = server.terminate_and_tell();
    assert!(status.success(), "{said}");
    assert!(!said.contains("hush"), "{said}");
}
