//! Two processors share a hub, and one takes over when the other ends. Their store is in memory: the client's own store in
//! blobs is a package of its own, which the other clients' suites use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use azure_messaging_eventhubs::models::StartPositions;
use azure_messaging_eventhubs::processor::PartitionClient;
use azure_messaging_eventhubs::{
    EventProcessor, InMemoryCheckpointStore, ProcessorStrategy, StartLocation, StartPosition,
};
use futures::StreamExt as _;
use tidegate_client_rust::{PATIENCE, consumer, run, send, text};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::timeout;

const HUB: &str = "processors";

type Seen = Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>;

/// A processor that checkpoints every event.
struct Running {
    processor: Arc<EventProcessor>,
    run: JoinHandle<()>,
    end: oneshot::Sender<()>,
    seen: Seen,
}

impl Running {
    async fn start(store: &Arc<InMemoryCheckpointStore>) -> Self {
        let earliest = StartPosition { location: StartLocation::Earliest, inclusive: false };
        let processor = EventProcessor::builder()
            .with_load_balancing_strategy(ProcessorStrategy::Balanced)
            .with_update_interval(azure_core::time::Duration::milliseconds(500))
            .with_partition_expiration_duration(azure_core::time::Duration::seconds(4))
            .with_start_positions(StartPositions { default: earliest, ..Default::default() })
            .build(consumer(HUB).await, store.clone())
            .await
            .unwrap();
        let seen = Seen::default();
        let run = tokio::spawn({
            let processor = processor.clone();
            async move { processor.run().await.expect("the processor runs") }
        });
        // The client's streams are bound to one thread.
        let (end, ended) = oneshot::channel::<()>();
        let runtime = Handle::current();
        std::thread::spawn({
            let (processor, seen) = (processor.clone(), seen.clone());
            move || {
                let reading = async {
                    while let Ok(partition) = processor.next_partition_client().await {
                        tokio::task::spawn_local(read(partition, seen.clone()));
                    }
                };
                runtime.block_on(LocalSet::new().run_until(async {
                    tokio::select! {
                        () = reading => {}
                        _ = ended => {}
                    }
                }));
            }
        });
        Self { processor, run, end, seen }
    }

    /// Which partitions an event was read from.
    fn read(&self, text: &str) -> BTreeSet<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(_, texts)| texts.contains(text)).map(|(id, _)| id.clone()).collect()
    }

    async fn end(self) {
        self.processor.shutdown().await.unwrap();
        self.run.abort();
        drop(self.end);
    }
}

async fn read(partition: Arc<PartitionClient>, seen: Seen) {
    let mut events = partition.stream_events();
    // An error: the partition went to the other processor.
    while let Some(Ok(event)) = events.next().await {
        if partition.update_checkpoint(&event).await.is_ok() {
            seen.lock()
                .unwrap()
                .entry(partition.get_partition_id().to_owned())
                .or_default()
                .insert(text(&event));
        }
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} did not happen"));
}

async fn send_to_each(text: &str) {
    for partition in ["0", "1", "2", "3"] {
        send(HUB, partition, vec![text]).await;
    }
}

#[test]
fn two_processors_share_the_partitions_and_one_takes_over() {
    run(HUB, async {
        let store = Arc::new(InMemoryCheckpointStore::new());
        send_to_each("at first").await;
        let first = Running::start(&store).await;
        until("reading all", || first.read("at first").len() == 4).await;
        let second = Running::start(&store).await;
        // They share when each reads some of what is sent at one time, and both together all of it.
        let mut round = 0;
        let shared = async {
            loop {
                round += 1;
                let text = format!("round {round}");
                send_to_each(&text).await;
                until("reading a round", || first.read(&text).union(&second.read(&text)).count() == 4).await;
                if first.read(&text).len() == 2 && second.read(&text).len() == 2 {
                    break;
                }
            }
        };
        timeout(PATIENCE, shared).await.expect("they share the partitions");
        first.end().await;
        send_to_each("at last").await;
        until("taking over", || second.read("at last").len() == 4).await;
        second.end().await;
    });
}
