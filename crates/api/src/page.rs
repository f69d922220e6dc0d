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

/// In which order a listing is told. The cursor of a page goes on in the same order, and what comes in meanwhile moves
/// nothing: a page never shows twice what an earlier one showed, and leaves nothing out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListingOrder {
    /// The oldest first.
    #[default]
    Oldest,
    /// The newest first.
    Newest,
}

impl std::str::FromStr for ListingOrder {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "oldest" => Ok(Self::Oldest),
            "newest" => Ok(Self::Newest),
            _ => Err(()),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_false(flag: &bool) -> bool {
    !flag
}
