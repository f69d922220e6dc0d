//! Who is signed in, and ending that.

use axum::extract::State as From_;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_access::Role;
use tidegate_access::session::SessionRecord;
use tidegate_model::clock::Timestamp;

use crate::access::State;
use crate::access::guard::CurrentSession;
use crate::api::ApiError;
use crate::api::actor::Actor;
use crate::api::dead_letter_acts::body;
use crate::api::page::Page;
use crate::api::parameters::InPath;

/// Somebody who is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenSession)]
struct OpenShape {
    id: String,
    name: String,
    /// What they might do when they signed in; the role of the token behind it counts, where there is one.
    #[schema(value_type = String, example = "operator")]
    role: Role,
    /// The number of the token that they signed in with; null for those whom the identity provider knows.
    token: Option<String>,
    opened_at: Timestamp,
    /// When it was last used, to a twelfth of the time after which an unused session ends.
    used_at: Timestamp,
    /// Whether it is the session that asks.
    current: bool,
}

impl OpenShape {
    fn new(record: SessionRecord, current: Option<&CurrentSession>) -> Self {
        let SessionRecord { id, name, role, token, opened_at, used_at, .. } = record;
        let current = current.is_some_and(|current| current.0 == id);
        Self { id, name, role, token: token.map(|token| token.to_string()), opened_at, used_at, current }
    }
}

/// The session that a request came with, if it came with one.
type Current = Option<Extension<CurrentSession>>;

/// Who is signed in, the newest first.
#[utoipa::path(
    get, path = "/api/v1/sessions", tag = "access",
    responses((status = 200, content(
            (tidegate_api::Page<OpenShape> = "application/json"), (OpenShape = "application/x-ndjson"),
        ), description = "Sessions, the newest first"), crate::api::openapi::Refused, crate::api::openapi::Throttled, crate::api::openapi::Failed),
)]
pub(super) async fn list(From_(state): From_<State>, current: Current) -> Result<Response, ApiError> {
    // There are at most as many as fit.
    let mut page = Page::new(None);
    for record in state.door.sessions.list().await? {
        page.push(&OpenShape::new(record, current.as_deref()));
    }
    Ok(page.finish(None))
}

/// Why it is done.
#[derive(Deserialize, ToSchema)]
#[schema(as = EndSessionRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct EndRequest {
    #[serde(default)]
    reason: String,
}

/// Signs somebody out, from the next request on. With a token they can sign in again.
#[utoipa::path(
    post, path = "/api/v1/sessions/{id}/end", tag = "access",
    params(("id" = String, Path, description = "The session's 12 hexadecimal digits")),
    request_body(content = EndRequest),
    responses(
        (status = 200, body = OpenShape, description = "The session as it was"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Throttled, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn end(
    From_(state): From_<State>,
    actor: Actor,
    current: Current,
    InPath(id): InPath<String>,
    request: Result<Json<EndRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, r#"{"reason":"…"}"#)?;
    let act = actor.act_without_reason(&request.reason, &*state.clock)?;
    match state.door.sessions.end(&id, act).await? {
        Some(record) => Ok(Json(OpenShape::new(record, current.as_deref())).into_response()),
        None => {
            let shown: String = id.chars().take(12).collect();
            Err(ApiError::not_found(format!("there is no session {shown:?}"))
                .help("it may have ended by itself; list them: tidegate tokens sessions"))
        }
    }
}
