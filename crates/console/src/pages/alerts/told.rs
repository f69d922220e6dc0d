//! Who was told of what, who could not be told yet, and why.

use maud::{Markup, html};

use tidegate_api::{Alert, Notice, NoticeDelivery};

use crate::components::mark::{Tone, mark};
use crate::components::table::{heads, table};
use crate::components::time::ago;
use crate::text;
use crate::visit::Visit;

/// The most characters of an error that are shown.
const SHORT: usize = 200;

/// The notices that an alert led to, the newest first. Pure.
///
/// A notice does not name its alert: it is of the same kind and subject, and from the time of the alert.
pub(super) fn of<'n>(alert: &Alert, notices: &'n [Notice]) -> Vec<&'n Notice> {
    let is_of_kind = |notice: &Notice| match alert.kind.as_str() {
        "circuit" => notice.kind.starts_with("circuit."),
        kind => notice.kind == kind,
    };
    let in_time =
        |notice: &Notice| notice.at >= alert.since && alert.ended_at.is_none_or(|end| notice.at <= end);
    notices
        .iter()
        .filter(|notice| notice.subject == alert.subject && is_of_kind(notice) && in_time(notice))
        .collect()
}

/// How a delivery stands: its tone and its word.
fn standing(delivery: &NoticeDelivery) -> (Tone, &str) {
    match delivery.state.as_str() {
        "delivered" => (Tone::Calm, "delivered"),
        "given-up" => (Tone::Act, "given up"),
        "due" => (Tone::Watch, "tried again"),
        other => (Tone::Watch, other),
    }
}

/// What happened, in words.
pub(super) fn words(kind: &str) -> String {
    kind.replace(['.', '-'], " ")
}

/// The deliveries of an alert, in a few lines.
pub(super) fn brief(visit: &Visit, notices: &[&Notice]) -> Markup {
    html! {
        @if !notices.is_empty() {
            ul class="told" {
                @for notice in notices {
                    @for delivery in &notice.deliveries {
                        li {
                            (mark(standing(delivery).0, standing(delivery).1)) " "
                            span class="w" { (words(&notice.kind)) " to " (delivery.target) } " "
                            (when(visit, delivery))
                        }
                    }
                    @if notice.deliveries.is_empty() { li class="small" { (words(&notice.kind)) ": nobody was told yet" } }
                }
            }
        }
    }
}

/// How an alert's deliveries went, in a few words.
pub(super) fn counted(notices: &[&Notice]) -> String {
    let all = || notices.iter().flat_map(|notice| &notice.deliveries);
    let many = |state: &str| all().filter(|delivery| delivery.state == state).count();
    let parts = [("delivered", "delivered"), ("due", "being tried"), ("given-up", "given up")];
    let parts: Vec<String> = (parts.into_iter())
        .map(|(state, word)| (many(state), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if parts.is_empty() { text::NOTHING.to_owned() } else { parts.join(", ") }
}

fn when(visit: &Visit, delivery: &NoticeDelivery) -> Markup {
    html! {
        small {
            (ago(delivery.at, visit.now))
            @if delivery.tries != 1 { ", tried " (text::counted(u64::from(delivery.tries), "time", "times")) }
            @if let Some(error) = &delivery.error { ": " span class="w" { (text::shortened(error, SHORT)) } }
        }
    }
}

/// Every notice with its deliveries.
pub(super) fn listed(visit: &Visit, notices: &[Notice]) -> Markup {
    if notices.is_empty() {
        return html! { p class="small" { "Nothing was to be told in the last day." } };
    }
    let rows = html! {
        @for notice in notices {
            @for (nth, delivery) in notice.deliveries.iter().enumerate() {
                @let (tone, word) = standing(delivery);
                tr class=[(tone == Tone::Act).then_some("act")] {
                    @if nth == 0 { (first(visit, notice)) } @else { td {} }
                    td { (delivery.target) }
                    td { (mark(tone, word)) " " small { (ago(delivery.at, visit.now)) } }
                    td class="n wide" { (delivery.tries) }
                    td class="w" {
                        @match &delivery.error { Some(error) => (text::shortened(error, SHORT)), None => span class="nothing" { (text::NOTHING) } }
                    }
                }
            }
            @if notice.deliveries.is_empty() {
                tr { (first(visit, notice)) td { span class="nothing" { (text::NOTHING) } } td { "nobody was told yet" } td class="n wide" { "0" } td { span class="nothing" { (text::NOTHING) } } }
            }
        }
    };
    html! {
        (table("What was told", &head(), &rows))
        p class="small" {
            "A notice is kept for a day after the last target has it."
            @if notices.iter().all(|notice| notice.deliveries.is_empty()) {
                " Nobody was told of any of these: people are told by mail or webhook, once the tables "
                code { "[email.NAME]" } " or " code { "[webhook.NAME]" } " are in the configuration."
            }
        }
    }
}

fn head() -> Markup {
    html! { (heads(&["What", "To", "How it went"])) th scope="col" class="n wide" { "Tries" } (heads(&["Last error"])) }
}

fn first(visit: &Visit, notice: &Notice) -> Markup {
    html! {
        th scope="row" class="w" { (words(&notice.kind)) ": " (notice.subject) br; small { (ago(notice.at, visit.now)) } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn alert(kind: &str, subject: &str, since: &str, ended_at: Option<&str>) -> Alert {
        let alert = json!({ "id": "1", "kind": kind, "subject": subject, "since": since, "what": "", "severity": "critical",
            "open": ended_at.is_none(), "ended_at": ended_at, "stage": null, "steps": [] });
        serde_json::from_value(alert).unwrap()
    }

    fn notice(id: u64, kind: &str, subject: &str, at: &str, states: &[&str]) -> Notice {
        let deliveries: Vec<_> = states
            .iter()
            .map(|state| json!({ "target": "ops", "state": state, "at": at, "tries": 1, "error": null }))
            .collect();
        let notice =
            json!({ "id": id, "kind": kind, "subject": subject, "at": at, "deliveries": deliveries });
        serde_json::from_value(notice).unwrap()
    }

    #[test]
    fn an_alert_has_the_notices_of_its_kind_subject_and_time() {
        let notices = [
            notice(6, "circuit.closed", "weather", "2026-01-01T00:09:00Z", &["delivered", "due"]),
            notice(5, "circuit.probe-failed", "weather", "2026-01-01T00:06:00Z", &[]),
            notice(4, "circuit.opened", "aircraft", "2026-01-01T00:05:00Z", &["delivered"]),
            notice(3, "dead-letters.growing", "weather", "2026-01-01T00:05:00Z", &["given-up"]),
            notice(2, "circuit.opened", "weather", "2026-01-01T00:05:00Z", &["delivered"]),
            notice(1, "circuit.closed", "weather", "2026-01-01T00:04:00Z", &["delivered"]),
        ];
        let ids = |alert: Alert| of(&alert, &notices).iter().map(|notice| notice.id).collect::<Vec<_>>();
        let outage = |end| alert("circuit", "weather", "2026-01-01T00:05:00Z", end);
        assert_eq!(ids(outage(Some("2026-01-01T00:09:00Z"))), [6, 5, 2]);
        assert_eq!(ids(outage(Some("2026-01-01T00:08:00Z"))), [5, 2]);
        assert_eq!(ids(alert("dead-letters.growing", "weather", "2026-01-01T00:00:00Z", None)), [3]);
        let told: Vec<&Notice> = notices.iter().collect();
        assert_eq!(counted(&told), "4 delivered, 1 being tried, 1 given up");
        assert_eq!(counted(&told[1..2]), text::NOTHING);
    }
}
