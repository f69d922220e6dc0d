//! The guard in front of the API: each route behind it is reached by who may.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::http::header::IF_NONE_MATCH;
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use tidegate_access::mask::{Origin, Sight};
use tidegate_access::{Asked, Door, Ends, Entered, Role};
use tidegate_gateway::http::ErrorResponse;

use crate::access::{masking, refusal};

/// Where documents are asked for in SQL.
const QUERY: &str = "/api/v1/query";

/// Where the numbers are: nothing of events and documents is among them.
const METRICS: &str = "/metrics";

/// What a caller must be before the routes behind it are reached. Handlers find them as
/// `Extension<`[`Principal`](tidegate_access::Principal)`>`.
#[derive(Clone)]
pub(crate) struct Guard {
    door: Arc<Door>,
    role: Role,
    hub_parameter: Option<&'static str>,
}

impl Guard {
    /// The caller has at least this role.
    pub(crate) fn new(door: &Arc<Door>, role: Role) -> Self {
        Self { door: door.clone(), role, hub_parameter: None }
    }

    /// The same; a key for the hub that the path parameter `parameter` names is enough.
    #[must_use]
    pub(crate) fn for_hub_in_path(mut self, parameter: &'static str) -> Self {
        self.hub_parameter = Some(parameter);
        self
    }

    /// Puts the guard in front of the routes of `router`; its fallback stays open.
    pub(crate) fn before<S: Clone + Send + Sync + 'static>(self, router: Router<S>) -> Router<S> {
        router.route_layer(from_fn_with_state(self, check))
    }
}

/// What people call the session that a request came with, for the handlers behind the guard.
#[derive(Clone)]
pub(super) struct CurrentSession(pub(super) String);

async fn check(
    State(guard): State<Guard>,
    parameters: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    let hub = guard
        .hub_parameter
        .and_then(|wanted| parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value));
    let hub = hub.unwrap_or_default();
    if hub.contains('/') {
        let refused = ErrorResponse::bad_request("the name of a hub has no slash", "name one hub");
        return refused.into_response();
    }
    let (mut parts, body) = request.into_parts();
    let Entered { principal, session } = match guard.door.enter(asked(&parts), guard.role, hub).await {
        Ok(entered) => entered,
        Err(refused) => return refusal(&refused),
    };
    if let Some(session) = session {
        parts.extensions.insert(CurrentSession(session.id));
    }
    let (masks, role) = (&guard.door.settings.masks, principal.role);
    if parts.uri.path() == QUERY && !masks.allow_queries(role) {
        return masking::query_refused();
    }
    let is_numbers = parts.uri.path() == METRICS;
    if !masks.spare(role) {
        // What a browser keeps may be from somebody who saw everything: it is told anew.
        parts.headers.remove(IF_NONE_MATCH);
        parts.extensions.insert(Sight::new(masks, role));
    }
    parts.extensions.insert(principal);
    request = Request::from_parts(parts, body);
    let response = next.run(request).await;
    if masks.spare(role) || is_numbers {
        return response;
    }
    let named = |wanted: &str| parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let origin = Origin { hub: named("hub"), collection: named("collection") };
    masking::masked(masks, role, origin, response).await
}

/// What is known of a request before anybody is recognised.
pub(super) fn asked(parts: &Parts) -> Asked<'_> {
    let ends = parts.extensions.get::<Ends>().copied();
    Asked { method: &parts.method, uri: &parts.uri, headers: &parts.headers, ends }
}
