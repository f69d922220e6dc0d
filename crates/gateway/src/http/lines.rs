//! An upload of lines: each line of the body is an event, byte for byte, without its line end.
//!
//! The body may be of any length; it is read as fast as the log takes it. Empty lines are skipped. The answer comes after
//! everything is durable, or after something went wrong, and then it says how many of the first lines are durable.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use tidegate_model::event::{MAX_EVENT_BYTES, MAX_PARTITION_KEY_BYTES};

use super::body::{BodyError, BodyReader, declared_length};
use super::bulk::{Bulk, LineError, LineRoute};
use super::error::ErrorResponse;
use super::gzip::{Gunzip, GunzipError};
use super::send::Sending;
use super::split::{LineSplitter, LineTooLong};
use crate::admission::{EVENT_OVERHEAD_BYTES, Limits};
use crate::{Gateway, Hub};

/// How the body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
}

#[derive(Serialize)]
struct Acknowledgement {
    events: u64,
    bytes: u64,
}

/// Publishes the lines of a body.
pub(super) async fn publish(
    gateway: &Gateway,
    hub: Arc<Hub>,
    route: LineRoute,
    body: Body,
    encoding: Encoding,
    sending: Sending,
) -> Result<Response, ErrorResponse> {
    let needed = memory_needed(&gateway.limits, &body, encoding);
    let _reservation = gateway.admission.reserve(needed, &*gateway.clock).await?;

    let reader = BodyReader::new(body, &*gateway.clock, gateway.limits.body_idle);
    let gunzip = (encoding == Encoding::Gzip).then(|| Gunzip::new(gateway.limits.max_inflation));
    let mut source = Source { reader, gunzip, at_end: false };
    let mut bulk = Bulk::new(hub, gateway.clock.clone(), route, &gateway.limits, sending);

    let read = take_lines(&mut source, &mut bulk).await;
    let line = bulk.lines();
    // Whatever stopped the reading, the lines before it are published: then the first of them that is not durable is
    // the first one the client must send again.
    let progress = bulk.finish().await;
    let error = match (read, progress.failure) {
        (Ok(()), None) => {
            let acknowledgement = Acknowledgement { events: progress.events, bytes: progress.bytes };
            return Ok((StatusCode::CREATED, Json(acknowledgement)).into_response());
        }
        (Err(problem), _) => problem.at_line(line),
        (Ok(()), Some(failure)) => {
            let place = format!("storing line {} (from 0) failed", progress.acknowledged_lines);
            ErrorResponse::from(failure).at(&place)
        }
    };
    Err(error.after_acknowledged_lines(progress.acknowledged_lines))
}

/// How many bytes of memory the upload can come to need.
fn memory_needed(limits: &Limits, body: &Body, encoding: Encoding) -> usize {
    let most = limits.bulk_window_bytes.saturating_add(MAX_EVENT_BYTES);
    match (encoding, declared_length(body)) {
        // The shortest line that is an event takes two bytes.
        (Encoding::Plain, Some(length)) => {
            length.saturating_add((length / 2 + 1).saturating_mul(EVENT_OVERHEAD_BYTES)).min(most)
        }
        _ => most,
    }
}

/// Moves lines from the body to the upload until the end of one or the failure of the other.
async fn take_lines(source: &mut Source<'_>, bulk: &mut Bulk) -> Result<(), Problem> {
    let mut splitter = LineSplitter::new(MAX_EVENT_BYTES);
    loop {
        let piece = tokio::select! {
            biased;
            piece = source.next() => piece?,
            () = bulk.wait_for_one(), if !bulk.is_idle() => {
                if bulk.has_failed() {
                    return Ok(());
                }
                continue;
            }
        };
        let Some(piece) = piece else { break };
        let mut rest = &piece[..];
        while let Some((line, taken)) = splitter.next(rest)? {
            rest = &rest[taken..];
            bulk.take(line)?;
            bulk.wait_for_room().await;
            if bulk.has_failed() {
                return Ok(());
            }
        }
        bulk.poke();
        if bulk.has_failed() {
            return Ok(());
        }
    }
    if let Some(line) = splitter.last()? {
        bulk.take(line)?;
    }
    Ok(())
}

/// The unpacked bytes of a body.
struct Source<'a> {
    reader: BodyReader<'a>,
    gunzip: Option<Gunzip>,
    at_end: bool,
}

impl Source<'_> {
    /// The next piece; `None` at the end. A call that is dropped before it is done has taken nothing.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some(gunzip) = &mut self.gunzip else { return Ok(self.reader.next().await?) };
        while !self.at_end {
            if let Some(piece) = gunzip.unpack()? {
                return Ok(Some(piece.into()));
            }
            match self.reader.next().await? {
                Some(packed) => gunzip.feed(packed),
                None => {
                    self.at_end = true;
                    return Ok(gunzip.finish()?.map(Bytes::from));
                }
            }
        }
        Ok(None)
    }
}

/// What can be wrong with an upload itself.
enum Problem {
    Body(BodyError),
    Gunzip(GunzipError),
    LineTooLong,
    Line(LineError),
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<GunzipError> for Problem {
    fn from(error: GunzipError) -> Self {
        Self::Gunzip(error)
    }
}

impl From<LineTooLong> for Problem {
    fn from(LineTooLong: LineTooLong) -> Self {
        Self::LineTooLong
    }
}

impl From<LineError> for Problem {
    fn from(error: LineError) -> Self {
        Self::Line(error)
    }
}

impl Problem {
    /// The problem as an answer; `line` is the number of the line it came up at, from 0.
    fn at_line(self, line: u64) -> ErrorResponse {
        match self {
            Self::Body(error) => error.into(),
            Self::Gunzip(error) => ErrorResponse::bad_request(
                error.to_string(),
                "send a gzip stream, or leave out Content-Encoding",
            ),
            Self::LineTooLong => ErrorResponse::too_large(
                format!("line {line} (from 0) is longer than {MAX_EVENT_BYTES} bytes, the limit of an event"),
                "leave the line out or make it shorter",
            ),
            Self::Line(LineError::TooLarge { size }) => ErrorResponse::too_large(
                format!(
                    "line {line} (from 0) is with its partition key {size} bytes large; the limit of an event is \
                     {MAX_EVENT_BYTES}"
                ),
                "leave the line out or make it shorter",
            ),
            Self::Line(LineError::KeyTooLong { length }) => ErrorResponse::bad_request(
                format!(
                    "the partition key of line {line} (from 0) is {length} bytes long; a partition key has at most \
                     {MAX_PARTITION_KEY_BYTES}"
                ),
                "point ?key= at a shorter value, such as the id of a device, or leave the line out",
            ),
        }
    }
}
