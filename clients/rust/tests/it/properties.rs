//! Properties and annotations of all types of AMQP come back as they were sent.

use std::time::{Duration, SystemTime};

use azure_core::Uuid;
use azure_core_amqp::message::{
    AmqpAnnotationKey, AmqpAnnotations, AmqpMessageBody, AmqpMessageHeader, AmqpMessageId,
    AmqpMessageProperties,
};
use azure_core_amqp::{AmqpMessage, AmqpOrderedMap, AmqpSimpleValue, AmqpSymbol, AmqpTimestamp, AmqpValue};
use azure_messaging_eventhubs::models::{EventData, MessageId};
use azure_messaging_eventhubs::{EventDataBatchOptions, SendMessageOptions};
use tidegate_client_rust::{after, from, producer, receive, run, send, tail};

const HUB: &str = "properties";

fn moment() -> AmqpTimestamp {
    AmqpTimestamp(Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_770_091_506_789)))
}

fn simple_values() -> Vec<(&'static str, AmqpSimpleValue)> {
    use AmqpSimpleValue as Value;
    let uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    vec![
        ("null", Value::Null),
        ("true", Value::Boolean(true)),
        ("false", Value::Boolean(false)),
        ("ubyte", Value::UByte(200)),
        ("byte", Value::Byte(-100)),
        ("char", Value::Char('機')),
        ("ushort", Value::UShort(60_000)),
        ("short", Value::Short(-30_000)),
        ("uint zero", Value::UInt(0)),
        ("uint small", Value::UInt(7)),
        ("uint", Value::UInt(4_000_000_000)),
        ("int small", Value::Int(-7)),
        ("int", Value::Int(i32::MIN)),
        ("ulong zero", Value::ULong(0)),
        ("ulong small", Value::ULong(7)),
        ("ulong", Value::ULong(u64::MAX)),
        ("long small", Value::Long(-7)),
        ("long", Value::Long(i64::MIN)),
        ("float", Value::Float(0.1)),
        ("double", Value::Double(5e-324)),
        ("decimal128", Value::Decimal128([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])),
        ("decimal64", Value::Decimal64([1, 2, 3, 4, 5, 6, 7, 8])),
        ("decimal32", Value::Decimal32([1, 2, 3, 4])),
        ("timestamp", Value::TimeStamp(moment())),
        ("uuid", Value::Uuid(uuid)),
        ("string", Value::String("Ω 機 😀".to_owned())),
        ("empty string", Value::String(String::new())),
        ("long string", Value::String("x".repeat(70_000))),
        ("symbol", Value::Symbol(AmqpSymbol("sym".to_owned()))),
        ("binary", Value::Binary(vec![0, 255, 1])),
        ("long binary", Value::Binary(vec![9; 70_000])),
    ]
}

#[test]
fn application_properties_of_all_types() {
    run(HUB, async {
        let mut event = EventData::builder().with_body("with properties");
        for (name, value) in simple_values() {
            event = event.add_property(name.to_owned(), value);
        }
        let start = send(HUB, "0", vec![event.build()]).await;
        let events = receive(HUB, "0", from(after(start)), 1).await;
        let properties = events[0].event_data().properties().expect("properties");
        for (name, value) in simple_values() {
            assert_eq!(properties.get(name), Some(&value), "{name}");
        }
        assert_eq!(properties.len(), simple_values().len());
    });
}

#[test]
fn the_properties_of_the_event_itself() {
    run(HUB, async {
        let ids = [
            MessageId::String("the id".to_owned()),
            MessageId::Ulong(u64::MAX),
            MessageId::Binary(vec![0, 1, 255]),
            MessageId::Uuid(Uuid::from_u128(7)),
        ];
        let event = |id: &MessageId| {
            EventData::builder()
                .with_body("x")
                .with_content_type("application/json".to_owned())
                .with_message_id(id.clone())
                .with_correlation_id(id.clone())
                .build()
        };
        let start = send(HUB, "0", ids.iter().map(event).collect()).await;
        let events = receive(HUB, "0", from(after(start)), ids.len()).await;
        for (received, id) in events.iter().zip(&ids) {
            let received = received.event_data();
            assert_eq!(received.content_type(), Some("application/json"));
            assert_eq!((received.message_id(), received.correlation_id()), (Some(id), Some(id)));
        }
    });
}

#[test]
fn every_section_of_a_message() {
    run(HUB, async {
        let annotations = |entries: Vec<(&str, AmqpValue)>| {
            let mut map = AmqpOrderedMap::new();
            for (name, value) in entries {
                map.insert(AmqpAnnotationKey::Symbol(AmqpSymbol(name.to_owned())), value);
            }
            AmqpAnnotations(map)
        };
        let properties = AmqpMessageProperties {
            message_id: Some(AmqpMessageId::String("id".to_owned())),
            user_id: Some(b"somebody".to_vec()),
            to: Some("somewhere".to_owned()),
            subject: Some("about".to_owned()),
            reply_to: Some("there".to_owned()),
            correlation_id: Some(AmqpMessageId::Ulong(12_345_678_901_234)),
            content_type: Some(AmqpSymbol("text/plain".to_owned())),
            content_encoding: Some(AmqpSymbol("gzip".to_owned())),
            absolute_expiry_time: Some(moment()),
            creation_time: Some(moment()),
            group_id: Some("group".to_owned()),
            group_sequence: Some(17),
            reply_to_group_id: Some("reply group".to_owned()),
        };
        let header = AmqpMessageHeader { durable: true, priority: 7, ..Default::default() };
        let own = vec![("x-own", AmqpValue::String("kept".to_owned())), ("x-number", AmqpValue::Long(5))];
        let message = AmqpMessage::builder()
            .with_body(AmqpMessageBody::Value(AmqpValue::String("body".to_owned())))
            .with_header(header)
            .with_properties(properties.clone())
            .add_application_property("p".to_owned(), 1_i32)
            .with_message_annotations(annotations(own.clone()))
            .with_footer(annotations(vec![("checksum", AmqpValue::Int(99))]))
            .build();

        let start = tail(HUB, "0").await;
        let client = producer(HUB).await;
        let to_zero = SendMessageOptions { partition_id: Some("0".to_owned()) };
        client.send_message(message.clone(), Some(to_zero)).await.unwrap();
        let to_zero = EventDataBatchOptions { partition_id: Some("0".to_owned()), ..Default::default() };
        let batch = client.create_batch(Some(to_zero)).await.unwrap();
        assert!(batch.try_add_amqp_message(message.clone(), None).unwrap());
        client.send_batch(batch, None).await.unwrap();
        client.close().await.unwrap();

        for received in receive(HUB, "0", from(after(start)), 2).await {
            let got = received.raw_amqp_message();
            assert_eq!(got.body, message.body);
            assert_eq!(got.properties.as_ref(), Some(&properties));
            assert_eq!(got.application_properties, message.application_properties);
            assert_eq!(got.footer, message.footer);
            let kept = received.system_properties();
            for (name, value) in &own {
                assert_eq!(kept.get(*name), Some(value), "{name}");
            }
        }
    });
}
