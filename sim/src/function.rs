//! The functions: they write events into journals, and fail by script.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_model::answer::{Answer, Answers, Body, Failure};
use tidegate_model::clock::Clock;
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;
use tidegate_model::ports::{CurrentDocument, Function, FunctionDescriptor, FunctionError, Invocation};

use crate::clock::SimClock;
use crate::event::{entries, entry, journal, parse};
use crate::oracle::{Invoked, Oracle};
use crate::scenario::{DEPENDENCY, Fate, SimFunction, Way};
use crate::trace::Trace;

/// What is outside of the system and outlives every crash: how often each event went wrong, and whether what the
/// functions depend on works.
#[derive(Default)]
pub(crate) struct Downstream {
    /// By function and event.
    failures: Mutex<BTreeMap<(String, String), u32>>,
    /// Until when everything fails.
    out_until: Mutex<Duration>,
}

impl Downstream {
    /// Nothing works until then.
    pub(crate) fn fail_until(&self, until: Duration) {
        *self.out_until.lock() = until;
    }

    /// Counts a failure at an event, unless it failed `times` times already.
    fn fails_again(&self, function: &str, event: &str, times: u32) -> bool {
        let mut failures = self.failures.lock();
        let failed = failures.entry((function.to_owned(), event.to_owned())).or_default();
        let fails = *failed < times;
        *failed = failed.saturating_add(u32::from(fails));
        fails
    }

    /// How often a function failed at an event.
    pub(crate) fn failures(&self, function: &str, event: &str) -> u32 {
        self.failures.lock().get(&(function.to_owned(), event.to_owned())).copied().unwrap_or(0)
    }
}

/// A function of one instance.
pub(crate) struct ScriptedFunction {
    pub(crate) descriptor: FunctionDescriptor,
    pub(crate) shared: Arc<Shared>,
}

/// What its invocations need.
pub(crate) struct Shared {
    pub(crate) seed: u64,
    pub(crate) instance: String,
    pub(crate) function: SimFunction,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) downstream: Arc<Downstream>,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) trace: Trace,
}

struct Planned {
    shared: Arc<Shared>,
    events: Vec<(Event, DocumentId, String)>,
    documents: Vec<DocumentId>,
}

impl Function for ScriptedFunction {
    fn descriptor(&self) -> &FunctionDescriptor {
        &self.descriptor
    }

    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        let events: Vec<_> = events
            .into_iter()
            .map(|event| {
                let (document, id) = parse(&event);
                (event, document, id)
            })
            .collect();
        let mut documents: Vec<DocumentId> = Vec::new();
        for (_, document, _) in &events {
            if !documents.contains(document) {
                documents.push(document.clone());
            }
        }
        let shared = Arc::clone(&self.shared);
        let ids: Vec<String> = events.iter().map(|(_, _, id)| id.clone()).collect();
        shared
            .trace
            .note(&shared.instance, format_args!("invokes {} with {}", shared.function.name, ids.join(" ")));
        shared.oracle.invoked(Invoked {
            instance: &shared.instance,
            function: &shared.function.name,
            events: &ids,
        });
        Ok(Box::new(Planned { shared, events, documents }))
    }
}

#[async_trait]
impl Invocation for Planned {
    fn documents(&self) -> &[DocumentId] {
        &self.documents
    }

    async fn run(self: Box<Self>, current: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        let shared = &self.shared;
        let name = &shared.function.name;
        let mut journals: Vec<Vec<String>> = current
            .iter()
            .map(|body| match body.as_ref().map(Body::encode) {
                Some(Ok(json)) => entries(&json),
                _ => Vec::new(),
            })
            .collect();
        let mut answers = Answers::default();
        if shared.clock.random().is_multiple_of(3) {
            // Others get their turn while this one works with its documents.
            shared.clock.sleep(Duration::from_micros(shared.clock.random() % 5000)).await;
        }
        for (event, document, id) in &self.events {
            let is_out = shared.clock.monotonic() < *shared.downstream.out_until.lock();
            let fate = Fate::of_event(shared.seed, name, &event.data, id);
            let way = match fate {
                Fate::Fails(way, times) => {
                    shared.downstream.fails_again(name.as_str(), id, times).then_some(way)
                }
                Fate::Poison(way) => {
                    shared.downstream.fails_again(name.as_str(), id, u32::MAX).then_some(way)
                }
                Fate::Applied | Fate::Slow(_) if is_out => {
                    shared.downstream.fails_again(name.as_str(), id, u32::MAX).then_some(Way::Answer)
                }
                _ => None,
            };
            let answer = match (way, fate) {
                // Without such a dependency that means nothing.
                (Some(Way::Answer), _) if is_out => {
                    Answer::Fail(Failure::new("not now").because_of(DEPENDENCY))
                }
                (Some(Way::Answer), _) => Answer::fail("not now"),
                (Some(Way::Throttle), _) => Answer::Fail(
                    Failure::new("too many requests")
                        .retry_after(Duration::from_millis(shared.clock.random() % 100)),
                ),
                (Some(Way::Silence), _) => continue,
                (Some(Way::Error), _) => return Err(FunctionError { error: "not now".to_owned() }),
                // A panic that says nothing on the terminal.
                (Some(Way::Panic), _) => std::panic::resume_unwind(Box::new("not now")),
                (Some(Way::Hang), _) => std::future::pending().await,
                (None, Fate::Filtered) => Answer::Filter,
                (None, Fate::Rejected) => Answer::reject("it was to be"),
                (None, _) => {
                    if let Fate::Slow(duration) = fate {
                        shared.clock.sleep(duration / 8).await;
                    }
                    let slot = self.documents.iter().position(|known| known == document).unwrap_or(0);
                    journals[slot].push(entry(name, id, &event.data));
                    Answer::upsert(document.clone(), Body::Json(journal(&journals[slot])))
                }
            };
            answers.push(event.sequence_number, answer);
        }
        Ok(answers)
    }
}
