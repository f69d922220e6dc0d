//! From a function's answers to what becomes true: check, decide, commit.

pub mod answers;
pub mod commit;
pub mod decide;
