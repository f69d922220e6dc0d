//! Who may read, act and administer.
//!
//! ```text
//! a request → door: who is it → a principal with a name and a role → may they?
//! ```
//!
//! - [`door`]: the one place where a request becomes somebody. Begin there.
//! - [`role`], [`principal`]: what somebody may do, and how the audit trail calls them.
//! - [`token`], [`tokens`]: access tokens, whose secrets only their holders have.
//! - [`link`]: links that sign somebody in once, for whoever has no token at hand.
//! - [`session`], [`cookie`], [`request`]: people with browsers, and what pages of other sites cannot make them do.
//! - [`oidc`]: people whom an identity provider knows.
//! - [`mask`]: what of events and documents a role does not see.
//! - [`rate`]: how often a sign-in may be tried.
//!
//! It decides and keeps its state behind the ports of `model`; the server puts it in front of its addresses.

pub mod cookie;
pub mod door;
pub mod link;
pub mod mask;
pub mod name;
pub mod oidc;
pub mod persons;
pub mod principal;
pub mod rate;
pub mod refused;
pub mod request;
pub mod role;
mod secret;
pub mod session;
pub mod token;
pub mod tokens;

pub use door::{CSRF_HEADER, Door, DoorSettings, Entered, Keys};
pub use principal::{Principal, Proof};
pub use refused::Refused;
pub use request::{Asked, Ends};
pub use role::Role;
