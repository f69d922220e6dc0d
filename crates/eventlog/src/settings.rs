//! `settings.json`: what may change about a hub while it is in use.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::LogError;
use crate::retention::RetentionPolicy;
use crate::storage::{Access, Storage, replace_file};

/// The format of the file that this version writes.
const FORMAT: u32 = 1;

const FILE: &str = "settings.json";
const UNFINISHED: &str = "settings.tmp";

/// Settings are a few hundred bytes; a file larger than this is something else.
const MAX_BYTES: usize = 64 * 1024;

/// What may change about a hub while it is in use. The log keeps it, and does nothing by itself: whoever calls
/// [`enforce_retention`](crate::HubLog::enforce_retention) looks here for the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubSettings {
    /// How long events are kept; `None` when that was never said for this hub.
    pub retention: Option<RetentionPolicy>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    retention: Option<StoredRetention>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRetention {
    max_age_ms: Option<u64>,
    max_bytes: Option<u64>,
}

/// What every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

impl HubSettings {
    /// Stores the settings in the hub's directory. A crash leaves the old ones or these.
    pub(crate) fn write(&self, storage: &dyn Storage, hub_dir: &Path) -> Result<(), LogError> {
        let retention = self.retention.map(|policy| StoredRetention {
            max_age_ms: policy.max_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            max_bytes: policy.max_bytes,
        });
        let path = hub_dir.join(FILE);
        let mut text = serde_json::to_vec_pretty(&Stored { format: FORMAT, retention })
            .expect("numbers and text have a JSON form");
        text.push(b'\n');
        replace_file(storage, &path, &text).map_err(LogError::io("write", &path))
    }

    /// The settings in a hub's directory, if there are any.
    pub(crate) fn read(storage: &dyn Storage, hub_dir: &Path) -> Result<Self, LogError> {
        let path = hub_dir.join(FILE);
        let file = match storage.open(&path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(LogError::io("read", &path)(error)),
        };
        let mut text = Vec::new();
        file.read_at(0, MAX_BYTES, &mut text).map_err(LogError::io("read", &path))?;
        Self::parse(&text, &path)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self, LogError> {
        let bad = |error: serde_json::Error| LogError::BadSettings {
            path: path.to_owned(),
            problem: error.to_string(),
        };
        let AnyFormat { format } = serde_json::from_slice(text).map_err(bad)?;
        if format != FORMAT {
            return Err(LogError::UnknownFormat { path: path.to_owned(), found: format, known: FORMAT });
        }
        let Stored { retention, .. } = serde_json::from_slice(text).map_err(bad)?;
        let retention = retention.map(|stored| RetentionPolicy {
            max_age: stored.max_age_ms.map(Duration::from_millis),
            max_bytes: stored.max_bytes,
        });
        Ok(Self { retention })
    }
}

/// Removes settings that were meant to replace others and never did.
pub(crate) fn remove_unfinished(storage: &dyn Storage, hub_dir: &Path) -> Result<(), LogError> {
    let path: PathBuf = hub_dir.join(UNFINISHED);
    match storage.remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io("remove", &path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::faulty::FaultyStorage;

    #[test]
    fn settings_come_back_as_they_were() {
        let (storage, dir) = (FaultyStorage::new(1), Path::new("/hub"));
        storage.create_dir(dir).unwrap();
        assert_eq!(HubSettings::read(&storage, dir), Ok(HubSettings::default()));
        let policy =
            |max_age, max_bytes| HubSettings { retention: Some(RetentionPolicy { max_age, max_bytes }) };
        for settings in [
            policy(None, None),
            policy(Some(Duration::from_millis(1)), Some(u64::MAX)),
            policy(Some(Duration::from_secs(7 * 86_400)), None),
            HubSettings::default(),
        ] {
            settings.write(&storage, dir).unwrap();
            assert_eq!(HubSettings::read(&storage, dir), Ok(settings));
        }
    }

    #[test]
    fn settings_that_cannot_be_read_are_named() {
        let path = Path::new("/hub/settings.json");
        for bad in [
            "",
            "{}",
            "7",
            "{\"format\": 1, \"retained\": 1}",
            "{\"format\": 1, \"retention\": {\"max_age_ms\": -1}}",
        ] {
            let refused = HubSettings::parse(bad.as_bytes(), path).unwrap_err();
            assert!(
                matches!(&refused, LogError::BadSettings { path: named, .. } if named == path),
                "{refused}"
            );
        }
        let newer = HubSettings::parse(b"{\"format\": 2, \"anything\": 1}", path);
        assert_eq!(newer, Err(LogError::UnknownFormat { path: path.to_owned(), found: 2, known: 1 }));
    }
}
