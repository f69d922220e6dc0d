//! The checks that every log has to pass, as far as they are about reading and not about what only the log of this
//! program promises.

use std::sync::Arc;

use async_trait::async_trait;
use tidegate_adapters::event_hubs::RemoteLog;
use tidegate_model::clock::TestClock;
use tidegate_model::conformance::event_log::{self as checks, LogUnderTest};
use tidegate_model::event::{Event, EventData, HubName};
use tidegate_model::ports::{AppendError, Appended, EventAppender, EventLog, ReadError, ReadLimit};
use tidegate_model::position::{Incarnation, PartitionId, SequenceNumber, StartPosition};

use crate::harness::OtherHub;

/// A hub that is written directly and read from afar.
struct FromAfar {
    hub: OtherHub,
    log: Arc<RemoteLog>,
}

#[async_trait]
impl EventAppender for FromAfar {
    fn hub(&self) -> &HubName {
        EventAppender::hub(&*self.hub.log)
    }

    fn partition_count(&self) -> u32 {
        EventAppender::partition_count(&*self.hub.log)
    }

    /// As it is seen from afar: the hub itself does not tell its own.
    fn incarnation(&self) -> Incarnation {
        EventLog::incarnation(&*self.log)
    }

    /// Waits until the reader has heard of it: the checks look at once.
    async fn append(&self, partition: PartitionId, events: Vec<EventData>) -> Result<Appended, AppendError> {
        let appended = self.hub.log.append(partition, events).await?;
        let end = appended.first.plus(u64::from(appended.count));
        let mut tail = self.log.tail(partition).expect("the hub is there");
        tail.wait_for(|tail| *tail >= end).await.expect("the hub is there");
        Ok(appended)
    }
}

#[async_trait]
impl EventLog for FromAfar {
    tidegate_model::delegate_event_log!(log: status, tail, locate);

    /// What was appended without a message comes with one; the checks compare events.
    async fn read(
        &self,
        partition: PartitionId,
        from: SequenceNumber,
        limit: ReadLimit,
    ) -> Result<Vec<Event>, ReadError> {
        let mut events = self.log.read(partition, from, limit).await?;
        for event in &mut events {
            event.data.amqp = None;
        }
        Ok(events)
    }
}

struct Afar;

impl LogUnderTest for Afar {
    type Log = Box<FromAfar>;

    async fn open(&self, name: HubName, partition_count: u32, clock: Arc<TestClock>) -> Self::Log {
        let hub = OtherHub::start_named(name.clone(), partition_count, clock).await;
        let log = hub.reader_with(|options| options.name = name).await;
        Box::new(FromAfar { hub, log })
    }

    async fn reopen(&self, log: Self::Log, _clock: Arc<TestClock>) -> Self::Log {
        let FromAfar { hub, log: before } = *log;
        let name = EventLog::hub(&*before).clone();
        drop(before);
        let log = hub.reader_with(|options| options.name = name).await;
        Box::new(FromAfar { hub, log })
    }

    async fn expire(&self, log: &Self::Log, partition: PartitionId, head: SequenceNumber) {
        log.hub.log.drop_before(partition, head).expect("the partition exists");
        log.log.locate(partition, StartPosition::Earliest).await.expect("the hub answers");
    }

    async fn delete(&self, log: &Self::Log) {
        log.hub.log.delete();
    }
}

macro_rules! checks {
    ($($check:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                checks::$check(&Afar).await;
            }
        )*
    };
}

checks! {
    events_come_back_in_order_without_a_gap,
    reading_goes_on_where_it_stopped,
    partitions_do_not_mix,
    an_empty_append_is_acknowledged_and_changes_nothing,
    a_read_keeps_its_limits,
    a_read_returns_one_event_though_it_is_larger_than_the_limit,
    a_read_at_the_tail_is_empty_and_past_it_refused,
    locate_finds_numbers_and_offsets,
    the_tail_wakes_its_watchers_when_events_are_readable,
    an_event_of_the_largest_size_is_taken,
    enqueued_at_never_goes_back,
    expired_events_are_named_and_the_rest_stays,
    a_batch_keeps_its_limits,
    a_batch_tells_where_the_partition_ends,
    clients_positions_are_found,
    the_time_the_hub_was_made_survives,
}
