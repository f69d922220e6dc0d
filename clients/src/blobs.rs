//! Blob storage for checkpoints: Azurite, which is Azure Storage's own emulator.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};

use crate::environment::{self, Environments, MissingTool};

/// The account that every emulator has, and its key, which is published: it opens nothing else.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running Azurite that keeps its blobs in memory. It is ended when dropped.
pub struct Azurite {
    child: Child,
    // Kept open: it would otherwise find its standard output closed.
    _stdout: BufReader<ChildStdout>,
    endpoint: String,
    modules: PathBuf,
}

impl Azurite {
    /// Starts it on a free port, from the packages of the JavaScript client, which are installed if they are not there.
    ///
    /// # Errors
    /// When it cannot be installed or started. `Ok(Err(_))` says what this machine lacks.
    pub fn start() -> anyhow::Result<Result<Self, MissingTool>> {
        if let Some(missing) = environment::missing_for_azurite() {
            return Ok(Err(missing));
        }
        Self::start_from(&Environments::open(&crate::cache())?.javascript()?).map(Ok)
    }

    /// The same for a test: where a tool is missing, it says so and gives `None`, and the test cannot be run.
    ///
    /// # Panics
    /// When it cannot be installed or started; and where `CI` is set, when a tool is missing.
    pub fn for_test() -> Option<Self> {
        match Self::start().expect("Azurite") {
            Ok(azurite) => Some(azurite),
            Err(missing) => {
                assert!(std::env::var_os("CI").is_none(), "{missing}");
                eprintln!("\nNOT RUN: a test with Azurite: {missing}\n");
                None
            }
        }
    }

    /// Starts it on a free port. `environment` has the `node_modules` that Azurite is in.
    pub(crate) fn start_from(environment: &Path) -> anyhow::Result<Self> {
        let modules = environment.join("node_modules");
        let mut command = Command::new("node");
        command.arg(modules.join("azurite/dist/src/blob/main.js"));
        command.args([
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            "0",
            "--inMemoryPersistence",
            "--disableTelemetry",
        ]);
        // It may be older than the version of the interface that the clients speak.
        command.args(["--silent", "--skipApiVersionCheck"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("Azurite cannot be started")?;
        let mut stdout = BufReader::new(child.stdout.take().context("its standard output")?);
        let mut said = String::new();
        let endpoint = loop {
            let mut line = String::new();
            if stdout.read_line(&mut line)? == 0 {
                bail!("Azurite ended before it listened: {said}");
            }
            if let Some((_, endpoint)) = line.split_once("successfully listens on ") {
                break endpoint.trim().to_owned();
            }
            said.push_str(&line);
        };
        Ok(Self { child, _stdout: stdout, endpoint, modules })
    }

    /// Where the packages are that were installed with it: those of the JavaScript client.
    pub fn modules(&self) -> &Path {
        &self.modules
    }

    /// How clients get in.
    pub fn connection_string(&self) -> String {
        let endpoint = &self.endpoint;
        format!(
            "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint}/{ACCOUNT};"
        )
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        // Nothing more can be done about a process that cannot be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
