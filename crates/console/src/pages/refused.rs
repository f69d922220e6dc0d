//! What went wrong, as a page: what, its code, and the way out.

use maud::html;

use crate::api::encoded;
use crate::components::facts::facts;
use crate::page::{Page, Section};
use crate::problem::Problem;
use crate::viewer::Viewer;

/// The page of a problem.
pub(crate) fn page(problem: &Problem, viewer: &Viewer) -> Page {
    let title = match problem.status.as_u16() {
        401 => "Sign in to see this",
        403 => "This is not allowed",
        404 | 410 => "There is no such thing",
        400 | 409 | 413 => "This cannot be done",
        429 => "Too much at once",
        _ => "This does not work at the moment",
    };
    let page = Page::new(Section::Elsewhere, title).status(problem.status);
    page.body(html! {
        p class="lead w" { (problem.detail) }
        @if !problem.action.is_empty() {
            h2 { "What to do" }
            p class="w lines" { (problem.action) }
        }
        (facts(&[
            ("Status", html! { (problem.status) }),
            ("Code", html! {
                @if problem.code.is_empty() { (crate::text::NOTHING) }
                @else { a href={ "/errors/" (encoded(&problem.code)) } { (problem.code) } ", with its explanation" }
            }),
        ]))
        p {
            a href="/" { "Go to the overview" }
            @if !viewer.signed_in { ", or " a href="/sign-in" { "sign in" } }
            "."
        }
    })
}
