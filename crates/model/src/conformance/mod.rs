//! The suites: what every implementation of a port must pass.

pub mod event_log;
pub mod store;
