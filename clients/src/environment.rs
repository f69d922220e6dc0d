//! The environments of the clients: installed once from their lock files, and kept.
//!
//! An environment's directory is named after its lock file's content, so that several trees can share one cache, and is
//! used only once it is complete. Only the Rust client's is named plainly: cargo finds out by itself what is old, and keeps
//! others away while it builds.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::{Suite, directory};

/// A tool that a suite needs and this machine lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingTool {
    tool: &'static str,
    install: &'static str,
}

impl fmt::Display for MissingTool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tool, install } = self;
        write!(formatter, "{tool} cannot be found (on Debian: apt-get install {install})")
    }
}

/// What Azurite needs and this machine lacks.
pub(crate) fn missing_for_azurite() -> Option<MissingTool> {
    missing(Suite::JavaScript)
}

/// What schemathesis needs and this machine lacks.
pub(crate) fn missing_for_contract() -> Option<MissingTool> {
    missing_python()
}

/// The first tool that a suite needs and this machine lacks.
pub(crate) fn missing(suite: Suite) -> Option<MissingTool> {
    let node = || !works("node", &["-e", "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)"]);
    let npm = || !works("npm", &["--version"]);
    // The Python suite keeps its checkpoints in Azurite, which is a Node program.
    if let (Suite::Python, Some(missing)) = (suite, missing_python()) {
        return Some(missing);
    }
    if suite != Suite::Rust && node() {
        return Some(MissingTool { tool: "node, version 20 or newer", install: "nodejs" });
    }
    if suite != Suite::Rust && npm() {
        return Some(MissingTool { tool: "npm", install: "npm" });
    }
    None
}

fn missing_python() -> Option<MissingTool> {
    let check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
    let missing =
        MissingTool { tool: "python3, version 3.11 or newer, with venv", install: "python3 python3-venv" };
    (!works("python3", &["-c", check])).then_some(missing)
}

fn works(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The directory of all environments.
pub(crate) struct Environments {
    cache: PathBuf,
}

impl Environments {
    pub(crate) fn open(cache: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
        Ok(Self { cache: cache.canonicalize()? })
    }

    /// The virtual environment of the Python client.
    pub(crate) fn python(&self) -> anyhow::Result<PathBuf> {
        self.virtual_environment("python")
    }

    /// The virtual environment of schemathesis.
    pub(crate) fn contract(&self) -> anyhow::Result<PathBuf> {
        self.virtual_environment("contract")
    }

    fn virtual_environment(&self, name: &str) -> anyhow::Result<PathBuf> {
        let lock = directory().join(name).join("requirements.lock");
        self.installed(name, &lock, |environment| {
            succeed(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
            succeed(
                Command::new(environment.join("bin/python"))
                    .args([
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--disable-pip-version-check",
                        "--require-hashes",
                    ])
                    .arg("--requirement")
                    .arg(&lock),
            )
        })
    }

    /// The directory with the `node_modules` of the JavaScript client and of Azurite.
    pub(crate) fn javascript(&self) -> anyhow::Result<PathBuf> {
        let lock = directory().join("javascript/package-lock.json");
        self.installed("javascript", &lock, |environment| {
            std::fs::create_dir_all(environment)?;
            std::fs::copy(&lock, environment.join("package-lock.json"))?;
            std::fs::copy(directory().join("javascript/package.json"), environment.join("package.json"))?;
            let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
            succeed(Command::new("npm").args(install).current_dir(environment))
        })
    }

    /// Builds the tests of the Rust client.
    pub(crate) fn rust(&self) -> anyhow::Result<()> {
        succeed(self.rust_tests().args(["--quiet", "--no-run"]))
    }

    /// The command that runs the tests of the Rust client.
    pub(crate) fn rust_tests(&self) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["test", "--locked", "--manifest-path"]).arg(directory().join("rust/Cargo.toml"));
        command.env("CARGO_TARGET_DIR", self.cache.join("rust"));
        command
    }

    /// The environment of a suite if it is complete.
    pub(crate) fn prepared(&self, suite: Suite) -> anyhow::Result<Option<PathBuf>> {
        let environment = match suite {
            Suite::Python => self.named("python", &directory().join("python/requirements.lock"))?,
            Suite::JavaScript => {
                self.named("javascript", &directory().join("javascript/package-lock.json"))?
            }
            Suite::Rust => return Ok(None),
        };
        Ok(environment.join("complete").is_file().then_some(environment))
    }

    /// Where the environment of a lock file is, or will be.
    fn named(&self, name: &str, lock: &Path) -> anyhow::Result<PathBuf> {
        let content = std::fs::read(lock).with_context(|| format!("cannot read {}", lock.display()))?;
        let digest: String =
            Sha256::digest(&content).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Ok(self.cache.join(format!("{name}-{digest}")))
    }

    /// The environment of a lock file, made by `install` if it is not there or not complete.
    fn installed(
        &self,
        name: &str,
        lock: &Path,
        install: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let environment = self.named(name, lock)?;
        let complete = environment.join("complete");
        // Of all who want it one installs it, and the others wait for that one.
        let turn = File::create(self.cache.join(format!("{name}.lock")))?;
        turn.lock().with_context(|| format!("cannot lock the environment of the {name} client"))?;
        if complete.is_file() {
            return Ok(environment);
        }
        eprintln!("installing the {name} client, once: {}", environment.display());
        if environment.exists() {
            std::fs::remove_dir_all(&environment)?;
        }
        install(&environment).with_context(|| {
            format!(
                "the {name} client cannot be installed, which takes a package registry that can be reached"
            )
        })?;
        std::fs::write(&complete, b"")?;
        Ok(environment)
    }
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
