//! One collection: its documents by id, where they are on the earth, and how their numbers are spread.

use axum::extract::Path;
use maud::{Markup, html};
use serde_json::Value;

use tidegate_api::Document;

use crate::api::{Listing, address, encoded};
use crate::components::controls::{choice, field, filter};
use crate::components::map::{MAX_POINTS, Place, map, place_in};
use crate::components::notice::empty;
use crate::components::payload::written;
use crate::components::plot::{Histogram, Scatter, range};
use crate::components::table::{heads, pager, table};
use crate::components::time::ago;
use crate::page::{Page, Section};
use crate::pages::query::{ask, places, quoted};
use crate::problem::Outcome;
use crate::text;
use crate::visit::Visit;

/// Documents on a page.
const SHOWN: usize = 50;

/// Members of the documents that have columns.
const COLUMNS: usize = 6;

/// Bars of a histogram.
const BARS: i64 = 40;

/// A member of the documents.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    name: String,
    is_number: bool,
}

/// The page.
pub(super) async fn show(visit: Visit, Path(collection): Path<String>) -> Outcome<Page> {
    let (prefix, after) = (visit.parameter("prefix"), visit.parameter("after"));
    let (documents, next) = listed(&visit, &collection, prefix.as_deref(), after.as_deref()).await?;
    let values: Vec<Value> = documents
        .iter()
        .map(|document| serde_json::from_str(document.document.get()).unwrap_or_default())
        .collect();
    let members = members(&values);
    let is_first = after.is_none() && prefix.is_none();
    let map = map_of(&visit, &collection, &documents, &values, is_first).await?;
    let plot = plot(&visit, &collection, &members).await?;
    let here = |after: Option<&str>| {
        address(
            &format!("/documents/{}", encoded(&collection)),
            &[("prefix", prefix.as_deref()), ("after", after)],
        )
    };
    let rows = html! {
        @for (document, value) in documents.iter().zip(&values) {
            tr {
                th scope="row" class="m" { a href={ "/documents/" (encoded(&collection)) "/" (encoded(&document.id)) } { (document.id) } }
                @for member in members.iter().take(COLUMNS) {
                    td class=(if member.is_number { "n" } else { "w shown" }) {
                        @match value.get(&member.name) { Some(value) if !value.is_null() => (cell(value)), _ => span class="nothing" { (text::NOTHING) } }
                    }
                }
                td class="m" { (document.partition) "/" (document.sequence_number) }
                td { (ago(document.updated_at, visit.now)) }
            }
        }
    };
    let head = html! {
        (heads(&["Id"]))
        @for member in members.iter().take(COLUMNS) { th scope="col" class=[member.is_number.then_some("n")] { (member.name) } }
        (heads(&["Last writer", "Changed"]))
    };
    let page = Page::new(Section::Documents, collection.clone()).below("Documents", "/documents");
    Ok(page.body(html! {
        (filter(&format!("/documents/{}", encoded(&collection)), &field("prefix", "Id begins with", prefix.as_deref(), "any")))
        @if documents.is_empty() {
            (empty("There is no such document", &html! { @if prefix.is_some() { a href=(format!("/documents/{}", encoded(&collection))) { "All of the collection" } } @else { "The collection is empty." } }))
        } @else {
            div class="maps" { (map) (plot) }
            (table(&format!("Documents of {collection}"), &head, &rows))
            (pager(after.as_ref().map(|_| here(None)).as_deref(), next.as_deref().map(|next| here(Some(next))).as_deref()))
            p class="small" { a href=(address("/query", &[("sql", Some(&format!("SELECT * FROM {} LIMIT 50", quoted(&collection))))])) { "Query this collection" } }
        }
    }))
}

/// A page of the documents, and the cursor of the next. Ids are in order, so that those with a beginning follow each other.
async fn listed(
    visit: &Visit,
    collection: &str,
    prefix: Option<&str>,
    after: Option<&str>,
) -> Outcome<(Vec<Document>, Option<String>)> {
    let base = format!("/api/v1/collections/{}/documents", encoded(collection));
    let limit = SHOWN.to_string();
    let mut documents = Vec::new();
    if let (Some(prefix), None) = (prefix, after) {
        // The cursor leaves out the one that it names.
        documents.extend(visit.api.find::<Document>(&format!("{base}/{}", encoded(prefix))).await?);
    }
    let from = after.or(prefix);
    let page: Listing<Document> =
        visit.api.get(&address(&base, &[("after", from), ("limit", Some(&limit))])).await?;
    let total = page.items.len();
    let fits = |document: &Document| prefix.is_none_or(|prefix| document.id.starts_with(prefix));
    documents.extend(page.items.into_iter().take_while(fits));
    let is_cut = prefix.is_some() && documents.len() < total;
    Ok((documents, page.next.filter(|_| !is_cut)))
}

/// The members at the top of the documents that hold single values, the most frequent first.
fn members(values: &[Value]) -> Vec<Member> {
    let mut members: Vec<(Member, usize)> = Vec::new();
    for (name, value) in values.iter().filter_map(Value::as_object).flatten() {
        if value.is_object() || value.is_array() {
            continue;
        }
        match members.iter_mut().find(|(member, _)| member.name == *name) {
            Some((member, count)) => {
                member.is_number &= value.is_number() || value.is_null();
                *count += 1;
            }
            None => members.push((Member { name: name.clone(), is_number: value.is_number() }, 1)),
        }
    }
    members.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    members.into_iter().map(|(member, _)| member).collect()
}

/// A map of the whole collection where its documents have places; of this page where a query cannot tell.
async fn map_of(
    visit: &Visit,
    collection: &str,
    documents: &[Document],
    values: &[Value],
    is_first: bool,
) -> Outcome<Markup> {
    let link = |id: &str| format!("/documents/{}/{}", encoded(collection), encoded(id));
    let here = documents.iter().zip(values).filter_map(|(document, value)| {
        let (latitude, longitude) = place_in(value)?;
        Some(Place { longitude, latitude, name: document.id.clone(), address: Some(link(&document.id)) })
    });
    let here: Vec<Place> = here.collect();
    if here.is_empty() {
        return Ok(html! {});
    }
    let mut shown = here;
    let pair = [("latitude", "longitude"), ("lat", "lon"), ("lat", "lng")].into_iter().find(
        |(latitude, longitude)| {
            values.iter().any(|value| {
                value.get(*latitude).is_some_and(Value::is_number)
                    && value.get(*longitude).is_some_and(Value::is_number)
            })
        },
    );
    if let (true, Some((latitude, longitude))) = (is_first, pair) {
        let sql = format!(
            "SELECT id, {} AS latitude, {} AS longitude FROM {} WHERE {} IS NOT NULL LIMIT {}",
            quoted(latitude),
            quoted(longitude),
            quoted(collection),
            quoted(latitude),
            MAX_POINTS + 1
        );
        // Without it, the page still has its own places.
        if let Ok(rows) = ask(visit, &sql).await {
            let mut all = places(&rows);
            all.iter_mut().for_each(|place| place.address = Some(link(&place.name)));
            shown = all;
        }
    }
    Ok(html! {
        section aria-labelledby="map-title" { h2 id="map-title" { "Where they are" } (map(collection, &shown, false)) }
    })
}

/// How a number is spread over the whole collection, and how it goes with another one.
async fn plot(visit: &Visit, collection: &str, members: &[Member]) -> Outcome<Markup> {
    let numbers: Vec<&Member> = members.iter().filter(|member| member.is_number).collect();
    if numbers.is_empty() {
        return Ok(html! {});
    }
    let wanted = visit.parameter("plot");
    let chosen = numbers.iter().find(|member| wanted.as_deref().is_none_or(|wanted| member.name == wanted));
    let chosen = chosen.map(|member| member.name.clone());
    let against = visit.parameter("against").filter(|name| numbers.iter().any(|member| member.name == *name));
    let choices = |first: &str| -> Vec<(String, String)> {
        std::iter::once((String::new(), first.to_owned()))
            .chain(numbers.iter().map(|member| (member.name.clone(), member.name.clone())))
            .collect()
    };
    let picture = match (&chosen, &against) {
        (None, _) => html! {},
        (Some(name), None) => histogram(visit, collection, name).await?,
        (Some(name), Some(other)) => scatter(visit, collection, name, other).await?,
    };
    Ok(html! {
        section aria-labelledby="plot-title" {
            h2 id="plot-title" { "How numbers are spread" }
            (filter(&format!("/documents/{}", encoded(collection)), &html! {
                (choice("plot", "Number", chosen.as_deref(), &choices("choose one")))
                (choice("against", "Against", against.as_deref(), &choices("how often it occurs")))
            }))
            (picture)
        }
    })
}

/// A value in a cell; the digits that a table needs not are on the document's own page.
fn cell(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() && number.abs() < 1e9 => format!("{}", (number * 1e5).round() / 1e5),
        _ => text::shortened(&written(value), 60),
    }
}

fn number_at(row: &[(String, Value)], place: usize) -> Option<f64> {
    row.get(place).and_then(|(_, value)| value.as_f64())
}

async fn histogram(visit: &Visit, collection: &str, name: &str) -> Outcome<Markup> {
    let (table, column) = (quoted(collection), quoted(name));
    let ends = match ask(
        visit,
        &format!(
            "SELECT min({column}), max({column}) FROM {table} WHERE typeof({column}) IN ('integer', 'real')"
        ),
    )
    .await
    {
        Ok(rows) => rows,
        Err(problem) => return Ok(crate::pages::dead_letters::refusal(&problem)),
    };
    let ends = ends.items.first().and_then(|row| Some([number_at(&row.0, 0)?, number_at(&row.0, 1)?]));
    let Some((least, most)) = ends.and_then(|ends| range(ends.into_iter())) else {
        return Ok(html! { p class="small" { "No document has such a number." } });
    };
    let step = (most - least) / BARS as f64;
    let sql = format!(
        "SELECT min({last}, CAST(({column} - ({least:e})) / {step:e} AS INTEGER)) AS bar, count(*) FROM {table} \
         WHERE typeof({column}) IN ('integer', 'real') GROUP BY bar ORDER BY bar",
        last = BARS - 1
    );
    let rows = match ask(visit, &sql).await {
        Ok(rows) => rows,
        Err(problem) => return Ok(crate::pages::dead_letters::refusal(&problem)),
    };
    let mut counts = vec![0_u64; usize::try_from(BARS).unwrap_or_default()];
    for row in &rows.items {
        let bar = number_at(&row.0, 0).map_or(0, |bar| bar.max(0.0) as usize).min(counts.len() - 1);
        counts[bar] += number_at(&row.0, 1).map_or(0, |count| count as u64);
    }
    Ok(Histogram { title: name.to_owned(), least, most, counts }.render())
}

async fn scatter(visit: &Visit, collection: &str, name: &str, other: &str) -> Outcome<Markup> {
    let sql = format!(
        "SELECT {0}, {1} FROM {2} WHERE typeof({0}) IN ('integer', 'real') AND typeof({1}) IN ('integer', 'real') LIMIT {MAX_POINTS}",
        quoted(other),
        quoted(name),
        quoted(collection)
    );
    match ask(visit, &sql).await {
        Ok(rows) => {
            let points =
                rows.items.iter().filter_map(|row| Some((number_at(&row.0, 0)?, number_at(&row.0, 1)?)));
            Ok(Scatter { names: [other.to_owned(), name.to_owned()], points: points.collect() }.render())
        }
        Err(problem) => Ok(crate::pages::dead_letters::refusal(&problem)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_short() {
        let cell = |json: &str| cell(&serde_json::from_str(json).unwrap());
        assert_eq!(
            [cell("52.666659241809874"), cell("12"), cell("\"x\""), cell("12345678901.5")],
            ["52.66666", "12", "x", "12345678901.5"]
        );
    }

    #[test]
    fn members_with_single_values_become_columns_the_frequent_ones_first() {
        let values: Vec<Value> =
            ["{\"rare\":1,\"a\":\"x\",\"deep\":{}}", "{\"a\":null,\"n\":2}", "{\"a\":3,\"n\":1.5}", "[]"]
                .iter()
                .map(|json| serde_json::from_str(json).unwrap())
                .collect();
        let found = members(&values);
        let names: Vec<(&str, bool)> =
            found.iter().map(|member| (member.name.as_str(), member.is_number)).collect();
        assert_eq!(names, [("a", false), ("n", true), ("rare", true)]);
    }
}
