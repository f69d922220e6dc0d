//! The server ends in the middle of everything and comes back: the clients go on, and nothing acknowledged is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use azure_messaging_eventhubs::SendEventOptions;
use futures::StreamExt as _;
use tidegate_client_rust::{
    PATIENCE, after, from, numbers, patient_consumer, patient_producer, receive_with, run, server, tail_by,
    texts,
};
use tokio::time::timeout;

const HUB: &str = "restarts";

fn to(partition: &str) -> Option<SendEventOptions> {
    Some(SendEventOptions { partition_id: Some(partition.to_owned()) })
}

/// Runs a command of the server's control without holding up the client.
async fn control(command: &'static str) {
    tokio::task::spawn_blocking(move || server(command)).await.unwrap();
}

async fn lives_through(ending: &'static str, partition: &'static str) {
    let start = tail_by(patient_consumer(HUB).await, partition).await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let enough = Arc::new(AtomicBool::new(false));

    let sending = tokio::spawn({
        let (acknowledged, enough) = (acknowledged.clone(), enough.clone());
        async move {
            let client = patient_producer(HUB).await;
            while !enough.load(Ordering::Acquire) {
                let number = acknowledged.load(Ordering::Acquire);
                // What is not acknowledged is sent again, under the same number. A client that has lost the answer of the
                // old server waits for it for ever: an application gives up and asks again.
                let sent =
                    timeout(Duration::from_secs(5), client.send_event(number.to_string(), to(partition)))
                        .await;
                if let Ok(Ok(())) = sent {
                    acknowledged.fetch_add(1, Ordering::AcqRel);
                }
            }
        }
    });
    let reading = tokio::spawn({
        let enough = enough.clone();
        async move {
            let client = patient_consumer(HUB).await;
            let receiver = client
                .open_receiver_on_partition(partition.to_owned(), Some(from(after(start))))
                .await
                .unwrap();
            let mut stream = receiver.stream_events();
            let (mut seen, mut failures) = (Vec::new(), 0);
            while !enough.load(Ordering::Acquire) {
                match timeout(Duration::from_millis(200), stream.next()).await {
                    Ok(Some(Ok(event))) => seen.push(event.sequence_number().unwrap()),
                    Ok(_) => failures += 1,
                    Err(_) => {}
                }
                if failures > 0 {
                    break;
                }
            }
            seen
        }
    });
    let goes_on = async |count: usize| {
        let before = acknowledged.load(Ordering::Acquire);
        let more = async {
            while acknowledged.load(Ordering::Acquire) < before + count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, more).await.expect("sending goes on");
    };
    for _ in 0..3 {
        goes_on(20).await;
        control(ending).await;
        control("start").await;
    }
    goes_on(20).await;
    enough.store(true, Ordering::Release);
    sending.await.unwrap();

    let count = (tail_by(patient_consumer(HUB).await, partition).await - start) as usize;
    let stored = receive_with(patient_consumer(HUB).await, partition, from(after(start)), count).await;
    assert_eq!(numbers(&stored), (start + 1..=start + count as i64).collect::<Vec<_>>());
    // Everything acknowledged is there, in its order. An event may be there twice: when the server ended between storing it
    // and saying so; and one that was under way at the end.
    let mut sent: Vec<usize> = texts(&stored).iter().map(|text| text.parse().unwrap()).collect();
    assert!(sent.is_sorted(), "{sent:?}");
    sent.dedup();
    let acknowledged = acknowledged.load(Ordering::Acquire);
    assert!(sent.len() >= acknowledged);
    assert_eq!(sent, (0..sent.len()).collect::<Vec<_>>());
    // What a reader saw that was there all the time is in order, without a gap.
    let seen = reading.await.unwrap();
    assert!(!seen.is_empty());
    let mut in_order = seen.clone();
    in_order.sort_unstable();
    in_order.dedup();
    assert_eq!(in_order, (start + 1..=start + in_order.len() as i64).collect::<Vec<_>>());
}

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    run(HUB, lives_through("kill", "0"));
}

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_stopped() {
    run(HUB, lives_through("stop", "1"));
}

#[test]
fn a_client_that_was_idle_over_the_restart_works_on() {
    run(HUB, async {
        let start = tail_by(patient_consumer(HUB).await, "3").await;
        let client = patient_producer(HUB).await;
        client.send_event("before", to("3")).await.unwrap();
        control("kill").await;
        control("start").await;
        client.send_event("after", to("3")).await.unwrap();
        assert_eq!(client.get_eventhub_properties().await.unwrap().partition_ids.len(), 4);
        let stored = receive_with(patient_consumer(HUB).await, "3", from(after(start)), 2).await;
        assert_eq!(texts(&stored), ["before", "after"]);
    });
}
