//! A hub, a store and a function that does what its events say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_host::processor::{FunctionSetup, Processor, StartError};
use tidegate_host::retry::RetryPolicy;
use tidegate_host::settings::{FunctionSettings, HostOptions, Isolation};
use tidegate_model::answer::{Answer, Answers, Body};
use tidegate_model::checkpoint::{Checkpoint, FunctionName, Lane};
use tidegate_model::clock::{TestClock, Timestamp};
use tidegate_model::dead_letter::DeadLetterFilter;
use tidegate_model::dead_letter::StoredDeadLetter;
use tidegate_model::document::{CollectionName, DocumentId};
use tidegate_model::event::{Event, EventData, HubName};
use tidegate_model::memory::{MemoryLog, MemoryStore};
use tidegate_model::ports::{
    Checkpoints, CurrentDocument, DeadLetters, Documents, EventAppender, Function, FunctionDescriptor,
    FunctionError, Invocation, Parking,
};
use tidegate_model::position::{PartitionId, SequenceNumber};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A hub, a store and the means to run a function over them, again and again.
pub(crate) struct World {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) store: MemoryStore,
    pub(crate) settings: FunctionSettings,
    pub(crate) options: HostOptions,
    /// Every event the function was given, as "document:text", in order.
    pub(crate) given: Arc<Mutex<Vec<String>>>,
}

/// What the function does for an event, by the event's text.
pub(crate) type Act = fn(event: &Event, text: &str) -> Option<Answer>;

impl World {
    pub(crate) fn new(partitions: u32) -> Self {
        Self::seeded(partitions, 0)
    }

    pub(crate) fn seeded(partitions: u32, seed: u64) -> Self {
        let clock = TestClock::new(NOW, seed);
        let retry = RetryPolicy::FixedDelay { max_attempts: Some(3), delay: Duration::from_millis(5) };
        Self {
            log: Arc::new(MemoryLog::new(HubName::new("hub").unwrap(), partitions, clock.clone())),
            clock,
            store: MemoryStore::new(),
            settings: FunctionSettings { retry, ..FunctionSettings::default() },
            options: HostOptions { isolation: Isolation::Inline, ..HostOptions::default() },
            given: Arc::default(),
        }
    }

    /// Publishes events "document:text" to a partition.
    pub(crate) async fn publish(&self, partition: u32, events: &[&str]) {
        let events =
            events.iter().map(|event| EventData::new(Bytes::copy_from_slice(event.as_bytes()))).collect();
        self.log.append(PartitionId(partition), events).await.unwrap();
    }

    /// Publishes events "document:text" to a partition; the document is their partition key as well.
    pub(crate) async fn publish_keyed(&self, partition: u32, events: &[&str]) {
        let keyed = |event: &&str| {
            let key = event.split(':').next().unwrap().to_owned();
            EventData::new(Bytes::copy_from_slice(event.as_bytes())).with_key(key)
        };
        self.log.append(PartitionId(partition), events.iter().map(keyed).collect()).await.unwrap();
    }

    /// Runs the function until everything published is resolved, and nothing is parked but what is held.
    pub(crate) async fn settle(&self, act: Act) {
        let processor = self.start(act).await;
        assert!(processor.settled().await);
        processor.drain(Duration::from_secs(10)).await;
    }

    pub(crate) async fn parked(&self, partition: u32) -> Vec<String> {
        let parked =
            self.store.list_parked(&lane(partition), SequenceNumber::ZERO, usize::MAX).await.unwrap();
        parked.iter().map(|stored| text_of(&stored.parked.event).to_owned()).collect()
    }

    pub(crate) async fn start(&self, act: Act) -> Processor {
        self.try_start(act).await.unwrap()
    }

    pub(crate) async fn try_start(&self, act: Act) -> Result<Processor, StartError> {
        let function = Journal { descriptor: descriptor(), act, given: Arc::clone(&self.given) };
        self.start_function(Arc::new(function)).await
    }

    pub(crate) async fn start_function(&self, function: Arc<dyn Function>) -> Result<Processor, StartError> {
        let setup = FunctionSetup { function, log: self.log.clone(), settings: self.settings.clone() };
        Processor::start(Arc::new(self.store.clone()), self.clock.clone(), self.options.clone(), vec![setup])
            .await
    }

    /// Runs the function until everything published is resolved.
    pub(crate) async fn run(&self, act: Act) {
        let processor = self.start(act).await;
        processor.caught_up().await;
        processor.drain(Duration::from_secs(10)).await;
    }

    /// The documents: id → the events in it, in the order they were applied.
    pub(crate) async fn documents(&self) -> BTreeMap<String, Vec<String>> {
        let documents = self.store.list_documents(&collection(), None, usize::MAX).await.unwrap();
        documents.into_iter().map(|document| (document.id.to_string(), entries(&document.body))).collect()
    }

    pub(crate) async fn document(&self, id: &str) -> Vec<String> {
        self.documents().await.remove(id).unwrap_or_default()
    }

    pub(crate) async fn dead_letters(&self) -> Vec<StoredDeadLetter> {
        self.store.list_dead_letters(&DeadLetterFilter::default(), None, usize::MAX).await.unwrap()
    }

    pub(crate) async fn checkpoint(&self, partition: u32) -> Checkpoint {
        self.store.checkpoint(&lane(partition)).await.unwrap().unwrap()
    }

    pub(crate) fn given(&self) -> Vec<String> {
        self.given.lock().clone()
    }
}

pub(crate) fn collection() -> CollectionName {
    CollectionName::new("journals").unwrap()
}

pub(crate) fn descriptor() -> FunctionDescriptor {
    FunctionDescriptor {
        name: FunctionName::new("journal").unwrap(),
        version: "1".to_owned(),
        collection: collection(),
    }
}

pub(crate) fn lane(partition: u32) -> Lane {
    Lane {
        function: FunctionName::new("journal").unwrap(),
        hub: HubName::new("hub").unwrap(),
        partition: PartitionId(partition),
    }
}

pub(crate) fn text_of(event: &Event) -> &str {
    std::str::from_utf8(event.body()).unwrap()
}

pub(crate) fn entries(body: &Bytes) -> Vec<String> {
    let text = std::str::from_utf8(body).unwrap();
    text.trim_matches(['[', ']', '"'])
        .split("\",\"")
        .filter(|entry| !entry.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Writes each event into the journal that it names: a document that lists its events. What the journal says shows
/// which events were applied, how often, and in which order.
pub(crate) struct Journal {
    pub(crate) descriptor: FunctionDescriptor,
    /// An answer other than writing the event down.
    pub(crate) act: Act,
    pub(crate) given: Arc<Mutex<Vec<String>>>,
}

struct Writing {
    act: Act,
    events: Vec<Event>,
    documents: Vec<DocumentId>,
}

#[async_trait]
impl Function for Journal {
    fn descriptor(&self) -> &FunctionDescriptor {
        &self.descriptor
    }

    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        let mut documents: Vec<DocumentId> = Vec::new();
        for event in &events {
            self.given.lock().push(text_of(event).to_owned());
            let id = DocumentId::new(text_of(event).split(':').next().unwrap()).unwrap();
            if !documents.contains(&id) {
                documents.push(id);
            }
        }
        Ok(Box::new(Writing { act: self.act, events, documents }))
    }
}

#[async_trait]
impl Invocation for Writing {
    fn documents(&self) -> &[DocumentId] {
        &self.documents
    }

    async fn run(self: Box<Self>, current: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        let mut states: Vec<Vec<String>> = current
            .iter()
            .map(|body| body.as_ref().map_or_else(Vec::new, |body| entries(&body.encode().unwrap())))
            .collect();
        let mut answers = Answers::default();
        // Others get their turn while this one works with its documents.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        for event in &self.events {
            let (id, text) = text_of(event).split_once(':').unwrap();
            let answer = (self.act)(event, text).unwrap_or_else(|| {
                let slot = self.documents.iter().position(|document| document.as_str() == id).unwrap();
                states[slot].push(text.to_owned());
                let json = format!("[\"{}\"]", states[slot].join("\",\""));
                Answer::upsert(self.documents[slot].clone(), Body::Json(json.into()))
            });
            answers.push(event.sequence_number, answer);
        }
        Ok(answers)
    }
}

/// Applies everything.
pub(crate) fn apply(_: &Event, _: &str) -> Option<Answer> {
    None
}
