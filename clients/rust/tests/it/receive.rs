//! Receiving from every position.

use std::time::{Duration, SystemTime};

use azure_messaging_eventhubs::models::ReceivedEventData;
use azure_messaging_eventhubs::{OpenReceiverOptions, SendEventOptions, StartLocation, StartPosition};
use futures::StreamExt as _;
use tidegate_client_rust::{
    after, connection_string, consumer, from, numbers, producer, receive, receive_with, run, send, tail,
    texts, try_consumer,
};
use tokio::time::timeout;

const HUB: &str = "positions";

fn at(location: StartLocation, inclusive: bool) -> OpenReceiverOptions {
    from(StartPosition { location, inclusive })
}

/// All events of partition 0, in which at least two moments differ.
async fn events() -> Vec<ReceivedEventData> {
    loop {
        send(HUB, "0", vec!["an event", "another"]).await;
        let count = tail(HUB, "0").await + 1;
        let events = receive(HUB, "0", at(StartLocation::Earliest, false), count as usize).await;
        assert_eq!(numbers(&events), (0..count).collect::<Vec<_>>());
        if count >= 6 && events[0].enqueued_time() != events[events.len() - 1].enqueued_time() {
            return events;
        }
    }
}

#[test]
fn from_the_start_an_offset_a_sequence_number_and_a_time() {
    run(HUB, async {
        let events = events().await;
        for (inclusive, first) in [(true, 1), (false, 2)] {
            let offset = StartLocation::Offset(events[1].offset().clone().unwrap());
            assert_eq!(numbers(&receive(HUB, "0", at(offset, inclusive), 2).await), [first, first + 1]);
            let sequence_number = StartLocation::SequenceNumber(1);
            assert_eq!(
                numbers(&receive(HUB, "0", at(sequence_number, inclusive), 2).await),
                [first, first + 1]
            );

            let time = events[0].enqueued_time().unwrap();
            let expected: Vec<i64> = events
                .iter()
                .filter(|event| {
                    event.enqueued_time() > Some(time) || inclusive && event.enqueued_time() == Some(time)
                })
                .map(|event| event.sequence_number().unwrap())
                .collect();
            let found =
                receive(HUB, "0", at(StartLocation::EnqueuedTime(time), inclusive), expected.len()).await;
            assert_eq!(numbers(&found), expected);
        }
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let found = receive(HUB, "0", at(StartLocation::EnqueuedTime(long_ago), false), 2).await;
        assert_eq!(numbers(&found), [0, 1]);
    });
}

#[test]
fn only_what_is_new() {
    run(HUB, async {
        let last = tail(HUB, "1").await.max(send(HUB, "1", vec!["old"]).await);
        let (client, sender) = (consumer(HUB).await, producer(HUB).await);
        let options = at(StartLocation::Latest, false);
        let receiver = client.open_receiver_on_partition("1".to_owned(), Some(options)).await.unwrap();
        let mut found = Vec::new();
        let mut stream = receiver.stream_events();
        // When the receiver is at its place cannot be seen from here: events are sent until it has seen some.
        while found.len() < 5 {
            let to_one = SendEventOptions { partition_id: Some("1".to_owned()) };
            sender.send_event("new", Some(to_one)).await.unwrap();
            if let Ok(event) = timeout(Duration::from_millis(100), stream.next()).await {
                found.push(event.unwrap().unwrap());
            }
        }
        let found = numbers(&found);
        assert!(found[0] > last);
        assert_eq!(found, (found[0]..found[0] + 5).collect::<Vec<_>>());
    });
}

#[test]
fn from_behind_the_end_it_waits_for_what_comes() {
    run(HUB, async {
        let last = tail(HUB, "2").await;
        let reading = tokio::spawn(async move { receive(HUB, "2", from(after(last)), 1).await });
        send(HUB, "2", vec!["just now"]).await;
        assert_eq!(numbers(&reading.await.unwrap()), [last + 1]);
    });
}

#[test]
fn one_event_of_credit_at_a_time() {
    run(HUB, async {
        let start = send(HUB, "3", (0..20).map(|number| number.to_string()).collect()).await;
        let options = OpenReceiverOptions { prefetch: Some(1), ..from(after(start)) };
        let found = receive(HUB, "3", options, 20).await;
        assert_eq!(texts(&found), (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    });
}

#[test]
fn another_group_reads_the_same_and_its_name_has_no_case() {
    run(HUB, async {
        let start = send(HUB, "3", vec!["x"]).await;
        for group in ["second", "SECOND", "$default"] {
            let client = try_consumer(HUB, &connection_string(), group).await.unwrap();
            assert_eq!(texts(&receive_with(client, "3", from(after(start)), 1).await), ["x"]);
        }
    });
}
