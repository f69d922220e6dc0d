//! The audit: accounts for every sequence number of a hub, function by function and partition by partition (pure).
//!
//! ```text
//!          start            position              tail
//!            ▼                  ▼                   ▼
//!   not ours │ applied          │ pending           │ next to be written
//!            │ filtered         │
//!            │ dead-lettered    │       published = tail − start
//!            │ parked           │                 = applied + filtered + dead-lettered + parked + discarded + lost
//!            │ discarded, lost  │                   + absent + pending
//! ```
//!
//! A partition is accounted for when the counts of its checkpoint add up to the distance the checkpoint went, when there
//! are as many dead letters and parked events as it counts, and when the log still holds everything that is pending.
//! Otherwise the audit names the [`Gap`]. [`deep`] looks at every event one by one besides.

pub mod deep;
mod gap;
mod observation;

use serde::Serialize;

use tidegate_model::checkpoint::{Checkpoint, FunctionName, Lane};
use tidegate_model::event::HubName;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::position::{PartitionId, SequenceNumber};

use tidegate_api::{AuditAccount, SourceStatus};

pub use gap::Gap;
pub use observation::{HubObservation, Observation, PartitionObservation, Parts};

/// The account of one function on one hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FunctionAudit {
    /// The hub.
    pub hub: HubName,
    /// The function.
    pub function: FunctionName,
    /// True when every sequence number is accounted for.
    pub ok: bool,
    /// The totals over all partitions.
    #[serde(flatten)]
    pub totals: AuditAccount,
    /// How the source is, when it cannot be asked. Then the account ends at the checkpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// What is wrong beyond single partitions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// The partitions, in order.
    pub partitions: Vec<PartitionAudit>,
}

/// The account of one function in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionAudit {
    /// The partition.
    pub partition: PartitionId,
    /// True when every sequence number is accounted for.
    pub ok: bool,
    /// Where the function began.
    pub start: SequenceNumber,
    /// The first event it has not resolved.
    pub position: SequenceNumber,
    /// The oldest event kept.
    pub head: SequenceNumber,
    /// The number the next event will get.
    pub tail: SequenceNumber,
    /// Its numbers.
    #[serde(flatten)]
    pub account: AuditAccount,
    /// What is wrong.
    pub gaps: Vec<Gap>,
}

/// Accounts for every function that is configured or has a checkpoint, ordered by hub and function.
pub fn audit(seen: &Observation) -> Vec<FunctionAudit> {
    let mut pairs: Vec<(&HubName, &FunctionName)> =
        seen.configured.iter().map(|(function, hub)| (hub, function)).collect();
    pairs.extend(
        seen.checkpoints_after.iter().map(|checkpoint| (&checkpoint.lane.hub, &checkpoint.lane.function)),
    );
    pairs.sort_unstable();
    pairs.dedup();
    pairs.into_iter().map(|(hub, function)| audit_function(seen, hub, function)).collect()
}

fn audit_function(seen: &Observation, hub: &HubName, function: &FunctionName) -> FunctionAudit {
    let configured = seen.configured.iter().any(|(name, of)| name == function && of == hub);
    let mut totals = AuditAccount::default();
    let mut gaps = Vec::new();
    let mut partitions = Vec::new();
    let log = seen.hubs.iter().find(|log| log.name == *hub);
    let away = seen.away.iter().find(|(source, _)| source == hub).map(|(_, status)| status.clone());
    let partition_count = log.map_or(0, |log| log.partitions.len());
    match log {
        None if away.is_some() => {
            for known in known_partitions(seen, hub, function) {
                let lane = Lane { function: function.clone(), hub: hub.clone(), partition: known.partition };
                let checked = audit_partition(seen, None, &known, &lane, configured);
                totals += checked.account;
                partitions.push(checked);
            }
        }
        None => gaps.push(Gap::NoHub { hub: hub.clone() }),
        Some(log) => {
            for partition in &log.partitions {
                let lane =
                    Lane { function: function.clone(), hub: hub.clone(), partition: partition.partition };
                let checked = audit_partition(seen, Some(log), partition, &lane, configured);
                totals += checked.account;
                partitions.push(checked);
            }
        }
    }
    // A lane of a partition that the hub does not have is not in the list above, and must not be overlooked.
    for checkpoint in &seen.checkpoints_after {
        let Checkpoint { lane, position, .. } = checkpoint;
        let beyond = usize::try_from(lane.partition.0).is_ok_and(|number| number >= partition_count);
        if log.is_some() && lane.function == *function && lane.hub == *hub && beyond {
            gaps.push(Gap::NoPartition { partition: lane.partition, position: *position });
        }
    }
    let ok = gaps.is_empty() && partitions.iter().all(|partition| partition.ok);
    FunctionAudit { hub: hub.clone(), function: function.clone(), ok, totals, source: away, gaps, partitions }
}

/// The partitions of a source that cannot be asked, as far as the function's checkpoints tell of them.
fn known_partitions(seen: &Observation, hub: &HubName, function: &FunctionName) -> Vec<PartitionObservation> {
    let checkpoints = seen.checkpoints_after.iter();
    let of_it = checkpoints.filter(|known| known.lane.hub == *hub && known.lane.function == *function);
    of_it
        .map(|known| PartitionObservation {
            partition: known.lane.partition,
            head: known.start,
            tail: known.position,
            damage: None,
            lost: Vec::new(),
        })
        .collect()
}

fn audit_partition(
    seen: &Observation,
    log: Option<&HubObservation>,
    partition: &PartitionObservation,
    lane: &Lane,
    configured: bool,
) -> PartitionAudit {
    let PartitionObservation { head, tail, .. } = *partition;
    let checkpoint = seen.checkpoint_after(lane);
    let (start, position) =
        checkpoint.map_or((head, head), |checkpoint| (checkpoint.start, checkpoint.position));
    let counts = checkpoint.map(|checkpoint| checkpoint.counts).unwrap_or_default();
    let parts = seen.parts.iter().find(|(of, _)| of == lane).map(|(_, parts)| *parts).unwrap_or_default();
    // Only hubs of others can be away.
    let is_sparse = log.is_none_or(|log| log.is_sparse);
    let account = AuditAccount {
        published: tail.distance_from(start),
        applied: counts.applied,
        filtered: counts.filtered,
        dead_lettered: counts.dead_lettered,
        quarantined: parts.quarantined,
        parked: counts.parked,
        held: parts.held,
        redriving: parts.redriving,
        discarded: counts.discarded,
        lost: if is_sparse { 0 } else { counts.lost },
        absent: if is_sparse { counts.lost } else { 0 },
        pending: tail.distance_from(position),
    };

    let mut gaps = Vec::new();
    if let Some(detail) = &partition.damage {
        gaps.push(Gap::Damaged { detail: detail.clone() });
    }
    if let Some(checkpoint) = checkpoint {
        if let Some(log) = log.filter(|log| log.incarnation != checkpoint.incarnation) {
            gaps.push(Gap::OtherIncarnation { log: log.incarnation, checkpoint: checkpoint.incarnation });
        }
        gaps.extend(gap_of_counts(checkpoint));
        if account.lost > 0 {
            gaps.push(Gap::GivenUp { events: counts.lost });
        }
        if position > tail {
            gaps.push(Gap::BeyondTail { position, tail });
        }
        if head > position && configured {
            gaps.push(Gap::Dropped { from: position, to: head });
        }
    }
    gaps.extend(gaps_of_counted(seen, lane));
    for lost in &partition.lost {
        // What was given up after it was processed is no loss.
        if lost.end > position {
            gaps.push(Gap::Lost { from: lost.start.max(position), to: lost.end });
        }
    }
    PartitionAudit {
        partition: partition.partition,
        ok: gaps.is_empty(),
        start,
        position,
        head,
        tail,
        account,
        gaps,
    }
}

/// The counts of a checkpoint add up to the way it went.
fn gap_of_counts(checkpoint: &Checkpoint) -> Option<Gap> {
    let (start, position) = (checkpoint.start, checkpoint.position);
    if position < start {
        return Some(Gap::BeforeStart { start, position });
    }
    let (counted, resolved) = (checkpoint.counts.total(), position.distance_from(start));
    (counted != resolved).then_some(Gap::Miscounted { resolved, counted })
}

/// There are as many dead letters and parked events as the checkpoint counts. Counting takes a moment, and a running
/// processor may commit meanwhile: the number must lie between the counts before and after.
fn gaps_of_counted(seen: &Observation, lane: &Lane) -> impl Iterator<Item = Gap> {
    let (before, after) = (seen.checkpoint_before(lane), seen.checkpoint_after(lane));
    let found = |list: &[(Lane, u64)]| list.iter().find(|(of, _)| of == lane).map_or(0, |(_, found)| *found);
    let differs = |found: u64, count: fn(&OutcomeCounts) -> u64| {
        let of =
            |checkpoint: Option<&Checkpoint>| checkpoint.map_or(0, |checkpoint| count(&checkpoint.counts));
        let (one, other) = (of(before), of(after));
        (found < one.min(other) || found > one.max(other)).then_some((other, found))
    };
    let dead_letters = differs(found(&seen.dead_letters), |counts| counts.dead_lettered)
        .map(|(counted, found)| Gap::DeadLetters { counted, found });
    let parked = differs(found(&seen.parked), |counts| counts.parked)
        .map(|(counted, found)| Gap::Parked { counted, found });
    dead_letters.into_iter().chain(parked)
}

#[cfg(test)]
mod tests;
