//! Roles: what a person may do here.

use serde::{Deserialize, Serialize};

/// What a person may do. Each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks: hubs, events, documents, queries, dead letters, circuits, the audit trail, the configuration.
    Reader,
    /// Puts right what failed: redrives, edits and discards dead letters, tries parked events and sets them aside, opens and
    /// closes circuits, pauses and resumes functions, moves checkpoints.
    Operator,
    /// Makes and deletes hubs, and says who else may do what: tokens.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Reader, Self::Operator, Self::Admin];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// True when it may do what `needed` may.
    pub fn covers(self, needed: Self) -> bool {
        self >= needed
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let named = |role: &Self| role.as_str() == text;
        Self::ALL.into_iter().find(named).ok_or_else(|| UnknownRole(text.chars().take(64).collect()))
    }
}

/// Text that names no role; it is shortened to 64 characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no role {0:?}; there are reader, operator and admin")]
pub struct UnknownRole(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_the_lesser_ones_may() {
        for (place, role) in Role::ALL.into_iter().enumerate() {
            for (other, needed) in Role::ALL.into_iter().enumerate() {
                assert_eq!(role.covers(needed), place >= other, "{role} for {needed}");
            }
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().unwrap_err().to_string().contains("\"root\""));
    }
}
