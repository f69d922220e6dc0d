//! The API, called in this process with the caller's own authorisation.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderValue, Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt as _;

use tidegate_access::CSRF_HEADER;
use tidegate_access::cookie::Cookie;
pub use tidegate_api::Page as Listing;

use crate::caller::Caller;
use crate::problem::{Outcome, Problem};

/// The largest answer that is taken. A page of the API is about 4 MiB, and its last object may reach beyond.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// What a part of an address keeps as it is.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The API as one caller may use it.
#[derive(Clone)]
pub struct Api {
    router: Router,
    caller: Arc<Caller>,
}

/// An answer that is a success.
pub struct Answer {
    /// The whole body.
    pub body: Bytes,
    /// The cookies it sets.
    pub cookies: Vec<HeaderValue>,
}

impl Api {
    /// For one caller.
    pub fn new(router: Router, caller: Arc<Caller>) -> Self {
        Self { router, caller }
    }

    /// A cookie of the caller's.
    pub fn cookie(&self, cookie: Cookie) -> Option<&str> {
        self.caller.of_cookie(cookie)
    }

    /// What is at an address.
    ///
    /// # Errors
    /// What the API says.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        let answer = self.send(Method::GET, path, Body::empty(), None).await?;
        serde_json::from_slice(&answer.body).map_err(|error| Problem::not_understood(path, &error))
    }

    /// What is at an address; nothing if it does not exist.
    ///
    /// # Errors
    /// What the API says otherwise.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Outcome<Option<T>> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(problem) if problem.status == StatusCode::NOT_FOUND => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// Does something; `csrf` is the token that the form carried.
    ///
    /// # Errors
    /// What the API says.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        csrf: Option<&str>,
    ) -> Outcome<T> {
        let answer = self.change(Method::POST, path, body, csrf).await?;
        serde_json::from_slice(&answer.body).map_err(|error| Problem::not_understood(path, &error))
    }

    /// Does something whose answer may be empty.
    ///
    /// # Errors
    /// What the API says.
    pub async fn change(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        csrf: Option<&str>,
    ) -> Outcome<Answer> {
        let body = serde_json::to_vec(body).map_err(|error| Problem::bad_request(error.to_string()))?;
        self.send(method, path, Body::from(body), csrf).await
    }

    async fn send(&self, method: Method, path: &str, body: Body, csrf: Option<&str>) -> Outcome<Answer> {
        let mut request = Request::new(body);
        let uri = path.parse().map_err(|_| Problem::bad_request(format!("{path:?} is no address")))?;
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        self.caller.sign(&mut request);
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(csrf) = csrf {
            let csrf = HeaderValue::from_str(csrf);
            let csrf = csrf.map_err(|_| Problem::bad_request("the form carries no token of this console"))?;
            headers.insert(CSRF_HEADER, csrf);
        }
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|error| {
            let detail = format!("the answer of the API at {path} cannot be taken: {error}");
            Problem::new(StatusCode::BAD_GATEWAY, "TG-504", detail)
        })?;
        let body = body.to_bytes();
        if !parts.status.is_success() {
            return Err(Problem::of_answer(parts.status, &body));
        }
        let cookies = parts.headers.get_all(SET_COOKIE).iter().cloned().collect();
        Ok(Answer { body, cookies })
    }
}

/// Any text as one part of an address, or as a value in its query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// An address with a query, of the values that are there.
pub fn address(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let given = query.iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    let pairs: Vec<String> =
        given.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_any_text() {
        assert_eq!(
            address(
                "/hubs/h/events",
                &[("from", Some("a b&c=/é")), ("limit", None), ("partition", Some("3"))]
            ),
            "/hubs/h/events?from=a%20b%26c%3D%2F%C3%A9&partition=3"
        );
        assert_eq!(address("/x", &[("a", None)]), "/x");
    }
}
