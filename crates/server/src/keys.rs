//! The keys of clients: `keys.json` in the data directory, made on the first start.
//!
//! ```json
//! {"keys":[{"name":"RootManageSharedAccessKey","key":"…","rights":["manage"]}]}
//! ```
//!
//! A key may be limited to one hub with `"hub"`. The file is read at start; its owner may edit it. The access rules of the
//! configuration count beside these keys and are not written here.
//!
//! What signs the links in mails is beside it, in `link.key`: 32 random bytes in base64. Removing the file ends all links
//! that are on their way.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use tidegate_access::oidc::OidcSettings;
use tidegate_alerts::links::LinkKey;
use tidegate_gateway::auth::{AccessRule, AccessTokens, Authorizer, Right, Scope, SecretKey};
use tidegate_model::clock::Clock;
use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;

use crate::config::{Config, DevelopmentKey};
use crate::failure::Failure;
use crate::files;

const FILE: &str = "keys.json";

const LINK_FILE: &str = "link.key";

/// The name of the key that is made on the first start; Event Hubs' own name for it.
pub(crate) const ROOT_KEY_NAME: &str = "RootManageSharedAccessKey";

/// The key of the Event Hubs emulator, for the rule above. Everybody knows it.
const DEVELOPMENT_KEY: &str = "SAS_KEY_VALUE";

/// Who is let in beside the holders of the keys in the data directory.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    rules: Vec<AccessRule>,
    tokens: Option<AccessTokens>,
    /// The identity provider that people sign in with.
    pub(crate) oidc: Option<OidcSettings>,
}

impl Guests {
    /// Those whom a configuration lets in, with their keys fetched.
    ///
    /// # Errors
    /// When a key cannot be had or used.
    pub(crate) fn of(config: &Config) -> Result<Self, Failure> {
        let refused = |why: String| {
            Failure::usage(ErrorCode::CONFIG_BAD_VALUE, why)
                .help("correct the configuration, or what it names, and start again")
        };
        let rules = config.access.iter().map(|rule| rule.rule().map_err(refused));
        let mut rules = rules.collect::<Result<Vec<_>, _>>()?;
        if config.amqp.development_key != DevelopmentKey::Off {
            let key = SecretKey::new(DEVELOPMENT_KEY).expect("it is not empty");
            let manage = [Right::Manage].into_iter().collect();
            let name = ROOT_KEY_NAME.to_owned();
            let everybody = AccessRule { name, keys: vec![key], rights: manage, scope: Scope::Namespace };
            add_rule(&mut rules, everybody).map_err(refused)?;
        }
        let tokens =
            config.access_token.as_ref().map(|tokens| tokens.tokens()).transpose().map_err(refused)?;
        let oidc = config.oidc.as_ref().map(|oidc| oidc.settings()).transpose().map_err(refused)?;
        Ok(Self { rules, tokens, oidc })
    }
}

/// Adds a rule to those there are. One that is there already gets its keys as well; its rights must be the same.
fn add_rule(rules: &mut Vec<AccessRule>, rule: AccessRule) -> Result<(), String> {
    match rules.iter_mut().find(|other| other.name == rule.name && other.scope == rule.scope) {
        Some(other) if other.rights == rule.rights => other.keys.extend(rule.keys),
        Some(_) => {
            return Err(format!(
                "[access.{}] has other rights than the rule of that name in {FILE} or the development key",
                rule.name
            ));
        }
        None => rules.push(rule),
    }
    Ok(())
}

/// The keys of a data directory.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keys {
    keys: Vec<Key>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    name: String,
    key: String,
    rights: Vec<KeyRight>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hub: Option<HubName>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeyRight {
    Send,
    Listen,
    Manage,
}

impl Keys {
    /// The keys in the data directory `path`; makes the first one where there are none.
    ///
    /// # Errors
    /// When the file cannot be read, understood or written.
    pub(crate) fn open(path: &Path, clock: &dyn Clock) -> Result<Self, Failure> {
        if let Some(keys) = Self::read(path)? {
            return Ok(keys);
        }
        let root = Key {
            name: ROOT_KEY_NAME.to_owned(),
            key: STANDARD.encode(random_key(clock)),
            rights: vec![KeyRight::Manage],
            hub: None,
        };
        let keys = Self { keys: vec![root] };
        let json = serde_json::to_vec_pretty(&keys).expect("keys have a JSON form");
        let file = path.join(FILE);
        files::write_atomically(&file, &json, files::Mode::Secret)
            .map_err(|error| files::failure(&file, "write", error))?;
        Ok(keys)
    }

    /// The keys in the data directory `path`, if there are any.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let file = path.join(FILE);
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(files::failure(&file, "read", error)),
        };
        // The parser's own message may repeat what it read, and that may be a key: only the place is told.
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let message = format!("{} cannot be understood (line {line}, column {column})", file.display());
            Failure::new(ErrorCode::DATA_DIR_FORMAT, message).help(
                "correct it, or remove it: the next start makes a new one with a new key\nits form is \
                 {\"keys\":[{\"name\":\"…\",\"key\":\"…\",\"rights\":[\"send\",\"listen\",\"manage\"]}]}",
            )
        })
    }

    /// A key that may do everything.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn root(&self) -> Result<&str, Failure> {
        let root = self.keys.iter().find(|key| key.hub.is_none() && key.rights.contains(&KeyRight::Manage));
        root.map(|key| key.key.as_str()).ok_or_else(|| {
            Failure::new(
                ErrorCode::UNAUTHORIZED,
                format!("{FILE} has no key with the right \"manage\" for all hubs"),
            )
            .help("add one, or remove the file: the next start makes a new one with a new key")
        })
    }

    /// Decides by these keys and those of guests.
    ///
    /// # Errors
    /// When two keys have one name, one is empty, or a guest has the name of a key with other rights.
    pub(crate) fn authorizer(&self, guests: Guests) -> Result<Authorizer, Failure> {
        let refused = |why: String| Failure::new(ErrorCode::DATA_DIR_FORMAT, format!("{FILE}: {why}"));
        let mut rules = Vec::new();
        for Key { name, key, rights, hub } in &self.keys {
            let key =
                SecretKey::new(key.clone()).map_err(|error| refused(format!("key {name:?}: {error}")))?;
            let rights = rights.iter().map(|right| match right {
                KeyRight::Send => Right::Send,
                KeyRight::Listen => Right::Listen,
                KeyRight::Manage => Right::Manage,
            });
            let scope = hub.clone().map_or(Scope::Namespace, Scope::Hub);
            rules.push(AccessRule { name: name.clone(), keys: vec![key], rights: rights.collect(), scope });
        }
        // Found before guests are added, whose keys would hide it.
        Authorizer::new(rules.clone()).map_err(|error| refused(error.to_string()))?;
        for guest in guests.rules {
            add_rule(&mut rules, guest).map_err(|why| {
                Failure::usage(ErrorCode::CONFIG_BAD_VALUE, why)
                    .help("give the rule another name, or the same rights as there")
            })?;
        }
        let authorizer = Authorizer::new(rules).map_err(|error| refused(error.to_string()))?;
        Ok(match guests.tokens {
            Some(tokens) => authorizer.with_access_tokens(tokens),
            None => authorizer,
        })
    }
}

/// What signs the links of the data directory `path`; made where it is not there.
///
/// # Errors
/// When the file cannot be read, understood or written.
pub(crate) fn link_key(path: &Path, clock: &dyn Clock) -> Result<LinkKey, Failure> {
    let file = path.join(LINK_FILE);
    match std::fs::read(&file) {
        Ok(text) => {
            let bytes = STANDARD.decode(text.trim_ascii()).ok().and_then(|bytes| bytes.try_into().ok());
            bytes.map(LinkKey::new).ok_or_else(|| {
                let message = format!("{} does not hold 32 bytes in base64", file.display());
                Failure::new(ErrorCode::DATA_DIR_FORMAT, message)
                    .help("remove it: the next start makes a new one, and links that were sent before do not work any more")
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let bytes = random_key(clock);
            files::write_atomically(&file, STANDARD.encode(bytes).as_bytes(), files::Mode::Secret)
                .map_err(|error| files::failure(&file, "write", error))?;
            Ok(LinkKey::new(bytes))
        }
        Err(error) => Err(files::failure(&file, "read", error)),
    }
}

fn random_key(clock: &dyn Clock) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&clock.random().to_be_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tidegate_model::clock::SystemClock;

    use super::*;

    #[test]
    fn the_first_start_makes_a_key_that_later_ones_find() {
        let dir = tempfile::tempdir().unwrap();
        let clock = SystemClock::shared();
        let first = Keys::open(dir.path(), &*clock).unwrap().root().unwrap().to_owned();
        assert_eq!(STANDARD.decode(&first).unwrap().len(), 32);
        assert_eq!(Keys::open(dir.path(), &*clock).unwrap().root().unwrap(), first);
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let authorizer = Keys::read(dir.path()).unwrap().unwrap().authorizer(Guests::default()).unwrap();
        let header = format!("Bearer {first}");
        authorizer.authorize(Some(&header), Right::Manage, "", clock.now()).unwrap();
    }

    #[test]
    fn the_key_of_links_is_made_once_and_is_the_owners() {
        let dir = tempfile::tempdir().unwrap();
        let clock = SystemClock::shared();
        let file = dir.path().join(LINK_FILE);
        link_key(dir.path(), &*clock).unwrap();
        let first = std::fs::read(&file).unwrap();
        assert_eq!(STANDARD.decode(&first).unwrap().len(), 32);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        link_key(dir.path(), &*clock).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), first);

        std::fs::write(&file, "c2hvcnQ=").unwrap();
        let message = link_key(dir.path(), &*clock).err().unwrap().to_string();
        assert!(message.contains(LINK_FILE) && !message.contains("c2hvcnQ"), "{message}");
    }

    #[test]
    fn a_damaged_file_is_named_without_its_content() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), r#"{"keys":[{"name":"a","key":17c3b,"rights":["all"]}]}"#)
            .unwrap();
        let message = Keys::read(dir.path()).err().unwrap().to_string();
        assert!(message.contains(FILE) && message.contains("line 1"), "{message}");
        assert!(!message.contains("17c3b"), "{message}");
    }

    fn config(text: &str) -> Config {
        Config::parse(text, "tidegate.toml", crate::config::Registered::Any).unwrap()
    }

    fn may(keys: &Keys, config: &Config, key: &str, right: Right, path: &str) -> bool {
        let authorizer = keys.authorizer(Guests::of(config).unwrap()).unwrap();
        let now = SystemClock::shared().now();
        authorizer.authorize(Some(&format!("Bearer {key}")), right, path, now).is_ok()
    }

    #[test]
    fn the_rules_of_the_configuration_count_beside_the_keys() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path(), &*SystemClock::shared()).unwrap();
        let config = config(
            "[hub.flights]\n[access.pumps]\nrights = [\"send\"]\nhub = \"flights\"\nprimary_key = \"first\"\n\
             secondary_key = \"second\"\n[access.RootManageSharedAccessKey]\nrights = [\"manage\"]\nprimary_key = \"root\"\n",
        );
        for key in ["first", "second"] {
            assert!(may(&keys, &config, key, Right::Send, "flights/messages"));
            assert!(!may(&keys, &config, key, Right::Send, "drones/messages"));
            assert!(!may(&keys, &config, key, Right::Listen, "flights"));
        }
        for key in ["root", keys.root().unwrap()] {
            assert!(may(&keys, &config, key, Right::Manage, ""), "both keys of the root rule count");
        }
        assert!(!may(&keys, &Config::empty(), "first", Right::Send, "flights/messages"));
    }

    #[test]
    fn the_key_that_everybody_knows_counts_only_when_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path(), &*SystemClock::shared()).unwrap();
        assert!(!may(&keys, &Config::empty(), "SAS_KEY_VALUE", Right::Listen, ""));
        let asked = config("[amqp]\ndevelopment_key = \"loopback\"\n");
        assert!(may(&keys, &asked, "SAS_KEY_VALUE", Right::Manage, ""));
        assert!(may(&keys, &asked, keys.root().unwrap(), Right::Manage, ""));
        let stored = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(!stored.contains("SAS_KEY_VALUE"), "it is not kept");
    }

    #[test]
    fn a_guest_that_cannot_be_let_in_is_named_without_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path(), &*SystemClock::shared()).unwrap();
        let other =
            config("[access.RootManageSharedAccessKey]\nrights = [\"send\"]\nprimary_key = \"hush\"\n");
        let message = keys.authorizer(Guests::of(&other).unwrap()).err().unwrap().to_string();
        assert!(message.contains("[access.RootManageSharedAccessKey] has other rights"), "{message}");
        for (text, complaint) in [
            (
                "[access.a]\nrights = [\"send\"]\nprimary_key = { env = \"TIDEGATE_NO_SUCH_KEY\" }\n",
                "`primary_key` of [access.a]: the environment variable TIDEGATE_NO_SUCH_KEY is not set",
            ),
            (
                "[access_token]\nissuer = \"i\"\naudience = \"a\"\nkey = \"hush\"\n",
                "`key` of [access_token]: it is no public key in PEM form",
            ),
            (
                "[access_token]\nissuer = \"i\"\naudience = \"a\"\nalgorithm = \"HS256\"\nkey = \"hush\"\n",
                "`key` of [access_token]: a secret for HS256 has at least 32 bytes",
            ),
        ] {
            let message = Guests::of(&config(text)).err().unwrap().to_string();
            assert!(message.contains(complaint) && !message.contains("hush"), "{message}");
        }
    }
}
