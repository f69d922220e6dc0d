//! Where `tracing` hands its events over.

use std::io::Write as _;

use tidegate_model::clock::SharedClock;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::inbox::Inbox;
use super::line::line_of;

/// Makes lines of events and hands them to a sink.
pub struct LogLayer<T> {
    sink: T,
    clock: SharedClock,
}

impl<T: Sink> LogLayer<T> {
    /// A layer whose lines are dated by `clock`.
    pub fn new(sink: T, clock: SharedClock) -> Self {
        Self { sink, clock }
    }
}

/// Takes lines. It must not log itself.
pub trait Sink: Send + Sync + 'static {
    /// Takes a line, without its end.
    fn take(&self, line: String);
}

impl Sink for Inbox {
    fn take(&self, line: String) {
        self.put(line);
    }
}

/// Writes lines to standard error.
#[derive(Clone, Copy, Debug)]
pub struct StandardError;

impl Sink for StandardError {
    fn take(&self, mut line: String) {
        line.push('\n');
        // Nobody is left to tell if standard error is closed.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

impl<T: Sink, S: Subscriber> Layer<S> for LogLayer<T> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.sink.take(line_of(event, self.clock.now()));
    }
}
