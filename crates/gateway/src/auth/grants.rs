//! Grants: what one connection may do, where and until when.
//!
//! A client of Event Hubs proves its rights once for each thing it uses, and again before the proof ends. The connection
//! holds what was granted; every link is measured by it when it is attached, and again when the next grant ends.

use tidegate_model::clock::Timestamp;

use super::rule::{Right, Rights};
use crate::audience::ResourcePath;

/// How many grants a connection holds: a client that reads and writes every partition of the largest hub with a token for
/// each of them, and some more.
pub const MAX_GRANTS: usize = 4096;

/// Rights on a resource and on all below it, for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who it is given to: an access rule, or the subject of an access token.
    pub principal: String,
    /// What it is for.
    pub path: ResourcePath,
    /// What it allows there.
    pub rights: Rights,
    /// When it ends; `None` for one that lasts as long as the connection.
    pub expires_at: Option<Timestamp>,
}

impl Grant {
    fn has_ended(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// The grants of a connection: one for each resource.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    held: Vec<Grant>,
}

impl Grants {
    /// A connection that may do nothing yet.
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes a grant. It replaces the one for the same resource, so a renewed token counts from now on, with its own rights
    /// and its own end.
    ///
    /// # Errors
    /// When the connection holds as many as it may, none of which has ended.
    pub fn put(&mut self, grant: Grant, now: Timestamp) -> Result<(), TooManyGrants> {
        if let Some(held) = self.held.iter_mut().find(|held| held.path == grant.path) {
            *held = grant;
            return Ok(());
        }
        if self.held.len() >= MAX_GRANTS {
            self.held.retain(|held| !held.has_ended(now));
        }
        if self.held.len() >= MAX_GRANTS {
            return Err(TooManyGrants);
        }
        self.held.push(grant);
        Ok(())
    }

    /// Decides whether the connection may use `right` on the resource at `path` now.
    ///
    /// # Errors
    /// What is missing.
    pub fn allows(&self, right: Right, path: &ResourcePath, now: Timestamp) -> Result<(), Denied> {
        self.decide(Some(right), path, now)
    }

    /// Decides whether the connection may know that the resource at `path` exists: with any right on it.
    ///
    /// # Errors
    /// What is missing.
    pub fn allows_looking(&self, path: &ResourcePath, now: Timestamp) -> Result<(), Denied> {
        self.decide(None, path, now)
    }

    fn decide(&self, right: Option<Right>, path: &ResourcePath, now: Timestamp) -> Result<(), Denied> {
        let allows = |grant: &&Grant| match right {
            Some(right) => grant.rights.include(right),
            None => !grant.rights.is_empty(),
        };
        let covering = || self.held.iter().filter(|grant| grant.path.covers(path));
        if covering().filter(|grant| !grant.has_ended(now)).any(|grant| allows(&grant)) {
            return Ok(());
        }
        let ended = covering().filter(allows).filter_map(|grant| grant.expires_at).max();
        let why = match (ended, covering().next()) {
            (Some(at), _) => WhyDenied::Ended { at },
            (None, Some(grant)) => WhyDenied::NotIncluded { principal: grant.principal.clone() },
            (None, None) => WhyDenied::NothingGranted,
        };
        Err(Denied { required: right, path: path.clone(), why })
    }

    /// When the next grant ends; the links that stand on it must be measured again then.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.held.iter().filter_map(|grant| grant.expires_at).min()
    }

    /// Forgets the grants that have ended; true when there were any.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.held.len();
        self.held.retain(|grant| !grant.has_ended(now));
        self.held.len() < before
    }
}

/// A connection holds as many grants as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the connection holds tokens for {MAX_GRANTS} resources, which is the most there can be: use one for the hub"
)]
pub struct TooManyGrants;

/// A connection may not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unauthorized access. {} required to perform this operation. Resource: '{path}'. {why}", claims(*.required))]
pub struct Denied {
    /// What it would need; any right where there is none named.
    pub required: Option<Right>,
    /// Where.
    pub path: ResourcePath,
    /// What is missing.
    pub why: WhyDenied,
}

/// Why a connection may not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhyDenied {
    /// It has shown no token that reaches there.
    #[error("This connection has put no token for it.")]
    NothingGranted,
    /// Its token has other rights.
    #[error("The token of {principal:?} does not include it.")]
    NotIncluded {
        /// Whose token.
        principal: String,
    },
    /// Its token has ended.
    #[error("The token ended at {at}.")]
    Ended {
        /// When.
        at: Timestamp,
    },
}

/// The service's words for a right that is missing; clients show them.
fn claims(required: Option<Right>) -> String {
    match required {
        Some(right) => format!("'{right}' claim(s) are"),
        None => "'Send', 'Listen' or 'Manage' claim(s) are".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> ResourcePath {
        ResourcePath::of_path(text).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn grant(resource: &str, rights: &[Right], ends: Option<i64>) -> Grant {
        Grant {
            principal: "rule".into(),
            path: path(resource),
            rights: rights.iter().copied().collect(),
            expires_at: ends.map(at),
        }
    }

    #[test]
    fn a_grant_reaches_down_and_not_up_or_aside() {
        let mut grants = Grants::none();
        assert_eq!(grants.next_expiry(), None);
        grants.put(grant("flights", &[Right::Send], Some(10)), at(0)).unwrap();
        for reached in ["flights", "FLIGHTS/Partitions/3", "flights/$management"] {
            grants.allows(Right::Send, &path(reached), at(9)).unwrap();
            grants.allows_looking(&path(reached), at(9)).unwrap();
        }
        for beyond in ["", "drones", "flights2/partitions/0"] {
            let denied = grants.allows(Right::Send, &path(beyond), at(9)).unwrap_err();
            assert_eq!(denied.why, WhyDenied::NothingGranted);
        }
        let denied = grants.allows(Right::Listen, &path("flights/Partitions/0"), at(9)).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "Unauthorized access. 'Listen' claim(s) are required to perform this operation. Resource: \
             'flights/Partitions/0'. The token of \"rule\" does not include it."
        );
    }

    #[test]
    fn a_grant_ends_and_is_renewed() {
        let mut grants = Grants::none();
        grants.put(grant("a", &[Right::Send], Some(10)), at(0)).unwrap();
        grants.put(grant("b", &[Right::Send], Some(20)), at(0)).unwrap();
        grants.put(grant("c", &[Right::Manage], None), at(0)).unwrap();
        assert_eq!(grants.next_expiry(), Some(at(10)));
        let denied = grants.allows(Right::Send, &path("a"), at(10)).unwrap_err();
        assert_eq!(denied.why, WhyDenied::Ended { at: at(10) });

        grants.put(grant("A", &[Right::Listen], Some(30)), at(5)).unwrap();
        assert_eq!(grants.next_expiry(), Some(at(20)), "the new token is in the place of the old one");
        assert!(grants.allows(Right::Send, &path("a"), at(6)).is_err(), "and so are its rights");
        grants.allows(Right::Listen, &path("a"), at(29)).unwrap();

        assert!(!grants.expire(at(19)));
        assert!(grants.expire(at(20)));
        assert_eq!(grants.next_expiry(), Some(at(30)));
        assert!(grants.expire(at(30)));
        assert_eq!(grants.next_expiry(), None);
        grants.allows(Right::Listen, &path("c/partitions/0"), at(i64::MAX / 1000)).unwrap();
    }

    #[test]
    fn a_connection_holds_a_bounded_number_and_what_ended_makes_room() {
        let mut grants = Grants::none();
        for number in 0..MAX_GRANTS {
            grants.put(grant(&format!("hub{number}"), &[Right::Send], Some(10)), at(0)).unwrap();
        }
        assert_eq!(grants.put(grant("more", &[Right::Send], Some(10)), at(9)), Err(TooManyGrants));
        grants.put(grant("HUB7", &[Right::Send], Some(30)), at(9)).expect("a renewal needs no room");
        grants.put(grant("more", &[Right::Send], Some(30)), at(10)).unwrap();
        grants.allows(Right::Send, &path("more"), at(10)).unwrap();
        grants.allows(Right::Send, &path("hub7"), at(10)).unwrap();
    }

    proptest! {
        /// Against the definition: some grant that was put last for its resource covers, includes and has not ended.
        #[test]
        fn what_is_allowed_is_what_was_granted(
            puts in proptest::collection::vec((0usize..6, 0usize..4, 0i64..20), 0..12),
            asked in 0usize..6, right in 0usize..3, now in 0i64..20,
        ) {
            const PATHS: [&str; 6] = ["", "a", "A/x", "a/x/y", "b", "b/x"];
            const RIGHTS: [&[Right]; 4] = [&[], &[Right::Send], &[Right::Listen], &[Right::Manage]];
            let right = [Right::Send, Right::Listen, Right::Manage][right];
            let mut grants = Grants::none();
            let mut last: std::collections::BTreeMap<usize, (usize, i64)> = Default::default();
            for (resource, rights, ends) in puts {
                grants.put(grant(PATHS[resource], RIGHTS[rights], Some(ends)), at(0)).unwrap();
                last.insert(resource, (rights, ends));
            }
            let expected = last.iter().any(|(resource, (rights, ends))| {
                path(PATHS[*resource]).covers(&path(PATHS[asked]))
                    && RIGHTS[*rights].iter().copied().collect::<Rights>().include(right)
                    && *ends > now
            });
            prop_assert_eq!(grants.allows(right, &path(PATHS[asked]), at(now)).is_ok(), expected);
            grants.expire(at(now));
            prop_assert_eq!(grants.allows(right, &path(PATHS[asked]), at(now)).is_ok(), expected);
            prop_assert_eq!(
                grants.next_expiry(),
                last.values().map(|(_, ends)| at(*ends)).filter(|end| *end > at(now)).min()
            );
        }
    }
}
