//! Documents: collections, what is in them, one document and the events that made it.

mod collection;
mod document;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use maud::html;

use tidegate_api::{Collection, Overview};

use crate::Shared;
use crate::api::{Listing, encoded};
use crate::components::notice::empty;
use crate::components::table::{heads, table};
use crate::page::{Page, Section};
use crate::problem::Outcome;
use crate::text;
use crate::visit::Visit;

/// Their addresses.
pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/documents", get(collections))
        .route("/documents/{collection}", get(collection::show))
        .route("/documents/{collection}/{id}", get(document::show))
}

/// All collections.
async fn collections(visit: Visit) -> Outcome<Page> {
    let found: Listing<Collection> = visit.api.get("/api/v1/collections").await?;
    let overview: Overview = visit.api.get("/api/v1/overview").await?;
    let rows = html! {
        @for collection in &found.items {
            @let name = &collection.collection;
            tr {
                th scope="row" { a href={ "/documents/" (encoded(name)) } { (name) } }
                td class="n" { (text::count(collection.documents)) }
                td {
                    @for (nth, function) in overview.functions.iter().filter(|function| function.collection.as_deref() == Some(name)).enumerate() {
                        @if nth > 0 { ", " } a href={ "/functions/" (encoded(&function.function)) } { (function.function) }
                    }
                }
            }
        }
    };
    let mut page = Page::new(Section::Documents, "Documents");
    let listed = page.live("collections", html! {
        @if found.items.is_empty() {
            (empty("There are no documents yet", &html! { "Functions keep them. They come with the first events that are applied." }))
        } @else {
            (table("Collections", &heads(&["Collection", ">Documents", "Written by"]), &rows))
        }
    });
    Ok(page.body(html! {
        (listed)
        p class="small" { "Several collections at once, and anything else, is asked by a " a href="/query" { "query" } "." }
    }))
}
