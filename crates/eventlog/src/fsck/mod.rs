//! `fsck`: reads every byte of a log that is not open, says what is wrong, and can make damaged partitions usable again.
//!
//! [`check`] changes nothing. [`repair`] sets damaged files aside before it replaces them, and declares the events that
//! cannot be read lost: their numbers are never given again, and readers pass over them.

mod repair;
mod survey;

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tidegate_model::event::HubName;
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::description;
use crate::error::LogError;
use crate::hub::identities;
use crate::log::{hub_names, lock};
use crate::storage::{DiskStorage, Storage};
use survey::PartitionSurvey;

/// What a log holds, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every hub, ordered by name.
    pub hubs: Vec<HubReport>,
}

impl Report {
    /// True when every hub and partition is in order. A torn write at the end is in order: nothing of it was
    /// acknowledged, and the next start cuts it off.
    pub fn is_clean(&self) -> bool {
        self.hubs.iter().all(|hub| {
            hub.problem.is_none() && hub.partitions.iter().all(|partition| partition.damage.is_empty())
        })
    }
}

/// One hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HubReport {
    /// Its name.
    pub hub: HubName,
    /// Why nothing is known about its partitions, when its description cannot be read.
    pub problem: Option<String>,
    /// Its partitions.
    pub partitions: Vec<PartitionReport>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    /// The partition.
    pub partition: PartitionId,
    /// How many files it has.
    pub segments: usize,
    /// How many events can be read.
    pub events: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// The oldest kept number.
    pub head: SequenceNumber,
    /// The number the next event will get.
    pub tail: SequenceNumber,
    /// Numbers that an earlier repair declared lost.
    pub lost: Vec<Range<SequenceNumber>>,
    /// A write that was cut off by a crash before it was acknowledged.
    pub torn_tail: Option<TornTail>,
    /// Damaged places, in order.
    pub damage: Vec<DamageReport>,
}

/// A write that was cut off by a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TornTail {
    /// The file.
    pub file: PathBuf,
    /// Where it begins.
    pub offset: u64,
}

/// A damaged place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamageReport {
    /// The file.
    pub file: PathBuf,
    /// Where the damage begins.
    pub offset: u64,
    /// Where it ends: at the next readable frame, or at the end of the file.
    pub end: u64,
    /// What is wrong.
    pub problem: String,
    /// The numbers whose events cannot be read; empty when nothing is lost, as with a damaged file header.
    pub lost: Range<SequenceNumber>,
}

/// What [`repair`] did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// The hub.
    pub hub: HubName,
    /// The partition.
    pub partition: PartitionId,
    /// Where the damaged files are now, as they were.
    pub set_aside: Vec<PathBuf>,
    /// The numbers declared lost.
    pub lost: Vec<Range<SequenceNumber>>,
}

/// Reads everything in a log directory and changes nothing.
///
/// # Errors
/// The log is open in another process, cannot be read, or has a newer format. Damage is no error; it is in the report.
pub fn check(dir: &Path) -> Result<Report, LogError> {
    check_in(&DiskStorage, dir)
}

pub(crate) fn check_in(storage: &dyn Storage, dir: &Path) -> Result<Report, LogError> {
    let _lock = lock(storage, dir)?;
    let mut hubs = Vec::new();
    for hub in hub_names(storage, dir)? {
        let hub_dir = dir.join(hub.as_str());
        let described = match description::read(storage, &hub_dir, &hub) {
            Ok(described) => described,
            Err(error @ LogError::BadDescription { .. }) => {
                hubs.push(HubReport { hub, problem: Some(error.to_string()), partitions: Vec::new() });
                continue;
            }
            Err(error) => return Err(error),
        };
        let partitions = identities(&hub_dir, &described)
            .map(|identity| Ok(PartitionSurvey::make(storage, identity)?.report()))
            .collect::<Result<_, LogError>>()?;
        hubs.push(HubReport { hub, problem: None, partitions });
    }
    Ok(Report { hubs })
}

/// Makes every damaged partition usable: copies its damaged files to `<dir>/.set-aside/<hub>/<partition>/`, then replaces
/// them by what can be read of them, with the rest declared lost. What is in order is not touched. Repairing again after
/// a crash goes on where it stopped.
///
/// A partition without any file is left as it is: nothing tells which numbers it has given. A hub whose description is
/// damaged is left as it is too.
///
/// # Errors
/// As for [`check`], and when files cannot be written. The originals are still there then.
pub fn repair(dir: &Path) -> Result<Vec<Repaired>, LogError> {
    repair_in(&DiskStorage, dir)
}

pub(crate) fn repair_in(storage: &dyn Storage, dir: &Path) -> Result<Vec<Repaired>, LogError> {
    let _lock = lock(storage, dir)?;
    let mut repaired = Vec::new();
    for hub in hub_names(storage, dir)? {
        let hub_dir = dir.join(hub.as_str());
        let described = match description::read(storage, &hub_dir, &hub) {
            Err(LogError::BadDescription { .. }) => continue,
            described => described?,
        };
        for identity in identities(&hub_dir, &described) {
            let survey = PartitionSurvey::make(storage, identity)?;
            repaired.extend(repair::repair_partition(storage, dir, &survey)?);
        }
    }
    Ok(repaired)
}
