//! Alerts: what a person should look at, what is over, and who was told.

mod told;

use maud::{Markup, html};

use tidegate_api::{Alert, Notice, Overview};

use crate::api::{Listing, address, encoded};
use crate::components::mark::{Tone, mark, shape};
use crate::components::notice::empty;
use crate::components::table::{heads, table};
use crate::components::time::{ago, ago_if};
use crate::page::{Page, Section};
use crate::pages::circuits::outage_lines;
use crate::pages::overview::{Concern, concerns};
use crate::problem::Outcome;
use crate::text;
use crate::visit::Visit;

/// Alerts that are over, on the page.
const PAST: usize = 100;

/// The newest notices that are asked for.
const NOTICES: &str = "200";

/// Notices on the page.
const TOLD: usize = 50;

/// The page.
pub(super) async fn show(visit: Visit) -> Outcome<Page> {
    let found: Listing<Alert> = visit.api.get("/api/v1/alerts").await?;
    let overview: Overview = visit.api.get("/api/v1/overview").await?;
    let notices: Listing<Notice> =
        visit.api.get(&address("/api/v1/notices", &[("limit", Some(NOTICES))])).await?;
    let mut notices = notices.items;
    let subject = visit.parameter("subject");
    notices.retain(|notice| subject.as_ref().is_none_or(|subject| notice.subject == *subject));
    let meant = |alert: &&Alert| subject.as_ref().is_none_or(|subject| alert.subject == *subject);
    let (open, past): (Vec<&Alert>, Vec<&Alert>) =
        found.items.iter().filter(meant).partition(|alert| alert.open);
    let mut page = Page::new(Section::Alerts, "Alerts");
    // What an alert says already is not said again.
    let mut conditions = concerns(&overview);
    conditions.retain(|concern| {
        let about = concern.function.as_deref();
        concern.tone > Tone::Busy
            && subject.as_deref().is_none_or(|subject| about == Some(subject))
            && !open.iter().any(|alert| {
                alert.kind == "circuit"
                    && concern.address.starts_with("/circuits")
                    && about == Some(&alert.subject)
            })
    });
    let open = page.live("open", open_alerts(&visit, &open, &conditions, &notices));
    let past = page.live("past", past_alerts(&visit, &past, &notices));
    let told = page.live(
        "told",
        html! {
            (told::listed(&visit, &notices[..notices.len().min(TOLD)]))
            @if notices.len() > TOLD { p class="small" { "and older ones" } }
        },
    );
    Ok(page.body(html! {
        @if let Some(subject) = &subject { p { "Only about " code { (subject) } ". " a href="/alerts" { "All alerts" } } }
        h2 { "Now" }
        (open)
        h2 { "Over" }
        (past)
        h2 { "Who was told" }
        (told)
        p class="small" { "Who is told of alerts, and how, is in the " a href="/settings" { "settings" } "." }
    }))
}

fn tone(alert: &Alert) -> Tone {
    match (alert.open, alert.severity.as_str()) {
        (false, _) => Tone::Calm,
        (true, "critical") => Tone::Act,
        (true, _) => Tone::Watch,
    }
}

/// Where the subject of an alert is.
fn place(alert: &Alert) -> String {
    match alert.kind.as_str() {
        "circuit" => format!("/circuits/{}", encoded(&alert.subject)),
        kind if kind.starts_with("dead-letters") => {
            address("/dead-letters", &[("function", Some(&alert.subject))])
        }
        _ => format!("/functions/{}", encoded(alert.subject.split('/').next().unwrap_or_default())),
    }
}

fn open_alerts(visit: &Visit, alerts: &[&Alert], conditions: &[Concern], notices: &[Notice]) -> Markup {
    if alerts.is_empty() && conditions.is_empty() {
        return empty("Nothing needs you", &html! { "No circuit is open, and no rule is broken." });
    }
    html! {
        ul class="alerts" {
            @for alert in alerts {
                li class=(tone(alert).class()) {
                    p {
                        (mark(tone(alert), &alert.severity)) " "
                        a href=(place(alert)) { strong { (alert.subject) } } ": " span class="w" { (alert.what) }
                    }
                    p class="small" {
                        (told::words(&alert.kind)) ", since " (ago(alert.since, visit.now))
                        @if let Some(stage) = &alert.stage { ", " (stage) }
                    }
                    (told::brief(visit, &told::of(alert, notices)))
                    @if !alert.steps.is_empty() { (outage_lines(visit, alert)) }
                }
            }
        }
        @if !conditions.is_empty() {
            h3 { "Seen now, whatever the rules say" }
            ul class="plainlist" {
                @for condition in conditions { li { (shape(condition.tone)) " " a href=(condition.address) { (condition.sentence) } } }
            }
        }
    }
}

fn past_alerts(visit: &Visit, alerts: &[&Alert], notices: &[Notice]) -> Markup {
    if alerts.is_empty() {
        return html! { p class="small" { "None is kept." } };
    }
    let rows = html! {
        @for alert in alerts.iter().take(PAST) {
            tr {
                td { (ago(alert.since, visit.now)) }
                td { (ago_if(alert.ended_at, visit.now)) }
                th scope="row" class="w" { a href=(place(alert)) { (alert.subject) } }
                td { (told::words(&alert.kind)) }
                td class="w" { (text::shortened(&alert.what, 200)) }
                td { (told::counted(&told::of(alert, notices))) }
            }
        }
    };
    html! {
        (table("Alerts that are over", &heads(&["Began", "Ended", "About", "Kind", "What", "Told"]), &rows))
        @if alerts.len() > PAST { p class="small" { "and " (alerts.len() - PAST) " older ones" } }
    }
}
