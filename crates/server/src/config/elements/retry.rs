//! `retry = { … }`: what happens when an event fails for a reason that may pass.

use std::time::Duration;

use toml_edit::Item;

use tidegate_host::retry::RetryPolicy;

use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting, word_setting};

/// How the pauses between attempts grow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strategy {
    Exponential,
    Fixed,
}

word_setting!(
    Strategy: "one of \"exponential\", \"fixed\"" { Exponential = "exponential", Fixed = "fixed" }
    example "\"exponential\""
);

const STRATEGY: Key<Strategy> = Key::required(
    "strategy",
    "\"exponential\" doubles the pause with each failure, \"fixed\" keeps it the same.",
);
const MAX_ATTEMPTS: Key<MaxAttempts> = Key::with_default(
    "max_attempts",
    "5",
    "How often an event is tried in all, the first try included. When they are used up the event becomes a dead letter.",
);
const MIN_INTERVAL: Key<Duration> = Key::with_default(
    "min_interval",
    "\"200ms\"",
    "The pause after the first failure; only with \"exponential\".",
);
const MAX_INTERVAL: Key<Duration> =
    Key::with_default("max_interval", "\"30s\"", "The longest pause; only with \"exponential\".");
const DELAY: Key<Duration> =
    Key::with_default("delay", "\"1s\"", "The pause between two attempts; only with \"fixed\".");

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "retry = { … }",
    doc: "The retry policy of a function, a table within `[function.NAME]`. It is about failures that may pass, such as a \
          downstream that does not answer. An event that can never be processed becomes a dead letter at once.",
    keys: &[&STRATEGY as &dyn KeyInfo, &MAX_ATTEMPTS, &MIN_INTERVAL, &MAX_INTERVAL, &DELAY],
    example: "retry = { strategy = \"exponential\", max_attempts = 4, min_interval = \"100ms\", max_interval = \"10s\" }\n",
};

impl Setting for RetryPolicy {
    const TYPE: &'static str = "a table, see [retry](#retry----)";
    const EXAMPLE: &'static str =
        "{ strategy = \"exponential\", max_attempts = 4, min_interval = \"100ms\", max_interval = \"10s\" }";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        if item.as_table_like().is_none() {
            place.wrong(item, "expected a table", Self::EXAMPLE);
            return None;
        }
        let header = format!("`retry` of {}", place.table);
        let mut reader = Reader::new(&ELEMENT, header, item, item.span(), place.issues)?;
        let strategy = reader.get(&STRATEGY);
        let max_attempts = reader.get(&MAX_ATTEMPTS);
        let intervals = (reader.get(&MIN_INTERVAL), reader.get(&MAX_INTERVAL), reader.get(&DELAY));
        let (strategy, max_attempts) = (strategy?, max_attempts?.0);
        let (min_interval, max_interval, delay) = (intervals.0?, intervals.1?, intervals.2?);
        refuse_keys_of_the_other(strategy, &mut reader);
        if strategy == Strategy::Exponential && min_interval > max_interval {
            let at = reader.span_of(&MIN_INTERVAL);
            reader.contradiction(at, "`min_interval` is above `max_interval`", "exchange them");
            return None;
        }
        Some(match strategy {
            Strategy::Exponential => Self::ExponentialBackoff { max_attempts, min_interval, max_interval },
            Strategy::Fixed => Self::FixedDelay { max_attempts, delay },
        })
    }
}

/// A key that the chosen strategy does not look at is a misunderstanding, not a detail.
fn refuse_keys_of_the_other(strategy: Strategy, reader: &mut Reader<'_, '_>) {
    let (name, ignored): (&str, &[&Key<Duration>]) = match strategy {
        Strategy::Exponential => ("exponential", &[&DELAY]),
        Strategy::Fixed => ("fixed", &[&MIN_INTERVAL, &MAX_INTERVAL]),
    };
    for key in ignored {
        if reader.has(key) {
            let at = reader.span_of(key);
            let message = format!("`{}` has no meaning with strategy = \"{name}\"", key.name());
            reader.contradiction(at, &message, "remove it, or choose the other strategy");
        }
    }
}

/// How often an event is tried; `None` is without a limit.
struct MaxAttempts(Option<u32>);

impl Setting for MaxAttempts {
    const TYPE: &'static str = "a whole number from 1 to 1000000, or \"unlimited\"";
    const EXAMPLE: &'static str = "4";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        if item.as_str() == Some("unlimited") {
            return Some(Self(None));
        }
        let count = item.as_integer().filter(|count| (1..=1_000_000).contains(count));
        if count.is_none() {
            place.not_a::<Self>(item);
        }
        count.and_then(|count| u32::try_from(count).ok()).map(|count| Self(Some(count)))
    }
}
