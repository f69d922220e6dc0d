//! The port through which the boxes tell what they do: once a batch, never once an event.

use crate::clock::Timestamp;
use crate::observe::{CommitReport, InvocationReport, PublishReport};

use super::StoreError;

/// Is told of every publish, every invocation and every commit.
///
/// # Contract
///
/// - It is told after the fact. What it does changes nothing about the events.
/// - It is called where the work is done: it returns quickly, does not block and does not panic.
/// - An invocation is told before the commit that holds its outcomes. One that is taken back is never told as committed;
///   its events are invoked again, as another invocation.
pub trait Observer: Send + Sync + 'static {
    /// How many events of an invocation are searched for the [trace](crate::observe::trace_of) they belong to at most.
    fn traces_wanted(&self) -> usize {
        0
    }

    /// A producer's events were stored, or not.
    fn published(&self, _report: &PublishReport<'_>) {}

    /// A function was given events.
    fn invoked(&self, _report: &InvocationReport<'_>) {}

    /// Outcomes are in the store.
    fn committed(&self, _report: &CommitReport<'_>) {}

    /// The store did not take a commit, which is tried again or taken back.
    fn not_committed(&self, _at: Timestamp, _error: &StoreError) {}
}
