//! Measures the upsert: nanoseconds an event for both halves of an invocation, and beside it the plain way, which is to
//! parse each event as a `serde_json::Value` and merge that into another.
//!
//! ```text
//! cargo run --release -p tidegate-function --example upsert_rate
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tidegate_function::testing::{block_on, event};
use tidegate_function::{Decode, DocumentId, Event, Function, JsonPointer, Merge, Upsert, upsert};
use tidegate_model::answer::{Answer, Body};
use tidegate_model::clock::SystemClock;

const DOCUMENTS: u64 = 10_000;
const BATCH: u64 = 512;
const BATCHES: u64 = 4_000;

fn main() {
    let clock = SystemClock::shared();
    let batches: Vec<Vec<Event>> = (0..64).map(batch).collect();
    let bytes: usize = batches.iter().flatten().map(|event| event.body().len()).sum();
    println!("{} bytes an event, batches of {BATCH}, {DOCUMENTS} documents", bytes / (64 * BATCH as usize));

    for round in 1..=3 {
        let (mut planning, mut running, mut encoding) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let key = JsonPointer::new("/icao24").expect("a pointer");
        let function: Arc<dyn Function> =
            upsert("flights", Upsert { decode: Decode::Json, key, merge: Merge::Patch }).into();
        let mut documents: HashMap<DocumentId, Body> = HashMap::new();
        for number in 0..BATCHES {
            let events = batches[(number % 64) as usize].clone();
            let start = clock.monotonic();
            let planned = function.plan(events).expect("a plan");
            planning += clock.monotonic() - start;
            let current = planned.documents().iter().map(|id| documents.get(id).cloned()).collect();
            let start = clock.monotonic();
            let answers = block_on(planned.run(current)).expect("answers");
            running += clock.monotonic() - start;
            for (_, answer) in answers {
                let Answer::Apply(upserts) = answer else { panic!("every event is applied") };
                for upsert in upserts {
                    documents.insert(upsert.id, upsert.body);
                }
            }
            let start = clock.monotonic();
            if number == BATCHES - 1 {
                let size: usize = documents.values().map(|body| body.encode().expect("text").len()).sum();
                encoding += clock.monotonic() - start;
                println!("    {} documents of {} bytes", documents.len(), size / documents.len());
            }
        }
        let each = |time: Duration| time.as_nanos() / u128::from(BATCH * BATCHES);
        println!(
            "{round}. upsert: plan {} ns + run {} ns = {} ns an event; text of a document {} ns",
            each(planning),
            each(running),
            each(planning + running),
            encoding.as_nanos() / documents.len() as u128
        );

        let mut documents: HashMap<String, Value> = HashMap::new();
        let mut working = Duration::ZERO;
        for number in 0..BATCHES {
            let events = &batches[(number % 64) as usize];
            let start = clock.monotonic();
            for event in events {
                let patch: Value = serde_json::from_slice(event.body()).expect("JSON");
                let id = patch["icao24"].as_str().expect("an id").to_owned();
                merge(documents.entry(id).or_default(), patch);
            }
            working += clock.monotonic() - start;
        }
        let start = clock.monotonic();
        let size: usize =
            documents.values().map(|document| serde_json::to_vec(document).expect("text").len()).sum();
        let encoding = clock.monotonic() - start;
        println!("    {} documents of {} bytes", documents.len(), size / documents.len());
        println!(
            "{round}. plain:  {} ns an event; text of a document {} ns",
            each(working),
            encoding.as_nanos() / documents.len() as u128
        );
    }
}

/// RFC 7396 as it is written there.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let members = target.as_object_mut().expect("it is an object now");
    for (key, value) in patch {
        if value.is_null() {
            members.remove(&key);
        } else {
            merge(members.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// Reports as receivers of aircraft telemetry send them.
fn batch(number: u64) -> Vec<Event> {
    let report = |place: u64| {
        let serial = number * BATCH + place;
        let chance = serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let aircraft = chance % DOCUMENTS;
        let altitude =
            if chance.is_multiple_of(6) { "null".to_owned() } else { format!("{}.0", chance % 40_000) };
        format!(
            "{{\"altitude\":{altitude},\"callsign\":\"AFR{}\",\"groundspeed\":{}.0,\"icao24\":\"{aircraft:06x}\",\
             \"latitude\":48.{:010},\"longitude\":1.{:010},\"onground\":false,\"squawk\":\"{:04}\",\
             \"timestamp\":{},\"track\":{}.2720967338,\"vertical_rate\":-{}.0}}",
            aircraft % 9000 + 1000,
            chance % 500,
            chance % 10_000_000_000,
            (chance / 3) % 10_000_000_000,
            aircraft % 7778,
            1_633_608_001_000 + serial,
            chance % 360,
            chance % 3000,
        )
    };
    (0..BATCH).map(|place| event(number * BATCH + place, report(place))).collect()
}
