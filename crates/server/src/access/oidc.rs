//! Signing in by the identity provider: the way there, and the way back.

use std::sync::Arc;
use std::time::Duration;

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
use tidegate_access::{Asked, Door, Principal, Proof};
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
        return failed(door, &format!("{refused}; {}", refused.action()));
    }
    let then = query.map(|Query(begin)| begin.then).unwrap_or_default();
    let Some(origin) = own_origin(&with, &parts) else {
        return failed(door, "the server does not know its address: set `public_url` of [console]");
    };
    match with.provider.begin(&format!("{origin}{CALLBACK}"), &then).await {
        Ok(sign_in) => {
            let cookie = Cookie::sign_in(door.settings.is_secure());
            let mut response = redirect(&sign_in.location);
            set_cookie(&mut response, &cookie.set(&sign_in.cookie, SIGN_IN_TIME));
            response
        }
        Err(error) => refused_by(door, &error, asked),
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
        Ok(person) => match signed_in(&with, asked, &person).await {
            Ok(session) => {
                door.tries.give_back(asked.address());
                let mut response = redirect(&person.then);
                set_cookie(&mut response, &session);
                response
            }
            Err(error) => failed(door, &format!("{error}; try again later ({})", error.code())),
        },
        Err(error) => refused_by(door, &error, asked),
    };
    set_cookie(&mut response, &cookie.clear());
    response
}

/// The header that sets the cookie of somebody whom the provider knows.
async fn signed_in(with: &WithProvider, asked: Asked<'_>, person: &Person) -> Result<String, StoreError> {
    let principal = Principal { name: person.name.clone(), role: person.role, proof: Proof::ProviderSession };
    let act = Act { by: principal.in_trail(None), reason: String::new(), at: with.state.clock.now() };
    sign_in_recorded(&*with.registers, person, act).await?;
    opened_cookie(&with.state.door, asked, principal).await.map(|(cookie, _)| cookie)
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

fn refused_by(door: &Door, error: &SignInError, asked: Asked<'_>) -> Response {
    let address = asked.ends.map(|ends| ends.peer.ip());
    tracing::warn!(?address, %error, "a sign-in by the identity provider failed");
    failed(door, &format!("{error}; {} ({})", error.action(), error.code()))
}

/// How long the sign-in page has time to show why.
const SHOWN_FOR: Duration = Duration::from_secs(60);

/// Back to the sign-in page, which shows why. It is told in a cookie: an address that shows any text could be made by anybody.
fn failed(door: &Door, why: &str) -> Response {
    let mut response = redirect("/sign-in");
    let cookie = Cookie::sign_in_problem(door.settings.is_secure());
    set_cookie(&mut response, &cookie.set(&percent_encode(why), SHOWN_FOR));
    response
}

fn redirect(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) => (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response(),
        Err(_) => (StatusCode::SEE_OTHER, [(LOCATION, HeaderValue::from_static("/"))]).into_response(),
    }
}
