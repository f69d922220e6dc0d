//! The adapters from the outside: other hubs are read over sockets, as they are in use.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod access;
mod blob_server;
mod blobs;
mod claims;
mod conformance;
mod failing;
mod harness;
mod reading;
mod scenarios;
mod through_host;
