//! Read-only SQL over the documents: a table of what it finds, a map where there are places, and its download.

use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use tidegate_api::{Collection, Properties};

use super::dead_letters::refusal;
use crate::api::{Listing, address, encoded};
use crate::components::map::{Place, map, valid};
use crate::components::mark::Tone;
use crate::components::notice::notice;
use crate::components::payload::written;
use crate::components::table::table;
use crate::page::{Page, Section};
use crate::problem::Outcome;
use crate::text;
use crate::visit::Visit;

/// Rows on the page; a download has all that the API gives.
const SHOWN: usize = 500;

/// The most characters of a cell.
const SHORT: usize = 200;

/// What a query found.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Rows {
    /// The rows, their members in the order of the columns.
    pub(super) items: Vec<Properties>,
    /// Whether there are more than the API gives.
    #[serde(default)]
    pub(super) truncated: bool,
}

impl Rows {
    /// The names of the columns; none without rows.
    fn columns(&self) -> Vec<&str> {
        self.items.first().map_or_else(Vec::new, |row| row.0.iter().map(|(name, _)| name.as_str()).collect())
    }
}

/// Asks the API.
pub(super) async fn ask(visit: &Visit, sql: &str) -> Outcome<Rows> {
    visit.api.post("/api/v1/query", &json!({ "sql": sql }), visit.viewer.csrf.as_deref()).await
}

/// A name as SQL takes it, whatever it holds.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The page.
pub(super) async fn show(visit: Visit) -> Outcome<Page> {
    let collections: Listing<Collection> = visit.api.get("/api/v1/collections").await?;
    let sql = visit.parameter("sql");
    let found = match &sql {
        Some(sql) => Some(ask(&visit, sql).await),
        None => None,
    };
    let example = collections
        .items
        .first()
        .map_or_else(String::new, |first| format!("SELECT * FROM {} LIMIT 50", quoted(&first.collection)));
    let shown = sql.clone().unwrap_or(example);
    let is_refused = matches!(&found, Some(Err(problem)) if problem.status.is_client_error() && !problem.asks_to_sign_in());
    let answer = match &found {
        None => html! {},
        Some(Err(problem)) if is_refused => html! { div id="refused" { (refusal(problem)) } },
        Some(Err(problem)) => return Err(problem.clone()),
        Some(Ok(rows)) => answer(sql.as_deref().unwrap_or_default(), rows),
    };
    let page = Page::new(Section::Query, "Query");
    Ok(page.body(html! {
        form method="get" action="/query" class="sheet" {
            label for="sql" { "One read-only statement of SQL (SQLite) over the documents" }
            textarea name="sql" id="sql" rows=(shown.lines().count().clamp(4, 16)) spellcheck="false" required
                aria-invalid=[is_refused.then_some("true")] aria-describedby=[is_refused.then_some("refused")] { "\n" (shown) }
            p class="deed" {
                button type="submit" class="first" { "Ask" }
                @if let (Some(sql), Some(Ok(_))) = (&sql, &found) {
                    a class="button" href=(address("/query/download", &[("form", Some("csv")), ("sql", Some(sql))])) { "CSV" }
                    a class="button" href=(address("/query/download", &[("form", Some("ndjson")), ("sql", Some(sql))])) { "NDJSON" }
                }
            }
        }
        (answer)
        (help(&collections.items))
    }))
}

fn help(collections: &[Collection]) -> Markup {
    html! {
        h2 { "What there is" }
        @if collections.is_empty() {
            p class="small" { "There are no documents yet." }
        } @else {
            ul class="plainlist" {
                @for collection in collections {
                    li {
                        a class="m" href=(address("/query", &[("sql", Some(&format!("SELECT * FROM {} LIMIT 50", quoted(&collection.collection))))])) { (collection.collection) }
                        small { " " (text::counted(collection.documents, "document", "documents")) }
                    }
                }
            }
        }
        p class="small" {
            "Each collection is a table. Its columns are " code { "id" } ", " code { "document" } ", " code { "partition" } ", " code { "sequence_number" } ", "
            code { "etag" } ", " code { "updated_at" } " and the members of its documents; what lies deeper is " code { "document->>'$.position.lat'" } "."
        }
    }
}

fn answer(sql: &str, rows: &Rows) -> Markup {
    let columns = rows.columns();
    let is_number = |column: usize| {
        rows.items
            .iter()
            .filter_map(|row| row.0.get(column))
            .all(|(_, value)| value.is_number() || value.is_null())
    };
    let numbers: Vec<bool> = (0..columns.len()).map(is_number).collect();
    let head = html! { @for (name, number) in columns.iter().zip(&numbers) { th scope="col" class=[number.then_some("n")] { (name) } } };
    let body = html! {
        @for row in rows.items.iter().take(SHOWN) {
            tr {
                @for ((_, value), number) in row.0.iter().zip(&numbers) {
                    td class=(if *number { "n" } else { "w m" }) {
                        @if value.is_null() { span class="nothing" { "null" } } @else { (text::shortened(&written(value), SHORT)) }
                    }
                }
            }
        }
    };
    let places = places(rows);
    html! {
        h2 { (text::counted(rows.items.len() as u64, "row", "rows")) }
        @if rows.truncated {
            (notice(Tone::Watch, &html! { "There are more rows than an answer holds: narrow the query down, or page with " code { "LIMIT" } " and " code { "OFFSET" } "." }))
        }
        @if !places.is_empty() { (map("Rows with places", &places, false)) }
        @if rows.items.is_empty() {
            p class="small" { "Nothing was found by " code { (text::shortened(sql, SHORT)) } }
        } @else {
            (table("Rows", &head, &body))
            @if rows.items.len() > SHOWN { p class="small" { "The first " (SHOWN) " are shown; the download has all." } }
        }
    }
}

/// The places in rows with a latitude and a longitude.
pub(super) fn places(rows: &Rows) -> Vec<Place> {
    let number = |row: &Properties, names: &[&str]| {
        row.0
            .iter()
            .find(|(name, _)| names.contains(&name.to_ascii_lowercase().as_str()))
            .and_then(|(_, value)| value.as_f64())
    };
    let place = |row: &Properties| {
        let (latitude, longitude) =
            valid(number(row, &["latitude", "lat"])?, number(row, &["longitude", "lon", "lng"])?)?;
        let name =
            row.0.iter().find(|(name, _)| name == "id").map_or_else(String::new, |(_, value)| written(value));
        Some(Place { longitude, latitude, name, address: None })
    };
    rows.items.iter().filter_map(place).collect()
}

/// What it found, as a file.
pub(super) async fn download(visit: Visit) -> Outcome<Response> {
    let sql = visit.parameter("sql").unwrap_or_default();
    let rows = ask(&visit, &sql).await?;
    let (form, name, content) = match visit.parameter("form").as_deref() {
        Some("ndjson") => ("application/x-ndjson", "rows.ndjson", ndjson(&rows)),
        _ => ("text/csv; charset=utf-8", "rows.csv", csv(&rows)),
    };
    let mut response = (StatusCode::OK, content).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(place) = HeaderValue::from_str(&format!("attachment; filename=\"{}\"", encoded(name))) {
        headers.insert(CONTENT_DISPOSITION, place);
    }
    Ok(response)
}

fn ndjson(rows: &Rows) -> String {
    rows.items.iter().fold(String::new(), |mut lines, row| {
        lines.push_str(&serde_json::to_string(row).unwrap_or_default());
        lines.push('\n');
        lines
    })
}

/// Rows as CSV (RFC 4180). Text that a spreadsheet would take for a formula gets an apostrophe before it.
fn csv(rows: &Rows) -> String {
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => csv_text(text),
        other => other.to_string(),
    };
    let line = |cells: Vec<String>| format!("{}\r\n", cells.join(","));
    let mut out = line(rows.columns().into_iter().map(csv_text).collect());
    for row in &rows.items {
        out.push_str(&line(row.0.iter().map(|(_, value)| cell(value)).collect()));
    }
    out
}

fn csv_text(text: &str) -> String {
    let guarded =
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if guarded.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(json: &str) -> Rows {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn files_hold_every_value_and_no_formula() {
        let rows =
            rows(r#"{"items":[{"z":1.5,"a":"x,\"y\"","b":null},{"z":-2,"a":"=1+1","b":"two\nlines"}]}"#);
        assert_eq!(csv(&rows), "z,a,b\r\n1.5,\"x,\"\"y\"\"\",\r\n-2,'=1+1,\"two\nlines\"\r\n");
        assert_eq!(ndjson(&rows).lines().next(), Some(r#"{"z":1.5,"a":"x,\"y\"","b":null}"#));
        assert_eq!(csv(&Rows::default()), "\r\n");
    }

    #[test]
    fn names_are_quoted_for_sql_whatever_they_hold() {
        assert_eq!(quoted("a\"; DROP TABLE b; --"), "\"a\"\"; DROP TABLE b; --\"");
    }

    #[test]
    fn rows_with_places_are_found() {
        let rows =
            rows(r#"{"items":[{"id":"a","Latitude":1.5,"lng":2},{"id":"b","latitude":null,"lng":2}]}"#);
        let found = places(&rows);
        assert_eq!((found.len(), found[0].name.as_str(), found[0].longitude), (1, "a", 2.0));
    }
}
