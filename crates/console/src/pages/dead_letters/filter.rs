//! Which dead letters a page shows: read from its address, and written into the addresses that it leads to.

use std::collections::BTreeMap;
use std::time::Duration;

use maud::{Markup, html};

use tidegate_model::clock::Timestamp;

use crate::api::address;
use crate::components::controls;
use crate::form::Fields;
use crate::visit::Visit;

/// The conditions, under the names that the API has for them.
const NAMES: [&str; 11] = [
    "function",
    "hub",
    "partition",
    "from_sequence",
    "before_sequence",
    "key",
    "class",
    "cause",
    "since",
    "until",
    "status",
];

/// What is meant where no status is named: those that somebody has to decide.
const UNDECIDED: &str = "open,quarantined";

/// Conditions as they are in an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter(Vec<(&'static str, String)>);

impl Filter {
    /// Those of a page's address.
    pub(super) fn of(visit: &Visit) -> Self {
        Self::of_fields(&Fields::parse(visit.uri.query().unwrap_or_default().as_bytes()))
    }

    /// Those of a form.
    pub(super) fn of_fields(fields: &Fields) -> Self {
        let given = NAMES.into_iter().map(|name| (name, fields.text(name).trim().to_owned()));
        Self(given.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// One condition.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The same with another condition.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut filter = self.without(name);
        if let Some(name) = NAMES.into_iter().find(|known| *known == name) {
            filter.0.push((name, value.to_owned()));
        }
        filter
    }

    /// The same without one.
    pub(super) fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(known, _)| *known != name).cloned().collect())
    }

    /// Whether it leaves out some of those that wait for a decision.
    pub(super) fn is_narrow(&self) -> bool {
        !self.0.is_empty()
    }

    /// What those that match are, as the name of their number.
    pub(super) fn meaning(&self) -> &'static str {
        match self.get("status") {
            None => "Wait for a decision",
            Some("all") => "In all",
            Some("open") => "Open",
            Some("quarantined") => "Quarantined",
            Some("redriving") => "Being redriven",
            Some("redriven") => "Redriven",
            Some("discarded") => "Discarded",
            Some(_) => "Match",
        }
    }

    /// The address of a page with these conditions; `more` is added, and takes the place of conditions of its names.
    pub(super) fn address(&self, path: &str, more: &[(&str, Option<&str>)]) -> String {
        let own = self.0.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        let mut query: Vec<(&str, Option<&str>)> =
            own.map(|(name, value)| (*name, Some(value.as_str()))).collect();
        query.extend_from_slice(more);
        address(path, &query)
    }

    /// The conditions for the API. Lengths of time become points in time.
    pub(super) fn conditions(&self, now: Timestamp) -> BTreeMap<String, String> {
        let told = |name: &str, value: &str| match name {
            "since" | "until" => moment(value, now),
            _ => value.to_owned(),
        };
        self.0.iter().map(|(name, value)| ((*name).to_owned(), told(name, value))).collect()
    }

    /// The query for the API. Lengths of time become points in time.
    pub(super) fn api_query(&self, now: Timestamp) -> String {
        let mut query: Vec<(&str, String)> = Vec::new();
        for (name, value) in &self.0 {
            match *name {
                "since" | "until" => query.push((name, moment(value, now))),
                "status" if value == "all" => {}
                name => query.push((name, value.clone())),
            }
        }
        if self.get("status").is_none() {
            query.push(("status", UNDECIDED.to_owned()));
        }
        let query: Vec<(&str, Option<&str>)> =
            query.iter().map(|(name, value)| (*name, Some(value.as_str()))).collect();
        address("", &query).trim_start_matches('?').to_owned()
    }

    /// As hidden fields of a form.
    pub(super) fn hidden(&self) -> Markup {
        html! { @for (name, value) in &self.0 { input type="hidden" name=(name) value=(value); } }
    }

    /// In words, for what is about to be done.
    pub(super) fn in_words(&self) -> Markup {
        html! {
            @if self.0.is_empty() { "all that wait for a decision" }
            @for (nth, (name, value)) in self.0.iter().enumerate() {
                @if nth > 0 { ", " }
                (name.replace('_', " ")) " " code { (value) }
            }
        }
    }

    /// Links to the same page with each status.
    pub(super) fn status_tabs(&self, path: &str) -> Markup {
        let current = self.get("status");
        let tab = |name, status: Option<&'static str>| {
            (name, self.address(path, &[("status", status)]), current == status)
        };
        controls::tabs(
            "Status",
            &[
                tab("Wait for a decision", None),
                tab("Being redriven", Some("redriving")),
                tab("Redriven", Some("redriven")),
                tab("Discarded", Some("discarded")),
                tab("All", Some("all")),
            ],
        )
    }

    /// The form that changes it.
    pub(super) fn form(&self, is_list: bool) -> Markup {
        let choices = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(sent, shown)| ((*sent).to_owned(), (*shown).to_owned())).collect()
        };
        let statuses = choices(&[
            ("", "wait for a decision"),
            ("open", "open"),
            ("quarantined", "quarantined"),
            ("redriving", "being redriven"),
            ("redriven", "redriven"),
            ("discarded", "discarded"),
            ("replayed", "replayed"),
            ("all", "all"),
        ]);
        let classes = choices(&[("", "any"), ("permanent", "permanent"), ("exhausted", "exhausted")]);
        let more =
            ["hub", "partition", "cause", "since", "until"].iter().any(|name| self.get(name).is_some());
        controls::filter(
            "/dead-letters",
            &html! {
                @if is_list { input type="hidden" name="view" value="list"; }
                (controls::choice("status", "Status", self.get("status"), &statuses))
                (controls::field("function", "Function", self.get("function"), "any"))
                (controls::choice("class", "Class", self.get("class"), &classes))
                (controls::field("key", "Key", self.get("key"), "any"))
                details class="more" open[more] {
                    summary { "More" }
                    div {
                        (controls::field("hub", "Hub", self.get("hub"), "any"))
                        (controls::field("partition", "Partition", self.get("partition"), "any"))
                        (controls::field("since", "Set aside since", self.get("since"), "24h, or 2026-01-31T12:00:00Z"))
                        (controls::field("until", "and before", self.get("until"), "1h, or 2026-01-31T12:00:00Z"))
                        (controls::field("cause", "Cause", self.get("cause"), "16 hexadecimal digits"))
                    }
                }
            },
        )
    }
}

/// A time as the API takes it: `24h` is so long before now. What is neither goes as it is, and the API says what is wrong.
fn moment(text: &str, now: Timestamp) -> String {
    let unit = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    };
    let seconds = text.char_indices().next_back().and_then(|(at, last)| {
        let number: u64 = text[..at].parse().ok()?;
        number.checked_mul(unit(last)?)
    });
    match seconds {
        Some(seconds) => now.minus(Duration::from_secs(seconds)).to_string(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query: &str) -> Filter {
        Filter::of_fields(&Fields::parse(query.as_bytes()))
    }

    #[test]
    fn conditions_go_from_the_address_to_the_api() {
        let now = Timestamp::from_millis(86_400_000);
        let found = filter("function=a+b&key=%26x&since=1h&until=1970-01-01T00:00:01Z&view=list&odd=1");
        assert_eq!(
            found.api_query(now),
            "function=a%20b&key=%26x&since=1970-01-01T23%3A00%3A00.000Z&until=1970-01-01T00%3A00%3A01Z&status=open%2Cquarantined"
        );
        assert_eq!(filter("status=all").api_query(now), "");
        assert_eq!(filter("since=soon").api_query(now), "since=soon&status=open%2Cquarantined");
        assert_eq!(filter("since=%C3%A9").api_query(now), "since=%C3%A9&status=open%2Cquarantined");
    }

    #[test]
    fn addresses_keep_what_is_not_replaced() {
        let found = filter("function=f&status=all");
        assert_eq!(
            found.address("/x", &[("status", None), ("view", Some("list"))]),
            "/x?function=f&view=list"
        );
        assert_eq!(found.with("function", "g").get("function"), Some("g"));
        assert_eq!(found.without("function").get("function"), None);
        assert!(!filter("").is_narrow());
    }
}
