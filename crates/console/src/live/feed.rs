//! One page, made again and again for all who look at it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use parking_lot::Mutex;
use tokio::sync::watch;
use tower::ServiceExt as _;

use tidegate_model::clock::{SharedClock, Timestamp};

use crate::api::Api;
use crate::caller::{Caller, Identity};
use crate::live::Live;
use crate::page::{Fragment, Page};
use crate::problem::Problem;
use crate::viewer::Viewer;

/// How often a page is made.
const PACE: Duration = Duration::from_secs(1);

/// How many may look at live pages at the same time. Each takes a connection, of which the server has 512.
const MAX_VIEWERS: usize = 200;

/// Who sees the same: one page under the same credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) path: String,
    pub(super) identity: Identity,
}

/// What a page shows at a moment.
pub(super) enum Shown {
    /// It was not made yet.
    Nothing,
    /// Its fragments.
    Page(Made),
    /// It cannot be made.
    Trouble { status: u16, detail: String },
    /// It may not be seen any more.
    End,
}

/// The fragments of a page, and when it was made.
pub(super) struct Made {
    pub(super) now: Timestamp,
    pub(super) fragments: Vec<Fragment>,
}

/// All pages that somebody looks at.
pub struct Feeds {
    clock: SharedClock,
    feeds: Mutex<HashMap<Key, watch::Sender<Shown>>>,
    closed: watch::Sender<bool>,
}

impl Feeds {
    /// Nobody looks yet.
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self { clock, feeds: Mutex::default(), closed: watch::Sender::new(false) }
    }

    /// Ends all, and takes nobody any more.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        self.feeds.lock().clear();
    }

    /// Looks at a page from now on; `None` when too many do, or the server stops.
    pub(super) fn join(
        self: &Arc<Self>,
        key: Key,
        live: &Live,
        caller: Arc<Caller>,
    ) -> Option<watch::Receiver<Shown>> {
        let mut feeds = self.feeds.lock();
        let viewers: usize = feeds.values().map(watch::Sender::receiver_count).sum();
        if viewers >= MAX_VIEWERS || *self.closed.borrow() {
            return None;
        }
        if let Some(feed) = feeds.get(&key) {
            let mut watching = feed.subscribe();
            // What is shown now is news to who comes now.
            watching.mark_changed();
            return Some(watching);
        }
        let (feed, watching) = watch::channel(Shown::Nothing);
        feeds.insert(key.clone(), feed);
        drop(feeds);
        tokio::spawn(run(Arc::clone(self), key, live.clone(), caller));
        Some(watching)
    }

    /// Shows something to all who look; false when nobody does any more, and then the feed is gone.
    fn show(&self, key: &Key, shown: Shown) -> bool {
        let mut feeds = self.feeds.lock();
        let Some(feed) = feeds.get(key) else { return false };
        // Under the lock, so that nobody joins a feed that ends.
        let ends = feed.receiver_count() == 0 || matches!(shown, Shown::End);
        feed.send_replace(shown);
        if ends {
            feeds.remove(key);
        }
        !ends
    }
}

async fn run(feeds: Arc<Feeds>, key: Key, live: Live, caller: Arc<Caller>) {
    let mut closed = feeds.closed.subscribe();
    loop {
        let shown = make(&key.path, &live, &caller).await;
        if !feeds.show(&key, shown) {
            return;
        }
        tokio::select! {
            () = feeds.clock.sleep(PACE) => {}
            _ = closed.wait_for(|closed| *closed) => return,
        }
    }
}

/// Makes the page once. Who looks is found out each time, so that a session that ended shows nothing more.
async fn make(path: &str, live: &Live, caller: &Arc<Caller>) -> Shown {
    let viewer = match Viewer::ask(&Api::new(live.shared.api.clone(), caller.clone())).await {
        Ok(viewer) => Arc::new(viewer),
        Err(problem) => return trouble(problem),
    };
    let Ok(mut request) = Request::get(path).body(Body::empty()) else { return Shown::End };
    request.extensions_mut().insert(caller.clone());
    request.extensions_mut().insert(viewer);
    let Ok(mut response) = live.pages.clone().oneshot(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return trouble(problem);
    }
    match response.extensions_mut().remove::<Page>() {
        Some(page) => Shown::Page(Made { now: live.shared.clock.now(), fragments: page.fragments }),
        None => Shown::End,
    }
}

fn trouble(problem: Problem) -> Shown {
    match problem.asks_to_sign_in() {
        true => Shown::End,
        false => Shown::Trouble { status: problem.status.as_u16(), detail: problem.detail },
    }
}
