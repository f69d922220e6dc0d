//! What `GET /health` says: everything that does not go on by itself.
//!
//! A full disk or a store that does not answer for a while is not among it: the lanes wait, which the checkpoints
//! show, and go on by themselves. Restarting the server for it would help nobody.

use std::sync::Arc;

use tidegate_eventlog::HubLog;
use tidegate_gateway::Health;
use tidegate_host::status::{LaneState, LaneStatus};
use tidegate_model::ports::EventLog;
use tidegate_model::position::PartitionId;

/// How many problems are named; hubs can have a thousand partitions.
const MOST_NAMED: usize = 10;

/// How the whole program is. `stopped_store` is why the store [writes nothing more](tidegate_store::SqliteStore::failure).
pub(crate) fn of(hubs: &[Arc<HubLog>], stopped_store: Option<String>, lanes: &[LaneStatus]) -> Health {
    let damaged = hubs.iter().flat_map(|hub| damaged_partitions(hub));
    verdict(stopped(hubs, stopped_store).chain(stopped_lanes(lanes)).chain(damaged))
}

/// What only a restart begins again: the log and the store, after a sync that failed.
pub(crate) fn stopped(
    hubs: &[Arc<HubLog>],
    stopped_store: Option<String>,
) -> impl Iterator<Item = String> + use<> {
    // The hubs of a log stop together.
    let stopped_log = hubs.iter().find_map(|hub| hub.failure());
    let log = stopped_log.map(|reason| {
        format!("the log takes no more events because a write to disk failed: {reason}; restart the server")
    });
    let store = stopped_store.map(|reason| {
        format!(
            "the store takes no more commits because a write to disk failed: {reason}; restart the server"
        )
    });
    log.into_iter().chain(store)
}

fn stopped_lanes(lanes: &[LaneStatus]) -> impl Iterator<Item = String> {
    lanes.iter().filter_map(|status| match &status.state {
        LaneState::Stopped { error } => Some(format!("the lane {} is stopped: {error}", status.lane)),
        _ => None,
    })
}

fn damaged_partitions(hub: &HubLog) -> impl Iterator<Item = String> {
    let partitions = (0..EventLog::partition_count(hub)).map(PartitionId);
    partitions.filter_map(move |partition| {
        let damage = hub.status(partition).ok()?.damage?;
        let name = EventLog::hub(hub);
        Some(format!("partition {partition} of {name} is out of service: {damage}; run `tidegate fsck`"))
    })
}

/// Healthy without problems; else the first of them and how many more there are (pure).
fn verdict(problems: impl Iterator<Item = String>) -> Health {
    let mut problems = problems.peekable();
    if problems.peek().is_none() {
        return Health::Healthy;
    }
    let mut reason = problems.by_ref().take(MOST_NAMED).collect::<Vec<_>>().join("\n");
    let more = problems.count();
    if more > 0 {
        reason.push_str(&format!("\nand {more} more; see `tidegate checkpoints` and `tidegate fsck`"));
    }
    Health::Unhealthy { reason }
}

#[cfg(test)]
mod tests {
    use tidegate_model::checkpoint::{FunctionName, Lane};
    use tidegate_model::event::HubName;
    use tidegate_model::position::SequenceNumber;

    use super::*;

    fn lane(partition: u32, state: LaneState) -> LaneStatus {
        let lane = Lane {
            function: FunctionName::new("f").unwrap(),
            hub: HubName::new("h").unwrap(),
            partition: PartitionId(partition),
        };
        LaneStatus {
            lane,
            state,
            position: SequenceNumber::ZERO,
            tail: SequenceNumber(7),
            parked: 0,
            held: 0,
            progressed_at: None,
            watchdog: None,
        }
    }

    fn reason(health: Health) -> String {
        match health {
            Health::Healthy => String::new(),
            Health::Unhealthy { reason } => reason,
        }
    }

    #[test]
    fn lanes_that_go_on_by_themselves_are_healthy_and_stopped_ones_are_named() {
        let waiting = lane(0, LaneState::Waiting { error: "the disk is full".to_owned() });
        assert_eq!(of(&[], None, &[waiting.clone(), lane(1, LaneState::Running)]), Health::Healthy);
        let stopped =
            |partition| lane(partition, LaneState::Stopped { error: format!("because {partition}") });
        let reason = reason(of(&[], None, &[waiting, stopped(1), stopped(2)]));
        let lines: Vec<&str> = reason.lines().collect();
        assert_eq!(lines.len(), 2, "{reason}");
        assert!(
            lines[0].contains(&stopped(1).lane.to_string()) && lines[0].ends_with("because 1"),
            "{reason}"
        );
        assert!(
            lines[1].contains(&stopped(2).lane.to_string()) && lines[1].ends_with("because 2"),
            "{reason}"
        );
    }

    #[test]
    fn a_store_whose_sync_failed_does_not_go_on_by_itself() {
        let failure = || Some("state.db: disk I/O error".to_owned());
        let reason = reason(of(&[], failure(), &[]));
        assert!(reason.contains("state.db: disk I/O error; restart the server"), "{reason}");
        assert_eq!(stopped(&[], failure()).collect::<Vec<_>>(), [reason]);
        assert_eq!(stopped(&[], None).count(), 0);
    }

    #[test]
    fn the_answer_stays_small() {
        let problems = (0..1000).map(|n| format!("problem {n}"));
        let reason = reason(verdict(problems));
        assert_eq!(reason.lines().count(), MOST_NAMED + 1);
        assert!(reason.contains("problem 9\nand 990 more"), "{reason}");
    }
}
