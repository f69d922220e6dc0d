//! Defects planted on purpose: a simulation that does not notice them is worth nothing.
//!
//! Each is a wrapper around a port, never a switch in the program.

use tidegate_model::commit::Commit;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::Store;

use crate::scenario::StoreKind;

/// A planted defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The checkpoint goes one event further than was decided.
    CheckpointAhead,
    /// The disk says that it has synced and has not.
    AckBeforeSync,
    /// Producers are told that events are stored when the log refused them.
    AckRefused,
    /// Events that are parked are not written down.
    ForgetParked,
    /// A commit under an old epoch goes through.
    StaleEpoch,
    /// Of several instances that take the probe of a half-open circuit at once, more than one wins.
    TwoProbes,
    /// An instance that is told of an open circuit hears that it is closed.
    DeafToCircuit,
    /// A commit whose reply is lost has written its documents and not its checkpoints.
    TornCommit,
    /// The attempts at an event are not written down.
    ForgetAttempts,
    /// What is recorded of attempts is not found again by whoever takes over a lane.
    RestartCount,
    /// Dead letters are counted and not kept.
    LoseDeadLetters,
    /// The log gives two events in the wrong order.
    SwapEvents,
    /// A parked event that was applied stays parked.
    KeepParked,
    /// An instance never hears that something is paused.
    DeafToPause,
    /// A redriven event is what its producer sent, also after a person repaired it.
    OldRevision,
    /// Retention does not ask who has yet to read what it drops.
    DropUnread,
    /// The door for AMQP accepts deliveries before they are durable.
    AckBeforeDurable,
    /// The door for AMQP stores a later delivery of a link before an earlier one.
    SwapDeliveries,
    /// A reader that comes back misses an event.
    SkipOnResume,
    /// The door does not see that a reader has an epoch.
    LoseEpoch,
    /// The door for AMQP never says what became of some deliveries, however long it takes.
    NoAnswerToSend,
    /// The door for AMQP never says whether some readers may read.
    NoAnswerToReader,
    /// The door for AMQP ends connections that nothing is wrong with.
    HangUp,
    /// A checkpoint that a person moves has no line in the trail, so that after an answer that says neither yes nor no nobody
    /// can tell.
    SilentSeek,
    /// The embedded store says that its commits are durable, and has not synced its write-ahead log.
    UnsyncedCommit,
    /// The embedded store begins its write-ahead log anew, and has not synced the pages that it moved out of it.
    UnsyncedPages,
}

impl Mutation {
    /// Every mutation, with its name and within how many seeds, from 0, it has to be caught.
    pub const ALL: [(Self, &'static str, u64); 26] = [
        (Self::CheckpointAhead, "checkpoint-ahead", 5),
        (Self::AckBeforeSync, "ack-before-sync", 20),
        (Self::AckRefused, "ack-refused", 20),
        (Self::ForgetParked, "forget-parked", 20),
        (Self::StaleEpoch, "stale-epoch", 50),
        (Self::TwoProbes, "two-probes", 50),
        (Self::DeafToCircuit, "deaf-to-circuit", 50),
        (Self::TornCommit, "torn-commit", 10),
        (Self::ForgetAttempts, "forget-attempts", 20),
        (Self::RestartCount, "restart-count", 20),
        (Self::LoseDeadLetters, "lose-dead-letters", 5),
        (Self::SwapEvents, "swap-events", 10),
        (Self::KeepParked, "keep-parked", 20),
        (Self::DeafToPause, "deaf-to-pause", 20),
        (Self::OldRevision, "old-revision", 50),
        (Self::DropUnread, "drop-unread", 10),
        (Self::AckBeforeDurable, "ack-before-durable", 50),
        (Self::SwapDeliveries, "swap-deliveries", 20),
        (Self::SkipOnResume, "skip-on-resume", 10),
        (Self::LoseEpoch, "lose-epoch", 50),
        (Self::NoAnswerToSend, "no-answer-to-send", 20),
        (Self::NoAnswerToReader, "no-answer-to-reader", 10),
        (Self::HangUp, "hang-up", 10),
        (Self::SilentSeek, "silent-seek", 80),
        (Self::UnsyncedCommit, "unsynced-commit", 20),
        (Self::UnsyncedPages, "unsynced-pages", 20),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(known, ..)| *known == self).map_or("", |(_, name, _)| name)
    }

    /// Within how many seeds it has to be caught.
    pub fn seeds(self) -> u64 {
        Self::ALL.iter().find(|(known, ..)| *known == self).map_or(0, |(_, _, seeds)| *seeds)
    }

    /// The store that it is planted in, if only that one can show it.
    pub fn store(self) -> Option<StoreKind> {
        (self == Self::SilentSeek).then_some(StoreKind::Embedded)
    }

    /// The mutation with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(mutation, ..)| *mutation)
    }

    /// What a store with this defect makes of a commit.
    pub(crate) async fn distort(self, commit: &Commit, store: &dyn Store) -> Commit {
        let mut commit = commit.clone();
        // What is not written down is counted as filtered, so that the sums are right.
        let hide = |counts: &mut OutcomeCounts, field: fn(&mut OutcomeCounts) -> &mut u64| {
            let hidden = std::mem::take(field(counts));
            counts.filtered += hidden;
        };
        match self {
            Self::CheckpointAhead => {
                if let Some(step) = commit.lanes.first_mut() {
                    step.advance.to = step.advance.to.next();
                    step.counts.applied += 1;
                    step.attempts.retain(|event| event.sequence_number >= step.advance.to);
                }
            }
            Self::ForgetParked => {
                for step in &mut commit.lanes {
                    step.parked.clear();
                    hide(&mut step.counts, |counts| &mut counts.parked);
                }
            }
            Self::LoseDeadLetters => {
                for step in &mut commit.lanes {
                    step.dead_letters.clear();
                    hide(&mut step.counts, |counts| &mut counts.dead_lettered);
                }
            }
            Self::ForgetAttempts => {
                for step in &mut commit.lanes {
                    step.attempts.clear();
                    step.reparked.iter_mut().for_each(|reparked| reparked.attempts.truncate(1));
                }
            }
            Self::KeepParked => {
                commit.lanes.iter_mut().for_each(|step| step.unparked.clear());
            }
            Self::StaleEpoch => {
                let owners = store.ownerships().await.unwrap_or_default();
                for step in &mut commit.lanes {
                    let owner = owners.iter().find(|ownership| ownership.lane == step.lane);
                    step.epoch = owner.map_or(step.epoch, |ownership| ownership.epoch);
                }
            }
            Self::AckBeforeSync
            | Self::AckRefused
            | Self::TwoProbes
            | Self::DeafToCircuit
            | Self::TornCommit
            | Self::RestartCount
            | Self::DeafToPause
            | Self::OldRevision
            | Self::DropUnread
            | Self::AckBeforeDurable
            | Self::SwapDeliveries
            | Self::SkipOnResume
            | Self::LoseEpoch
            | Self::NoAnswerToSend
            | Self::NoAnswerToReader
            | Self::HangUp
            | Self::SilentSeek
            | Self::UnsyncedCommit
            | Self::UnsyncedPages
            | Self::SwapEvents => {}
        }
        commit
    }
}
