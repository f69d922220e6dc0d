//! Traces and metrics for whoever speaks OTLP, over HTTP with protobuf.
//!
//! ```text
//! publish ◄┄┄ link ┄┄ invocation ─► commit       one trace for each batch, the producer's own trace as a link
//! ```
//!
//! A share of the batches is sent, and every batch in which something failed. What is sent waits in a bounded queue: nobody
//! waits for the receiver, and what it does not take in time is dropped and counted.

mod context;
mod exporter;
mod metrics;
mod settings;
mod spans;

pub(crate) use exporter::{ExportCounts, Exporter};
pub use settings::{OtlpSettings, UnusableEndpoint};
pub(crate) use spans::Spans;
