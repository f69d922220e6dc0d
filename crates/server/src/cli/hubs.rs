//! `tidegate hubs`: the hubs and their partitions.

use serde::Deserialize;

use crate::cli::Context;
use crate::cli::listing::{Asking, Listing};
use crate::cli::output::{grouped, shortened};
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    asking: Asking,
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

const COLUMNS: [&str; 7] = ["hub", ">partition", ">oldest", ">next", ">bytes", "last event", "state"];

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(&context).await?;
    let mut first = None;
    let listing = Listing::all("/api/v1/hubs", &COLUMNS);
    let count = session.list(listing, |hub: Hub, rows| {
        for partition in hub.partitions {
            rows.push(vec![
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
    });
    if count.await? == 0 && !args.asking.json {
        session.output.line(
            "there are no hubs; one is made by a table [hub.NAME] in the configuration of `tidegate run`",
        )?;
    }
    let next: Vec<String> = first.map(|hub| format!("events read {hub}")).into_iter().collect();
    session.finish(&next).await
}
