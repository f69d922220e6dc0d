//! The gateway: the hubs that can be published to, and everything the front doors share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tidegate_model::clock::{Clock, SharedClock, Timestamp, timeout};
use tidegate_model::event::{EventData, HubName};
use tidegate_model::observe::{PublishEnd, PublishReport, trace_of};
use tidegate_model::partitioner::{Partitioner, Route};
use tidegate_model::ports::{AppendError, Appended, EventAppender, EventLog, Observer};
use tidegate_model::position::PartitionId;
use tokio::sync::watch;

use crate::admission::{Admission, Limits};
use crate::auth::{Authorizer, Grant, PutToken, TokenRefused};
use crate::namespace::{ConsumerGroupName, ConsumerGroups};
use crate::throughput::{Quota, QuotaExceeded, ThroughputUnits};

/// What the front doors share: the hubs, the access rules, the limits and the clock.
pub struct Gateway {
    /// By name in lower case: hub names are told apart without regard to case, as in Event Hubs.
    hubs: RwLock<BTreeMap<String, Arc<Hub>>>,
    /// Tells those who keep a hub that something they stand on may be gone.
    removals: watch::Sender<()>,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) admission: Admission,
    pub(crate) limits: Limits,
    pub(crate) clock: SharedClock,
    quota: Arc<Quota>,
    health_check: HealthCheck,
    observer: Option<Arc<dyn Observer>>,
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
            removals: watch::Sender::new(()),
            authorizer,
            admission: Admission::new(&limits),
            limits,
            clock,
            quota: Arc::new(Quota::unlimited()),
            health_check: Arc::new(|| Health::Healthy),
            observer: None,
        }
    }

    /// The same gateway, and an observer is told of every publish; before any hub is opened.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The same gateway with limits to its throughput, before any hub is opened.
    #[must_use]
    pub fn with_throughput(mut self, units: ThroughputUnits) -> Self {
        self.quota = Arc::new(Quota::of(units, &*self.clock));
        self
    }

    /// The same gateway with another opinion of its health.
    #[must_use]
    pub fn with_health_check(mut self, check: HealthCheck) -> Self {
        self.health_check = check;
        self
    }

    /// Opens a hub to producers, with the consumer group `$Default`. A hub that is open under this name is replaced;
    /// requests that are under way go on with the old one.
    ///
    /// # Errors
    /// When another hub is open whose name differs only in the case of its letters.
    pub fn open_hub(&self, appender: Arc<dyn EventAppender>) -> Result<(), HubNameTaken> {
        self.open_hub_with(appender, None, ConsumerGroups::default())
    }

    /// The same with other consumer groups, and with what is read from it.
    ///
    /// # Errors
    /// As for [`open_hub`](Self::open_hub).
    pub fn open_hub_with(
        &self,
        appender: Arc<dyn EventAppender>,
        log: Option<Arc<dyn EventLog>>,
        consumer_groups: ConsumerGroups,
    ) -> Result<(), HubNameTaken> {
        let name = appender.hub().clone();
        let mut hubs = self.hubs.write();
        if let Some(other) = hubs.get(&key_of(name.as_str())).filter(|other| *other.name() != name) {
            return Err(HubNameTaken { name, other: other.name().clone() });
        }
        let hub = Hub {
            observer: self.observer.clone(),
            ..Hub::new(appender, log, consumer_groups, Arc::clone(&self.quota))
        };
        hubs.insert(key_of(name.as_str()), Arc::new(hub));
        Ok(())
    }

    /// Closes a hub. Requests that are under way go on; links of clients to it are detached. False when it was not open.
    pub fn close_hub(&self, name: &HubName) -> bool {
        let removed = self.hubs.write().remove(&key_of(name.as_str()));
        if let Some(hub) = &removed {
            hub.closed.store(true, Ordering::Release);
            self.removals.send_replace(());
        }
        removed.is_some()
    }

    /// Removes a consumer group of a hub; those who receive in it are detached. False when there is no such group, and for
    /// `$Default`, which stays.
    pub fn remove_consumer_group(&self, hub: &Hub, group: &ConsumerGroupName) -> bool {
        let removed = hub.consumer_groups.remove(group);
        if removed {
            self.removals.send_replace(());
        }
        removed
    }

    /// Changes whenever a hub was closed or a consumer group removed.
    pub(crate) fn removals(&self) -> watch::Receiver<()> {
        self.removals.subscribe()
    }

    /// The open hub with this name, whatever the case of its letters.
    pub fn hub(&self, name: &str) -> Option<Arc<Hub>> {
        self.hubs.read().get(&key_of(name)).cloned()
    }

    /// Decides on a token that a client puts for a resource: the token must be good, and its hub must be open.
    ///
    /// # Errors
    /// Why the client is not let in, with the status code for the answer.
    pub fn put_token(&self, request: &PutToken<'_>) -> Result<Grant, TokenRefused> {
        let grant = self.authorizer.put_token(request, self.clock.now())?;
        // Nobody learns which hubs there are before his token is found good.
        match grant.path.hub() {
            Some(name) if self.hub(name).is_none() => {
                Err(TokenRefused::NotFound { hub: name.chars().take(256).collect() })
            }
            _ => Ok(grant),
        }
    }

    /// What decides who may do what.
    pub fn authorizer(&self) -> &Arc<Authorizer> {
        &self.authorizer
    }

    /// The limits of the throughput of all hubs together.
    pub fn quota(&self) -> &Arc<Quota> {
        &self.quota
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
    log: Option<Arc<dyn EventLog>>,
    partitioner: Partitioner,
    consumer_groups: ConsumerGroups,
    quota: Arc<Quota>,
    closed: AtomicBool,
    observer: Option<Arc<dyn Observer>>,
}

impl Hub {
    fn new(
        appender: Arc<dyn EventAppender>,
        log: Option<Arc<dyn EventLog>>,
        consumer_groups: ConsumerGroups,
        quota: Arc<Quota>,
    ) -> Self {
        let partitioner = Partitioner::new(appender.partition_count());
        let closed = AtomicBool::new(false);
        Self { appender, log, partitioner, consumer_groups, quota, closed, observer: None }
    }

    /// Whether it was closed: clients that are attached to it have to go.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Its name.
    pub fn name(&self) -> &HubName {
        self.appender.hub()
    }

    /// How many partitions it has.
    pub fn partition_count(&self) -> u32 {
        self.appender.partition_count()
    }

    /// What is read from it; `None` for a hub that can only be sent to.
    pub fn log(&self) -> Option<&Arc<dyn EventLog>> {
        self.log.as_ref()
    }

    /// When it was made; the beginning of time when nothing is read from it.
    pub fn created_at(&self) -> Timestamp {
        self.log.as_ref().map_or_else(Timestamp::default, |log| log.created_at())
    }

    /// Its consumer groups.
    pub fn consumer_groups(&self) -> &ConsumerGroups {
        &self.consumer_groups
    }

    /// Takes events of these bytes together out of the namespace's throughput quota, before they are published; for a
    /// door whose clients come again by themselves.
    ///
    /// # Errors
    /// When the quota is used up; nothing was taken then.
    pub fn admit(&self, bytes: u64, events: u64, clock: &dyn Clock) -> Result<(), QuotaExceeded> {
        self.quota.admit_ingress(bytes, events, clock)
    }

    /// Takes them out in any case, and says how long their sender is to be held up: by waiting before the events are
    /// published, or by a late answer.
    pub fn charge(&self, bytes: u64, events: u64, clock: &dyn Clock) -> Duration {
        self.quota.charge_ingress(bytes, events, clock)
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
        self.publish_in(None, partition, events, clock, wait).await
    }

    /// The same in a trace: what asked for it named itself, as a W3C `traceparent`. Without one it is the trace that the
    /// first event belongs to.
    pub async fn publish_in(
        &self,
        trace: Option<&str>,
        partition: PartitionId,
        events: Vec<EventData>,
        clock: &dyn Clock,
        wait: Duration,
    ) -> Result<Appended, PublishError> {
        let Some(observer) = &self.observer else { return self.append(partition, events, clock, wait).await };
        let (began, many) = (clock.monotonic(), events.len() as u64);
        // Most events have no properties, so this is almost always nothing.
        let trace = trace.or_else(|| events.first().and_then(trace_of)).map(str::to_owned);
        let appended = self.append(partition, events, clock, wait).await;
        observer.published(&PublishReport {
            hub: self.name(),
            partition,
            events: many,
            at: clock.now(),
            took: clock.monotonic().saturating_sub(began),
            end: appended.as_ref().map_or(PublishEnd::Failed, |appended| PublishEnd::Stored(appended.first)),
            trace: trace.as_deref(),
        });
        appended
    }

    async fn append(
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
    /// The namespace's throughput units are used up. Nothing was stored.
    #[error(transparent)]
    OverQuota(#[from] QuotaExceeded),
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
            Self::OverQuota(_) => false,
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
