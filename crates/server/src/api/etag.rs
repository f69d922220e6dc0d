//! ETags: what a client has already is not sent again, and what it edits is what it saw.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use tidegate_model::error::ErrorCode;

use crate::api::ApiError;

/// Gives single objects a strong ETag, their own or one of their bytes, and answers 304 to who has them already.
pub(super) async fn conditional(request: Request, next: Next) -> Response {
    let is_read = *request.method() == Method::GET || *request.method() == Method::HEAD;
    let known = request.headers().get_all(IF_NONE_MATCH).iter().cloned().collect::<Vec<HeaderValue>>();
    let response = next.run(request).await;
    let is_object = response.headers().get(CONTENT_TYPE).is_some_and(|of| of == "application/json");
    if !is_read || response.status() != StatusCode::OK || !is_object {
        return response;
    }
    let response = match response.headers().contains_key(ETAG) {
        true => response,
        false => with_etag_of_body(response).await,
    };
    let Some(etag) = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()) else {
        return response;
    };
    let has_it = known.iter().filter_map(|value| value.to_str().ok()).any(|list| names(list, etag));
    if !has_it {
        return response;
    }
    let (mut head, _) = response.into_parts();
    head.status = StatusCode::NOT_MODIFIED;
    head.headers.remove(CONTENT_TYPE);
    head.headers.remove(CONTENT_LENGTH);
    (head, Body::empty()).into_response()
}

async fn with_etag_of_body(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    // Answers of the API are made in memory.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else { return (head, Body::empty()).into_response() };
    head.headers.insert(ETAG, quoted(&digest(&bytes)));
    (head, Body::from(bytes)).into_response()
}

/// What tells an answer's bytes from others.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// An ETag as a header.
pub(super) fn quoted(tag: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{tag}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Whether the list of a condition names an ETag; `*` names all. A weak mark is no difference where nothing is edited.
fn names(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag)
}

/// What an edit of a revision says with `If-Match`: nothing, or the revisions that it may be made on.
pub(super) enum Expected {
    /// Nothing, or any.
    Any,
    /// One of these.
    Revisions(Vec<u32>),
}

impl Expected {
    /// Reads the header. ETags of revisions are `"r3"`, or `"r3-…"` with what is shown around them.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut revisions = Vec::new();
        let mut is_there = false;
        for list in headers.get_all(IF_MATCH).iter().filter_map(|value| value.to_str().ok()) {
            is_there = true;
            for tag in list.split(',').map(str::trim) {
                if tag == "*" {
                    return Self::Any;
                }
                let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                let number =
                    inner.and_then(|tag| tag.strip_prefix('r')).and_then(|tag| tag.split('-').next());
                revisions.extend(number.and_then(|number| number.parse::<u32>().ok()));
            }
        }
        if is_there { Self::Revisions(revisions) } else { Self::Any }
    }

    /// The revision, where there is one only.
    pub(super) fn single(&self) -> Option<u32> {
        match self {
            Self::Revisions(revisions) if revisions.len() == 1 => Some(revisions[0]),
            Self::Any | Self::Revisions(_) => None,
        }
    }

    /// # Errors
    /// The newest revision is another.
    pub(super) fn check(&self, newest: u32) -> Result<(), ApiError> {
        match self {
            Self::Revisions(revisions) if !revisions.contains(&newest) => Err(ApiError::new(
                StatusCode::PRECONDITION_FAILED,
                ErrorCode::CONFLICT,
                format!("it is at revision {newest}, and the request is for another"),
            )
            .help("read it again, and decide anew")),
            Self::Any | Self::Revisions(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::middleware::from_fn;
    use axum::routing::get;
    use axum::{Json, Router};
    use tower::ServiceExt as _;

    use super::*;

    fn router() -> Router {
        Router::new()
            .route("/", get(async || Json(7)))
            .route("/own", get(async || ([(ETAG, quoted("own"))], Json(7))))
            .route("/text", get(async || "seven"))
            .layer(from_fn(conditional))
    }

    async fn asked(path: &str, if_none_match: &str) -> (StatusCode, Option<String>) {
        let request = Request::get(path).header(IF_NONE_MATCH, if_none_match).body(Body::empty()).unwrap();
        let response = router().oneshot(request).await.unwrap();
        let etag = response.headers().get(ETAG).map(|etag| etag.to_str().unwrap().to_owned());
        let status = response.status();
        let body = to_bytes(response.into_body(), 100).await.unwrap();
        assert_eq!(body.is_empty(), status == StatusCode::NOT_MODIFIED);
        (status, etag)
    }

    #[tokio::test]
    async fn what_is_known_is_not_sent_again() {
        let (status, etag) = asked("/", "\"other\"").await;
        let etag = etag.unwrap();
        assert_eq!(status, StatusCode::OK);
        assert_eq!(asked("/", &etag).await, (StatusCode::NOT_MODIFIED, Some(etag.clone())));
        assert_eq!(asked("/", &format!("\"x\", W/{etag}")).await.0, StatusCode::NOT_MODIFIED);
        assert_eq!(asked("/own", "\"own\"").await, (StatusCode::NOT_MODIFIED, Some("\"own\"".to_owned())));
        assert_eq!(asked("/text", "*").await, (StatusCode::OK, None));
    }

    #[test]
    fn an_edit_is_for_the_revisions_it_names() {
        let expected = |text: &'static str| {
            Expected::of(&HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static(text))]))
        };
        assert!(Expected::of(&HeaderMap::new()).check(3).is_ok());
        assert!(expected("*").check(3).is_ok());
        assert!(expected("\"r3-abc\"").check(3).is_ok());
        assert_eq!(expected("\"r3\"").single(), Some(3));
        assert!(expected("\"r2\", \"r3\"").check(3).is_ok());
        for other in ["\"r2\"", "\"3\"", "r3", "", "W/\"r3\""] {
            assert!(expected(other).check(3).is_err(), "{other}");
        }
    }
}
