//! `tidegate config`: checks or prints a configuration.

use std::path::PathBuf;

use clap::Subcommand;

use tidegate_api::{Origin, Setting};

use crate::cli::Context;
use crate::cli::listing::{Asking, Listing};
use crate::cli::output::{Output, shortened};
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
    /// Shows what holds in the running server, key by key, and where each value comes from.
    Effective {
        /// Only what is not a default.
        #[arg(long, conflicts_with = "json")]
        set: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// Prints a configuration to begin with.
    Sample,
    /// Prints what can be configured: every table and key.
    Reference,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let mut output = Output::new(false);
    let mut next = Vec::new();
    match args.action {
        Action::Effective { set, asking } => return effective(set, &asking, &context).await,
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

async fn effective(set: bool, asking: &Asking, context: &Context) -> Result<Exit, Failure> {
    let mut session = asking.open(context).await?;
    let columns = ["table", "key", "value", "from"];
    let listed = session.list(Listing::all("/api/v1/configuration", &columns), |setting: Setting, rows| {
        if set && setting.origin == Origin::Default {
            return;
        }
        let value = match (setting.value, setting.meaning) {
            (Some(value), _) => value,
            (None, Some(meaning)) => format!("({meaning})"),
            (None, None) => "-".to_owned(),
        };
        let from = match setting.origin {
            Origin::Default => "default",
            Origin::File => "file",
            Origin::Environment => "environment",
            Origin::CommandLine => "command line",
        };
        let from = setting.place.map_or_else(|| from.to_owned(), |place| format!("{from}: {place}"));
        rows.push(vec![setting.table, setting.key, shortened(&value, 80), from]);
    });
    if listed.await? == 0 && !asking.json {
        session.output.line("no configuration is known here: no server runs")?;
    }
    session.finish(&[]).await
}
