//! Masks answers of the API on their way out, for those who do not see everything.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use tidegate_access::Role;
use tidegate_access::mask::{Masks, Origin};
use tidegate_gateway::http::ErrorResponse;
use tidegate_model::error::ErrorCode;

/// The largest answer that is masked, in bytes: pages are bounded, and far smaller.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The refusal of a query by somebody who does not see all documents.
pub(super) fn query_refused() -> Response {
    ErrorResponse::new(
        StatusCode::FORBIDDEN,
        ErrorCode::QUERY_REFUSED,
        "documents are masked for your role, and a query could tell what is masked",
        "read the documents themselves, or ask somebody who sees them whole; the rules are [mask.NAME] of the configuration",
    )
    .into_response()
}

/// The answer as this role may see it.
pub(super) async fn masked(masks: &Masks, role: Role, origin: Origin<'_>, response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_BYTES).await else { return not_masked() };
    let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let masked = match kind {
        _ if bytes.is_empty() => Some(bytes),
        "application/json" | "application/problem+json" => {
            object(masks, role, origin, &bytes).map(Bytes::from)
        }
        "application/x-ndjson" => lines(masks, role, origin, &bytes),
        _ => None,
    };
    // What is not understood might hold anything.
    let Some(masked) = masked else { return not_masked() };
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove(ETAG);
    Response::from_parts(head, Body::from(masked))
}

fn object(masks: &Masks, role: Role, origin: Origin<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    masks.mask(role, origin, &mut value);
    serde_json::to_vec(&value).ok()
}

fn lines(masks: &Masks, role: Role, origin: Origin<'_>, bytes: &[u8]) -> Option<Bytes> {
    let mut masked = Vec::with_capacity(bytes.len());
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        masked.extend(object(masks, role, origin, line)?);
        masked.push(b'\n');
    }
    Some(masked.into())
}

fn not_masked() -> Response {
    ErrorResponse::new(
        StatusCode::FORBIDDEN,
        ErrorCode::FORBIDDEN,
        "something is masked for your role, and in this form of the answer it cannot be",
        "ask for JSON, or ask somebody who sees everything",
    )
    .into_response()
}
