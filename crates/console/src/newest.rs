//! Listings that are shown with the newest on top, page by page, in both directions.
//!
//! A page is named by where it begins: `before=N` has what is older than N, `after=N` what is newer. So a page stays what it
//! is while more comes in.

use serde::de::DeserializeOwned;

use crate::api::{Listing, encoded};
use crate::problem::Outcome;
use crate::visit::Visit;

/// A page of a listing.
#[derive(Debug)]
pub(crate) struct Newest<T> {
    /// What is listed, the newest first.
    pub(crate) items: Vec<T>,
    /// What is newer than the page is after this number; nothing on the newest page.
    pub(crate) newer: Option<u64>,
    /// What is older is before this number; nothing on the oldest page.
    pub(crate) older: Option<u64>,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With the newest of all.
    Newest,
    /// With the newest that is older than this.
    Before(u64),
    /// It ends with the oldest that is newer than this.
    After(u64),
}

impl Begin {
    /// As the page's address says.
    pub(crate) fn of(visit: &Visit) -> Self {
        let number = |name| visit.parameter(name).and_then(|text| text.parse().ok());
        match (number("before"), number("after")) {
            (Some(before), _) => Self::Before(before),
            (None, Some(after)) => Self::After(after),
            (None, None) => Self::Newest,
        }
    }
}

/// Asks the API for a page of at most `wanted`. `path` is the address of the listing, with a query; `number` tells the number
/// of what is listed, which is also the API's cursor.
///
/// # Errors
/// What the API says.
pub(crate) async fn page<T: DeserializeOwned>(
    visit: &Visit,
    path: &str,
    begin: Begin,
    wanted: usize,
    number: impl Fn(&T) -> u64,
) -> Outcome<Newest<T>> {
    let ask = async |order: &str, after: Option<u64>| -> Outcome<Listing<T>> {
        let cursor = after.map_or(String::new(), |after| format!("&after={}", encoded(&after.to_string())));
        visit.api.get(&format!("{path}&order={order}&limit={wanted}{cursor}")).await
    };
    let (mut found, is_back) = match begin {
        Begin::Newest => (ask("newest", None).await?, true),
        Begin::Before(before) => (ask("newest", Some(before)).await?, true),
        Begin::After(after) => (ask("oldest", Some(after)).await?, false),
    };
    if !is_back {
        found.items.reverse();
    }
    let first = found.items.first().map(&number);
    let last = found.items.last().map(&number);
    let more = found.next.is_some();
    Ok(match begin {
        Begin::Newest => Newest { items: found.items, newer: None, older: last.filter(|_| more) },
        // What the page begins before may be gone, but it was there, and so are those that are newer.
        Begin::Before(before) => Newest {
            items: found.items,
            newer: first.or(before.checked_sub(1)),
            older: last.filter(|_| more),
        },
        Begin::After(after) => {
            Newest { items: found.items, newer: first.filter(|_| more), older: last.or(after.checked_add(1)) }
        }
    })
}
