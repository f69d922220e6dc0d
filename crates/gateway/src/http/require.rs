//! Authorisation in front of other routes: the read and management API use the same rules as the front doors.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tidegate_model::clock::SharedClock;

use super::error::ErrorResponse;
use crate::auth::{AuthError, Authorizer, Right};

/// What a caller must show before the routes behind it are reached. Handlers find him as
/// `Extension<`[`Principal`](crate::auth::Principal)`>`.
#[derive(Clone)]
pub struct Require {
    authorizer: Arc<Authorizer>,
    clock: SharedClock,
    right: Right,
    hub_parameter: Option<&'static str>,
}

impl Require {
    /// The caller needs `right` on the whole namespace.
    pub fn on_namespace(authorizer: Arc<Authorizer>, clock: SharedClock, right: Right) -> Self {
        Self { authorizer, clock, right, hub_parameter: None }
    }

    /// The caller needs `right` on the hub that the path parameter `parameter` names. A route without that parameter
    /// needs the right on the namespace.
    pub fn on_hub_in_path(
        authorizer: Arc<Authorizer>,
        clock: SharedClock,
        right: Right,
        parameter: &'static str,
    ) -> Self {
        Self { authorizer, clock, right, hub_parameter: Some(parameter) }
    }

    /// Puts the requirement in front of the routes of `router`; its fallback stays open.
    pub fn before<S: Clone + Send + Sync + 'static>(self, router: Router<S>) -> Router<S> {
        router.route_layer(from_fn_with_state(self, check))
    }
}

async fn check(
    State(require): State<Require>,
    parameters: RawPathParams,
    mut request: Request,
    next: Next,
) -> Result<Response, ErrorResponse> {
    let hub = require
        .hub_parameter
        .and_then(|wanted| parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value));
    let path = hub.unwrap_or_default();
    if path.contains('/') {
        return Err(ErrorResponse::bad_request("the name of a hub has no slash", "name one hub"));
    }
    let principal = require.authorizer.authorize(
        authorization(request.headers())?,
        require.right,
        path,
        require.clock.now(),
    )?;
    request.extensions_mut().insert(principal);
    Ok(next.run(request).await)
}

/// The `Authorization` header as text.
pub(super) fn authorization(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    match headers.get(AUTHORIZATION) {
        None => Ok(None),
        Some(value) => value.to_str().map(Some).map_err(|_| AuthError::NotText),
    }
}
