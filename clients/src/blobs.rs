//! Blob storage for checkpoints: Azurite, which is Azure Storage's own emulator.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};

/// The account that every emulator has, and its key, which is published: it opens nothing else.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running Azurite, in memory.
pub(crate) struct Blobs {
    child: Child,
    // Kept open: it would otherwise find its standard output closed.
    _stdout: BufReader<ChildStdout>,
    endpoint: String,
}

impl Blobs {
    /// Starts it on a free port. `environment` has the `node_modules` that Azurite is in.
    pub(crate) fn start(environment: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("node");
        command.arg(environment.join("node_modules/azurite/dist/src/blob/main.js"));
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
        Ok(Self { child, _stdout: stdout, endpoint })
    }

    pub(crate) fn connection_string(&self) -> String {
        let endpoint = &self.endpoint;
        format!(
            "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint}/{ACCOUNT};"
        )
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // Nothing more can be done about a process that cannot be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
