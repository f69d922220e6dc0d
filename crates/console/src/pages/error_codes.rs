//! The pages of the error codes, as they are in the documentation.

use axum::extract::{Path, State};
use maud::{PreEscaped, html};
use pulldown_cmark::{Event, Options, Parser};
use std::sync::Arc;

use crate::Shared;
use crate::page::{Page, Section};
use crate::problem::{Outcome, Problem};

/// One code.
pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(code): Path<String>) -> Outcome<Page> {
    let wanted = code.to_ascii_uppercase();
    let found = shared.error_pages.iter().find(|(known, _)| *known == wanted);
    let Some((code, text)) = found else {
        let shown = crate::text::shortened(&code, 32);
        return Err(Problem::not_found(format!("there is no error code {shown:?}"))
            .action("all codes are at /errors"));
    };
    let page = Page::new(Section::Elsewhere, *code).below("Error codes", "/errors").without_heading();
    Ok(page.body(html! { article class="prose" { (PreEscaped(markdown(text))) } }))
}

/// All codes.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Page {
    Page::new(Section::Elsewhere, "Error codes").body(html! {
        ul class="plainlist" {
            @for (code, text) in shared.error_pages {
                @let title = text.lines().next().unwrap_or_default().trim_start_matches('#').trim();
                li { a href={ "/errors/" (code) } { (title) } }
            }
        }
    })
}

/// Markdown as HTML. What is HTML in it already is shown as text: the pages need none.
fn markdown(text: &str) -> String {
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        event => event,
    });
    let mut html = String::with_capacity(text.len() * 2);
    pulldown_cmark::html::push_html(&mut html, events);
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_html_and_html_becomes_text() {
        let html = markdown("# TG-1: x\n\n**What to do.** See `a`.\n\n<script>x</script>\n");
        assert!(html.contains("<h1>TG-1: x</h1>") && html.contains("<code>a</code>"), "{html}");
        assert!(!html.contains("<script"), "{html}");
    }
}
