//! The frame around every page: navigation, search, theme, who is signed in; and the headers that keep it safe.

mod layout;
mod theme;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, LOCATION, ORIGIN, REFERRER_POLICY,
    SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;

use crate::Shared;
use crate::api::{Api, address};
use crate::caller::Caller;
use crate::form::{self, NOTICE_COOKIE};
use crate::page::Page;
use crate::pages::refused;
use crate::problem::Problem;
use crate::viewer::Viewer;

pub use layout::NAVIGATION;
pub use layout::document;
pub(crate) use layout::with_token;
pub use theme::Theme;

/// What a page may load, and where its forms may go: everything is ours, and nothing is in the text of the page.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                          connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The addresses of the frame's own controls.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/theme", post(theme::choose))
}

/// Finds out who asks, lets the page be made, and puts the frame around it.
pub(crate) async fn frame(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let caller = Arc::new(Caller::of(&parts));
    let asked = Viewer::ask(&Api::new(shared.api.clone(), caller.clone())).await;
    let (viewer, problem) = match asked {
        Ok(viewer) => (Arc::new(viewer), None),
        Err(problem) => (Arc::default(), Some(problem)),
    };
    parts.extensions.insert(caller.clone());
    parts.extensions.insert(viewer.clone());
    let theme = Theme::of(&caller);
    let notice = caller.cookie(NOTICE_COOKIE).and_then(form::notice_of_cookie);
    let here = parts.uri.path_and_query().map_or("/", |here| here.as_str()).to_owned();
    let is_get = matches!(parts.method, Method::GET | Method::HEAD);
    let mut response = match problem.or_else(|| from_elsewhere(&parts.method, &parts.headers).err()) {
        Some(problem) => problem.into_response(),
        None => next.run(Request::from_parts(parts, body)).await,
    };
    let page = match response.extensions_mut().remove::<Problem>() {
        Some(problem) if is_get && problem.asks_to_sign_in() => {
            return guarded(see_other(&address("/sign-in", &[("then", Some(&here))])));
        }
        Some(problem) => Some(refused::page(&problem, &viewer)),
        None => response.extensions_mut().remove::<Page>(),
    };
    let Some(page) = page else { return guarded(response) };
    let frame =
        layout::Frame { viewer: &viewer, theme, notice: notice.as_deref(), here: &here, shared: &shared };
    let html = document(&page, &frame);
    let mut framed = (page.status, html).into_response();
    let headers = framed.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in response.headers().get_all(SET_COOKIE) {
        headers.append(SET_COOKIE, cookie.clone());
    }
    if notice.is_some() {
        headers.append(SET_COOKIE, form::forget_notice());
    }
    guarded(framed)
}

/// The way to another page after something was done.
pub(crate) fn see_other(to: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, to);
    response
}

/// Adds the headers that every answer of the console carries.
pub(crate) fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// Refuses a form that another site sent. The API checks the token of the session as well; this also covers the forms
/// that need none, such as the one to sign in.
pub(crate) fn from_elsewhere(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let refused = || {
        Problem::new(StatusCode::FORBIDDEN, "TG-403", "this form was sent from another site")
            .action("nothing was changed; open the console at its own address and do it there")
    };
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return if site == "same-origin" || site == "none" { Ok(()) } else { Err(refused()) };
    }
    // Browsers that do not say where a form is from say which origin it has.
    let Some(origin) = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()) else { return Ok(()) };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let same = origin.split_once("://").is_some_and(|(_, origin)| Some(origin) == host);
    if same { Ok(()) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(headers: &[(HeaderName, &'static str)]) -> bool {
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        from_elsewhere(&Method::POST, &headers).is_ok()
    }

    #[test]
    fn forms_of_other_sites_are_refused() {
        assert!(sent(&[(SEC_FETCH_SITE, "same-origin")]));
        assert!(!sent(&[(SEC_FETCH_SITE, "cross-site")]));
        assert!(!sent(&[(SEC_FETCH_SITE, "same-site")]));
        assert!(sent(&[(ORIGIN, "http://localhost:8780"), (HOST, "localhost:8780")]));
        assert!(!sent(&[(ORIGIN, "http://evil.example"), (HOST, "localhost:8780")]));
        assert!(!sent(&[(ORIGIN, "null"), (HOST, "localhost:8780")]));
        // No browser: it cannot be made to send what its user did not ask for.
        assert!(sent(&[]));
        let headers = HeaderMap::from_iter([(SEC_FETCH_SITE, HeaderValue::from_static("cross-site"))]);
        assert!(from_elsewhere(&Method::GET, &headers).is_ok());
    }
}
