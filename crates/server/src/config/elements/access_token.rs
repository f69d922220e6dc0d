//! `[access_token]`: the tokens of an identity provider.

use std::path::Path;

use toml_edit::Item;

use tidegate_gateway::auth::{AccessTokenSettings, AccessTokens, TokenAlgorithm};
use tidegate_jwt::KeySource;

use crate::config::elements::secret::SecretSource;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting, word_setting};

/// The tokens of an identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTokenConfig {
    /// Which tokens count.
    pub settings: AccessTokenSettings,
    /// What they are checked with.
    pub keys: TokenKeys,
}

/// What tokens are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKeys {
    /// One key.
    Configured(SecretSource),
    /// The set of keys at an address.
    Published(String),
    /// The keys that the issuer publishes.
    Discovered,
}

impl TokenKeys {
    /// Files are named from the directory of the configuration.
    pub(crate) fn seen_from(&mut self, directory: &Path) {
        if let Self::Configured(key) = self {
            key.seen_from(directory);
        }
    }
}

word_setting!(
    TokenAlgorithm: "one of \"RS256\", \"ES256\", \"HS256\"" { Rs256 = "RS256", Es256 = "ES256", Hs256 = "HS256" }
    example "\"RS256\""
);

const ISSUER: Key<String> =
    Key::required("issuer", "Who must have made a token: its claim `iss`, letter by letter.");
const AUDIENCE: Key<Audiences> = Key::required(
    "audience",
    "Whom a token must be for: its claim `aud` has one of these, letter by letter.",
);
const ALGORITHM: Key<TokenAlgorithm> = Key::with_default(
    "algorithm",
    "\"RS256\"",
    "How tokens are signed that are checked with `key`; no other algorithm is taken. With \"HS256\" whoever can check tokens can \
     make them. Published keys say themselves what they are for.",
);
const KEY: Key<SecretSource> = Key::optional(
    "key",
    "none",
    "What tokens are checked with: the provider's public key in PEM form, or for HS256 the secret of at least 32 bytes. \
     It is read when the server starts. One of `key`, `jwks` and `discovery` is needed.",
);
const JWKS: Key<String> = Key::optional(
    "jwks",
    "none",
    "The address of the set of keys (JWKS) that tokens are checked with. It begins with `https://`, but for one on this machine. It \
     is asked for when a token comes, again after an hour, and once when a token names an unknown key; if it does not answer, the keys \
     that are known count for a day.",
);
const DISCOVERY: Key<bool> = Key::with_default(
    "discovery",
    "false",
    "Whether the issuer is asked where its keys are, at `/.well-known/openid-configuration` below `issuer`. They are used as those of \
     `jwks`.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[access_token]",
    doc: "JSON Web Tokens of an identity provider, such as Microsoft Entra ID, as a way in beside keys. A token counts from \
          `nbf` to `exp`. Its claim `roles` (or `scp`, or `scope`) says what it allows in all hubs: `send` or `Azure Event \
          Hubs Data Sender`, `listen` or `Azure Event Hubs Data Receiver`, `manage` or `Azure Event Hubs Data Owner`. \
          Without this table no such token is taken.",
    keys: &[&ISSUER as &dyn KeyInfo, &AUDIENCE, &ALGORITHM, &KEY, &JWKS, &DISCOVERY],
    example: "[access_token]\nissuer = \"https://login.example.com/v2.0\"\naudience = [\"https://eventhubs.azure.net\"]\n\
              discovery = true\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<AccessTokenConfig> {
    let (issuer, audiences) = (reader.get(&ISSUER), reader.get(&AUDIENCE));
    let (algorithm, key) = (reader.get(&ALGORITHM), reader.get_optional(&KEY));
    let (jwks, discovery) = (reader.get_optional(&JWKS), reader.get(&DISCOVERY));
    let settings = AccessTokenSettings { issuer: issuer?, audiences: audiences?.0, algorithm: algorithm? };
    let keys = match (key?, jwks?, discovery?) {
        (Some(key), None, false) => TokenKeys::Configured(key),
        (None, Some(url), false) => TokenKeys::Published(url),
        (None, None, true) => TokenKeys::Discovered,
        (None, None, false) => {
            let at = reader.span_of(&ISSUER);
            let way_out = "give `key`, or where the keys are: `jwks = \"https://…\"`, or `discovery = true`";
            reader.contradiction(at, "[access_token] has no keys to check tokens with", way_out);
            return None;
        }
        _ => {
            let at = reader.span_of(&ISSUER);
            let way_out = "leave one of `key`, `jwks` and `discovery`";
            reader.contradiction(at, "[access_token] has keys from more than one place", way_out);
            return None;
        }
    };
    Some(AccessTokenConfig { settings, keys })
}

impl AccessTokenConfig {
    /// What checks tokens, with its key fetched; published ones are asked for when a token comes.
    ///
    /// # Errors
    /// Why the key cannot be had or used.
    pub(crate) fn tokens(&self) -> Result<AccessTokens, String> {
        let refused = |name: &str, why: String| format!("`{name}` of [access_token]: {why}");
        let source = match &self.keys {
            TokenKeys::Configured(key) => {
                let key = key.fetch().map_err(|why| refused("key", why))?;
                return AccessTokens::new(&self.settings, key.reveal().as_bytes())
                    .map_err(|error| refused("key", error.to_string()));
            }
            TokenKeys::Published(url) => KeySource::at(url).map_err(|why| refused("jwks", why))?,
            TokenKeys::Discovered => {
                KeySource::of_issuer(&self.settings.issuer).map_err(|why| refused("issuer", why))?
            }
        };
        Ok(AccessTokens::published(&self.settings, source))
    }
}

/// At least one audience.
struct Audiences(Vec<String>);

impl Setting for Audiences {
    const TYPE: &'static str = "a text, or an array of texts";
    const EXAMPLE: &'static str = "[\"https://eventhubs.azure.net\"]";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let good = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let texts = match (item.as_str(), item.as_array()) {
            (Some(text), _) => good(text).map(|text| vec![text]),
            (None, Some(array)) if !array.is_empty() => {
                array.iter().map(|value| value.as_str().and_then(good)).collect()
            }
            _ => None,
        };
        if texts.is_none() {
            place.not_a::<Self>(item);
        }
        texts.map(Self)
    }
}
