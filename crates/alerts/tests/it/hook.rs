//! A webhook server that does what the test says.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the server answers to one request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(u16),
    StatusWith(u16, &'static str, String),
    Body(u16, String),
    /// It answers the validation event of Event Grid as it should.
    Validate,
    Stall,
}

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Log {
    answers: VecDeque<Answer>,
    requests: Vec<Request>,
}

struct Shared {
    log: Mutex<Log>,
    stalled: watch::Sender<usize>,
}

pub(crate) struct HookServer {
    address: SocketAddr,
    socket: Option<TcpSocket>,
    shared: Arc<Shared>,
    server: JoinSet<()>,
}

impl HookServer {
    /// A server that has an address and refuses connections.
    pub(crate) fn down() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let shared = Arc::new(Shared { log: Mutex::default(), stalled: watch::Sender::new(0) });
        Self { address, socket: Some(socket), shared, server: JoinSet::new() }
    }

    pub(crate) fn start() -> Self {
        let mut server = Self::down();
        server.come_up();
        server
    }

    /// Listens from now on.
    pub(crate) fn come_up(&mut self) {
        let listener = self.socket.take().expect("it was down").listen(64).unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&self.shared));
        self.server.spawn(async move { axum::serve(listener, router).await.unwrap() });
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/alerts", self.address)
    }

    /// What to answer to the next requests; after them it answers 204.
    pub(crate) fn then(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.log.lock().answers.extend(answers);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.log.lock().requests.clone()
    }

    /// Waits until `count` requests have stalled.
    pub(crate) async fn stalled(&self, count: usize) {
        self.shared.stalled.subscribe().wait_for(|stalled| *stalled >= count).await.unwrap();
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request { method, headers, body };
    let answer = {
        let mut log = shared.log.lock();
        log.requests.push(request.clone());
        log.answers.pop_front()
    };
    let status = |code| StatusCode::from_u16(code).unwrap();
    match answer {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(Answer::Status(code)) => status(code).into_response(),
        Some(Answer::StatusWith(code, name, value)) => (status(code), [(name, value)]).into_response(),
        Some(Answer::Body(code, body)) => (status(code), body).into_response(),
        Some(Answer::Validate) => {
            let code = request.json()[0]["data"]["validationCode"].clone();
            axum::Json(serde_json::json!({ "validationResponse": code })).into_response()
        }
        Some(Answer::Stall) => {
            shared.stalled.send_modify(|count| *count += 1);
            std::future::pending().await
        }
    }
}
