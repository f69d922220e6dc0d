//! Keeps lines in a directory, and finds them again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tidegate_model::clock::SharedClock;

use super::inbox::Inbox;
use super::line;
use super::search::{Found, LogQuery, search};
use super::segment::Segments;

/// Lines that are kept. While it is there, a thread writes what comes into its inbox.
pub struct LogStore {
    dir: PathBuf,
    inbox: Inbox,
    writer: u64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Lines cannot be kept, or found.
#[derive(Debug, thiserror::Error)]
#[error("the log lines in {dir} cannot be {what}: {error}")]
pub struct LogStoreError {
    dir: String,
    what: &'static str,
    error: std::io::Error,
}

impl LogStore {
    /// Keeps about `keep` bytes of what comes into the inbox, in `dir`. Another store that did so ends.
    ///
    /// # Errors
    /// When the directory cannot be made or read, or there is no thread.
    pub fn open(dir: &Path, keep: u64, inbox: Inbox, clock: SharedClock) -> Result<Arc<Self>, LogStoreError> {
        let failed = |error| LogStoreError { dir: dir.display().to_string(), what: "kept", error };
        let segments = Segments::open(dir, keep).map_err(failed)?;
        let writer = inbox.new_writer();
        let thread = std::thread::Builder::new().name("log-lines".to_owned());
        let thread = thread.spawn({
            let inbox = inbox.clone();
            move || write(&inbox, writer, segments, &clock)
        });
        let thread = Mutex::new(Some(thread.map_err(failed)?));
        Ok(Arc::new(Self { dir: dir.to_owned(), inbox, writer, thread }))
    }

    /// Finds lines, also those that were logged just now. It reads files, so it blocks.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn search(&self, query: &LogQuery) -> Result<Found, LogStoreError> {
        self.inbox.flush(self.writer);
        search(&self.dir, query).map_err(|error| LogStoreError {
            dir: self.dir.display().to_string(),
            what: "read",
            error,
        })
    }

    /// Writes what has come so far, and ends.
    pub fn close(&self) {
        self.inbox.end_writer(self.writer);
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread is no reason to panic as well.
            let _ = thread.join();
        }
    }
}

/// Finds the lines in a directory that nobody writes to now. Where there is none, there are none.
///
/// # Errors
/// When the files cannot be read.
pub fn search_in(dir: &Path, query: &LogQuery) -> Result<Found, LogStoreError> {
    match search(dir, query) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Found { lines: Vec::new(), next: None })
        }
        found => found.map_err(|error| LogStoreError { dir: dir.display().to_string(), what: "read", error }),
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// The thread. It must not log: it would have itself to write that.
fn write(inbox: &Inbox, writer: u64, mut segments: Segments, clock: &SharedClock) {
    while let Some(taken) = inbox.take(writer) {
        let many = taken.lines.len() as u64;
        let told = (taken.dropped > 0).then(|| {
            let mut fields = serde_json::Map::new();
            fields.insert("dropped".to_owned(), taken.dropped.into());
            line::line(clock.now(), "warn", module_path!(), "lines before this one were dropped", fields)
        });
        // On a full disk lines are lost: nobody waits for them.
        let _ = segments.write(told.iter().chain(&taken.lines).map(String::as_str));
        inbox.done(many);
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::SystemClock;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::LogLayer;
    use super::super::segment::{numbers_in, path_of};
    use super::*;

    fn messages(store: &LogStore, query: &LogQuery) -> Vec<String> {
        store.search(query).unwrap().lines.into_iter().map(|line| line.message).collect()
    }

    fn all() -> LogQuery {
        LogQuery { limit: 1000, ..LogQuery::default() }
    }

    #[test]
    fn what_is_logged_is_found_newest_first_with_its_fields() {
        let (dir, inbox, clock) = (tempfile::tempdir().unwrap(), Inbox::default(), SystemClock::shared());
        let subscriber = tracing_subscriber::registry().with(LogLayer::new(inbox.clone(), clock.clone()));
        let store = tracing::subscriber::with_default(subscriber, || {
            tracing::info!("before there was a place for it");
            let store = LogStore::open(dir.path(), 1 << 20, inbox.clone(), clock.clone()).unwrap();
            tracing::warn!(lane = %"fold/flights/3", sequence_number = 17, key = "k", "an event failed");
            tracing::info!(lane = %"fold/flights/3", first = 10, last = 20, "a batch");
            store
        });
        assert_eq!(
            messages(&store, &all()),
            ["a batch", "an event failed", "before there was a place for it"]
        );
        let of_event = LogQuery {
            function: Some("fold".to_owned()),
            partition: Some(3),
            sequence_number: Some(17),
            ..all()
        };
        assert_eq!(messages(&store, &of_event), ["a batch", "an event failed"]);
        let found = store.search(&LogQuery { key: Some("k".to_owned()), ..all() }).unwrap();
        assert_eq!(found.lines[0].fields["hub"], "flights");
        assert_eq!(found.lines[0].target, module_path!());
        assert_eq!(found.lines[0].level, "warn");
    }

    #[test]
    fn pages_follow_each_other_over_segments() {
        let (dir, inbox, clock) = (tempfile::tempdir().unwrap(), Inbox::default(), SystemClock::shared());
        let store = LogStore::open(dir.path(), 1 << 20, inbox.clone(), clock.clone()).unwrap();
        let many = 2000;
        for n in 0..many {
            inbox.put(line::line(
                clock.now(),
                "info",
                "t",
                &format!("{n} {}", "x".repeat(200)),
                Default::default(),
            ));
            if n % 500 == 0 {
                inbox.flush(store.writer);
            }
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let found = store.search(&LogQuery { after, limit: 77, ..LogQuery::default() }).unwrap();
            seen.extend(
                found
                    .lines
                    .iter()
                    .map(|line| line.message.split(' ').next().unwrap().parse::<i32>().unwrap()),
            );
            after = found.next;
            if after.is_none() {
                break;
            }
        }
        assert!(numbers_in(dir.path()).unwrap().len() > 2);
        assert_eq!(seen, (0..many).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_torn_last_line_is_skipped_and_the_next_life_goes_on_behind_it() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), SystemClock::shared());
        let say = |words: &str| line::line(clock.now(), "info", "t", words, Default::default());
        let inbox = Inbox::default();
        let store = LogStore::open(dir.path(), 1 << 20, inbox.clone(), clock.clone()).unwrap();
        inbox.put(say("whole"));
        store.close();
        let path = path_of(dir.path(), *numbers_in(dir.path()).unwrap().last().unwrap());
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..whole.len() {
            let torn = [&whole[..], &whole[..cut]].concat();
            std::fs::write(&path, torn).unwrap();
            assert_eq!(messages(&store, &all()), ["whole"], "cut at {cut}");
        }
        let inbox = Inbox::default();
        let store = LogStore::open(dir.path(), 1 << 20, inbox.clone(), clock.clone()).unwrap();
        inbox.put(say("next"));
        assert_eq!(messages(&store, &all()), ["next", "whole"]);
    }

    #[test]
    fn a_search_in_time_ends_where_everything_is_older() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), SystemClock::shared());
        for life in 0..3_i64 {
            let inbox = Inbox::default();
            let store = LogStore::open(dir.path(), 1 << 20, inbox.clone(), clock.clone()).unwrap();
            for n in 0..3_i64 {
                let at = tidegate_model::clock::Timestamp::from_millis(life * 10 + n);
                inbox.put(line::line(at, "info", "t", &format!("{life} {n}"), Default::default()));
            }
            store.close();
        }
        let inbox = Inbox::default();
        let store = LogStore::open(dir.path(), 1 << 20, inbox, clock).unwrap();
        let since = |ms| LogQuery { since: Some(tidegate_model::clock::Timestamp::from_millis(ms)), ..all() };
        assert_eq!(messages(&store, &since(21)), ["2 2", "2 1"]);
        assert_eq!(messages(&store, &since(12)), ["2 2", "2 1", "2 0", "1 2"]);
        assert_eq!(messages(&store, &since(0)).len(), 9);
    }
}
