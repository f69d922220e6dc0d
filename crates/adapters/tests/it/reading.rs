//! Events of another hub: they come whole, in order, from wherever they are asked for, and in bounded memory.

use bytes::Bytes;
use tidegate_model::event::{EventData, PropertyValue};
use tidegate_model::ports::{EventLog, ReadError, ReadLimit};
use tidegate_model::position::{Offset, SequenceNumber, StartPosition};

use crate::harness::{MUCH, OtherHub, P0, P1, bodies, read_n};

#[tokio::test]
async fn what_a_producer_sends_reaches_the_reader_with_all_its_properties() {
    let hub = OtherHub::start().await;
    let sent = EventData {
        partition_key: Some("drone-1".into()),
        properties: [("level", PropertyValue::Long(3)), ("ratio", PropertyValue::Double(0.5))]
            .into_iter()
            .collect(),
        system_properties: [
            ("message-id", PropertyValue::from("m-1")),
            ("content-type", PropertyValue::from("application/json")),
            ("iothub-connection-device-id", PropertyValue::from("drone-1")),
            ("iothub-message-source", PropertyValue::from("Telemetry")),
        ]
        .into_iter()
        .collect(),
        ..EventData::new("{\"a\":1}")
    };
    let producer = hub.client().producer(None).await.unwrap();
    producer.send(Some("drone-1"), std::slice::from_ref(&sent)).await.unwrap();
    let partition = [P0, P1]
        .into_iter()
        .find(|partition| hub.log.status(*partition).unwrap().tail.0 == 1)
        .expect("it was acknowledged");
    let log = hub.reader().await;
    let events = read_n(&*log, partition, SequenceNumber::ZERO, 1).await;
    let data = &events[0].data;
    assert_eq!(EventData { amqp: None, ..data.clone() }, sent);
    assert!(data.message().is_some());
    assert_eq!(events[0].sequence_number, SequenceNumber::ZERO);
    let theirs = hub.log.status(partition).unwrap();
    assert_eq!(Some(events[0].enqueued_at), theirs.last_enqueued_at);
}

#[tokio::test]
async fn a_reader_that_waits_at_the_tail_is_woken() {
    let hub = OtherHub::start().await;
    hub.append_numbers(P0, 0..3).await;
    let log = hub.reader().await;
    assert_eq!(log.read(P0, SequenceNumber(3), MUCH).await, Ok(Vec::new()));
    let waits = {
        let log = log.clone();
        tokio::spawn(async move { read_n(&*log, P0, SequenceNumber(3), 2).await })
    };
    let producer = hub.producer(P0).await;
    producer.send(None, &[EventData::new("3"), EventData::new("4")]).await.unwrap();
    assert_eq!(bodies(&waits.await.unwrap()), [3, 4]);
    assert_eq!(log.status(P0).unwrap().tail, SequenceNumber(5));
}

#[tokio::test]
async fn readers_go_where_they_like_and_do_not_disturb_each_other() {
    let hub = OtherHub::start().await;
    hub.append_numbers(P0, 0..1000).await;
    hub.append_numbers(P1, 0..5).await;
    let log = hub.reader().await;
    let range = |from: u32, to: u32| (from..to).collect::<Vec<_>>();
    let read = async |partition, from: u32, count: usize| {
        bodies(&read_n(&*log, partition, SequenceNumber(from.into()), count).await)
    };
    assert_eq!(read(P0, 500, 100).await, range(500, 600));
    assert_eq!(read(P0, 0, 10).await, range(0, 10), "back");
    assert_eq!(read(P0, 600, 400).await, range(600, 1000), "where the first one was");
    assert_eq!(read(P0, 10, 990).await, range(10, 1000), "where the second one was");
    assert_eq!(read(P1, 0, 5).await, range(0, 5));
    for from in [999, 3, 700, 1, 2, 998, 30, 400] {
        assert_eq!(read(P0, from, 1).await, [from], "more places than there may be receivers");
    }
    assert!(log.buffered(P0).readers <= 4, "{:?}", log.buffered(P0));
    let (one, other) = tokio::join!(read(P0, 0, 1000), read(P0, 250, 750));
    assert_eq!((one, other), (range(0, 1000), range(250, 1000)));
}

#[tokio::test]
async fn positions_are_found() {
    let hub = OtherHub::start().await;
    hub.append_numbers(P0, 0..10).await;
    let middle =
        hub.log.status(P0).unwrap().last_enqueued_at.unwrap().plus(std::time::Duration::from_secs(60));
    hub.clock.set_now(middle.plus(std::time::Duration::from_secs(60)));
    hub.append_numbers(P0, 10..15).await;
    let log = hub.reader().await;
    let after = hub.log.status(P0).unwrap().last_enqueued_at.unwrap().plus(std::time::Duration::from_secs(1));
    for (start, found) in [
        (StartPosition::Earliest, 0),
        (StartPosition::Latest, 15),
        (StartPosition::SequenceNumber(SequenceNumber(7)), 7),
        (StartPosition::AfterOffset(Offset::of(SequenceNumber(7))), 8),
        (StartPosition::EnqueuedTime(middle), 10),
        (StartPosition::EnqueuedTime(after), 15),
    ] {
        assert_eq!(log.locate(P0, start).await, Ok(SequenceNumber(found)), "{start:?}");
    }
    let number = |number| Some(SequenceNumber(number));
    for (done, offset, found) in [
        (number(6), Some("0"), number(7)),
        (None, Some("6"), number(7)),
        (None, Some("14"), number(15)),
        (None, Some("-1"), number(0)),
        (None, Some("6' OR '1"), None),
        (None, None, None),
    ] {
        assert_eq!(log.locate_behind(P0, done, offset).await, Ok(found), "{done:?} {offset:?}");
    }
    let beyond = StartPosition::SequenceNumber(SequenceNumber(16));
    let expected =
        ReadError::BeyondTail { partition: P0, from: SequenceNumber(16), tail: SequenceNumber(15) };
    assert_eq!(log.locate(P0, beyond).await, Err(expected.clone()));
    assert_eq!(log.read(P0, SequenceNumber(16), MUCH).await, Err(expected));
    hub.append_numbers(P0, 15..16).await;
    assert_eq!(log.read(P0, SequenceNumber(16), MUCH).await, Ok(Vec::new()), "the hub is asked again");
}

#[tokio::test]
async fn what_the_hub_has_dropped_is_named() {
    let hub = OtherHub::start().await;
    hub.append_numbers(P0, 0..10).await;
    let log = hub.reader().await;
    hub.log.drop_before(P0, SequenceNumber(4));
    assert_eq!(log.locate(P0, StartPosition::Earliest).await, Ok(SequenceNumber(4)));
    let expired = ReadError::Expired { partition: P0, from: SequenceNumber(0), head: SequenceNumber(4) };
    assert_eq!(log.read(P0, SequenceNumber(0), MUCH).await, Err(expired));
    assert_eq!(bodies(&read_n(&*log, P0, SequenceNumber(4), 6).await), (4..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn numbers_that_the_hub_does_not_have_are_passed_over() {
    let hub = OtherHub::start().await;
    hub.append_numbers(P0, 0..10).await;
    hub.log.give_up(P0, SequenceNumber(3)..SequenceNumber(6)).unwrap();
    let log = hub.reader().await;
    let events = read_n(&*log, P0, SequenceNumber(0), 7).await;
    assert_eq!(bodies(&events), [0, 1, 2, 6, 7, 8, 9]);
    let inside = log.read(P0, SequenceNumber(4), ReadLimit { events: 1, ..MUCH }).await.unwrap();
    assert_eq!(bodies(&inside), [6]);
}

#[tokio::test]
async fn large_events_come_whole_and_memory_is_bounded_for_a_slow_reader() {
    let hub = OtherHub::start().await;
    let size = 1000 * 1024;
    for number in 0..60_u8 {
        hub.append(P0, vec![EventData::new(vec![number; size])]).await;
    }
    hub.append_numbers(P1, 0..100).await;
    let room = 4 * 1024 * 1024;
    let log = hub.reader_with(|options| options.prefetch_bytes = room).await;
    let mut next = SequenceNumber::ZERO;
    for number in 0..60_u8 {
        let events = read_n(&*log, P0, next, 1).await;
        assert_eq!(events[0].body(), &Bytes::from(vec![number; size]));
        let buffered = log.buffered(P0);
        assert!(buffered.bytes <= 3 * room && buffered.unread_bytes <= 2 * room, "{buffered:?}");
        next = next.next();
        // The slow reader of one partition does not hold up another one's.
        if number == 10 {
            assert_eq!(read_n(&*log, P1, SequenceNumber::ZERO, 100).await.len(), 100);
        }
    }
}

#[tokio::test]
async fn many_events_are_read_in_order() {
    let hub = OtherHub::start().await;
    let log = hub.reader().await;
    let reading = {
        let log = log.clone();
        tokio::spawn(async move { read_n(&*log, P0, SequenceNumber::ZERO, 20_000).await })
    };
    let producer = hub.producer(P0).await;
    for batch in 0..100_u32 {
        let events: Vec<_> =
            (batch * 200..(batch + 1) * 200).map(|number| EventData::new(number.to_string())).collect();
        producer.send(None, &events).await.unwrap();
    }
    assert_eq!(bodies(&reading.await.unwrap()), (0..20_000).collect::<Vec<_>>());
}
