//! Pages of listings.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// What is listed, in the order of the listing.
    pub items: Vec<T>,
    /// The cursor of the next page, to be given as the listing's cursor parameter; null on the last one.
    pub next: Option<String>,
    /// True when something was left out because of a limit, and cannot be had by a next page.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_false(flag: &bool) -> bool {
    !flag
}
