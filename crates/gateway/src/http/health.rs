//! `GET /health`, with the answers of the official Event Hubs emulator, so that existing probes work.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Gateway, Health};

#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(super) struct Answer {
    status: &'static str,
    message: String,
}

/// Whether a restart would help.
#[utoipa::path(
    get, path = "/health", tag = "program", security(()),
    responses(
        (status = 200, body = Answer, description = "It would not"),
        (status = 503, body = Answer, description = "Something does not go on by itself; `message` says what"),
    ),
)]
pub(super) async fn health(State(gateway): State<Arc<Gateway>>) -> (StatusCode, Json<Answer>) {
    match gateway.health() {
        Health::Healthy => {
            let message = "Service is healthy.".to_owned();
            (StatusCode::OK, Json(Answer { status: "healthy", message }))
        }
        Health::Unhealthy { reason } => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(Answer { status: "unhealthy", message: reason }))
        }
    }
}
