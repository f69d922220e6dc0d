//! What every [`EventAppender`] with its [`EventLog`] must do.
//!
//! An implementation names itself with [`LogUnderTest`] and gets one test per check from
//! [`event_log_suite!`](crate::event_log_suite).

#![expect(missing_docs, reason = "the name of a check says what it checks")]

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::{Clock as _, TestClock, Timestamp};
use crate::event::{EncodedMessage, Event, EventData, HubName, MAX_EVENT_BYTES, Properties, PropertyValue};
use crate::ports::{AppendError, Appended, EventAppender, EventLog, EventView, ReadError, ReadLimit};
use crate::position::{Offset, PartitionId, SequenceNumber, StartPosition};

/// An implementation that takes the suite. Each check makes its own.
pub trait LogUnderTest: Send + Sync + 'static {
    /// Keeps a hub open, and points to what appends to it and reads it.
    type Log: Deref<Target: EventAppender + EventLog + Sized> + Send + Sync + 'static;

    /// An empty hub that takes its time from `clock`.
    fn open(
        &self,
        hub: HubName,
        partition_count: u32,
        clock: Arc<TestClock>,
    ) -> impl Future<Output = Self::Log> + Send;

    /// The same hub after a restart of the program. An implementation that does not outlive the program returns `log`.
    fn reopen(&self, log: Self::Log, clock: Arc<TestClock>) -> impl Future<Output = Self::Log> + Send;

    /// Drops events before `head`. It may drop fewer, down to about half a mebibyte of the newest of them, but none
    /// at `head` or after it.
    fn expire(
        &self,
        log: &Self::Log,
        partition: PartitionId,
        head: SequenceNumber,
    ) -> impl Future<Output = ()> + Send;

    /// Deletes the hub with its log.
    fn delete(&self, log: &Self::Log) -> impl Future<Output = ()> + Send;
}

/// One test per check of the suite, for the [`LogUnderTest`] that the expression makes.
#[macro_export]
macro_rules! event_log_suite {
    ($under_test:expr) => {
        $crate::event_log_suite! { @tests $under_test;
            events_come_back_in_order_without_a_gap,
            reading_goes_on_where_it_stopped,
            an_append_is_all_or_nothing_for_readers,
            concurrent_appenders_share_a_partition,
            partitions_do_not_mix,
            an_empty_append_is_acknowledged_and_changes_nothing,
            a_read_keeps_its_limits,
            a_read_returns_one_event_though_it_is_larger_than_the_limit,
            a_read_at_the_tail_is_empty_and_past_it_refused,
            locate_finds_numbers_and_offsets,
            locate_finds_enqueued_times,
            the_tail_wakes_its_watchers_when_events_are_readable,
            every_kind_of_event_comes_back_as_it_was,
            a_partition_that_does_not_exist_is_named,
            an_event_that_is_too_large_refuses_the_whole_append,
            an_event_of_the_largest_size_is_taken,
            enqueued_at_never_goes_back,
            expired_events_are_named_and_the_rest_stays,
            status_tells_head_tail_and_time,
            a_restart_keeps_everything,
            a_message_comes_back_to_the_bit,
            the_limit_of_a_message_is_its_length,
            a_batch_shows_what_a_read_returns,
            a_batch_keeps_its_limits,
            a_batch_tells_where_the_partition_ends,
            clients_positions_are_found,
            the_time_the_hub_was_made_survives,
            a_deleted_hub_says_so,
        }
    };
    (@tests $under_test:expr; $($check:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                $crate::conformance::event_log::$check(&$under_test).await;
            }
        )*
    };
}

const P0: PartitionId = PartitionId(0);
const P1: PartitionId = PartitionId(1);
const START: Timestamp = Timestamp::from_millis(1_750_000_000_000);
const MUCH: ReadLimit = ReadLimit { events: 10_000, bytes: 64 << 20 };

fn clock() -> Arc<TestClock> {
    TestClock::new(START, 1)
}

fn hub() -> HubName {
    HubName::new("under-test").expect("a valid name")
}

fn bodies(range: std::ops::Range<u64>) -> Vec<EventData> {
    range.map(|number| EventData::new(number.to_string())).collect()
}

/// All events from `from` to the tail, read in steps.
async fn read_all(
    log: &impl EventLog,
    partition: PartitionId,
    from: SequenceNumber,
    step: ReadLimit,
) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    loop {
        let next = all.last().map_or(from, |event| event.sequence_number.next());
        let events = log.read(partition, next, step).await.expect("a read between head and tail");
        if events.is_empty() {
            return all;
        }
        all.extend(events);
    }
}

fn assert_gapless(events: &[Event], from: SequenceNumber) {
    for (event, expected) in events.iter().zip(from.0..) {
        assert_eq!(event.sequence_number, SequenceNumber(expected));
    }
    assert!(events.is_sorted_by_key(|event| event.enqueued_at), "an enqueued time went back");
}

async fn append_ok(log: &impl EventAppender, partition: PartitionId, events: Vec<EventData>) -> Appended {
    log.append(partition, events).await.expect("an append")
}

pub async fn events_come_back_in_order_without_a_gap<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 2, clock()).await;
    let mut published = Vec::new();
    for round in 0..50_u64 {
        let events = bodies(round * 100..round * 100 + round % 7 + 1);
        published.extend(events.iter().cloned());
        let appended = append_ok(&*log, P0, events.clone()).await;
        assert_eq!(appended.partition, P0);
        assert_eq!(appended.count as usize, events.len());
        assert_eq!(appended.first.0 as usize + events.len(), published.len());
    }
    let events = read_all(&*log, P0, SequenceNumber::ZERO, MUCH).await;
    assert_gapless(&events, SequenceNumber::ZERO);
    assert_eq!(events.into_iter().map(|event| event.data).collect::<Vec<_>>(), published);
}

pub async fn reading_goes_on_where_it_stopped<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    for round in 0..20 {
        append_ok(&*log, P0, bodies(round * 10..round * 10 + 10)).await;
    }
    let whole = read_all(&*log, P0, SequenceNumber::ZERO, MUCH).await;
    for step in [1, 3, 7, 10, 64] {
        let steps =
            read_all(&*log, P0, SequenceNumber::ZERO, ReadLimit { events: step, bytes: 1 << 20 }).await;
        assert_eq!(steps, whole, "in steps of {step}");
    }
    for from in [1, 9, 10, 11, 155, 199] {
        let rest = read_all(&*log, P0, SequenceNumber(from), MUCH).await;
        assert_eq!(rest[..], whole[from as usize..], "from {from}");
    }
}

pub async fn an_append_is_all_or_nothing_for_readers<T: LogUnderTest>(test: &T) {
    const SIZE: u64 = 25;
    let log = Arc::new(test.open(hub(), 1, clock()).await);
    let reader = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            let mut tail = EventLog::tail(&**log, P0).expect("the partition exists");
            loop {
                let now = tail.borrow_and_update().0;
                assert_eq!(now % SIZE, 0, "the tail is inside an append");
                assert_eq!(log.status(P0).expect("the partition exists").tail.0 % SIZE, 0);
                if now == 100 * SIZE {
                    return;
                }
                tail.changed().await.expect("the log is open");
            }
        }
    });
    for round in 0..100 {
        append_ok(&**log, P0, bodies(round * SIZE..(round + 1) * SIZE)).await;
    }
    reader.await.expect("the reader saw whole appends");
}

pub async fn concurrent_appenders_share_a_partition<T: LogUnderTest>(test: &T) {
    const APPENDERS: u64 = 8;
    const ROUNDS: u64 = 40;
    let log = Arc::new(test.open(hub(), 2, clock()).await);
    let appenders: Vec<_> = (0..APPENDERS)
        .map(|appender| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut places = Vec::new();
                for round in 0..ROUNDS {
                    let events: Vec<_> =
                        (0..3).map(|index| EventData::new(format!("{appender}/{round}/{index}"))).collect();
                    let partition = PartitionId(u32::from(appender % 4 == 3));
                    places.push((append_ok(&**log, partition, events.clone()).await, events));
                }
                places
            })
        })
        .collect();
    for appender in appenders {
        let mut before = None;
        for (appended, events) in appender.await.expect("the appender ended") {
            assert!(before < Some(appended.first), "a later append came before an acknowledged one");
            before = Some(appended.first);
            let limit = ReadLimit { events: events.len(), bytes: 1 << 20 };
            let stored = read_n(&**log, appended.partition, appended.first, limit).await;
            assert_gapless(&stored, appended.first);
            assert_eq!(stored.into_iter().map(|event| event.data).collect::<Vec<_>>(), events);
        }
    }
    let tails = [P0, P1].map(|partition| log.status(partition).expect("the partition exists").tail.0);
    assert_eq!(tails.iter().sum::<u64>(), APPENDERS * ROUNDS * 3);
}

/// Exactly `limit.events` events, in as many reads as it takes.
async fn read_n(
    log: &impl EventLog,
    partition: PartitionId,
    from: SequenceNumber,
    limit: ReadLimit,
) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    while events.len() < limit.events {
        let from = from.plus(events.len() as u64);
        let limit = ReadLimit { events: limit.events - events.len(), ..limit };
        let more = log.read(partition, from, limit).await.expect("a read between head and tail");
        assert!(!more.is_empty(), "nothing at {from}");
        events.extend(more);
    }
    events
}

pub async fn partitions_do_not_mix<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 3, clock()).await;
    assert_eq!(EventLog::partition_count(&*log), 3);
    assert_eq!(EventAppender::partition_count(&*log), 3);
    assert_eq!(EventLog::hub(&*log), &hub());
    assert_eq!(EventLog::incarnation(&*log), EventAppender::incarnation(&*log));
    for partition in 0..3_u32 {
        let first = append_ok(&*log, PartitionId(partition), bodies(0..u64::from(partition) + 1)).await.first;
        assert_eq!(first, SequenceNumber::ZERO);
    }
    for partition in 0..3_u32 {
        let events = read_all(&*log, PartitionId(partition), SequenceNumber::ZERO, MUCH).await;
        assert_eq!(events.len() as u32, partition + 1);
    }
}

pub async fn an_empty_append_is_acknowledged_and_changes_nothing<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    append_ok(&*log, P0, bodies(0..2)).await;
    let appended = append_ok(&*log, P0, Vec::new()).await;
    assert_eq!((appended.first, appended.count), (SequenceNumber(2), 0));
    assert_eq!(log.status(P0).expect("the partition exists").tail, SequenceNumber(2));
}

pub async fn a_read_keeps_its_limits<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    append_ok(&*log, P0, (0..50).map(|_| EventData::new(vec![7; 100])).collect()).await;
    for (events, bytes) in [(1, 1 << 20), (10, 1 << 20), (1000, 250), (1000, 100), (5, 300), (0, 0)] {
        let read = log.read(P0, SequenceNumber(3), ReadLimit { events, bytes }).await.expect("a read");
        assert!(!read.is_empty() && read.len() <= events.max(1), "{events} events: {}", read.len());
        let without_the_last: usize = read[..read.len() - 1].iter().map(|event| event.data.size()).sum();
        assert!(without_the_last == 0 || without_the_last < bytes, "{bytes} bytes: {without_the_last}");
        assert_gapless(&read, SequenceNumber(3));
    }
}

pub async fn a_read_returns_one_event_though_it_is_larger_than_the_limit<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    let large = EventData::new(vec![1; 300_000]);
    append_ok(&*log, P0, vec![EventData::new("small"), large.clone(), EventData::new("small")]).await;
    let read = log.read(P0, SequenceNumber(1), ReadLimit { events: 10, bytes: 1000 }).await.expect("a read");
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].data, large);
}

pub async fn a_read_at_the_tail_is_empty_and_past_it_refused<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    assert_eq!(log.read(P0, SequenceNumber::ZERO, MUCH).await, Ok(Vec::new()));
    append_ok(&*log, P0, bodies(0..3)).await;
    assert_eq!(log.read(P0, SequenceNumber(3), MUCH).await, Ok(Vec::new()));
    for from in [SequenceNumber(4), SequenceNumber(u64::MAX)] {
        assert_eq!(
            log.read(P0, from, MUCH).await,
            Err(ReadError::BeyondTail { partition: P0, from, tail: SequenceNumber(3) })
        );
    }
}

pub async fn locate_finds_numbers_and_offsets<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    let number = |number| StartPosition::SequenceNumber(SequenceNumber(number));
    let after = |number| StartPosition::AfterOffset(Offset::of(SequenceNumber(number)));
    let beyond = |from| {
        Err(ReadError::BeyondTail { partition: P0, from: SequenceNumber(from), tail: SequenceNumber(100) })
    };
    for start in
        [StartPosition::Earliest, StartPosition::Latest, number(0), StartPosition::EnqueuedTime(START)]
    {
        assert_eq!(log.locate(P0, start).await, Ok(SequenceNumber::ZERO), "{start:?} of an empty partition");
    }
    append_large(&*log, 100).await;
    for (start, found) in [
        (StartPosition::Earliest, 0),
        (StartPosition::Latest, 100),
        (number(0), 0),
        (number(57), 57),
        (number(100), 100),
        (after(0), 1),
        (after(57), 58),
        (after(99), 100),
    ] {
        assert_eq!(log.locate(P0, start).await, Ok(SequenceNumber(found)), "{start:?}");
    }
    assert_eq!(log.locate(P0, number(101)).await, beyond(101));
    assert_eq!(log.locate(P0, after(100)).await, beyond(101));
    assert_eq!(log.locate(P0, after(u64::MAX)).await, beyond(u64::MAX));

    test.expire(&log, P0, SequenceNumber(90)).await;
    let head = log.status(P0).expect("the partition exists").head;
    assert!(head > SequenceNumber(1) && head <= SequenceNumber(90), "the head is {head}");
    for start in [StartPosition::Earliest, number(0), after(0), StartPosition::EnqueuedTime(START)] {
        assert_eq!(log.locate(P0, start).await, Ok(head), "{start:?} after expiry");
    }
}

/// `count` events of 32 KiB, one append each.
async fn append_large(log: &impl EventAppender, count: u64) {
    for number in 0..count {
        let mut body = number.to_string().into_bytes();
        body.resize(32 * 1024, b' ');
        append_ok(log, P0, vec![EventData::new(body)]).await;
    }
}

pub async fn locate_finds_enqueued_times<T: LogUnderTest>(test: &T) {
    let clock = clock();
    let log = test.open(hub(), 1, clock.clone()).await;
    let mut times = Vec::new();
    for hour in 0..10 {
        clock.set_now(START.plus(std::time::Duration::from_secs(3600 * hour)));
        times.push(append_ok(&*log, P0, bodies(hour * 3..hour * 3 + 3)).await.enqueued_at);
    }
    let half_an_hour = std::time::Duration::from_secs(1800);
    for (time, first) in times.into_iter().zip((0..).step_by(3)) {
        for (wanted, found) in [
            (time.minus(half_an_hour), first),
            (time, first),
            (time.plus(std::time::Duration::from_millis(1)), first + 3),
            (time.plus(half_an_hour), first + 3),
        ] {
            assert_eq!(
                log.locate(P0, StartPosition::EnqueuedTime(wanted)).await,
                Ok(SequenceNumber(found)),
                "{wanted}"
            );
        }
    }
    let long_after = StartPosition::EnqueuedTime(Timestamp::from_millis(i64::MAX));
    assert_eq!(log.locate(P0, long_after).await, Ok(SequenceNumber(30)));
    let long_before = StartPosition::EnqueuedTime(Timestamp::from_millis(i64::MIN));
    assert_eq!(log.locate(P0, long_before).await, Ok(SequenceNumber::ZERO));
}

pub async fn the_tail_wakes_its_watchers_when_events_are_readable<T: LogUnderTest>(test: &T) {
    let log = Arc::new(test.open(hub(), 2, clock()).await);
    let reader = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            let mut tail = EventLog::tail(&**log, P0).expect("the partition exists");
            let mut next = SequenceNumber::ZERO;
            while next.0 < 200 {
                let seen = *tail.wait_for(|tail| *tail > next).await.expect("the log is open");
                let events =
                    read_n(&**log, P0, next, ReadLimit { events: (seen.0 - next.0) as usize, ..MUCH }).await;
                assert_gapless(&events, next);
                next = seen;
            }
        }
    });
    for number in 0..200 {
        append_ok(&**log, P1, bodies(0..1)).await;
        let appended = append_ok(&**log, P0, bodies(number..number + 1)).await;
        let tail = *EventLog::tail(&**log, P0).expect("the partition exists").borrow();
        assert!(tail > appended.first, "the tail {tail} is behind an acknowledged event");
    }
    reader.await.expect("the reader was woken and found events each time");
}

/// One event of every shape: with and without key, properties of all types, empty and non-UTF-8 bodies.
pub fn every_kind_of_event() -> Vec<EventData> {
    let values = [
        PropertyValue::Null,
        PropertyValue::Bool(true),
        PropertyValue::Bool(false),
        PropertyValue::Long(0),
        PropertyValue::Long(i64::MIN),
        PropertyValue::Long(i64::MAX),
        PropertyValue::Double(-0.0),
        PropertyValue::Double(1.5e300),
        PropertyValue::Double(f64::NEG_INFINITY),
        PropertyValue::String(String::new()),
        PropertyValue::String("Straße 漢字 \u{0}".to_owned()),
        PropertyValue::Timestamp(Timestamp::from_millis(-1)),
        PropertyValue::Timestamp(START),
        PropertyValue::Binary(Vec::new()),
        PropertyValue::Binary(vec![0, 255, 128]),
        PropertyValue::Uuid(uuid::Uuid::from_u128(7)),
        PropertyValue::Uuid(uuid::Uuid::max()),
    ];
    let named = |prefix: &str| -> Properties {
        values.iter().enumerate().map(|(index, value)| (format!("{prefix}{index}"), value.clone())).collect()
    };
    let twice: Properties =
        [("", PropertyValue::Long(1)), ("", PropertyValue::Long(2)), ("é", PropertyValue::Null)]
            .into_iter()
            .collect();
    vec![
        EventData::default(),
        EventData::new(vec![0xff, 0xfe, 0x00, 0x80]),
        EventData::new("{}").with_key("drone-0"),
        EventData::new("").with_key(""),
        EventData { properties: named("p"), ..EventData::new("properties") },
        EventData { system_properties: named("s"), ..EventData::new("system properties") },
        EventData {
            partition_key: Some("key".into()),
            properties: twice,
            system_properties: named("s"),
            body: Bytes::from(vec![0; 5000]),
            amqp: None,
        },
    ]
}

/// Events that came over AMQP: with and without head, body and tail, with keys, and with what was decoded of them.
pub fn every_kind_of_message() -> Vec<EventData> {
    let message = |head: &[u8], body: &[u8], tail: &[u8]| {
        let bytes = Bytes::from([head, body, tail].concat());
        EncodedMessage::new(bytes, head.len()..head.len() + body.len()).expect("the body is inside")
    };
    let plain = every_kind_of_event();
    let described = plain.iter().map(|event| EventData {
        partition_key: event.partition_key.clone(),
        properties: event.properties.clone(),
        system_properties: event.system_properties.clone(),
        ..EventData::of_message(message(&[0, 0x53, 0x75, 0xff], &event.body, b"\x00\x53\x78"))
    });
    let shapes = [
        message(b"", b"", b""),
        message(b"", b"body", b""),
        message(b"head", b"", b""),
        message(b"", b"", b"tail"),
        message(&[1; 300], &[2; 70_000], &[3; 20_000]),
    ];
    shapes.map(EventData::of_message).into_iter().chain(described).collect()
}

pub async fn every_kind_of_event_comes_back_as_it_was<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    let events = every_kind_of_event();
    append_ok(&*log, P0, events.clone()).await;
    for event in &events {
        append_ok(&*log, P0, vec![event.clone()]).await;
    }
    let read = read_all(&*log, P0, SequenceNumber::ZERO, MUCH).await;
    let expected: Vec<_> = events.iter().chain(&events).cloned().collect();
    assert_eq!(read.into_iter().map(|event| event.data).collect::<Vec<_>>(), expected);
}

pub async fn a_partition_that_does_not_exist_is_named<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 2, clock()).await;
    let partition = PartitionId(2);
    let appended = log.append(partition, bodies(0..1)).await;
    assert_eq!(appended, Err(AppendError::NoSuchPartition { hub: hub(), partition, partition_count: 2 }));
    let missing = ReadError::NoSuchPartition { hub: hub(), partition, partition_count: 2 };
    assert_eq!(log.read(partition, SequenceNumber::ZERO, MUCH).await, Err(missing.clone()));
    assert_eq!(log.locate(partition, StartPosition::Earliest).await, Err(missing.clone()));
    assert_eq!(log.status(partition), Err(missing.clone()));
    assert_eq!(EventLog::tail(&*log, partition).err(), Some(missing));
}

pub async fn an_event_that_is_too_large_refuses_the_whole_append<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    let too_large = EventData::new(vec![0; MAX_EVENT_BYTES]).with_key("k");
    let refused = log.append(P0, vec![EventData::new("a"), too_large, EventData::new("b")]).await;
    let expected = AppendError::TooLarge { index: 1, size: MAX_EVENT_BYTES + 1, limit: MAX_EVENT_BYTES };
    assert_eq!(refused, Err(expected));
    assert_eq!(log.status(P0).expect("the partition exists").tail, SequenceNumber::ZERO);
    assert_eq!(append_ok(&*log, P0, bodies(0..1)).await.first, SequenceNumber::ZERO);
}

pub async fn an_event_of_the_largest_size_is_taken<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    let largest = EventData::new(vec![3; MAX_EVENT_BYTES - 3]).with_key("key");
    append_ok(&*log, P0, vec![largest.clone(), largest.clone(), largest.clone()]).await;
    let read = read_all(&*log, P0, SequenceNumber::ZERO, MUCH).await;
    assert_eq!(read.len(), 3);
    assert!(read.iter().all(|event| event.data == largest));
}

pub async fn enqueued_at_never_goes_back<T: LogUnderTest>(test: &T) {
    let clock = clock();
    let log = test.open(hub(), 1, clock.clone()).await;
    clock.set_now(START.plus(std::time::Duration::from_secs(60)));
    let ahead = append_ok(&*log, P0, bodies(0..1)).await.enqueued_at;
    assert!(ahead >= START.plus(std::time::Duration::from_secs(60)));
    clock.set_now(START);
    assert_eq!(append_ok(&*log, P0, bodies(1..2)).await.enqueued_at, ahead);
    let log = test.reopen(log, clock).await;
    assert_eq!(append_ok(&*log, P0, bodies(2..3)).await.enqueued_at, ahead);
    let times: Vec<_> =
        read_all(&*log, P0, SequenceNumber::ZERO, MUCH).await.iter().map(|event| event.enqueued_at).collect();
    assert_eq!(times, [ahead; 3]);
}

pub async fn expired_events_are_named_and_the_rest_stays<T: LogUnderTest>(test: &T) {
    let clock = clock();
    let log = test.open(hub(), 2, clock.clone()).await;
    append_large(&*log, 100).await;
    let before = read_all(&*log, P0, SequenceNumber::ZERO, MUCH).await;
    test.expire(&log, P0, SequenceNumber(90)).await;
    let head = log.status(P0).expect("the partition exists").head;
    assert!(head > SequenceNumber::ZERO && head <= SequenceNumber(90), "the head is {head}");
    let log = {
        let expired = ReadError::Expired { partition: P0, from: SequenceNumber::ZERO, head };
        assert_eq!(log.read(P0, SequenceNumber::ZERO, MUCH).await, Err(expired.clone()));
        let log = test.reopen(log, clock).await;
        assert_eq!(log.read(P0, SequenceNumber::ZERO, MUCH).await, Err(expired), "after a restart");
        log
    };
    let last_gone = head.previous().expect("the head is above zero");
    assert_eq!(
        log.read(P0, last_gone, MUCH).await,
        Err(ReadError::Expired { partition: P0, from: last_gone, head })
    );
    assert_eq!(read_all(&*log, P0, head, MUCH).await[..], before[head.0 as usize..]);
    assert_eq!(append_ok(&*log, P0, bodies(0..1)).await.first, SequenceNumber(100));
}

pub async fn status_tells_head_tail_and_time<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    let empty = log.status(P0).expect("the partition exists");
    assert_eq!((empty.head, empty.tail), (SequenceNumber::ZERO, SequenceNumber::ZERO));
    assert_eq!((empty.last_enqueued_at, empty.damage, empty.lost), (None, None, Vec::new()));
    let appended = append_ok(&*log, P0, bodies(0..5)).await;
    let status = log.status(P0).expect("the partition exists");
    assert_eq!((status.head, status.tail), (SequenceNumber::ZERO, SequenceNumber(5)));
    assert_eq!(status.last_enqueued_at, Some(appended.enqueued_at));
    assert!(status.size_bytes >= 5);
}

pub async fn a_restart_keeps_everything<T: LogUnderTest>(test: &T) {
    let clock = clock();
    let mut log = test.open(hub(), 2, clock.clone()).await;
    let incarnation = EventLog::incarnation(&*log);
    let mut expected = Vec::new();
    for restart in 0..4_u64 {
        for round in 0..10 {
            let events = every_kind_of_event();
            expected.extend(events.iter().cloned());
            append_ok(&*log, P1, events).await;
            append_ok(&*log, P0, bodies(round..round + restart)).await;
        }
        let before = read_all(&*log, P1, SequenceNumber::ZERO, MUCH).await;
        let status = log.status(P1).expect("the partition exists");
        log = test.reopen(log, clock.clone()).await;
        assert_eq!(EventLog::incarnation(&*log), incarnation);
        let after = log.status(P1).expect("the partition exists");
        assert_eq!((after.head, after.tail), (status.head, status.tail));
        assert_eq!(after.last_enqueued_at, status.last_enqueued_at);
        let events = read_all(&*log, P1, SequenceNumber::ZERO, MUCH).await;
        assert_eq!(events, before);
        assert_gapless(&events, SequenceNumber::ZERO);
        assert_eq!(events.into_iter().map(|event| event.data).collect::<Vec<_>>(), expected);
    }
}

pub async fn a_message_comes_back_to_the_bit<T: LogUnderTest>(test: &T) {
    let clock = clock();
    let log = test.open(hub(), 1, clock.clone()).await;
    let events: Vec<_> =
        every_kind_of_message().into_iter().zip(every_kind_of_event()).flat_map(|(a, b)| [a, b]).collect();
    append_ok(&*log, P0, events.clone()).await;
    for event in &events {
        append_ok(&*log, P0, vec![event.clone()]).await;
    }
    let expected: Vec<_> = events.iter().chain(&events).cloned().collect();
    let log = test.reopen(log, clock).await;
    let read = read_all(&*log, P0, SequenceNumber::ZERO, MUCH).await;
    assert_eq!(read.len(), expected.len());
    for (read, expected) in read.into_iter().zip(expected) {
        assert_eq!(read.data, expected);
        if let Some(message) = &read.data.amqp {
            assert_eq!(message.body(), read.data.body);
        }
    }
    let changed = EventData { body: Bytes::from_static(b"changed"), ..events[0].clone() };
    let place = append_ok(&*log, P0, vec![changed]).await.first;
    let read = read_n(&*log, P0, place, ReadLimit { events: 1, ..MUCH }).await.remove(0).data;
    assert_eq!(
        (read.body.as_ref(), read.message()),
        (&b"changed"[..], None),
        "the message says something else"
    );
}

pub async fn the_limit_of_a_message_is_its_length<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    let message = |len: usize| {
        let described: Properties = [("n", PropertyValue::Long(1))].into_iter().collect();
        let message = EncodedMessage::new(Bytes::from(vec![5; len]), 10..len).expect("a place inside");
        EventData { properties: described, ..EventData::of_message(message) }
    };
    append_ok(&*log, P0, vec![message(MAX_EVENT_BYTES)]).await;
    let refused = log.append(P0, vec![message(10), message(MAX_EVENT_BYTES + 1)]).await;
    let expected = AppendError::TooLarge { index: 1, size: MAX_EVENT_BYTES + 1, limit: MAX_EVENT_BYTES };
    assert_eq!(refused, Err(expected));
    let read = read_all(&*log, P0, SequenceNumber::ZERO, MUCH).await;
    assert_eq!(read.into_iter().map(|event| event.data).collect::<Vec<_>>(), [message(MAX_EVENT_BYTES)]);
}

/// Checks that a view shows an event.
fn assert_shows(view: EventView<'_>, event: &Event) {
    assert_eq!((view.sequence_number, view.enqueued_at), (event.sequence_number, event.enqueued_at));
    assert_eq!(view.offset(), event.offset());
    assert_eq!(view.partition_key, event.data.partition_key.as_ref().map(|key| &key.as_bytes()[..]));
    assert_eq!(view.message, event.data.message().map(|message| &message.bytes()[..]));
    assert_eq!(view.body, event.data.body);
    match view.message {
        None => {
            assert_eq!(view.properties, &event.data.properties);
            assert_eq!(view.system_properties, &event.data.system_properties);
        }
        Some(_) => assert!(view.properties.is_empty() && view.system_properties.is_empty()),
    }
}

pub async fn a_batch_shows_what_a_read_returns<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    for round in 0..30_u64 {
        append_ok(&*log, P0, bodies(round..round + round % 5 + 1)).await;
        append_ok(&*log, P0, every_kind_of_message()).await;
        append_ok(&*log, P0, every_kind_of_event()).await;
    }
    let whole = read_all(&*log, P0, SequenceNumber::ZERO, MUCH).await;
    for step in [1, 7, 100, 10_000] {
        let (mut next, mut seen) = (SequenceNumber::ZERO, 0);
        loop {
            let limit = ReadLimit { events: step, ..MUCH };
            let batch = log.read_batch(P0, next, limit).await.expect("a read between head and tail");
            if batch.is_empty() {
                break;
            }
            assert!(batch.len() <= step);
            assert_eq!(batch.iter().len(), batch.len());
            for (index, view) in batch.iter().enumerate() {
                assert_shows(view, &whole[seen]);
                assert_eq!(batch.get(index), Some(view));
                seen += 1;
            }
            assert_eq!(batch.get(batch.len()), None);
            assert_eq!(batch.next(), SequenceNumber(seen as u64));
            next = batch.next();
        }
        assert_eq!(seen, whole.len(), "in steps of {step}");
    }
}

pub async fn a_batch_keeps_its_limits<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    append_ok(&*log, P0, (0..50).map(|_| EventData::new(vec![7; 100])).collect()).await;
    for (events, bytes) in [(1, 1 << 20), (10, 1 << 20), (1000, 250), (1000, 100), (5, 300), (0, 0)] {
        let batch = log.read_batch(P0, SequenceNumber(3), ReadLimit { events, bytes }).await.expect("a read");
        assert!(!batch.is_empty() && batch.len() <= events.max(1), "{events} events: {}", batch.len());
        assert_eq!(batch.bytes(), batch.len() * 100);
        let without_the_last = (batch.len() - 1) * 100;
        assert!(without_the_last == 0 || without_the_last < bytes, "{bytes} bytes: {without_the_last}");
        assert_eq!(batch.get(0).map(|event| event.sequence_number), Some(SequenceNumber(3)));
    }
}

pub async fn a_batch_tells_where_the_partition_ends<T: LogUnderTest>(test: &T) {
    let log = test.open(hub(), 1, clock()).await;
    let empty = log.read_batch(P0, SequenceNumber::ZERO, MUCH).await.expect("a read at the tail");
    assert!(empty.is_empty() && empty.ends().is_empty());
    assert_eq!((empty.ends().last(), empty.ends().last_enqueued_at), (None, None));
    let appended = append_ok(&*log, P0, bodies(0..5)).await;
    let batch = log.read_batch(P0, SequenceNumber(1), ReadLimit { events: 2, ..MUCH }).await.expect("a read");
    assert_eq!((batch.len(), batch.next()), (2, SequenceNumber(3)));
    assert_eq!((batch.ends().head, batch.ends().last()), (SequenceNumber::ZERO, Some(SequenceNumber(4))));
    assert_eq!(batch.ends().last_enqueued_at, Some(appended.enqueued_at));
    assert_eq!(log.status(P0).expect("the partition exists").ends(), batch.ends());
    assert_eq!(log.ends(P0), Ok(batch.ends()));
    let from = SequenceNumber(6);
    let beyond = ReadError::BeyondTail { partition: P0, from, tail: SequenceNumber(5) };
    assert_eq!(log.read_batch(P0, from, MUCH).await.err(), Some(beyond));
}

pub async fn clients_positions_are_found<T: LogUnderTest>(test: &T) {
    let clock = clock();
    let log = test.open(hub(), 1, clock.clone()).await;
    append_large(&*log, 50).await;
    clock.set_now(START.plus(std::time::Duration::from_secs(60)));
    let middle = append_ok(&*log, P0, bodies(50..52)).await.enqueued_at;
    clock.set_now(START.plus(std::time::Duration::from_secs(120)));
    append_large(&*log, 50).await;
    let offset = |text| StartPosition::of_offset(text, false).expect("an offset");
    let offset_from = |text| StartPosition::of_offset(text, true).expect("an offset");
    let found = async |start| log.locate(P0, start).await.map(|number| number.0);
    for (start, expected) in [
        (offset("-1"), 0),
        (offset("@latest"), 102),
        (offset("57"), 58),
        (offset_from("57"), 57),
        (StartPosition::of_sequence_number(-1, false), 0),
        (StartPosition::of_sequence_number(57, false), 58),
        (StartPosition::of_sequence_number(57, true), 57),
        (StartPosition::of_enqueued_time(middle, true), 50),
        (StartPosition::of_enqueued_time(middle, false), 52),
    ] {
        assert_eq!(found(start).await, Ok(expected), "{start:?}");
    }
    test.expire(&log, P0, SequenceNumber(45)).await;
    let head = log.status(P0).expect("the partition exists").head.0;
    assert!(head > 1, "the head is {head}");
    for start in [
        offset("-1"),
        offset("0"),
        offset_from("0"),
        StartPosition::of_sequence_number(0, false),
        StartPosition::of_sequence_number(0, true),
        StartPosition::of_enqueued_time(START, false),
    ] {
        assert_eq!(found(start).await, Ok(head), "{start:?} after expiry");
    }
}

pub async fn the_time_the_hub_was_made_survives<T: LogUnderTest>(test: &T) {
    let clock = clock();
    clock.set_now(START.plus(std::time::Duration::from_millis(7)));
    let log = test.open(hub(), 1, clock.clone()).await;
    let made = log.created_at();
    assert!(made >= START.plus(std::time::Duration::from_millis(7)) && made <= clock.now());
    clock.set_now(START.plus(std::time::Duration::from_secs(60)));
    append_ok(&*log, P0, bodies(0..1)).await;
    assert_eq!(test.reopen(log, clock).await.created_at(), made);
}

pub async fn a_deleted_hub_says_so<T: LogUnderTest>(test: &T) {
    let log = Arc::new(test.open(hub(), 2, clock()).await);
    append_ok(&**log, P0, bodies(0..3)).await;
    let mut tail = EventLog::tail(&**log, P0).expect("the partition exists");
    let waiter = tokio::spawn(async move { tail.wait_for(|tail| tail.0 > 3).await.is_err() });
    test.delete(&log).await;
    assert!(waiter.await.expect("the waiter ended"), "waiting for the tail ends with an error");
    for partition in [P0, P1] {
        let refused = log.append(partition, bodies(0..1)).await;
        assert_eq!(refused, Err(AppendError::HubDeleted { hub: hub() }));
        let deleted = ReadError::HubDeleted { hub: hub() };
        assert_eq!(log.append(partition, Vec::new()).await, Err(AppendError::HubDeleted { hub: hub() }));
        assert_eq!(log.read(partition, SequenceNumber::ZERO, MUCH).await, Err(deleted.clone()));
        let batch = log.read_batch(partition, SequenceNumber::ZERO, MUCH).await;
        assert_eq!(batch.err(), Some(deleted.clone()));
        for start in [StartPosition::Earliest, StartPosition::EnqueuedTime(START)] {
            assert_eq!(log.locate(partition, start).await, Err(deleted.clone()));
        }
        assert_eq!(log.status(partition), Err(deleted.clone()));
        assert_eq!(log.ends(partition), Err(deleted.clone()));
        assert_eq!(EventLog::tail(&**log, partition).err(), Some(deleted));
    }
}
