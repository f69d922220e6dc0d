//! What the producers were told, against which the log is checked after every crash.

use std::collections::BTreeMap;

use tidegate_model::event::{Event, EventData};
use tidegate_model::ports::{AppendError, Appended};
use tidegate_model::position::{PartitionId, SequenceNumber};

/// The answer to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// None came: the machine stopped, or the log did not know.
    Unknown,
    /// It is stored at this place.
    Stored(SequenceNumber),
    /// Nothing of it is stored.
    NotStored,
}

#[derive(Clone)]
struct Attempt {
    partition: PartitionId,
    count: usize,
    answer: Answer,
}

/// Every append that was tried, by its number.
#[derive(Clone, Default)]
pub(super) struct Ledger(BTreeMap<u64, Attempt>);

impl Ledger {
    /// The events of a new append; each says which append it belongs to, which of it it is, and of how many.
    pub(super) fn begin(
        &mut self,
        partition: PartitionId,
        count: usize,
        size: usize,
    ) -> (u64, Vec<EventData>) {
        let id = self.0.len() as u64;
        self.0.insert(id, Attempt { partition, count, answer: Answer::Unknown });
        let event = |index| {
            let mut body = format!("{id}/{index}/{count}/").into_bytes();
            body.extend_from_slice(&padding_of(id, size));
            EventData::new(body)
        };
        (id, (0..count).map(event).collect())
    }

    /// Notes what the log answered.
    pub(super) fn end(&mut self, id: u64, answer: &Result<Appended, AppendError>) {
        self.0.get_mut(&id).unwrap().answer = match answer {
            Ok(appended) => Answer::Stored(appended.first),
            Err(error) if error.may_have_been_stored() => Answer::Unknown,
            Err(_) => Answer::NotStored,
        };
    }

    /// Checks all events of a partition against what the producers know. What is found must be found from now on.
    pub(super) fn check(&mut self, partition: PartitionId, head: SequenceNumber, events: &[Event]) {
        for (event, expected) in events.iter().zip(head.0..) {
            assert_eq!(event.sequence_number, SequenceNumber(expected), "a gap");
        }
        assert!(events.is_sorted_by_key(|event| event.enqueued_at), "a time went back");
        let mut found = BTreeMap::new();
        let mut rest = events;
        // The head may lie inside an append only if retention cut it, and retention drops whole appends.
        while let Some(first) = rest.first() {
            let (id, index, count) = parse(first);
            let attempt = self.0.get_mut(&id).unwrap_or_else(|| panic!("append {id} was never made"));
            assert_eq!((index, count, attempt.partition), (0, attempt.count, partition), "append {id}");
            assert_ne!(
                attempt.answer,
                Answer::NotStored,
                "append {id} was refused and is there all the same"
            );
            assert!(rest.len() >= count, "append {id} is there in part");
            for (index, event) in rest[..count].iter().enumerate() {
                assert_eq!(parse(event), (id, index, count), "append {id} is there in part");
            }
            assert_eq!(found.insert(id, first.sequence_number), None, "append {id} is there twice");
            if attempt.answer == Answer::Unknown {
                attempt.answer = Answer::Stored(first.sequence_number);
            }
            rest = &rest[count..];
        }
        for (id, attempt) in &self.0 {
            match attempt.answer {
                Answer::Stored(at) if attempt.partition == partition && at >= head => {
                    assert_eq!(found.get(id), Some(&at), "acknowledged append {id} is not at its place");
                }
                _ => {}
            }
        }
        // An answer that did not come by now never will: what is not there is gone.
        for (id, attempt) in &mut self.0 {
            if attempt.partition == partition && attempt.answer == Answer::Unknown && !found.contains_key(id)
            {
                attempt.answer = Answer::NotStored;
            }
        }
    }
}

fn parse(event: &Event) -> (u64, usize, usize) {
    let text = std::str::from_utf8(event.body()).expect("the body is intact");
    let mut parts = text.split('/');
    let mut number = || parts.next().unwrap().parse::<u64>().unwrap();
    let (id, index, count) = (number(), number(), number());
    let padding = parts.next().unwrap();
    assert!(padding.as_bytes() == padding_of(id, padding.len()), "append {id} has other bytes");
    (id, index as usize, count as usize)
}

/// The bytes that fill the events of an append, different from those of the appends around it.
fn padding_of(id: u64, len: usize) -> Vec<u8> {
    vec![b'a' + (id % 26) as u8; len]
}
