//! `tidegate dead-letters`: the events that nobody could process, and what a person does about them.

mod act;
mod edit;
mod file;
mod filter;
mod lease;
mod look;
mod merge_patch;
mod outcome;
mod trend;

use clap::Subcommand;

use crate::cli::Context;
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Lists them, oldest first.
    List(look::ListArgs),
    /// Groups them by cause, the most frequent first.
    Groups(look::GroupsArgs),
    /// Tells how many were set aside over time, cause by cause, whatever became of them later.
    Trend(trend::Args),
    /// Shows one with everything that is known about it, and everything that was done to it.
    Show(look::ShowArgs),
    /// Changes the event of one, as a new revision. The event as it was read is kept beside it.
    Edit(edit::Args),
    /// Gives their events to the function that failed once more, in the order of their keys. What is on its way already is
    /// left alone, so the same command may be typed again after it was interrupted.
    Redrive(act::RedriveArgs),
    /// Discards those that nobody needs. They are kept, and count as discarded.
    Discard(act::DiscardArgs),
    /// Writes them to a file, one JSON object a line, every field byte for byte. The member `event` is the one to edit.
    Export(file::ExportArgs),
    /// Takes edited events back from an exported file, as new revisions.
    Import(file::ImportArgs),
    /// Leases the first open ones that are nobody's: others leave them alone until the lease ends.
    Lease(lease::LeaseArgs),
    /// Moves the ends of your leases.
    Extend(lease::ExtendArgs),
    /// Gives leases back.
    Release(lease::ReleaseArgs),
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    match args.action {
        Action::List(args) => look::list(args, &context).await,
        Action::Groups(args) => look::groups(args, &context).await,
        Action::Trend(args) => trend::run(args, &context).await,
        Action::Show(args) => look::show(args, &context).await,
        Action::Edit(args) => edit::run(args, &context).await,
        Action::Redrive(args) => act::redrive(args, &context).await,
        Action::Discard(args) => act::discard(args, &context).await,
        Action::Export(args) => file::export(args, &context).await,
        Action::Import(args) => file::import(args, &context).await,
        Action::Lease(args) => lease::lease(args, &context).await,
        Action::Extend(args) => lease::extend(args, &context).await,
        Action::Release(args) => lease::release(args, &context).await,
    }
}
