//! Runs the official clients of Event Hubs against the program.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tidegate_clients::{Suite, prepare, run_all};

use crate::program::{Profile, named_or_built};

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
    let program = named_or_built(options.program.as_ref(), Profile::Dev)?;
    run_all(suites, &program, &options.arguments)
}
