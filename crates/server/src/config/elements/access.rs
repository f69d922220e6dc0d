//! `[access.NAME]`: an access rule.

use toml_edit::Item;

use tidegate_gateway::auth::{AccessRule, Right, Scope, SecretKey};
use tidegate_model::event::HubName;

use crate::config::elements::secret::SecretSource;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting};

/// An access rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessConfig {
    /// Its name, which is the `SharedAccessKeyName` of a connection string.
    pub name: String,
    /// What it allows.
    pub rights: Vec<Right>,
    /// The hub it counts in; the whole namespace without one.
    pub hub: Option<HubName>,
    /// Its key.
    pub primary_key: SecretSource,
    /// Its other key.
    pub secondary_key: Option<SecretSource>,
}

const RIGHTS: Key<RightList> = Key::required(
    "rights",
    "What it allows: `\"send\"` to publish, `\"listen\"` to read, `\"manage\"` for these and everything else.",
);
const HUB: Key<HubName> = Key::optional("hub", "all hubs", "The hub that the rule counts in.");
const PRIMARY_KEY: Key<SecretSource> = Key::required(
    "primary_key",
    "The key that clients show or sign with, used as the text that it is. Make one with `openssl rand -base64 32`.",
);
const SECONDARY_KEY: Key<SecretSource> = Key::optional(
    "secondary_key",
    "none",
    "Another key, as good as the first: to replace a key, give clients the other one, and then change the first.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[access.NAME]",
    doc: "An access rule: who has one of its keys may do what it allows. Its name and key are the `SharedAccessKeyName` and \
          `SharedAccessKey` of a connection string. The rules in `keys.json` of the data directory count as well; a rule \
          with the same name, hub and rights there has the keys of both.",
    keys: &[&RIGHTS as &dyn KeyInfo, &HUB, &PRIMARY_KEY, &SECONDARY_KEY],
    example: "[access.pumps]\nrights = [\"send\"]\nhub = \"flights\"\nprimary_key = { env = \"PUMPS_KEY\" }\n",
};

/// Reads the rule `name`; `None` when something of it is wrong.
pub(crate) fn read(name: &str, declared: &[&str], reader: &mut Reader<'_, '_>) -> Option<AccessConfig> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let named = (1..=256).contains(&name.len()) && name.bytes().all(allowed);
    if !named {
        let at = reader.span();
        let help =
            "use 1 to 256 letters, digits, `-`, `_` and `.`, as clients write it in a connection string";
        reader.contradiction(at, "this is no name of an access rule", help);
    }
    let (rights, hub) = (reader.get(&RIGHTS), reader.get_optional(&HUB));
    let (primary_key, secondary_key) = (reader.get(&PRIMARY_KEY), reader.get_optional(&SECONDARY_KEY));
    if let Some(Some(hub)) = &hub {
        reader.must_be_declared(reader.span_of(&HUB), hub, declared);
    }
    let rule = AccessConfig {
        name: name.to_owned(),
        rights: rights?.0,
        hub: hub?,
        primary_key: primary_key?,
        secondary_key: secondary_key?,
    };
    named.then_some(rule)
}

impl AccessConfig {
    /// The rule, with its keys fetched.
    ///
    /// # Errors
    /// Which key cannot be had, and why.
    pub(crate) fn rule(&self) -> Result<AccessRule, String> {
        let fetch = |key: &str, source: &SecretSource| {
            let refused = |why: String| format!("`{key}` of [access.{}]: {why}", self.name);
            let secret = source.fetch().map_err(refused)?;
            SecretKey::new(secret.reveal()).map_err(|error| refused(error.to_string()))
        };
        let mut keys = vec![fetch("primary_key", &self.primary_key)?];
        if let Some(source) = &self.secondary_key {
            keys.push(fetch("secondary_key", source)?);
        }
        let scope = self.hub.clone().map_or(Scope::Namespace, Scope::Hub);
        Ok(AccessRule { name: self.name.clone(), keys, rights: self.rights.iter().copied().collect(), scope })
    }
}

/// What a rule allows: at least one thing.
struct RightList(Vec<Right>);

impl Setting for RightList {
    const TYPE: &'static str = "an array of \"send\", \"listen\" and \"manage\"";
    const EXAMPLE: &'static str = "[\"send\", \"listen\"]";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let right = |word: &str| match word {
            "send" => Some(Right::Send),
            "listen" => Some(Right::Listen),
            "manage" => Some(Right::Manage),
            _ => None,
        };
        let words = item.as_array().filter(|array| !array.is_empty());
        let rights: Option<Vec<Right>> =
            words.and_then(|array| array.iter().map(|value| value.as_str().and_then(right)).collect());
        if rights.is_none() {
            place.not_a::<Self>(item);
        }
        rights.map(Self)
    }
}
