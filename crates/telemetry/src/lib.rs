//! What can be seen of a running program from outside.
//!
//! ```text
//! gateway, host ── Observer ──► flow ─────┐
//! eventlog, … ── their instruments ───────┼─► registry ─► exposition: GET /metrics
//! the lanes, the store ── Look ─► state ──┤
//!                           │             └─► sampler ─► series: GET /api/v1/series, rates of the overview
//!                           └─ once a second
//! ```
//!
//! Everything here is told or looks; nothing here changes anything, and what it keeps is bounded.

mod telemetry;

mod exposition;
pub mod failures;
mod flow;
mod histogram;
mod invocation_lines;
mod process;
pub mod state;

pub mod sampler;
pub mod series;

pub mod families;
pub mod logs;
pub mod otlp;
pub mod scale;

pub use exposition::{Format, content_type};
pub use telemetry::Telemetry;
