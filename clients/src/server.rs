//! The program as a suite uses it: a process with a data directory of its own, on ports that it keeps over a restart.
//!
//! A suite has three: one for most tests, one that it may end, and one whose AMQP door is encrypted.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::directory;

const CONFIG: &str = "tidegate.toml";
const CERTIFICATE: &str = "certificate.pem";
const CERTIFICATE_KEY: &str = "certificate.key";

/// The keys besides the root key: name, right, and the hub that a key is for if it is not for all.
const KEYS: [(&str, &str, Option<&str>); 3] = [
    ("only-sends", "send", None),
    ("only-listens", "listen", None),
    ("only-one-hub", "manage", Some("telemetry")),
];

/// The key of a rule: only these servers know it, so that it need not be secret.
fn key(name: &str) -> String {
    format!("the-key-of-{name}")
}

/// The values of the keys by their names.
pub(crate) fn keys_as_json() -> String {
    let keys: serde_json::Map<String, Value> =
        KEYS.iter().map(|(name, ..)| ((*name).to_owned(), key(name).into())).collect();
    Value::from(keys).to_string()
}

/// Where a server listens.
#[derive(Clone)]
pub(crate) struct Addresses {
    /// The AMQP door, which may be a URL.
    amqp: String,
    /// The HTTP door, as a URL.
    pub(crate) http: String,
    /// The connection string of the root key, without a hub.
    pub(crate) connection_string: String,
}

impl Addresses {
    fn of(started: &Value) -> anyhow::Result<Self> {
        let text = |name: &str| {
            started[name].as_str().with_context(|| format!("the server did not say its {name}: {started}"))
        };
        // A suite names its hubs itself.
        let parts = text("connection_string")?.split(';').filter(|part| !part.starts_with("EntityPath="));
        Ok(Self {
            amqp: text("amqp")?.to_owned(),
            http: text("http")?.to_owned(),
            connection_string: parts.collect::<Vec<_>>().join(";"),
        })
    }

    /// The host and port of the AMQP door.
    pub(crate) fn amqp_socket(&self) -> &str {
        Self::socket(&self.amqp)
    }

    /// The host and port of an address that may be a URL.
    fn socket(address: &str) -> &str {
        address.rsplit('/').next().unwrap_or(address)
    }
}

/// A running server, or one that was ended and can be started again where it was.
pub(crate) struct Server {
    program: PathBuf,
    place: TempDir,
    addresses: Addresses,
    running: Option<Running>,
}

struct Running {
    child: Child,
    // Kept open: the server would otherwise find its standard output closed.
    _stdout: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing more can be done about a process that cannot be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the AMQP door of a server is encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    Off,
    On,
}

impl Server {
    /// Starts a server on free ports and waits until it accepts work.
    pub(crate) fn start(program: &Path, tls: Tls) -> anyhow::Result<Self> {
        let place = tempfile::Builder::new().prefix("tidegate-clients-").tempdir()?;
        let mut config = std::fs::read_to_string(directory().join("tidegate.toml"))?;
        if tls == Tls::On {
            let certified =
                rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
            std::fs::write(place.path().join(CERTIFICATE), certified.cert.pem())?;
            std::fs::write(place.path().join(CERTIFICATE_KEY), certified.signing_key.serialize_pem())?;
            config.push_str(&format!(
                "\n[amqp]\ntls = {{ certificate = \"{CERTIFICATE}\", key = \"{CERTIFICATE_KEY}\" }}\n"
            ));
        }
        std::fs::write(place.path().join(CONFIG), config)?;
        let data = place.path().join("data");
        let root = json!({ "name": "RootManageSharedAccessKey", "key": key("root"), "rights": ["manage"] });
        let others = KEYS.iter().map(|(name, right, hub)| match hub {
            Some(hub) => json!({ "name": name, "key": key(name), "rights": [right], "hub": hub }),
            None => json!({ "name": name, "key": key(name), "rights": [right] }),
        });
        let keys: Vec<Value> = std::iter::once(root).chain(others).collect();
        // The first start makes the data directory, the second one finds the keys in it.
        drop(spawn(program, place.path(), "127.0.0.1:0", "127.0.0.1:0")?);
        std::fs::write(data.join("keys.json"), json!({ "keys": keys }).to_string())?;
        let (running, addresses) = spawn(program, place.path(), "127.0.0.1:0", "127.0.0.1:0")?;
        Ok(Self { program: program.to_owned(), place, addresses, running: Some(running) })
    }

    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The certificate of its AMQP door, if that is encrypted.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.place.path().join(CERTIFICATE)
    }

    /// Ends it as a power cut ends it.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut running) = self.running.take() {
            running.child.kill()?;
            running.child.wait()?;
        }
        Ok(())
    }

    /// Ends it as an operator ends it.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut running) = self.running.take() {
            kill_process(Pid::from_child(&running.child), Signal::TERM)?;
            let status = running.child.wait()?;
            if !status.success() {
                bail!("the server was told to stop and ended with {status}");
            }
        }
        Ok(())
    }

    /// Starts it again, on the same data and the same ports.
    pub(crate) fn start_again(&mut self) -> anyhow::Result<()> {
        if self.running.is_none() {
            let addresses = &self.addresses;
            let (http, amqp) = (Addresses::socket(&addresses.http), Addresses::socket(&addresses.amqp));
            self.running = Some(spawn(&self.program, self.place.path(), http, amqp)?.0);
        }
        Ok(())
    }

    /// The end of what it logged.
    pub(crate) fn log(&self) -> String {
        let log = log_of(self.place.path());
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

fn log_of(place: &Path) -> String {
    let mut log = Vec::new();
    if let Ok(mut file) = File::open(place.join("log")) {
        // What could be read is shown.
        let _ = file.read_to_end(&mut log);
    }
    String::from_utf8_lossy(&log).into_owned()
}

fn spawn(program: &Path, place: &Path, http: &str, amqp: &str) -> anyhow::Result<(Running, Addresses)> {
    let log = File::options().create(true).append(true).open(place.join("log"))?;
    let mut command = Command::new(program);
    command.args(["run", "--json", "--http", http, "--amqp", amqp]);
    command.arg("--config").arg(place.join(CONFIG));
    command.arg("--data-dir").arg(place.join("data"));
    for variable in ["TIDEGATE_DATA_DIR", "TIDEGATE_SERVER", "TIDEGATE_KEY"] {
        command.env_remove(variable);
    }
    command.current_dir(place).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    let mut stdout = BufReader::new(child.stdout.take().context("its standard output")?);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    let running = Running { child, _stdout: stdout };
    match serde_json::from_str::<Value>(&line) {
        Ok(started) => Ok((running, Addresses::of(&started)?)),
        Err(_) => bail!("the server did not start: {line}{}", log_of(place)),
    }
}
