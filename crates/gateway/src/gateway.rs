//! The gateway: the hubs that can be published to, and everything the front doors share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tidegate_model::clock::{Clock, SharedClock, timeout};
use tidegate_model::event::{EventData, HubName};
use tidegate_model::partitioner::{Partitioner, Route};
use tidegate_model::ports::{AppendError, Appended, EventAppender};
use tidegate_model::position::PartitionId;

use crate::admission::{Admission, Limits};
use crate::auth::Authorizer;

/// What the front doors share: the hubs, the access rules, the limits and the clock.
pub struct Gateway {
    /// By name in lower case: hub names are told apart without regard to case, as in Event Hubs.
    hubs: RwLock<BTreeMap<String, Arc<Hub>>>,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) admission: Admission,
    pub(crate) limits: Limits,
    pub(crate) clock: SharedClock,
    health_check: HealthCheck,
}

/// Says whether the whole program is healthy. It is asked by every `GET /health`, so it must be quick.
pub type HealthCheck = Arc<dyn Fn() -> Health + Send + Sync>;

/// What a [`HealthCheck`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Events are taken and processed.
    Healthy,
    /// Something is wrong.
    Unhealthy {
        /// What, for a person.
        reason: String,
    },
}

impl Gateway {
    /// A gateway without hubs that says it is healthy.
    pub fn new(authorizer: Arc<Authorizer>, limits: Limits, clock: SharedClock) -> Self {
        Self {
            hubs: RwLock::default(),
            authorizer,
            admission: Admission::new(&limits),
            limits,
            clock,
            health_check: Arc::new(|| Health::Healthy),
        }
    }

    /// The same gateway with another opinion of its health.
    #[must_use]
    pub fn with_health_check(mut self, check: HealthCheck) -> Self {
        self.health_check = check;
        self
    }

    /// Opens a hub to producers. A hub that is open under this name is replaced; requests that are under way go on
    /// with the old one.
    pub fn open_hub(&self, appender: Arc<dyn EventAppender>) -> Result<(), HubNameTaken> {
        let name = appender.hub().clone();
        let mut hubs = self.hubs.write();
        if let Some(other) = hubs.get(&key_of(name.as_str())).filter(|other| *other.name() != name) {
            return Err(HubNameTaken { name, other: other.name().clone() });
        }
        hubs.insert(key_of(name.as_str()), Arc::new(Hub::new(appender)));
        Ok(())
    }

    /// Closes a hub to producers. Requests that are under way go on. False when it was not open.
    pub fn close_hub(&self, name: &HubName) -> bool {
        self.hubs.write().remove(&key_of(name.as_str())).is_some()
    }

    /// The open hub with this name, whatever the case of its letters.
    pub fn hub(&self, name: &str) -> Option<Arc<Hub>> {
        self.hubs.read().get(&key_of(name)).cloned()
    }

    /// The names of at most three open hubs, those most like `name` first.
    pub(crate) fn nearest_hubs(&self, name: &str) -> Vec<HubName> {
        let asked: String = key_of(name).chars().take(256).collect();
        let mut hubs: Vec<_> = (self.hubs.read().iter())
            .map(|(key, hub)| (strsim::jaro_winkler(&asked, key), hub.name().clone()))
            .collect();
        hubs.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        hubs.into_iter().take(3).map(|(_, name)| name).collect()
    }

    pub(crate) fn health(&self) -> Health {
        (self.health_check)()
    }
}

fn key_of(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// Two hubs have names that differ only in the case of their letters, so clients could not tell them apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hub {name} cannot be opened beside {other}: their names differ only in the case of letters")]
pub struct HubNameTaken {
    /// The hub that was refused.
    pub name: HubName,
    /// The hub that is open.
    pub other: HubName,
}

/// A hub that can be published to.
pub struct Hub {
    appender: Arc<dyn EventAppender>,
    partitioner: Partitioner,
}

impl Hub {
    fn new(appender: Arc<dyn EventAppender>) -> Self {
        let partitioner = Partitioner::new(appender.partition_count());
        Self { appender, partitioner }
    }

    /// Its name.
    pub fn name(&self) -> &HubName {
        self.appender.hub()
    }

    /// How many partitions it has.
    pub fn partition_count(&self) -> u32 {
        self.appender.partition_count()
    }

    /// The partition for a route.
    pub fn choose(&self, route: Route<'_>) -> Result<PartitionId, AppendError> {
        self.partitioner.choose(route).ok_or_else(|| AppendError::NoSuchPartition {
            hub: self.name().clone(),
            partition: match route {
                Route::Partition(partition) => partition,
                // The others always find one.
                Route::Key(_) | Route::Any => PartitionId(0),
            },
            partition_count: self.partition_count(),
        })
    }

    /// Appends events to a partition and waits at most `wait` for their durability.
    pub async fn publish(
        &self,
        partition: PartitionId,
        events: Vec<EventData>,
        clock: &dyn Clock,
        wait: Duration,
    ) -> Result<Appended, PublishError> {
        match timeout(clock, wait, self.appender.append(partition, events)).await {
            Some(appended) => Ok(appended?),
            None => Err(PublishError::TimedOut { partition, wait }),
        }
    }
}

/// Why events are not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The log refused or failed.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log took too long. The append may still happen.
    #[error("partition {partition} did not confirm the events within {} seconds", .wait.as_secs_f64())]
    TimedOut {
        /// The partition.
        partition: PartitionId,
        /// How long it was waited for.
        wait: Duration,
    },
}

impl PublishError {
    /// True when events may turn out to be stored all the same, so that sending again may make duplicates.
    pub fn may_have_been_stored(&self) -> bool {
        match self {
            Self::Append(error) => error.may_have_been_stored(),
            Self::TimedOut { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::SystemClock;
    use tidegate_model::memory::MemoryLog;

    use super::*;

    fn gateway(hubs: &[&str]) -> Gateway {
        let authorizer = Arc::new(Authorizer::new(Vec::new()).unwrap());
        let gateway = Gateway::new(authorizer, Limits::default(), SystemClock::shared());
        for hub in hubs {
            gateway.open_hub(log(hub, 4)).unwrap();
        }
        gateway
    }

    fn log(name: &str, partitions: u32) -> Arc<MemoryLog> {
        Arc::new(MemoryLog::new(HubName::new(name).unwrap(), partitions, SystemClock::shared()))
    }

    #[test]
    fn a_hub_is_found_without_regard_to_case_and_names_cannot_collide() {
        let gateway = gateway(&["Flights"]);
        assert_eq!(gateway.hub("fLIGHTS").unwrap().name().as_str(), "Flights");
        assert!(gateway.open_hub(log("flights", 4)).is_err());
        gateway.open_hub(log("Flights", 8)).unwrap();
        assert_eq!(gateway.hub("Flights").unwrap().partition_count(), 8, "it was replaced");
        assert!(gateway.close_hub(&HubName::new("Flights").unwrap()));
        assert!(gateway.hub("Flights").is_none());
    }

    #[test]
    fn the_nearest_names_come_first() {
        let gateway = gateway(&["drones", "flights", "flight-plans", "weather"]);
        let nearest = gateway.nearest_hubs("fligths");
        assert_eq!(nearest.len(), 3);
        assert_eq!(nearest[0].as_str(), "flights");
    }

    #[test]
    fn a_partition_that_does_not_exist_is_named_with_the_number_there_are() {
        let error = gateway(&["flights"])
            .hub("flights")
            .unwrap()
            .choose(Route::Partition(PartitionId(4)))
            .unwrap_err();
        assert_eq!(error.to_string(), "the hub flights has no partition 4; it has 4, numbered from 0");
    }
}
