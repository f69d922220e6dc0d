//! A hub of somebody else, as the log that functions are run over.
//!
//! ```text
//! read ─► the feed that is there, or another one ─► its buffer ◄─ a receiver, credit as there is room
//!                                                      │
//! tail ◄──── events, what they tell of the end ◄───────┘       $management, twice a minute ─► head, tail, is it the same hub
//! ```
//!
//! What a reader has to know beyond the contract of [`EventLog`]:
//!
//! - The hub keeps events for a time that is not ours to say: what it has dropped before it was read is
//!   [`ReadError::Expired`], and a person decides.
//! - A hub's [incarnation](EventLog::incarnation) is made of the namespace, the hub's name and the time it was made, so that
//!   a hub which was deleted and made again is another one.
//! - Numbers may have gaps where the hub has (compaction). The next event's number is simply higher.
//! - [`PartitionStatus::size_bytes`] is not told by hubs; it is 0.

mod feed;
mod partition;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::event::{Event, HubName};
use tidegate_model::ports::{EventLog, PartitionStatus, ReadError, ReadLimit};
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber, StartPosition};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::partition::Partition;
use super::client::{Client, ClientError, FailureKind, HubInfo, PartitionInfo, Receive, StartAt};

/// How a remote hub is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteLogOptions {
    /// What the hub is called here.
    pub name: HubName,
    /// The consumer group. Programs that read the same partitions independently of each other should have one each.
    pub consumer_group: String,
    /// With an owner level, only one receiver of the group reads a partition at a time, and one that is replaced is told
    /// so. Then functions cannot share the group.
    pub owner_level: Option<i64>,
    /// Whether a partition is read only while it is [assigned](RemoteLog::assign): the readers of the group share them out.
    pub shares_partitions: bool,
    /// How many events of a partition are asked for ahead, at most.
    pub prefetch_count: u32,
    /// How many bytes of a partition wait to be read, roughly; up to twice that is held.
    pub prefetch_bytes: usize,
}

impl RemoteLogOptions {
    /// Group `$Default`, no owner level, all partitions, 300 events as Event Hubs' clients, 4 MiB.
    pub fn new(name: HubName) -> Self {
        Self {
            name,
            consumer_group: "$Default".to_owned(),
            owner_level: None,
            shares_partitions: false,
            prefetch_count: 300,
            prefetch_bytes: 4 * 1024 * 1024,
        }
    }
}

/// How often the hub is asked where its partitions begin and end.
const REFRESH: Duration = Duration::from_secs(30);

/// How often partitions are looked at whose tail is waited for and which nobody reads.
const LOOK: Duration = Duration::from_secs(1);

/// How many partitions are asked about at a time. Event Hubs takes 50 such questions a second.
const QUESTIONS: usize = 8;

/// How long a read waits for an event that is said to be there.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// A hub of somebody else. Dropping it ends its connection.
pub struct RemoteLog {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
}

/// What is held of a partition ahead of its readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffered {
    /// Bytes, with those that were read and are kept for another reader while there is room.
    pub bytes: usize,
    /// Bytes that nobody has read.
    pub unread_bytes: usize,
    /// How many receivers there are.
    pub readers: usize,
}

/// What the log and its tasks share.
struct Shared {
    client: Arc<Client>,
    options: RemoteLogOptions,
    clock: SharedClock,
    incarnation: Incarnation,
    info: HubInfo,
    partitions: Vec<Partition>,
    /// The partitions that may be read, where not all of them may.
    assigned: Option<watch::Sender<BTreeSet<PartitionId>>>,
    /// Since when the hub does not answer, and what is wrong.
    trouble: Mutex<Option<(Timestamp, String)>>,
    /// When the hub told last about itself.
    answered_at: Mutex<Timestamp>,
}

impl RemoteLog {
    /// Asks the hub what it is, and begins to watch it.
    ///
    /// # Errors
    /// When the hub cannot be reached, or refuses to tell.
    pub async fn open(
        client: Arc<Client>,
        options: RemoteLogOptions,
        clock: SharedClock,
    ) -> Result<Arc<Self>, ClientError> {
        let info = client.hub_info().await?;
        let questions = (0..info.partition_count).map(PartitionId).map(|id| {
            let client = Arc::clone(&client);
            async move { Ok(Partition::new(client.partition_info(id).await?)) }
        });
        let answers: Vec<Result<Partition, ClientError>> =
            stream::iter(questions).buffered(QUESTIONS).collect().await;
        let partitions = answers.into_iter().collect::<Result<_, _>>()?;
        let remote = client.remote();
        let incarnation = incarnation_of(&remote.namespace, &remote.hub, info.created_at);
        let answered_at = Mutex::new(clock.now());
        let assigned = options.shares_partitions.then(watch::Sender::default);
        let shared = Arc::new(Shared {
            client,
            options,
            clock,
            incarnation,
            info,
            partitions,
            assigned,
            trouble: Mutex::default(),
            answered_at,
        });
        if shared.assigned.is_some() {
            shared.partitions.iter().for_each(|partition| partition.take_away(NOT_ASSIGNED.to_owned()));
        }
        let keeper = tokio::spawn(Arc::clone(&shared).keep());
        Ok(Arc::new(Self { shared, keeper }))
    }

    /// When the hub told last about itself: it is asked twice a minute.
    pub fn answered_at(&self) -> Timestamp {
        *self.shared.answered_at.lock()
    }

    /// What is held of a partition ahead of its readers; nothing when there is no such partition.
    pub fn buffered(&self, partition: PartitionId) -> Buffered {
        self.shared.partition(partition).map(Partition::held).unwrap_or_default()
    }

    /// The offset that the hub gave to an event, or to the nearest one before it that is known, with that one's number. Known
    /// are events that were received in the life of this value.
    pub fn offset_at(
        &self,
        partition: PartitionId,
        number: SequenceNumber,
    ) -> Option<(SequenceNumber, String)> {
        self.shared.partition(partition).ok()?.offset_at(number)
    }

    /// Where a consumer group goes on that is done with an event: behind its number, or behind its offset where the number is
    /// not known. `None` when neither says anything.
    ///
    /// # Errors
    /// When the hub cannot be asked, or has no such event yet.
    pub async fn locate_behind(
        &self,
        partition: PartitionId,
        number: Option<SequenceNumber>,
        offset: Option<&str>,
    ) -> Result<Option<SequenceNumber>, ReadError> {
        if let Some(number) = number {
            return self.locate(partition, StartPosition::SequenceNumber(number.next())).await.map(Some);
        }
        // It becomes part of an expression.
        let Some(offset) =
            offset.filter(|offset| !offset.contains(['\'', '\\']) && !offset.contains(char::is_control))
        else {
            return Ok(None);
        };
        let info = self.shared.ask(partition).await?;
        if info.head == info.tail || info.last_offset.as_deref() == Some(offset) {
            return Ok(Some(info.tail));
        }
        self.shared.first_event(partition, StartAt::AfterOffset(offset.to_owned())).await.map(Some)
    }

    /// Nobody will ask for the offsets of events before this one.
    pub(crate) fn forget_offsets_before(&self, partition: PartitionId, number: SequenceNumber) {
        if let Ok(partition) = self.shared.partition(partition) {
            partition.forget_offsets_before(number);
        }
    }

    /// Lets a partition be read, where the readers of the group share them out.
    pub fn assign(&self, partition: PartitionId) {
        let (Some(assigned), Ok(known)) = (&self.shared.assigned, self.shared.partition(partition)) else {
            return;
        };
        known.give_back();
        assigned.send_if_modified(|assigned| assigned.insert(partition));
    }

    /// Has a partition not be read any more: it falls to another reader of the group.
    pub fn unassign(&self, partition: PartitionId, why: &str) {
        self.shared.take_away(partition, why);
    }

    /// Since when the hub does not answer, and what is wrong, if that is so.
    pub fn trouble(&self) -> Option<(Timestamp, String)> {
        self.shared.trouble.lock().clone()
    }

    /// Notes which other reader of the group has a partition; `None` when nobody is known to.
    pub fn tell_reader(&self, partition: PartitionId, reader: Option<&str>) {
        if let Ok(partition) = self.shared.partition(partition) {
            partition.set_reader(reader.map(str::to_owned));
        }
    }

    /// Which other reader of the group has a partition, as far as that is known.
    pub fn reader(&self, partition: PartitionId) -> Option<String> {
        self.shared.partition(partition).ok()?.reader()
    }

    /// The consumer group it reads in.
    pub fn consumer_group(&self) -> &str {
        &self.shared.options.consumer_group
    }

    /// The client it reads with.
    pub fn client(&self) -> &Arc<Client> {
        &self.shared.client
    }
}

impl Drop for RemoteLog {
    fn drop(&mut self) {
        self.keeper.abort();
        for partition in &self.shared.partitions {
            partition.close();
        }
    }
}

/// The life of a hub: the same for everybody who reads it, another one when it is made again.
fn incarnation_of(namespace: &str, hub: &str, created_at: Timestamp) -> Incarnation {
    let text = format!(
        "{}\n{}\n{}",
        namespace.to_ascii_lowercase(),
        hub.to_ascii_lowercase(),
        created_at.as_millis()
    );
    let digest = Sha256::digest(text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Incarnation(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

impl Shared {
    fn partition(&self, id: PartitionId) -> Result<&Partition, ReadError> {
        self.partitions.get(id.0 as usize).ok_or_else(|| ReadError::NoSuchPartition {
            hub: self.options.name.clone(),
            partition: id,
            partition_count: self.info.partition_count,
        })
    }

    /// Somebody else reads a partition.
    fn take_away(&self, id: PartitionId, why: &str) {
        let Ok(partition) = self.partition(id) else { return };
        partition.take_away(why.to_owned());
        if let Some(assigned) = &self.assigned {
            assigned.send_if_modified(|assigned| assigned.remove(&id));
        }
    }

    /// Notes that the hub answers, or what it says instead.
    fn answers(&self, problem: Option<&ClientError>) {
        let mut trouble = self.trouble.lock();
        *trouble = problem.map(|problem| {
            let since = trouble.as_ref().map_or_else(|| self.clock.now(), |(since, _)| *since);
            (since, problem.to_string())
        });
    }

    fn deleted(&self) -> ReadError {
        ReadError::HubDeleted { hub: self.options.name.clone() }
    }

    /// Keeps what is known of the hub up to date, and watches the ends that are waited for.
    async fn keep(self: Arc<Self>) {
        let mut refreshed = self.clock.monotonic();
        let mut missing = 0;
        loop {
            self.clock.sleep(LOOK).await;
            for (id, partition) in (0..).map(PartitionId).zip(&self.partitions) {
                if partition.is_waited_for_in_vain() {
                    feed::start_at_tail(&self, id);
                }
            }
            if self.clock.monotonic().saturating_sub(refreshed) < REFRESH {
                continue;
            }
            match self.refresh().await {
                Ok(()) => {
                    missing = 0;
                    self.answers(None);
                    *self.answered_at.lock() = self.clock.now();
                }
                Err(error) => {
                    self.answers(Some(&error));
                    tracing::warn!(hub = %self.options.name, %error, "the hub does not tell about itself");
                    missing = if error.kind() == FailureKind::NotFound { missing + 1 } else { 0 };
                }
            }
            if missing >= MISSING_FOR_SURE {
                tracing::error!(hub = %self.options.name, "the hub is gone");
                self.partitions.iter().for_each(Partition::close);
                return;
            }
            refreshed = self.clock.monotonic();
        }
    }

    async fn refresh(&self) -> Result<(), ClientError> {
        let info = self.client.hub_info().await?;
        if info.created_at != self.info.created_at {
            tracing::error!(
                hub = %self.options.name, was = %self.info.created_at, is = %info.created_at,
                "the hub was deleted and made again: what was read of it means nothing any more; restart to begin with the new one"
            );
            self.partitions.iter().for_each(Partition::close);
            return Ok(());
        }
        if info.partition_count != self.info.partition_count {
            tracing::warn!(
                hub = %self.options.name, was = self.info.partition_count, is = info.partition_count,
                "the hub has another number of partitions; restart to read them all"
            );
        }
        let questions = (0..self.info.partition_count).map(PartitionId).map(|id| {
            let client = Arc::clone(&self.client);
            async move { (id, client.partition_info(id).await) }
        });
        let mut answers = stream::iter(questions).buffered(QUESTIONS);
        while let Some((id, info)) = answers.next().await {
            self.partitions[id.0 as usize].learn(&info?);
        }
        Ok(())
    }

    /// Asks where a partition begins and ends now.
    async fn ask(&self, id: PartitionId) -> Result<PartitionInfo, ReadError> {
        let partition = self.partition(id)?;
        let info = self.client.partition_info(id).await.map_err(|error| unavailable(id, &error))?;
        partition.learn(&info);
        Ok(info)
    }

    /// The first event from `start` on, if there is one; the receiver is gone afterwards.
    async fn first_event(&self, id: PartitionId, start: StartAt) -> Result<SequenceNumber, ReadError> {
        let receive = Receive {
            consumer_group: self.options.consumer_group.clone(),
            partition: id,
            start,
            // To look is no reason to send away who reads.
            owner_level: if self.options.shares_partitions { None } else { self.options.owner_level },
        };
        let failed = |error: ClientError| unavailable(id, &error);
        let mut receiver = self.client.receive(&receive).await.map_err(failed)?;
        receiver.grant(1);
        let message = tidegate_model::clock::timeout(&*self.clock, READ_PATIENCE, receiver.next())
            .await
            .ok_or_else(|| ReadError::Unavailable {
                partition: id,
                detail: format!("no event came within {} s", READ_PATIENCE.as_secs()),
            })?;
        let received = tidegate_messages::received(message.map_err(failed)?)
            .map_err(|problem| ReadError::Unavailable { partition: id, detail: problem.to_string() })?;
        Ok(received.event.sequence_number)
    }
}

/// Why a partition is not read that was never assigned.
const NOT_ASSIGNED: &str = "it is not assigned to this program yet";

/// How many times the hub must not be found to be gone: it may be on the way to another place of the service.
const MISSING_FOR_SURE: u32 = 3;

fn unavailable(partition: PartitionId, error: &ClientError) -> ReadError {
    ReadError::Unavailable { partition, detail: error.to_string() }
}

#[async_trait]
impl EventLog for RemoteLog {
    fn hub(&self) -> &HubName {
        &self.shared.options.name
    }

    fn partition_count(&self) -> u32 {
        self.shared.info.partition_count
    }

    fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    fn created_at(&self) -> Timestamp {
        self.shared.info.created_at
    }

    fn assigned(&self) -> Option<watch::Receiver<BTreeSet<PartitionId>>> {
        self.shared.assigned.as_ref().map(watch::Sender::subscribe)
    }

    fn has_sparse_numbers(&self) -> bool {
        true
    }

    fn begin_term(&self, partition: PartitionId) {
        // Where partitions are assigned, that alone counts.
        if let (None, Ok(partition)) = (&self.shared.assigned, self.shared.partition(partition)) {
            partition.give_back();
        }
    }

    fn status(&self, partition: PartitionId) -> Result<PartitionStatus, ReadError> {
        let ends = self.shared.partition(partition)?.ends().ok_or_else(|| self.shared.deleted())?;
        Ok(PartitionStatus {
            head: ends.head,
            tail: ends.tail,
            last_enqueued_at: ends.last_enqueued_at,
            size_bytes: 0,
            damage: None,
            lost: Vec::new(),
        })
    }

    fn tail(&self, partition: PartitionId) -> Result<watch::Receiver<SequenceNumber>, ReadError> {
        self.shared.partition(partition)?.watch().ok_or_else(|| self.shared.deleted())
    }

    async fn locate(
        &self,
        partition: PartitionId,
        start: StartPosition,
    ) -> Result<SequenceNumber, ReadError> {
        let known = self.shared.partition(partition)?;
        known.ends().ok_or_else(|| self.shared.deleted())?;
        let info = self.shared.ask(partition).await?;
        let (head, tail) = (info.head, info.tail);
        let from = match start {
            StartPosition::Earliest => head,
            StartPosition::Latest => tail,
            StartPosition::SequenceNumber(number) => number,
            StartPosition::AfterOffset(offset) => {
                SequenceNumber(offset.sequence_number().0.saturating_add(1))
            }
            StartPosition::EnqueuedTime(time) => {
                let is_after_all = info.last_enqueued_at.is_none_or(|last| last < time);
                if head == tail || is_after_all {
                    tail
                } else {
                    self.shared.first_event(partition, StartAt::EnqueuedTime(time)).await?
                }
            }
        };
        if from > tail { Err(ReadError::BeyondTail { partition, from, tail }) } else { Ok(from.max(head)) }
    }

    async fn read(
        &self,
        partition: PartitionId,
        from: SequenceNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Event>, ReadError> {
        let shared = &self.shared;
        let known = shared.partition(partition)?;
        let patience = shared.clock.monotonic().saturating_add(READ_PATIENCE);
        loop {
            let ends = known.ends().ok_or_else(|| shared.deleted())?;
            if let Some(detail) = known.taken() {
                return Err(ReadError::Fenced { partition, detail });
            }
            if from < ends.head {
                return Err(ReadError::Expired { partition, from, head: ends.head });
            }
            if from > ends.tail {
                // What is known of the end may be old.
                let tail = shared.ask(partition).await?.tail;
                if from > tail {
                    return Err(ReadError::BeyondTail { partition, from, tail });
                }
                continue;
            }
            if from == ends.tail {
                return Ok(Vec::new());
            }
            let Some(feed) = feed::find(shared, partition, from) else { continue };
            let mut news = feed.news();
            match feed.take(from, limit) {
                feed::Taken::Events(events) => return Ok(events),
                feed::Taken::Problem(error) => return Err(unavailable(partition, &error)),
                // Another reader moved it.
                feed::Taken::Elsewhere => continue,
                feed::Taken::Nothing => {}
            }
            let left = patience.saturating_sub(shared.clock.monotonic());
            if left.is_zero() {
                // Perhaps it was dropped meanwhile.
                let info = shared.ask(partition).await?;
                if from < info.head {
                    continue;
                }
                return Err(ReadError::Unavailable {
                    partition,
                    detail: format!("no event came within {} s", READ_PATIENCE.as_secs()),
                });
            }
            tokio::select! {
                _ = news.changed() => {}
                () = shared.clock.sleep(left) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_the_same_for_all_who_read_it_until_it_is_made_again() {
        let at = Timestamp::from_millis;
        let one = incarnation_of("NS.servicebus.windows.net", "flights", at(1));
        assert_eq!(one, incarnation_of("ns.servicebus.windows.net", "Flights", at(1)));
        assert_ne!(one, incarnation_of("ns.servicebus.windows.net", "flights", at(2)));
        assert_ne!(one, incarnation_of("ns.servicebus.windows.net", "drones", at(1)));
        assert_ne!(one, incarnation_of("ns2.servicebus.windows.net", "flights", at(1)));
    }
}
