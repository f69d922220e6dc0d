//! Publishing lines, and what is said when it fails in the middle.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{CONFIG, Place, text, wait_until};

fn bodies(place: &Place) -> BTreeSet<String> {
    let events = place.json("events read flights");
    events.iter().map(|event| event["body"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_server_that_dies_in_the_middle_leaves_a_count_that_is_exact_and_a_command_that_works() {
    let place = Place::new(CONFIG);
    let lines: Vec<String> =
        (0..20_000).map(|n| format!("{{\"icao24\":\"a{}\",\"n\":{n}}}", n % 100)).collect();
    let file = place.write("lines.ndjson", (lines.join("\n") + "\n").as_bytes());
    let server = place.serve();
    let sending = place
        .command(&format!("send flights --key /icao24 --rate 5000 --file {}", file.display()))
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("some lines are durable", || place.json("audit")[0]["published"].as_u64().unwrap() >= 2000);
    server.kill();
    let sent = sending.wait_with_output().unwrap();
    assert_eq!(sent.status.code(), Some(1));
    let said = text(&sent.stderr);
    let count = |before: &str, after: &str| -> usize {
        let at = said.find(before).unwrap_or_else(|| panic!("{said}")) + before.len();
        said[at..].split(after).next().unwrap().parse().unwrap_or_else(|_| panic!("{said}"))
    };
    let durable = count("the first ", " lines are durable");
    assert!((1000..20_000).contains(&durable), "{said}");
    assert_eq!(count("--skip ", " "), durable);

    // Numbers begin anew in each partition; those that are not as long are left out.
    let tail = place.json("hubs")[0]["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["tail"].as_u64().unwrap())
        .max()
        .unwrap();
    assert_eq!(place.json(&format!("events read flights --from {}", tail - 1)).len(), 1);
    // Without a server, straight on the directory: the count was right.
    let stored = bodies(&place);
    for line in &lines[..durable] {
        assert!(stored.contains(line), "{line} was acknowledged and is not there");
    }
    let resume = said.lines().find_map(|line| line.split("resume with: tidegate ").nth(1)).unwrap();
    let resume = resume.replace("--rate 5000 ", "").replace(" --data-dir data", "");
    place.ok(&resume);
    assert_eq!(bodies(&place), lines.into_iter().collect());
}

#[test]
fn lines_come_from_a_file_a_packed_file_or_standard_input() {
    let place = Place::new(CONFIG);
    let _server = place.serve();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(b"{\"icao24\":\"from gzip\"}\n").unwrap();
    let gzip = place.write("lines.ndjson.gz", &packed.finish().unwrap());
    let plain = place.write("lines.ndjson", b"{\"icao24\":\"from file\"}");
    place.ok(&format!("send flights --file {}", gzip.display()));
    place.ok(&format!("send flights --partition 3 --file {}", plain.display()));
    let mut sending = place.command("send flights --key /icao24").stdin(Stdio::piped()).spawn().unwrap();
    sending.stdin.take().unwrap().write_all(b"{\"icao24\":\"from stdin\"}\n\nno json\n").unwrap();
    assert!(sending.wait().unwrap().success());

    let expected = [
        "{\"icao24\":\"from file\"}",
        "{\"icao24\":\"from gzip\"}",
        "{\"icao24\":\"from stdin\"}",
        "no json",
    ];
    assert_eq!(bodies(&place), expected.map(str::to_owned).into());
    let in_3 = place.json("events read flights --partition 3");
    assert!(in_3.iter().any(|event| event["body"] == "{\"icao24\":\"from file\"}"), "{in_3:?}");
    let events = place.json("events read flights");
    let key_of = |body: &str| {
        let event = events.iter().find(|event| event["body"] == body).unwrap();
        event["partition_key"].as_str().map(str::to_owned)
    };
    assert_eq!(key_of("{\"icao24\":\"from stdin\"}").as_deref(), Some("from stdin"));
    assert_eq!(key_of("no json"), None);
}

#[test]
fn a_file_that_cannot_be_read_is_named_before_anything_is_sent() {
    let place = Place::new(CONFIG);
    let output = place.run("send flights --file nowhere.ndjson");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot read nowhere.ndjson"));
    assert!(!place.data().exists());
    let refused = place.run("send flights --key /a --partition 1");
    assert_eq!(refused.status.code(), Some(2));
}
