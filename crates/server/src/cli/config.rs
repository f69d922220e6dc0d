//! `tidegate config`: checks or prints a configuration.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::Context;
use crate::cli::output::Output;
use crate::config::{Config, FILE_NAME, Registered, SAMPLE, reference};
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Reads a configuration and says everything that is wrong with it.
    Check {
        /// The file.
        #[arg(default_value = FILE_NAME)]
        file: PathBuf,
    },
    /// Prints everything that holds with a configuration, as a configuration: defaults as comments, no secrets.
    Show {
        /// The file; one whose name ends in .json is the Event Hubs emulator's.
        #[arg(default_value = FILE_NAME)]
        file: PathBuf,
    },
    /// Prints a configuration to begin with.
    Sample,
    /// Prints what can be configured: every table and key.
    Reference,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let mut output = Output::new(false);
    let mut next = Vec::new();
    match args.action {
        Action::Sample => output.line(SAMPLE.trim_end())?,
        Action::Reference => output.line(reference::configuration().trim_end())?,
        Action::Show { file } => {
            let loaded = Config::load(&file, Registered::Only(&context.registry.names()))?;
            output.line(loaded.listing.trim_end())?;
        }
        Action::Check { file } => {
            let loaded = Config::load(&file, Registered::Only(&context.registry.names()))?;
            let (hubs, functions) = (loaded.config.hubs.len(), loaded.config.functions.len());
            for note in &loaded.notes {
                output.line(&format!("note: {note}"))?;
            }
            output.line(&format!("{} is right: {hubs} hubs, {functions} functions", file.display()))?;
            next.push(format!("tidegate run --config {}", crate::cli::output::quoted(&file)));
        }
    }
    output.finish(&next)?;
    Ok(Exit::Done)
}
