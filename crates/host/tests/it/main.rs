//! The host over the in-memory log and store: what it promises, and what it does when functions and stores misbehave.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod harness;

mod assigned;
mod chaos;
mod circuit;
mod circuit_fleet;
mod circuit_probe;
mod concurrency;
mod crash_loop;
mod dependencies;
mod documents;
mod drain;
mod misbehaving_functions;
mod observed;
mod order;
mod outage;
mod ownership;
mod retries;
mod review;
mod scenarios;
mod store_faults;
mod watchdog;
