//! AMQP at the HTTP front door: a request for a WebSocket becomes a connection like any other.
//!
//! Nobody is asked for a key here: as on the AMQP port, tokens come through `$cbs` inside.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use tidegate_model::clock::timeout;
use tidegate_model::error::ErrorCode;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::listener::{AmqpDoor, note_panic};
use super::metrics::Transport;
use super::{connection, websocket};
use crate::http::ErrorResponse;

impl AmqpDoor {
    /// The address for WebSockets, to be merged with those of the HTTP front door, whose connections must be able to change
    /// protocol. Connections end when `stop` turns true; [`end_upgraded`](Self::end_upgraded) waits for that.
    pub fn routes(self: &Arc<Self>, stop: watch::Receiver<bool>) -> Router {
        let with_slash = format!("{}/", websocket::PATH);
        let state = (Arc::clone(self), stop);
        Router::new()
            .route(websocket::PATH, get(upgrade))
            // The Rust client asks so.
            .route(&with_slash, get(upgrade))
            .with_state(state)
    }
}

type Door = (Arc<AmqpDoor>, watch::Receiver<bool>);

async fn upgrade(State((door, stop)): State<Door>, mut request: Request) -> Response {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let head = axum::http::Request::from_parts(parts, ());
    let accepted = match create_response(&head) {
        Ok(response) => websocket::accept(&head, response),
        Err(error) => {
            return ErrorResponse::bad_request(
                format!("this is no request for a WebSocket: {error}"),
                "connect with a client of Event Hubs, with AMQP over WebSockets as its transport",
            )
            .into_response();
        }
    };
    let response = match accepted {
        Ok(response) => response,
        Err(refusal) => return refusal.map(|text| Body::from(text.unwrap_or_default())),
    };
    let Ok(place) = Arc::clone(&door.room).try_acquire_owned() else {
        return ErrorResponse::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::THROTTLED,
            "there are as many AMQP connections as there may be",
            "close some, or come again later",
        )
        .into_response();
    };
    let (shared, handshake) = (Arc::clone(&door.shared), door.bounds.handshake);
    let mut connections = door.upgraded.lock();
    while let Some(ended) = connections.try_join_next() {
        note_panic(ended);
    }
    connections.spawn(async move {
        let clock = Arc::clone(&shared.gateway.clock);
        match timeout(&*clock, handshake, on_upgrade).await {
            Some(Ok(upgraded)) => {
                let (stream, config) = (TokioIo::new(upgraded), Some(websocket::config()));
                let socket = WebSocketStream::from_raw_socket(stream, Role::Server, config).await;
                let stream = websocket::ByteStream::new(socket);
                connection::serve(shared, Transport::WebSocket, stream, stop).await;
            }
            Some(Err(error)) => {
                shared.metrics.handshake_failed();
                tracing::debug!(%error, "a connection ended before it spoke AMQP");
            }
            None => {
                shared.metrics.handshake_failed();
                tracing::debug!("a connection did not become a WebSocket in time");
            }
        }
        drop(place);
    });
    drop(connections);
    response.map(|()| Body::empty())
}
