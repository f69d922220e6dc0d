//! Checking JSON Web Tokens that others made: the arithmetic, and the keys that identity providers publish.
//!
//! ```text
//! a token → source: are the keys known that may have signed it? else they are asked for → signed: its claims
//! ```
//!
//! - [`arithmetic`]: signatures, by the library that also does TLS.
//! - [`signed`]: whether a token is signed with one of several published keys.
//! - [`published`], [`discovery`], [`source`]: those keys, kept and asked for anew when they change.
//! - [`fetch`]: asking, bounded in time and bytes.
//!
//! What a token must say besides, such as whom it is for, those decide who take it.

pub mod arithmetic;
pub mod discovery;
pub mod fetch;
#[cfg(test)]
mod provider;
pub mod published;
pub mod signed;
pub mod source;

pub use arithmetic::install;
pub use fetch::{NoAnswer, is_protected};
pub use published::PublishedKeys;
pub use signed::{NotSigned, signed_claims};
pub use source::KeySource;
