//! `hub.json`: what a hub is. Written once, when the hub is made.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tidegate_model::clock::{Clock, Timestamp};
use tidegate_model::event::HubName;
use tidegate_model::position::Incarnation;

use crate::error::LogError;
use crate::log::MAX_PARTITIONS;
use crate::storage::{Access, Storage, replace_file};

/// The format of the directory that this version writes.
const FORMAT: u32 = 1;

const FILE: &str = "hub.json";

/// A description is a few hundred bytes; a file larger than this is something else.
const MAX_BYTES: usize = 64 * 1024;

/// What a hub is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HubDescription {
    format: u32,
    pub(crate) hub: HubName,
    pub(crate) incarnation: Incarnation,
    pub(crate) partitions: u32,
    pub(crate) created_at: Timestamp,
}

/// What every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

impl HubDescription {
    /// A new hub.
    pub(crate) fn new(hub: &HubName, partitions: u32, clock: &dyn Clock) -> Self {
        let incarnation = Incarnation::new(clock);
        Self { format: FORMAT, hub: hub.clone(), incarnation, partitions, created_at: clock.now() }
    }

    /// Stores the description in the hub's directory.
    pub(crate) fn write(&self, storage: &dyn Storage, hub_dir: &Path) -> Result<(), LogError> {
        let path = hub_dir.join(FILE);
        let mut text = serde_json::to_vec_pretty(self).expect("numbers and text have a JSON form");
        text.push(b'\n');
        replace_file(storage, &path, &text).map_err(LogError::io("write", &path))
    }
}

/// The description in a hub's directory.
pub(crate) fn read(storage: &dyn Storage, hub_dir: &Path, hub: &HubName) -> Result<HubDescription, LogError> {
    let path = hub_dir.join(FILE);
    let bad = |problem: String| LogError::BadDescription { path: path.clone(), problem };
    let file = match storage.open(&path, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(bad("the description of the hub is missing".to_owned()));
        }
        Err(error) => return Err(LogError::io("read", &path)(error)),
    };
    let mut text = Vec::new();
    file.read_at(0, MAX_BYTES, &mut text).map_err(LogError::io("read", &path))?;
    let AnyFormat { format } = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if format != FORMAT {
        return Err(LogError::UnknownFormat { path: path.clone(), found: format, known: FORMAT });
    }
    let description: HubDescription =
        serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if description.hub != *hub {
        return Err(bad(format!("it describes the hub {}, not {hub}", description.hub)));
    }
    if !(1..=MAX_PARTITIONS).contains(&description.partitions) {
        return Err(bad(format!("a hub cannot have {} partitions", description.partitions)));
    }
    Ok(description)
}
