//! Runs the official clients of Event Hubs, unmodified, against the program.
//!
//! Each client has a suite in its own language, in the directory of that name, with that language's usual test runner.
//! What is here prepares a suite's environment from its lock file (`environment`), starts servers of its own for it
//! (`server`), lets it end and start one of them as it needs (`control`), and gives it blob storage for checkpoints
//! (`blobs`). A suite finds all of it in environment variables:
//!
//! | variable | what it is |
//! |---|---|
//! | `TIDEGATE_CONNECTION_STRING` | the connection string of the root key, without a hub |
//! | `TIDEGATE_HTTP` | the address of the HTTP door |
//! | `TIDEGATE_RESTARTED` | the connection string of another server, which may be ended and started |
//! | `TIDEGATE_CONTROL` | where one line `kill`, `stop` or `start` is answered with one line when that server has done it |
//! | `TIDEGATE_KEYS` | a JSON object: the names and the values of the keys that may less than everything |
//! | `TIDEGATE_TLS` | the host and port of a third server's AMQP door, which is encrypted |
//! | `TIDEGATE_CERTIFICATE` | the file with the certificate of that door |
//! | `TIDEGATE_BLOBS` | the connection string of the blob storage, where the suite needs one |

mod blobs;
mod contract;
mod control;
mod environment;
mod server;

use std::io::{BufRead as _, BufReader, PipeReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::Context;

pub use blobs::Azurite;
pub use contract::contract;
pub use environment::MissingTool;

use control::Control;
use environment::Environments;
use server::{Server, Tls};

/// The suite of one official client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `azure-eventhub`, sync and async, with its checkpoint stores.
    Python,
    /// `@azure/event-hubs`, with its checkpoint store.
    JavaScript,
    /// `azure_messaging_eventhubs`.
    Rust,
}

impl Suite {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Python, Self::JavaScript, Self::Rust];

    /// Its name, which is also the name of its directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::Rust => "rust",
        }
    }
}

/// How a suite ended.
#[derive(Debug)]
pub enum Ended {
    /// Every test passed.
    Passed,
    /// A test failed; the suite has said which.
    Failed,
    /// It could not be run here.
    Missing(MissingTool),
}

/// How what a suite says is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// As it says it.
    AsItIs,
    /// Line by line, each after the suite's name, as others are run at the same time.
    BesideOthers,
}

/// The directory that this package is in.
fn directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where environments are kept: `TIDEGATE_CLIENTS_CACHE`, else in the target directory of this tree.
fn cache() -> PathBuf {
    match std::env::var_os("TIDEGATE_CLIENTS_CACHE") {
        Some(path) => path.into(),
        None => directory().join("../target/clients"),
    }
}

/// Prepares the environment of a suite, which may take minutes the first time, and nothing the next.
///
/// # Errors
/// When something cannot be installed. `Ok(Some(_))` says what this machine lacks.
pub fn prepare(suite: Suite) -> anyhow::Result<Option<MissingTool>> {
    prepare_in(&Environments::open(&cache())?, suite)
}

/// The environment of a suite that was prepared before: a Python virtual environment, or the directory that
/// `node_modules` is in. `None` when it was not, and for Rust, whose suite needs none.
///
/// # Errors
/// When the cache cannot be read.
pub fn prepared(suite: Suite) -> anyhow::Result<Option<PathBuf>> {
    Environments::open(&cache())?.prepared(suite)
}

fn prepare_in(environments: &Environments, suite: Suite) -> anyhow::Result<Option<MissingTool>> {
    if let Some(missing) = environment::missing(suite) {
        return Ok(Some(missing));
    }
    match suite {
        Suite::Python => {
            environments.python()?;
            environments.javascript()?;
        }
        Suite::JavaScript => drop(environments.javascript()?),
        Suite::Rust => environments.rust()?,
    }
    Ok(None)
}

/// Runs a suite against `program` and shows what it says. `arguments` are for the suite's own runner, to choose tests.
///
/// # Errors
/// When the suite could not be run, for another reason than a tool that is missing.
pub fn run(suite: Suite, program: &Path, arguments: &[String], shown: Shown) -> anyhow::Result<Ended> {
    let environments = Environments::open(&cache())?;
    if let Some(missing) = prepare_in(&environments, suite)? {
        return Ok(Ended::Missing(missing));
    }
    let blobs = match suite {
        Suite::Python | Suite::JavaScript => Some(Azurite::start_from(&environments.javascript()?)?),
        Suite::Rust => None,
    };
    let (server, encrypted) = (Server::start(program, Tls::Off)?, Server::start(program, Tls::On)?);
    let restarted = Server::start(program, Tls::Off)?;
    let mut command = command(&environments, suite, arguments)?;
    command.stdin(Stdio::null()).env("TIDEGATE_CONNECTION_STRING", &server.addresses().connection_string);
    command.env("TIDEGATE_HTTP", &server.addresses().http).env("TIDEGATE_KEYS", server::keys_as_json());
    command.env("TIDEGATE_RESTARTED", &restarted.addresses().connection_string);
    command.env("TIDEGATE_TLS", encrypted.addresses().amqp_socket());
    command.env("TIDEGATE_CERTIFICATE", encrypted.certificate());
    match suite {
        Suite::Python => {}
        Suite::JavaScript => drop(command.env("NODE_EXTRA_CA_CERTS", encrypted.certificate())),
        Suite::Rust => drop(command.env("SSL_CERT_FILE", encrypted.certificate())),
    }
    if let Some(blobs) = &blobs {
        command.env("TIDEGATE_BLOBS", blobs.connection_string());
    }
    let control = Control::start(restarted)?;
    command.env("TIDEGATE_CONTROL", control.address());
    let status = status_of(command, suite, shown)
        .with_context(|| format!("the {} suite cannot be started", suite.name()))?;
    let restarted = control.stop()?;
    if status.success() {
        return Ok(Ended::Passed);
    }
    for (which, server) in
        [("server", &server), ("server with TLS", &encrypted), ("restarted server", &restarted)]
    {
        eprintln!("the end of what the {which} logged:\n{}\n", server.log());
    }
    Ok(Ended::Failed)
}

/// Runs the command of a suite to its end.
fn status_of(mut command: Command, suite: Suite, shown: Shown) -> std::io::Result<ExitStatus> {
    if shown == Shown::AsItIs {
        return command.status();
    }
    let (said, says) = std::io::pipe()?;
    command.stdout(says.try_clone()?).stderr(says);
    let mut child = command.spawn()?;
    // It has this process' ends of the pipe, which ends when all of them are closed.
    drop(command);
    show(said, suite)?;
    child.wait()
}

/// Shows line by line what a suite says, until it says no more.
fn show(said: PipeReader, suite: Suite) -> std::io::Result<()> {
    let mut said = BufReader::new(said);
    let mut line = Vec::new();
    while said.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        // One write: lines of others come before it or after it.
        let shown = format!("{:>10} │ {}\n", suite.name(), text.trim_end());
        std::io::stderr().lock().write_all(shown.as_bytes())?;
        line.clear();
    }
    Ok(())
}

/// The command that runs a suite in its environment.
fn command(environments: &Environments, suite: Suite, arguments: &[String]) -> anyhow::Result<Command> {
    let suite_directory = directory().join(suite.name());
    let mut command = match suite {
        Suite::Python => {
            let mut command = Command::new(environments.python()?.join("bin/python"));
            command.args(["-m", "pytest"]).env("PYTHONDONTWRITEBYTECODE", "1");
            command
        }
        Suite::JavaScript => {
            let mut command = Command::new("node");
            command.args(["--test", "--test-concurrency=4", "--test-reporter=spec"]);
            // The packages are not beside the suite.
            command.env("NODE_PATH", environments.javascript()?.join("node_modules"));
            command
        }
        Suite::Rust => {
            let mut command = environments.rust_tests();
            // A test that waits for its turn at a hub takes a thread as well.
            command.args(["--", "--test-threads=64"]);
            command
        }
    };
    command.args(arguments).current_dir(&suite_directory);
    if suite == Suite::JavaScript {
        let files = std::fs::read_dir(suite_directory.join("suite")).context("the JavaScript suite")?;
        let mut files = files.map(|file| file.map(|file| file.path())).collect::<Result<Vec<_>, _>>()?;
        files.retain(|file| file.to_string_lossy().ends_with(".test.js"));
        files.sort();
        command.args(files);
    }
    Ok(command)
}

/// Runs several suites one after the other, says how each ended, and gives the exit code for all.
///
/// # Errors
/// As for [`run`].
pub fn run_all(suites: &[Suite], program: &Path, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut endings = Vec::new();
    for suite in suites {
        println!("\n── the official {} client", suite.name());
        let ended = run(*suite, program, arguments, Shown::AsItIs)?;
        if !matches!(ended, Ended::Passed) {
            code = ExitCode::FAILURE;
        }
        endings.push((suite.name(), ended));
    }
    println!();
    for (name, ended) in &endings {
        match ended {
            Ended::Passed => println!("{name}: passed"),
            Ended::Failed => println!("{name}: FAILED"),
            Ended::Missing(tool) => println!("{name}: NOT RUN: {tool}"),
        }
    }
    Ok(code)
}
