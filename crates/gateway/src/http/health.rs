//! `GET /health`, with the answers of the official Event Hubs emulator, so that existing probes work.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::{Gateway, Health};

#[derive(Serialize)]
pub(super) struct Answer {
    status: &'static str,
    message: String,
}

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
