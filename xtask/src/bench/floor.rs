//! The floor: what one thread needs at least for the same work. It writes the same bytes with one sync per 16 MiB, then
//! parses them with serde_json and merges them in memory. No partitions, no acknowledgements, no documents on disk, no
//! dead letters, no checkpoint.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::measure::{Measure, Taken};

#[derive(Serialize, Deserialize)]
pub(crate) struct Floor {
    pub(crate) taken: Taken,
    pub(crate) documents: usize,
    pub(crate) corrupt: usize,
}

const SYNC_EVERY: usize = 16 << 20;

pub(crate) fn run(input: &Path, dir: &Path) -> anyhow::Result<Floor> {
    let bytes = std::fs::read(input)?;
    let measure = Measure::begin();
    let mut file = File::create(dir.join("floor"))?;
    for chunk in bytes.chunks(SYNC_EVERY) {
        file.write_all(chunk)?;
        file.sync_data()?;
    }
    let mut documents: HashMap<String, Value> = HashMap::new();
    let mut corrupt = 0;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let Ok(Value::Object(event)) = serde_json::from_slice::<Value>(line) else {
            corrupt += 1;
            continue;
        };
        let Some(id) = event.get("deviceId").and_then(Value::as_str).map(str::to_owned) else {
            corrupt += 1;
            continue;
        };
        merge(documents.entry(id).or_insert_with(|| Value::Object(serde_json::Map::new())), event.into());
    }
    Ok(Floor { taken: measure.end(), documents: documents.len(), corrupt })
}

/// RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    match patch {
        Value::Object(patch) => {
            if !target.is_object() {
                *target = Value::Object(serde_json::Map::new());
            }
            let Value::Object(target) = target else { return };
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(&key);
                } else {
                    merge(target.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        other => *target = other,
    }
}
