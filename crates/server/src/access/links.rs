//! Sign-in links: a way to sign in for whoever reaches the machine of the server.

use std::path::Path;
use std::time::Duration;

use axum::Json;
use axum::extract::State as From_;
use axum::extract::rejection::JsonRejection;
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_access::Role;
use tidegate_access::tokens::{DEFAULT_VALIDITY, NewLink, TokenError};
use tidegate_model::clock::Timestamp;
use tidegate_model::trail::Act;

use crate::access::State;
use crate::api::ApiError;
use crate::api::actor::Actor;
use crate::api::dead_letter_acts::body;
use crate::cli::output::quoted;
use crate::config::elements::duration;
use crate::node::Node;

/// What makes a link, typed on the machine of the server.
pub(super) const COMMAND: &str = "tidegate tokens sign-in-link";

/// The same, for the server of this data directory.
pub(super) fn command(data_dir: &Path) -> String {
    let path = std::path::absolute(data_dir);
    format!("{COMMAND} --data-dir {}", quoted(path.as_deref().unwrap_or(data_dir)))
}

/// A link to be made.
#[derive(Deserialize, ToSchema)]
#[schema(as = CreateSignInLinkRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRequest {
    /// Who will follow it, as the audit trail is to name them.
    name: String,
    #[schema(value_type = String, example = "operator")]
    role: Role,
    /// How long it works, such as `15m`; at most `24h`.
    #[serde(default)]
    valid: Option<String>,
    #[serde(default)]
    reason: String,
}

/// A link that was made just now.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedSignInLink)]
struct CreatedShape {
    /// The address to open in a browser. It is told here and never again. Null where the server does not know its own address.
    url: Option<String>,
    /// Its last part.
    link: String,
    /// The number of its token, by which it is listed and revoked.
    id: String,
    name: String,
    #[schema(value_type = String, example = "operator")]
    role: Role,
    /// Until when it works.
    expires_at: Option<Timestamp>,
}

/// Makes a link that signs somebody in once.
#[utoipa::path(
    post, path = "/api/v1/sign-in-links", tag = "access",
    request_body(content = CreateRequest, description = "Who follows it, and what they may do"),
    responses(
        (status = 201, body = CreatedShape, description = "The link, told once"),
        crate::api::openapi::Refused, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Throttled, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn create(
    From_(state): From_<State>,
    actor: Actor,
    headers: HeaderMap,
    request: Result<Json<CreateRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, r#"{"name":"…","role":"reader|operator|admin","valid":"15m"}"#)?;
    let act = actor.act_without_reason(&request.reason, &*state.clock)?;
    let validity = match request.valid.as_deref() {
        None => DEFAULT_VALIDITY,
        Some(text) => lasting(text)?,
    };
    let new = NewLink { name: request.name, role: request.role, validity };
    let (link, record) = state.door.tokens.create_link(new, act).await?;
    // Who makes it has a key or a token: no page of another site can have named the host.
    let asked = headers.get(HOST).and_then(|host| host.to_str().ok()).map(|host| format!("http://{host}"));
    let origin = state.door.settings.public_origin.clone().or(asked);
    let shape = CreatedShape {
        url: origin.map(|origin| link.address(&origin)),
        link: link.reveal(),
        id: link.id().to_string(),
        name: record.name,
        role: record.role,
        expires_at: record.expires_at,
    };
    Ok((StatusCode::CREATED, Json(shape)).into_response())
}

fn lasting(text: &str) -> Result<Duration, ApiError> {
    duration::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        ApiError::bad_request(format!("a sign-in link cannot work for {shown:?}"))
            .help("it is a whole number with one of the units s, m, h, such as 15m")
    })
}

/// A link for the person who started the server, below the address `origin` that it listens at.
///
/// # Errors
/// When there are too many tokens, or the store fails.
pub(crate) async fn for_who_starts(
    node: &Node,
    origin: &str,
    person: Option<String>,
) -> Result<String, TokenError> {
    let name = person.filter(|name| tidegate_access::name::check(name).is_ok());
    let new = NewLink {
        name: name.unwrap_or_else(|| "operator".to_owned()),
        role: Role::Operator,
        validity: DEFAULT_VALIDITY,
    };
    let reason = "offered at the start of the server".to_owned();
    let act = Act { by: "tidegate".to_owned(), reason, at: node.clock.now() };
    let (link, _) = node.door.tokens.create_link(new, act).await?;
    let origin = node.door.settings.public_origin.as_deref().unwrap_or(origin);
    Ok(link.address(origin))
}
