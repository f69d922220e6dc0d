//! The query parameters of send requests.

use std::time::Duration;

use axum::extract::Query;
use axum::http::Uri;
use tidegate_model::position::PartitionId;

use super::error::ErrorResponse;
use crate::json_pointer::JsonPointer;

/// The longest time-out a request may ask for, in seconds; a longer one counts as this.
const LONGEST_TIMEOUT_SECONDS: u64 = 3600;

/// The query parameters that mean something. All others, `api-version` among them, are ignored, as the service does.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// How long an append may take.
    pub(super) timeout: Option<Duration>,
    /// The partition the events go to.
    pub(super) partition: Option<PartitionId>,
    /// Where the partition key is within each line.
    pub(super) key: Option<JsonPointer>,
}

impl Parameters {
    /// Reads the query of a request; the last one counts of a parameter that comes twice.
    pub(super) fn of(uri: &Uri) -> Result<Self, ErrorResponse> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|error| {
            ErrorResponse::bad_request(
                format!("the query cannot be read: {error}"),
                "percent-encode it as UTF-8",
            )
        })?;
        let mut parameters = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "timeout" => parameters.timeout = Some(timeout_of(&value)?),
                "partition" => parameters.partition = Some(partition_of(&value)?),
                "key" => {
                    let pointer = JsonPointer::parse(&value).map_err(|error| {
                        ErrorResponse::bad_request(
                            format!("the parameter key is wrong: {error}"),
                            "send a JSON pointer such as ?key=/device/id",
                        )
                    })?;
                    parameters.key = Some(pointer);
                }
                _ => {}
            }
        }
        Ok(parameters)
    }
}

fn timeout_of(value: &str) -> Result<Duration, ErrorResponse> {
    match value.parse::<u64>() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds.min(LONGEST_TIMEOUT_SECONDS))),
        _ => Err(ErrorResponse::bad_request(
            format!("the parameter timeout is {:?}", value.chars().take(64).collect::<String>()),
            "send a whole number of seconds above 0, such as ?timeout=60",
        )),
    }
}

fn partition_of(value: &str) -> Result<PartitionId, ErrorResponse> {
    value.parse().map(PartitionId).map_err(|_| {
        ErrorResponse::bad_request(
            format!("the parameter partition is {:?}", value.chars().take(64).collect::<String>()),
            "send the number of a partition, such as ?partition=0",
        )
    })
}
