//! Which role somebody has whom the identity provider names.

use serde_json::Value;

use crate::role::Role;

/// How a role is read from the claims of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleMapping {
    /// The claim: its name, or a JSON pointer such as `/realm_access/roles` where it is inside another.
    pub claim: String,
    /// What the provider calls a role, and which one it is here.
    pub roles: Vec<(String, Role)>,
}

impl RoleMapping {
    /// The highest role that the claims name. The claim is a list, or one text with blanks between.
    pub fn role(&self, claims: &Value) -> Option<Role> {
        let value = self.value(claims)?;
        let of = |name: &str| self.roles.iter().find(|(theirs, _)| theirs == name).map(|(_, role)| *role);
        match value {
            Value::Array(names) => names.iter().filter_map(Value::as_str).filter_map(of).max(),
            // A name may have blanks in it.
            Value::String(text) => text.split_ascii_whitespace().chain([text.as_str()]).filter_map(of).max(),
            _ => None,
        }
    }

    fn value<'c>(&self, claims: &'c Value) -> Option<&'c Value> {
        // A name such as `https://tide.example.com/roles` is no pointer.
        if self.claim.starts_with('/') { claims.pointer(&self.claim) } else { claims.get(&self.claim) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_highest_role_counts_and_others_are_ignored() {
        let roles = [("look", Role::Reader), ("Tide Operators", Role::Operator), ("boss", Role::Admin)];
        let mapping = |claim: &str| RoleMapping {
            claim: claim.to_owned(),
            roles: roles.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect(),
        };
        for (claim, claims, role) in [
            ("roles", json!({"roles": ["look", "other", "boss"]}), Some(Role::Admin)),
            ("roles", json!({"roles": "look other"}), Some(Role::Reader)),
            ("roles", json!({"roles": "Tide Operators"}), Some(Role::Operator)),
            ("/realm_access/roles", json!({"realm_access": {"roles": ["look"]}}), Some(Role::Reader)),
            ("https://t/roles", json!({"https://t/roles": ["look"]}), Some(Role::Reader)),
            ("roles", json!({"roles": ["Look", 7, null]}), None),
            ("roles", json!({"roles": {"boss": true}}), None),
            ("roles", json!({"role": ["boss"]}), None),
            ("roles", json!([]), None),
        ] {
            assert_eq!(mapping(claim).role(&claims), role, "{claim} in {claims}");
        }
    }
}
