//! The audit trail: what was done by hand, by whom, and why.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use tidegate_api as shapes;
use tidegate_api::TrailLine;

use crate::api::page::Page;
use crate::api::parameters::{NUMBER, Parameters};
use crate::api::{Api, ApiError};

/// A page of the audit trail, oldest first; of one subject if given.
#[utoipa::path(
    get, path = "/api/v1/trail", tag = "audit",
    params(
        ("subject" = Option<String>, Query, description = "Only about this"),
        ("after" = Option<u64>, Query, description = "The cursor of the page"),
        ("limit" = Option<u64>, Query, description = "At most so many objects; at most 1000", minimum = 1),
    ),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::TrailLine> = "application/json"), (shapes::TrailLine = "application/x-ndjson"),
        ), description = "What was done by hand, the oldest first"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let subject = parameters.take("subject")?;
    let mut after: u64 = parameters.parsed("after", NUMBER)?.unwrap_or(0);
    let mut page = Page::new(parameters.parsed("limit", NUMBER)?);
    parameters.done()?;
    let mut more = true;
    while more && !page.is_full() {
        let wanted = page.wants();
        let entries = api.store.trail(subject.as_deref(), after, wanted).await?;
        more = entries.len() == wanted;
        for entry in entries {
            after = entry.number;
            page.push(&TrailLine::from(entry));
        }
    }
    Ok(page.finish(more.then(|| after.to_string())))
}
