//! `tidegate alerts`: what a person should look at, or should have.

use tidegate_api::Alert;

use crate::cli::Context;
use crate::cli::listing::{Asking, Listing, address};
use crate::cli::output::shortened;
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only those that last.
    #[arg(long)]
    open: bool,
    /// Show at most so many, the newest.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    asking: Asking,
}

const COLUMNS: [&str; 6] = ["severity", "kind", "subject", "since", "until", "what"];

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
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
