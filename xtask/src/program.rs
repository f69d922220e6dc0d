//! The program itself, built for whoever runs it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

/// How it is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As tests run it.
    Dev,
    /// As users run it.
    Release,
}

/// The one that was named, else one that is built now.
pub(crate) fn named_or_built(named: Option<&PathBuf>, profile: Profile) -> anyhow::Result<PathBuf> {
    match named {
        Some(program) => program.canonicalize().with_context(|| format!("there is no {}", program.display())),
        None => built(profile),
    }
}

fn built(profile: Profile) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--locked", "--package", "tidegate", "--bin", "tidegate"]);
    build.args(["--message-format", "json"]);
    if profile == Profile::Release {
        build.arg("--release");
    }
    let output = build.stderr(std::process::Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the program does not build");
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut executables = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    executables.next_back().context("cargo did not say where the program is")
}
