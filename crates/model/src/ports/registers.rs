//! The ports of what all instances agree on, and of what a person is to be told.

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::notice::{DeliveryState, NewNotice, Notice, NoticeId};
use crate::ports::StoreError;
use crate::register::{Register, RegisterKey, Version};
use crate::trail::NewTrailEntry;

/// A change of one register, and what becomes true with it.
#[derive(Clone, Debug, PartialEq)]
pub struct RegisterChange {
    /// Which register.
    pub key: RegisterKey,
    /// The version that the change was decided on; [`Version::NONE`] makes the register.
    pub from: Version,
    /// What it holds from now on; `None` removes it.
    pub value: Option<serde_json::Value>,
    /// When.
    pub at: Timestamp,
    /// What is to be told.
    pub notices: Vec<NewNotice>,
    /// What is written to the audit trail.
    pub trail: Vec<NewTrailEntry>,
}

/// The registers.
///
/// # Contract
///
/// - A change goes through only if the register's version is [`from`](RegisterChange::from): else it is
///   [`StoreError::RegisterMoved`] and nothing of it happened. Of several at once, one wins.
/// - The register, the notices and the lines of the audit trail change in one transaction, which is on disk when the
///   answer comes: a circuit that opened stays open across a power cut.
/// - Versions of a register grow for ever, also across its removal.
#[async_trait]
pub trait Registers: Send + Sync + 'static {
    /// A register, if it exists.
    async fn register(&self, key: &RegisterKey) -> Result<Option<Register>, StoreError>;

    /// All registers of a kind, ordered by name.
    async fn registers(&self, kind: &'static str) -> Result<Vec<Register>, StoreError>;

    /// Changes a register; its new version.
    async fn change_register(&self, change: RegisterChange) -> Result<Version, StoreError>;
}

/// The notices on their way.
///
/// # Contract
///
/// - A notice is kept until each of its deliveries has been made or given up, and for
///   [a day](crate::notice::KEPT_FOR) after; for a day after it was made if nobody was ever tried with it.
/// - Deliveries to a target are made in the order of the notices, as far as they succeed.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// At most `limit` notices that have something to do: no delivery yet for one of `targets`, or one that is due at
    /// `now`. In the order they were made.
    async fn due_notices(
        &self,
        targets: &[String],
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notice>, StoreError>;

    /// The newest notices, newest first.
    async fn recent_notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError>;

    /// Records how a delivery stands after one more try; `error` is what the try said if it failed. A notice that was
    /// forgotten meanwhile is none of its business.
    async fn record_delivery(
        &self,
        notice: NoticeId,
        target: &str,
        state: DeliveryState,
        error: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Forgets what [the contract](Outbox) need not keep any more at `now`.
    async fn prune_notices(&self, now: Timestamp) -> Result<(), StoreError>;
}
