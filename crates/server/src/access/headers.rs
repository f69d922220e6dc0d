//! Headers that every answer has: browsers take it for what it says it is, and keep nothing of what is private.

use axum::Router;
use axum::http::HeaderName;
use axum::http::header::{
    CACHE_CONTROL, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::middleware::map_response;
use axum::response::Response;

/// What an answer says unless its handler said something else.
const HEADERS: [(HeaderName, &str); 6] = [
    // A browser does not guess another type.
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Addresses name documents and keys: other sites do not learn them.
    (REFERRER_POLICY, "same-origin"),
    // Pages of other sites can neither show nor load it.
    (X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    // What somebody may see is not kept for who comes next.
    (CACHE_CONTROL, "no-store"),
];

/// The same routes with these headers on every answer.
pub(crate) fn with_headers(router: Router) -> Router {
    router.layer(map_response(async |mut response: Response| {
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        response
    }))
}
