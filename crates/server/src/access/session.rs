//! Who is asking, signing in with a token, and signing out.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Request, State as From_};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, SET_COOKIE};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_access::link::LinkText;
use tidegate_access::session::Session;
use tidegate_access::token::TokenText;
use tidegate_access::tokens::{LinkRefused, TokenError, TokenRefused};
use tidegate_access::{Asked, Door, Entered, Principal, Proof, Refused, Role};
use tidegate_model::ports::StoreError;
use tidegate_model::trail::Act;

use crate::access::guard::asked;
use crate::access::{State, links, refusal};
use crate::api::ApiError;

/// Who is asking.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
struct SessionShape {
    /// True for somebody who said who they are.
    signed_in: bool,
    /// Their name, as the audit trail has it.
    name: Option<String>,
    /// What they may do; null for nothing.
    #[schema(value_type = Option<String>, example = "operator")]
    role: Option<Role>,
    /// `token`, `key`, `session` or `loopback`; null for nobody.
    #[schema(value_type = Option<String>)]
    by: Option<&'static str>,
    /// What requests of a session that change something carry in the header `tidegate-csrf`.
    csrf: Option<String>,
    /// Where a sign-in by the identity provider begins, if there is one.
    provider: Option<&'static str>,
    /// What makes a link that signs somebody in, typed on the machine of the server.
    link_command: String,
}

impl SessionShape {
    fn of(entered: Option<&Entered>, state: &State, asked: Asked<'_>) -> Self {
        let provider = state.has_provider.then_some("/sign-in/oidc");
        // Where the data are is told to those only who are on that machine.
        let link_command = match asked.is_local() {
            Ok(()) => state.link_command.to_string(),
            Err(_) => links::COMMAND.to_owned(),
        };
        let Some(Entered { principal, session }) = entered else {
            let nobody = Self {
                signed_in: false,
                name: None,
                role: None,
                by: None,
                csrf: None,
                provider,
                link_command,
            };
            return nobody;
        };
        let by = match principal.proof {
            Proof::Key => "key",
            Proof::Token(_) => "token",
            Proof::TokenSession(_) | Proof::ProviderSession => "session",
            Proof::Loopback => "loopback",
        };
        Self {
            signed_in: principal.proof != Proof::Loopback,
            name: Some(principal.in_trail(None)),
            role: Some(principal.role),
            by: Some(by),
            csrf: session.as_ref().map(|session| session.csrf.reveal().to_owned()),
            provider,
            link_command,
        }
    }
}

/// Who is asking. Nobody is an answer as well; a token or key that is wrong is none.
#[utoipa::path(
    get, path = "/api/v1/session", tag = "access", security((), ("key" = []), ("signature" = [])),
    responses(
        (status = 200, body = SessionShape, description = "Who is asking"),
        crate::api::openapi::Refused, crate::api::openapi::Throttled, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn show(From_(state): From_<State>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let asked = asked(&parts);
    match state.door.enter(asked, Role::Reader, "").await {
        Ok(entered) => Json(SessionShape::of(Some(&entered), &state, asked)).into_response(),
        Err(Refused::NotSignedIn) => Json(SessionShape::of(None, &state, asked)).into_response(),
        Err(refused) => refusal(&refused),
    }
}

/// A sign-in: one of both.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// The access token.
    #[serde(default)]
    token: Option<String>,
    /// The text of a sign-in link, which works once: what stands after `link=` in its address.
    #[serde(default)]
    link: Option<String>,
}

/// Signs in with a token, or with a sign-in link: the answer sets the cookie.
#[utoipa::path(
    post, path = "/api/v1/session", tag = "access", security(()),
    request_body(content = SignIn, description = "The token, or the link"),
    responses(
        (status = 201, body = SessionShape, description = "Signed in; `Set-Cookie` has the session"),
        crate::api::openapi::Refused, crate::api::openapi::TooLarge, crate::api::openapi::Throttled, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn open(From_(state): From_<State>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match sign_in(&state, &parts, Request::from_parts(parts.clone(), body)).await {
        Ok(response) => response,
        Err(NotSignedIn::Refused(refused)) => refusal(&refused),
        Err(NotSignedIn::Bad(error)) => error.into_response(),
    }
}

enum NotSignedIn {
    Refused(Refused),
    Bad(ApiError),
}

impl From<Refused> for NotSignedIn {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

async fn sign_in(state: &State, parts: &Parts, request: Request) -> Result<Response, NotSignedIn> {
    let (door, asked) = (&state.door, asked(parts));
    // Another site could sign somebody in as somebody else, who then sees what they do.
    door.must_be_from_here(asked)?;
    door.take_try(asked)?;
    let bad = |error: JsonRejection| ApiError::bad_request(error.body_text()).help(FORM);
    let Json(SignIn { token, link }) =
        <Json<SignIn> as axum::extract::FromRequest<()>>::from_request(request, &())
            .await
            .map_err(|error| NotSignedIn::Bad(bad(error)))?;
    let result = match (token, link) {
        (Some(token), None) => by_token(state, token.trim()).await,
        (None, Some(link)) => by_link(state, link.trim()).await,
        _ => {
            let wrong = ApiError::bad_request("a sign-in has either a token or a link").help(FORM);
            return Err(NotSignedIn::Bad(wrong));
        }
    };
    let principal = result.inspect_err(|refused| {
        let address = asked.ends.map(|ends| ends.peer.ip());
        tracing::warn!(?address, %refused, "a sign-in was refused");
    })?;
    door.tries.give_back(asked.address());
    opened(state, asked, principal).await.map_err(NotSignedIn::from)
}

const FORM: &str = r#"send {"token":"tg_…"} or {"link":"tgl_…"} with content-type application/json"#;

async fn by_token(state: &State, text: &str) -> Result<Principal, Refused> {
    let token = TokenText::parse(text).ok_or(Refused::Token(TokenRefused::Unknown))?;
    let holder = state.door.by_token(&token).await?;
    let id = token.id();
    let principal = Principal { proof: Proof::TokenSession(id.clone()), ..holder };
    let act = Act { by: principal.in_trail(None), reason: String::new(), at: state.clock.now() };
    match state.door.tokens.signed_in(id, act).await {
        Ok(()) => Ok(principal),
        Err(TokenError::Store(error)) => Err(Refused::Session(error)),
        // It was there a moment ago.
        Err(_) => Err(Refused::Token(TokenRefused::Unknown)),
    }
}

async fn by_link(state: &State, text: &str) -> Result<Principal, Refused> {
    let link = LinkText::parse(text).ok_or(LinkRefused::Unknown)?;
    Ok(state.door.tokens.follow_link(&link, state.door.sessions.lifetime()).await?)
}

/// The answer to somebody who signed in.
async fn opened(state: &State, asked: Asked<'_>, principal: Principal) -> Result<Response, Refused> {
    let (cookie, session) = opened_cookie(&state.door, asked, principal).await?;
    let principal = session.principal.clone();
    let shape = SessionShape::of(Some(&Entered { principal, session: Some(session) }), state, asked);
    let mut response = (StatusCode::CREATED, Json(shape)).into_response();
    set_cookie(&mut response, &cookie);
    Ok(response)
}

/// Opens a session for somebody who showed who they are: the header that sets the cookie, and the session.
///
/// # Errors
/// When the session cannot be kept.
pub(super) async fn opened_cookie(
    door: &Door,
    asked: Asked<'_>,
    principal: Principal,
) -> Result<(String, Session), StoreError> {
    let cookie = door.cookie();
    // The session before, if there was one, is another person's or theirs: it is over.
    if let Some(old) = cookie.read(asked.headers) {
        door.sessions.close(old).await?;
    }
    let (secret, session) = door.sessions.open(principal).await?;
    Ok((cookie.set(&secret, door.sessions.lifetime()), session))
}

/// Signs out: the cookie is removed, and what it held is worth nothing.
#[utoipa::path(
    delete, path = "/api/v1/session", tag = "access", security(()),
    responses((status = 204, description = "Signed out"), crate::api::openapi::Refused, crate::api::openapi::Throttled, crate::api::openapi::Failed),
)]
pub(super) async fn close(From_(state): From_<State>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let (door, asked) = (&state.door, asked(&parts));
    match door.session(asked).await {
        Ok(Some(session)) => {
            if let Err(refused) = door.must_be_meant(asked, &session) {
                return refusal(&refused);
            }
            if let Some(secret) = door.cookie().read(asked.headers)
                && let Err(error) = door.sessions.close(secret).await
            {
                return refusal(&error.into());
            }
        }
        // Who is not signed in is signed out.
        Ok(None) => {}
        Err(refused) => return refusal(&refused),
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, &door.cookie().clear());
    response
}

pub(super) fn set_cookie(response: &mut Response, cookie: &str) {
    let mut value = HeaderValue::from_str(cookie).expect("a cookie of hexadecimal digits is a header");
    value.set_sensitive(true);
    response.headers_mut().append(SET_COOKIE, value);
}
