//! The HTTP front door.
//!
//! | request | what it publishes |
//! |---|---|
//! | `POST /{hub}/messages` | one event, a batch or lines; the partition by key or in turn |
//! | `POST /{hub}/partitions/{id}/messages` | the same, to one partition |
//! | `POST /{hub}/publishers/{name}/messages` | the same, with the publisher's name as the key |
//! | `GET /health` | nothing; answers how the program is, as the Event Hubs emulator does |
//!
//! The `Content-Type` tells the three forms apart: `application/vnd.microsoft.servicebus.json` is a batch (`batch`),
//! `application/x-ndjson` is lines (`lines`), anything else is one event (`event`). The addresses, the batch form
//! and the headers are those of Event Hubs' REST reference; lines are Tidegate's own.
//!
//! Each request is authorised first, then finds its hub, then reserves memory, and only then is its body read.

mod batch;
mod body;
mod bulk;
mod chunk;
mod described;
mod error;
mod event;
mod gzip;
mod health;
mod lines;
mod parameters;
mod properties;
mod send;
mod split;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tidegate_model::error::ErrorCode;
use utoipa::OpenApi;

use crate::Gateway;

pub use error::ErrorResponse;

/// The whole front door: the routes, and an answer to everything else.
pub fn router(gateway: Arc<Gateway>) -> Router {
    routes(gateway).fallback(no_such_address)
}

/// The routes alone, to be merged with others; [`no_such_address`] can then be the fallback of all.
pub fn routes(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/{hub}/messages", post(send::to_hub))
        .route("/{hub}/partitions/{partition}/messages", post(send::to_partition))
        .route("/{hub}/publishers/{publisher}/messages", post(send::to_publisher))
        .route("/health", get(health::health))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(gateway)
}

/// What the routes say about themselves.
pub fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(paths(send::to_hub, send::to_partition, send::to_publisher, health::health))]
    struct FrontDoor;
    FrontDoor::openapi()
}

/// The answer to an address that does not exist.
pub async fn no_such_address(request: Request) -> ErrorResponse {
    let path: String = request.uri().path().chars().take(256).collect();
    ErrorResponse::new(
        StatusCode::NOT_FOUND,
        ErrorCode::NOT_FOUND,
        format!("there is nothing at {path}"),
        "publish with POST /{hub}/messages",
    )
}

async fn method_not_allowed(request: Request) -> ErrorResponse {
    let path: String = request.uri().path().chars().take(256).collect();
    ErrorResponse::new(
        StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::BAD_REQUEST,
        format!("{path} does not take {}", request.method()),
        "publish with POST; ask for the health with GET",
    )
}
