//! Tests of the store as its users see it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod acts;
mod load;

mod conformance;

mod checking;
mod closing;
mod concurrency;
mod crash;
mod damage;
mod disk_full;
mod forgetting;
mod migration;
mod opening;
mod query;
