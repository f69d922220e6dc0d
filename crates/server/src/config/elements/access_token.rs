//! `[access_token]`: the tokens of an identity provider.

use toml_edit::Item;

use tidegate_gateway::auth::{AccessTokenSettings, AccessTokens, TokenAlgorithm};

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
    pub key: SecretSource,
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
    "How tokens are signed; no other algorithm is taken. With \"HS256\" whoever can check tokens can make them.",
);
const KEY: Key<SecretSource> = Key::required(
    "key",
    "What tokens are checked with: the provider's public key in PEM form, or for HS256 the secret of at least 32 bytes. \
     It is read when the server starts.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[access_token]",
    doc: "JSON Web Tokens of an identity provider, such as Microsoft Entra ID, as a way in beside keys. A token counts from \
          `nbf` to `exp`. Its claim `roles` (or `scp`, or `scope`) says what it allows in all hubs: `send` or `Azure Event \
          Hubs Data Sender`, `listen` or `Azure Event Hubs Data Receiver`, `manage` or `Azure Event Hubs Data Owner`. \
          Without this table no such token is taken.",
    keys: &[&ISSUER as &dyn KeyInfo, &AUDIENCE, &ALGORITHM, &KEY],
    example: "[access_token]\nissuer = \"https://login.example.com/v2.0\"\naudience = [\"https://eventhubs.azure.net\"]\n\
              key = { file = \"issuer.pem\" }\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<AccessTokenConfig> {
    let (issuer, audiences) = (reader.get(&ISSUER), reader.get(&AUDIENCE));
    let (algorithm, key) = (reader.get(&ALGORITHM), reader.get(&KEY));
    let settings = AccessTokenSettings { issuer: issuer?, audiences: audiences?.0, algorithm: algorithm? };
    Some(AccessTokenConfig { settings, key: key? })
}

impl AccessTokenConfig {
    /// What checks tokens, with its key fetched.
    ///
    /// # Errors
    /// Why the key cannot be had or used.
    pub(crate) fn tokens(&self) -> Result<AccessTokens, String> {
        let refused = |why: String| format!("`key` of [access_token]: {why}");
        let key = self.key.fetch().map_err(refused)?;
        AccessTokens::new(&self.settings, key.reveal().as_bytes()).map_err(|error| refused(error.to_string()))
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
