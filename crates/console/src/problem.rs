//! What the API refused, as a page can say it.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

/// A request that the API refused, or that could not be understood: RFC 9457 with an error code and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The code of its page, such as `TG-404`; empty when there is none.
    pub code: String,
    /// What went wrong.
    pub detail: String,
    /// The way out; empty when the message says it.
    pub action: String,
}

/// What a page answers.
pub type Outcome<T> = Result<T, Problem>;

#[derive(Deserialize)]
struct ProblemBody {
    #[serde(default)]
    code: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    action: String,
    /// The form of the publishing addresses.
    error: Option<ErrorBody>,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: String,
    message: String,
    #[serde(default)]
    action: String,
}

impl Problem {
    /// A problem of the console's own.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), detail: detail.into(), action: String::new() }
    }

    /// What was asked for does not exist.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "TG-404", detail)
    }

    /// What was asked for makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "TG-400", detail)
    }

    /// The same problem with the way out.
    #[must_use]
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = action.into();
        self
    }

    /// An answer of the API that is no success.
    pub fn of_answer(status: StatusCode, body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<ProblemBody>(body) else {
            return Self::new(status, "", format!("the API answered {status}"));
        };
        if let Some(ErrorBody { code, message, action }) = body.error {
            return Self { status, code, detail: message, action };
        }
        let detail = if body.detail.is_empty() { body.title } else { body.detail };
        Self { status, code: body.code, detail, action: body.action }
    }

    /// An answer of the API that is not what it should be.
    pub fn not_understood(path: &str, error: &serde_json::Error) -> Self {
        let detail = format!("the answer of the API at {path} is not what the console understands: {error}");
        Self::new(StatusCode::BAD_GATEWAY, "TG-504", detail)
            .action("this is a defect of the program: please report it")
    }

    /// Whether signing in may help.
    pub fn asks_to_sign_in(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }
}

impl IntoResponse for Problem {
    /// The shell makes a page of it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_errors_are_understood_and_anything_else_is_survived() {
        let of = |body: &str| Problem::of_answer(StatusCode::NOT_FOUND, body.as_bytes());
        let problem =
            of(r#"{"type":"/errors/TG-404","title":"t","detail":"no hub","code":"TG-404","action":"x"}"#);
        assert_eq!(problem, Problem::not_found("no hub").action("x"));
        let older = of(r#"{"error":{"code":"TG-404","message":"no hub","action":"x"}}"#);
        assert_eq!(older, problem);
        assert_eq!(of("<html>").detail, "the API answered 404 Not Found");
        assert_eq!(of(r#"{"title":"t"}"#).detail, "t");
    }
}
