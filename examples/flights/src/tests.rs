//! What becomes of reports.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_function::testing::{Ended, TestHost, block_on};

use super::*;

/// A cut of real telemetry: some reports of four aircraft, in order. See README.md for where it is from.
const REPORTS: &str = include_str!("../data/reports.ndjson");

/// A host in 2022, after all reports.
fn host() -> TestHost {
    TestHost::new(function()).starting_at(Timestamp::from_millis(1_640_995_200_000))
}

fn aircraft(host: &TestHost, icao24: &str) -> Aircraft {
    serde_json::from_str(&host.document(icao24).expect("a document")).expect("an aircraft")
}

fn report(timestamp: i64, more: &str) -> String {
    format!(r#"{{"icao24":"4d21ec","timestamp":{timestamp}{more}}}"#)
}

#[test]
fn real_reports_become_what_counting_them_says() {
    let mut host = host();
    let ended = block_on(host.send(REPORTS.lines()));
    assert!(ended.iter().all(|ended| *ended == Ended::Applied), "{ended:?}");

    let mut by_aircraft = BTreeMap::<String, Vec<Value>>::new();
    for line in REPORTS.lines() {
        let report: Value = serde_json::from_str(line).expect("JSON");
        by_aircraft.entry(report["icao24"].as_str().expect("text").to_owned()).or_default().push(report);
    }
    assert_eq!(host.ids(), by_aircraft.keys().collect::<Vec<_>>());
    for (icao24, reports) in by_aircraft {
        let document = aircraft(&host, &icao24);
        assert_eq!(document.reports, reports.len() as u64);
        let callsigns: BTreeSet<_> = reports.iter().map(|report| report["callsign"].as_str()).collect();
        assert_eq!(
            document.flights.iter().map(|flight| Some(flight.as_str())).collect::<BTreeSet<_>>(),
            callsigns
        );
        let greatest = reports.iter().filter_map(|report| report["altitude"].as_f64()).reduce(f64::max);
        assert_eq!(document.max_altitude, greatest);
        let times: Vec<_> = reports.iter().filter_map(|report| report["timestamp"].as_i64()).collect();
        let seen = (document.first_seen.as_millis(), document.last_seen.as_millis());
        assert_eq!(Some(seen), times.iter().min().copied().zip(times.iter().max().copied()));
        let last_altitude = reports.iter().rev().find_map(|report| report["altitude"].as_f64());
        assert_eq!(document.altitude.map(|known| known.value), last_altitude);
    }
}

#[test]
fn documents_are_the_same_however_the_reports_are_batched() {
    let lines: Vec<_> = REPORTS.lines().collect();
    let states = |size: usize| {
        let mut host = host();
        for batch in lines.chunks(size) {
            block_on(host.send(batch.iter().copied()));
            host.restart();
        }
        host.ids().into_iter().map(|id| host.document(id)).collect::<Vec<_>>()
    };
    assert_eq!(states(1), states(lines.len()));
    assert_eq!(states(1), states(64));
}

#[test]
fn a_report_without_a_position_keeps_the_last_known_one() {
    let mut host = host();
    block_on(host.send([
        report(1000, r#","latitude":48.5,"longitude":2.5,"altitude":400.0"#),
        report(2000, r#","latitude":null,"longitude":null,"altitude":500.0"#),
        report(3000, r#","latitude":48.6"#),
    ]));
    let document = aircraft(&host, "4d21ec");
    let known = document.position.expect("a position");
    assert_eq!(
        (known.value, known.at),
        (Position { latitude: 48.5, longitude: 2.5 }, Timestamp::from_millis(1000))
    );
    assert_eq!(document.altitude.map(|known| known.value), Some(500.0));
    assert_eq!((document.reports, document.last_seen), (3, Timestamp::from_millis(3000)));
}

#[test]
fn a_late_report_adds_what_is_missing_and_overwrites_nothing_newer() {
    let mut host = host();
    block_on(host.send([
        report(5000, r#","altitude":500.0,"squawk":"1000","callsign":"RYR1515""#),
        report(3000, r#","altitude":900.0,"groundspeed":250.0,"callsign":"RYR43ZU""#),
        report(4000, r#","groundspeed":255.0"#),
        report(3500, r#","groundspeed":251.0"#),
    ]));
    let document = aircraft(&host, "4d21ec");
    assert_eq!(document.altitude.map(|known| known.value), Some(500.0));
    assert_eq!(document.max_altitude, Some(900.0));
    assert_eq!(document.groundspeed.map(|known| known.value), Some(255.0));
    assert_eq!(document.squawk.map(|known| known.value).as_deref(), Some("1000"));
    assert_eq!(document.flights, ["RYR1515", "RYR43ZU"]);
    assert_eq!((document.first_seen.as_millis(), document.last_seen.as_millis()), (3000, 5000));
}

#[test]
fn the_list_of_flights_does_not_grow_without_bound() {
    let mut host = host();
    block_on(host.send((0..200).map(|number| report(number, &format!(r#","callsign":"TST{number}""#)))));
    let document = aircraft(&host, "4d21ec");
    assert_eq!((document.flights.len(), document.flights[0].as_str()), (MAX_FLIGHTS, "TST150"));
}

#[test]
fn reports_that_cannot_be_are_rejected() {
    let mut host = host();
    let ended = block_on(host.send([
        "oops".to_owned(),
        r#"{"timestamp":1000}"#.to_owned(),
        report(-1, ""),
        report(i64::MAX, ""),
        report(1_641_000_000_000, ""),
        report(1000, r#","latitude":91,"longitude":0"#),
        report(1000, r#","altitude":"high""#),
    ]));
    let reasons: Vec<_> = ended
        .iter()
        .map(|ended| match ended {
            Ended::Rejected(reason) => reason.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    let impossible_time = "the report's timestamp is before 1970 or after the report came";
    assert_eq!(
        reasons,
        [
            "the body is not JSON: expected value at line 1 column 1",
            "the body is JSON of another shape: missing field `icao24` at line 1 column 18",
            impossible_time,
            impossible_time,
            impossible_time,
            "the report's position is nowhere on Earth",
            "the body is JSON of another shape: invalid type: string \"high\", expected f64 at line 1 column 53",
        ]
    );
    assert!(host.ids().is_empty());
}
