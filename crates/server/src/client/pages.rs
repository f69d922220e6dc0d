//! Follows the pages of a listing.

use std::collections::VecDeque;

use bytes::Bytes;

use tidegate_api::NEXT_HEADER;
use tidegate_model::error::ErrorCode;

use crate::client::{Connection, lines};
use crate::failure::Failure;

/// The lines of a listing, page after page, at most as many as were asked for.
pub(crate) struct Pages<'c> {
    connection: &'c Connection,
    path: String,
    cursor_name: &'static str,
    next: Option<String>,
    lines: VecDeque<Bytes>,
    left: u64,
}

impl<'c> Pages<'c> {
    /// The listing at `path`, whose query parameter `cursor_name` takes the cursor; at most `limit` lines of it.
    pub(crate) fn new(
        connection: &'c Connection,
        path: String,
        cursor_name: &'static str,
        limit: Option<u64>,
    ) -> Self {
        Self {
            connection,
            next: Some(path.clone()),
            path,
            cursor_name,
            lines: VecDeque::new(),
            left: limit.unwrap_or(u64::MAX),
        }
    }

    /// The next line, or `None` at the end.
    ///
    /// # Errors
    /// When a page cannot be had.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.left == 0 {
            return Ok(None);
        }
        while self.lines.is_empty() {
            let Some(path) = self.next.take() else { return Ok(None) };
            let response = self.connection.get(&path).await?;
            if let Some(cursor) = response.headers().get(NEXT_HEADER) {
                // The cursor is percent-encoded already.
                let cursor = cursor.to_str().map_err(|_| {
                    Failure::new(ErrorCode::SERVER_UNREACHABLE, "the server sent a cursor that is no text")
                })?;
                self.next = Some(self.with_cursor(cursor));
            }
            let body = response.into_body();
            self.lines.extend(lines(&body));
        }
        self.left -= 1;
        Ok(self.lines.pop_front())
    }

    fn with_cursor(&self, cursor: &str) -> String {
        let name = self.cursor_name;
        let (path, query) = self.path.split_once('?').unwrap_or((self.path.as_str(), ""));
        let own = |part: &&str| part.split('=').next() != Some(name) && !part.is_empty();
        let mut parts: Vec<String> = query.split('&').filter(own).map(str::to_owned).collect();
        parts.push(format!("{name}={cursor}"));
        format!("{path}?{}", parts.join("&"))
    }
}
