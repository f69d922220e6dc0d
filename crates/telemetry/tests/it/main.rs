//! What leaves the program: to a real OTLP receiver, and to a real gRPC client.

#![expect(clippy::unwrap_used, reason = "a test that finds something else than it expects has failed")]

mod keda;
mod otlp;
