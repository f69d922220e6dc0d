//! `tidegate trail`: what was done by hand, by whom, and why.

use serde::Deserialize;

use crate::cli::Context;
use crate::cli::listing::{Asking, Listing, address};
use crate::cli::output::{printable, shortened};
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only what was done to this: the number of a dead letter, a function, a lane such as FUNCTION/HUB/PARTITION.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Show the newest first.
    #[arg(long)]
    newest: bool,
    /// Begin after the line with this number, in the order in which they are shown.
    #[arg(long, value_name = "N")]
    after: Option<u64>,
    /// Show at most so many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Deserialize)]
struct Row {
    number: u64,
    at: String,
    by: String,
    action: String,
    subject: String,
    reason: String,
}

const COLUMNS: [&str; 6] = [">number", "at", "by", "action", "subject", "reason"];

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(&context).await?;
    let nothing = match (&args.subject, args.after) {
        (Some(subject), None) => format!("nothing was done by hand to {}", printable(subject)),
        (None, None) => "nothing was done by hand".to_owned(),
        (_, Some(after)) => format!("there are no such lines after {after}"),
    };
    let order = args.newest.then(|| "newest".to_owned());
    let after = args.after.map(|after| after.to_string());
    let parameters = [("subject", args.subject), ("order", order), ("after", after)];
    let listing = Listing::all(address("/api/v1/trail", &parameters), &COLUMNS).limit(args.limit);
    let mut letter = None;
    let listed = session.list(listing, |row: Row, rows| {
        if row.action.starts_with("dead-letter.") {
            letter = Some(row.subject.clone());
        }
        rows.push(vec![
            row.number.to_string(),
            row.at,
            row.by,
            row.action,
            row.subject,
            shortened(&row.reason, 80),
        ]);
    });
    if listed.await? == 0 && !args.asking.json {
        session.output.line(&nothing)?;
    }
    let next: Vec<String> = letter.map(|id| format!("dead-letters show {id}")).into_iter().collect();
    session.finish(&next).await
}
