//! `[source.NAME]`: a hub of somebody else, which functions read as if it were one of ours.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml_edit::Item;

use tidegate_model::connection_string::{ConnectionString, Endpoint};
use tidegate_model::event::HubName;

use crate::config::elements::byte_size::ByteSize;
use crate::config::elements::duration::PositiveDuration;
use crate::config::elements::secret::SecretSource;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting, word_setting};

/// A hub of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// What it is called here.
    pub name: HubName,
    /// How to get in.
    pub access: SourceAccess,
    /// Its name where it is, unless the connection string says it.
    pub hub: Option<String>,
    /// The consumer group it is read in.
    pub consumer_group: String,
    /// Only one reads a partition at a time, with this level or a higher one.
    pub owner_level: Option<i64>,
    /// A file with certificates that are trusted instead of those that the machine trusts.
    pub roots: Option<PathBuf>,
    /// Where checkpoints are copied to.
    pub checkpoint_blobs: Option<CheckpointBlobs>,
    /// How many events of a partition are asked for ahead.
    pub prefetch_count: u32,
    /// How many bytes of a partition wait to be read.
    pub prefetch_bytes: ByteSize,
}

/// A container for copies of checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointBlobs {
    /// How to get into the account.
    pub connection_string: SecretSource,
    /// The container.
    pub container: String,
    /// What is before `/checkpoint/` and `/ownership/` in the names of the blobs, if it is not what most clients write.
    pub prefix: Option<String>,
    /// The prefix of an Event Processor Host whose checkpoints are looked at where there are no others.
    pub legacy_prefix: Option<String>,
    /// How often partitions are claimed by their ownership blobs; `None` when they are not.
    pub claim_interval: Option<Duration>,
}

impl SourceConfig {
    /// How often its partitions are claimed by their ownership blobs; `None` when they are not.
    pub fn claim_interval(&self) -> Option<Duration> {
        self.checkpoint_blobs.as_ref()?.claim_interval
    }

    /// The owner level that its receivers have. Who claims partitions has that of Event Hubs' processors.
    pub fn level(&self) -> Option<i64> {
        self.owner_level.or(self.claim_interval().map(|_| 0))
    }
}

/// How to get into a hub of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceAccess {
    /// With a connection string.
    ConnectionString(SecretSource),
    /// As an application of Entra.
    Entra {
        /// The namespace.
        namespace: String,
        /// The application.
        application: EntraConfig,
    },
}

/// An application of Entra.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraConfig {
    /// The directory.
    pub tenant_id: String,
    /// The application.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretSource,
    /// Who issues tokens.
    pub authority: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    EventHubs,
}

word_setting!(Kind: "\"event-hubs\"" { EventHubs = "event-hubs" } example "\"event-hubs\"");

const KIND: Key<Kind> = Key::required(
    "kind",
    "What it speaks: \"event-hubs\" is AMQP as Event Hubs, the built-in endpoint of IoT Hub and Tidegate itself speak it.",
);
const CONNECTION_STRING: Key<SecretSource> = Key::optional(
    "connection_string",
    "required without `entra`",
    "How to get in, as Event Hubs' clients are told it. A policy with the right Listen is enough.",
);
const NAMESPACE: Key<String> = Key::optional(
    "namespace",
    "required with `entra`",
    "The host of the namespace, such as `ns.servicebus.windows.net`; only with `entra`.",
);
const ENTRA: Key<EntraConfig> = Key::optional(
    "entra",
    "none",
    "The application of Entra whose tokens open the hub, instead of a connection string. It needs the role Azure Event Hubs \
     Data Receiver.",
);
const HUB: Key<String> =
    Key::optional("hub", "the `EntityPath` of the connection string", "The hub's name where it is.");
const CONSUMER_GROUP: Key<String> = Key::with_default(
    "consumer_group",
    "\"$Default\"",
    "The consumer group. Only with `checkpoint_blobs` may others read in it.",
);
const OWNER_LEVEL: Key<OwnerLevel> = Key::optional(
    "owner_level",
    "others may read beside; 0 where partitions are claimed by ownership blobs",
    "Receivers of the group with a lower level or none are sent away, and this one is by those with the same or a higher one; \
     the processors of Event Hubs' clients have 0. Then only one function can read the source.",
);
const ROOTS: Key<PathBuf> = Key::optional(
    "roots",
    "those that the machine trusts",
    "A PEM file with the certificates that the hub's certificate must lead to. A relative path is seen from where the \
     configuration is.",
);
const CHECKPOINT_BLOBS: Key<CheckpointBlobs> = Key::optional(
    "checkpoint_blobs",
    "checkpoints are in our store alone",
    "A container that checkpoints are copied to, within seconds, as Event Hubs' clients and KEDA read them, and in which \
     partitions are claimed as the clients' processors claim them: theirs and this program share the partitions of the \
     consumer group out among themselves. The store decides, and the blobs follow it; but where the blobs say that the \
     consumer group is further, a function goes on there. Then only one function can read the source, unless `claim` is false.",
);
const PREFETCH_COUNT: Key<usize> =
    Key::with_default("prefetch_count", "300", "How many events of a partition are asked for ahead at most.");
const PREFETCH_BYTES: Key<ByteSize> = Key::with_default(
    "prefetch_bytes",
    "\"4MiB\"",
    "How many bytes of a partition wait to be processed; twice as many are held at most.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[source.NAME]",
    doc: "A hub of somebody else that functions read as if it were one of ours: Event Hubs, the built-in endpoint of IoT Hub, \
          or another Tidegate. A function names it as its `hub`. What the hub has dropped \
          before it was processed stops the lane, and a person decides. One that is away when the program starts holds up \
          nobody: its functions begin when it comes. The live service could not be reached where this was \
          written: it is tested against Tidegate itself.",
    keys: &[
        &KIND as &dyn KeyInfo,
        &CONNECTION_STRING,
        &HUB,
        &CONSUMER_GROUP,
        &OWNER_LEVEL,
        &NAMESPACE,
        &ENTRA,
        &ROOTS,
        &CHECKPOINT_BLOBS,
        &PREFETCH_COUNT,
        &PREFETCH_BYTES,
    ],
    example: "[source.telemetry]\nkind = \"event-hubs\"\nconnection_string = { env = \"TELEMETRY_HUB\" }\nhub = \"telemetry\"\n\
              consumer_group = \"tidegate\"\n",
};

const TENANT_ID: Key<String> = Key::required("tenant_id", "The directory, by its id or its domain.");
const CLIENT_ID: Key<String> = Key::required("client_id", "The id of the application.");
const CLIENT_SECRET: Key<SecretSource> = Key::required("client_secret", "The secret of the application.");
const AUTHORITY: Key<String> = Key::optional(
    "authority",
    "`https://login.microsoftonline.com`",
    "Who issues tokens, for the clouds that have an issuer of their own.",
);

/// The element within.
pub(crate) static ENTRA_ELEMENT: Element = Element {
    header: "entra = { … }",
    doc: "An application that is registered with Entra, a table within `[source.NAME]`. It gets in by the client-credentials \
          flow; tested against an issuer of our own, not against the live one.",
    keys: &[&TENANT_ID as &dyn KeyInfo, &CLIENT_ID, &CLIENT_SECRET, &AUTHORITY],
    example: "entra = { tenant_id = \"contoso.com\", client_id = \"0a1b\", client_secret = { env = \"ENTRA_SECRET\" } }\n",
};

const BLOB_CONNECTION_STRING: Key<SecretSource> = Key::required(
    "connection_string",
    "How to get into the storage account: with its key or with a shared access signature.",
);
const CONTAINER: Key<String> = Key::with_default(
    "container",
    "\"azure-webjobs-eventhub\"",
    "The container. It is made if it is not there.",
);

const PREFIX: Key<String> = Key::optional(
    "prefix",
    "the namespace without a port, the hub and the group, in small letters",
    "What is before `/checkpoint/` and `/ownership/` in the names of the blobs, for a group whose other processors write it \
     otherwise: `\"localhost:5672/flights/$default\"` for the client for Python where the connection string has a port, \
     `\"ns.servicebus.windows.net/Flights/$Default\"` for the one for Go.",
);
const LEGACY_PREFIX: Key<String> = Key::optional(
    "legacy_prefix",
    "that of Azure Functions",
    "The prefix that an Event Processor Host was given for its blobs, `\"\"` when it was given none. A function begins where \
     the host was, if the group has no newer checkpoints; nothing is written there. What Azure Functions wrote before \
     version 5 of its extension is found without.",
);
const CLAIM: Key<bool> = Key::with_default(
    "claim",
    "true",
    "Whether a partition is read only while its ownership blob names this program. With `false` all partitions are read \
     whoever else reads them, and the container has copies of checkpoints alone.",
);
const CLAIM_INTERVAL: Key<PositiveDuration> = Key::with_default(
    "claim_interval",
    "\"10s\"",
    "How often ownerships are renewed, and looked who has what. A partition that was not renewed for six of these times \
     can be taken by others; make it the same for all processors of the group.",
);

/// The element within.
pub(crate) static BLOBS_ELEMENT: Element = Element {
    header: "checkpoint_blobs = { … }",
    doc: "A container for ownerships and for copies of checkpoints, a table within `[source.NAME]`. Tested against Azurite, \
          beside the processors of the client for JavaScript.",
    keys: &[
        &BLOB_CONNECTION_STRING as &dyn KeyInfo,
        &CONTAINER,
        &PREFIX,
        &LEGACY_PREFIX,
        &CLAIM,
        &CLAIM_INTERVAL,
    ],
    example: "checkpoint_blobs = { connection_string = { env = \"STORAGE\" }, container = \"checkpoints\" }\n",
};

/// Reads the source `name`; `None` when something of it is wrong.
pub(crate) fn read(name: HubName, reader: &mut Reader<'_, '_>) -> Option<SourceConfig> {
    let kind = reader.get(&KIND);
    let connection_string = reader.get_optional(&CONNECTION_STRING);
    let (namespace, entra) = (reader.get_optional(&NAMESPACE), reader.get_optional(&ENTRA));
    let hub = reader.get_optional(&HUB);
    let consumer_group = reader.get(&CONSUMER_GROUP);
    let owner_level = reader.get_optional(&OWNER_LEVEL);
    let roots = reader.get_optional(&ROOTS);
    let checkpoint_blobs = reader.get_optional(&CHECKPOINT_BLOBS);
    let (prefetch_count, prefetch_bytes) = (reader.get(&PREFETCH_COUNT), reader.get(&PREFETCH_BYTES));
    kind?;
    let (hub, consumer_group) = (hub?, consumer_group?);
    let access = match (connection_string?, namespace?, entra?) {
        (Some(secret), None, None) => {
            check_connection_string(&secret, hub.as_deref(), reader)?;
            SourceAccess::ConnectionString(secret)
        }
        (None, Some(namespace), Some(application)) => {
            check_namespace(&namespace, hub.as_deref(), reader)?;
            SourceAccess::Entra { namespace, application }
        }
        _ => {
            let at = reader.span();
            let help = "give `connection_string`, or `entra` and `namespace`";
            reader.contradiction(at, "it is not said how to get in, or said twice", help);
            return None;
        }
    };
    let group_is_good = !consumer_group.is_empty() && !consumer_group.contains(['/', ' ']);
    if !group_is_good {
        let at = reader.span_of(&CONSUMER_GROUP);
        reader.contradiction(
            at,
            "`consumer_group` is no name of a consumer group",
            "for example \"$Default\"",
        );
        return None;
    }
    Some(SourceConfig {
        name,
        access,
        hub,
        consumer_group,
        owner_level: owner_level?.map(|level| level.0),
        roots: roots?,
        checkpoint_blobs: checkpoint_blobs?,
        prefetch_count: u32::try_from(prefetch_count?).unwrap_or(u32::MAX),
        prefetch_bytes: prefetch_bytes?,
    })
}

/// What can be seen of a connection string before the program runs.
fn check_connection_string(
    secret: &SecretSource,
    hub: Option<&str>,
    reader: &mut Reader<'_, '_>,
) -> Option<()> {
    let SecretSource::Text(text) = secret else { return Some(()) };
    let at = reader.span_of(&CONNECTION_STRING);
    match text.parse::<ConnectionString>() {
        Ok(connection) if hub.is_none() && connection.entity_path().is_none() => {
            reader.contradiction(at, "nothing says which hub it is", "add `hub`, or an EntityPath");
            None
        }
        Ok(_) => Some(()),
        Err(invalid) => {
            let help = "copy it from the shared access policies of the namespace or the hub";
            reader.contradiction(at, &invalid.to_string(), help);
            None
        }
    }
}

fn check_namespace(namespace: &str, hub: Option<&str>, reader: &mut Reader<'_, '_>) -> Option<()> {
    if hub.is_none() {
        let at = reader.span();
        reader.contradiction(at, "nothing says which hub it is", "add `hub`");
        return None;
    }
    if let Err(invalid) = Endpoint::new(namespace, None) {
        let at = reader.span_of(&NAMESPACE);
        reader.contradiction(at, &invalid.to_string(), "give the host alone, without a scheme and a port");
        return None;
    }
    Some(())
}

impl SourceConfig {
    /// Makes relative paths such that are seen from `directory`.
    pub(crate) fn seen_from(&mut self, directory: &Path) {
        match &mut self.access {
            SourceAccess::ConnectionString(secret) => secret.seen_from(directory),
            SourceAccess::Entra { application, .. } => application.client_secret.seen_from(directory),
        }
        if let Some(blobs) = &mut self.checkpoint_blobs {
            blobs.connection_string.seen_from(directory);
        }
        if let Some(roots) = &mut self.roots {
            *roots = directory.join(&roots);
        }
    }
}

impl Setting for EntraConfig {
    const TYPE: &'static str = "a table, see [entra](#entra----)";
    const EXAMPLE: &'static str =
        "{ tenant_id = \"contoso.com\", client_id = \"0a1b\", client_secret = { env = \"ENTRA_SECRET\" } }";
    const SECRET: bool = true;

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        if item.as_table_like().is_none() {
            place.wrong_unseen(item, "expected a table", Self::EXAMPLE);
            return None;
        }
        let header = format!("`entra` of {}", place.table);
        let mut reader = Reader::new(&ENTRA_ELEMENT, header, item, item.span(), place.issues)?;
        let (tenant_id, client_id) = (reader.get(&TENANT_ID), reader.get(&CLIENT_ID));
        let (client_secret, authority) = (reader.get(&CLIENT_SECRET), reader.get_optional(&AUTHORITY));
        let (tenant_id, authority) = (tenant_id?, authority?);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        if tenant_id.is_empty() || !tenant_id.bytes().all(plain) {
            let at = reader.span_of(&TENANT_ID);
            reader.contradiction(
                at,
                "`tenant_id` is no id and no domain",
                "copy it from the directory's overview",
            );
            return None;
        }
        if authority.as_ref().is_some_and(|authority| !authority.starts_with("https://")) {
            let at = reader.span_of(&AUTHORITY);
            reader.contradiction(at, "`authority` does not begin with https://", "the secret is sent there");
            return None;
        }
        Some(Self { tenant_id, client_id: client_id?, client_secret: client_secret?, authority })
    }
}

impl Setting for CheckpointBlobs {
    const TYPE: &'static str = "a table, see [checkpoint_blobs](#checkpoint_blobs----)";
    const EXAMPLE: &'static str =
        "{ connection_string = { env = \"STORAGE\" }, container = \"checkpoints\" }";
    const SECRET: bool = true;

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        if item.as_table_like().is_none() {
            place.wrong_unseen(item, "expected a table", Self::EXAMPLE);
            return None;
        }
        let header = format!("`checkpoint_blobs` of {}", place.table);
        let mut reader = Reader::new(&BLOBS_ELEMENT, header, item, item.span(), place.issues)?;
        let (connection_string, container) = (reader.get(&BLOB_CONNECTION_STRING), reader.get(&CONTAINER));
        let (prefix, legacy_prefix) = (reader.get_optional(&PREFIX), reader.get_optional(&LEGACY_PREFIX));
        let (claim, claim_interval) = (reader.get(&CLAIM), reader.get(&CLAIM_INTERVAL));
        let (container, prefix, legacy_prefix) = (container?, prefix?, legacy_prefix?);
        if prefix.as_ref().is_some_and(|prefix| !is_prefix(prefix)) {
            let at = reader.span_of(&PREFIX);
            let help = "give the namespace, the hub and the group as the other processors write them: \
                        \"ns.servicebus.windows.net/flights/$default\"";
            reader.contradiction(at, "`prefix` does not name a consumer group", help);
            return None;
        }
        if legacy_prefix.as_ref().is_some_and(|prefix| prefix.len() > MAX_PREFIX) {
            let at = reader.span_of(&LEGACY_PREFIX);
            let problem = format!("`legacy_prefix` is longer than {MAX_PREFIX} bytes");
            reader.contradiction(at, &problem, "no name of a blob is that long");
            return None;
        }
        // "Naming and referencing containers, blobs, and metadata", REST reference of Azure Storage.
        let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = (3..=63).contains(&container.len())
            && container.bytes().all(inside)
            && !container.starts_with('-')
            && !container.ends_with('-')
            && !container.contains("--");
        if !is_name {
            let at = reader.span_of(&CONTAINER);
            let help = "use 3 to 63 small letters, digits and single `-` inside";
            reader.contradiction(at, "`container` is no name of a container", help);
            return None;
        }
        let claim_interval = claim?.then_some(claim_interval?.0);
        let connection_string = connection_string?;
        Some(Self { connection_string, container, prefix, legacy_prefix, claim_interval })
    }
}

/// The longest prefix, in bytes: names of blobs have up to 1,024 characters ("Naming and referencing containers, blobs, and
/// metadata", REST reference of Azure Storage), and a little comes behind it.
const MAX_PREFIX: usize = 900;

/// Whether blobs can have this before `/checkpoint/`: three names, none of them empty.
fn is_prefix(prefix: &str) -> bool {
    let parts: Vec<&str> = prefix.split('/').collect();
    prefix.len() <= MAX_PREFIX
        && parts.len() == 3
        && parts.iter().all(|part| !part.is_empty() && !part.contains(char::is_whitespace))
}

/// The level of an owner.
struct OwnerLevel(i64);

impl Setting for OwnerLevel {
    const TYPE: &'static str = "a whole number from 0";
    const EXAMPLE: &'static str = "0";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let level = item.as_integer().filter(|level| *level >= 0);
        if level.is_none() {
            place.not_a::<Self>(item);
        }
        level.map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Registered};

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, "file", Registered::Any).map_err(|failure| failure.to_string())
    }

    const STRING: &str =
        "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=l;SharedAccessKey=hush";

    #[test]
    fn a_source_is_read_by_a_function_as_a_hub_is() {
        let text = format!(
            "[source.theirs]\nkind = \"event-hubs\"\nconnection_string = \"{STRING};EntityPath=e\"\nowner_level = 0\n\
             [source.others]\nkind = \"event-hubs\"\nnamespace = \"ns.servicebus.windows.net\"\nhub = \"x\"\n\
             entra = {{ tenant_id = \"t\", client_id = \"c\", client_secret = {{ env = \"S\" }} }}\n\
             [function.f]\nhub = \"theirs\"\nkind = \"rust\"\n"
        );
        let config = parse(&text).unwrap();
        let [others, theirs] = config.sources.as_slice() else { panic!("{:?}", config.sources) };
        assert_eq!((theirs.name.as_str(), theirs.owner_level), ("theirs", Some(0)));
        assert_eq!((theirs.consumer_group.as_str(), theirs.prefetch_count), ("$Default", 300));
        assert!(
            matches!(&others.access, SourceAccess::Entra { namespace, .. } if namespace.starts_with("ns."))
        );
        assert_eq!(config.functions[0].hub.as_str(), "theirs");
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn what_is_wrong_with_a_source_is_told_without_its_secret() {
        let function =
            "[function.f]\nhub = \"s\"\nkind = \"rust\"\n[function.g]\nhub = \"s\"\nkind = \"rust\"\n";
        for (keys, more, problem) in [
            (String::new(), "", "has no `kind`"),
            ("kind = \"event-hubs\"".to_owned(), "", "how to get in"),
            (format!("kind = \"event-hubs\"\nconnection_string = \"{STRING}\""), "", "which hub it is"),
            ("kind = \"event-hubs\"\nconnection_string = \"hush\"".to_owned(), "", "has no name"),
            (
                format!(
                    "kind = \"event-hubs\"\nconnection_string = \"{STRING}\"\nhub = \"h\"\nnamespace = \"n\""
                ),
                "",
                "said twice",
            ),
            (
                format!(
                    "kind = \"event-hubs\"\nconnection_string = \"{STRING}\"\nhub = \"h\"\nowner_level = -1"
                ),
                "",
                "a whole number from 0",
            ),
            (
                format!(
                    "kind = \"event-hubs\"\nconnection_string = \"{STRING}\"\nhub = \"h\"\nowner_level = 0"
                ),
                function,
                "only one function",
            ),
            (
                format!(
                    "kind = \"event-hubs\"\nconnection_string = \"{STRING}\"\nhub = \"h\"\n\
                     checkpoint_blobs = {{ connection_string = \"hush\", prefix = \"h/g\" }}"
                ),
                "",
                "does not name a consumer group",
            ),
            (
                format!("kind = \"event-hubs\"\nconnection_string = \"{STRING}\"\nhub = \"h\""),
                "[hub.S]\n",
                "differ only in the case",
            ),
        ] {
            let refused = parse(&format!("[source.s]\n{keys}\n{more}")).expect_err(problem);
            assert!(refused.contains(problem), "{keys}: {refused}");
            assert!(!refused.contains("hush"), "{refused}");
        }
    }
}
