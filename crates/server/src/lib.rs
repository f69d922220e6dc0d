//! The `tidegate` program as a library.
//!
//! ```text
//! cli → config → wiring → run
//!  │                ├── node: data_dir, log, store, gateway, api ── audit
//!  │                └── alerting: tells a person
//!  └── client ── over HTTP to a running server, or straight to the node's routes
//! ```
//!
//! [`Program`] is all that a program with functions of its own needs.

mod cli;
mod client;
mod demo;
mod lines;
mod lineup;
mod logging;
mod program;

pub mod config;

mod access;
mod alerting;
mod causes;
mod console;
mod for_ever;
mod functions;
mod health;
mod hubs;
mod listener;
mod node;
mod operations;
mod readiness;
mod retention;
mod run;
mod sources;
mod telemetry;
mod tls;
mod wiring;

pub mod api;
pub mod audit;

pub mod data_dir;
mod keys;

pub mod failure;
mod files;

pub use program::Program;

/// A function as the program takes it.
pub type Function = std::sync::Arc<dyn tidegate_model::ports::Function>;
