//! The pages behind the link: HTML without scripts, and everything that comes from elsewhere is escaped.

use axum::http::StatusCode;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::Timestamp;
use tidegate_model::health::HealthCounts;
use tidegate_model::ports::StoreError;

use super::{HEALTH_WINDOW, Unusable, Usable};
use crate::html::{escaped, table};
use crate::mail::{shortened, span};

const STYLE: &str = "\
body{font-family:system-ui,sans-serif;line-height:1.5;max-width:42rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;\
background:#fff}\
h1{font-size:1.4rem}table{border-collapse:collapse;margin:1rem 0}\
th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #d5d9de}\
label{display:block;margin:1rem 0 .25rem}input{font:inherit;padding:.4rem;width:100%;max-width:20rem}\
button{font:inherit;margin-top:1rem;padding:.6rem 1.2rem;border:0;border-radius:4px;background:#0b5cad;color:#fff}\
button:focus-visible,input:focus-visible{outline:3px solid #f2a900;outline-offset:2px}\
@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#15181c}th,td{border-color:#3a4149}}";

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
    rows.push((format!("Events that failed in the last {window}"), total.failed.to_string()));
    rows.push((format!("Failed attempts in the last {window}"), total.failed_attempts.to_string()));
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
