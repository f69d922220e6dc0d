//! The typed fold: states, verdicts, and what happens when something cannot be read or written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_function::testing::{Ended, TestHost, block_on, event};
use tidegate_function::{
    DEFAULT_VERSION, Event, EventData, Failure, FoldError, Function, FunctionDefinition, PropertyValue,
    Rejection, Verdict, fold, json,
};
use tidegate_model::answer::{Answer, Body};

#[derive(Deserialize)]
struct Deposit {
    account: Option<String>,
    amount: f64,
}

#[derive(Clone, Default, Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    balance: f64,
    deposits: u32,
}

/// Adds up deposits: 0 asks for nothing, less is refused, 13 cannot be processed now, 1e308 twice makes infinity.
fn book(current: Option<Account>, deposit: Deposit, _event: &Event) -> Result<Verdict<Account>, FoldError> {
    let mut account = current.unwrap_or_default();
    account.deposits += 1;
    account.balance += deposit.amount;
    match deposit.amount {
        0.0 => Ok(Verdict::Filter),
        13.0 => Err(FoldError::fail_for("the bank is closed", Duration::from_secs(60))),
        amount if amount < 0.0 => Err(FoldError::reject("a deposit is not negative")),
        _ => Ok(Verdict::Apply(account)),
    }
}

fn bank() -> FunctionDefinition {
    fold("bank").decode(json::<Deposit>).key(|deposit| deposit.account.clone()).apply(book)
}

fn deposit(account: &str, amount: f64) -> String {
    format!(r#"{{"account":"{account}","amount":{amount:?}}}"#)
}

fn rejected(reason: &str) -> Ended {
    Ended::Rejected(reason.to_owned())
}

#[test]
fn each_event_is_applied_to_the_state_that_the_one_before_left() {
    let mut host = TestHost::new(bank());
    let ended = block_on(host.send([deposit("a", 1.0), deposit("b", 5.0), deposit("a", 2.5)]));
    assert_eq!(ended, [Ended::Applied, Ended::Applied, Ended::Applied]);
    assert_eq!(host.document("a").as_deref(), Some(r#"{"balance":3.5,"deposits":2}"#));

    block_on(host.send([deposit("a", 1.0)]));
    host.restart();
    block_on(host.send([deposit("a", 1.0)]));
    assert_eq!(host.document("a").as_deref(), Some(r#"{"balance":5.5,"deposits":4}"#));
    assert_eq!(host.document("b").as_deref(), Some(r#"{"balance":5.0,"deposits":1}"#));
}

#[test]
fn an_event_that_is_filtered_or_rejected_leaves_no_trace() {
    let mut host = TestHost::new(bank());
    let ended = block_on(host.send([
        deposit("a", 1.0),
        deposit("a", 0.0),
        deposit("a", -1.0),
        deposit("new", -1.0),
        deposit("a", 1.0),
    ]));
    let negative = rejected("a deposit is not negative");
    assert_eq!(ended, [Ended::Applied, Ended::Filtered, negative.clone(), negative, Ended::Applied]);
    assert_eq!(host.document("a").as_deref(), Some(r#"{"balance":2.0,"deposits":2}"#));
    assert_eq!(host.ids(), ["a"]);
}

#[test]
fn the_first_failure_ends_the_invocation_and_what_came_before_counts() {
    let mut host = TestHost::new(bank());
    let ended =
        block_on(host.send([deposit("a", 1.0), deposit("b", 1.0), deposit("a", 13.0), deposit("a", 2.0)]));
    let closed = Failure::new("the bank is closed").retry_after(Duration::from_secs(60));
    assert_eq!(ended, [Ended::Applied, Ended::Applied, Ended::Failed(closed), Ended::Unresolved]);
    assert_eq!(host.document("a").as_deref(), Some(r#"{"balance":1.0,"deposits":1}"#));
}

#[test]
fn an_event_that_cannot_be_decoded_or_names_no_document_is_rejected() {
    let mut host = TestHost::new(bank());
    let ended = block_on(host.send([
        "{",
        r#"{"account":"a"}"#,
        r#"{"account":null,"amount":1}"#,
        r#"{"account":"","amount":1}"#,
        r#"{"account":"a","amount":1}"#,
    ]));
    assert_eq!(
        ended,
        [
            rejected("the body is not JSON: EOF while parsing an object at line 1 column 1"),
            rejected("the body is JSON of another shape: missing field `amount` at line 1 column 15"),
            rejected("the event has no key: it names no document"),
            rejected("the event's key cannot be a document id: it is empty"),
            Ended::Applied,
        ]
    );
}

#[test]
fn a_document_of_an_older_shape_fails_the_event_and_names_the_document() {
    let mut host = TestHost::new(bank());
    host.put("old", r#"{"balance":"12.50"}"#);
    let ended = block_on(host.send([deposit("new", 1.0), deposit("old", 1.0), deposit("new", 1.0)]));
    let Ended::Failed(failure) = &ended[1] else { panic!("{ended:?}") };
    assert!(
        failure.error.starts_with("the document old cannot be read: it is no ")
            && failure.error.contains("Account: invalid type: string \"12.50\", expected f64"),
        "{}",
        failure.error
    );
    assert_eq!((&ended[0], &ended[2]), (&Ended::Applied, &Ended::Unresolved));
    assert_eq!(host.document("old").as_deref(), Some(r#"{"balance":"12.50"}"#));
}

#[test]
fn the_event_that_makes_a_document_unwritable_is_the_one_rejected() {
    let mut host = TestHost::new(bank());
    let ended = block_on(host.send([
        deposit("a", 1e308),
        deposit("b", 1.0),
        deposit("a", 1e308),
        deposit("b", 1.0),
        deposit("a", 1.0),
    ]));
    let Ended::Rejected(reason) = &ended[2] else { panic!("{ended:?}") };
    assert!(
        reason.starts_with("the document cannot be stored: its JSON form cannot be read back")
            && reason.contains("infinite"),
        "{reason}"
    );
    for applied in [0, 1, 3, 4] {
        assert_eq!(ended[applied], Ended::Applied);
    }
    assert_eq!(host.document("a").as_deref(), Some(r#"{"balance":1e+308,"deposits":2}"#));
    assert_eq!(host.document("b").as_deref(), Some(r#"{"balance":2.0,"deposits":2}"#));
}

#[test]
fn a_fold_sees_the_event_itself() {
    let notes = fold("notes")
        .decode(|event: &Event| match event.data.properties.get("kind") {
            Some(PropertyValue::String(kind)) => Ok(kind.clone()),
            _ => Err(Rejection { reason: "the event has no kind".to_owned() }),
        })
        .key(|kind| kind.clone())
        .apply(|_: Option<String>, kind, event| {
            format!("{kind} {} {}", event.sequence_number, event.enqueued_at)
        });
    let mut host = TestHost::new(notes);
    let with_kind = |kind: &str| EventData {
        properties: [("kind", PropertyValue::from(kind))].into_iter().collect(),
        ..EventData::default()
    };
    let ended = block_on(host.send_events([with_kind("x"), EventData::default(), with_kind("y")]));
    assert_eq!(ended, [Ended::Applied, rejected("the event has no kind"), Ended::Applied]);
    assert_eq!(host.document("y").as_deref(), Some("\"y 2 1970-01-01T00:00:02.000Z\""));
}

#[test]
fn a_document_with_many_events_is_read_once_and_written_once() {
    static READ: AtomicUsize = AtomicUsize::new(0);
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);

    #[derive(Clone)]
    struct Sum(u64);
    impl Serialize for Sum {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            WRITTEN.fetch_add(1, Ordering::SeqCst);
            self.0.serialize(serializer)
        }
    }
    impl<'de> Deserialize<'de> for Sum {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            READ.fetch_add(1, Ordering::SeqCst);
            u64::deserialize(deserializer).map(Self)
        }
    }

    let sum = fold("sum")
        .decode(json::<u64>)
        .key(|_| "all")
        .apply(|current: Option<Sum>, number, _: &Event| Sum(current.map_or(0, |sum| sum.0) + number));
    let function: Arc<dyn Function> = sum.into();
    let invocation = function.plan((0..100).map(|number| event(number, "1")).collect()).expect("a plan");
    let current = vec![Some(Body::Json("5".into()))];
    let answers = block_on(invocation.run(current)).expect("answers");

    let mut bodies = Vec::new();
    for (_, answer) in answers {
        let Answer::Apply(upserts) = answer else { panic!("every event is applied") };
        bodies.extend(upserts.into_iter().map(|upsert| upsert.body));
    }
    assert_eq!(bodies.len(), 100);
    assert_eq!((READ.load(Ordering::SeqCst), WRITTEN.load(Ordering::SeqCst)), (1, 0));
    assert_eq!(bodies[99].encode().as_deref(), Ok(&b"105"[..]));
    assert_eq!(WRITTEN.load(Ordering::SeqCst), 1);

    // The host gives the value back: nothing is read again.
    let invocation = function.plan(vec![event(100, "1"), event(101, "1")]).expect("a plan");
    block_on(invocation.run(vec![Some(bodies[99].clone())])).expect("answers");
    assert_eq!((READ.load(Ordering::SeqCst), WRITTEN.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn an_event_that_is_not_applied_shows_its_document_as_earlier_events_left_it() {
    let function: Arc<dyn Function> = bank().into();
    let bodies = [deposit("a", 1.0), deposit("a", -5.0), deposit("a", 2.0), "no JSON".to_owned()];
    let events = bodies.into_iter().zip(0..).map(|(body, number)| event(number, body)).collect();
    let mut answers = block_on(function.plan(events).expect("a plan").run(vec![None])).expect("answers");
    let shown = answers.take_shown();
    let [(number, document)] = &shown[..] else { panic!("{shown:?}") };
    assert_eq!((number.0, document.id.as_str()), (1, "a"));
    let json = document.body.as_ref().expect("a document").encode().expect("JSON");
    assert_eq!(json, r#"{"balance":1.0,"deposits":1}"#);
}

#[test]
fn a_definition_says_who_the_function_is() {
    let plain = bank();
    let descriptor = plain.descriptor();
    assert_eq!(
        (descriptor.name.as_str(), descriptor.collection.as_str(), descriptor.version.as_str()),
        ("bank", "bank", DEFAULT_VERSION)
    );
    let named = bank().collection("accounts").version("2.1");
    assert_eq!(
        (named.descriptor().collection.as_str(), named.descriptor().version.as_str()),
        ("accounts", "2.1")
    );
    let renamed = bank().described_as(named.descriptor().clone());
    assert_eq!(renamed.descriptor(), named.descriptor());
}

#[test]
#[should_panic(expected = "\"a/b\" is not the name of a function")]
fn a_name_that_is_none_is_a_mistake_in_the_program() {
    let _ = fold("a/b").decode(json::<u64>).key(|_| 1).apply(|_: Option<u64>, number, _: &Event| number);
}

#[test]
fn a_host_that_gives_the_wrong_documents_fails_the_invocation() {
    let planned = bank().plan(vec![event(0, deposit("a", 1.0))]).expect("a plan");
    let error = block_on(planned.run(vec![])).expect_err("one document is missing");
    assert_eq!(error.error, "0 documents were given for 1 that were asked for");
}
