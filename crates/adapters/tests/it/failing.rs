//! What goes wrong with another hub, and what comes of it.

use std::time::Duration;

use tidegate_adapters::event_hubs::client::{FailureKind, Receive, StartAt};
use tidegate_model::clock::Clock;
use tidegate_model::error::{ErrorCode, ErrorKind};
use tidegate_model::event::EventData;
use tidegate_model::ports::{EventLog, ReadError};
use tidegate_model::position::SequenceNumber;

use crate::harness::{MUCH, OtherHub, P0, bodies, clock, read_n};

#[tokio::test]
async fn a_hub_that_is_killed_and_comes_back_is_read_on_without_a_gap() {
    let hub = OtherHub::start().await;
    hub.append_numbers(P0, 0..10).await;
    let log = hub.reader().await;
    assert_eq!(bodies(&read_n(&*log, P0, SequenceNumber::ZERO, 10).await), (0..10).collect::<Vec<_>>());
    for round in 1..=3 {
        match round {
            2 => hub.stop().await,
            _ => hub.kill().await,
        }
        hub.append_numbers(P0, round * 10..(round + 1) * 10).await;
        let reading = {
            let log = log.clone();
            tokio::spawn(async move { read_n(&*log, P0, SequenceNumber(u64::from(round) * 10), 10).await })
        };
        hub.come_back().await;
        let expected: Vec<_> = (round * 10..(round + 1) * 10).collect();
        assert_eq!(bodies(&reading.await.unwrap()), expected, "round {round}");
    }
}

#[tokio::test]
async fn a_hub_that_is_not_there_is_said_to_be_unavailable() {
    let hub = OtherHub::start().await;
    hub.append_numbers(P0, 0..2).await;
    let log = hub.reader().await;
    hub.kill().await;
    let error = log.read(P0, SequenceNumber::ZERO, MUCH).await.unwrap_err();
    assert!(matches!(&error, ReadError::Unavailable { partition: P0, .. }), "{error}");
    assert_eq!(log.status(P0).unwrap().tail, SequenceNumber(2), "what is known is still told");
}

#[tokio::test]
async fn a_receiver_with_an_owner_level_is_told_that_its_partition_was_taken() {
    let hub = OtherHub::start().await;
    hub.append_numbers(P0, 0..5).await;
    let log = hub.reader_with(|options| options.owner_level = Some(7)).await;
    assert_eq!(read_n(&*log, P0, SequenceNumber::ZERO, 5).await.len(), 5);

    let receive = |level| Receive {
        consumer_group: "$Default".to_owned(),
        partition: P0,
        start: StartAt::SequenceNumber(SequenceNumber::ZERO),
        owner_level: level,
    };
    for level in [None, Some(6)] {
        let refused = hub.client().receive(&receive(level)).await.err().expect("it is sent away");
        assert_eq!(refused.kind(), FailureKind::Stolen, "{refused}");
    }
    let thief = hub.client();
    let mut receiver = thief.receive(&receive(Some(8))).await.unwrap();
    receiver.grant(1);
    receiver.next().await.unwrap();
    hub.append_numbers(P0, 5..6).await;
    // The tail is told by the hub: ask it.
    log.locate(P0, tidegate_model::position::StartPosition::Latest).await.unwrap();
    let error = loop {
        match log.read(P0, SequenceNumber(5), MUCH).await {
            Err(error) => break error,
            Ok(events) => assert!(events.is_empty(), "it was taken: {events:?}"),
        }
    };
    assert_eq!((error.kind(), error.code()), (ErrorKind::Fenced, ErrorCode::FENCED), "{error}");
    let text = error.to_string();
    for part in ["amqp:link:stolen", "epoch of '8'", "$Default with owner level 7", "partition 0 of flights"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }

    // Nobody fights for it: whoever asks again is told the same, and the other one reads on.
    for _ in 0..3 {
        assert_eq!(log.read(P0, SequenceNumber(5), MUCH).await, Err(error.clone()));
    }
    receiver.grant(10);
    for _ in 0..5 {
        receiver.next().await.unwrap();
    }
    // In a new term of its lane it is tried once, and refused, as long as the other one is there.
    log.begin_term(P0);
    let again = log.read(P0, SequenceNumber(5), MUCH).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Fenced, "{again}");
    assert_eq!(log.buffered(P0).readers, 0);
    drop(receiver);
    // The hub hears of that when it comes.
    loop {
        log.begin_term(P0);
        match log.read(P0, SequenceNumber(5), MUCH).await {
            Ok(events) => break assert_eq!(bodies(&events), [5]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Fenced, "{error}"),
        }
    }
}

#[tokio::test]
async fn producers_are_told_what_became_of_their_batches() {
    let hub = OtherHub::start().await;
    let producer = hub.producer(P0).await;
    producer.send(None, &[EventData::new("a")]).await.unwrap();
    let too_large = producer.send(None, &[EventData::new(vec![0; 2 << 20])]).await.unwrap_err();
    assert_eq!(too_large.kind(), FailureKind::Permanent, "{too_large}");
    hub.kill().await;
    let error = producer.send(None, &[EventData::new("b")]).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Transient, "{error}");
    hub.come_back().await;
    let client = hub.client();
    client.producer(Some(P0)).await.unwrap().send(None, &[EventData::new("b")]).await.unwrap();
    assert_eq!(hub.log.status(P0).unwrap().tail, SequenceNumber(2));
}

#[tokio::test]
async fn a_hub_that_was_made_again_is_another_one() {
    let hub = OtherHub::start().await;
    let log = hub.reader().await;
    let restarted = hub.reader().await;
    assert_eq!(log.incarnation(), restarted.incarnation());
    assert_eq!(log.created_at(), hub.log.created_at());

    let later = clock();
    later.set_now(hub.clock.now().plus(Duration::from_secs(5)));
    let made_again = OtherHub::start_named(EventLog::hub(&*hub.log).clone(), 2, later).await;
    assert_ne!(log.incarnation(), made_again.reader().await.incarnation());
}
