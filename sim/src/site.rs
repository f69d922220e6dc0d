//! The machine with the log: a disk, the real log on it, and the real gateway before it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::FutureExt;
use parking_lot::Mutex;
use tidegate_eventlog::simulation::FaultyStorage;
use tidegate_eventlog::{Dropped, HubLog, Log, LogError, LogOptions, RetentionPolicy};
use tidegate_gateway::admission::Limits;
use tidegate_gateway::auth::{AccessRule, Authorizer, Right, Scope, SecretKey};
use tidegate_gateway::{Gateway, PublishError, http};
use tidegate_model::clock::{Clock, SharedClock};
use tidegate_model::event::{Event, EventData};
use tidegate_model::ports::{AppendError, EventLog, ReadError, ReadLimit};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tower::ServiceExt;

use crate::clock::SimClock;
use crate::executor::{Executor, ProcessId};
use crate::mutation::Mutation;
use crate::oracle::{Oracle, Told};
use crate::random::Random;
use crate::scenario::hub_name;
use crate::trace::Trace;

/// The access rule of all clients, and its key.
pub(crate) const KEY_NAME: &str = "clients";
pub(crate) const KEY: &str = "simulated-key";
const ALL: ReadLimit = ReadLimit { events: usize::MAX, bytes: usize::MAX };

/// Small segments, so that there are many.
const OPTIONS: LogOptions = LogOptions { segment_bytes: 8 << 10, writer_threads: 1, queue_bytes: 1 << 20 };

/// The machine with the log.
pub(crate) struct Site {
    pub(crate) disk: FaultyStorage,
    /// The tasks of the log and the gateway.
    pub(crate) process: ProcessId,
    pub(crate) hub: Arc<HubLog>,
    gateway: Arc<Gateway>,
    pub(crate) clock: Arc<SimClock>,
    // Last: it closes when it is dropped.
    log: Arc<Log>,
}

impl Site {
    /// Opens the log on a disk, reads all that is in it, and starts its writer.
    ///
    /// # Errors
    /// The disk fails meanwhile.
    pub(crate) fn open(
        disk: FaultyStorage,
        partitions: u32,
        executor: &Executor,
        clock: Arc<SimClock>,
        oracle: &Oracle,
        mut random: Random,
    ) -> Result<Self, LogError> {
        let shared: SharedClock = clock.clone();
        let log = Arc::new(Log::open_simulated(&disk, Path::new("/log"), OPTIONS, Arc::clone(&shared))?);
        let hub = log.create_hub(&hub_name(), partitions)?;
        oracle.read_all(&read_all(&hub));

        let gateway = Arc::new(Gateway::new(authorizer(), Limits::default(), shared));
        gateway.open_hub(hub.clone()).expect("it is the only hub");

        let process = executor.new_process();
        let (writer, of_writer) = (Arc::clone(&log), executor.clone());
        executor.spawn(process, async move {
            loop {
                writer.work_waits().await;
                loop {
                    // Meanwhile others append, and share the group.
                    if random.one_in(2) {
                        of_writer.sleep(Duration::from_micros(random.below(2000))).await;
                    }
                    if !writer.work_once(random.one_in(4)) {
                        break;
                    }
                }
            }
        });
        Ok(Self { disk, process, hub, gateway, clock, log })
    }

    /// Why the log takes no more appends.
    pub(crate) fn failure(&self) -> Option<String> {
        self.hub.failure()
    }

    /// Ends the log in good order.
    pub(crate) fn close(&self) {
        self.log.close();
    }

    /// The log as readers see it.
    pub(crate) fn reader(
        &self,
        oracle: &Arc<Oracle>,
        mutation: Option<Mutation>,
        random: Random,
    ) -> Arc<SimLog> {
        let (log, oracle) = (Arc::clone(&self.hub), Arc::clone(oracle));
        Arc::new(SimLog { log, oracle, mutation, random: Mutex::new(random) })
    }

    /// Everything in the log.
    pub(crate) fn read_all(&self) -> Vec<Content> {
        read_all(&self.hub)
    }

    /// Drops the events that the policy lets go and that lie before the floors of their partitions.
    ///
    /// # Errors
    /// The disk fails meanwhile.
    pub(crate) fn drop_old(
        &self,
        policy: RetentionPolicy,
        floors: &[SequenceNumber],
    ) -> Result<Vec<Dropped>, LogError> {
        self.hub.enforce_retention(self.clock.now(), policy, floors)
    }

    /// How a producer reaches the log.
    pub(crate) fn door(&self) -> Door {
        Door { gateway: Arc::clone(&self.gateway), clock: Arc::clone(&self.clock) }
    }
}

/// Lets everybody in who has the key.
pub(crate) fn authorizer() -> Arc<Authorizer> {
    let key = SecretKey::new(KEY).expect("a good key");
    let rights = [Right::Send, Right::Listen].into_iter().collect();
    let rule = AccessRule { name: KEY_NAME.into(), keys: vec![key], rights, scope: Scope::Namespace };
    Arc::new(Authorizer::new(vec![rule]).expect("one rule"))
}

/// What a partition has.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) partition: PartitionId,
    /// The first event that retention has not dropped.
    pub(crate) head: SequenceNumber,
    /// Its events from there on.
    pub(crate) events: Vec<Event>,
}

impl Content {
    /// The number of its next event.
    pub(crate) fn tail(&self) -> SequenceNumber {
        self.head.plus(self.events.len() as u64)
    }
}

/// Everything in a log whose reads do not wait.
fn read_all(hub: &HubLog) -> Vec<Content> {
    (0..EventLog::partition_count(hub))
        .map(|number| {
            let partition = PartitionId(number);
            let head = EventLog::status(hub, partition).map_or(SequenceNumber::ZERO, |status| status.head);
            let mut events: Vec<Event> = Vec::new();
            loop {
                let from = events.last().map_or(head, |event| event.sequence_number.next());
                let read = hub.read(partition, from, ALL).now_or_never().expect("the disk is in memory");
                // What cannot be read is missed by the oracle.
                match read {
                    Ok(more) if !more.is_empty() => events.extend(more),
                    _ => break,
                }
            }
            Content { partition, head, events }
        })
        .collect()
}

/// How a producer reaches the log.
pub(crate) struct Door {
    gateway: Arc<Gateway>,
    clock: Arc<SimClock>,
}

/// What a producer sends.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    /// The ids of the events, each with its body.
    pub(crate) events: Vec<(String, bytes::Bytes)>,
    /// Their partition.
    pub(crate) partition: PartitionId,
    /// Their key.
    pub(crate) key: Option<String>,
    /// Whether it goes through the HTTP front door. It has one event then.
    pub(crate) by_http: bool,
}

impl Door {
    /// Sends events. What the producer is told about each.
    pub(crate) async fn send(&self, send: &Send, mutation: Option<Mutation>) -> Vec<Told> {
        if send.by_http {
            return vec![self.post(send).await];
        }
        let events = send.events.iter().map(|(_, body)| {
            let data = EventData::new(body.clone());
            match &send.key {
                Some(key) => data.with_key(key.as_str()),
                None => data,
            }
        });
        let hub = self.gateway.hub(hub_name().as_str()).expect("the hub is open");
        let wait = Duration::from_secs(60);
        match hub.publish(send.partition, events.collect(), &*self.clock as &dyn Clock, wait).await {
            Ok(appended) => (0..send.events.len() as u64)
                .map(|index| Told::Stored(Some(appended.partition), Some(appended.first.plus(index))))
                .collect(),
            Err(_) if mutation == Some(Mutation::AckRefused) => {
                vec![Told::Stored(Some(send.partition), None); send.events.len()]
            }
            Err(error) => vec![told_by(&error); send.events.len()],
        }
    }

    async fn post(&self, send: &Send) -> Told {
        let address = match &send.key {
            Some(key) => format!("/hub/publishers/{key}/messages"),
            None => format!("/hub/partitions/{}/messages", send.partition),
        };
        let body = send.events[0].1.clone();
        let request = Request::post(address)
            .header("Authorization", format!("Bearer {KEY}"))
            .header("Content-Length", body.len())
            .body(Body::from(body))
            .expect("a good request");
        let Ok(response) = http::router(Arc::clone(&self.gateway)).oneshot(request).await;
        if response.status() == StatusCode::CREATED {
            Told::Stored(Some(send.partition), None)
        } else {
            Told::Nothing
        }
    }
}

fn told_by(error: &PublishError) -> Told {
    let is_refused = matches!(
        error,
        PublishError::Append(
            AppendError::Failed { may_have_been_stored: false, .. } | AppendError::DiskFull { .. }
        )
    );
    if is_refused && !error.may_have_been_stored() { Told::NotStored } else { Told::Nothing }
}

/// The log as one instance reads it; the oracles see what it reads.
pub(crate) struct SimLog {
    log: Arc<HubLog>,
    oracle: Arc<Oracle>,
    mutation: Option<Mutation>,
    random: Mutex<Random>,
}

#[async_trait]
impl EventLog for SimLog {
    tidegate_model::delegate_event_log!(log: status, tail, locate);

    async fn read(
        &self,
        partition: PartitionId,
        from: SequenceNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Event>, ReadError> {
        let mut events = self.log.read(partition, from, limit).await?;
        self.oracle.read(partition, &events);
        let mut random = self.random.lock();
        if self.mutation == Some(Mutation::SwapEvents) && events.len() > 1 && random.one_in(4) {
            let at = usize::try_from(random.below(events.len() as u64 - 1)).expect("an index");
            let (first, second) = (events[at].data.clone(), events[at + 1].data.clone());
            (events[at].data, events[at + 1].data) = (second, first);
        }
        Ok(events)
    }
}

/// Notes what a producer was told.
pub(crate) fn note_told(oracle: &Oracle, trace: &Trace, send: &Send, told: &[Told]) {
    for ((id, _), told) in send.events.iter().zip(told) {
        trace.note("producer", format_args!("{id}: {told:?}"));
        oracle.told(id, *told);
    }
}
