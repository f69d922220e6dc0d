//! The demo's events: real telemetry with labelled corrupt events among it.

use std::io::Read as _;

use bytes::Bytes;
use bytestring::ByteString;
use flate2::read::GzDecoder;

use tidegate_model::error::ErrorCode;
use tidegate_model::event::{EventData, Properties, PropertyValue};

use crate::demo::corrupt::{Corruption, LABEL};
use crate::failure::Failure;

/// 60,000 position reports; see `ATTRIBUTION.md` beside the file.
static TELEMETRY: &[u8] = include_bytes!("../../demo/flights.ndjson.gz");

/// After so many real events comes a corrupt one.
const REAL_PER_CORRUPT: usize = 187;

/// All events in order, each with the key that decides its partition. A corrupt event is made from the real one before
/// it and has its key, so it comes in the middle of an aircraft's events.
pub(crate) fn events() -> Result<Vec<EventData>, Failure> {
    let mut text = Vec::new();
    GzDecoder::new(TELEMETRY).read_to_end(&mut text).map_err(|error| {
        Failure::new(
            ErrorCode::DATA_DIR_FORMAT,
            format!("the demo's data inside the program is damaged: {error}"),
        )
        .help("install the program again")
    })?;
    let text = Bytes::from(text);
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let mut events = Vec::with_capacity(lines.len() + lines.len() / REAL_PER_CORRUPT);
    for (number, line) in lines.into_iter().enumerate() {
        let key = aircraft_of(line);
        events.push(EventData { partition_key: key.clone(), ..EventData::new(text.slice_ref(line)) });
        if (number + 1).is_multiple_of(REAL_PER_CORRUPT) {
            let kind = Corruption::ALL[(number / REAL_PER_CORRUPT) % Corruption::ALL.len()];
            events.push(EventData {
                partition_key: key,
                properties: Properties::from_iter([(LABEL, PropertyValue::from(kind.label()))]),
                ..EventData::new(kind.spoil(line))
            });
        }
    }
    Ok(events)
}

/// The label of an event, if it is one of the corrupt ones.
pub(crate) fn label_of(properties: &Properties) -> Option<&str> {
    match properties.get(LABEL) {
        Some(PropertyValue::String(label)) => Some(label),
        _ => None,
    }
}

fn aircraft_of(line: &[u8]) -> Option<ByteString> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    value.get("icao24")?.as_str().map(ByteString::from)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_corrupt_events_are_spread_and_of_all_kinds() {
        let events = events().unwrap();
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for event in &events {
            assert!(event.partition_key.is_some());
            if let Some(label) = label_of(&event.properties) {
                *kinds.entry(label.to_owned()).or_default() += 1;
            }
        }
        let expected = Corruption::ALL.map(|kind| (kind.label().to_owned(), 80));
        assert_eq!(kinds, BTreeMap::from(expected));
        assert_eq!(events.len(), 60_000 + 320);
    }
}
