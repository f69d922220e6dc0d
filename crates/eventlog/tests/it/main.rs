//! The log on a real disk, seen from outside.

mod conformance;
mod directory;
