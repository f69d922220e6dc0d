//! Who may read a partition: owners by their level, and readers without one.

use std::time::Duration;

use azure_messaging_eventhubs::error::ErrorKind;
use azure_messaging_eventhubs::models::ReceivedEventData;
use azure_messaging_eventhubs::{EventHubsError, OpenReceiverOptions};
use futures::StreamExt as _;
use tidegate_client_rust::{PATIENCE, after, consumer, from, run, said, send, text};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const HUB: &str = "epochs";

/// A consumer at work in a task, with a connection of its own.
struct Reader {
    events: UnboundedReceiver<ReceivedEventData>,
    task: JoinHandle<EventHubsError>,
}

impl Reader {
    async fn start(partition: &str, start: i64, level: Option<i64>) -> Self {
        let (told, events) = unbounded_channel();
        let client = consumer(HUB).await;
        let partition = partition.to_owned();
        let task = tokio::spawn(async move {
            let options = OpenReceiverOptions { owner_level: level, ..from(after(start)) };
            let receiver = match client.open_receiver_on_partition(partition, Some(options)).await {
                Ok(receiver) => receiver,
                Err(error) => return error,
            };
            let mut stream = receiver.stream_events();
            loop {
                match stream.next().await.expect("the stream goes on") {
                    // Nobody may be listening any more.
                    Ok(event) => drop(told.send(event)),
                    Err(error) => return error,
                }
            }
        });
        Self { events, task }
    }

    async fn next(&mut self) -> String {
        match timeout(PATIENCE, self.events.recv()).await.expect("an event comes") {
            Some(event) => text(&event),
            None => panic!("the reader ended: {}", said(&(&mut self.task).await.unwrap())),
        }
    }

    async fn ended(&mut self) -> EventHubsError {
        timeout(PATIENCE, &mut self.task).await.expect("the reader ends").unwrap()
    }

    async fn is_stolen(&mut self) {
        let error = self.ended().await;
        assert!(matches!(error.kind, ErrorKind::ConsumerDisconnected(_)), "{}", said(&error));
    }
}

#[test]
fn a_higher_owner_takes_the_partition_and_a_lower_one_does_not() {
    run(HUB, async {
        let start = send(HUB, "0", vec!["first"]).await;
        let mut owner = Reader::start("0", start, Some(5)).await;
        assert_eq!(owner.next().await, "first");
        let mut lower = Reader::start("0", start, Some(4)).await;
        lower.is_stolen().await;
        assert!(lower.events.try_recv().is_err());
        send(HUB, "0", vec!["second"]).await;
        assert_eq!(owner.next().await, "second");
        let mut higher = Reader::start("0", start, Some(6)).await;
        assert_eq!(higher.next().await, "first");
        owner.is_stolen().await;
        assert_eq!(higher.next().await, "second");
    });
}

#[test]
fn an_owner_of_the_same_level_takes_the_partition() {
    run(HUB, async {
        let start = send(HUB, "1", vec!["x"]).await;
        let mut first = Reader::start("1", start, Some(0)).await;
        first.next().await;
        let mut second = Reader::start("1", start, Some(0)).await;
        second.next().await;
        first.is_stolen().await;
    });
}

#[test]
fn an_owner_ends_readers_without_a_level_and_keeps_them_out() {
    run(HUB, async {
        let start = send(HUB, "2", vec!["x"]).await;
        let mut plain = Reader::start("2", start, None).await;
        plain.next().await;
        let mut owner = Reader::start("2", start, Some(0)).await;
        owner.next().await;
        plain.is_stolen().await;
        let mut late = Reader::start("2", start, None).await;
        late.is_stolen().await;
        assert!(late.events.try_recv().is_err());
    });
}

#[test]
fn five_readers_without_a_level_and_no_more() {
    run(HUB, async {
        let start = send(HUB, "3", vec!["x"]).await;
        let mut readers = Vec::new();
        for _ in 0..5 {
            let mut reader = Reader::start("3", start, None).await;
            reader.next().await;
            readers.push(reader);
        }
        // This client asks again for a place until its patience is at its end.
        let mut sixth = Reader::start("3", start, None).await;
        let came = timeout(Duration::from_secs(3), sixth.events.recv()).await;
        assert!(!matches!(came, Ok(Some(_))), "the sixth reader reads");
        for reader in &mut readers {
            assert!(!reader.task.is_finished());
        }
    });
}
