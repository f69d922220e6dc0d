//! Holds the program to its OpenAPI document, with schemathesis.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tidegate_clients::{Ended, contract};

use crate::program::{Profile, named_or_built};

#[derive(Args)]
pub(crate) struct Contract {
    /// The program to ask, instead of building it.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// For schemathesis' own command line, such as `-- --include-path /api/v1/overview`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn hold(options: &Contract) -> anyhow::Result<ExitCode> {
    let program = named_or_built(options.program.as_ref(), Profile::Dev)?;
    match contract(&program, &options.arguments)? {
        Ended::Passed => Ok(ExitCode::SUCCESS),
        Ended::Failed => Ok(ExitCode::FAILURE),
        Ended::Missing(tool) => {
            eprintln!("{tool}");
            Ok(ExitCode::FAILURE)
        }
    }
}
