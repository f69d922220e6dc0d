//! The official clients, each in one process, as their users run them: what bounds them is their own work.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tidegate_clients::{Suite, prepared};

use super::server::{HUB, KEY, RULE, Server};

const PYTHON: &str = include_str!("official/telemetry.py");
const JAVASCRIPT: &str = include_str!("official/telemetry.js");

/// What a client did in a second.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct Official {
    pub(crate) name: String,
    pub(crate) sent_per_s: f64,
    pub(crate) received_per_s: f64,
}

/// Measures the clients whose environments there are.
pub(crate) fn measure(server: &Server) -> anyhow::Result<Vec<Official>> {
    let mut measured = Vec::new();
    for suite in [Suite::Python, Suite::JavaScript] {
        match prepared(suite)? {
            Some(environment) => measured.push(one(server, suite, environment)?),
            None => eprintln!(
                "the {} client is not installed; cargo xtask clients {} --prepare installs it",
                suite.name(),
                suite.name()
            ),
        }
    }
    Ok(measured)
}

fn one(server: &Server, suite: Suite, environment: PathBuf) -> anyhow::Result<Official> {
    let endpoint = format!("sb://localhost:{}", server.address.port());
    let connection = format!(
        "Endpoint={endpoint};SharedAccessKeyName={RULE};SharedAccessKey={KEY};UseDevelopmentEmulator=true"
    );
    let mut command = match suite {
        Suite::JavaScript => {
            let mut command = Command::new("node");
            command.args(["-e", JAVASCRIPT]).env("NODE_PATH", environment.join("node_modules"));
            command
        }
        _ => {
            let mut command = Command::new(environment.join("bin/python"));
            command.args(["-c", PYTHON]);
            command
        }
    };
    command.env("TIDEGATE_CONNECTION_STRING", connection).env("TIDEGATE_HUB", HUB);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    anyhow::ensure!(output.status.success(), "the {} client failed: {}", suite.name(), output.status);
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the {} client printed no result", suite.name()))
}
