//! Queries over the documents.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use tidegate_api as shapes;
use tidegate_api::{QueryRequest, TRUNCATED_HEADER};
use tidegate_store::query::QueryResult;

use crate::api::form::NDJSON;
use crate::api::{Api, ApiError};

/// Answers queries over the documents.
#[async_trait]
pub trait DocumentQuery: Send + Sync + 'static {
    /// The answer to a query.
    async fn answer(&self, sql: &str) -> Result<QueryResult, ApiError>;
}

/// The rows of a query, one object a line.
#[utoipa::path(
    post, path = "/api/v1/query", tag = "documents",
    request_body(content = shapes::QueryRequest, description = "One statement over the documents; a collection is a table"),
    responses(
        (status = 200, content(
            (shapes::Page<serde_json::Value> = "application/json"), (serde_json::Value = "application/x-ndjson"),
        ), description = "The rows, one object each; `truncated`, or the header `tidegate-truncated`, says that there are more"),
        crate::api::openapi::Refused, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn run(
    State(api): State<Arc<Api>>,
    request: Result<Json<QueryRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(request) = request.map_err(|error| {
        ApiError::bad_request(error.body_text())
            .help(r#"send {"sql":"SELECT …"} with content-type application/json"#)
    })?;
    let result = api.query.answer(&request.sql).await?;
    let mut response = Body::from(lines(&result)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    if result.truncated {
        headers.insert(TRUNCATED_HEADER, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The rows as objects, their members in the order of the columns. Of columns with one name the later ones get a number.
fn lines(result: &QueryResult) -> String {
    let names: Vec<String> = (0..result.columns.len())
        .map(|place| {
            let (before, name) = (&result.columns[..place], &result.columns[place]);
            let twins = before.iter().filter(|other| *other == name).count();
            let name = if twins == 0 { name.clone() } else { format!("{name}_{}", twins + 1) };
            serde_json::Value::from(name).to_string()
        })
        .collect();
    let mut lines = String::new();
    for row in &result.rows {
        let members: Vec<String> =
            names.iter().zip(row).map(|(name, value)| format!("{name}:{value}")).collect();
        lines.push_str(&format!("{{{}}}\n", members.join(",")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_their_order_and_their_values() {
        let result = QueryResult {
            columns: ["z", "a", "z"].map(str::to_owned).into(),
            rows: vec![vec![1.into(), "\"".into(), serde_json::Value::Null]],
            truncated: false,
        };
        assert_eq!(lines(&result), "{\"z\":1,\"a\":\"\\\"\",\"z_2\":null}\n");
    }
}
