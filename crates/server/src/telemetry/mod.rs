//! What can be seen of the server: how it looks at itself, and where others read that.

mod certificates;
mod http;
mod logs;
mod look;
#[cfg(test)]
mod reference;
mod routes;

pub(crate) use certificates::Certificates;
pub(crate) use http::HttpMetrics;
pub(crate) use logs::Logs;
pub(crate) use look::ServerLook;
pub(crate) use routes::{DEFAULT_POLICY, Seen, openapi, reading_routes};
