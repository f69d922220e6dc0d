//! The configuration: one TOML file, read strictly. Everything that is wrong with it is reported at once, with the line,
//! the right names and an example; nothing that it says is ignored.

pub mod elements;
mod issue;
mod key;
mod reader;
pub mod reference;
mod value;

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Item, Table};

use tidegate_model::checkpoint::FunctionName;
use tidegate_model::error::ErrorCode;
use tidegate_model::event::{HubName, InvalidName};

pub use elements::alerts::AlertsConfig;
pub use elements::email::EmailConfig;
pub use elements::function::{FunctionConfig, FunctionKind, UpsertConfig};
pub use elements::http::HttpConfig;
pub use elements::hub::HubConfig;
pub use elements::processor::ProcessorConfig;
pub use elements::secret::SecretSource;
pub use elements::webhook::WebhookConfig;

use crate::failure::Failure;
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
    /// The functions, ordered by name.
    pub functions: Vec<FunctionConfig>,
    /// When a person is told.
    pub alerts: AlertsConfig,
    /// The people who are told, ordered by name.
    pub emails: Vec<EmailConfig>,
    /// The programs that are told, ordered by name.
    pub webhooks: Vec<WebhookConfig>,
    /// The HTTP front door.
    pub http: HttpConfig,
    /// What all functions share.
    pub processor: ProcessorConfig,
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
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// All problems of the file.
    pub fn load(path: &Path, registered: Registered<'_>) -> Result<LoadedConfig, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot read the configuration {}: {error}", path.display());
            Failure::usage(ErrorCode::CONFIG_SYNTAX, message)
                .help("give the path of a TOML file in UTF-8 with --config FILE; `tidegate config sample` prints one")
        })?;
        let mut config = Self::parse(&text, &path.display().to_string(), registered)?;
        config.seen_from(path.parent().unwrap_or(Path::new("")));
        Ok(LoadedConfig { config, path: path.to_owned() })
    }

    /// Reads a text; `origin` is what messages call it.
    ///
    /// # Errors
    /// All problems of the text.
    pub fn parse(text: &str, origin: &str, registered: Registered<'_>) -> Result<Self, Failure> {
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
        match (issues.into_failure(), config) {
            (Some(failure), _) => Err(failure),
            (None, Some(config)) => Ok(config),
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
        for webhook in &mut self.webhooks {
            let headers = webhook.headers.iter_mut().map(|(_, value)| value);
            webhook.secret.iter_mut().chain(headers).for_each(|secret| secret.seen_from(directory));
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

const TABLES: [&str; 7] = ["hub", "function", "alerts", "email", "webhook", "http", "processor"];

fn read_document(root: &Table, registered: Registered<'_>, issues: &mut Issues<'_>) -> Option<Config> {
    for (name, item) in root {
        if !TABLES.contains(&name) {
            let at = root.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
            unknown(issues, at, &format!("table or key `{name}`"), name, &TABLES, "tables");
        }
    }
    let declared: Vec<&str> = root
        .get("hub")
        .and_then(Item::as_table_like)
        .into_iter()
        .flat_map(|hubs| hubs.iter())
        .map(|(name, _)| name)
        .collect();

    let hubs = read_named(root, "hub", &elements::hub::ELEMENT, issues, |name, reader| {
        HubName::new(name).map(|name| elements::hub::read(name, reader))
    });
    let functions = read_named(root, "function", &elements::function::ELEMENT, issues, |name, reader| {
        let name = FunctionName::new(name)?;
        let function = elements::function::read(name, reader);
        if let Some(function) = &function {
            check_references(function, reader, &declared, registered);
        }
        Ok(function)
    });
    refuse_twin_hubs(root, &declared, issues);
    refuse_reserved_hub(root, issues);
    let alerts = read_single(root, "alerts", &elements::alerts::ELEMENT, issues, elements::alerts::read);
    let emails = read_named(root, "email", &elements::email::ELEMENT, issues, |name, reader| {
        Ok(elements::email::read(name, reader))
    });
    let webhooks = read_named(root, "webhook", &elements::webhook::ELEMENT, issues, |name, reader| {
        Ok(elements::webhook::read(name, reader))
    });
    let http = read_single(root, "http", &elements::http::ELEMENT, issues, elements::http::read);
    let processor =
        read_single(root, "processor", &elements::processor::ELEMENT, issues, elements::processor::read);
    Some(Config {
        hubs: hubs?,
        functions: functions?,
        alerts: alerts?,
        emails: emails?,
        webhooks: webhooks?,
        http: http?,
        processor: processor?,
    })
}

/// Clients tell hubs apart without regard to case, so two hubs must differ in more.
fn refuse_twin_hubs(root: &Table, declared: &[&str], issues: &mut Issues<'_>) {
    for (place, name) in declared.iter().enumerate() {
        if let Some(twin) = declared[..place].iter().find(|twin| twin.eq_ignore_ascii_case(name)) {
            let hubs = root.get("hub").and_then(Item::as_table_like);
            let at = hubs.and_then(|hubs| hubs.key(name)).and_then(toml_edit::Key::span);
            let message = format!("[hub.{name}] and [hub.{twin}] differ only in the case of their letters");
            issues.add(
                at,
                ErrorCode::CONFIG_BAD_VALUE,
                message,
                "clients could not tell them apart: rename one",
            );
        }
    }
}

/// The links in mails are at `/restart/…`, where a hub of that name would be published to.
fn refuse_reserved_hub(root: &Table, issues: &mut Issues<'_>) {
    let hubs = root.get("hub").and_then(Item::as_table_like);
    if let Some(key) = hubs.and_then(|hubs| hubs.key("restart")) {
        let message = "[hub.restart]: this name is taken by the links in mails, which begin with /restart/";
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

/// Holds what a function names to what exists.
fn check_references(
    function: &FunctionConfig,
    reader: &mut Reader<'_, '_>,
    declared: &[&str],
    registered: Registered<'_>,
) {
    if !declared.contains(&function.hub.as_str()) {
        let at = elements::function::hub_span(reader);
        let message = format!("`hub` is \"{}\", which is not declared", function.hub);
        let hubs = if declared.is_empty() { "there are none".to_owned() } else { listed(declared) };
        let nearest = suggest(function.hub.as_str(), declared);
        let help =
            format!("{nearest}\ndeclared hubs: {hubs}\ndeclare it with a table [hub.{}]", function.hub);
        reader.missing(at, &message, help.trim_start());
    }
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
