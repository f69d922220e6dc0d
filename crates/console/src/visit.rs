//! One look at a page: what its function is given.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;

use tidegate_model::clock::Timestamp;

use crate::Shared;
use crate::api::Api;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::viewer::Viewer;

/// Who looks at which page, when, and the API as they may use it.
#[derive(Clone)]
pub struct Visit {
    /// The API, with the visitor's authorisation.
    pub api: Api,
    /// The visitor.
    pub viewer: Arc<Viewer>,
    /// The time that the page shows.
    pub now: Timestamp,
    /// The page's own address, query included.
    pub uri: Uri,
    pub(crate) shared: Arc<Shared>,
}

impl FromRequestParts<Arc<Shared>> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let (caller, viewer) = (parts.extensions.get::<Arc<Caller>>(), parts.extensions.get::<Arc<Viewer>>());
        let caller = caller.cloned().unwrap_or_else(|| Arc::new(Caller::of(parts)));
        let api = Api::new(shared.api.clone(), caller);
        let viewer = match viewer {
            Some(viewer) => viewer.clone(),
            None => Arc::new(Viewer::ask(&api).await?),
        };
        let (now, uri) = (shared.clock.now(), parts.uri.clone());
        Ok(Self { api, viewer, now, uri, shared: shared.clone() })
    }
}

impl Visit {
    /// The value of a parameter in the page's query; nothing when it is not there or empty.
    pub fn parameter(&self, name: &str) -> Option<String> {
        parameter_of(&self.uri, name)
    }

    /// The page's address with its query, as it is passed to what leads back to it.
    pub fn here(&self) -> &str {
        self.uri.path_and_query().map_or("/", |address| address.as_str())
    }
}

/// The value of a parameter in the query of an address; nothing when it is not there or empty.
pub(crate) fn parameter_of(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(found, _)| *found == name)?.1;
    let value = value.replace('+', " ");
    let value = percent_encoding::percent_decode_str(&value).decode_utf8_lossy();
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}
