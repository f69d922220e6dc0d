//! The audit trail: what was done by hand, by whom, and why.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use tidegate_api as shapes;
use tidegate_api::{ListingOrder, TrailLine};

use crate::api::page::Page;
use crate::api::parameters::{NUMBER, ORDER, Parameters};
use crate::api::{Api, ApiError};

/// A page of the audit trail, the oldest first or the newest; of one subject if given.
#[utoipa::path(
    get, path = "/api/v1/trail", tag = "audit",
    params(
        ("subject" = Option<String>, Query, description = "Only about this"),
        ("order" = Option<shapes::ListingOrder>, Query, description = "`oldest` first, as without it, or `newest` first"),
        ("after" = Option<u64>, Query, description = "The cursor of the page: lines that come after this number in the order"),
        ("limit" = Option<u64>, Query, description = "At most so many objects; at most 1000", minimum = 1),
    ),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::TrailLine> = "application/json"), (shapes::TrailLine = "application/x-ndjson"),
        ), description = "What was done by hand"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let subject = parameters.take("subject")?;
    let order = parameters.parsed("order", ORDER)?.unwrap_or_default();
    let mut after: Option<u64> = parameters.parsed("after", NUMBER)?;
    let mut page = Page::new(parameters.parsed("limit", NUMBER)?);
    parameters.done()?;
    let mut more = true;
    while more && !page.is_full() {
        let wanted = page.wants();
        let subject = subject.as_deref();
        let entries = match order {
            ListingOrder::Oldest => api.store.trail(subject, after.unwrap_or(0), wanted).await?,
            ListingOrder::Newest => api.desk.newest_trail(subject, after, wanted).await?,
        };
        more = entries.len() == wanted;
        for entry in entries {
            after = Some(entry.number);
            page.push(&TrailLine::from(entry));
        }
    }
    Ok(page.finish(after.filter(|_| more).map(|number| number.to_string())))
}
