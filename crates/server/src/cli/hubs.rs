//! `tidegate hubs`: the hubs and their partitions.

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

#[derive(Deserialize)]
struct Hub {
    hub: String,
    partitions: Vec<Partition>,
}

#[derive(Deserialize)]
struct Partition {
    partition: u32,
    head: u64,
    tail: u64,
    size_bytes: u64,
    last_enqueued_at: Option<String>,
    damage: Option<String>,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let connected = args.target.connect(&context).await?;
    let mut output = Output::new(args.json);
    let mut pages = Pages::new(&connected.connection, "/api/v1/hubs".to_owned(), "after", None);
    let mut table = Table::new(&["hub", ">partition", ">oldest", ">next", ">bytes", "last event", "state"]);
    let mut first = None;
    while let Some(line) = pages.next().await? {
        if args.json {
            output.raw_line(&line)?;
            continue;
        }
        let hub: Hub = understood(&line)?;
        for partition in hub.partitions {
            table.row(vec![
                hub.hub.clone(),
                partition.partition.to_string(),
                grouped(partition.head),
                grouped(partition.tail),
                grouped(partition.size_bytes),
                partition.last_enqueued_at.unwrap_or_else(|| "-".to_owned()),
                partition.damage.map_or_else(|| "ok".to_owned(), |damage| shortened(&damage, 60)),
            ]);
        }
        first.get_or_insert(hub.hub);
    }
    let mut next = Vec::new();
    match first {
        _ if args.json => {}
        None => output.line(
            "there are no hubs; one is made by a table [hub.NAME] in the configuration of `tidegate run`",
        )?,
        Some(hub) => {
            output.table(&table)?;
            next.push(format!("tidegate events read {hub}{}", args.target.options()));
        }
    }
    output.finish(&next)?;
    connected.close().await?;
    Ok(Exit::Done)
}
