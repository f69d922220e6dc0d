//! The routes behind the link.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Form, Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tidegate_model::ports::StoreError;

use super::{Links, Pressed, Standing, pages};

/// What comes before the token in a link's path.
pub(super) const PATH_PREFIX: &str = "/restart/";

/// The largest form: a name.
const MAX_FORM: usize = 4096;

/// The most characters of a name that are kept.
const MAX_NAME: usize = 100;

/// `GET /restart/{token}` shows how the circuit stands; `POST` restarts. No other authorisation is asked for: the link is
/// the authorisation.
pub fn routes(links: Arc<Links>) -> Router {
    Router::new()
        .route("/restart/{token}", get(show).post(press))
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .with_state(links)
}

#[derive(Deserialize)]
struct Pressing {
    #[serde(default)]
    name: String,
}

async fn show(State(links): State<Arc<Links>>, Path(token): Path<String>) -> Response {
    match links.look(&token).await {
        Ok(Standing::Usable(usable)) => page(StatusCode::OK, pages::usable(&usable)),
        Ok(Standing::Unusable(why)) => page(pages::status_of(&why), pages::unusable(&why)),
        Err(error) => unavailable(&error),
    }
}

async fn press(
    State(links): State<Arc<Links>>,
    Path(token): Path<String>,
    form: Result<Form<Pressing>, FormRejection>,
) -> Response {
    let name = match form {
        Ok(Form(pressing)) => crate::mail::shortened(pressing.name.trim(), MAX_NAME),
        Err(refused) => return page(refused.status(), pages::bad_form(&refused.body_text())),
    };
    // A request that is dropped half way must not leave a use without its restart: the work goes on without it.
    let work = tokio::spawn(async move { links.press(&token, &name).await });
    match work.await {
        Ok(Ok(Pressed::Restarted { function, by, at })) => {
            page(StatusCode::OK, pages::restarted(&function, &by, at))
        }
        Ok(Ok(Pressed::Failed { function, detail })) => {
            page(StatusCode::SERVICE_UNAVAILABLE, pages::failed(&function, &detail))
        }
        Ok(Ok(Pressed::Unusable(why))) => page(pages::status_of(&why), pages::unusable(&why)),
        Ok(Err(error)) => unavailable(&error),
        Err(_) => page(StatusCode::INTERNAL_SERVER_ERROR, pages::broken()),
    }
}

fn unavailable(error: &StoreError) -> Response {
    tracing::warn!(%error, "a restart link could not be answered");
    page(StatusCode::SERVICE_UNAVAILABLE, pages::unavailable(error))
}

/// The token is in the address, so the page is kept nowhere and its address is told to nobody; and nothing on it can
/// fetch, run or be framed.
fn page(status: StatusCode, html: String) -> Response {
    const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow")),
    ];
    (status, headers, Html(html)).into_response()
}
