//! The original's formats byte by byte, and its defects one by one.

use serde_json::{Value, json};
use tidegate_function::Function as _;
use tidegate_function::testing::{Ended, TestHost, block_on, event};

use super::*;

/// A delta of `drone-0` that says nothing, its first key frame, and a frame with every part, as the original writes them.
const DELTA: &str = "0a0764726f6e652d30";
const KEY_FRAME: &str = "0a0764726f6e652d3011000000000000f03f1805221b09bbb88d06f0bc474011d47e6b274a8c5ec019000000000000\
                         00002a060801100118013001";
const FULL_FRAME: &str = "0a15736f6d655f72616e646f6d5f6465766963655f696411ae47e17a14aeef3f1803221b0900000000004046401\
                          1cdcccccccc4c4640190000000000407f402a060801100018003001";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().map(|digit| digit.to_digit(16).expect("a digit")).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte")).collect()
}

fn key_frame() -> Telemetry {
    Telemetry {
        device_id: Some("drone-0".to_owned()),
        battery: Some(1.0),
        flight_mode: Some(5),
        position: Some(Position {
            latitude: Some(47.476_075),
            longitude: Some(-122.192_026),
            altitude: Some(0.0),
        }),
        health: Some(Health {
            gyrometer_ok: Some(true),
            accelerometer_ok: Some(true),
            magnetometer_ok: Some(true),
        }),
        is_key_frame: true,
    }
}

fn delta() -> Telemetry {
    Telemetry { device_id: Some("drone-0".to_owned()), ..Telemetry::default() }
}

fn full_frame() -> Telemetry {
    Telemetry {
        device_id: Some("some_random_device_id".to_owned()),
        battery: Some(0.99),
        flight_mode: Some(3),
        position: Some(Position { latitude: Some(44.5), longitude: Some(44.6), altitude: Some(500.0) }),
        health: Some(Health {
            gyrometer_ok: Some(true),
            accelerometer_ok: Some(false),
            magnetometer_ok: Some(false),
        }),
        is_key_frame: true,
    }
}

fn state(host: &TestHost, id: &str) -> Value {
    serde_json::from_str(&host.document(id).expect("a document")).expect("JSON")
}

fn key_frame_state() -> Value {
    json!({
        "id": "drone-0", "Battery": 1.0, "FlightMode": 5,
        "Latitude": 47.476075, "Longitude": -122.192026, "Altitude": 0.0,
        "GyrometerOK": true, "AccelerometerOK": true, "MagnetometerOK": true,
    })
}

/// A body that is cut off in the middle of a field.
fn corrupt() -> Vec<u8> {
    let mut body = key_frame().encode_to_vec();
    body.truncate(15);
    body
}

#[test]
fn frames_are_read_and_written_byte_by_byte_as_the_original_does() {
    for (hex, size, frame) in
        [(DELTA, 9, delta()), (KEY_FRAME, 59, key_frame()), (FULL_FRAME, 73, full_frame())]
    {
        let bytes = bytes(hex);
        assert_eq!(bytes.len(), size);
        assert_eq!(Telemetry::decode(&bytes[..]), Ok(frame.clone()));
        assert_eq!(frame.encode_to_vec(), bytes);
    }
}

#[test]
fn a_key_frame_becomes_a_document_of_the_original_shape() {
    let mut host = TestHost::new(function());
    assert_eq!(block_on(host.send([bytes(KEY_FRAME), bytes(FULL_FRAME)])), [Ended::Applied, Ended::Applied]);
    assert_eq!(state(&host, "drone-0"), key_frame_state());
    assert_eq!(
        host.document("some_random_device_id").as_deref(),
        Some(
            r#"{"id":"some_random_device_id","Battery":0.99,"FlightMode":3,"Latitude":44.5,"Longitude":44.6,"#
                .to_owned()
                + r#""Altitude":500.0,"GyrometerOK":true,"AccelerometerOK":false,"MagnetometerOK":false}"#
        )
        .as_deref()
    );
}

#[test]
fn a_document_of_the_original_is_taken_over() {
    let mut host = TestHost::new(function());
    host.put("drone-0", r#"{"id":"drone-0","Battery":0.5,"FlightMode":null,"_etag":"x"}"#);
    let frame = Telemetry { battery: None, ..key_frame() };
    block_on(host.send([frame.encode_to_vec()]));
    let mut expected = key_frame_state();
    expected["Battery"] = json!(0.5);
    assert_eq!(state(&host, "drone-0"), expected);
}

#[test]
fn a_number_of_a_flight_mode_that_nobody_knows_is_kept() {
    let mut host = TestHost::new(function());
    for mode in [6, 0, -1] {
        let frame = Telemetry { flight_mode: Some(mode), ..delta() };
        assert_eq!(block_on(host.send([frame.encode_to_vec()])), [Ended::Applied]);
        assert_eq!(state(&host, "drone-0")["FlightMode"], json!(mode));
    }
}

#[test]
fn zeros_that_a_writer_left_out_are_zeros() {
    let mut host = TestHost::new(function());
    let frame = Telemetry {
        position: Some(Position { latitude: Some(1.0), ..Position::default() }),
        health: Some(Health::default()),
        ..delta()
    };
    block_on(host.send([frame.encode_to_vec()]));
    let state = state(&host, "drone-0");
    assert_eq!((&state["Longitude"], &state["Altitude"]), (&json!(0.0), &json!(0.0)));
    assert_eq!(state["GyrometerOK"], json!(false));
}

#[test]
fn fields_that_nobody_knows_are_skipped() {
    let mut body = bytes(KEY_FRAME);
    body.extend([0x3a, 0x02, 0x01, 0x02]); // field 7, two bytes
    let mut host = TestHost::new(function());
    assert_eq!(block_on(host.send([body])), [Ended::Applied]);
    assert_eq!(state(&host, "drone-0"), key_frame_state());
}

#[test]
fn telemetry_without_a_device_is_rejected() {
    let nobody = Telemetry { device_id: None, ..key_frame() };
    let empty = Telemetry { device_id: Some(String::new()), ..key_frame() };
    let mut host = TestHost::new(function());
    let ended = block_on(host.send([nobody.encode_to_vec(), empty.encode_to_vec(), Vec::new()]));
    let rejected = Ended::Rejected("the telemetry has no DeviceId".to_owned());
    assert_eq!(ended, [rejected.clone(), rejected.clone(), rejected]);
    assert!(host.ids().is_empty());
}

#[test]
fn a_number_that_json_has_not_is_rejected_and_erases_nothing() {
    let mut host = TestHost::new(function());
    let broken = Telemetry { battery: Some(f64::NAN), ..delta() };
    let far = Position { latitude: Some(f64::INFINITY), ..Position::default() };
    let lost = Telemetry { position: Some(far), ..delta() };
    let ended = block_on(host.send([bytes(KEY_FRAME), broken.encode_to_vec(), lost.encode_to_vec()]));
    let rejected = Ended::Rejected("the telemetry has a number that is NaN or infinite".to_owned());
    assert_eq!(ended, [Ended::Applied, rejected.clone(), rejected]);
    assert_eq!(state(&host, "drone-0"), key_frame_state());
}

/// The original goes on with nothing after it could not decode an event, fails again, and sets the event aside twice.
#[test]
fn defect_1_an_event_that_cannot_be_decoded_has_one_answer_and_no_effect() {
    let mut host = TestHost::new(function());
    let ended = block_on(host.send([corrupt()]));
    let [Ended::Rejected(reason)] = ended.as_slice() else { panic!("{ended:?}") };
    assert!(
        reason.starts_with("the body is no drone telemetry: failed to decode Protobuf message"),
        "{reason}"
    );
    assert!(host.ids().is_empty());
}

/// The original replaces the whole document by each frame, and most frames hold nothing but the device's id.
#[test]
fn defect_2_a_delta_erases_nothing() {
    let mut host = TestHost::new(function());
    let battery = Telemetry { battery: Some(0.25), ..delta() };
    let ended = block_on(host.send([bytes(KEY_FRAME), bytes(DELTA), battery.encode_to_vec()]));
    assert_eq!(ended, [Ended::Applied, Ended::Filtered, Ended::Applied]);
    host.restart();
    assert_eq!(block_on(host.send([bytes(DELTA)])), [Ended::Filtered]);
    let mut expected = key_frame_state();
    expected["Battery"] = json!(0.25);
    assert_eq!(state(&host, "drone-0"), expected);
}

/// A device whose first frame is a delta is known from then on, as in the original.
#[test]
fn defect_2_the_first_delta_of_a_device_makes_its_document() {
    let mut host = TestHost::new(function());
    assert_eq!(block_on(host.send([bytes(DELTA)])), [Ended::Applied]);
    assert_eq!(state(&host, "drone-0")["id"], json!("drone-0"));
    assert_eq!(state(&host, "drone-0")["Battery"], Value::Null);
    block_on(host.send([bytes(KEY_FRAME)]));
    assert_eq!(state(&host, "drone-0"), key_frame_state());
}

/// The original sets a corrupt event aside together with the state of the device of the event before.
#[test]
fn defect_3_a_corrupt_event_has_nothing_to_do_with_the_device_before_it() {
    let planned = function().plan(vec![event(0, corrupt())]).expect("a plan");
    assert!(planned.documents().is_empty(), "a corrupt event is about no document");

    let mut host = TestHost::new(function());
    let ended = block_on(host.send([bytes(KEY_FRAME), corrupt(), bytes(FULL_FRAME)]));
    assert!(matches!(ended.as_slice(), [Ended::Applied, Ended::Rejected(_), Ended::Applied]), "{ended:?}");
    let Ended::Rejected(reason) = &ended[1] else { panic!("{ended:?}") };
    assert!(!reason.contains("drone-0"), "{reason}");
    assert_eq!(state(&host, "drone-0"), key_frame_state());
}

/// The original makes one or two round trips to its database for each event.
#[test]
fn defect_7_the_frames_of_a_device_ask_for_its_document_once() {
    let frames = (0..1000).map(|number| event(number, bytes(KEY_FRAME))).collect();
    let planned = function().plan(frames).expect("a plan");
    assert_eq!(planned.documents().iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["drone-0"]);
}

/// The original reads the whole array that a body is a part of.
#[test]
fn defect_9_a_body_is_read_from_where_it_begins_to_where_it_ends() {
    let mut chunk = bytes(FULL_FRAME);
    let (start, end) = (chunk.len(), chunk.len() + bytes(KEY_FRAME).len());
    chunk.extend(bytes(KEY_FRAME));
    chunk.extend(corrupt());
    let body = event(0, chunk).data.body.slice(start..end);
    let mut host = TestHost::new(function());
    assert_eq!(block_on(host.send([body])), [Ended::Applied]);
    assert_eq!(host.ids(), ["drone-0"]);
    assert_eq!(state(&host, "drone-0"), key_frame_state());
}
