//! The console over an API with fixed answers.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod browser;
mod desk;
mod fixture;
mod frame;
mod live;
mod overview;
mod pages;
