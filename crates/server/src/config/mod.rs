//! The configuration: one TOML file, read strictly. Everything that is wrong with it is reported at once, with the line,
//! the right names and an example; nothing that it says is ignored.

pub(crate) mod effective;
pub mod elements;
mod emulator;
mod issue;
mod key;
mod reader;
pub mod reference;
mod value;

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Item, Table};

use tidegate_access::DoorSettings;
use tidegate_access::mask::{MaskRule, Masks};
use tidegate_gateway::throughput::ThroughputUnits;
use tidegate_host::circuit::CircuitSettings;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::error::ErrorCode;
use tidegate_model::event::{HubName, InvalidName};

pub use elements::access::AccessConfig;
pub use elements::access_token::AccessTokenConfig;
pub use elements::alerts::AlertsConfig;
pub use elements::amqp::{AmqpConfig, DevelopmentKey};
pub use elements::audit::AuditConfig;
pub use elements::console::ConsoleConfig;
pub use elements::email::EmailConfig;
pub use elements::function::{FunctionConfig, FunctionKind, UpsertConfig};
pub use elements::http::HttpConfig;
pub use elements::hub::HubConfig;
pub use elements::logs::LogsConfig;
pub use elements::oidc::OidcConfig;
pub use elements::otlp::OtlpConfig;
pub use elements::processor::ProcessorConfig;
pub use elements::read_api::ReadApiConfig;
pub use elements::scale::ScaleConfig;
pub use elements::secret::SecretSource;
pub use elements::source::{CheckpointBlobs, EntraConfig, SourceAccess, SourceConfig};
pub use elements::tls::TlsConfig;
pub use elements::webhook::WebhookConfig;

use crate::config::effective::Effective;
use crate::failure::Failure;
use elements::console::origin_of;
use issue::{Issues, listed, suggest};
use key::Element;
use reader::{Reader, unknown};

/// The name of the configuration file where none is given.
pub const FILE_NAME: &str = "tidegate.toml";

/// A configuration to begin with.
pub const SAMPLE: &str = include_str!("sample.toml");

/// What the program is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The hubs, ordered by name.
    pub hubs: Vec<HubConfig>,
    /// The hubs of others that are read, ordered by name.
    pub sources: Vec<SourceConfig>,
    /// The functions, ordered by name.
    pub functions: Vec<FunctionConfig>,
    /// When a person is told.
    pub alerts: AlertsConfig,
    /// The people who are told, ordered by name.
    pub emails: Vec<EmailConfig>,
    /// The programs that are told, ordered by name.
    pub webhooks: Vec<WebhookConfig>,
    /// The audit trail.
    pub audit: AuditConfig,
    /// The HTTP front door.
    pub http: HttpConfig,
    /// Documents under addresses of their own, ordered by name.
    pub read_apis: Vec<ReadApiConfig>,
    /// The page and the API, as people come to them.
    pub console: ConsoleConfig,
    /// The identity provider that people sign in with.
    pub oidc: Option<OidcConfig>,
    /// What of events and documents is not shown to everybody.
    pub masks: Vec<MaskRule>,
    /// The AMQP front door.
    pub amqp: AmqpConfig,
    /// Who may do what beside the keys of the data directory, ordered by name.
    pub access: Vec<AccessConfig>,
    /// The identity provider whose tokens count.
    pub access_token: Option<AccessTokenConfig>,
    /// How fast the namespace is; without a limit if there is nothing.
    pub throughput: Option<ThroughputUnits>,
    /// What all functions share.
    pub processor: ProcessorConfig,
    /// The log lines that are kept.
    pub logs: LogsConfig,
    /// Who is sent traces and metrics, if somebody is.
    pub otlp: Option<OtlpConfig>,
    /// How many instances there are to be.
    pub scale: ScaleConfig,
}

/// Which functions `kind = "rust"` may name.
#[derive(Clone, Copy, Debug)]
pub enum Registered<'r> {
    /// Those that the program brings along.
    Only(&'r [&'r str]),
    /// Any: the functions will not be run.
    Any,
}

/// A configuration and where it comes from.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// What it says.
    pub config: Config,
    /// The file.
    pub path: PathBuf,
    /// What a person should know about it, such as what is not used of the emulator's configuration.
    pub notes: Vec<String>,
    /// Everything that holds, as a TOML text without secrets.
    pub listing: String,
    /// The same, key by key.
    pub settings: Vec<tidegate_api::Setting>,
}

impl Config {
    /// Reads a file. One whose name ends in `.json` is the configuration of the Event Hubs emulator.
    ///
    /// # Errors
    /// All problems of the file.
    pub fn load(path: &Path, registered: Registered<'_>) -> Result<LoadedConfig, Failure> {
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
            return Self::load_emulator(path);
        }
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot read the configuration {}: {error}", path.display());
            Failure::usage(ErrorCode::CONFIG_SYNTAX, message)
                .help("give the path of a TOML file in UTF-8 with --config FILE; `tidegate config sample` prints one")
        })?;
        let mut loaded = Self::load_text(&text, path, registered)?;
        loaded.config.seen_from(path.parent().unwrap_or(Path::new("")));
        Ok(loaded)
    }

    /// Reads a text as if it were the file at `path`.
    ///
    /// # Errors
    /// When it is no configuration.
    pub fn load_text(text: &str, path: &Path, registered: Registered<'_>) -> Result<LoadedConfig, Failure> {
        let origin = path.display().to_string();
        let (config, effective) = Self::parse_all(text, &origin, registered)?;
        let (listing, settings) = (effective::listing(&effective), effective::settings(&effective, &origin));
        Ok(LoadedConfig { config, path: path.to_owned(), notes: Vec::new(), listing, settings })
    }

    /// Reads the configuration of the Event Hubs emulator, `Config.json`.
    ///
    /// # Errors
    /// All problems of the file.
    pub fn load_emulator(path: &Path) -> Result<LoadedConfig, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot read the emulator's configuration {}: {error}", path.display());
            Failure::usage(ErrorCode::CONFIG_SYNTAX, message)
                .help("give the path of the emulator's Config.json in UTF-8")
        })?;
        let (config, notes) = emulator::read(&text, &path.display().to_string())?;
        let (_, effective) = Self::parse_all(&emulator::as_toml(&config), "", Registered::Any)?;
        let settings = effective::settings(&effective, &path.display().to_string());
        let listing = effective::listing(&effective);
        Ok(LoadedConfig { config, path: path.to_owned(), notes, listing, settings })
    }

    /// Reads a text; `origin` is what messages call it.
    ///
    /// # Errors
    /// All problems of the text.
    pub fn parse(text: &str, origin: &str, registered: Registered<'_>) -> Result<Self, Failure> {
        Self::parse_with_listing(text, origin, registered).map(|(config, _)| config)
    }

    /// The same, and with it everything that holds as a TOML text, the defaults included and without secrets.
    ///
    /// # Errors
    /// As for [`parse`](Self::parse).
    pub fn parse_with_listing(
        text: &str,
        origin: &str,
        registered: Registered<'_>,
    ) -> Result<(Self, String), Failure> {
        let (config, effective) = Self::parse_all(text, origin, registered)?;
        Ok((config, effective::listing(&effective)))
    }

    /// The same, and with it everything that holds.
    fn parse_all(
        text: &str,
        origin: &str,
        registered: Registered<'_>,
    ) -> Result<(Self, Vec<Effective>), Failure> {
        let mut issues = Issues::new(origin, text);
        let document = match toml_edit::Document::parse(text) {
            Ok(document) => document,
            Err(error) => {
                let help =
                    "the rules of TOML are at https://toml.io; `tidegate config sample` prints an example";
                issues.add(error.span(), ErrorCode::CONFIG_SYNTAX, one_line(error.message()), help);
                return Err(issues.into_failure().expect("a problem was added just now"));
            }
        };
        let config = read_document(document.as_table(), registered, &mut issues);
        let effective = std::mem::take(&mut issues.effective);
        match (issues.into_failure(), config) {
            (Some(failure), _) => Err(failure),
            (None, Some(config)) => Ok((config, effective)),
            (None, None) => Err(Failure::usage(
                ErrorCode::CONFIG_BAD_VALUE,
                format!("{origin}: the configuration is incomplete"),
            )),
        }
    }

    /// Makes relative paths such that are seen from `directory`.
    fn seen_from(&mut self, directory: &Path) {
        let passwords = self.emails.iter_mut().filter_map(|email| email.credentials.as_mut());
        passwords.for_each(|(_, password)| password.seen_from(directory));
        for rule in &mut self.access {
            let keys = std::iter::once(&mut rule.primary_key).chain(&mut rule.secondary_key);
            keys.for_each(|key| key.seen_from(directory));
        }
        if let Some(tokens) = &mut self.access_token {
            tokens.keys.seen_from(directory);
        }
        if let Some(secret) = self.oidc.as_mut().and_then(|oidc| oidc.client_secret.as_mut()) {
            secret.seen_from(directory);
        }
        if let Some(tls) = &mut self.amqp.tls {
            tls.seen_from(directory);
        }
        self.sources.iter_mut().for_each(|source| source.seen_from(directory));
        let receiver = self.otlp.iter_mut().flat_map(|otlp| &mut otlp.headers);
        receiver.for_each(|(_, value)| value.seen_from(directory));
        for webhook in &mut self.webhooks {
            let headers = webhook.headers.iter_mut().map(|(_, value)| value);
            let own = std::iter::once(&mut webhook.url).chain(&mut webhook.secret);
            own.chain(headers).for_each(|secret| secret.seen_from(directory));
        }
    }

    /// All circuits: those of the functions, and those of what they need; each once.
    pub fn circuits(&self) -> Vec<(FunctionName, CircuitSettings)> {
        let own = self.functions.iter().map(|function| (function.name.clone(), function.settings.circuit));
        let needed = self.functions.iter().flat_map(|function| &function.settings.dependencies);
        let mut circuits: Vec<_> =
            own.chain(needed.map(|dependency| (dependency.name.clone(), dependency.circuit))).collect();
        circuits.sort_by(|(a, _), (b, _)| a.cmp(b));
        circuits.dedup_by(|(a, _), (b, _)| a == b);
        circuits
    }

    /// How the door in front of the page and the API is set.
    pub(crate) fn door(&self) -> DoorSettings {
        let of_alerts = || self.alerts.base_url.as_deref().and_then(origin_of);
        let public_origin = self.console.public_url.clone().or_else(of_alerts);
        // People come by a proxy, which may be on this machine.
        let is_elsewhere = public_origin.as_ref().is_some_and(|origin| {
            let host = origin.parse::<axum::http::Uri>().ok();
            !host.is_some_and(|uri| uri.host().is_some_and(tidegate_access::request::is_loopback_name))
        });
        DoorSettings {
            open_on_loopback: self.console.open_on_loopback.unwrap_or(!is_elsewhere),
            public_origin,
            masks: Masks::new(self.masks.clone()),
        }
    }

    /// The configuration without any hub or function.
    pub fn empty() -> Self {
        Self::parse("", "the empty configuration", Registered::Any)
            .expect("all defaults are valid, as a test shows")
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

const TABLES: [&str; 21] = [
    "hub",
    "source",
    "function",
    "dependency",
    "alerts",
    "email",
    "webhook",
    "audit",
    "http",
    "read_api",
    "console",
    "oidc",
    "mask",
    "amqp",
    "access",
    "access_token",
    "throughput",
    "processor",
    "logs",
    "otlp",
    "scale",
];

fn read_document(root: &Table, registered: Registered<'_>, issues: &mut Issues<'_>) -> Option<Config> {
    for (name, item) in root {
        if !TABLES.contains(&name) {
            let at = root.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
            unknown(issues, at, &format!("table or key `{name}`"), name, &TABLES, "tables");
        }
    }
    let declared = names_in(root, "hub");
    let readable = [declared.clone(), names_in(root, "source")].concat();

    let hubs = read_named(root, "hub", &elements::hub::ELEMENT, issues, |name, reader| {
        HubName::new(name).map(|name| elements::hub::read(name, reader))
    });
    let sources = read_named(root, "source", &elements::source::ELEMENT, issues, |name, reader| {
        HubName::new(name).map(|name| elements::source::read(name, reader))
    });
    let named = names_in(root, "dependency");
    let dependencies =
        read_named(root, "dependency", &elements::dependency::ELEMENT, issues, |name, reader| {
            FunctionName::new(name).map(|name| elements::dependency::read(name, reader))
        });
    let known = elements::function::Known { names: &named, dependencies: dependencies.as_deref() };
    let functions = read_named(root, "function", &elements::function::ELEMENT, issues, |name, reader| {
        let name = FunctionName::new(name)?;
        let function = elements::function::read(name, &known, reader);
        if let Some(function) = &function {
            check_references(function, reader, &readable, registered);
        }
        Ok(function)
    });
    refuse_twin_hubs(root, &readable, issues);
    refuse_shared_owners(root, sources.as_deref(), functions.as_deref(), issues);
    refuse_reserved_hub(root, issues);
    let alerts = read_single(root, "alerts", &elements::alerts::ELEMENT, issues, elements::alerts::read);
    let emails = read_named(root, "email", &elements::email::ELEMENT, issues, |name, reader| {
        Ok(elements::email::read(name, reader))
    });
    let webhooks = read_named(root, "webhook", &elements::webhook::ELEMENT, issues, |name, reader| {
        Ok(elements::webhook::read(name, reader))
    });
    let audit = read_single(root, "audit", &elements::audit::ELEMENT, issues, elements::audit::read);
    let read_apis = read_named(root, "read_api", &elements::read_api::ELEMENT, issues, |name, reader| {
        Ok(elements::read_api::read(name, reader))
    });
    refuse_twin_addresses(root, read_apis.as_deref().unwrap_or_default(), issues);
    let http = read_single(root, "http", &elements::http::ELEMENT, issues, elements::http::read);
    let console = read_single(root, "console", &elements::console::ELEMENT, issues, elements::console::read);
    let oidc = read_optional(root, "oidc", &elements::oidc::ELEMENT, issues, elements::oidc::read);
    let masks = read_named(root, "mask", &elements::mask::ELEMENT, issues, |_, reader| {
        Ok(elements::mask::read(reader))
    });
    let amqp = read_single(root, "amqp", &elements::amqp::ELEMENT, issues, elements::amqp::read);
    let access = read_named(root, "access", &elements::access::ELEMENT, issues, |name, reader| {
        Ok(elements::access::read(name, &declared, reader))
    });
    let access_token = read_optional(
        root,
        "access_token",
        &elements::access_token::ELEMENT,
        issues,
        elements::access_token::read,
    );
    let throughput =
        read_optional(root, "throughput", &elements::throughput::ELEMENT, issues, elements::throughput::read);
    let processor =
        read_single(root, "processor", &elements::processor::ELEMENT, issues, elements::processor::read);
    let logs = read_single(root, "logs", &elements::logs::ELEMENT, issues, elements::logs::read);
    let otlp = read_optional(root, "otlp", &elements::otlp::ELEMENT, issues, elements::otlp::read);
    let scale = read_single(root, "scale", &elements::scale::ELEMENT, issues, elements::scale::read);
    Some(Config {
        hubs: hubs?,
        sources: sources?,
        functions: functions?,
        alerts: alerts?,
        emails: emails?,
        webhooks: webhooks?,
        audit: audit?,
        http: http?,
        read_apis: read_apis?,
        console: console?,
        oidc: oidc?,
        masks: masks?,
        amqp: amqp?,
        access: access?,
        access_token: access_token?,
        throughput: throughput?,
        processor: processor?,
        logs: logs?,
        otlp: otlp?,
        scale: scale?,
    })
}

/// Of two read APIs at one address, one would never be reached.
fn refuse_twin_addresses(root: &Table, read_apis: &[ReadApiConfig], issues: &mut Issues<'_>) {
    for (place, one) in read_apis.iter().enumerate() {
        let stands_in_the_way = |other: &&ReadApiConfig| {
            let (longer, shorter) =
                if one.base.len() > other.base.len() { (one, *other) } else { (*other, one) };
            let rest = longer.base.strip_prefix(&shorter.base);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(other) = read_apis[..place].iter().find(stands_in_the_way) {
            let tables = root.get("read_api").and_then(Item::as_table_like);
            let at = tables.and_then(|tables| tables.key(&one.name)).and_then(toml_edit::Key::span);
            let message = format!(
                "[read_api.{}] and [read_api.{}] stand in each other's way: {} and {}",
                one.name, other.name, one.base, other.base
            );
            issues.add(at, ErrorCode::CONFIG_BAD_VALUE, message, "give one of them another address");
        }
    }
}

/// Clients tell hubs apart without regard to case, so two hubs must differ in more; and a source is a hub to functions.
fn refuse_twin_hubs(root: &Table, names: &[&str], issues: &mut Issues<'_>) {
    let hubs = names_in(root, "hub").len();
    let table = |place: usize| if place < hubs { "hub" } else { "source" };
    for (place, name) in names.iter().enumerate() {
        if let Some(other) = names[..place].iter().position(|twin| twin.eq_ignore_ascii_case(name)) {
            let tables = root.get(table(place)).and_then(Item::as_table_like);
            let at = tables.and_then(|tables| tables.key(name)).and_then(toml_edit::Key::span);
            let (one, twin) = (table(place), table(other));
            let difference = match *name == names[other] {
                true => "have the same name",
                false => "differ only in the case of their letters",
            };
            let message = format!("[{one}.{name}] and [{twin}.{}] {difference}", names[other]);
            let help = "clients could not tell them apart: rename one";
            issues.add(at, ErrorCode::CONFIG_BAD_VALUE, message, help);
        }
    }
}

/// The names of the tables `[kind.NAME]`, in the order of the text.
fn names_in<'r>(root: &'r Table, kind: &str) -> Vec<&'r str> {
    let tables = root.get(kind).and_then(Item::as_table_like);
    tables.into_iter().flat_map(|tables| tables.iter()).map(|(name, _)| name).collect()
}

/// With an owner level, one receiver of a source sends the other away.
fn refuse_shared_owners(
    root: &Table,
    sources: Option<&[SourceConfig]>,
    functions: Option<&[FunctionConfig]>,
    issues: &mut Issues<'_>,
) {
    let owned = sources.into_iter().flatten().filter(|source| source.level().is_some());
    for source in owned {
        let name = &source.name;
        let readers = functions.into_iter().flatten().filter(|function| function.hub == *name).count();
        if readers > 1 {
            let tables = root.get("source").and_then(Item::as_table_like);
            let at = tables.and_then(|tables| tables.key(name.as_str())).and_then(toml_edit::Key::span);
            let (why, without) = match source.owner_level {
                Some(_) => ("an `owner_level`", "leave `owner_level` out"),
                None => ("`checkpoint_blobs`", "say `claim = false` in `checkpoint_blobs`"),
            };
            let message =
                format!("[source.{name}]: with {why} only one function can read it, and {readers} do");
            let help = format!(
                "declare another source for each function, with a consumer group of its own, or {without}"
            );
            issues.add(at, ErrorCode::CONFIG_BAD_VALUE, message, help);
        }
    }
}

/// Why no hub may have the name that [`is_reserved`].
pub(crate) const RESERVED: &str = "this name is taken by the links in mails, which begin with /restart/";

/// The links in mails are at `/restart/…`, where a hub of that name would be published to.
pub(crate) fn is_reserved(hub: &str) -> bool {
    hub == "restart"
}

fn refuse_reserved_hub(root: &Table, issues: &mut Issues<'_>) {
    let hubs = root.get("hub").and_then(Item::as_table_like);
    let reserved = hubs.and_then(|hubs| hubs.iter().map(|(name, _)| name).find(|name| is_reserved(name)));
    if let Some(key) = reserved.and_then(|name| hubs?.key(name)) {
        let message = format!("[hub.{}]: {RESERVED}", key.get());
        issues.add(key.span(), ErrorCode::CONFIG_BAD_VALUE, message, "give the hub another name");
    }
}

/// Reads all tables `[kind.NAME]`, ordered by name; `None` when one of them is wrong.
fn read_named<T>(
    root: &Table,
    kind: &str,
    element: &'static Element,
    issues: &mut Issues<'_>,
    read: impl Fn(&str, &mut Reader<'_, '_>) -> Result<Option<T>, InvalidName>,
) -> Option<Vec<T>> {
    let Some(item) = root.get(kind) else { return Some(Vec::new()) };
    let Some(tables) = item.as_table_like() else {
        let at = root.key(kind).and_then(toml_edit::Key::span);
        let message = format!("`{kind}` must hold tables with names");
        issues.add(
            at,
            ErrorCode::CONFIG_BAD_VALUE,
            message,
            format!("write it as\n{}", element.example.trim_end()),
        );
        return None;
    };
    let mut all = Vec::new();
    for (name, item) in tables.iter() {
        let at = tables.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        let mut refused = None;
        let value = Reader::new(element, format!("[{kind}.{name}]"), item, at.clone(), issues).and_then(
            |mut reader| match read(name, &mut reader) {
                Ok(value) => value,
                Err(error) => {
                    refused = Some(error);
                    None
                }
            },
        );
        if let Some(error) = refused {
            let help = "a name has letters, digits, and inside also `-`, `_` and `.`";
            issues.add(at, ErrorCode::CONFIG_BAD_VALUE, format!("[{kind}.{name}]: {error}"), help);
        }
        all.push((name.to_owned(), value));
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all.into_iter().map(|(_, value)| value).collect()
}

/// Reads the table `[name]`, or its defaults when it is absent.
fn read_single<T>(
    root: &Table,
    name: &str,
    element: &'static Element,
    issues: &mut Issues<'_>,
    read: impl Fn(&mut Reader<'_, '_>) -> Option<T>,
) -> Option<T> {
    let absent = Item::Table(Table::new());
    let (item, at) = match root.get(name) {
        Some(item) => (item, root.key(name).and_then(toml_edit::Key::span)),
        None => (&absent, None::<Range<usize>>),
    };
    read(&mut Reader::new(element, format!("[{name}]"), item, at, issues)?)
}

/// Reads the table `[name]`: `Some(None)` when it is absent, `None` when it is wrong.
fn read_optional<T>(
    root: &Table,
    name: &str,
    element: &'static Element,
    issues: &mut Issues<'_>,
    read: impl Fn(&mut Reader<'_, '_>) -> Option<T>,
) -> Option<Option<T>> {
    if root.contains_key(name) {
        read_single(root, name, element, issues, read).map(Some)
    } else {
        Some(None)
    }
}

/// Holds what a function names to what exists.
fn check_references(
    function: &FunctionConfig,
    reader: &mut Reader<'_, '_>,
    declared: &[&str],
    registered: Registered<'_>,
) {
    let at = elements::function::hub_span(reader);
    reader.must_be_declared(at, &function.hub, declared);
    let Registered::Only(registered) = registered else { return };
    if function.kind == FunctionKind::Rust && !registered.contains(&function.name.as_str()) {
        let at = elements::function::kind_span(reader);
        let message =
            format!("kind = \"rust\", but this program registers no function \"{}\"", function.name);
        let names = if registered.is_empty() { "there are none".to_owned() } else { listed(registered) };
        let nearest = suggest(function.name.as_str(), registered);
        let help = format!("{nearest}\nregistered functions: {names}\nregister it with Program::function");
        reader.missing(at, &message, help.trim_start());
    }
}
