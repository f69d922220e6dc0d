//! The command line: one file a command.

mod alerts;
pub(crate) mod audit;
mod audit_deep;
mod checkpoints;
mod circuit;
mod completions;
mod config;
mod dead_letters;
mod demo;
mod dev_cert;
mod documents;
mod events;
pub(crate) mod explain;
mod fsck;
mod functions;
mod hubs;
mod listing;
mod logs;
mod measures;
pub(crate) mod output;
mod overview;
mod pace;
mod parked;
#[cfg(test)]
mod reference;
mod run;
mod send;
mod status;
mod target;
mod timeline;
mod tokens;
mod top;
mod trace;
mod trail;

use clap::{Parser, Subcommand};

use tidegate_model::clock::SharedClock;

use crate::failure::{Exit, Failure};
use crate::functions::Registry;
use crate::logging::Voice;

/// A reliable event processor in one program.
///
/// Events come in, are stored durably, go through functions partition by partition, in order, and every one of them ends
/// in a known place.
#[derive(Parser)]
#[command(name = "tidegate", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Begin with `tidegate demo`.

Exit codes: 0 done, 1 the operation failed, 2 the command line or the configuration is wrong,
3 the audit found a sequence number that nothing accounts for, 4 `status` found something that needs a person.

Environment: TIDEGATE_DATA_DIR, TIDEGATE_SERVER, TIDEGATE_KEY, TIDEGATE_LOG (such as info or tidegate_host=debug),
TIDEGATE_LOG_FORMAT (text or json), NO_COLOR.";

#[derive(Subcommand)]
enum Command {
    /// Publishes and processes real telemetry with some corrupt events in it, and shows where each event ended.
    Demo(demo::Args),
    /// Runs the server: takes events in and processes them.
    Run(run::Args),
    /// Tells on one screen whether all is well, and what to do where it is not. Exits with 4 when something needs a person.
    Status(status::Args),
    /// Shows functions and partitions as they run, live on the terminal, down to events and dead letters.
    Top(top::Args),
    /// Tells everything that happened to an event, in its order: attempts, parking, dead letter, documents, log lines, acts.
    Trace(trace::Args),
    /// Publishes lines.
    Send(send::Args),
    /// Shows documents: what functions made of the events.
    Documents(documents::Args),
    /// Shows dead letters, the events that nobody could process, and redrives, edits or discards them.
    DeadLetters(dead_letters::Args),
    /// Shows parked events, which wait in the store, and what can be done about them.
    Parked(parked::Args),
    /// Shows the functions, and how they are set.
    Functions(functions::Args),
    /// Shows what is alerted about, and what was.
    Alerts(alerts::Args),
    /// Shows the circuits of functions, and opens, closes or probes them.
    Circuit(circuit::Args),
    /// Stops a function, or one partition of it, until it is resumed. It stays stopped across restarts.
    Pause(circuit::PauseArgs),
    /// Lets a paused function go on.
    Resume(circuit::ResumeArgs),
    /// Shows how far each function is in each partition, and sets it back or forward.
    Checkpoints(checkpoints::Args),
    /// Shows the hubs and their partitions; makes, changes and deletes hubs.
    Hubs(hubs::Args),
    /// Reads the events of a hub.
    Events(events::Args),
    /// Accounts for every sequence number.
    Audit(audit::Args),
    /// Shows what the server logged.
    Logs(logs::Args),
    /// Shows what was done by hand, by whom, and why.
    Trail(trail::Args),
    /// Shows access tokens, which say who may do what; makes, renames and revokes them.
    Tokens(tokens::Args),
    /// Checks the files of a data directory, and repairs what can be repaired.
    Fsck(fsck::Args),
    /// Checks or prints a configuration.
    Config(config::Args),
    /// Makes a certificate to develop with over TLS, and says how clients are told to trust it.
    DevCert(dev_cert::Args),
    /// Prints what a shell needs to complete commands and options.
    Completions(completions::CompletionsArgs),
    /// Writes the manual pages.
    Man(completions::ManArgs),
    /// Explains an error code such as TG-101.
    Explain(explain::Args),
}

/// What every command is given.
pub(crate) struct Context {
    /// The functions that the program brings along.
    pub(crate) registry: Registry,
    /// The clock.
    pub(crate) clock: SharedClock,
}

impl Cli {
    /// Carries out the command.
    pub(crate) async fn run(self, context: Context) -> Result<Exit, Failure> {
        match self.command {
            Command::Demo(args) => demo::run(args, context).await,
            Command::Run(args) => run::run(args, context).await,
            Command::Status(args) => status::run(args, context).await,
            Command::Top(args) => top::run(args, context).await,
            Command::Trace(args) => trace::run(args, context).await,
            Command::Send(args) => send::run(args, context).await,
            Command::Documents(args) => documents::run(args, context).await,
            Command::DeadLetters(args) => dead_letters::run(args, context).await,
            Command::Parked(args) => parked::run(args, context).await,
            Command::Functions(args) => functions::run(args, context).await,
            Command::Alerts(args) => alerts::run(args, context).await,
            Command::Circuit(args) => circuit::run(args, context).await,
            Command::Pause(args) => circuit::pause(args, context).await,
            Command::Resume(args) => circuit::resume(args, context).await,
            Command::Checkpoints(args) => checkpoints::run(args, context).await,
            Command::Hubs(args) => hubs::run(args, context).await,
            Command::Events(args) => events::run(args, context).await,
            Command::Audit(args) => audit::run(args, context).await,
            Command::Logs(args) => logs::run(args, context).await,
            Command::Trail(args) => trail::run(args, context).await,
            Command::Tokens(args) => tokens::run(args, context).await,
            Command::Fsck(args) => fsck::run(args, &context),
            Command::Config(args) => config::run(args, context).await,
            Command::DevCert(args) => dev_cert::run(&args, &context),
            Command::Completions(args) => completions::completions(&args),
            Command::Man(args) => completions::man(&args),
            Command::Explain(args) => explain::run(&args),
        }
    }

    /// How the command logs.
    pub(crate) fn voice(&self) -> Voice {
        match self.command {
            Command::Run(_) => Voice::Server,
            Command::Demo(_) => Voice::Demo,
            _ => Voice::Command,
        }
    }
}

/// The arguments of a command as they are typed, its name first.
#[cfg(test)]
fn parsed<'t, A: clap::Args>(typed: impl IntoIterator<Item = &'t str>) -> A {
    let matches = A::augment_args(clap::Command::new("test")).get_matches_from(typed);
    A::from_arg_matches(&matches).expect("the arguments are complete")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
