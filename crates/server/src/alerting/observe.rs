//! Gathers the numbers that the alert rules look at: from the store, which all instances share, and the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use tidegate_alerts::engine::Observe;
use tidegate_alerts::rules::{FunctionObservation, LaneObservation, Observation};
use tidegate_eventlog::Log;
use tidegate_host::settings::ParkingLimits;
use tidegate_model::checkpoint::{Checkpoint, FunctionName, Lane};
use tidegate_model::circuit::{CIRCUIT, Circuit, CircuitState, PAUSE};
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::dead_letter::{DeadLetterFilter, DeadLetterStatus};
use tidegate_model::event::HubName;
use tidegate_model::ports::{EventLog, ReadLimit, Store, StoreError};
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::config::Config;
use crate::node::Node;
use crate::sources::Sources;

/// One event: of the first that is pending, only its time is of interest.
const ONE: ReadLimit = ReadLimit { events: 1, bytes: 1 };

/// Looks at the functions of a configuration.
pub(super) struct StoreObserver {
    log: Arc<Log>,
    sources: Sources,
    store: Arc<dyn Store>,
    functions: Vec<Watched>,
    dead_letter_window: std::time::Duration,
    /// Before this nobody processed anything here, which is no standing still.
    started_at: Timestamp,
    /// When a lane that is paused, or was, was last seen so: from then on it may be expected to move.
    paused_at: Mutex<BTreeMap<Lane, Timestamp>>,
}

struct Watched {
    function: FunctionName,
    hub: HubName,
    parking: ParkingLimits,
}

/// What was read of all lanes at once.
struct Facts {
    checkpoints: Vec<Checkpoint>,
    owners: BTreeMap<Lane, String>,
    /// The names of the functions and lanes that are paused.
    pauses: Vec<String>,
    circuits: BTreeMap<String, Option<Circuit>>,
}

impl StoreObserver {
    /// Looks at the functions of `config` on `node`.
    pub(super) fn new(node: &Node, config: &Config) -> Self {
        let watched = config.functions.iter().map(|function| Watched {
            function: function.name.clone(),
            hub: function.hub.clone(),
            parking: function.settings.parking,
        });
        let clock: &SharedClock = &node.clock;
        Self {
            log: node.log.clone(),
            sources: node.sources.clone(),
            store: Arc::<tidegate_store::SqliteStore>::clone(&node.store),
            functions: watched.collect(),
            dead_letter_window: config.alerts.rules.growing_within,
            started_at: clock.now(),
            paused_at: Mutex::default(),
        }
    }

    /// The hub that a function reads; `None` while that is a source which has not come yet.
    fn log_of(&self, hub: &HubName) -> Option<Arc<dyn EventLog>> {
        let own = self.log.hub(hub).map(|hub| hub as Arc<dyn EventLog>);
        own.or_else(|| self.sources.find(hub.as_str()))
    }

    async fn facts(&self) -> Result<Facts, StoreError> {
        let owners = self.store.ownerships().await?.into_iter();
        let pauses = self.store.registers(PAUSE).await?;
        let circuits = self.store.registers(CIRCUIT).await?.into_iter();
        Ok(Facts {
            checkpoints: self.store.checkpoints().await?,
            owners: owners
                .filter(|ownership| !ownership.owner.is_empty())
                .map(|ownership| (ownership.lane, ownership.owner))
                .collect(),
            pauses: pauses.into_iter().map(|register| register.name).collect(),
            circuits: circuits
                .map(|register| (register.name, serde_json::from_value(register.value).ok()))
                .collect(),
        })
    }

    async fn function(
        &self,
        watched: &Watched,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<FunctionObservation, StoreError> {
        let unsettled = DeadLetterFilter {
            function: Some(watched.function.clone()),
            status: DeadLetterStatus::ALL.into_iter().filter(|status| status.is_unsettled()).collect(),
            ..DeadLetterFilter::default()
        };
        let recent =
            DeadLetterFilter { since: Some(now.minus(self.dead_letter_window)), ..unsettled.clone() };
        let groups = self.store.group_dead_letters(&unsettled).await?;
        let recent = self.store.group_dead_letters(&recent).await?;
        let (circuit, circuit_since) = match facts.circuits.get(watched.function.as_str()) {
            None => (CircuitState::Closed, None),
            Some(Some(circuit)) => (circuit.state, Some(circuit.since)),
            // One that cannot be read lets nothing through.
            Some(None) => (CircuitState::Open, None),
        };
        let paused = facts.pauses.iter().any(|name| name == watched.function.as_str());
        let mut lanes = Vec::new();
        let log = self.log_of(&watched.hub);
        let partitions = log.iter().flat_map(|log| (0..log.partition_count()).map(move |id| (log, id)));
        for (log, partition) in partitions {
            let lane = self.lane(watched, log, PartitionId(partition), facts, paused, now).await?;
            lanes.extend(lane.map(|lane| LaneObservation {
                progress_at: lane.progress_at.max(circuit_since.unwrap_or_default()),
                ..lane
            }));
        }
        Ok(FunctionObservation {
            function: watched.function.clone(),
            open_dead_letters: groups.iter().map(|group| group.count).sum(),
            recent_dead_letters: recent.iter().map(|group| group.count).sum(),
            oldest_dead_letter: groups.iter().map(|group| group.first_at).min(),
            circuit,
            paused,
            lanes,
        })
    }

    /// `None` while the lane has no checkpoint: nobody has begun to process it.
    async fn lane(
        &self,
        watched: &Watched,
        log: &Arc<dyn EventLog>,
        partition: PartitionId,
        facts: &Facts,
        function_is_paused: bool,
        now: Timestamp,
    ) -> Result<Option<LaneObservation>, StoreError> {
        let lane = Lane { function: watched.function.clone(), hub: watched.hub.clone(), partition };
        if self.sources.reader_elsewhere(&lane).is_some() {
            // What becomes of its events there is not known here.
            return Ok(None);
        }
        let Some(checkpoint) = facts.checkpoints.iter().find(|checkpoint| checkpoint.lane == lane) else {
            return Ok(None);
        };
        let status = log.status(partition).ok();
        let tail = status.as_ref().map_or(checkpoint.position, |status| status.tail);
        let pending = tail.distance_from(checkpoint.position);
        let oldest_pending_at = match pending {
            0 => None,
            // A partition that cannot be read stands still since its checkpoint does.
            _ => Some(
                first_pending_at(log, partition, checkpoint.position).await.unwrap_or(checkpoint.updated_at),
            ),
        };
        let (parked_events, parked_bytes) = match checkpoint.counts.parked {
            0 => (0, 0),
            _ => {
                let place = self.store.parking_place(&lane).await?;
                (place.events, place.bytes)
            }
        };
        let paused = function_is_paused || facts.pauses.contains(&lane.to_string());
        let paused_at = {
            let mut known = self.paused_at.lock();
            if paused {
                known.insert(lane.clone(), now);
            }
            known.get(&lane).copied().unwrap_or_default()
        };
        Ok(Some(LaneObservation {
            owner: facts.owners.get(&lane).cloned(),
            lane,
            pending,
            oldest_pending_at,
            last_enqueued_at: status.and_then(|status| status.last_enqueued_at),
            progress_at: checkpoint.updated_at.max(self.started_at).max(paused_at),
            paused,
            parked_events,
            parked_events_limit: watched.parking.max_events,
            parked_bytes,
            parked_bytes_limit: watched.parking.max_bytes,
        }))
    }
}

async fn first_pending_at(
    log: &Arc<dyn EventLog>,
    partition: PartitionId,
    position: SequenceNumber,
) -> Option<Timestamp> {
    let events = log.read(partition, position, ONE).await.ok()?;
    events.first().map(|event| event.enqueued_at)
}

#[async_trait]
impl Observe for StoreObserver {
    async fn observe(&self, now: Timestamp) -> Result<Observation, StoreError> {
        let facts = self.facts().await?;
        let mut functions = Vec::with_capacity(self.functions.len());
        for watched in &self.functions {
            functions.push(self.function(watched, &facts, now).await?);
        }
        Ok(Observation { functions })
    }
}
