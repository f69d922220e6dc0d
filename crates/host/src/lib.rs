//! The processor: owns partitions, batches, invokes functions, decides outcomes, commits.
//!
//! ```text
//!            ┌──────────────────── one pump per lane ────────────────────┐
//! log.tail → │ read → batcher → invoker (plan, documents, run) → decide  │ → committer → store
//!            └──────────────▲──────────────────────────────▲─────────────┘       │
//!                           └─ workspace: documents ahead ─┴── committed / rewind ┘
//! ```
//!
//! Decisions are pure functions ([`batcher`], [`retry`], [`outcome::decide`]); effects happen in one place,
//! [`outcome::commit`].

mod assignment;
pub mod lane;
pub mod ownership;
pub mod processor;
pub mod pump;
mod pumps;
pub mod watchdog;

pub mod balance;
pub mod batcher;
pub mod caution;
pub mod circuit;
pub mod invoker;
pub mod judge;
pub mod memory;
pub mod observe;
pub mod outcome;
pub mod retry;
pub mod workspace;

pub mod settings;
pub mod status;
pub mod tasks;
