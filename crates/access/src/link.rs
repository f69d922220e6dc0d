//! The text of a sign-in link: `tgl_<number>_<secret>`, the last part of an address that is opened in a browser.
//!
//! It stands for a token whose text nobody ever sees: the number is the token's. The link works once and for some minutes;
//! what it opens is a session. The store has the digest of its secret, and no more than that.

use tidegate_model::clock::Clock;

use crate::secret::{digest, is_hex, random_hex};
use crate::token::TokenId;

/// What every link begins with.
pub const PREFIX: &str = "tgl_";

/// Where on the page a link is followed: the address without the link's text.
pub const ADDRESS: &str = "/sign-in?link=";

/// A link as it is followed. It is never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkText {
    id: TokenId,
    secret: String,
}

impl LinkText {
    /// Digits of a secret: 256 bits.
    const SECRET_DIGITS: usize = 64;

    /// A new one, for the token of this number.
    pub fn mint(id: TokenId, clock: &dyn Clock) -> Self {
        Self { id, secret: random_hex::<32>(clock) }
    }

    /// Reads a link as it is followed. `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        is_hex(secret, Self::SECRET_DIGITS).then_some(())?;
        // A number has no beginning here.
        let id = TokenId::parse(id).filter(|parsed| parsed.as_str() == id)?;
        Some(Self { id, secret: secret.to_owned() })
    }

    /// The number of its token.
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// What the store keeps of it.
    pub fn digest(&self) -> String {
        digest(&self.secret)
    }

    /// The text, to be shown once to whoever may follow it.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }

    /// The address to open, below the `origin` that people know the server by, such as `http://127.0.0.1:8780`.
    pub fn address(&self, origin: &str) -> String {
        format!("{}{ADDRESS}{}", origin.trim_end_matches('/'), self.reveal())
    }
}

impl std::fmt::Debug for LinkText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LinkText({PREFIX}{}_[redacted])", self.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_model::clock::SystemClock;

    use super::*;
    use crate::token::TokenText;

    #[test]
    fn a_link_is_read_as_it_is_shown_and_is_no_token() {
        let id = TokenId::parse("00c0ffee00aa").unwrap();
        let link = LinkText::mint(id.clone(), &*SystemClock::shared());
        let text = link.reveal();
        assert_eq!(LinkText::parse(&text), Some(link.clone()));
        assert_eq!(link.id(), &id);
        assert_eq!(TokenText::parse(&text), None, "a header cannot carry it");
        assert_eq!(link.address("http://h:1/"), format!("http://h:1/sign-in?link={text}"));
        assert!(!format!("{link:?}").contains(&link.secret));
        for wrong in [&text[1..], &text[..text.len() - 1], &text.to_uppercase(), "", "tgl_", "tgl__"] {
            assert_eq!(LinkText::parse(wrong), None, "{wrong}");
        }
        assert_eq!(LinkText::parse(&text.replace("tgl_", "tgl_tg_")), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = LinkText::parse(&text);
        }
    }
}
