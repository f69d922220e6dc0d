//! Reading request bodies without trusting the client: bounded in size, in pauses, and where it matters in time.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tidegate_model::clock::{Clock, timeout};

use super::error::ErrorResponse;
use crate::admission::Limits;

/// Reads a body piece by piece.
pub(super) struct BodyReader<'a> {
    body: Body,
    clock: &'a dyn Clock,
    idle: Duration,
    received: u64,
}

/// Why the rest of a body did not come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// The client sent nothing for too long.
    #[error("the body stopped after {received} bytes: nothing came for {} seconds", .idle.as_secs_f64())]
    Idle { received: u64, idle: Duration },
    /// The whole took too long.
    #[error("the body did not arrive within {} seconds", .limit.as_secs_f64())]
    TooSlow { limit: Duration },
    /// The connection broke, or the encoding of the body did.
    #[error("the body broke off after {received} bytes: {detail}")]
    Broken { received: u64, detail: String },
}

impl From<BodyError> for ErrorResponse {
    fn from(error: BodyError) -> Self {
        let message = error.to_string();
        match error {
            BodyError::Idle { .. } | BodyError::TooSlow { .. } => {
                Self::timed_out(message, "send the body without long pauses")
            }
            BodyError::Broken { .. } => Self::bad_request(message, "send the whole body"),
        }
    }
}

impl<'a> BodyReader<'a> {
    pub(super) fn new(body: Body, clock: &'a dyn Clock, idle: Duration) -> Self {
        Self { body, clock, idle, received: 0 }
    }

    /// The next piece; `None` at the end. A call that is dropped before it is done has taken nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let frame = match timeout(self.clock, self.idle, self.body.frame()).await {
                None => return Err(BodyError::Idle { received: self.received, idle: self.idle }),
                Some(None) => return Ok(None),
                Some(Some(Ok(frame))) => frame,
                Some(Some(Err(error))) => {
                    return Err(BodyError::Broken { received: self.received, detail: innermost(&error) });
                }
            };
            // Frames that are no data are trailers, which say nothing to us.
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                self.received += data.len() as u64;
                return Ok(Some(data));
            }
        }
    }
}

/// How long a body is, if the request says so.
pub(super) fn declared_length(body: &Body) -> Option<usize> {
    body.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX))
}

/// Reads a whole body of at most `limits.request_bytes` bytes.
pub(super) async fn read_whole(
    body: Body,
    clock: &dyn Clock,
    limits: &Limits,
) -> Result<Bytes, ErrorResponse> {
    let limit = limits.request_bytes;
    let length = declared_length(&body);
    if length.is_some_and(|length| length > limit) {
        return Err(body_too_large(limit));
    }
    let mut reader = BodyReader::new(body, clock, limits.body_idle);
    let read = async {
        let Some(first) = reader.next().await? else { return Ok(Bytes::new()) };
        if length == Some(first.len()) {
            return Ok(first);
        }
        let mut whole = BytesMut::with_capacity(length.unwrap_or(first.len() * 2).min(limit));
        let mut piece = Some(first);
        while let Some(bytes) = piece {
            if whole.len() + bytes.len() > limit {
                return Err(body_too_large(limit));
            }
            whole.extend_from_slice(&bytes);
            piece = reader.next().await?;
        }
        Ok(whole.freeze())
    };
    match timeout(clock, limits.body_total, read).await {
        Some(read) => read,
        None => Err(BodyError::TooSlow { limit: limits.body_total }.into()),
    }
}

pub(super) fn body_too_large(limit: usize) -> ErrorResponse {
    ErrorResponse::too_large(
        format!("the body is larger than {limit} bytes"),
        "send fewer or smaller events in one request, or send lines with Content-Type: application/x-ndjson",
    )
}

/// The cause at the bottom of an error: what the operating system or the protocol said.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
