//! What is promised, checked from outside: every acknowledged line is in the log, the documents are what an independent
//! fold makes of the log in its order, and each corrupt event is a dead letter once.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::support::{Place, text};

/// Random numbers of a seed: SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// The line with this number: a patch of one of a few documents, or now and then something that cannot be processed.
pub(crate) fn line(random: &mut Random, number: u64) -> Vec<u8> {
    let id = random.below(40);
    match random.below(25) {
        0 => format!("{{\"id\":\"d{id}\",\"n\":{number}").into_bytes(),
        1 => format!("{{\"n\":{number},\"x\":1}}").into_bytes(),
        2 => [format!("{{\"id\":\"d{id}\",\"n\":{number},\"t\":\"").as_bytes(), b"\xff\"}"].concat(),
        3 => format!("{{\"id\":\"d{id}\",\"n\":{number},\"m{}\":null}}", random.below(5)).into_bytes(),
        4 => format!("{{\"id\":\"d{id}\",\"n\":{number},\"deep\":{{\"m{}\":{number}}}}}", random.below(5))
            .into_bytes(),
        kind => format!("{{\"id\":\"d{id}\",\"n\":{number},\"m{}\":{kind}}}", random.below(5)).into_bytes(),
    }
}

/// Every acknowledged line is in the log, and the numbers of each partition have no gap.
pub(crate) fn check_log(events: &[Value], acknowledged: &[Vec<u8>]) {
    let stored: BTreeSet<Vec<u8>> = events.iter().map(body).collect();
    assert!(acknowledged.len() > 1000);
    for line in acknowledged {
        assert!(stored.contains(line), "{} was acknowledged and is not there", text(line));
    }
    let mut next: BTreeMap<u64, u64> = BTreeMap::new();
    for event in events {
        let expected = next.entry(event["partition"].as_u64().unwrap()).or_default();
        assert_eq!(event["sequence_number"].as_u64().unwrap(), *expected);
        *expected += 1;
    }
}

/// The documents and dead letters of the function `f` are what the log makes of them.
pub(crate) fn check_results(place: &Place, events: &[Value]) {
    let mut documents: BTreeMap<String, Value> = BTreeMap::new();
    let mut corrupt = BTreeSet::new();
    for event in events {
        let parsed: Option<Value> = serde_json::from_slice(&body(event)).ok();
        let id = parsed.as_ref().and_then(|patch| patch.get("id")).and_then(Value::as_str).map(str::to_owned);
        match (parsed, id) {
            (Some(patch), Some(id)) => merge(documents.entry(id).or_insert(Value::Null), patch),
            _ => {
                corrupt.insert((
                    event["partition"].as_u64().unwrap(),
                    event["sequence_number"].as_u64().unwrap(),
                ));
            }
        }
    }
    let stored: BTreeMap<String, Value> = place
        .json("documents list f")
        .into_iter()
        .map(|mut one| (one["id"].as_str().unwrap().to_owned(), one["document"].take()))
        .collect();
    assert_eq!(stored, documents);

    let letters: Vec<(u64, u64)> = place
        .json("dead-letters list")
        .iter()
        .map(|one| (one["partition"].as_u64().unwrap(), one["sequence_number"].as_u64().unwrap()))
        .collect();
    assert_eq!(letters.len(), corrupt.len(), "some event is a dead letter twice, or not at all");
    assert_eq!(letters.into_iter().collect::<BTreeSet<_>>(), corrupt);
    assert!(!corrupt.is_empty());
}

/// The bytes of an event.
pub(crate) fn body(event: &Value) -> Vec<u8> {
    STANDARD.decode(event["body_base64"].as_str().unwrap()).unwrap()
}

/// RFC 7396, as its section 2 writes it.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { unreachable!("it was made one just now") };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(&name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}
