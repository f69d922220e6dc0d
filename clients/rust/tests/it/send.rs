//! Every way to send.

use std::sync::{Arc, Mutex};

use azure_core_amqp::message::AmqpMessageBody;
use azure_core_amqp::{AmqpList, AmqpMessage, AmqpValue};
use azure_messaging_eventhubs::models::EventData;
use azure_messaging_eventhubs::{
    EnqueueEventOptions, EventDataBatchOptions, SendEventOptions, SendMessageOptions,
};
use tidegate_client_rust::{
    after, buffered, connection_string, from, grown, numbers, producer, receive, retries, run, said, send,
    tail, tails, text, texts,
};

const HUB: &str = "sends";

/// Keys and the partitions of four and of ten that Event Hubs' hash gives them.
const KEYS: [(&str, usize, usize); 5] =
    [("7", 3, 3), ("131", 2, 2), ("dev-1", 2, 4), ("device-0001", 2, 4), ("FWfAT", 1, 1)];

fn to(partition: &str) -> Option<EventDataBatchOptions> {
    Some(EventDataBatchOptions { partition_id: Some(partition.to_owned()), ..Default::default() })
}

#[test]
fn a_batch_stays_together_and_in_order() {
    run(HUB, async {
        let before = tails(HUB, 4).await;
        let client = producer(HUB).await;
        let batch = client.create_batch(None).await.unwrap();
        let bodies: Vec<String> = (0..100).map(|number| format!("event {number}")).collect();
        for body in &bodies {
            assert!(batch.try_add_event_data(body.as_str(), None).unwrap());
        }
        client.send_batch(batch, None).await.unwrap();
        client.close().await.unwrap();
        let grown = grown(HUB, &before).await;
        assert_eq!(grown.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [100]);
        let start = before[grown[0].0];
        let events = receive(HUB, &grown[0].0.to_string(), from(after(start)), 100).await;
        assert_eq!(texts(&events), bodies);
        assert_eq!(numbers(&events), (start + 1..start + 101).collect::<Vec<_>>());
        assert!(events.iter().all(|event| event.offset().is_some() && event.enqueued_time().is_some()));
        assert!(events.iter().all(|event| event.partition_key().is_none()));
    });
}

#[test]
fn a_batch_for_a_partition_goes_there() {
    run(HUB, async {
        for partition in ["0", "1", "2", "3"] {
            let start = send(HUB, partition, vec![format!("for {partition}"), "another".to_owned()]).await;
            let events = receive(HUB, partition, from(after(start)), 2).await;
            assert_eq!(texts(&events), [&*format!("for {partition}"), "another"]);
        }
    });
}

#[test]
fn a_batch_with_a_key_goes_where_the_hash_says() {
    run("keys-of-four", async {
        for (key, of_four, of_ten) in KEYS {
            for (hub, partition, count) in [("keys-of-four", of_four, 4), ("keys-of-ten", of_ten, 10)] {
                let before = tails(hub, count).await;
                let client = producer(hub).await;
                let options =
                    EventDataBatchOptions { partition_key: Some(key.to_owned()), ..Default::default() };
                let batch = client.create_batch(Some(options)).await.unwrap();
                assert!(batch.try_add_event_data("one", None).unwrap());
                assert!(batch.try_add_event_data("two", None).unwrap());
                client.send_batch(batch, None).await.unwrap();
                client.close().await.unwrap();
                assert_eq!(grown(hub, &before).await, [(partition, 2)], "{key}");
                let events = receive(hub, &partition.to_string(), from(after(before[partition])), 2).await;
                assert!(events.iter().all(|event| event.partition_key().as_deref() == Some(key)));
            }
        }
    });
}

#[test]
fn batches_without_a_partition_go_round() {
    run(HUB, async {
        let before = tails(HUB, 4).await;
        let client = producer(HUB).await;
        for _ in 0..8 {
            let batch = client.create_batch(None).await.unwrap();
            assert!(batch.try_add_event_data("x", None).unwrap());
            client.send_batch(batch, None).await.unwrap();
        }
        client.close().await.unwrap();
        let grown = grown(HUB, &before).await;
        assert_eq!(grown.len(), 4, "{grown:?}");
        assert_eq!(grown.iter().map(|(_, count)| count).sum::<i64>(), 8);
    });
}

#[test]
fn single_events_are_sent_each_way() {
    run(HUB, async {
        let before = tails(HUB, 4).await;
        let client = producer(HUB).await;
        client.send_event("to any", None).await.unwrap();
        client
            .send_event("to 3", Some(SendEventOptions { partition_id: Some("3".to_owned()) }))
            .await
            .unwrap();
        client.close().await.unwrap();
        let grown = grown(HUB, &before).await;
        assert_eq!(grown.iter().map(|(_, count)| count).sum::<i64>(), 2);
        let (_, of_three) = *grown.iter().find(|(partition, _)| *partition == 3).expect("one for 3");
        let events = receive(HUB, "3", from(after(before[3])), of_three as usize).await;
        assert!(texts(&events).contains(&"to 3".to_owned()));
    });
}

#[test]
fn each_kind_of_body_comes_back() {
    run(HUB, async {
        let bodies = [
            AmqpMessageBody::Binary(vec![b"one section".to_vec(), b"and another".to_vec()]),
            AmqpMessageBody::Binary(vec![Vec::new()]),
            AmqpMessageBody::Value(AmqpValue::String("only text".to_owned())),
            AmqpMessageBody::Value(AmqpValue::List(AmqpList(vec![
                AmqpValue::Int(1),
                AmqpValue::Boolean(true),
            ]))),
            AmqpMessageBody::Sequence(vec![
                AmqpList(vec![AmqpValue::ULong(1), AmqpValue::Null]),
                AmqpList(vec![AmqpValue::String("four".to_owned())]),
            ]),
        ];
        let message = |body: &AmqpMessageBody| AmqpMessage::builder().with_body(body.clone()).build();
        let start = tail(HUB, "0").await;
        let client = producer(HUB).await;
        for body in &bodies {
            let options = SendMessageOptions { partition_id: Some("0".to_owned()) };
            client.send_message(message(body), Some(options)).await.unwrap();
        }
        let batch = client.create_batch(to("0")).await.unwrap();
        for body in &bodies {
            assert!(batch.try_add_amqp_message(message(body), None).unwrap());
        }
        client.send_batch(batch, None).await.unwrap();
        client.close().await.unwrap();
        let events = receive(HUB, "0", from(after(start)), 2 * bodies.len()).await;
        let came: Vec<_> = events.iter().map(|event| event.raw_amqp_message().body.clone()).collect();
        assert_eq!(came[..bodies.len()], bodies);
        assert_eq!(came[bodies.len()..], bodies);
    });
}

#[test]
fn a_batch_filled_to_the_brim_arrives_whole() {
    run(HUB, async {
        let start = tail(HUB, "2").await;
        let client = producer(HUB).await;
        let batch = client.create_batch(to("2")).await.unwrap();
        let mut sent = Vec::new();
        loop {
            let body: Vec<u8> =
                (0..1 + sent.len() * 37 % 5000).map(|byte| (byte * 7 + sent.len()) as u8).collect();
            if !batch.try_add_event_data(body.clone(), None).unwrap() {
                break;
            }
            sent.push(body);
        }
        assert!(batch.size() > 1_000_000);
        client.send_batch(batch, None).await.unwrap();
        client.close().await.unwrap();
        let events = receive(HUB, "2", from(after(start)), sent.len()).await;
        assert!(events.iter().zip(&sent).all(|(event, sent)| event.event_data().body() == Some(sent)));
    });
}

#[test]
fn a_large_event_comes_back_and_a_too_large_one_is_refused() {
    run(HUB, async {
        let start = tail(HUB, "1").await;
        let client = producer(HUB).await;
        let to_one = || Some(SendEventOptions { partition_id: Some("1".to_owned()) });
        let large: Vec<u8> = (0..900_000_u32).map(|byte| (byte % 251) as u8).collect();
        client.send_event(large.clone(), to_one()).await.unwrap();
        let refused = client.send_event(vec![7; 1_200_000], to_one()).await.expect_err("it is too large");
        assert!(said(&refused).to_lowercase().contains("size"), "{}", said(&refused));
        client.send_event("small again", to_one()).await.unwrap();
        client.close().await.unwrap();
        let events = receive(HUB, "1", from(after(start)), 2).await;
        assert_eq!(events[0].event_data().body(), Some(&*large));
        assert_eq!(text(&events[1]), "small again");
        assert_eq!(tail(HUB, "1").await, start + 2);
    });
}

#[test]
fn many_batches_one_after_the_other() {
    // A settlement that arrives before this client expects it is lost, and the client waits for ever.
    run(HUB, async {
        let start = tail(HUB, "3").await;
        let client = producer(HUB).await;
        for number in 0..300 {
            let batch = client.create_batch(to("3")).await.unwrap();
            assert!(batch.try_add_event_data(number.to_string(), None).unwrap());
            client.send_batch(batch, None).await.unwrap();
        }
        client.close().await.unwrap();
        let events = receive(HUB, "3", from(after(start)), 300).await;
        assert_eq!(texts(&events), (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
    });
}

#[test]
fn many_batches_at_once() {
    run(HUB, async {
        let start = tail(HUB, "3").await;
        let client = producer(HUB).await;
        let sending = (0..50).map(|number| {
            let client = &client;
            async move {
                let batch = client.create_batch(to("3")).await.unwrap();
                assert!(batch.try_add_event_data(number.to_string(), None).unwrap());
                client.send_batch(batch, None).await.unwrap();
            }
        });
        futures::future::join_all(sending).await;
        client.close().await.unwrap();
        let mut came: Vec<u32> = texts(&receive(HUB, "3", from(after(start)), 50).await)
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        came.sort_unstable();
        assert_eq!(came, (0..50).collect::<Vec<_>>());
    });
}

#[test]
fn the_buffered_producer_sends_every_event_once_and_tells_it() {
    run("buffered", async {
        let starts = tails("buffered", 4).await;
        let (sent, failed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (told, told_failed) = (sent.clone(), failed.clone());
        let body = |event: &EventData| String::from_utf8(event.body().unwrap().to_vec()).unwrap();
        let client = buffered()
            .with_retry_options(retries())
            .with_max_wait_time(azure_core::time::Duration::milliseconds(500))
            .with_on_send_succeeded(move |context| {
                let mut told = told.lock().unwrap();
                told.extend(context.events.iter().map(|event| (body(event), context.partition_id.clone())));
                async {}
            })
            .with_on_send_failed(move |context| {
                told_failed.lock().unwrap().push(context.error.to_string());
                async {}
            })
            .open_with_connection_string(&connection_string(), Some("buffered"))
            .await
            .unwrap();
        for number in 0..400 {
            client.enqueue_event(format!("any {number}"), None).await.unwrap();
        }
        for number in 0..100 {
            let options =
                EnqueueEventOptions { partition_key: Some("dev-1".to_owned()), ..Default::default() };
            client.enqueue_event(format!("keyed {number}"), Some(options)).await.unwrap();
        }
        let options = EnqueueEventOptions { partition_id: Some("3".to_owned()), ..Default::default() };
        client.enqueue_events(vec!["placed 0", "placed 1"], Some(options)).await.unwrap();
        client.flush().await.unwrap();
        client.close().await.unwrap();
        assert!(failed.lock().unwrap().is_empty(), "{failed:?}");
        let mut sent = sent.lock().unwrap().clone();
        assert_eq!(sent.len(), 502);
        let mut read = Vec::new();
        for (partition, start) in starts.iter().enumerate() {
            let partition = partition.to_string();
            let count = sent.iter().filter(|(_, at)| *at == partition).count();
            let events = receive("buffered", &partition, from(after(*start)), count).await;
            assert_eq!(tail("buffered", &partition).await, start + count as i64);
            read.extend(texts(&events).into_iter().map(|text| (text, partition.clone())));
        }
        // Those of one key are in one partition, which is the server's choice too, and in their order.
        let keyed: Vec<_> = read.iter().filter(|(text, _)| text.starts_with("keyed")).cloned().collect();
        assert_eq!(keyed, (0..100).map(|n| (format!("keyed {n}"), "2".to_owned())).collect::<Vec<_>>());
        sent.sort();
        read.sort();
        assert_eq!(read, sent);
    });
}
