//! `[alerts]`: when a person is told.

use std::time::Duration;

use toml_edit::Item;

use tidegate_alerts::rules::RuleSettings;

use crate::config::elements::duration::PositiveDuration;
use crate::config::elements::number::{CountFromZero, Percent};
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting};

/// When a person is told, and how the link in a mail is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertsConfig {
    /// What the rules compare with.
    pub rules: RuleSettings,
    /// How often the rules look.
    pub evaluation_interval: Duration,
    /// What links begin with; by default the address of the HTTP front door.
    pub base_url: Option<String>,
    /// How long a link works.
    pub link_lifetime: Duration,
}

const DEAD_LETTERS_ABOVE: Key<CountFromZero> = Key::with_default(
    "dead_letters_above",
    "10",
    "More new dead letters of a function than this, within `dead_letters_within`, are told.",
);
const DEAD_LETTERS_WITHIN: Key<PositiveDuration> =
    Key::with_default("dead_letters_within", "\"10m\"", "The window of `dead_letters_above`.");
const DEAD_LETTER_AGE: Key<PositiveDuration> = Key::with_default(
    "dead_letter_age",
    "\"4h\"",
    "A dead letter that waits for a decision for longer than this is told.",
);
const STUCK_AFTER: Key<PositiveDuration> = Key::with_default(
    "stuck_after",
    "\"5m\"",
    "A partition that has work and makes no progress for so long is told.",
);
const SILENT_AFTER: Key<PositiveDuration> = Key::with_default(
    "silent_after",
    "\"5m\"",
    "A function that events arrive for, and that resolves none for so long, is told.",
);
const PARKING_PERCENT: Key<Percent> = Key::with_default(
    "parking_percent",
    "80",
    "A parking place that is filled to so many hundredths of its limits is told.",
);
const REPEAT_EVERY: Key<PositiveDuration> =
    Key::with_default("repeat_every", "\"4h\"", "How often an alert that lasts is told again.");
const SETTLE: Key<PositiveDuration> = Key::with_default(
    "settle",
    "\"2m\"",
    "How long all must be well before an alert is over: one that comes and goes is one alert.",
);
const EVALUATION_INTERVAL: Key<PositiveDuration> =
    Key::with_default("evaluation_interval", "\"15s\"", "How often the rules look.");
const BASE_URL: Key<BaseUrl> = Key::optional(
    "base_url",
    "the address of `[http]`",
    "What the link in a mail begins with: how those who read the mail reach this server, for example through a proxy.",
);
const LINK_LIFETIME: Key<PositiveDuration> = Key::with_default(
    "link_lifetime",
    "\"1d\"",
    "How long the link in a mail works. It restarts one function after one outage, once, and needs no key: the mail is the \
     key.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[alerts]",
    doc: "When a person is told. Whom: `[email.NAME]` and `[webhook.NAME]`; without one of them nobody is told, and what \
          would have been is kept for a day. Circuits that open and close are always told.",
    keys: &[
        &DEAD_LETTERS_ABOVE as &dyn KeyInfo,
        &DEAD_LETTERS_WITHIN,
        &DEAD_LETTER_AGE,
        &STUCK_AFTER,
        &SILENT_AFTER,
        &PARKING_PERCENT,
        &REPEAT_EVERY,
        &SETTLE,
        &EVALUATION_INTERVAL,
        &BASE_URL,
        &LINK_LIFETIME,
    ],
    example: "[alerts]\nbase_url = \"https://tide.example.com\"\ndead_letters_above = 50\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<AlertsConfig> {
    let (above, within) = (reader.get(&DEAD_LETTERS_ABOVE), reader.get(&DEAD_LETTERS_WITHIN));
    let (age, stuck) = (reader.get(&DEAD_LETTER_AGE), reader.get(&STUCK_AFTER));
    let (silent, percent) = (reader.get(&SILENT_AFTER), reader.get(&PARKING_PERCENT));
    let (repeat, settle) = (reader.get(&REPEAT_EVERY), reader.get(&SETTLE));
    let (interval, lifetime) = (reader.get(&EVALUATION_INTERVAL), reader.get(&LINK_LIFETIME));
    let base_url = reader.get_optional(&BASE_URL);
    let rules = RuleSettings {
        growing_above: above?.0,
        growing_within: within?.0,
        ageing_after: age?.0,
        stuck_after: stuck?.0,
        silent_after: silent?.0,
        parking_percent: percent?.0,
        repeat_every: repeat?.0,
        settle: settle?.0,
    };
    Some(AlertsConfig {
        rules,
        evaluation_interval: interval?.0,
        base_url: base_url?.map(|base_url| base_url.0),
        link_lifetime: lifetime?.0,
    })
}

/// The beginning of a link, without a slash at the end.
struct BaseUrl(String);

impl Setting for BaseUrl {
    const TYPE: &'static str = "an address that begins with `https://` or `http://`, without query";
    const EXAMPLE: &'static str = "\"https://tide.example.com\"";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let url = item.as_str().filter(|text| {
            let is_web = text.starts_with("https://") || text.starts_with("http://");
            let uri = text.parse::<axum::http::Uri>();
            is_web
                && uri
                    .is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()) && uri.query().is_none())
        });
        if url.is_none() {
            place.not_a::<Self>(item);
        }
        url.map(|url| Self(url.trim_end_matches('/').to_owned()))
    }
}
