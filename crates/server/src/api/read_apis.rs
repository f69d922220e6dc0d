//! Read APIs: documents of a collection under an address and in a form of one's own, as the configuration says.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use tidegate_access::mask::Sight;
use tidegate_model::document::{Document, DocumentId};
use tidegate_model::error::ErrorCode;

use crate::api::members::Members;
use crate::api::{Api, ApiError, etag};
use crate::config::ReadApiConfig;

/// One of them, as its handlers are given it.
#[derive(Clone)]
struct ReadApi {
    api: Arc<Api>,
    config: Arc<ReadApiConfig>,
}

/// The routes of all that are configured, without authorisation.
pub fn read_api_router(api: &Arc<Api>) -> Router {
    let mut router = Router::new();
    for config in &api.read_apis {
        let state = ReadApi { api: api.clone(), config: Arc::new(config.clone()) };
        let base = &config.base;
        let own = Router::new()
            .route(base.as_str(), get(by_query))
            .route(&format!("{base}/"), get(by_query))
            .route(&format!("{base}/{{{}}}", config.parameter), get(by_path))
            .with_state(state);
        router = router.merge(own);
    }
    router.layer(from_fn(etag::conditional))
}

/// Whoever may not read is answered as somebody who is not known, as programs of the original expect.
pub async fn unauthorised(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.status() != StatusCode::FORBIDDEN {
        return response;
    }
    let message = "the authorisation does not allow to read here";
    ApiError::new(StatusCode::UNAUTHORIZED, ErrorCode::UNAUTHORIZED, message)
        .help("use a key with the right listen, or an access token")
        .into_response()
}

async fn by_path(
    State(read): State<ReadApi>,
    sight: Option<Extension<Sight>>,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = path.map_err(|error| ApiError::bad_request(error.body_text()))?;
    answer(&read, sight.as_deref(), Some(id)).await
}

async fn by_query(
    State(read): State<ReadApi>,
    sight: Option<Extension<Sight>>,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(parameters) = query.map_err(|error| ApiError::bad_request(error.body_text()))?;
    // The original's parameter is written in more than one way.
    let mut named =
        parameters.into_iter().filter(|(name, _)| name.eq_ignore_ascii_case(&read.config.parameter));
    let id = named.next().map(|(_, id)| id);
    answer(&read, sight.as_deref(), id).await
}

async fn answer(read: &ReadApi, sight: Option<&Sight>, id: Option<String>) -> Result<Response, ApiError> {
    let ReadApi { api, config } = read;
    let Some(id) = id.filter(|id| !id.trim().is_empty()) else {
        let message = format!("the request is missing the {}", config.parameter);
        return Err(ApiError::bad_request(message).help(format!("ask for {}/ID", config.base)));
    };
    let id = DocumentId::new(&id).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let found = api.store.documents(&config.collection, std::slice::from_ref(&id)).await?;
    let Some(mut document) = found.into_iter().flatten().next() else {
        return Err(ApiError::not_found(format!("there is no {} {id:?}", config.parameter)));
    };
    let etag = etag::quoted(&document.etag.to_string());
    if let Some(sight) = sight {
        // Before it gets a form of its own, in which nobody would know it again.
        document.body = masked(&document, config.collection.as_str(), sight)?;
    }
    let body = shaped(&document, &config.fields)?;
    Ok(([(CONTENT_TYPE, "application/json".parse().expect("a header")), (ETAG, etag)], body).into_response())
}

fn masked(document: &Document, collection: &str, sight: &Sight) -> Result<Bytes, ApiError> {
    let mut body: Value =
        serde_json::from_slice(&document.body).map_err(|error| damaged(document, &error))?;
    sight.mask_document(collection, &mut body);
    Ok(Bytes::from(body.to_string()))
}

fn damaged(document: &Document, error: &serde_json::Error) -> ApiError {
    let message = format!("the document {} is no JSON: {error}", document.id);
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::STORE_DAMAGED, message)
}

/// The document in the form that is asked for. Numbers keep their digits.
fn shaped(document: &Document, fields: &[(String, Vec<String>)]) -> Result<Bytes, ApiError> {
    if fields.is_empty() {
        return Ok(document.body.clone());
    }
    let whole: Box<RawValue> =
        serde_json::from_slice(&document.body).map_err(|error| damaged(document, &error))?;
    let mut text = String::from("{");
    for (name, pointer) in fields {
        let Some(value) = find(&whole, pointer) else { continue };
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&Value::from(name.as_str()).to_string());
        text.push(':');
        text.push_str(value.get());
    }
    text.push('}');
    Ok(Bytes::from(text))
}

/// What a pointer leads to; of members with one name the last counts.
fn find(value: &RawValue, pointer: &[String]) -> Option<Box<RawValue>> {
    let Some((first, rest)) = pointer.split_first() else { return Some(value.to_owned()) };
    let text = value.get();
    let inner: Box<RawValue> = if text.starts_with('[') {
        let elements: Vec<Box<RawValue>> = serde_json::from_str(text).ok()?;
        elements.into_iter().nth(first.parse().ok()?)?
    } else {
        let Members(members) = serde_json::from_str::<Members<Box<RawValue>>>(text).ok()?;
        members.into_iter().rfind(|(name, _)| name == first)?.1
    };
    find(&inner, rest)
}

/// Adds the addresses of read APIs to an OpenAPI document.
pub(super) fn describe(document: &mut Value, configured: &[ReadApiConfig]) {
    let problem = |description: &str| {
        json!({
            "description": description,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        })
    };
    for config in configured {
        let ReadApiConfig { name, base, parameter, collection, .. } = config;
        document["paths"][format!("{base}/{{{parameter}}}")] = json!({"get": {
            "tags": ["documents"],
            "summary": format!("A document of {collection}, as [read_api.{name}] says."),
            "operationId": format!("read-api-{name}"),
            "parameters": [
                {"name": parameter, "in": "path", "required": true, "schema": {"type": "string"},
                 "description": "The document's id, percent-encoded"},
            ],
            "responses": {
                "200": {"description": "The document",
                        "content": {"application/json": {"schema": {"type": "object"}}}},
                "400": problem("The request names no document"),
                "401": problem("The request may not read"),
                "404": problem("There is no such document"),
                "500": problem("Something stored is damaged"),
                "503": problem("The store does not answer at the moment"),
            },
        }});
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::Timestamp;
    use tidegate_model::document::ETag;
    use tidegate_model::position::{PartitionId, SequenceNumber};

    use super::*;

    #[test]
    fn a_document_takes_the_form_that_is_asked_for() {
        let document = Document {
            id: DocumentId::new("d").unwrap(),
            body: Bytes::from_static(br#"{"id":"d","Battery":1.50,"Position":{"a/b":[7,{"x":null}]}}"#),
            partition: PartitionId(0),
            sequence_number: SequenceNumber(1),
            etag: ETag(1),
            updated_at: Timestamp::default(),
        };
        let pointer = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        let shaped = |fields: &[(&str, &[&str])]| {
            let fields: Vec<_> =
                fields.iter().map(|(name, parts)| ((*name).to_owned(), pointer(parts))).collect();
            String::from_utf8(super::shaped(&document, &fields).unwrap().to_vec()).unwrap()
        };
        assert_eq!(shaped(&[]).as_bytes(), &document.body[..]);
        assert_eq!(shaped(&[("battery", &["Battery"]), ("none", &["x"])]), r#"{"battery":1.50}"#);
        assert_eq!(shaped(&[("x", &["Position", "a/b", "1", "x"])]), r#"{"x":null}"#);
        assert_eq!(shaped(&[("x", &["Position", "a/b", "9"]), ("y", &["id", "z"])]), "{}");
    }
}
