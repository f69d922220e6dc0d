//! Access tokens: who has one, making one, ending one.

use std::time::Duration;

use axum::Json;
use axum::extract::State as From_;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_access::Role;
use tidegate_access::token::TokenId;
use tidegate_access::tokens::{NewToken, Revoked, TokenError, TokenRecord};
use tidegate_model::clock::Timestamp;

use crate::access::State;
use crate::api::ApiError;
use crate::api::actor::Actor;
use crate::api::dead_letter_acts::body;
use crate::api::page::Page;
use crate::api::parameters::InPath;
use crate::config::elements::duration;

/// How long a token lasts where nothing else is said.
pub(crate) const DEFAULT_EXPIRY: Duration = Duration::from_secs(90 * 24 * 3600);

/// What is said for a token that does not end.
pub(crate) const NEVER: &str = "never";

/// A token as it is listed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenShape {
    #[schema(value_type = String)]
    id: TokenId,
    name: String,
    #[schema(value_type = String, example = "operator")]
    role: Role,
    /// `active`, `expired`, `revoked`, or `link` for a sign-in link that nobody has followed yet.
    #[schema(value_type = String)]
    state: &'static str,
    created_at: Timestamp,
    created_by: String,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    revoked_by: Option<String>,
    /// When it was last used, to the hour.
    last_used_at: Option<Timestamp>,
}

impl TokenShape {
    fn new(id: TokenId, record: TokenRecord, now: Timestamp) -> Self {
        let is_link = record.is_waiting();
        let TokenRecord { name, role, created_at, created_by, expires_at, revoked, last_used_at, .. } =
            record;
        let is_over = expires_at.is_some_and(|end| end <= now);
        let state = match (&revoked, is_over) {
            (Some(_), _) => "revoked",
            (None, true) => "expired",
            (None, false) if is_link => "link",
            (None, false) => "active",
        };
        let (revoked_at, revoked_by) = revoked.map(|Revoked { at, by }| (at, by)).unzip();
        Self {
            id,
            name,
            role,
            state,
            created_at,
            created_by,
            expires_at,
            revoked_at,
            revoked_by,
            last_used_at,
        }
    }
}

/// Every token, ordered by number.
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "access",
    responses((status = 200, content(
            (tidegate_api::Page<TokenShape> = "application/json"), (TokenShape = "application/x-ndjson"),
        ), description = "Tokens, ordered by number"), crate::api::openapi::Refused, crate::api::openapi::Throttled, crate::api::openapi::Failed),
)]
pub(super) async fn list(From_(state): From_<State>) -> Result<Response, ApiError> {
    let now = state.clock.now();
    // There are at most as many as a page holds.
    let mut page = Page::new(None);
    for (id, record) in state.door.tokens.list().await? {
        page.push(&TokenShape::new(id, record, now));
    }
    Ok(page.finish(None))
}

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[schema(as = CreateTokenRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRequest {
    name: String,
    #[schema(value_type = String, example = "operator")]
    role: Role,
    /// How long it lasts, such as `90d`, or `never`.
    #[serde(default)]
    expires: Option<String>,
    #[serde(default)]
    reason: String,
}

/// A token that was made just now.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedToken)]
struct CreatedShape {
    /// What its holder shows. It is told here and never again.
    token: String,
    #[serde(flatten)]
    shape: TokenShape,
}

/// Makes a token.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "access",
    request_body(content = CreateRequest, description = "Who gets it, and what they may do"),
    responses(
        (status = 201, body = CreatedShape, description = "The token, told once"),
        crate::api::openapi::Refused, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Throttled, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn create(
    From_(state): From_<State>,
    actor: Actor,
    request: Result<Json<CreateRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, r#"{"name":"…","role":"reader|operator|admin","expires":"90d"}"#)?;
    let act = actor.act_without_reason(&request.reason, &*state.clock)?;
    let expires_at = match request.expires.as_deref() {
        None => Some(act.at.plus(DEFAULT_EXPIRY)),
        Some(NEVER) => None,
        Some(text) => Some(act.at.plus(lasting(text)?)),
    };
    let now = act.at;
    let new = NewToken { name: request.name, role: request.role, expires_at };
    let (text, record) = state.door.tokens.create(new, act).await?;
    let shape = TokenShape::new(text.id().clone(), record, now);
    Ok((StatusCode::CREATED, Json(CreatedShape { token: text.reveal(), shape })).into_response())
}

fn lasting(text: &str) -> Result<Duration, ApiError> {
    duration::parse(text).filter(|time| !time.is_zero()).ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        ApiError::bad_request(format!("a token cannot last {shown:?}"))
            .help("it is a whole number with one of the units s, m, h, d, such as 90d; or never")
    })
}

/// Why it is done.
#[derive(Deserialize, ToSchema)]
#[schema(as = RevokeTokenRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeRequest {
    #[serde(default)]
    reason: String,
}

/// What was changed.
#[derive(Serialize, ToSchema)]
#[schema(as = ChangedToken)]
struct ChangedShape {
    #[serde(flatten)]
    shape: TokenShape,
    /// Whether it was like this already.
    unchanged: bool,
}

/// Ends a token, and the sessions that were opened with it.
#[utoipa::path(
    post, path = "/api/v1/tokens/{id}/revoke", tag = "access",
    params(("id" = String, Path, description = "The token's 12 hexadecimal digits")),
    request_body(content = RevokeRequest),
    responses(
        (status = 200, body = ChangedShape, description = "The token as it is now"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Throttled, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn revoke(
    From_(state): From_<State>,
    actor: Actor,
    InPath(id): InPath<String>,
    request: Result<Json<RevokeRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, r#"{"reason":"…"}"#)?;
    let act = actor.act_without_reason(&request.reason, &*state.clock)?;
    let (id, now) = (id_in(&id)?, act.at);
    let (record, changed) = state.door.tokens.revoke(&id, act).await?;
    state.door.sessions.close_of_token(&id).await?;
    Ok(Json(ChangedShape { shape: TokenShape::new(id, record, now), unchanged: !changed }).into_response())
}

/// A new name.
#[derive(Deserialize, ToSchema)]
#[schema(as = RenameTokenRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct RenameRequest {
    name: String,
    #[serde(default)]
    reason: String,
}

/// Gives the holder of a token another name.
#[utoipa::path(
    post, path = "/api/v1/tokens/{id}/rename", tag = "access",
    params(("id" = String, Path, description = "The token's 12 hexadecimal digits")),
    request_body(content = RenameRequest),
    responses(
        (status = 200, body = ChangedShape, description = "The token as it is now"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Throttled, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn rename(
    From_(state): From_<State>,
    actor: Actor,
    InPath(id): InPath<String>,
    request: Result<Json<RenameRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, r#"{"name":"…","reason":"…"}"#)?;
    let act = actor.act_without_reason(&request.reason, &*state.clock)?;
    let (id, now) = (id_in(&id)?, act.at);
    let (record, changed) = state.door.tokens.rename(&id, &request.name, act).await?;
    Ok(Json(ChangedShape { shape: TokenShape::new(id, record, now), unchanged: !changed }).into_response())
}

fn id_in(text: &str) -> Result<TokenId, ApiError> {
    TokenId::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(12).collect();
        ApiError::not_found(format!("there is no access token {shown:?}"))
            .help("a token is named by its 12 hexadecimal digits; list them: tidegate tokens list")
    })
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        let status = match &error {
            TokenError::Store(_) => return error_of_store(error),
            TokenError::Name(_) | TokenError::AlreadyOver { .. } | TokenError::LinkTooLong => {
                StatusCode::BAD_REQUEST
            }
            TokenError::TooMany => StatusCode::CONFLICT,
            TokenError::NotFound { .. } => StatusCode::NOT_FOUND,
        };
        Self::new(status, error.code(), error.to_string()).help(error.action())
    }
}

fn error_of_store(error: TokenError) -> ApiError {
    match error {
        TokenError::Store(error) => error.into(),
        other => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, other.code(), other.to_string()),
    }
}
