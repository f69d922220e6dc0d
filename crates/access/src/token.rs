//! The text of an access token: `tg_<number>_<secret>`.
//!
//! The number names the token and is no secret: it stands in listings and in the audit trail. The secret is 256 random
//! bits, shown once and kept nowhere; the store has its digest. The fixed beginning lets scanners find a token that got
//! into a repository: `tg_[0-9a-f]{12}_[0-9a-f]{64}`.

use serde::{Deserialize, Serialize};
use tidegate_model::clock::Clock;

use crate::secret::{digest, is_hex, random_hex};

/// What every token begins with.
pub const PREFIX: &str = "tg_";

/// The number of a token: 12 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

impl TokenId {
    /// Digits of a number.
    const DIGITS: usize = 12;

    /// Reads a number; the beginning `tg_` may stand before it.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX).unwrap_or(text);
        is_hex(digits, Self::DIGITS).then(|| Self(digits.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TokenId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TokenId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("the number of a token has 12 hexadecimal digits")
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0
    }
}

/// A token as its holder shows it. It is never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText {
    id: TokenId,
    secret: String,
}

impl TokenText {
    /// Digits of a secret: 256 bits.
    const SECRET_DIGITS: usize = 64;

    /// A new one.
    pub fn mint(clock: &dyn Clock) -> Self {
        Self { id: TokenId(random_hex::<6>(clock)), secret: random_hex::<32>(clock) }
    }

    /// Reads a token as it is shown. `None` when the text is none, such as the key of an access rule.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        is_hex(secret, Self::SECRET_DIGITS).then_some(())?;
        Some(Self { id: TokenId::parse(id)?, secret: secret.to_owned() })
    }

    /// Its number.
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// What the store keeps of it.
    pub fn digest(&self) -> String {
        digest(&self.secret)
    }

    /// The text, to be shown to its holder once.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }
}

impl std::fmt::Debug for TokenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenText({PREFIX}{}_[redacted])", self.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_model::clock::SystemClock;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_shown() {
        let token = TokenText::mint(&*SystemClock::shared());
        let text = token.reveal();
        assert_eq!(text.len(), 3 + 12 + 1 + 64);
        let read = TokenText::parse(&text).unwrap();
        assert_eq!((read.id(), read.digest()), (token.id(), token.digest()));
        let printed = format!("{token:?}");
        assert!(printed.contains(token.id().as_str()) && !text.ends_with(&printed[printed.len() - 20..]));
        assert!(!printed.contains(&token.secret), "{printed}");
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let text = TokenText::mint(&*SystemClock::shared()).reveal();
        for wrong in
            [&text[1..], &text[..text.len() - 1], &text.to_uppercase(), "", "tg_", "tg__", "SAS_KEY_VALUE"]
        {
            assert_eq!(TokenText::parse(wrong), None, "{wrong}");
        }
        assert_eq!(TokenText::parse(&format!("{text}0")), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (TokenText::parse(&text), TokenId::parse(&text));
        }
    }
}
