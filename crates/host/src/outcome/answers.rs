//! Are these answers what the contract asks for? (pure)
//!
//! A function answers per event, and the host believes nothing unchecked: answers for events that were not given, two
//! answers for one event, writes to documents that were not named, states that cannot be written as JSON. Any of these
//! makes the whole invocation a failure. What passes is cut at the first event that failed or was not answered, and
//! reduced to the newest state of each document.

use bytes::Bytes;
use hashbrown::HashMap;
use serde::de::IgnoredAny;
use tidegate_model::answer::{Answer, Answers, Body, DocumentBefore, Failure};
use tidegate_model::document::{DocumentId, MAX_DOCUMENT_BYTES};
use tidegate_model::position::SequenceNumber;

use crate::workspace::Write;

/// Answers that hold what the contract asks for.
#[derive(Debug)]
pub struct Checked {
    /// What the function said of each event, from the first on, up to the one that stopped it.
    pub verdicts: Vec<Verdict>,
    /// The newest state of every document that these events changed.
    pub writes: Vec<Write>,
    /// Why the event after them has no verdict; `None` when all events have one.
    pub stopped: Option<Failure>,
    /// The documents that events which were not applied were about, as JSON text.
    pub shown: Vec<(SequenceNumber, Shown)>,
}

/// A document before an event that was not applied, as JSON text; `None` when there was no such document.
pub type Shown = (DocumentId, Option<Bytes>);

/// How many bytes of documents one invocation may show. Those beyond are left out: they are for a person to look at, and
/// must not take the memory that the work needs.
const MAX_SHOWN_BYTES: usize = 8 << 20;

/// What a function said of an event, for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has an effect.
    Applied,
    /// It asks for nothing.
    Filtered,
    /// It can never be processed.
    Rejected {
        /// Why.
        reason: String,
    },
}

/// Checks the answers for `events`, given in order. The error says what is wrong with the invocation as a whole.
pub fn check(
    events: &[SequenceNumber],
    documents: &[DocumentId],
    mut answers: Answers,
) -> Result<Checked, String> {
    let shown = show(answers.take_shown());
    let mut answered: Vec<Option<Answer>> = events.iter().map(|_| None).collect();
    for (sequence_number, answer) in answers {
        let Ok(index) = events.binary_search(&sequence_number) else {
            return Err(format!("the function answered for event {sequence_number}, which it was not given"));
        };
        if answered[index].replace(answer).is_some() {
            return Err(format!("the function answered twice for event {sequence_number}"));
        }
    }

    let mut slots = Slots::new(documents);
    let mut newest: Vec<Option<(Body, SequenceNumber)>> = vec![None; documents.len()];
    let mut verdicts = Vec::with_capacity(events.len());
    let mut stopped = None;
    for (&sequence_number, answer) in events.iter().zip(answered) {
        match answer {
            Some(Answer::Apply(upserts)) => {
                for upsert in upserts {
                    let slot = slots.find(&upsert.id).ok_or_else(|| {
                        format!(
                            "the function wrote the document {} for event {sequence_number} without naming it first",
                            upsert.id
                        )
                    })?;
                    newest[slot] = Some((upsert.body, sequence_number));
                }
                verdicts.push(Verdict::Applied);
            }
            Some(Answer::Filter) => verdicts.push(Verdict::Filtered),
            Some(Answer::Reject(rejection)) => verdicts.push(Verdict::Rejected { reason: rejection.reason }),
            Some(Answer::Fail(failure)) => {
                stopped = Some(failure);
                break;
            }
            None => {
                stopped = Some(Failure::new("the function gave no answer"));
                break;
            }
        }
    }

    let mut writes = Vec::with_capacity(newest.len());
    for (slot, newest) in newest.into_iter().enumerate() {
        let Some((body, sequence_number)) = newest else { continue };
        let json = encode(&body).map_err(|problem| format!("the document {} {problem}", documents[slot]))?;
        writes.push(Write { slot, body, json, sequence_number });
    }
    Ok(Checked { verdicts, writes, stopped, shown })
}

/// Writes documents as JSON, as far as that can be done.
fn show(documents: Vec<(SequenceNumber, DocumentBefore)>) -> Vec<(SequenceNumber, Shown)> {
    let mut room = MAX_SHOWN_BYTES;
    let mut shown = Vec::with_capacity(documents.len());
    for (event, DocumentBefore { id, body }) in documents {
        let json = body.as_ref().map(encode).transpose();
        let Ok(json) = json else { continue };
        let Some(rest) = room.checked_sub(json.as_ref().map_or(0, Bytes::len)) else { break };
        room = rest;
        shown.push((event, (id, json)));
    }
    shown
}

/// The state as JSON text. Text that the function wrote itself is checked; a [`DocumentValue`] promises JSON.
///
/// [`DocumentValue`]: tidegate_model::answer::DocumentValue
fn encode(body: &Body) -> Result<Bytes, String> {
    let json = body.encode().map_err(|cause| format!("cannot be written as JSON: {cause}"))?;
    if let Body::Json(_) = body {
        serde_json::from_slice::<IgnoredAny>(&json).map_err(|error| format!("is not JSON: {error}"))?;
    }
    if json.len() > MAX_DOCUMENT_BYTES {
        return Err(format!("would have {} bytes of JSON; the limit is {MAX_DOCUMENT_BYTES}", json.len()));
    }
    Ok(json)
}

/// Finds a document's place among those named. Most functions write documents in the order they named them, so the
/// place after the last one found is tried first, and only then the index is built.
struct Slots<'a> {
    documents: &'a [DocumentId],
    next: usize,
    index: Option<HashMap<&'a DocumentId, usize>>,
}

impl<'a> Slots<'a> {
    fn new(documents: &'a [DocumentId]) -> Self {
        Self { documents, next: 0, index: None }
    }

    fn find(&mut self, id: &DocumentId) -> Option<usize> {
        let found = if self.documents.get(self.next) == Some(id) {
            self.next
        } else {
            let documents = self.documents;
            let index = self
                .index
                .get_or_insert_with(|| documents.iter().enumerate().map(|(slot, id)| (id, slot)).collect());
            *index.get(id)?
        };
        self.next = found + 1;
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: impl IntoIterator<Item = u64>) -> Vec<SequenceNumber> {
        numbers.into_iter().map(SequenceNumber).collect()
    }

    fn id(id: &str) -> DocumentId {
        DocumentId::new(id).unwrap()
    }

    fn upsert(document: &str, json: &'static str) -> Answer {
        Answer::upsert(id(document), Body::Json(Bytes::from_static(json.as_bytes())))
    }

    fn answers(list: Vec<(u64, Answer)>) -> Answers {
        let mut answers = Answers::default();
        for (sequence_number, answer) in list {
            answers.push(SequenceNumber(sequence_number), answer);
        }
        answers
    }

    fn states(checked: &Checked) -> Vec<(usize, &str, u64)> {
        let mut states: Vec<_> = checked
            .writes
            .iter()
            .map(|write| (write.slot, std::str::from_utf8(&write.json).unwrap(), write.sequence_number.0))
            .collect();
        states.sort_unstable();
        states
    }

    #[test]
    fn only_the_newest_state_of_a_document_is_kept() {
        let checked = check(
            &numbers([5, 6, 7]),
            &[id("a"), id("b")],
            answers(vec![(7, upsert("a", "3")), (5, upsert("a", "1")), (6, upsert("b", "2"))]),
        )
        .unwrap();
        assert_eq!(states(&checked), [(0, "3", 7), (1, "2", 6)]);
        assert_eq!(checked.verdicts, [Verdict::Applied, Verdict::Applied, Verdict::Applied]);
        assert!(checked.stopped.is_none());
    }

    #[test]
    fn answers_end_at_the_first_failed_event() {
        let checked = check(
            &numbers([1, 2, 3, 4]),
            &[id("a")],
            answers(vec![
                (1, Answer::reject("odd")),
                (2, upsert("a", "2")),
                (3, Answer::fail("down")),
                (4, upsert("a", "4")),
            ]),
        )
        .unwrap();
        assert_eq!(checked.verdicts, [Verdict::Rejected { reason: "odd".into() }, Verdict::Applied]);
        assert_eq!(states(&checked), [(0, "2", 2)]);
        assert_eq!(checked.stopped.unwrap().error, "down");
    }

    #[test]
    fn silence_is_not_an_answer() {
        let checked = check(&numbers([1, 2]), &[], answers(vec![(1, Answer::Filter)])).unwrap();
        assert_eq!(checked.verdicts, [Verdict::Filtered]);
        assert_eq!(checked.stopped.unwrap().error, "the function gave no answer");
    }

    #[test]
    fn an_invocation_that_breaks_the_contract_fails_whole() {
        let broken = |list| check(&numbers([1, 2]), &[id("a")], answers(list)).unwrap_err();
        assert_eq!(
            broken(vec![(1, Answer::Filter), (9, Answer::Filter)]),
            "the function answered for event 9, which it was not given"
        );
        assert_eq!(
            broken(vec![(1, Answer::Filter), (1, Answer::Filter), (2, Answer::Filter)]),
            "the function answered twice for event 1"
        );
        assert_eq!(
            broken(vec![(1, upsert("z", "1")), (2, Answer::Filter)]),
            "the function wrote the document z for event 1 without naming it first"
        );
    }

    #[test]
    fn a_document_that_is_not_json_is_named() {
        let problem =
            check(&numbers([1]), &[id("a")], answers(vec![(1, upsert("a", "{\"x\":"))])).unwrap_err();
        assert_eq!(problem, "the document a is not JSON: EOF while parsing a value at line 1 column 5");
    }

    #[test]
    fn a_document_over_the_limit_is_named() {
        let large = Bytes::from(["1".as_bytes(), &vec![b' '; MAX_DOCUMENT_BYTES]].concat());
        let list = vec![(1, Answer::upsert(id("a"), Body::Json(large)))];
        let problem = check(&numbers([1]), &[id("a")], answers(list)).unwrap_err();
        assert_eq!(problem, "the document a would have 2097153 bytes of JSON; the limit is 2097152");
    }
}
