//! The pages behind the link: HTML without scripts, and everything that comes from elsewhere is escaped.

use axum::http::StatusCode;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::is_only_failing;
use tidegate_model::clock::Timestamp;
use tidegate_model::health::HealthCounts;
use tidegate_model::ports::StoreError;

use super::{HEALTH_WINDOW, Unusable, Usable};
use crate::html::{escaped, table};
use crate::mail::{shortened, span};

/// As the console looks: its paper, its ink, its one accent.
const STYLE: &str = "\
:root{color-scheme:light dark;--paper:light-dark(#fbfbfa,#111416);--raised:light-dark(#fff,#171b1e);\
--ink:light-dark(#1a1e22,#e4e7e9);--soft:light-dark(#555d66,#a2abb3);--line:light-dark(#e1e3e0,#2a3035);\
--strong-line:light-dark(#8b939a,#6a737b);--accent:light-dark(#0a6d75,#5bc3ca);--on-accent:light-dark(#fff,#0b1214)}\
*{box-sizing:border-box}\
body{font:.875rem/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif;\
font-variant-numeric:tabular-nums;max-width:44rem;margin:2.5rem auto;padding:0 1rem;color:var(--ink);background:var(--paper)}\
h1{font-size:1.375rem;font-weight:600;line-height:1.25;margin:0 0 1rem;overflow-wrap:anywhere}p{margin:0 0 .75rem}\
table{border-collapse:collapse;margin:1rem 0;width:100%}\
th,td{text-align:left;vertical-align:baseline;padding:.3125rem 1.25rem .3125rem 0;border-bottom:1px solid var(--line);\
overflow-wrap:anywhere}th{font-weight:400;color:var(--soft);width:16rem}\
label{display:block;margin:1rem 0 .25rem;font-size:.8125rem;color:var(--soft)}\
input{font:inherit;color:inherit;background:var(--raised);border:1px solid var(--strong-line);border-radius:4px;\
padding:.25rem .5rem;height:2rem;width:100%;max-width:20rem}\
button{font:inherit;margin:1rem 0;padding:.25rem .75rem;height:2rem;border:1px solid var(--accent);border-radius:4px;\
background:var(--accent);color:var(--on-accent);cursor:pointer}\
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}\
@media(max-width:40rem){th{width:auto}}";

fn document(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    )
}

fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escaped(text))
}

/// The page of a link that can be used.
pub(super) fn usable(usable: &Usable) -> String {
    let Usable { claim, circuit, health, last_error, .. } = usable;
    let mut rows = vec![
        ("Circuit".to_owned(), circuit.state.as_str().to_owned()),
        ("Since".to_owned(), circuit.since.to_string()),
        ("Outage began".to_owned(), claim.opened_at.to_string()),
        ("Reason".to_owned(), shortened(&circuit.reason, 1000)),
        ("Brought there by".to_owned(), shortened(&circuit.by, 200)),
        ("Probes that failed".to_owned(), circuit.failed_probes.to_string()),
    ];
    let mut total = HealthCounts::default();
    health.iter().for_each(|instance| total += instance.counts);
    let window = span(HEALTH_WINDOW);
    rows.push((format!("Events resolved in the last {window}"), total.succeeded.to_string()));
    rows.push((format!("Failed events counted in the last {window}"), total.failed.to_string()));
    rows.push((format!("Failed attempts counted in the last {window}"), total.failed_attempts.to_string()));
    rows.push((format!("Instances heard of in the last {window}"), health.len().to_string()));

    let mut body = paragraph(&format!(
        "The circuit of {} is {}. Its events are stored and wait. Nothing has been changed by opening this page.",
        claim.function,
        circuit.state.as_str()
    ));
    if let Some(error) = last_error {
        body.push_str(&paragraph(&format!("The last try to restart it failed: {error}")));
    }
    body.push_str(&table(&rows));
    if is_only_failing(&circuit.reason) {
        body.push_str(&paragraph(&format!(
            "Every event that waits has failed as a probe. If these events are at fault, a restart does not help: set them \
             aside in the console, or with `tidegate parked list --function {}` and `tidegate parked set-aside`.",
            claim.function
        )));
    }
    body.push_str(&paragraph(
        "Restart it when what it depends on works again. Processing goes on from the last checkpoint; if events keep \
         failing, the circuit opens again.",
    ));
    body.push_str(
        "<form method=\"post\">\n<label for=\"name\">Your name, for the audit trail (optional)</label>\n\
         <input id=\"name\" name=\"name\" maxlength=\"100\" autocomplete=\"name\">\n<br>\n\
         <button type=\"submit\">Restart</button>\n</form>\n",
    );
    body.push_str(&paragraph(&format!("This link works once, until {}.", claim.expires_at)));
    document(&format!("Restart {}", claim.function), &body)
}

/// The page after a restart.
pub(super) fn restarted(function: &FunctionName, by: &str, at: Timestamp) -> String {
    let body = paragraph(&format!("{function} was restarted at {at} by {by}. It is in the audit trail."))
        + &paragraph(
            "Processing goes on from the last checkpoint. You will be told if the circuit opens again.",
        );
    document(&format!("{function} was restarted"), &body)
}

/// The page of a restart that did not go through.
pub(super) fn failed(function: &FunctionName, detail: &str) -> String {
    let body = paragraph(&shortened(detail, 1000))
        + &paragraph("The link was not used up: go back, open it again, and try once more.");
    document(&format!("{function} could not be restarted"), &body)
}

/// The status of a link that cannot be used.
pub(super) fn status_of(why: &Unusable) -> StatusCode {
    match why {
        Unusable::Forged => StatusCode::FORBIDDEN,
        Unusable::Expired { .. } | Unusable::Used { .. } | Unusable::OtherOutage { .. } => StatusCode::GONE,
        Unusable::InProgress { .. } | Unusable::AlreadyClosed { .. } => StatusCode::CONFLICT,
    }
}

/// The page of a link that cannot be used.
pub(super) fn unusable(why: &Unusable) -> String {
    let other_ways = "To restart a function without a link, use the console or `tidegate circuit close`.";
    let (title, text) = match why {
        Unusable::Forged => (
            "This link is not valid".to_owned(),
            "It was not made by this Tidegate, or it was cut or changed on its way. Open it from the mail again, and \
             make sure that it is whole."
                .to_owned(),
        ),
        Unusable::Expired { at } => ("This link has expired".to_owned(), format!("It worked until {at}.")),
        Unusable::Used { at, by } => {
            ("This link was used already".to_owned(), format!("It was used at {at} by {by}. A link works once."))
        }
        Unusable::InProgress { at, by } => (
            "A restart is under way".to_owned(),
            format!("It was asked for at {at} by {by}. If nothing happens within a minute, open this page again."),
        ),
        Unusable::AlreadyClosed { function, since, by } => (
            format!("{function} is running"),
            if by.is_empty() {
                "Its circuit is closed: there is nothing to restart.".to_owned()
            } else {
                format!("Its circuit was closed at {since} by {by}: there is nothing to restart.")
            },
        ),
        Unusable::OtherOutage { function, opened_at } => (
            "This link is about an earlier outage".to_owned(),
            format!(
                "The circuit of {function} has closed since, and opened again at {opened_at}. A newer mail tells about \
                 that, with a link of its own."
            ),
        ),
    };
    document(&title, &(paragraph(&text) + &paragraph(other_ways)))
}

/// The page while the store does not answer.
pub(super) fn unavailable(error: &StoreError) -> String {
    let body = paragraph(&format!("{} ({}).", shortened(&error.to_string(), 500), error.code()))
        + &paragraph("Nothing was restarted. Open the link again a little later.");
    document("Tidegate cannot answer at the moment", &body)
}

/// The page for a form that cannot be read.
pub(super) fn bad_form(detail: &str) -> String {
    let body = paragraph(&shortened(detail, 300))
        + &paragraph("Nothing was restarted. Open the link again and use the button.");
    document("The form could not be read", &body)
}

/// The page after something that should not happen.
pub(super) fn broken() -> String {
    document(
        "Something went wrong",
        &paragraph("It is in the server's log. Open the link again to see what was done."),
    )
}
