//! `circuit = { … }`: when a function is stopped because what it depends on is away, and how it starts again.

use std::time::Duration;

use toml_edit::Item;

use tidegate_host::circuit::{CircuitSettings, ProbePolicy};

use crate::config::elements::duration::PositiveDuration;
use crate::config::elements::number::{Count, Ratio};
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting, word_setting};

/// Who finds out whether it can close again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Probe {
    Automatic,
    Manual,
}

word_setting!(
    Probe: "one of \"automatic\", \"manual\"" { Automatic = "automatic", Manual = "manual" }
    example "\"automatic\""
);

const ENABLED: Key<bool> = Key::with_default(
    "enabled",
    "true",
    "Whether it opens by itself. If not, it opens only by hand; one that is open is probed and closes all the same.",
);
const THRESHOLD: Key<Count> = Key::with_default(
    "threshold",
    "100",
    "More failures than this within `window`, in all partitions together, open it: events that began to fail, or whose \
     attempts are used up. A key that goes on failing while others succeed counts once.",
);
const WINDOW: Key<PositiveDuration> = Key::with_default(
    "window",
    "\"30s\"",
    "How far back failures and successes are counted: whole seconds, an hour at most.",
);
const MINIMUM_VOLUME: Key<Count> = Key::with_default(
    "minimum_volume",
    "20",
    "With fewer events in the window, successes and failures together, their ratio says nothing.",
);
const FAILURE_RATIO: Key<Ratio> =
    Key::with_default("failure_ratio", "0.5", "Which share of the events in the window must have failed.");
const PROBE: Key<Probe> = Key::with_default(
    "probe",
    "\"automatic\"",
    "Who finds out whether it can close again: \"automatic\" lets one event through now and then, \"manual\" waits for a \
     person. A person can probe and close it in either case.",
);
const PROBE_AFTER: Key<PositiveDuration> = Key::with_default(
    "probe_after",
    "\"30s\"",
    "How long after it opened the first probe is made; the time doubles with each probe that fails. Only with probe \
     \"automatic\".",
);
const PROBE_LONGEST: Key<PositiveDuration> = Key::with_default(
    "probe_longest",
    "\"5m\"",
    "The longest time between two probes. Only with probe \"automatic\".",
);
const PROBE_TIMEOUT: Key<PositiveDuration> =
    Key::with_default("probe_timeout", "\"60s\"", "How long a probe may take; then it has failed.");
const RAMP: Key<Duration> = Key::with_default(
    "ramp",
    "\"10s\"",
    "How long the batches grow from one event to their full size after it closed; \"0s\" for full size at once.",
);
const STEP_ASIDE: Key<Duration> = Key::with_default(
    "step_aside",
    "\"60s\"",
    "How long an instance that is sick alone leaves its partitions to others; with \"0s\", or where `[processor]` says that \
     there is one instance, the circuit opens instead.",
);
const POLL_INTERVAL: Key<PositiveDuration> = Key::with_default(
    "poll_interval",
    "\"1s\"",
    "How often the store is asked: what a person or another instance decides is known after that time at most.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "circuit = { … }",
    doc: "The circuit breaker of a function, a table within `[function.NAME]`; or of what functions need, within \
          `[dependency.NAME]`. While it is open nothing is fetched for the \
          function, no attempt is used up and nothing becomes a dead letter; events are stored and wait. `tidegate circuit` \
          shows and moves it, and `[email.NAME]` or `[webhook.NAME]` tell when it opens. The defaults are those of Azure's \
          \"reliable event processing with Azure Functions\": more than 100 failures within 30 s.",
    keys: &[
        &ENABLED as &dyn KeyInfo,
        &THRESHOLD,
        &WINDOW,
        &MINIMUM_VOLUME,
        &FAILURE_RATIO,
        &PROBE,
        &PROBE_AFTER,
        &PROBE_LONGEST,
        &PROBE_TIMEOUT,
        &RAMP,
        &STEP_ASIDE,
        &POLL_INTERVAL,
    ],
    example: "circuit = { threshold = 50, window = \"20s\", probe_after = \"15s\" }\n",
};

impl Setting for CircuitSettings {
    const TYPE: &'static str = "a table, see [circuit](#circuit----)";
    const EXAMPLE: &'static str = "{ threshold = 50, window = \"20s\", probe_after = \"15s\" }";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        if item.as_table_like().is_none() {
            place.wrong(item, "expected a table", Self::EXAMPLE);
            return None;
        }
        let header = format!("`circuit` of {}", place.table);
        let mut reader = Reader::new(&ELEMENT, header, item, item.span(), place.issues)?;
        let reader = &mut reader;
        let (enabled, threshold, window) =
            (reader.get(&ENABLED), reader.get(&THRESHOLD), reader.get(&WINDOW));
        let (minimum_volume, failure_ratio) = (reader.get(&MINIMUM_VOLUME), reader.get(&FAILURE_RATIO));
        let (probe, after, longest) =
            (reader.get(&PROBE), reader.get(&PROBE_AFTER), reader.get(&PROBE_LONGEST));
        let (probe_timeout, ramp) = (reader.get(&PROBE_TIMEOUT), reader.get(&RAMP));
        let (step_aside, poll_interval) = (reader.get(&STEP_ASIDE), reader.get(&POLL_INTERVAL));
        let probe = match probe? {
            Probe::Automatic => ProbePolicy::Automatic { after: after?.0, longest: longest?.0 },
            Probe::Manual => {
                refuse_times_of_probes(reader);
                ProbePolicy::Manual
            }
        };
        let settings = Self {
            enabled: enabled?,
            threshold: threshold?.0,
            window: window?.0,
            minimum_volume: minimum_volume?.0,
            failure_ratio: failure_ratio?.0,
            probe,
            probe_timeout: probe_timeout?.0,
            ramp: ramp?,
            step_aside: step_aside?,
            poll_interval: poll_interval?.0,
        };
        match settings.validate() {
            Ok(()) => Some(settings),
            Err(cause) => {
                let at = if matches!(probe, ProbePolicy::Automatic { after, longest } if after > longest) {
                    reader.span_of(&PROBE_AFTER)
                } else {
                    reader.span_of(&WINDOW)
                };
                reader.contradiction(
                    at,
                    &cause.to_string(),
                    format!("for example {}", ELEMENT.example.trim_end()),
                );
                None
            }
        }
    }
}

/// A key that nobody looks at is a misunderstanding, not a detail.
fn refuse_times_of_probes(reader: &mut Reader<'_, '_>) {
    for key in [&PROBE_AFTER, &PROBE_LONGEST] {
        if reader.has(key) {
            let at = reader.span_of(key);
            let message = format!("`{}` has no meaning with probe = \"manual\"", key.name());
            reader.contradiction(at, &message, "remove it, or let it probe by itself: probe = \"automatic\"");
        }
    }
}
