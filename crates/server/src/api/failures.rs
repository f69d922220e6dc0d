//! Why events failed lately.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use tidegate_api::FailureCause;
use tidegate_model::checkpoint::FunctionName;

use crate::api::page::Page;
use crate::api::parameters::{NAME, Parameters};
use crate::api::{Api, ApiError};

/// Why events failed in the last hour on all instances, the newest cause first.
#[utoipa::path(
    get, path = "/api/v1/failures", tag = "circuits",
    params(
        ("function" = Option<String>, Query, description = "Of this function, or of the functions that need this dependency"),
    ),
    responses(
        (status = 200, content(
            (tidegate_api::Page<FailureCause> = "application/json"), (FailureCause = "application/x-ndjson"),
        ), description = "Causes with an example each, the newest first"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let of: Option<FunctionName> = parameters.parsed("function", NAME)?;
    parameters.done()?;
    let mut page = Page::new(None);
    for cause in api.causes.of(of.as_ref().map(FunctionName::as_str)).await? {
        if page.is_full() {
            break;
        }
        page.push(&cause);
    }
    Ok(page.finish(None))
}
