//! What a browser does, without one: asks, keeps cookies, follows nothing by itself.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use tidegate_console::{Console, Parts};
use tidegate_model::clock::{TestClock, Timestamp};

use crate::fixture::{self, ERROR_PAGES, Fixture};

pub(crate) struct Browser {
    pub(crate) fixture: Arc<Fixture>,
    pub(crate) console: Console,
    pub(crate) router: Router,
}

pub(crate) struct Shown {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) html: String,
}

/// A console whose visitors have the given session.
pub(crate) fn browser(session: serde_json::Value) -> Browser {
    let clock = TestClock::new(Timestamp::from_millis(1_795_000_000_000), 7);
    let fixture = Fixture::new(clock.clone(), session);
    let api = fixture::router(fixture.clone());
    let console = Console::new(Parts { api, clock, error_pages: ERROR_PAGES });
    let router = console.router();
    Browser { fixture, console, router }
}

impl Browser {
    pub(crate) async fn get(&self, address: &str) -> Shown {
        self.send(Request::get(address).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, address: &str, form: &str) -> Shown {
        let form_type = "application/x-www-form-urlencoded";
        let request =
            Request::post(address).header(CONTENT_TYPE, form_type).header(COOKIE, "tidegate_session=s1");
        self.send(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Shown {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let html = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Shown { status: parts.status, headers: parts.headers, html }
    }
}

impl Shown {
    pub(crate) fn leads_to(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.html);
        self.headers[LOCATION].to_str().unwrap()
    }

    pub(crate) fn cookies(&self) -> Vec<&str> {
        self.headers.get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap()).collect()
    }

    /// The text between tags, blanks as one.
    pub(crate) fn text(&self) -> String {
        text(&self.html)
    }
}

pub(crate) fn text(html: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for c in html.chars() {
        match c {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                text.push(' ');
            }
            c if !in_tag => text.push(if c == '\u{202f}' { ' ' } else { c }),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Asserts that a page holds nothing but our own elements, and nothing that its policy would refuse.
pub(crate) fn assert_clean(html: &str) {
    // What others wrote never becomes an element or an attribute.
    assert!(!html.contains("<img"), "an image came in: {html}");
    let scripts: Vec<&str> =
        html.match_indices("<script").map(|(at, _)| &html[at..(at + 40).min(html.len())]).collect();
    assert!(
        scripts.len() <= 1 && scripts.iter().all(|script| script.starts_with("<script src=\"/assets/")),
        "{scripts:?}"
    );
    for inline in [" style=\"", "<style", " onclick=", " onload=", "javascript:"] {
        assert!(!html.contains(inline), "{inline} in {html}");
    }
}
