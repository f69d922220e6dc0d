//! Another hub's events through the whole host to the function: the AMQP door of the one program, the client of the other,
//! its lanes and its store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_host::processor::{FunctionSetup, Processor};
use tidegate_host::settings::{FunctionSettings, HostOptions, Isolation};
use tidegate_model::answer::{Answer, Answers};
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::clock::Timestamp;
use tidegate_model::document::{CollectionName, DocumentId};
use tidegate_model::event::{Event, EventData, PropertyValue};
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::{
    Checkpoints as _, CurrentDocument, EventLog, Function, FunctionDescriptor, FunctionError, Invocation,
};
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::harness::{OtherHub, P0, P1};

/// Remembers what it is given, and asks for nothing.
struct Witness {
    descriptor: FunctionDescriptor,
    given: Arc<Mutex<Vec<Event>>>,
}

struct Looking(Vec<Event>);

#[async_trait]
impl Function for Witness {
    fn descriptor(&self) -> &FunctionDescriptor {
        &self.descriptor
    }

    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        self.given.lock().extend(events.iter().cloned());
        Ok(Box::new(Looking(events)))
    }
}

#[async_trait]
impl Invocation for Looking {
    fn documents(&self) -> &[DocumentId] {
        &[]
    }

    async fn run(self: Box<Self>, _: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        let mut answers = Answers::default();
        self.0.iter().for_each(|event| answers.push(event.sequence_number, Answer::Filter));
        Ok(answers)
    }
}

/// Has a function read the hub until it has caught up: what it was given, and the store afterwards.
async fn read_by_a_function(hub: &OtherHub) -> (Vec<Event>, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    let given = Arc::default();
    let descriptor = FunctionDescriptor {
        name: FunctionName::new("witness").unwrap(),
        version: "1".to_owned(),
        collection: CollectionName::new("none").unwrap(),
    };
    let setup = FunctionSetup {
        function: Arc::new(Witness { descriptor, given: Arc::clone(&given) }),
        log: hub.reader().await,
        settings: FunctionSettings::default(),
    };
    let options = HostOptions { isolation: Isolation::Inline, ..HostOptions::default() };
    let processor = Processor::start(store.clone(), hub.shared_clock(), options, vec![setup]).await.unwrap();
    processor.caught_up().await;
    processor.drain(Duration::from_secs(10)).await;
    let given = std::mem::take(&mut *given.lock());
    (given, store)
}

/// The lane of a partition of the hub `theirs` that the function `witness` has.
pub(crate) fn lane(partition: PartitionId) -> Lane {
    Lane {
        function: FunctionName::new("witness").unwrap(),
        hub: tidegate_model::event::HubName::new("theirs").unwrap(),
        partition,
    }
}

#[tokio::test]
async fn numbers_that_jump_are_passed_over_and_every_event_there_is_comes_once_and_in_order() {
    let hub = OtherHub::start().await;
    hub.append_numbers(P0, 0..2000).await;
    hub.append_numbers(P1, 10_000..10_003).await;
    hub.log.drop_before(P0, SequenceNumber(3)).unwrap();
    let number = |number: u32| SequenceNumber(u64::from(number));
    // At the first one, between two, over more than one read, and up to the last one.
    let gaps = [(3, 5), (9, 10), (200, 900), (1500, 1999)];
    for (from, to) in gaps {
        hub.log.give_up(P0, number(from)..number(to)).unwrap();
    }
    let (given, store) = read_by_a_function(&hub).await;
    let expected: Vec<u32> =
        (3..2000).filter(|number| !gaps.iter().any(|(from, to)| (from..to).contains(&number))).collect();
    // The bodies are the numbers; the two partitions come side by side.
    let bodies: Vec<u32> =
        given.iter().map(|event| std::str::from_utf8(event.body()).unwrap().parse().unwrap()).collect();
    let (of_p0, of_p1): (Vec<u32>, Vec<u32>) = bodies.into_iter().partition(|body| *body < 10_000);
    assert_eq!(of_p0, expected);
    assert_eq!(of_p1, [10_000, 10_001, 10_002]);
    let checkpoint = store.checkpoint(&lane(P0)).await.unwrap().unwrap();
    assert_eq!((checkpoint.start, checkpoint.position), (SequenceNumber(3), SequenceNumber(2000)));
    assert_eq!(checkpoint.counts.filtered, expected.len() as u64);
    assert_eq!(checkpoint.counts.total(), 1997, "the numbers that no event has are accounted for");
}

#[tokio::test]
async fn what_iot_hub_says_of_a_message_reaches_the_function() {
    let hub = OtherHub::start().await;
    // As the built-in endpoint delivers it: what the device said in the properties, what the hub says in annotations.
    let said = [
        ("message-id", PropertyValue::from("m-1")),
        ("correlation-id", PropertyValue::from("c-1")),
        ("content-type", PropertyValue::from("application/json")),
        ("content-encoding", PropertyValue::from("utf-8")),
        ("iothub-connection-device-id", PropertyValue::from("drone-1")),
        ("iothub-connection-module-id", PropertyValue::from("camera")),
        ("iothub-connection-auth-method", PropertyValue::from("{\"scope\":\"device\",\"type\":\"sas\"}")),
        ("iothub-connection-auth-generation-id", PropertyValue::from("637")),
        ("iothub-enqueuedtime", PropertyValue::Timestamp(Timestamp::from_millis(1_750_000_000_123))),
        ("iothub-message-source", PropertyValue::from("Telemetry")),
        ("dt-dataschema", PropertyValue::from("dtmi:drone;1")),
        ("x-opt-of-the-device", PropertyValue::Long(-7)),
    ];
    let sent = EventData {
        properties: [
            ("battery", PropertyValue::Double(0.5)),
            ("alarm", PropertyValue::Bool(true)),
            ("frame", PropertyValue::Binary(vec![0, 255])),
        ]
        .into_iter()
        .collect(),
        system_properties: said.into_iter().collect(),
        ..EventData::new("{\"altitude\":500.1}")
    };
    let producer = hub.producer(P0).await;
    producer.send(None, std::slice::from_ref(&sent)).await.unwrap();
    // One that is in the log as a value, and not as the bytes of a client.
    hub.append(P1, vec![sent.clone()]).await;
    let (given, _) = read_by_a_function(&hub).await;
    assert_eq!(given.len(), 2);
    for event in given {
        let data = EventData { amqp: None, ..event.data.clone() };
        assert_eq!(data, sent);
        let enqueued = [P0, P1].map(|partition| hub.log.status(partition).unwrap().last_enqueued_at.unwrap());
        assert!(enqueued.contains(&event.enqueued_at));
    }
}
