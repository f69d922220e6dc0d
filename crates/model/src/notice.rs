//! Notices: what a person is to be told, kept until every target has it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The number of a notice, given by the store, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NoticeId(pub u64);

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNotice {
    /// What happened, as the type of a CloudEvent without its prefix: `circuit.opened`, `dead-letters.growing`.
    pub kind: String,
    /// What it happened to: a function, a lane.
    pub subject: String,
    /// When.
    pub at: Timestamp,
    /// The facts, as JSON.
    pub data: serde_json::Value,
}

/// A notice as the store keeps it, with where it has yet to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its number.
    pub id: NoticeId,
    /// What it says.
    pub notice: NewNotice,
    /// Its deliveries, one a target.
    pub deliveries: Vec<Delivery>,
}

/// How long a notice is kept after the last of its deliveries was made or given up, or after it was made if no target
/// was ever tried.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

impl Notice {
    /// True when it was [kept](KEPT_FOR) for long enough at `now`.
    pub fn is_outdated(&self, now: Timestamp) -> bool {
        let ends = self.deliveries.iter().map(|delivery| match delivery.state {
            DeliveryState::Due(_) => None,
            DeliveryState::Delivered(at) | DeliveryState::GivenUp(at) => Some(at),
        });
        let last = ends.collect::<Option<Vec<_>>>().map(|ends| ends.into_iter().max());
        last.is_some_and(|last| now.since(last.unwrap_or(self.notice.at)) > KEPT_FOR)
    }

    /// True when one of `targets` was not tried yet, or is due at `now`.
    pub fn is_due(&self, targets: &[String], now: Timestamp) -> bool {
        targets.iter().any(|target| {
            match self.deliveries.iter().find(|delivery| delivery.target == *target) {
                None => true,
                Some(delivery) => matches!(delivery.state, DeliveryState::Due(at) if at <= now),
            }
        })
    }
}

/// How far a notice got with one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The target: its name in the configuration.
    pub target: String,
    /// How often it was tried.
    pub tries: u32,
    /// How it stands.
    pub state: DeliveryState,
    /// What the last try said, if it failed.
    pub error: Option<String>,
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be tried at this time.
    Due(Timestamp),
    /// The target has it, since then.
    Delivered(Timestamp),
    /// It was given up then: too many tries, or the target will never take it.
    GivenUp(Timestamp),
}
