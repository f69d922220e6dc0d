//! An account of blobs that has bad times: as much of the Blob service as checkpoints need, kept in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tidegate_adapters::event_hubs::blobs::BlobCheckpoints;
use tidegate_model::clock::{SystemClock, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::claims::blobs_at;

/// How the account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// It answers 503 and does nothing.
    Refusing,
    /// It does what it is asked for, and answers 503.
    LosingAnswers,
    /// It writes what it is asked to, and never says so.
    Silent,
}

/// A blob: its metadata, and when it was written last.
#[derive(Clone, Debug)]
struct Blob {
    etag: u64,
    written_at: Timestamp,
    metadata: HeaderMap,
}

/// What the account holds, and how it is.
#[derive(Debug)]
pub(crate) struct Content {
    mood: Mood,
    /// How many requests were answered with 503, or not at all, since it is in that mood.
    pub(crate) refused: usize,
    blobs: BTreeMap<String, Blob>,
    etags: u64,
}

impl Content {
    /// What the blob whose path ends like this says.
    pub(crate) fn says(&self, path: &str, name: &str) -> Option<&str> {
        let (_, blob) = self.blobs.iter().find(|(known, _)| known.ends_with(path))?;
        blob.metadata.get(format!("x-ms-meta-{name}"))?.to_str().ok()
    }

    fn do_it(&mut self, method: &Method, path: &str, headers: &HeaderMap) -> Response {
        let known = self.blobs.get(path);
        if [Method::HEAD, Method::GET].contains(method) {
            return known.map_or_else(|| refusal(StatusCode::NOT_FOUND, "BlobNotFound"), described);
        }
        if headers.contains_key("if-none-match") && known.is_some() {
            return refusal(StatusCode::CONFLICT, "BlobAlreadyExists");
        }
        let expected = headers.get("if-match").and_then(|etag| etag.to_str().ok());
        if expected.is_some_and(|expected| known.is_none_or(|blob| expected != etag_of(blob))) {
            return refusal(StatusCode::PRECONDITION_FAILED, "ConditionNotMet");
        }
        self.etags += 1;
        let metadata = headers.iter().filter(|(name, _)| name.as_str().starts_with("x-ms-meta-"));
        let blob = Blob {
            etag: self.etags,
            written_at: SystemClock::shared().now(),
            metadata: metadata.map(|(name, value)| (name.clone(), value.clone())).collect(),
        };
        let answer = described(&blob);
        self.blobs.insert(path.to_owned(), blob);
        answer
    }
}

fn etag_of(blob: &Blob) -> String {
    format!("\"0x{:X}\"", blob.etag)
}

fn described(blob: &Blob) -> Response {
    let time = |at: Timestamp| {
        let time = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap();
        time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let mut answer = [
        ("etag", etag_of(blob)),
        ("last-modified", time(blob.written_at)),
        ("date", time(SystemClock::shared().now())),
    ]
    .into_response();
    answer.headers_mut().extend(blob.metadata.iter().map(|(name, value)| (name.clone(), value.clone())));
    answer
}

fn refusal(status: StatusCode, code: &'static str) -> Response {
    (status, [("x-ms-error-code", code)]).into_response()
}

/// The account, on a port of this machine. It ends when it is dropped.
pub(crate) struct BlobServer {
    content: Arc<watch::Sender<Content>>,
    endpoint: String,
    serving: JoinHandle<()>,
}

impl Drop for BlobServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl BlobServer {
    pub(crate) async fn start() -> Self {
        let empty = Content { mood: Mood::Well, refused: 0, blobs: BTreeMap::new(), etags: 0 };
        let content = Arc::new(watch::Sender::new(empty));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}/troubled", listener.local_addr().unwrap());
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&content));
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { content, endpoint, serving }
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.content.send_modify(|content| (content.mood, content.refused) = (mood, 0));
    }

    /// Waits until what it holds is like this.
    pub(crate) async fn until(&self, is_so: impl FnMut(&Content) -> bool) {
        self.content.subscribe().wait_for(is_so).await.unwrap();
    }

    /// The checkpoints and ownerships that it has for a consumer group of the hub `flights`.
    pub(crate) fn checkpoints(&self) -> BlobCheckpoints {
        let account = format!("AccountName=troubled;AccountKey=aHVzaA==;BlobEndpoint={}", self.endpoint);
        blobs_at(&account, "checkpoints")
    }
}

async fn answer(State(content): State<Arc<watch::Sender<Content>>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let mut answer = StatusCode::CREATED.into_response();
    let mut is_silent = false;
    content.send_modify(|content| {
        let is_container = parts.uri.query() == Some("restype=container");
        if content.mood != Mood::Refusing && !is_container {
            answer = content.do_it(&parts.method, parts.uri.path(), &parts.headers);
        }
        is_silent = content.mood == Mood::Silent && parts.method == Method::PUT && !is_container;
        if is_silent {
            content.refused += 1;
        } else if content.mood != Mood::Well && content.mood != Mood::Silent {
            content.refused += 1;
            answer = refusal(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy");
        }
    });
    if is_silent {
        std::future::pending::<()>().await;
    }
    answer
}
