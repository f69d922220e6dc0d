//! The effective configuration: what holds, and who says so.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use tidegate_api::Setting;

use crate::api::page::Page;
use crate::api::parameters::Parameters;
use crate::api::{Api, ApiError};

/// Every key of the configuration with what holds for it, in the order of the tables. Secrets are not told.
#[utoipa::path(
    get, path = "/api/v1/configuration", tag = "configuration",
    responses(
        (status = 200, content(
            (tidegate_api::Page<Setting> = "application/json"), (Setting = "application/x-ndjson"),
        ), description = "What holds; empty where no server runs"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let after: usize = parameters.parsed("after", crate::api::parameters::NUMBER)?.unwrap_or(0);
    parameters.done()?;
    let mut page = Page::new(None);
    let settings = api.settings.lock().clone();
    for (place, setting) in settings.iter().enumerate().skip(after) {
        if page.is_full() {
            return Ok(page.finish(Some(place.to_string())));
        }
        page.push(setting);
    }
    Ok(page.finish(None))
}
