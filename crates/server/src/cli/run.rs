//! `tidegate run`: the server.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use serde::Serialize;

use tidegate_api::Setting;
use tidegate_model::error::ErrorCode;

use crate::cli::Context;
use crate::cli::output::{Output, quoted};
use crate::config::effective;
use crate::config::{Config, DevelopmentKey, FunctionKind, LoadedConfig, Registered};
use crate::data_dir;
use crate::failure::{Exit, Failure};
use crate::run::{Options, Started, find_config, serve};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration [default: tidegate.toml in the data directory, else in the current directory]. One whose name
    /// ends in .json is the Event Hubs emulator's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The configuration of the Event Hubs emulator, Config.json, instead.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    emulator_config: Option<PathBuf>,
    /// The data directory.
    #[arg(long, value_name = "DIR", env = "TIDEGATE_DATA_DIR", hide_env_values = true, default_value = data_dir::DEFAULT)]
    data_dir: PathBuf,
    /// Keep the data in a temporary directory instead, which is removed at the end.
    #[arg(long)]
    ephemeral: bool,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8780, or as configured].
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Where to listen for clients of Event Hubs; port 0 takes a free one [default: nowhere, or as configured].
    #[arg(long, value_name = "ADDR")]
    amqp: Option<SocketAddr>,
    /// Whether the emulator's key is taken, which everybody knows: SAS_KEY_VALUE [default: off, or as configured].
    #[arg(long, value_name = "WHERE")]
    development_key: Option<DevelopmentKey>,
    /// Make a link that signs you in on the page, once and within 15 minutes. On a terminal it is made anyway.
    #[arg(long)]
    sign_in_link: bool,
    /// Print one JSON object once work is accepted, and nothing else.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct StartedJson<'a> {
    http: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    console: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sign_in_link: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amqp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_string: Option<String>,
    data_dir: &'a Path,
    pid: u32,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let LoadedConfig { mut config, path, notes, mut settings, .. } = load(&args, &context)?;
    say_what_is_overridden(&args, &mut settings);
    for note in notes {
        tracing::warn!("{note}");
    }
    config.amqp.listen = args.amqp.or(config.amqp.listen);
    config.amqp.development_key = args.development_key.unwrap_or(config.amqp.development_key);
    // Kept until the end: dropping it removes the directory.
    let temporary = match args.ephemeral {
        true => Some(temporary_directory()?),
        false => None,
    };
    let data_dir = temporary.as_ref().map_or(args.data_dir, |directory| directory.path().to_owned());
    let listen = args.http.unwrap_or(config.http.listen);
    let announce = {
        let (config, data_dir) = (config.clone(), data_dir.clone());
        move |started: &Started<'_>| announce(started, &config, &path, &data_dir, args.json)
    };
    // A link belongs to whoever looks; in a file or a log it would lie about.
    let offers_sign_in = args.sign_in_link || (!args.json && std::io::stdout().is_terminal());
    let options = Options { config, data_dir, listen, settings, offers_sign_in };
    let result = serve(options, &context.registry, context.clock, announce).await;
    if let Some(temporary) = temporary
        && let Err(error) = temporary.close()
    {
        tracing::warn!(%error, "the temporary data directory could not be removed");
    }
    result
}

/// What the command line says instead of the configuration.
fn say_what_is_overridden(args: &Args, settings: &mut Vec<Setting>) {
    let mut overridden = |table, key, value: Option<String>, option| {
        if let Some(value) = value {
            effective::overridden(settings, table, key, format!("\"{value}\""), option);
        }
    };
    overridden("[http]", "listen", args.http.map(|address| address.to_string()), "--http");
    overridden("[amqp]", "listen", args.amqp.map(|address| address.to_string()), "--amqp");
    let key = args.development_key.and_then(|key| Some(key.to_possible_value()?.get_name().to_owned()));
    overridden("[amqp]", "development_key", key, "--development-key");
}

fn load(args: &Args, context: &Context) -> Result<LoadedConfig, Failure> {
    if let Some(path) = &args.emulator_config {
        return Config::load_emulator(path);
    }
    match find_config(args.config.as_deref(), &args.data_dir) {
        Some(path) => Config::load(&path, Registered::Only(&context.registry.names())),
        None => Err(Failure::usage(
            ErrorCode::CONFIG_MISSING,
            format!("there is no configuration: neither {} nor ./tidegate.toml exists", args.data_dir.join("tidegate.toml").display()),
        )
        .help(
            "begin with a sample: tidegate config sample > tidegate.toml\nor name a file with --config FILE\nto look around \
             first: tidegate demo",
        )),
    }
}

fn temporary_directory() -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new().prefix("tidegate-").tempdir().map_err(|error| {
        Failure::new(ErrorCode::DATA_DIR_IO, format!("cannot make a temporary directory: {error}"))
            .help("name a directory with --data-dir DIR")
    })
}

/// How many hubs are named at the start.
const MOST_HUBS: usize = 20;

fn announce(
    started: &Started<'_>,
    config: &Config,
    config_path: &Path,
    data_dir: &Path,
    json: bool,
) -> Result<(), Failure> {
    let mut output = Output::new(json);
    let address = started.address;
    let amqp = address.amqp.as_deref();
    let connection_string = started.connection_string.as_ref().map(|string| string.reveal());
    let console = config.console.enabled.then(|| format!("{}/", address.http));
    if json {
        let pid = address.pid;
        output.object(&StartedJson {
            http: &address.http,
            console,
            sign_in_link: started.sign_in_link.as_deref(),
            amqp,
            connection_string,
            data_dir,
            pid,
        })?;
        return output.finish(&[]);
    }
    output.heading(&format!("tidegate {} is running", env!("CARGO_PKG_VERSION")))?;
    if let Some(console) = console {
        output.line(&format!("  console   {console}    open it in a browser"))?;
    }
    if let Some(link) = &started.sign_in_link {
        output.line(&format!("  sign in   {}", link))?;
        output.line("            as an operator; the link works once and for 15 minutes")?;
    }
    output.line(&format!("  http      {}", address.http))?;
    if let Some(amqp) = amqp {
        output.line(&format!("  amqp      {amqp}"))?;
    }
    output.line(&format!("  data      {}", data_dir.display()))?;
    output.line(&format!("  config    {}", config_path.display()))?;
    for (hub, partitions) in started.hubs.iter().take(MOST_HUBS) {
        output.line(&format!("  hub       {hub} ({partitions} partitions)"))?;
    }
    if let Some(more) = started.hubs.len().checked_sub(MOST_HUBS).filter(|more| *more > 0) {
        output.line(&format!("            and {more} more; see `tidegate hubs`"))?;
    }
    for function in &config.functions {
        output.line(&format!("  function  {} on {}", function.name, function.hub))?;
    }
    for email in &config.emails {
        output.line(&format!("  told      {} by mail: {}", email.name, email.to.join(", ")))?;
    }
    for webhook in &config.webhooks {
        output.line(&format!("  told      {} by webhook", webhook.name))?;
    }
    if started.hubs.is_empty() {
        output
            .line("  there is no hub: nothing can be published; make one with `tidegate hubs create NAME`")?;
    }
    if let Some(connection_string) = connection_string {
        output.line("\nfor clients of Event Hubs (the key opens everything; keep it to yourself):")?;
        output.line(&format!("  {connection_string}"))?;
    }
    output.line("\ntry in another terminal:")?;
    for command in examples(config, data_dir) {
        output.line(&format!("  {command}"))?;
    }
    output.line("\nstop with Ctrl-C")?;
    output.finish(&[])
}

/// Commands that work with this configuration as they are.
fn examples(config: &Config, data_dir: &Path) -> Vec<String> {
    let options = match data_dir.as_os_str() == data_dir::DEFAULT {
        true => String::new(),
        false => format!(" --data-dir {}", quoted(data_dir)),
    };
    let mut commands = Vec::new();
    let upsert = config.functions.iter().find_map(|function| match &function.kind {
        FunctionKind::Upsert(settings) => Some((function, settings)),
        FunctionKind::Rust => None,
    });
    match (upsert, config.hubs.first()) {
        (Some((function, settings)), _) => {
            let key = settings.upsert.key.as_str();
            let hub = &function.hub;
            let example = example_event(key);
            commands.push(format!("echo '{example}' | tidegate send {hub} --key {key}{options}"));
            commands.push(format!("tidegate documents list {}{options}", settings.collection));
        }
        (None, Some(hub)) => {
            commands.push(format!("echo '{{\"id\":\"a\"}}' | tidegate send {}{options}", hub.name))
        }
        (None, None) => {}
    }
    commands.push(format!("tidegate audit{options}"));
    if config.console.enabled {
        commands.push(format!("tidegate tokens sign-in-link{options}"));
    }
    commands
}

/// A JSON object with a value at a pointer.
fn example_event(pointer: &str) -> String {
    let steps: Vec<String> =
        pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
    let event = steps
        .into_iter()
        .rev()
        .fold(serde_json::Value::from("a1"), |value, step| serde_json::json!({ step: value }));
    event.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_event_has_the_key() {
        assert_eq!(example_event("/icao24"), r#"{"icao24":"a1"}"#);
        assert_eq!(example_event("/device/a~1b"), r#"{"device":{"a/b":"a1"}}"#);
    }
}
