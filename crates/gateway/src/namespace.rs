//! What a namespace has beside its hubs' logs: the consumer groups.
//!
//! Every hub has the group `$Default`. Names are told apart without regard to case, as in Event Hubs, and keep the letters
//! that they were made with.

use std::collections::BTreeMap;
use std::fmt;

use parking_lot::RwLock;

/// How many consumer groups a hub has at most, `$Default` included: as a Dedicated cluster of the service.
pub const MAX_CONSUMER_GROUPS: usize = 1000;

/// How many characters the name of a consumer group has at most.
pub const MAX_CONSUMER_GROUP_CHARACTERS: usize = 50;

/// The name of a consumer group. Two that differ only in the case of their letters are equal.
#[derive(Clone)]
pub struct ConsumerGroupName(String);

impl ConsumerGroupName {
    /// The group that every hub has.
    pub const DEFAULT: &str = "$Default";

    /// Accepts `$Default`, or 1 to 50 letters, digits, and inside also `-`, `_` and `.`.
    ///
    /// # Errors
    /// When the name is none of these.
    pub fn new(name: &str) -> Result<Self, InvalidConsumerGroupName> {
        let refused =
            |problem| Err(InvalidConsumerGroupName { name: name.chars().take(64).collect(), problem });
        if name.eq_ignore_ascii_case(Self::DEFAULT) {
            return Ok(Self(Self::DEFAULT.to_owned()));
        }
        let (Some(first), Some(last)) = (name.bytes().next(), name.bytes().next_back()) else {
            return refused("is empty");
        };
        if name.len() > MAX_CONSUMER_GROUP_CHARACTERS {
            return refused("is longer than 50 characters");
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
            return refused("may hold only letters, digits, '-', '_' and '.'");
        }
        if !first.is_ascii_alphanumeric() || !last.is_ascii_alphanumeric() {
            return refused("must begin and end with a letter or a digit");
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as it was made.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ConsumerGroupName {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl PartialEq for ConsumerGroupName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for ConsumerGroupName {}

impl fmt::Display for ConsumerGroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ConsumerGroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A text that is no name of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of the consumer group {name:?} {problem}")]
pub struct InvalidConsumerGroupName {
    /// The text, shortened to 64 characters.
    pub name: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// The consumer groups of a hub. `$Default` is always among them.
#[derive(Debug)]
pub struct ConsumerGroups {
    /// By name in small letters.
    groups: RwLock<BTreeMap<String, ConsumerGroupName>>,
}

impl Default for ConsumerGroups {
    fn default() -> Self {
        let default = ConsumerGroupName::default();
        Self { groups: RwLock::new([(key_of(default.as_str()), default)].into()) }
    }
}

impl ConsumerGroups {
    /// These groups and `$Default`.
    ///
    /// # Errors
    /// When there are too many.
    pub fn of(groups: impl IntoIterator<Item = ConsumerGroupName>) -> Result<Self, TooManyConsumerGroups> {
        let all = Self::default();
        for group in groups {
            all.add(group)?;
        }
        Ok(all)
    }

    /// The group of this name as it was made, whatever the case of the letters asked for.
    pub fn find(&self, name: &str) -> Option<ConsumerGroupName> {
        self.groups.read().get(&key_of(name)).cloned()
    }

    /// Adds a group; false when it is there already.
    ///
    /// # Errors
    /// When the hub has as many as it may.
    pub fn add(&self, group: ConsumerGroupName) -> Result<bool, TooManyConsumerGroups> {
        let mut groups = self.groups.write();
        let key = key_of(group.as_str());
        if groups.contains_key(&key) {
            return Ok(false);
        }
        if groups.len() >= MAX_CONSUMER_GROUPS {
            return Err(TooManyConsumerGroups);
        }
        groups.insert(key, group);
        Ok(true)
    }

    /// Removes a group; false when it is not there. `$Default` stays.
    pub(crate) fn remove(&self, group: &ConsumerGroupName) -> bool {
        *group != ConsumerGroupName::default()
            && self.groups.write().remove(&key_of(group.as_str())).is_some()
    }

    /// All of them, ordered by name.
    pub fn all(&self) -> Vec<ConsumerGroupName> {
        self.groups.read().values().cloned().collect()
    }
}

fn key_of(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// A hub has as many consumer groups as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hub has {MAX_CONSUMER_GROUPS} consumer groups at most")]
pub struct TooManyConsumerGroups;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ConsumerGroupName {
        ConsumerGroupName::new(text).unwrap()
    }

    #[test]
    fn a_group_is_found_without_regard_to_case_and_the_default_is_always_there() {
        let groups = ConsumerGroups::of([name("Billing"), name("$default"), name("BILLING")]).unwrap();
        assert_eq!(groups.find("bILLING").unwrap().as_str(), "Billing", "as it was made first");
        assert_eq!(groups.find("$DEFAULT").unwrap().as_str(), "$Default");
        assert_eq!(groups.find("audit"), None);
        assert_eq!(groups.add(name("audit")), Ok(true));
        assert_eq!(groups.add(name("Audit")), Ok(false));
        assert!(groups.find("AUDIT").is_some());
        assert_eq!(groups.all(), [name("$Default"), name("audit"), name("billing")]);
        assert_eq!(ConsumerGroups::default().all(), [name("$Default")]);
        assert!(groups.remove(&name("BILLING")) && !groups.remove(&name("billing")));
        assert!(!groups.remove(&name("$default")), "every hub has it");
        assert_eq!(groups.all(), [name("$Default"), name("audit")]);
    }

    #[test]
    fn a_hub_has_a_bounded_number() {
        let groups =
            ConsumerGroups::of((1..MAX_CONSUMER_GROUPS).map(|number| name(&format!("g{number}")))).unwrap();
        assert_eq!(groups.add(name("more")), Err(TooManyConsumerGroups));
        assert_eq!(groups.add(name("G7")), Ok(false));
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(name("$default"), ConsumerGroupName::default());
        for good in ["a", "cg1", "a.b-c_9", &"x".repeat(50)] {
            assert!(ConsumerGroupName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a/b", "$other", "é", "a b", &"x".repeat(51)] {
            assert!(ConsumerGroupName::new(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
