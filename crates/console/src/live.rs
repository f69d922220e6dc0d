//! Live pages: `GET /live?path=/…` streams the parts of a page that change, as server-sent events.
//!
//! ```text
//! event: page     data: {"now":"…","fragments":[{"id":"…","v":"…","html":"…"}]}    those that changed since the last
//! event: trouble  data: {"status":503,"detail":"…"}                                 the page cannot be made at the moment
//! event: end      data: {}                                                          sign in again, or the server stops
//! ```
//!
//! All who look at a page with the same credentials share one feed: the page is made once a second for all of them,
//! and not at all when nobody looks. A viewer who is slow misses versions in between, never the newest.

mod feed;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;

use tidegate_model::clock::{SharedClock, Timestamp};

use crate::Shared;
use crate::api::Api;
use crate::caller::Caller;
use crate::page::Fragment;
use crate::shell::{guarded, with_token};
use crate::viewer::Viewer;

pub use feed::Feeds;
use feed::{Key, Shown};

/// After how long without news a stream says that it is still there: less than proxies wait.
const SILENCE: Duration = Duration::from_secs(15);

/// What the live address needs: the pages without their frame.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pages: Router,
}

/// Streams a page.
pub(crate) async fn stream(State(live): State<Live>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let caller = Arc::new(Caller::of(&parts));
    let path = crate::visit::parameter_of(&parts.uri, "path").unwrap_or_default();
    if crate::form::safe_path(&path) != path {
        return guarded((StatusCode::BAD_REQUEST, "path is the address of a page").into_response());
    }
    // The token is the visitor's own, and is put in after the page was made for all.
    let viewer = match Viewer::ask(&Api::new(live.shared.api.clone(), caller.clone())).await {
        Ok(viewer) => viewer,
        Err(problem) => return guarded((problem.status, problem.detail).into_response()),
    };
    let key = Key { path, identity: caller.identity() };
    let Some(watching) = live.shared.feeds.join(key, &live, caller) else {
        // Browsers come again by themselves.
        let full = (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many look already; the page still works by loading it anew",
        );
        return guarded(full.into_response());
    };
    let stream = Stream {
        watching,
        sent: HashMap::new(),
        clock: live.shared.clock.clone(),
        mark: live.shared.csrf_mark.clone(),
        token: viewer.csrf,
        ended: false,
    };
    let events = futures_util::stream::unfold(stream, async |mut stream| {
        let event = stream.next().await?;
        Some((Ok::<Bytes, Infallible>(event), stream))
    });
    let mut response = Body::from_stream(events).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies must not gather what is to arrive at once.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    guarded(response)
}

/// What one viewer is sent.
struct Stream {
    watching: watch::Receiver<Shown>,
    /// The version of each fragment that they have.
    sent: HashMap<String, String>,
    clock: SharedClock,
    mark: String,
    token: Option<String>,
    ended: bool,
}

#[derive(Serialize)]
struct PageEvent<'a> {
    now: Timestamp,
    fragments: Vec<&'a Fragment>,
}

#[derive(Serialize)]
struct TroubleEvent<'a> {
    status: u16,
    detail: &'a str,
}

impl Stream {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.ended {
            let event = tokio::select! {
                biased;
                changed = self.watching.changed() => {
                    if changed.is_err() {
                        self.ended = true;
                        return Some(Bytes::from_static(b"event: end\ndata: {}\n\n"));
                    }
                    self.event()
                }
                () = self.clock.sleep(SILENCE) => Some(Bytes::from_static(b":\n\n")),
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn event(&mut self) -> Option<Bytes> {
        match &*self.watching.borrow_and_update() {
            Shown::Nothing => None,
            Shown::Page(page) => {
                let is_news = |fragment: &&Fragment| self.sent.get(&fragment.id) != Some(&fragment.v);
                let fragments: Vec<&Fragment> = page.fragments.iter().filter(is_news).collect();
                if fragments.is_empty() {
                    return None;
                }
                let event = event("page", &PageEvent { now: page.now, fragments: fragments.clone() });
                let news = fragments.into_iter().map(|fragment| (fragment.id.clone(), fragment.v.clone()));
                let news: Vec<_> = news.collect();
                self.sent.extend(news);
                Some(Bytes::from(with_token(&event, &self.mark, self.token.as_deref())))
            }
            Shown::Trouble { status, detail } => {
                // What they have may have changed when it can be made again.
                Some(Bytes::from(event("trouble", &TroubleEvent { status: *status, detail })))
            }
            Shown::End => {
                self.ended = true;
                Some(Bytes::from_static(b"event: end\ndata: {}\n\n"))
            }
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("events have JSON forms, and memory takes them");
    format!("event: {name}\ndata: {data}\n\n")
}
