//! Errors as the API answers them: in the form of the front doors.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use tidegate_gateway::http::ErrorResponse;
use tidegate_model::error::ErrorCode;
use tidegate_model::ports::{ReadError, StoreError};

/// A refused or failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: ErrorCode,
    message: String,
    help: String,
}

impl ApiError {
    /// What was asked for does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::NOT_FOUND, message)
    }

    /// The request makes no sense.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BAD_REQUEST, message)
    }

    /// Any error.
    pub(crate) fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), help: String::new() }
    }

    /// The same error with the way out.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// The same error with what it left behind, and how to see that unless there is a better way out.
    #[must_use]
    pub(crate) fn after(mut self, done: &str, help: &str) -> Self {
        self.message = format!("{}; {done}", self.message);
        if self.help.is_empty() {
            help.clone_into(&mut self.help);
        }
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        ErrorResponse::new(self.status, self.code, self.message, self.help).into_response()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::Refused { .. } => StatusCode::BAD_REQUEST,
            StoreError::Damaged { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let status = match &error {
            ReadError::NoSuchPartition { .. }
            | ReadError::BeyondTail { .. }
            | ReadError::HubDeleted { .. } => StatusCode::NOT_FOUND,
            ReadError::Expired { .. } => StatusCode::GONE,
            ReadError::Fenced { .. } => StatusCode::CONFLICT,
            ReadError::Damaged { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            ReadError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.code(), error.to_string())
    }
}
