//! `tidegate completions` and `tidegate man`: what shells and `man` are told about the commands.

use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::cli::output::{Output, quoted};
use crate::failure::{Exit, Failure};
use crate::files;

#[derive(clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

#[derive(clap::Args)]
pub(crate) struct ManArgs {
    /// Where to write the pages, one a command; made if it is not there.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Prints the completions of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidegate", &mut script);
    let mut output = Output::new(false);
    output.raw_line(script.trim_ascii_end())?;
    output.finish(&[])?;
    Ok(Exit::Done)
}

/// Writes the manual, a page a command.
pub(crate) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let dir = &args.dir;
    std::fs::create_dir_all(dir).map_err(|error| files::failure(dir, "create", error))?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(|error| files::failure(dir, "write to", error))?;
    let mut output = Output::new(false);
    output.line(&format!("the manual is in {}", dir.display()))?;
    output.finish(&[format!("man {}", quoted(&dir.join("tidegate.1")))])?;
    Ok(Exit::Done)
}
