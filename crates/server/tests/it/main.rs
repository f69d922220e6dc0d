//! The program as a whole: its configuration, its commands, and what it does when it is killed.

#![expect(clippy::unwrap_used, reason = "a test that finds something else than it expects has failed")]

mod access;
mod alerts;
mod api;
mod audit;
mod checkpoint_seek;
mod circuit;
mod cli;
mod config;
mod console;
mod crash;
mod dead_letters;
mod demo;
mod dependency;
mod disk_full;
mod doors;
mod downstream;
mod drain;
mod embedded;
mod faults;
mod fsck;
mod health;
mod hubs;
mod issuer;
mod ledger;
mod links;
mod masking;
mod million;
mod namespace;
mod oidc;
mod outage;
mod promises;
mod redrive;
mod rights;
mod scenarios;
mod send;
mod shared_group;
mod sign_in;
mod sources;
mod support;
mod telemetry;
mod terminal;
mod troubled_targets;
mod upsert;
mod visitor;
