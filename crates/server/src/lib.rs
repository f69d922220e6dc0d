//! The `tidegate` program as a library.

pub mod config;
pub mod failure;
