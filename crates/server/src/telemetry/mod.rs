//! What can be seen of the server: how it looks at itself, and where others read that.

mod look;
mod routes;

pub(crate) use look::ServerLook;
pub(crate) use routes::{openapi, reading_routes};
