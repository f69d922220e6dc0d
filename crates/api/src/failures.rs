//! Why events failed lately.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tidegate_model::clock::Timestamp;

/// A cause of failed attempts in the last hour, with an event that failed for it. Failures that differ only in numbers and
/// names have one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureCause {
    /// The function whose events failed.
    pub function: String,
    /// `transient`, `throttled`, `timed-out`, `panicked`, `interrupted` or `rejected`; null where that is not known.
    #[schema(example = "transient")]
    pub kind: Option<String>,
    /// What went wrong, in the words of the newest failure.
    #[schema(example = "the weather service answered 503")]
    pub error: String,
    /// How many attempts failed for it on all instances, as far as they know: a batch names a few of its failures. Another
    /// instance tells its newest causes every few seconds.
    pub attempts: u64,
    /// When it was seen first.
    pub first_at: Timestamp,
    /// When it was seen last.
    pub last_at: Timestamp,
    /// The hub of the newest event that failed for it.
    pub hub: String,
    /// The partition of that event.
    pub partition: u32,
    /// The number of that event.
    pub sequence_number: u64,
    /// The partition key of that event.
    pub key: Option<String>,
    /// What became of that event: `retried`, `parked`, `held` or `dead-lettered`.
    pub fate: String,
    /// The instances that saw it: the one that is asked as of now, the others, and those that are gone, as they told last.
    #[serde(default)]
    pub instances: Vec<String>,
}
