//! The commands' way to the API: over HTTP to a running server, or straight to the same routes over a data directory
//! that this process opened itself.

mod pages;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;

use tidegate_api::{Problem, USER_HEADER};
use tidegate_model::error::ErrorCode;

use crate::failure::Failure;

pub(crate) use pages::Pages;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What somebody without a key is told who needs one.
const WITHOUT_KEY: &str = "on the machine of the server, make a token: tidegate tokens create NAME --role operator\n\
                           then give it here: export TIDEGATE_KEY=tg_…, or --key-file FILE, and type the command again";

/// Speaks the API.
pub(crate) struct Connection {
    to: To,
    /// Nothing for somebody without a key, who may look where that is open.
    authorization: Option<HeaderValue>,
    user: Option<HeaderValue>,
}

enum To {
    Server { base: String, client: Box<Client<HttpConnector, Body>> },
    Router(Router),
}

/// An answer that was no success.
#[derive(Debug)]
pub struct Refusal {
    /// What went wrong.
    pub failure: Failure,
    /// For an upload of lines: how many from the beginning are durable.
    pub acknowledged: Option<u64>,
    /// True when it is an answer at all, false when nothing came back.
    pub(crate) answered: bool,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        refusal.failure
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, acknowledged: None, answered: false }
    }
}

impl Connection {
    /// Speaks to the server at `base`, such as `http://127.0.0.1:8780`, with a key if there is one.
    ///
    /// # Errors
    /// When the address or the key cannot be used in a request.
    pub(crate) fn to_server(base: &str, key: Option<&str>) -> Result<Self, Failure> {
        let valid =
            base.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
        if valid.is_none() {
            return Err(Failure::usage(
                ErrorCode::SERVER_UNREACHABLE,
                format!("{base:?} is no address of a server"),
            )
            .help("write it as http://HOST:PORT, such as http://127.0.0.1:8780"));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self {
            to: To::Server { base, client: Box::new(client) },
            authorization: key.map(bearer).transpose()?,
            user: user(),
        })
    }

    /// Speaks to the routes of this process.
    ///
    /// # Errors
    /// When the key cannot be used in a request.
    pub(crate) fn to_router(router: Router, key: &str) -> Result<Self, Failure> {
        Ok(Self { to: To::Router(router), authorization: Some(bearer(key)?), user: user() })
    }

    /// True when somebody answers, healthy or not.
    pub(crate) async fn answers(&self) -> bool {
        match self.get("/health").await {
            Ok(_) => true,
            // An unhealthy server answers with an error that is not in the form of the API.
            Err(refusal) => refusal.answered,
        }
    }

    /// Asks for `path`, a path and query, and reads the whole answer.
    ///
    /// # Errors
    /// When nothing answers, or the answer is an error.
    pub(crate) async fn get(&self, path: &str) -> Result<Response<Bytes>, Refusal> {
        self.request(Method::GET, path, None, Bytes::new()).await
    }

    /// Sends `body` to `path` and reads the whole answer.
    ///
    /// # Errors
    /// When nothing answers, or the answer is an error.
    pub(crate) async fn post(
        &self,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Response<Bytes>, Refusal> {
        self.request(Method::POST, path, Some(content_type), body).await
    }

    /// Sends an object as JSON to `path` and reads the whole answer.
    ///
    /// # Errors
    /// When nothing answers, or the answer is an error.
    pub(crate) async fn post_json(&self, path: &str, object: &impl Serialize) -> Result<Bytes, Refusal> {
        let body = serde_json::to_vec(object).expect("the program's objects have JSON forms");
        Ok(self.post(path, "application/json", Bytes::from(body)).await?.into_body())
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&'static str>,
        body: Bytes,
    ) -> Result<Response<Bytes>, Refusal> {
        let base = match &self.to {
            To::Server { base, .. } => base.as_str(),
            To::Router(_) => "",
        };
        let mut request = Request::builder().method(method).uri(format!("{base}{path}"));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if let Some(user) = &self.user {
            request = request.header(USER_HEADER, user.clone());
        }
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(Body::from(body)).map_err(|error| {
            Failure::usage(ErrorCode::BAD_REQUEST, format!("{path:?} is no valid address: {error}"))
        })?;
        let response = match &self.to {
            To::Server { base, client } => {
                let response = client.request(request).await.map_err(|error| unreachable(base, &error))?;
                response.map(Body::new)
            }
            To::Router(router) => match router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| unreachable(base, &error))?.to_bytes();
        if parts.status.is_success() {
            return Ok(Response::from_parts(parts, body));
        }
        let refusal = refusal(parts.status.as_u16(), &body);
        let is_unknown = parts.status == StatusCode::UNAUTHORIZED && self.authorization.is_none();
        Err(if is_unknown {
            Refusal { failure: refusal.failure.help(WITHOUT_KEY), ..refusal }
        } else {
            refusal
        })
    }
}

/// Who is at the command line, for the audit trail.
fn user() -> Option<HeaderValue> {
    user_name().and_then(|name| HeaderValue::from_str(&name).ok())
}

/// Who is at the command line; nobody where the environment does not say it in plain characters.
pub(crate) fn user_name() -> Option<String> {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok()?;
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'(' && byte != b')';
    let is_plain = !name.is_empty() && name.len() <= 64 && name.bytes().all(plain);
    is_plain.then_some(name)
}

/// The lines of an answer that is not paged.
pub(crate) fn lines(body: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| body.slice_ref(line))
}

fn bearer(key: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim())).map_err(|_| {
        Failure::usage(ErrorCode::UNAUTHORIZED, "the key has characters that no key has").help(
            "check the file or the variable it comes from; a key is one line of visible ASCII characters",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn unreachable(base: &str, error: &dyn std::error::Error) -> Failure {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    Failure::new(ErrorCode::SERVER_UNREACHABLE, format!("the server at {base} does not answer: {why}"))
        .help("start it with `tidegate run`, or name another with --server URL or --data-dir DIR")
}

/// The failure that an answer which is no success tells of.
fn refusal(status: u16, body: &[u8]) -> Refusal {
    let Ok(Problem { code, detail, action, acknowledged, .. }) = serde_json::from_slice(body) else {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let message = format!("the server answered with status {status} and no explanation: {text:?}");
        let failure = Failure::new(ErrorCode::SERVER_UNREACHABLE, message).help("is it a Tidegate server?");
        return Refusal { failure, acknowledged: None, answered: true };
    };
    let known = ErrorCode::ALL.iter().copied().find(|known| known.0 == code);
    let code = known.unwrap_or(ErrorCode::SERVER_UNREACHABLE);
    Refusal { failure: Failure::new(code, detail).help(action), acknowledged, answered: true }
}

/// An object of the API as this version knows it.
pub(crate) fn understood<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(line).map_err(|error| {
        Failure::new(ErrorCode::SERVER_UNREACHABLE, format!("the server's answer is not understood: {error}"))
            .help("use the same version of tidegate on both sides")
    })
}
