//! Pages of listings: one JSON object a line, bounded in number and in bytes.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use tidegate_api::NEXT_HEADER;

use crate::api::form::NDJSON;

/// Objects in a page at most, whatever was asked for.
pub(crate) const MAX_ITEMS: usize = 1000;

/// A page is full once it has this many bytes; its last object may reach beyond.
pub(crate) const FULL_BYTES: usize = 4 * 1024 * 1024;

/// How many objects are fetched from the store at a time, so that a page of large ones does not fill the memory.
pub(crate) const FETCH_ITEMS: usize = 50;

/// A page being filled.
pub(crate) struct Page {
    lines: Vec<u8>,
    items: usize,
    limit: usize,
}

impl Page {
    /// An empty page for as many objects as were asked for.
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self { lines: Vec::new(), items: 0, limit: limit.unwrap_or(MAX_ITEMS).clamp(1, MAX_ITEMS) }
    }

    /// How many more objects fit, as many as one fetch should bring.
    pub(crate) fn wants(&self) -> usize {
        self.room().min(FETCH_ITEMS)
    }

    /// How many more objects fit.
    pub(crate) fn room(&self) -> usize {
        if self.lines.len() >= FULL_BYTES { 0 } else { self.limit - self.items }
    }

    /// True when nothing more should be added.
    pub(crate) fn is_full(&self) -> bool {
        self.wants() == 0
    }

    /// Adds an object.
    pub(crate) fn push(&mut self, item: &impl Serialize) {
        serde_json::to_writer(&mut self.lines, item)
            .expect("the API's objects have JSON forms, and memory takes them");
        self.lines.push(b'\n');
        self.items += 1;
    }

    /// The response; `next` is the cursor of the next page, if there may be one.
    pub(crate) fn finish(self, next: Option<String>) -> Response {
        let mut response = Body::from(self.lines).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, axum::http::HeaderValue::from_static(NDJSON));
        // A cursor may be any text, and a header may not.
        if let Some(next) = next.map(|next| percent_encode(&next)).and_then(|next| next.parse().ok()) {
            headers.insert(NEXT_HEADER, next);
        }
        response
    }
}

/// A page of things that have names and are ordered by them: those whose names are greater than `after`, as many as fit.
/// `shape` says what is shown of one, or nothing of one that is gone; the name of the last one is the cursor of the next page.
pub(crate) fn named<T, N: Ord + ToString, S: Serialize, E>(
    all: impl IntoIterator<Item = T>,
    name: impl Fn(&T) -> N,
    after: Option<&N>,
    mut shape: impl FnMut(T) -> Result<Option<S>, E>,
) -> Result<Response, E> {
    let mut page = Page::new(None);
    let mut last = None;
    for one in all {
        let name = name(&one);
        if after.is_some_and(|after| name <= *after) {
            continue;
        }
        if page.is_full() {
            return Ok(page.finish(last));
        }
        if let Some(shape) = shape(one)? {
            page.push(&shape);
            last = Some(name.to_string());
        }
    }
    Ok(page.finish(None))
}

/// Text as a part of an address: everything but letters, digits and `-._~` is percent-encoded.
pub(crate) fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded_in_number_and_bytes() {
        let mut page = Page::new(Some(usize::MAX));
        while !page.is_full() {
            page.push(&1);
        }
        assert_eq!(page.items, MAX_ITEMS);
        let mut page = Page::new(None);
        while !page.is_full() {
            page.push(&"x".repeat(1024 * 1024));
        }
        assert_eq!(page.items, 4);
    }

    #[test]
    fn what_has_names_is_paged_by_them_and_what_is_gone_left_out() {
        let listed = |after: Option<u32>| {
            let shape = |number: u32| Ok::<_, ()>(number.is_multiple_of(2).then_some(number));
            let response = named(0..5 * MAX_ITEMS as u32, |number| *number, after.as_ref(), shape).unwrap();
            let next = response.headers().get(NEXT_HEADER)?;
            next.to_str().ok()?.parse().ok()
        };
        assert_eq!(listed(None), Some(1998), "the last of a thousand");
        assert_eq!(listed(Some(1998)), Some(3998));
        assert_eq!(listed(Some(3998)), None);
    }

    #[test]
    fn any_text_becomes_a_part_of_an_address() {
        assert_eq!(percent_encode("a/b?c=d é~"), "a%2Fb%3Fc%3Dd%20%C3%A9~");
    }
}
