//! Tables and pages of them.

use maud::{Markup, html};

/// A table: `head` are its `th` with `scope="col"`, `rows` its `tr`. On narrow screens it scrolls by itself, also by
/// keyboard. The caption is for those who do not see the heading above it.
///
/// Numbers get the class `n`, monospaced texts `m`, what may be wrapped anywhere `w`.
pub fn table(caption: &str, head: &Markup, rows: &Markup) -> Markup {
    html! {
        div class="scroll" role="region" aria-label=(caption) tabindex="0" {
            table {
                caption class="unseen" { (caption) }
                thead { tr { (head) } }
                tbody { (rows) }
            }
        }
    }
}

/// Heads of columns; a name that begins with `>` is that of a column of numbers, and one without a name holds what can be done.
pub fn heads(names: &[&str]) -> Markup {
    html! {
        @for name in names {
            @match name.strip_prefix('>') {
                Some(name) => th scope="col" class="n" { (name) },
                None if name.is_empty() => th scope="col" { span class="unseen" { "Acts" } },
                None => th scope="col" { (name) },
            }
        }
    }
}

/// The ways to other pages of a listing that begins with the newest.
pub fn pager_by_age(newest: &str, newer: Option<&str>, older: Option<&str>) -> Markup {
    html! {
        @if newer.is_some() || older.is_some() {
            nav class="pager" aria-label="Pages" {
                @if let Some(newer) = newer { a href=(newest) { "Newest" } a href=(newer) rel="prev" { "Newer" } }
                @if let Some(older) = older { a href=(older) rel="next" { "Older" } }
            }
        }
    }
}

/// The ways to other pages of a listing.
pub fn pager(first: Option<&str>, next: Option<&str>) -> Markup {
    html! {
        @if first.is_some() || next.is_some() {
            nav class="pager" aria-label="Pages" {
                @if let Some(first) = first { a href=(first) { "First page" } }
                @if let Some(next) = next { a href=(next) rel="next" { "Next page" } }
            }
        }
    }
}
