//! What happened, line by line.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::executor::Executor;

/// The trace of a run. Clones are the same one. Two runs of a seed have the same bytes in it.
#[derive(Clone)]
pub(crate) struct Trace {
    executor: Executor,
    text: Arc<Mutex<String>>,
}

impl Trace {
    /// An empty trace with the executor's time.
    pub(crate) fn new(executor: &Executor) -> Self {
        Self { executor: executor.clone(), text: Arc::default() }
    }

    /// Adds a line: who did what.
    pub(crate) fn note(&self, who: &str, what: std::fmt::Arguments<'_>) {
        let (now, polls) = (self.executor.now(), self.executor.polls());
        let mut text = self.text.lock();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:>10.4} {polls:>6} {who:<10} {what}", now.as_secs_f64());
    }

    /// The time that the lines are noted at.
    pub(crate) fn now(&self) -> Duration {
        self.executor.now()
    }

    /// All lines.
    pub(crate) fn text(&self) -> String {
        self.text.lock().clone()
    }
}
