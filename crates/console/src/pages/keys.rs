//! The keys of the console.

use maud::html;

use crate::components::table::{heads, table};
use crate::page::{Page, Section};
use crate::shell::NAVIGATION;

/// The page.
pub(super) async fn show() -> Page {
    let rows = html! {
        tr { td { kbd { "/" } } td { "Search" } }
        tr { td { kbd { "?" } } td { "This page" } }
        tr { td { kbd { "Esc" } } td { "Leave a field" } }
        @for entry in NAVIGATION.iter().flat_map(|(_, entries)| entries.iter()) {
            tr { td { kbd { "g" } " then " kbd { (entry.key) } } td { a href=(entry.address) { (entry.name) } } }
        }
    };
    Page::new(Section::Elsewhere, "Keys").body(html! {
        p class="lead" { "Everything is reached with the tab key as well." }
        (table("Keys", &heads(&["Key", "What it does"]), &rows))
    })
}
