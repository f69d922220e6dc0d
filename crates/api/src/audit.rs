//! The audit.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::sources::SourceStatus;

/// How many events are where. `published` is `applied` + `filtered` + `dead_lettered` + `parked` + `discarded` + `lost` +
/// `absent` + `pending`; the others are parts of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditAccount {
    /// Events in the log from where the function began.
    pub published: u64,
    /// Events whose effect is in the documents.
    pub applied: u64,
    /// Events the function asked nothing for.
    pub filtered: u64,
    /// Events in the dead letters, open or quarantined.
    pub dead_lettered: u64,
    /// Those of them that keep coming back from redrives.
    pub quarantined: u64,
    /// Events that wait in the store: to be tried again, held, or behind an earlier event of their key.
    pub parked: u64,
    /// Those of them that wait for a person or the circuit.
    pub held: u64,
    /// Those of them that are dead letters being redriven.
    pub redriving: u64,
    /// Dead letters that a person discarded.
    pub discarded: u64,
    /// Events that a repair of the log had given up before they were processed.
    pub lost: u64,
    /// Numbers that a hub of somebody else gave to no event, or to none that it still had when it was read.
    #[serde(default)]
    pub absent: u64,
    /// Events that are not resolved yet.
    pub pending: u64,
}

impl std::ops::AddAssign for AuditAccount {
    fn add_assign(&mut self, other: Self) {
        self.published = self.published.saturating_add(other.published);
        self.applied = self.applied.saturating_add(other.applied);
        self.filtered = self.filtered.saturating_add(other.filtered);
        self.dead_lettered = self.dead_lettered.saturating_add(other.dead_lettered);
        self.quarantined = self.quarantined.saturating_add(other.quarantined);
        self.parked = self.parked.saturating_add(other.parked);
        self.held = self.held.saturating_add(other.held);
        self.redriving = self.redriving.saturating_add(other.redriving);
        self.discarded = self.discarded.saturating_add(other.discarded);
        self.lost = self.lost.saturating_add(other.lost);
        self.absent = self.absent.saturating_add(other.absent);
        self.pending = self.pending.saturating_add(other.pending);
    }
}

/// The account of one function on one hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionAudit {
    /// The hub.
    pub hub: String,
    /// The function.
    pub function: String,
    /// True when every sequence number is accounted for.
    pub ok: bool,
    /// The totals over all partitions.
    #[serde(flatten)]
    pub totals: AuditAccount,
    /// How the source is, when it cannot be asked: then the account is of what is known, up to the checkpoints, and `ok`
    /// speaks of that alone. Absent when it is there, and for hubs that are ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// What is wrong beyond single partitions; absent when nothing is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<AuditGap>,
    /// The partitions, in order.
    pub partitions: Vec<PartitionAudit>,
}

/// The account of one function in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartitionAudit {
    /// The partition.
    pub partition: u32,
    /// True when every sequence number is accounted for.
    pub ok: bool,
    /// Where the function began.
    pub start: u64,
    /// The first event it has not resolved.
    pub position: u64,
    /// The oldest event kept.
    pub head: u64,
    /// The number the next event will get.
    pub tail: u64,
    /// Its numbers.
    #[serde(flatten)]
    pub account: AuditAccount,
    /// What is wrong.
    pub gaps: Vec<AuditGap>,
}

/// A place where the numbers do not agree. TG-601 explains the kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditGap {
    /// Which kind.
    pub kind: String,
    /// What is wrong, for a person.
    pub detail: String,
}

/// A stretch of a partition, event by event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeepAuditStretch {
    /// The function.
    pub function: String,
    /// The hub.
    pub hub: String,
    /// The partition.
    pub partition: u32,
    /// Where the stretch begins.
    pub from: u64,
    /// Where the next stretch begins; the tail at the end.
    pub next: u64,
    /// The number the next event will get.
    pub tail: u64,
    /// Events that the log and the store were compared for.
    pub compared: u64,
    /// Events that the log has dropped after they were resolved; what the store records of them cannot be compared.
    pub dropped: u64,
    /// Events that a repair gave up.
    pub lost: u64,
    /// Open and quarantined dead letters that the store records.
    pub dead_lettered: u64,
    /// Parked events that the store records.
    pub parked: u64,
    /// What the checkpoint counts in all, at this moment.
    pub counted: Option<AuditTally>,
    /// What is wrong.
    pub findings: Vec<AuditFinding>,
    /// Findings that are not told.
    pub more_findings: u64,
}

/// Counts of what waits for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditTally {
    /// Open and quarantined dead letters.
    pub dead_lettered: u64,
    /// Parked events.
    pub parked: u64,
}

/// An event about which the log and the store disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditFinding {
    /// The event.
    pub sequence_number: u64,
    /// What is wrong, for a person.
    pub detail: String,
}
