//! Who may do what, at the addresses of this server: the guard in front of the API, and the addresses for tokens and
//! sessions. What is decided, is decided in `tidegate-access`.

mod guard;
mod headers;
pub(crate) mod links;
mod masking;
mod oidc;
mod session;
mod sessions;
pub(crate) mod tokens;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use utoipa::OpenApi;

use tidegate_access::oidc::{OidcSettings, Provider};
use tidegate_access::session::Sessions;
use tidegate_access::tokens::Tokens;
use tidegate_access::{Door, Keys, Principal, Proof, Refused, Role};
use tidegate_gateway::auth::{AuthError, Authorizer, Right};
use tidegate_gateway::http::ErrorResponse;
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::error::ErrorCode;
use tidegate_model::ports::{Registers, Store};

use crate::api::form::as_asked;
use crate::config::Config;
use crate::failure::Failure;

pub(crate) use guard::Guard;
pub(crate) use headers::with_headers;

/// The largest body of a request about tokens and sessions, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// A door in front of what these rules and the store's tokens open.
pub(crate) fn door(
    config: Option<&Config>,
    rules: &Arc<Authorizer>,
    store: &Arc<dyn Store>,
    clock: &SharedClock,
) -> Arc<Door> {
    let default = Config::empty();
    let config = config.unwrap_or(&default);
    let registers: Arc<dyn Registers> = Arc::<dyn Store>::clone(store);
    let tokens = Tokens::new(registers.clone(), clock.clone());
    let sessions = Sessions::new(registers, config.console.session, clock.clone());
    let keys = Arc::new(AccessRules { rules: rules.clone(), clock: clock.clone() });
    Arc::new(Door::new(config.door(), keys, tokens, sessions, clock.clone()))
}

/// What the addresses for tokens and sessions say about themselves.
pub(crate) fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(paths(
        session::show,
        session::open,
        session::close,
        oidc::begin,
        oidc::callback,
        tokens::list,
        tokens::create,
        tokens::revoke,
        tokens::rename,
        links::create,
        sessions::list,
        sessions::end
    ))]
    struct Access;
    Access::openapi()
}

/// The addresses for tokens and sessions, and for sign-ins by an identity provider, where there is one.
pub(crate) fn routes(
    door: &Arc<Door>,
    provider: Option<Arc<Provider>>,
    store: &Arc<dyn Store>,
    data_dir: &Path,
    clock: &SharedClock,
) -> Router {
    let has_provider = provider.is_some();
    let state = State {
        door: door.clone(),
        has_provider,
        link_command: links::command(data_dir).into(),
        clock: clock.clone(),
    };
    let by_provider = provider.map_or_else(Router::new, |provider| {
        let registers: Arc<dyn Registers> = Arc::<dyn Store>::clone(store);
        Router::new()
            .route("/sign-in/oidc", get(oidc::begin))
            .route("/sign-in/oidc/callback", get(oidc::callback))
            .with_state(oidc::WithProvider { state: state.clone(), provider, registers })
    });
    let session = Router::new()
        .route("/api/v1/session", get(session::show).post(session::open).delete(session::close))
        .with_state(state.clone());
    let tokens = Router::new()
        .route("/api/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/api/v1/tokens/{id}/revoke", post(tokens::revoke))
        .route("/api/v1/tokens/{id}/rename", post(tokens::rename))
        .route("/api/v1/sign-in-links", post(links::create))
        .route("/api/v1/sessions", get(sessions::list))
        .route("/api/v1/sessions/{id}/end", post(sessions::end))
        .layer(from_fn(as_asked))
        .with_state(state);
    session
        .merge(by_provider)
        .merge(Guard::new(door, Role::Admin).before(tokens))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// What the addresses are given.
#[derive(Clone)]
struct State {
    door: Arc<Door>,
    has_provider: bool,
    /// What makes a sign-in link, typed on this machine.
    link_command: Arc<str>,
    clock: SharedClock,
}

/// The identity provider that people sign in with.
///
/// # Errors
/// When it cannot be used.
pub(crate) fn provider(settings: OidcSettings, clock: &SharedClock) -> Result<Arc<Provider>, Failure> {
    let provider = Provider::new(settings, clock.clone()).map_err(|why| {
        Failure::usage(ErrorCode::CONFIG_BAD_VALUE, format!("`issuer` of [oidc]: {why}"))
            .help("correct the configuration, or what it names, and start again")
    })?;
    Ok(Arc::new(provider))
}

/// The answer to somebody who is not let in.
pub(crate) fn refusal(refused: &Refused) -> Response {
    let answer = ErrorResponse::new(refused.status(), refused.code(), refused.to_string(), refused.action());
    match refused.retry_after_seconds() {
        Some(seconds) => answer.retry_after_seconds(seconds),
        None => answer,
    }
    .into_response()
}

/// The front doors' access rules: the right `listen` makes a reader, `manage` an admin.
struct AccessRules {
    rules: Arc<Authorizer>,
    clock: SharedClock,
}

#[async_trait]
impl Keys for AccessRules {
    async fn holder(
        &self,
        authorization: &str,
        needed: Role,
        hub: &str,
        now: Timestamp,
    ) -> Result<Principal, Refused> {
        self.rules.fetch_keys(Some(authorization), &self.clock).await;
        let by = |right| self.rules.authorize(Some(authorization), right, hub, now);
        let (rule, role) = match by(Right::Manage) {
            Ok(principal) => (principal.rule, Role::Admin),
            Err(_) if needed == Role::Reader => (by(Right::Listen).map_err(refused)?.rule, Role::Reader),
            Err(error) => return Err(refused(error)),
        };
        Ok(Principal { name: rule, role, proof: Proof::Key })
    }
}

fn refused(error: AuthError) -> Refused {
    if error.is_unavailable() {
        return Refused::KeysAway { message: error.to_string() };
    }
    Refused::Key {
        is_forbidden: error.is_forbidden(),
        message: error.to_string(),
        action: error.action().to_owned(),
    }
}
