//! Runs the official clients of Event Hubs against the program.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use tidegate_clients::{Suite, prepare, run_all};

#[derive(Args)]
pub(crate) struct Clients {
    /// Which client.
    #[arg(value_enum, default_value_t = Which::All)]
    which: Which,
    /// The program to run them against, instead of building it.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Installs what the suites need and runs nothing.
    #[arg(long)]
    prepare: bool,
    /// For the suite's own runner, to choose tests: `-- -k epoch` (python), `-- --test-name-pattern=epoch` (javascript),
    /// `-- epoch` (rust).
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Python,
    #[value(name = "javascript")]
    JavaScript,
    Rust,
    All,
}

impl Which {
    fn suites(self) -> &'static [Suite] {
        match self {
            Self::Python => &[Suite::Python],
            Self::JavaScript => &[Suite::JavaScript],
            Self::Rust => &[Suite::Rust],
            Self::All => &Suite::ALL,
        }
    }
}

pub(crate) fn clients(options: &Clients) -> anyhow::Result<ExitCode> {
    let suites = options.which.suites();
    if options.prepare {
        for suite in suites {
            if let Some(missing) = prepare(*suite)? {
                eprintln!("{}: {missing}", suite.name());
                return Ok(ExitCode::FAILURE);
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let program = match &options.program {
        Some(program) => {
            program.canonicalize().with_context(|| format!("there is no {}", program.display()))?
        }
        None => built_program()?,
    };
    run_all(suites, &program, &options.arguments)
}

/// Builds the program as tests run it.
fn built_program() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build =
        ["build", "--locked", "--package", "tidegate", "--bin", "tidegate", "--message-format", "json"];
    let output = Command::new(cargo).args(build).stderr(std::process::Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the program does not build");
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut executables = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    executables.next_back().context("cargo did not say where the program is")
}
