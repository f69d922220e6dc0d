//! Functions that panic, hang, or say things they should not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_host::settings::Isolation;
use tidegate_model::answer::{Answer, Answers, Body};
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;
use tidegate_model::ports::{CurrentDocument, Function, FunctionDescriptor, FunctionError, Invocation};
use tidegate_model::position::SequenceNumber;

use crate::harness::{World, descriptor, text_of};

/// One bad event among good ones: the good ones are applied once, the bad one is set aside with what happened.
async fn check_isolated(act: fn(&Event, &str) -> Option<Answer>, expected_reason: &str) {
    let mut world = World::new(1);
    world.options.isolation = Isolation::Thread;
    world.settings.timeout = Duration::from_millis(200);
    world.publish(0, &["a:1", "b:2", "a:bad", "b:4", "a:5"]).await;
    world.run(act).await;

    assert_eq!(world.document("a").await, ["1", "5"]);
    assert_eq!(world.document("b").await, ["2", "4"]);
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].letter.event.sequence_number, SequenceNumber(2));
    assert_eq!(letters[0].letter.reason, expected_reason);
    assert_eq!(letters[0].letter.attempts.len(), 3);
}

#[tokio::test]
async fn a_panic_fails_that_event_and_nothing_else() {
    fn panics(_: &Event, text: &str) -> Option<Answer> {
        if text == "bad" { panic!("cannot read {text}") } else { None }
    }
    check_isolated(panics, "the function panicked: cannot read bad").await;
}

#[tokio::test]
async fn a_function_that_never_returns_fails_that_event_and_nothing_else() {
    fn hangs(_: &Event, text: &str) -> Option<Answer> {
        if text == "bad" {
            // Long enough to look like for ever, and short enough that the threads end with the test.
            std::thread::park_timeout(Duration::from_secs(3));
        }
        None
    }
    check_isolated(hangs, "the function did not answer within 200ms").await;
}

#[tokio::test]
async fn an_event_without_an_answer_is_unresolved() {
    struct Silent(FunctionDescriptor);
    impl Function for Silent {
        fn descriptor(&self) -> &FunctionDescriptor {
            &self.0
        }
        fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
            Ok(Box::new(Says(
                events
                    .iter()
                    .filter(|event| text_of(event) != "a:2")
                    .map(|event| (event.sequence_number, Answer::Filter))
                    .collect(),
            )))
        }
    }
    let world = World::new(1);
    world.publish(0, &["a:1", "a:2", "a:3"]).await;
    let processor = world.start_function(Arc::new(Silent(descriptor()))).await.unwrap();
    processor.caught_up().await;
    processor.drain(Duration::from_secs(1)).await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].letter.event.sequence_number, SequenceNumber(1));
    assert_eq!(letters[0].letter.reason, "the function gave no answer");
    assert_eq!(world.checkpoint(0).await.counts.filtered, 2);
}

struct Says(Vec<(SequenceNumber, Answer)>);

#[async_trait]
impl Invocation for Says {
    fn documents(&self) -> &[DocumentId] {
        &[]
    }
    async fn run(self: Box<Self>, _: Vec<CurrentDocument>) -> Result<Answers, FunctionError> {
        let mut answers = Answers::default();
        for (sequence_number, answer) in self.0 {
            answers.push(sequence_number, answer);
        }
        Ok(answers)
    }
}

/// A function whose answers are wrong whenever it sees the event "a:bad".
struct Wrong {
    descriptor: FunctionDescriptor,
    wrong: fn(SequenceNumber) -> Vec<(SequenceNumber, Answer)>,
}

impl Function for Wrong {
    fn descriptor(&self) -> &FunctionDescriptor {
        &self.descriptor
    }
    fn plan(&self, events: Vec<Event>) -> Result<Box<dyn Invocation>, FunctionError> {
        let mut answers = Vec::new();
        for event in &events {
            match text_of(event) {
                "a:bad" => answers.extend((self.wrong)(event.sequence_number)),
                _ => answers.push((event.sequence_number, Answer::Filter)),
            }
        }
        Ok(Box::new(Says(answers)))
    }
}

async fn check_wrong(wrong: fn(SequenceNumber) -> Vec<(SequenceNumber, Answer)>, expected_reason: &str) {
    let world = World::new(1);
    world.publish(0, &["a:1", "a:bad", "a:3"]).await;
    let function = Wrong { descriptor: descriptor(), wrong };
    let processor = world.start_function(Arc::new(function)).await.unwrap();
    processor.caught_up().await;
    processor.drain(Duration::from_secs(1)).await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].letter.event.body().as_ref(), b"a:bad");
    assert_eq!(letters[0].letter.reason, expected_reason);
    assert_eq!(world.checkpoint(0).await.counts.filtered, 2, "its neighbours are resolved, each once");
}

#[tokio::test]
async fn two_answers_for_an_event_are_none() {
    check_wrong(
        |event| vec![(event, Answer::Filter), (event, Answer::Filter)],
        "the function answered twice for event 1",
    )
    .await;
}

#[tokio::test]
async fn an_answer_for_an_event_it_was_not_given_counts_for_nothing() {
    check_wrong(
        |event| vec![(event, Answer::Filter), (SequenceNumber(77), Answer::Filter)],
        "the function answered for event 77, which it was not given",
    )
    .await;
}

#[tokio::test]
async fn a_document_that_was_not_named_is_not_written() {
    check_wrong(
        |event| vec![(event, Answer::upsert(DocumentId::new("z").unwrap(), Body::Json("{}".into())))],
        "the function wrote the document z for event 1 without naming it first",
    )
    .await;
}
