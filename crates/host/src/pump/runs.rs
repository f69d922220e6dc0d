//! Which failures of a lane say something about the world (pure).
//!
//! A key with a fault of its own fails again and again: each of its events, and each of them several times. While much else
//! succeeds these failures are a small share; but when nothing else comes for a while they are all there is, and look like an
//! outage. So a failure counts for the circuit when it is the first of its queue, or when nothing of the lane has succeeded
//! since the queue began to fail. In an outage nothing does.

use hashbrown::HashMap;

use super::parking::{Parking, QueueId};

/// The queues of a lane whose heads fail, one after the other or again and again.
#[derive(Clone, Debug, Default)]
pub struct FailingRuns {
    /// How many events of the lane have succeeded.
    succeeded: u64,
    /// How many had when the queue began to fail.
    began: HashMap<QueueId, u64>,
}

impl FailingRuns {
    /// Notes that so many events of the lane succeeded.
    pub(super) fn succeeded(&mut self, events: u64) {
        self.succeeded += events;
    }

    /// The head of a queue failed. True if that says something about the world.
    pub(super) fn failed(&mut self, id: &QueueId) -> bool {
        match self.began.get(id) {
            Some(began) => *began == self.succeeded,
            None => {
                self.began.insert(id.clone(), self.succeeded);
                true
            }
        }
    }

    /// The head of a queue succeeded.
    pub(super) fn ended(&mut self, id: &QueueId) {
        // There is none most of the time.
        if !self.began.is_empty() {
            self.began.remove(id);
        }
    }

    /// All begin anew: what failed while the circuit was not closed, or before somebody else had the lane, is another story.
    pub(super) fn forget(&mut self) {
        self.began.clear();
    }

    /// Forgets the queues that are no more.
    pub(super) fn retain(&mut self, parking: &Parking) {
        self.began.retain(|id, _| parking.queue(id).is_some());
    }
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;

    use super::*;

    #[test]
    fn a_failure_counts_until_something_else_succeeds_or_the_queue_itself() {
        let mut runs = FailingRuns::default();
        let [a, b] = ["a", "b"].map(|key| QueueId::Key(ByteString::from(key)));
        assert!(runs.failed(&a));
        assert!(runs.failed(&a), "nothing else says anything");
        assert!(runs.failed(&b));
        runs.succeeded(1);
        assert!(!runs.failed(&a), "others are well");
        runs.succeeded(1);
        runs.ended(&a);
        assert!(runs.failed(&a), "it was well");
        assert!(!runs.failed(&b));
        runs.forget();
        assert!(runs.failed(&b));
    }
}
