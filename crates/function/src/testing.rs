//! A host in miniature, to test functions without a server.
//!
//! ```
//! # use tidegate_function::{FunctionDefinition, Event, fold, json};
//! # fn sum(current: Option<i64>, number: i64, _event: &Event) -> i64 { current.unwrap_or(0) + number }
//! # fn function() -> FunctionDefinition { fold("sum").decode(json::<i64>).key(|_| "all").apply(sum) }
//! use tidegate_function::testing::{Ended, TestHost, block_on};
//!
//! let mut host = TestHost::new(function());
//! let ended = block_on(host.send(["1", "2", "three"]));
//! assert_eq!(ended[..2], [Ended::Applied, Ended::Applied]);
//! assert!(matches!(&ended[2], Ended::Rejected(reason) if reason.contains("not JSON")));
//! assert_eq!(host.document("all").as_deref(), Some("3"));
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use bytes::Bytes;
use tidegate_model::answer::{Answer, Body, Failure};
use tidegate_model::clock::Timestamp;
use tidegate_model::document::{DocumentId, MAX_DOCUMENT_BYTES};
use tidegate_model::event::{Event, EventData};
use tidegate_model::ports::Function;
use tidegate_model::position::SequenceNumber;

/// How an event ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its effect is in the documents.
    Applied,
    /// The function asked for nothing.
    Filtered,
    /// The function rejected it for this reason. A server would have made it a dead letter.
    Rejected(String),
    /// It failed. A server would try it again.
    Failed(Failure),
    /// It is not resolved: it was given after an event that failed, or not answered. A server would give it again.
    Unresolved,
}

/// Runs one function over batches and keeps its documents, by the rules of the
/// [`Function`] contract, and panics when the function breaks one of them.
pub struct TestHost {
    function: Arc<dyn Function>,
    documents: BTreeMap<DocumentId, Body>,
    next: SequenceNumber,
    start: Timestamp,
}

impl TestHost {
    /// A host without documents. Its first event comes at 1970-01-01T00:00:00Z, each later one a second after the one
    /// before.
    pub fn new(function: impl Into<Arc<dyn Function>>) -> Self {
        Self {
            function: function.into(),
            documents: BTreeMap::new(),
            next: SequenceNumber::ZERO,
            start: Timestamp::default(),
        }
    }

    /// The same host with another time of its first event.
    #[must_use]
    pub fn starting_at(mut self, start: Timestamp) -> Self {
        self.start = start;
        self
    }

    /// Puts a document there as JSON text, as if it came from a store.
    pub fn put(&mut self, id: &str, json: impl Into<Bytes>) {
        let id = DocumentId::new(id).expect("a document id");
        self.documents.insert(id, Body::Json(json.into()));
    }

    /// The JSON text of a document.
    pub fn document(&self, id: &str) -> Option<String> {
        let id = DocumentId::new(id).expect("a document id");
        let json = self.documents.get(&id)?.encode().expect("only documents with a JSON form are kept");
        Some(String::from_utf8(json.to_vec()).expect("JSON is text"))
    }

    /// The ids of all documents, in order.
    pub fn ids(&self) -> Vec<&str> {
        self.documents.keys().map(DocumentId::as_str).collect()
    }

    /// Keeps of every document only its JSON text, as a restart does.
    pub fn restart(&mut self) {
        for body in self.documents.values_mut() {
            *body = Body::Json(body.encode().expect("only documents with a JSON form are kept"));
        }
    }

    /// Publishes events with these bodies and gives them to the function as one batch.
    pub async fn send<B: Into<Bytes>>(&mut self, bodies: impl IntoIterator<Item = B>) -> Vec<Ended> {
        self.send_events(bodies.into_iter().map(EventData::new)).await
    }

    /// Publishes events and gives them to the function as one batch.
    pub async fn send_events(&mut self, events: impl IntoIterator<Item = EventData>) -> Vec<Ended> {
        let events: Vec<_> = events
            .into_iter()
            .map(|data| {
                let sequence_number = self.next;
                self.next = self.next.next();
                let enqueued_at = self.start.plus(age_of(sequence_number));
                Event { sequence_number, enqueued_at, data }
            })
            .collect();
        match self.run(events.clone()).await {
            Ok(ended) => ended,
            Err(_) if events.len() > 1 => self.run_singly(events).await,
            Err(error) => vec![failed(error)],
        }
    }

    /// Gives events one by one, up to the first that stays unresolved: what a host does after a batch it could not use.
    async fn run_singly(&mut self, events: Vec<Event>) -> Vec<Ended> {
        let mut all = Vec::with_capacity(events.len());
        let mut stopped = false;
        for event in events {
            let ended = if stopped {
                Ended::Unresolved
            } else {
                self.run(vec![event]).await.map_or_else(failed, |mut ended| ended.remove(0))
            };
            stopped |= matches!(ended, Ended::Failed(_) | Ended::Unresolved);
            all.push(ended);
        }
        all
    }

    /// One invocation. An error means that it failed as a whole and changed nothing.
    async fn run(&mut self, events: Vec<Event>) -> Result<Vec<Ended>, String> {
        let numbers: Vec<_> = events.iter().map(|event| event.sequence_number).collect();
        let invocation = self.function.plan(events).map_err(|error| error.error)?;
        let ids = invocation.documents().to_vec();
        let distinct: HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len(), "a document was named twice");
        let current = ids.iter().map(|id| self.documents.get(id).cloned()).collect();

        let mut answers = HashMap::new();
        for (event, answer) in invocation.run(current).await.map_err(|error| error.error)? {
            assert!(numbers.contains(&event), "event {event} was not in the batch but was answered");
            assert!(answers.insert(event, answer).is_none(), "event {event} was answered twice");
        }
        let mut ended = Vec::with_capacity(numbers.len());
        let mut written = BTreeMap::new();
        for event in &numbers {
            ended.push(match answers.remove(event) {
                Some(Answer::Apply(upserts)) => {
                    for upsert in upserts {
                        assert!(distinct.contains(&upsert.id), "{} was written but not named", upsert.id);
                        written.insert(upsert.id, upsert.body);
                    }
                    Ended::Applied
                }
                Some(Answer::Filter) => Ended::Filtered,
                Some(Answer::Reject(rejection)) => Ended::Rejected(rejection.reason),
                Some(Answer::Fail(failure)) => Ended::Failed(failure),
                None => Ended::Unresolved,
            });
            if matches!(ended.last(), Some(Ended::Failed(_) | Ended::Unresolved)) {
                break;
            }
        }
        ended.resize(numbers.len(), Ended::Unresolved);
        for (id, body) in &written {
            let json = body.encode()?;
            if json.len() > MAX_DOCUMENT_BYTES {
                return Err(format!("the document {id} is {} bytes large", json.len()));
            }
        }
        self.documents.append(&mut written);
        Ok(ended)
    }
}

fn failed(error: String) -> Ended {
    Ended::Failed(Failure::new(error))
}

/// An event as the log gives it. Its time is its sequence number in seconds after the epoch.
pub fn event(sequence_number: u64, body: impl Into<Bytes>) -> Event {
    let sequence_number = SequenceNumber(sequence_number);
    let enqueued_at = Timestamp::default().plus(age_of(sequence_number));
    Event { sequence_number, enqueued_at, data: EventData::new(body) }
}

/// How long after the first event this one comes.
fn age_of(event: SequenceNumber) -> Duration {
    Duration::from_secs(event.0)
}

/// Waits for a function that needs no runtime of its own: folds, upserts, and batches that do not wait for the network.
pub fn block_on<F: Future>(work: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut work = std::pin::pin!(work);
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}
