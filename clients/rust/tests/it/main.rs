//! The official Rust client of Event Hubs against Tidegate. `cargo xtask clients rust` starts the server and runs it.

mod epochs;
mod errors;
mod processors;
mod properties;
mod receive;
mod restart;
mod sample;
mod send;
mod tls;
