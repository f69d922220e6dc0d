//! Errors as clients see them: problem details (RFC 9457), with the code of the error's page.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tidegate_api::{PROBLEM_JSON, Problem};
use tidegate_model::error::ErrorCode;
use tidegate_model::ports::AppendError;

use crate::PublishError;
use crate::admission::Busy;
use crate::auth::AuthError;
use crate::throughput::QuotaExceeded;

/// When a client should come again that was sent away because there is too much to do, in seconds.
const BUSY_RETRY_SECONDS: u32 = 1;

/// When a client should come again that was sent away because the program is stopping, in seconds.
const STOPPING_RETRY_SECONDS: u32 = 5;

/// An error as an answer. Making it an answer logs it, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    status: StatusCode,
    code: ErrorCode,
    message: String,
    action: String,
    retry_after: Option<u32>,
    acknowledged: Option<u64>,
}

impl ErrorResponse {
    /// An error: the status, the code with its page, what is wrong, and what the client can do.
    pub fn new(
        status: StatusCode,
        code: ErrorCode,
        message: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        let (message, action) = (message.into(), action.into());
        Self { status, code, message, action, retry_after: None, acknowledged: None }
    }

    /// A malformed request.
    pub fn bad_request(message: impl Into<String>, action: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BAD_REQUEST, message, action)
    }

    /// Something too large.
    pub(crate) fn too_large(message: impl Into<String>, action: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TOO_LARGE, message, action)
    }

    /// A client that took too long.
    pub(crate) fn timed_out(message: impl Into<String>, action: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::TIMEOUT, message, action)
    }

    /// The same error with the time after which the client should come again.
    #[must_use]
    pub fn retry_after_seconds(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The same error with the place where it happened.
    #[must_use]
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The same error for an upload of lines whose first `lines` lines are durable.
    #[must_use]
    pub(crate) fn after_acknowledged_lines(mut self, lines: u64) -> Self {
        self.acknowledged = Some(lines);
        self.action = format!(
            "{}; the first {lines} lines of the request are stored: send the rest from there. Lines after them may be stored as \
             well and then come twice",
            self.action
        );
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<AuthError> for ErrorResponse {
    fn from(error: AuthError) -> Self {
        let status = match &error {
            error if error.is_forbidden() => StatusCode::FORBIDDEN,
            error if error.is_unavailable() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNAUTHORIZED,
        };
        Self::new(status, error.code(), error.to_string(), error.action())
    }
}

impl From<Busy> for ErrorResponse {
    fn from(error: Busy) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::THROTTLED,
            format!("{error}: nothing of this request was stored"),
            "send again after the time in Retry-After",
        )
        .retry_after_seconds(BUSY_RETRY_SECONDS)
    }
}

impl From<QuotaExceeded> for ErrorResponse {
    fn from(error: QuotaExceeded) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::THROTTLED,
            error.to_string(),
            "send again after the time in Retry-After, or give the server more throughput units",
        )
        .retry_after_seconds(error.wait_seconds())
    }
}

impl From<PublishError> for ErrorResponse {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Append(error) => error.into(),
            PublishError::OverQuota(error) => error.into(),
            PublishError::TimedOut { .. } => Self::timed_out(
                error.to_string(),
                "send again, which may make duplicates: the events may be stored all the same",
            ),
        }
    }
}

impl From<AppendError> for ErrorResponse {
    fn from(error: AppendError) -> Self {
        let (status, action, retry_after) = match &error {
            AppendError::NoSuchPartition { .. } => {
                (StatusCode::NOT_FOUND, "send to one of these partitions, or to the hub", None)
            }
            AppendError::HubDeleted { .. } => (StatusCode::NOT_FOUND, "send to a hub that exists", None),
            AppendError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "send smaller events", None),
            AppendError::Throttled { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "send again after the time in Retry-After",
                Some(BUSY_RETRY_SECONDS),
            ),
            AppendError::DiskFull { .. } => {
                (StatusCode::INSUFFICIENT_STORAGE, "send again when the server has free space", None)
            }
            AppendError::Damaged { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "send to another partition, and tell the operator", None)
            }
            AppendError::Failed { may_have_been_stored: false, .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "send again after the server was restarted", None)
            }
            AppendError::Failed { may_have_been_stored: true, .. } => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "send again after the server was restarted, which may make duplicates: the events may be stored all \
                 the same",
                None,
            ),
            AppendError::Closing => (
                StatusCode::SERVICE_UNAVAILABLE,
                "send again after the time in Retry-After",
                Some(STOPPING_RETRY_SECONDS),
            ),
        };
        Self { retry_after, ..Self::new(status, error.code(), error.to_string(), action) }
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        let Self { status, code, message, action, retry_after, acknowledged } = &self;
        if status.is_server_error() {
            tracing::error!(%status, %code, message, acknowledged, "request failed");
        } else {
            tracing::debug!(%status, %code, message, acknowledged, "request refused");
        }
        let problem = Problem::new(status.as_u16(), code.0, message, action);
        let problem = Problem { acknowledged: *acknowledged, ..problem };
        let body = serde_json::to_vec(&problem).expect("a problem has a JSON form");
        let mut response = (*status, body).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = *retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if *status == StatusCode::UNAUTHORIZED {
            let schemes = HeaderValue::from_static("SharedAccessSignature, Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, schemes);
        }
        response
    }
}
