//! Who sends a request, once that is known.

use crate::role::Role;
use crate::token::TokenId;

/// Who sends a request, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Their name, as the audit trail has it.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// How they showed who they are.
    pub proof: Proof,
}

/// How somebody showed who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The key of an access rule, a signature made with it, or a token of the identity provider that clients use: many may
    /// have it, so a request may name the person.
    Key,
    /// An access token, which one person or program has.
    Token(TokenId),
    /// A sign-in in a browser with an access token.
    TokenSession(TokenId),
    /// A sign-in in a browser by the identity provider.
    ProviderSession,
    /// Nothing: they are on this machine, and look.
    Loopback,
}

impl Principal {
    /// Somebody on this machine, who may look.
    pub fn guest() -> Self {
        Self { name: "guest".to_owned(), role: Role::Reader, proof: Proof::Loopback }
    }

    /// How the audit trail calls them; `person` is whom the request names as acting. The name of a token's holder can be
    /// changed, its number cannot, so both stand there.
    pub fn in_trail(&self, person: Option<&str>) -> String {
        match (&self.proof, person) {
            // The key stays visible: whoever has one may name anybody.
            (Proof::Key, Some(person)) => format!("{person} ({})", self.name),
            (Proof::Token(id) | Proof::TokenSession(id), _) => format!("{} (token {id})", self.name),
            (Proof::ProviderSession, _) => format!("{} (oidc)", self.name),
            (Proof::Key | Proof::Loopback, _) => self.name.clone(),
        }
    }

    /// True when one person or program is behind the name, so that a request cannot name another.
    pub fn is_personal(&self) -> bool {
        !matches!(self.proof, Proof::Key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_holder_of_a_shared_key_may_name_the_person() {
        let by = |proof| Principal { name: "ops".to_owned(), role: Role::Admin, proof };
        let id = TokenId::parse("00c0ffee00aa").unwrap();
        assert_eq!(by(Proof::Key).in_trail(Some("mia")), "mia (ops)");
        assert_eq!(by(Proof::Key).in_trail(None), "ops");
        assert_eq!(by(Proof::Token(id.clone())).in_trail(Some("mia")), "ops (token 00c0ffee00aa)");
        assert_eq!(by(Proof::TokenSession(id)).in_trail(Some("mia")), "ops (token 00c0ffee00aa)");
        assert_eq!(by(Proof::ProviderSession).in_trail(Some("mia")), "ops (oidc)");
    }
}
