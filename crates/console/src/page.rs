//! A page: what is between the frame's header and footer, and which parts of it change while somebody looks.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, PreEscaped, html};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// The part of the console that a page belongs to, for the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the entries of the navigation")]
pub enum Section {
    Overview,
    Hubs,
    Trace,
    Logs,
    Documents,
    Query,
    DeadLetters,
    Circuits,
    Alerts,
    Functions,
    Settings,
    Trail,
    /// None of them.
    Elsewhere,
}

/// A part of a page that is kept up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fragment {
    /// The `id` of its element.
    pub id: String,
    /// Changes with what it says; the passing of time alone does not change it.
    pub v: String,
    /// What is inside its element.
    pub html: String,
}

/// A page. Its function returns it, and the shell puts the frame around it.
#[derive(Clone, Debug)]
pub struct Page {
    pub(crate) title: String,
    pub(crate) section: Section,
    pub(crate) crumbs: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) fragments: Vec<Fragment>,
    pub(crate) status: StatusCode,
    pub(crate) heading: bool,
}

impl Page {
    /// An empty page. The title is text, and is shown as the page's heading.
    pub fn new(section: Section, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            section,
            crumbs: Vec::new(),
            body: String::new(),
            fragments: Vec::new(),
            status: StatusCode::OK,
            heading: true,
        }
    }

    /// Adds a page above this one to the way that is shown over the heading: its name and its address.
    #[must_use]
    pub fn below(mut self, name: impl Into<String>, address: impl Into<String>) -> Self {
        self.crumbs.push((name.into(), address.into()));
        self
    }

    /// The same page under a status other than 200.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same page with its title only in the window: its body brings its own `h1`.
    #[must_use]
    pub fn without_heading(mut self) -> Self {
        self.heading = false;
        self
    }

    /// A part that is kept up to date while somebody looks. Put what this returns anywhere into the body. The `id` is
    /// unique in the page and stays the same from one rendering to the next.
    ///
    /// What belongs to one visitor alone must not be in it, apart from the token of forms, which is safe.
    pub fn live(&mut self, id: impl Into<String>, content: Markup) -> Markup {
        let fragment = Fragment::new(id.into(), content.into_string());
        let element = html! {
            div id=(fragment.id) class="live" data-v=(fragment.v) { (PreEscaped(&fragment.html)) }
        };
        self.fragments.push(fragment);
        element
    }

    /// The page with its body.
    #[must_use]
    pub fn body(mut self, body: Markup) -> Self {
        self.body = body.into_string();
        self
    }
}

impl Fragment {
    fn new(id: String, html: String) -> Self {
        let v = version(&html);
        Self { id, v, html }
    }
}

/// A digest of a fragment without the texts of its times: they are told relative to now, and browsers keep them so
/// themselves.
fn version(html: &str) -> String {
    let mut digest = Sha256::new();
    let mut rest = html;
    // Text of others is escaped, so that only our own elements begin like this.
    while let Some(at) = rest.find("<time ") {
        let inside = rest[at..].find('>').map_or(rest.len(), |end| at + end + 1);
        digest.update(&rest.as_bytes()[..inside]);
        rest = rest[inside..].find("</time>").map_or("", |end| &rest[inside + end..]);
    }
    digest.update(rest.as_bytes());
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl IntoResponse for Page {
    /// The shell takes it out again and puts the frame around it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_changes_with_what_it_says_and_not_with_the_time() {
        let at = |moment: &str, said: &str, word: &str| {
            version(&html! { p { (said) " " time datetime=(moment) { (word) } " after" } }.into_string())
        };
        let one = at("2026-01-01T00:00:00Z", "a", "1 s ago");
        assert_eq!(one, at("2026-01-01T00:00:00Z", "a", "2 s ago"));
        assert_ne!(one, at("2026-01-01T00:00:01Z", "a", "1 s ago"));
        assert_ne!(one, at("2026-01-01T00:00:00Z", "b", "1 s ago"));
        // What others wrote cannot hide a change.
        assert_ne!(
            version(&html! { "<time >x</time>" }.into_string()),
            version(&html! { "<time >y</time>" }.into_string())
        );
    }
}
