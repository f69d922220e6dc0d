//! Checkpoints and ownerships as blobs, in the form that Event Hubs' clients share: empty blobs, everything in their
//! metadata. So the clients' processors go on where we stopped, we go on where they stopped, and KEDA sees how far behind
//! a consumer group is.
//!
//! | what | blob | metadata |
//! |---|---|---|
//! | checkpoint | `NAMESPACE/HUB/GROUP/checkpoint/PARTITION` | `sequencenumber`, `offset`: the last event that was resolved; `clientidentifier`: who says so |
//! | ownership | `NAMESPACE/HUB/GROUP/ownership/PARTITION` | `ownerid`; empty when it was released |
//!
//! Names are in lower case, as most clients write them; what the others write is found where a lane begins
//! ([`ConsumerOf`]). An ownership changes only if its ETag did not, and counts from its last change. [`Claims`] has them,
//! [`Mirror`] the checkpoints.

mod account;
mod checkpoints;
pub mod claims;
mod container;
mod legacy;
mod mirror;
mod names;
mod shared_key;

pub use account::{BlobAccess, BlobAccount, InvalidAccount};
pub use checkpoints::{BlobCheckpoint, BlobCheckpoints, BlobOwnership, FoundCheckpoint};
pub use claims::Claims;
pub use container::{BlobContainer, BlobError, http_client};
pub use mirror::{Mirror, known_checkpoints};
pub use names::ConsumerOf;
