//! Whether exactly the corrupt events of the demo became dead letters.

use std::collections::BTreeMap;

use tidegate_eventlog::HubLog;
use tidegate_model::dead_letter::{DeadLetterFilter, StoredDeadLetter};
use tidegate_model::ports::ReadLimit;
use tidegate_model::ports::{DeadLetters, EventLog};
use tidegate_model::position::{PartitionId, SequenceNumber, StartPosition};

use crate::demo::data::label_of;
use crate::failure::Failure;

/// How much is read at a time.
const READ: ReadLimit = ReadLimit { events: 5000, bytes: 4 * 1024 * 1024 };

/// How many dead letters are read at a time.
const LETTERS: usize = 500;

/// What the comparison found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// The labelled events that the log holds.
    pub(crate) labelled: u64,
    /// The dead letters of events that the log holds.
    pub(crate) dead_lettered: u64,
    /// Labelled events that are no dead letters.
    pub(crate) missed: u64,
    /// Dead letters of events without a label, or of one event twice.
    pub(crate) unexpected: u64,
    /// The dead letters by label.
    pub(crate) causes: BTreeMap<String, Cause>,
}

/// The dead letters of one label.
#[derive(Debug)]
pub(crate) struct Cause {
    /// How many there are.
    pub(crate) count: u64,
    /// One of them.
    pub(crate) example: StoredDeadLetter,
}

impl Verdict {
    /// True when the dead letters are exactly the labelled events, each once.
    pub(crate) fn is_exact(&self) -> bool {
        self.missed == 0 && self.unexpected == 0 && self.labelled == self.dead_lettered
    }
}

/// Compares the labelled events in the log with the dead letters in the store. Events that retention dropped since an
/// earlier run are left out.
pub(crate) async fn dead_letters(hub: &HubLog, store: &dyn DeadLetters) -> Result<Verdict, Failure> {
    let mut labelled = labelled_events(hub).await?;
    let mut verdict = Verdict { labelled: labelled.len() as u64, ..Verdict::default() };
    let filter = DeadLetterFilter { hub: Some(EventLog::hub(hub).clone()), ..DeadLetterFilter::default() };
    let mut after = None;
    loop {
        let letters = store.list_dead_letters(&filter, after, LETTERS).await?;
        let Some(last) = letters.last() else { break };
        after = Some(last.id);
        for stored in letters {
            let place = (stored.letter.lane.partition, stored.letter.event.sequence_number);
            if stored.letter.event.sequence_number < hub.status(place.0)?.head {
                continue;
            }
            verdict.dead_lettered += 1;
            match labelled.remove(&place) {
                None => verdict.unexpected += 1,
                Some(label) => {
                    let cause = verdict.causes.entry(label).or_insert(Cause { count: 0, example: stored });
                    cause.count += 1;
                }
            }
        }
    }
    verdict.missed = labelled.len() as u64;
    Ok(verdict)
}

/// The labelled events of a hub, by place.
async fn labelled_events(hub: &HubLog) -> Result<BTreeMap<(PartitionId, SequenceNumber), String>, Failure> {
    let mut labelled = BTreeMap::new();
    for partition in (0..EventLog::partition_count(hub)).map(PartitionId) {
        let mut from = hub.locate(partition, StartPosition::Earliest).await?;
        loop {
            let events = hub.read(partition, from, READ).await?;
            let Some(last) = events.last() else { break };
            from = last.sequence_number.next();
            for event in events {
                if let Some(label) = label_of(&event.data.properties) {
                    labelled.insert((partition, event.sequence_number), label.to_owned());
                }
            }
        }
    }
    Ok(labelled)
}
