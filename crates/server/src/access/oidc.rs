//! Signing in by the identity provider: the way there, and the way back.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State as From_};
use axum::http::header::{HeaderValue, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use tidegate_access::cookie::Cookie;
use tidegate_access::oidc::{Callback, Person, Provider, SIGN_IN_TIME, SignInError};
use tidegate_access::persons::sign_in_recorded;
use tidegate_access::request::is_loopback_name;
use tidegate_access::{Asked, Principal, Proof, Refused};
use tidegate_model::ports::{Registers, StoreError};
use tidegate_model::trail::Act;

use crate::access::State;
use crate::access::guard::asked;
use crate::access::session::{opened_cookie, set_cookie};
use crate::api::page::percent_encode;

/// Where the provider sends people back to, below the address that they know the server by.
const CALLBACK: &str = "/sign-in/oidc/callback";

/// What the addresses are given besides.
#[derive(Clone)]
pub(super) struct WithProvider {
    pub(super) state: State,
    pub(super) provider: Arc<Provider>,
    pub(super) registers: Arc<dyn Registers>,
}

#[derive(Deserialize)]
pub(super) struct Begin {
    /// Where the person wants to go.
    #[serde(default)]
    then: String,
}

/// Sends the browser to the identity provider.
#[utoipa::path(
    get, path = "/sign-in/oidc", tag = "access", security(()),
    params(("then" = Option<String>, Query, description = "The path of this server to go to after the sign-in")),
    responses((status = 303, description = "To the provider; or to the sign-in page, which shows why not")),
)]
pub(super) async fn begin(
    From_(with): From_<WithProvider>,
    query: Result<Query<Begin>, QueryRejection>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let (door, asked) = (&with.state.door, asked(&parts));
    if let Err(refused) = door.take_try(asked) {
        return failed(&refused.to_string());
    }
    let then = query.map(|Query(begin)| begin.then).unwrap_or_default();
    let Some(origin) = own_origin(&with, &parts) else {
        return failed("the server does not know its address: set `public_url` of [console]");
    };
    match with.provider.begin(&format!("{origin}{CALLBACK}"), &then).await {
        Ok(sign_in) => {
            let cookie = Cookie::sign_in(door.settings.is_secure());
            let mut response = redirect(&sign_in.location);
            set_cookie(&mut response, &cookie.set(&sign_in.cookie, SIGN_IN_TIME));
            response
        }
        Err(error) => refused_by(&error, asked),
    }
}

/// Takes the browser back from the identity provider.
#[utoipa::path(
    get, path = "/sign-in/oidc/callback", tag = "access", security(()),
    params(
        ("state" = Option<String>, Query, description = "Which sign-in it is"),
        ("code" = Option<String>, Query, description = "What the provider gave"),
        ("error" = Option<String>, Query, description = "Why it gave nothing"),
        ("error_description" = Option<String>, Query, description = "The same for a person"),
    ),
    responses((status = 303, description = "To where the person wanted to go, signed in; or to the sign-in page, which shows why not")),
)]
pub(super) async fn callback(
    From_(with): From_<WithProvider>,
    query: Result<Query<Callback>, QueryRejection>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let (door, asked) = (&with.state.door, asked(&parts));
    let cookie = Cookie::sign_in(door.settings.is_secure());
    let callback = query.map(|Query(callback)| callback).unwrap_or_default();
    let mut response = match with.provider.finish(&callback, cookie.read(&parts.headers)).await {
        Ok(person) => match signed_in(&with, &person).await {
            Ok(principal) => {
                door.tries.give_back(asked.address());
                let mut response = redirect(&person.then);
                set_cookie(&mut response, &opened_cookie(door, asked, principal).0);
                response
            }
            Err(error) => failed(&Refused::Token(error.into()).to_string()),
        },
        Err(error) => refused_by(&error, asked),
    };
    set_cookie(&mut response, &cookie.clear());
    response
}

async fn signed_in(with: &WithProvider, person: &Person) -> Result<Principal, StoreError> {
    let principal = Principal { name: person.name.clone(), role: person.role, proof: Proof::ProviderSession };
    let act = Act { by: principal.in_trail(None), reason: String::new(), at: with.state.clock.now() };
    sign_in_recorded(&*with.registers, person, act).await?;
    Ok(principal)
}

/// The address that people know the server by: what is configured, or what they typed, where it can only be this machine.
fn own_origin(with: &WithProvider, parts: &Parts) -> Option<String> {
    if let Some(origin) = &with.state.door.settings.public_origin {
        return Some(origin.clone());
    }
    let host = host(&parts.headers)?;
    let uri: axum::http::Uri = format!("http://{host}").parse().ok()?;
    uri.host().is_some_and(is_loopback_name).then(|| format!("http://{host}"))
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(axum::http::header::HOST)?.to_str().ok()
}

fn refused_by(error: &SignInError, asked: Asked<'_>) -> Response {
    let address = asked.ends.map(|ends| ends.peer.ip());
    tracing::warn!(?address, %error, "a sign-in by the identity provider failed");
    failed(&format!("{error}; {} ({})", error.action(), error.code()))
}

/// Back to the sign-in page, which shows why.
fn failed(why: &str) -> Response {
    redirect(&format!("/sign-in?problem={}", percent_encode(why)))
}

fn redirect(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) => (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response(),
        Err(_) => (StatusCode::SEE_OTHER, [(LOCATION, HeaderValue::from_static("/"))]).into_response(),
    }
}
