//! Access rules: a named key, what it allows, and where.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidegate_model::event::HubName;

use crate::audience::ResourcePath;

/// One thing a caller may do. The three rights of an Event Hubs shared access policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Publish events.
    Send,
    /// Read events and what is made of them.
    Listen,
    /// Everything, management included.
    Manage,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Send => "Send",
            Self::Listen => "Listen",
            Self::Manage => "Manage",
        })
    }
}

/// A set of rights. Manage includes the other two, as in Event Hubs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    send: bool,
    listen: bool,
    manage: bool,
}

impl Rights {
    /// True when the set covers `right`.
    pub fn include(self, right: Right) -> bool {
        self.manage
            || match right {
                Right::Send => self.send,
                Right::Listen => self.listen,
                Right::Manage => false,
            }
    }

    /// True when the set holds no right.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The rights of both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            send: self.send || other.send,
            listen: self.listen || other.listen,
            manage: self.manage || other.manage,
        }
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        let mut set = Self::default();
        for right in rights {
            match right {
                Right::Send => set.send = true,
                Right::Listen => set.listen = true,
                Right::Manage => set.manage = true,
            }
        }
        set
    }
}

/// Where a rule counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    Namespace,
    /// In one hub only.
    Hub(HubName),
}

impl Scope {
    /// True when a resource lies in the scope.
    pub(super) fn covers(&self, path: &ResourcePath) -> bool {
        match self {
            Self::Namespace => true,
            Self::Hub(hub) => path.hub().is_some_and(|first| first.eq_ignore_ascii_case(hub.as_str())),
        }
    }

    /// The resource at its top.
    pub(super) fn path(&self) -> ResourcePath {
        match self {
            Self::Namespace => ResourcePath::namespace(),
            Self::Hub(hub) => {
                ResourcePath::of_path(hub.as_str()).expect("the name of a hub is shorter than a path may be")
            }
        }
    }
}

/// A key as a caller presents it or signs with it. It is never printed.
#[derive(Clone)]
pub struct SecretKey(String);

impl SecretKey {
    /// Accepts a key: any text but the empty one. It is used as it is, not decoded as base64.
    pub fn new(key: impl Into<String>) -> Result<Self, EmptyKey> {
        let key = key.into();
        if key.is_empty() { Err(EmptyKey) } else { Ok(Self(key)) }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// True when a caller presented this very key. Digests have one length and are compared in constant time, so the
    /// time taken says nothing about the key.
    fn is(&self, presented: &str) -> bool {
        Sha256::digest(self.as_bytes()).ct_eq(&Sha256::digest(presented.as_bytes())).into()
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey([redacted])")
    }
}

/// An empty text is no key: everybody would know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an access key must not be empty")]
pub struct EmptyKey;

/// Who holds one of these keys may do this.
#[derive(Clone, Debug)]
pub struct AccessRule {
    /// The rule's name, which is the key name (`skn`) of a shared access signature.
    pub name: String,
    /// The keys. There are two while one of them is being replaced; each is as good as the other.
    pub keys: Vec<SecretKey>,
    /// What it allows.
    pub rights: Rights,
    /// Where it allows it.
    pub scope: Scope,
}

impl AccessRule {
    /// True when a caller presented one of the keys. All are compared, so the time taken does not say which.
    pub(super) fn has_key(&self, presented: &str) -> bool {
        self.keys.iter().fold(false, |found, key| key.is(presented) | found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manage_includes_the_other_rights_and_nothing_else_does() {
        let rights = |list: &[Right]| list.iter().copied().collect::<Rights>();
        for right in [Right::Send, Right::Listen, Right::Manage] {
            assert!(rights(&[Right::Manage]).include(right));
            assert!(!rights(&[]).include(right));
        }
        assert!(!rights(&[Right::Send]).include(Right::Listen));
        assert!(!rights(&[Right::Send, Right::Listen]).include(Right::Manage));
    }

    #[test]
    fn a_key_is_not_empty_and_not_printed() {
        assert_eq!(SecretKey::new("").unwrap_err(), EmptyKey);
        let rule = AccessRule {
            name: "producers".into(),
            keys: vec![SecretKey::new("very-secret").unwrap()],
            rights: [Right::Send].into_iter().collect(),
            scope: Scope::Namespace,
        };
        let printed = format!("{rule:?}");
        assert!(printed.contains("producers") && !printed.contains("very-secret"), "{printed}");
    }
}
