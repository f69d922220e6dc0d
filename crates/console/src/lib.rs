//! The console: web pages over the HTTP API.
//!
//! ```text
//! browser → shell → page → api (in process) → what the API may do, with the caller's own authorisation
//!             ↑       ↓
//!             └ live: the same page again, once a second for all who look at it, its changed fragments only
//! ```
//!
//! The console is given the API as a router and calls it in this process, with the credentials of whoever asks. So it can
//! do nothing that the API cannot, and shows nobody what the API would not. Pages are rendered here, work without
//! JavaScript, and load nothing from elsewhere. A page is a function from a [`visit::Visit`] to a [`page::Page`]
//! (`src/pages`), made of the parts in `src/components`; [`shell`] puts the frame around it.

pub mod api;
pub mod assets;
pub mod bulk;
pub mod caller;
pub mod components;
pub mod form;
pub mod live;
mod newest;
pub mod page;
pub mod pages;
pub mod problem;
pub mod series;
pub mod shell;
pub mod text;
pub mod viewer;
pub mod visit;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;

use tidegate_model::clock::SharedClock;

use crate::live::Feeds;

/// What a console is made of.
pub struct Parts {
    /// The API: everything that is shown comes from it, and every act goes through it.
    pub api: Router,
    /// The clock that pages are dated by.
    pub clock: SharedClock,
    /// The pages of the error codes: code and Markdown.
    pub error_pages: &'static [(&'static str, &'static str)],
}

/// What all requests share.
pub struct Shared {
    pub(crate) api: Router,
    pub(crate) clock: SharedClock,
    pub(crate) error_pages: &'static [(&'static str, &'static str)],
    pub(crate) feeds: Arc<Feeds>,
    /// What stands for the token against forged requests until an answer is sent; random for each process, so that no
    /// stored text can hold it.
    pub(crate) csrf_mark: String,
}

/// The console.
pub struct Console {
    shared: Arc<Shared>,
}

impl Console {
    /// A console over an API.
    pub fn new(parts: Parts) -> Self {
        let Parts { api, clock, error_pages } = parts;
        let csrf_mark = format!("csrf-{:016x}{:016x}", clock.random(), clock.random());
        let feeds = Arc::new(Feeds::new(clock.clone()));
        Self { shared: Arc::new(Shared { api, clock, error_pages, feeds, csrf_mark }) }
    }

    /// Its addresses. Anything else is left to the router it is merged with.
    pub fn router(&self) -> Router {
        let shared = self.shared.clone();
        let pages = pages::router().with_state(shared.clone());
        let framed = pages.clone().route_layer(from_fn_with_state(shared.clone(), shell::frame));
        Router::new()
            .route("/live", get(live::stream))
            .with_state(live::Live { shared: shared.clone(), pages })
            .merge(shell::routes().with_state(shared))
            .merge(assets::routes())
            .merge(framed)
    }

    /// The page for an address that does not exist, whatever is asked for.
    pub fn nowhere(&self) -> Router {
        Router::new()
            .fallback(pages::nowhere)
            .layer(from_fn_with_state(self.shared.clone(), shell::frame))
            .with_state(self.shared.clone())
    }

    /// Ends the live streams, so that a server that stops need not wait for them.
    pub fn close(&self) {
        self.shared.feeds.close();
    }
}
