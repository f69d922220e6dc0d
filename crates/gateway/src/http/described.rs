//! What the requests of the front door have in common, for the OpenAPI document.

use tidegate_api::Problem;
use utoipa::{IntoParams, IntoResponses};

/// What can be said in the address.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes requests")]
pub(super) struct Options {
    /// How long the append may take, in seconds; 60 if left out.
    timeout: Option<u32>,
    /// The partition, where the address does not name one.
    partition: Option<u32>,
    /// For lines: a JSON pointer to the partition key, such as `/icao24`.
    key: Option<String>,
}

/// What a request is answered: that all of it was stored; that nothing was; or that it is not known.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes answers")]
pub(super) enum Published {
    /// All of it was stored.
    #[response(status = 201, description = "Everything is on disk")]
    Stored,
    /// The request is malformed.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The request carries no valid authorisation.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The authorisation is valid, but does not allow to send here.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// There is no such hub or partition.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The request did not arrive, or was not stored, in the time allowed.
    #[response(status = 408, content_type = "application/problem+json")]
    TimedOut(Problem),
    /// An event or the request is larger than its limit.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// Too much waits to be written, or the throughput units are used up; `Retry-After` says when to come again.
    #[response(status = 429, content_type = "application/problem+json")]
    Throttled(Problem),
    /// The log has failed, or the partition is damaged.
    #[response(status = 500, content_type = "application/problem+json")]
    Failed(Problem),
    /// The program is stopping.
    #[response(status = 503, content_type = "application/problem+json")]
    Stopping(Problem),
    /// The disk is full.
    #[response(status = 507, content_type = "application/problem+json")]
    DiskFull(Problem),
}
