//! The form of a listing: one object a line, or a whole JSON object, as the client asks with `Accept`.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use percent_encoding::percent_decode_str;

use tidegate_api::{NEXT_HEADER, TRUNCATED_HEADER};

/// The media type of listings with one object a line.
pub(super) const NDJSON: &str = "application/x-ndjson";

const JSON: &str = "application/json";

/// Gives a listing the form that the request asks for; everything else stays as it is.
pub(crate) async fn as_asked(request: Request, next: Next) -> Response {
    let as_page = asks_for_json(request.headers());
    let response = next.run(request).await;
    let is_listing = response.headers().get(CONTENT_TYPE).is_some_and(|of| of == NDJSON);
    match (is_listing, as_page) {
        (false, _) => response,
        (true, false) => varying(response),
        (true, true) => varying(page(response).await),
    }
}

/// A listing has two forms at one address; caches must know.
fn varying(mut response: Response) -> Response {
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// The listing as one JSON object. Pages are bounded and in memory already.
async fn page(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let Ok(lines) = to_bytes(body, usize::MAX).await else {
        return (head, Body::empty()).into_response();
    };
    let next = head.headers.remove(NEXT_HEADER);
    let next = next.as_ref().and_then(|next| next.to_str().ok()).map(|next| {
        let decoded = percent_decode_str(next).decode_utf8_lossy();
        serde_json::Value::from(decoded.into_owned()).to_string()
    });
    let truncated = head.headers.remove(TRUNCATED_HEADER).is_some();
    let mut json = Vec::with_capacity(lines.len() + 64);
    json.extend_from_slice(b"{\"items\":[");
    let end = lines.len() - usize::from(lines.ends_with(b"\n"));
    // A line break cannot be inside an object: JSON escapes it in text.
    json.extend(lines[..end].iter().map(|byte| if *byte == b'\n' { b',' } else { *byte }));
    json.extend_from_slice(b"],\"next\":");
    json.extend_from_slice(next.as_deref().unwrap_or("null").as_bytes());
    if truncated {
        json.extend_from_slice(b",\"truncated\":true");
    }
    json.push(b'}');
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    head.headers.remove(CONTENT_LENGTH);
    (head, Body::from(json)).into_response()
}

/// Whether JSON is what a client likes best. Without a word, or with a word that allows anything, it gets lines.
fn asks_for_json(headers: &HeaderMap) -> bool {
    let quality_of = |wanted: &str| {
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges = accepted.flat_map(|value| value.split(','));
        ranges.filter_map(|range| quality(range, wanted)).fold(0, u32::max)
    };
    let json = quality_of(JSON);
    json > 0 && json >= quality_of(NDJSON)
}

/// How much a range of `Accept` wants a media type that it names: thousandths.
fn quality(range: &str, wanted: &str) -> Option<u32> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(wanted) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let weight: f64 = weight.map_or(Some(1.0), |text| text.trim().parse().ok())?;
    Some((weight.clamp(0.0, 1.0) * 1000.0) as u32)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;
    use crate::api::page::Page;

    async fn listing(items: &'static [&'static str], next: Option<&'static str>) -> (HeaderMap, String) {
        let handler = move || async move {
            let mut page = Page::new(None);
            items.iter().for_each(|item| page.push(item));
            page.finish(next.map(str::to_owned))
        };
        let router = Router::new().route("/", get(handler)).layer(from_fn(as_asked));
        let request = Request::get("/").header(ACCEPT, "application/json").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let headers = response.headers().clone();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_listing_becomes_one_object_with_its_cursor() {
        let (headers, body) = listing(&["a\nb", "c"], Some("é/x \"")).await;
        let page: tidegate_api::Page<String> = serde_json::from_str(&body).unwrap();
        assert_eq!(page.items, ["a\nb", "c"]);
        assert_eq!(page.next.as_deref(), Some("é/x \""));
        assert_eq!(headers[CONTENT_TYPE], JSON);
        assert_eq!(headers[VARY], "accept");
        assert!(!headers.contains_key(NEXT_HEADER));
        assert_eq!(listing(&[], None).await.1, r#"{"items":[],"next":null}"#);
    }

    #[test]
    fn json_is_for_those_who_ask_for_it() {
        let asked = |accept: &'static str| {
            asks_for_json(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]))
        };
        assert!(!asks_for_json(&HeaderMap::new()));
        for (accept, json) in [
            ("*/*", false),
            ("application/json", true),
            ("text/html, Application/JSON; q=0.5", true),
            ("application/x-ndjson", false),
            ("application/x-ndjson, application/json;q=0.9", false),
            ("application/json, application/x-ndjson", true),
            ("application/json;q=0", false),
            ("application/json;q=x", false),
            ("", false),
        ] {
            assert_eq!(asked(accept), json, "{accept}");
        }
    }
}
