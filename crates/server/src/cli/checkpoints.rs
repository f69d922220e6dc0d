//! `tidegate checkpoints`: how far each function is in each partition.

use serde::Deserialize;

use crate::cli::Context;
use crate::cli::output::{Output, Table, grouped, shortened};
use crate::cli::target::Target;
use crate::client::{Pages, understood};
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
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
    updated_at: String,
    state: Option<String>,
    error: Option<String>,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let connected = args.target.connect(&context).await?;
    let mut output = Output::new(args.json);
    let mut pages = Pages::new(&connected.connection, "/api/v1/checkpoints".to_owned(), "after", None);
    let mut table =
        Table::new(&["function", "hub", ">partition", ">position", ">tail", ">lag", "updated", "state"]);
    let mut any = false;
    while let Some(line) = pages.next().await? {
        any = true;
        if args.json {
            output.raw_line(&line)?;
            continue;
        }
        let row: Row = understood(&line)?;
        let state = match (row.state, row.error) {
            (Some(state), Some(error)) => format!("{state}: {}", shortened(&error, 60)),
            (Some(state), None) => state,
            (None, _) => "not running".to_owned(),
        };
        let number = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), grouped);
        table.row(vec![
            row.function,
            row.hub,
            row.partition.to_string(),
            grouped(row.position),
            number(row.tail),
            number(row.lag),
            row.updated_at,
            state,
        ]);
    }
    if !args.json {
        if any {
            output.table(&table)?;
        } else {
            output.line("no function has run here yet")?;
        }
    }
    output.finish(&[format!("tidegate audit{}", args.target.options())])?;
    connected.close().await?;
    Ok(Exit::Done)
}
