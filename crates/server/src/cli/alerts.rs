//! `tidegate alerts`: what a person should look at, or should have.

use clap::Subcommand;
use tidegate_api::{Alert, Notice};

use crate::cli::Context;
use crate::cli::listing::{Asking, Listing, address};
use crate::cli::output::shortened;
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Only those that last.
    #[arg(long)]
    open: bool,
    /// Show at most so many, the newest.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Subcommand)]
enum Action {
    /// Shows what was told to whom, the newest first, and what could not be told yet and why. A notice that a target does
    /// not take is sent again, less and less often, for a day.
    Told(ToldArgs),
}

#[derive(clap::Args)]
struct ToldArgs {
    /// Show at most so many notices, the newest.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    asking: Asking,
}

const COLUMNS: [&str; 6] = ["severity", "kind", "subject", "since", "until", "what"];

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    if let Some(Action::Told(args)) = args.action {
        return told(args, context).await;
    }
    let mut session = args.asking.open(&context).await?;
    let mut circuit = None;
    let path = address("/api/v1/alerts", &[("open", args.open.then(|| "true".to_owned()))]);
    let listing = Listing::all(path, &COLUMNS).limit(args.limit);
    let listed = session.list(listing, |alert: Alert, rows| {
        if alert.open && alert.kind == "circuit" {
            circuit.get_or_insert_with(|| alert.subject.clone());
        }
        let until = match (alert.ended_at, alert.stage) {
            (Some(at), _) => at.to_string(),
            (None, Some(stage)) if alert.open => format!("it is {stage}"),
            (None, _) => "it is not over".to_owned(),
        };
        rows.push(vec![
            alert.severity,
            alert.kind,
            alert.subject,
            alert.since.to_string(),
            until,
            shortened(&alert.what, 80),
        ]);
    });
    if listed.await? == 0 && !args.asking.json {
        session.output.line(if args.open { "no alert is open" } else { "there was no alert" })?;
    }
    let next: Vec<String> =
        circuit.map(|function| format!("circuit status {function}")).into_iter().collect();
    session.finish(&next).await
}

const TOLD_COLUMNS: [&str; 7] = ["kind", "subject", "at", "target", "state", ">tries", "error"];

async fn told(args: ToldArgs, context: Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(&context).await?;
    let mut untold = 0;
    let listing = Listing::all("/api/v1/notices", &TOLD_COLUMNS).limit(args.limit);
    let listed = session.list(listing, |notice: Notice, rows| {
        let Notice { kind, subject, at, deliveries, .. } = notice;
        let at = at.to_string();
        if deliveries.is_empty() {
            let nobody = ["-".to_owned(), "nobody was told".to_owned(), "0".to_owned(), String::new()];
            rows.push([kind.clone(), subject.clone(), at.clone()].into_iter().chain(nobody).collect());
        }
        for delivery in deliveries {
            untold += u64::from(delivery.state != "delivered");
            let state = match delivery.state.as_str() {
                "due" => format!("due, is tried again at {}", delivery.at),
                state => format!("{state} at {}", delivery.at),
            };
            rows.push(vec![
                kind.clone(),
                subject.clone(),
                at.clone(),
                delivery.target,
                state,
                delivery.tries.to_string(),
                shortened(&delivery.error.unwrap_or_default(), 120),
            ]);
        }
    });
    let listed = listed.await?;
    if !args.asking.json {
        if listed == 0 {
            session.output.line("there was nothing to tell within the last day")?;
        }
        if untold > 0 {
            session.output.line(&format!(
                "{untold} deliveries did not arrive: see what the target said, and that [email.NAME] and [webhook.NAME] in the configuration are right"
            ))?;
        }
    }
    session.finish(&["alerts".to_owned()]).await
}
