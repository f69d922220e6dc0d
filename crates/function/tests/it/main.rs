//! The three forms of a function, run by a host in miniature.

mod batch;
mod fold;
mod upsert;
