//! The batch form: several documents an event, answers in any order, and mistakes that are found.

use serde::{Deserialize, Serialize};
use tidegate_function::testing::{Ended, TestHost, block_on};
use tidegate_function::{
    Batch, BatchFunction, DocumentError, DocumentId, Event, Failure, FunctionError, Rejection, batch, json,
};

#[derive(Deserialize)]
struct Transfer {
    from: String,
    to: String,
    amount: i64,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

fn id(name: &str) -> DocumentId {
    DocumentId::new(name).expect("an id")
}

/// Moves money between accounts, after asking a service that takes a moment.
struct Transfers;

impl BatchFunction for Transfers {
    fn documents(&self, event: &Event) -> Result<Vec<DocumentId>, Rejection> {
        let transfer = json::<Transfer>(event)?;
        Ok(vec![id(&transfer.from), id(&transfer.to)])
    }

    async fn run(&self, events: Vec<Event>, batch: &mut Batch) -> Result<(), FunctionError> {
        for event in &events {
            tokio::task::yield_now().await;
            let Ok(transfer) = json::<Transfer>(event) else { continue };
            let (from, to) = (id(&transfer.from), id(&transfer.to));
            let mut payer: Account = batch.document(&from)?.unwrap_or_default();
            let mut payee: Account = batch.document(&to)?.unwrap_or_default();
            match transfer.amount {
                0 => batch.on(event).filter(),
                13 => batch.on(event).fail(Failure::new("closed")),
                99 => {} // nothing is said
                amount if amount < 0 => batch.on(event).reject("an amount is not negative"),
                amount => {
                    payer.balance -= amount;
                    payee.balance += amount;
                    batch.on(event).upsert(&from, payer);
                    batch.on(event).upsert(&to, payee);
                }
            }
        }
        Ok(())
    }
}

fn transfer(from: &str, to: &str, amount: i64) -> String {
    format!(r#"{{"from":"{from}","to":"{to}","amount":{amount}}}"#)
}

fn balance(host: &TestHost, account: &str) -> i64 {
    let document = host.document(account).expect("an account");
    serde_json::from_str::<Account>(&document).expect("an account").balance
}

#[tokio::test]
async fn an_event_writes_several_documents_and_the_next_sees_them() {
    let mut host = TestHost::new(batch("transfers", Transfers).collection("accounts"));
    let ended = host
        .send([
            transfer("a", "b", 5),
            transfer("b", "c", 3),
            "?".to_owned(),
            transfer("a", "c", 0),
            transfer("c", "a", -1),
        ])
        .await;
    assert_eq!(ended[..2], [Ended::Applied, Ended::Applied]);
    assert!(
        matches!(&ended[2], Ended::Rejected(reason) if reason.starts_with("the body is not JSON")),
        "{ended:?}"
    );
    assert_eq!(ended[3..], [Ended::Filtered, Ended::Rejected("an amount is not negative".to_owned())]);
    assert_eq!((balance(&host, "a"), balance(&host, "b"), balance(&host, "c")), (-5, 2, 3));

    host.restart();
    host.send([transfer("c", "a", 1)]).await;
    assert_eq!((balance(&host, "a"), balance(&host, "c")), (-4, 2));
}

#[tokio::test]
async fn what_follows_a_failure_or_silence_is_not_resolved() {
    for (amount, expected) in [(13, Ended::Failed(Failure::new("closed"))), (99, Ended::Unresolved)] {
        let mut host = TestHost::new(batch("transfers", Transfers));
        let ended =
            host.send([transfer("a", "b", 1), transfer("c", "d", amount), transfer("a", "b", 1)]).await;
        assert_eq!(ended, [Ended::Applied, expected, Ended::Unresolved]);
        assert_eq!((balance(&host, "a"), host.ids()), (-1, vec!["a", "b"]));
    }
}

/// Does what the body says.
struct Careless;

impl BatchFunction for Careless {
    fn documents(&self, event: &Event) -> Result<Vec<DocumentId>, Rejection> {
        Ok(if event.body() == "none" { vec![] } else { vec![id("a")] })
    }

    async fn run(&self, events: Vec<Event>, batch: &mut Batch) -> Result<(), FunctionError> {
        for event in &events {
            match &event.body()[..] {
                b"twice" => {
                    batch.on(event).upsert(&id("a"), 1);
                    batch.on(event).filter();
                }
                b"other" => batch.on(event).upsert(&id("b"), 1),
                b"again" => {
                    batch.on(event).upsert(&id("a"), 1);
                    batch.on(event).upsert(&id("a"), 2);
                }
                b"look" => {
                    let missing = batch.document::<u64>(&id("b")).expect_err("nobody named it");
                    assert_eq!(missing, DocumentError::NotNamed { id: id("b") });
                    let unreadable = batch.document::<Vec<u8>>(&id("a")).expect_err("it is a number");
                    batch.on(event).fail(unreadable.into());
                }
                b"fail" => return Err(FunctionError { error: "no service".to_owned() }),
                _ => batch.on(event).filter(),
            }
        }
        Ok(())
    }
}

fn ended(body: &'static str) -> (Ended, Option<String>) {
    let mut host = TestHost::new(batch("careless", Careless));
    host.put("a", "0");
    let ended = block_on(host.send([body])).remove(0);
    (ended, host.document("a"))
}

#[test]
fn mistakes_fail_the_invocation_and_change_nothing() {
    for (body, error) in [
        ("twice", "the function answered twice for event 0"),
        ("other", "the function wrote the document b for event 0; no event named it"),
        ("fail", "no service"),
    ] {
        let failed = Ended::Failed(Failure::new(error));
        assert_eq!(ended(body), (failed, Some("0".to_owned())));
    }
}

#[test]
fn the_last_state_an_event_gives_a_document_counts() {
    assert_eq!(ended("again"), (Ended::Applied, Some("2".to_owned())));
    assert_eq!(ended("none"), (Ended::Filtered, Some("0".to_owned())));
}

#[test]
fn a_document_that_cannot_be_read_is_named() {
    let (Ended::Failed(failure), _) = ended("look") else { panic!("the event was to fail") };
    assert!(failure.error.starts_with("the document a cannot be read: it is no "), "{}", failure.error);
}
