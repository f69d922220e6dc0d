//! `tidegate checkpoints`: how far each function is in each partition, and setting it back or forward.

use clap::Subcommand;
use serde::Deserialize;

use crate::cli::Context;
use crate::cli::listing::{Asking, Listing};
use crate::cli::output::{Table, grouped, shortened};
use crate::client::{lines, understood};
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Subcommand)]
enum Action {
    /// Moves checkpoints by hand. Events before the place are not processed any more, those from it on once more, from the
    /// log: their effects happen again.
    Seek(SeekArgs),
}

#[derive(clap::Args)]
struct SeekArgs {
    /// The function.
    function: String,
    /// Only in this partition.
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// Only on this hub, where the function reads several.
    #[arg(long, value_name = "NAME")]
    hub: Option<String>,
    /// Where to: earliest, latest, a time such as 2026-01-31T12:00:00Z, or, with --partition, a sequence number.
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    to: String,
    /// Only say what would be repeated or skipped.
    #[arg(long)]
    dry_run: bool,
    /// Why; kept in the audit trail. Needed unless --dry-run.
    #[arg(long, value_name = "TEXT", default_value = "", required_unless_present = "dry_run")]
    reason: String,
    #[command(flatten)]
    asking: Asking,
}

impl SeekArgs {
    /// The same command without --dry-run, to be typed.
    fn in_earnest(&self) -> String {
        let hub = self.hub.as_ref().map(|hub| format!(" --hub {hub}")).unwrap_or_default();
        let partition =
            self.partition.map(|partition| format!(" --partition {partition}")).unwrap_or_default();
        format!("checkpoints seek {}{hub}{partition} --to {} --reason TEXT", self.function, self.to)
    }
}

/// What is shown of a checkpoint.
#[derive(Deserialize)]
struct Row {
    function: String,
    hub: String,
    partition: u32,
    position: u64,
    tail: Option<u64>,
    lag: Option<u64>,
    parked: u64,
    updated_at: String,
    state: Option<String>,
    error: Option<String>,
    watchdog: Option<Watchdog>,
}

/// What the watchdog did about a lane that stands still.
#[derive(Deserialize)]
struct Watchdog {
    action: String,
    since: String,
    instance: String,
    what: String,
}

const COLUMNS: [&str; 9] =
    ["function", "hub", ">partition", ">position", ">tail", ">lag", ">parked", "updated", "state"];

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    if let Some(Action::Seek(args)) = args.action {
        return seek(args, context).await;
    }
    let mut session = args.asking.open(&context).await?;
    let mut stuck = Vec::new();
    let listed = session.list(Listing::all("/api/v1/checkpoints", &COLUMNS), |row: Row, rows| {
        if let Some(Watchdog { action, since, instance, what }) = row.watchdog {
            let lane = format!("{}/{}/{}", row.function, row.hub, row.partition);
            stuck.push(format!("{lane} is stuck: {what} ({action} at {since} by {instance})"));
        }
        let state = match (row.state, row.error) {
            (Some(state), Some(error)) => format!("{state}: {}", shortened(&error, 60)),
            (Some(state), None) => state,
            (None, _) => "not running".to_owned(),
        };
        let number = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), grouped);
        rows.push(vec![
            row.function,
            row.hub,
            row.partition.to_string(),
            grouped(row.position),
            number(row.tail),
            number(row.lag),
            grouped(row.parked),
            row.updated_at,
            state,
        ]);
    });
    if listed.await? == 0 && !args.asking.json {
        session.output.line("no function has run here yet")?;
    }
    if !args.asking.json {
        for line in &stuck {
            session.output.line(line)?;
        }
    }
    session.finish(&["audit".to_owned()]).await
}

/// What a seek did to a lane, or would do.
#[derive(Deserialize)]
struct Sought {
    partition: u32,
    from: u64,
    to: u64,
    repeated: u64,
    skipped: u64,
    dead_letters_replayed: u64,
    parked_replayed: u64,
}

async fn seek(args: SeekArgs, context: Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(&context).await?;
    let request = serde_json::json!({
        "function": args.function,
        "hub": args.hub,
        "partition": args.partition,
        "to": args.to,
        "dry_run": args.dry_run,
        "reason": args.reason,
    });
    let answer = session.connection().post_json("/api/v1/checkpoints/seek", &request).await?;
    let mut table = Table::new(&[
        ">partition",
        ">from",
        ">to",
        ">repeated",
        ">skipped",
        ">dead letters replayed",
        ">parked replayed",
    ]);
    for line in lines(&answer) {
        if args.asking.json {
            session.output.raw_line(&line)?;
            continue;
        }
        let sought: Sought = understood(&line)?;
        let Sought { partition, from, to, repeated, skipped, dead_letters_replayed, parked_replayed } =
            sought;
        let numbers = [from, to, repeated, skipped, dead_letters_replayed, parked_replayed];
        let cells = std::iter::once(partition.to_string()).chain(numbers.map(grouped));
        table.row(cells.collect());
    }
    if args.asking.json {
        return session.finish(&[]).await;
    }
    session.output.table(&table)?;
    if args.dry_run {
        session.output.line("nothing was changed")?;
        return session.finish(&[args.in_earnest()]).await;
    }
    session.finish(&["checkpoints".to_owned(), "audit".to_owned()]).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parsed;

    #[test]
    fn after_a_dry_run_the_same_lanes_are_meant() {
        let typed = "seek aircraft --hub flights --partition 3 --to latest --dry-run";
        let args: SeekArgs = parsed(typed.split(' '));
        let command = "checkpoints seek aircraft --hub flights --partition 3 --to latest --reason TEXT";
        assert_eq!(args.in_earnest(), command);
    }
}
