//! `tidegate events read`: the events of a hub as the log holds them.

use clap::Subcommand;
use serde::Deserialize;

use crate::api::page::percent_encode;
use crate::cli::Context;
use crate::cli::listing::{Asking, Session};
use crate::cli::output::{printable, shortened};
use crate::client::{Pages, understood};
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Reads one partition, or all of them one after the other.
    Read {
        /// The hub.
        hub: String,
        /// Only this partition.
        #[arg(long, value_name = "N")]
        partition: Option<u32>,
        /// Where to begin: earliest, latest, a sequence number, or a time such as 2026-01-31T12:00:00Z.
        #[arg(long, value_name = "WHERE", default_value = "earliest")]
        from: String,
        /// Show at most so many.
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        #[command(flatten)]
        asking: Asking,
    },
}

#[derive(Deserialize)]
struct Hub {
    hub: String,
    partitions: Vec<Partition>,
}

#[derive(Deserialize)]
struct Partition {
    partition: u32,
    tail: u64,
}

#[derive(Deserialize)]
struct Event {
    partition: u32,
    sequence_number: u64,
    enqueued_at: String,
    partition_key: Option<String>,
    body: Option<String>,
    body_base64: String,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let Action::Read { hub, partition, from, limit, asking } = args.action;
    let Session { connected, mut output, .. } = asking.open(&context).await?;
    let partitions = match partition {
        Some(partition) => vec![partition],
        None => partitions_of(&connected.connection, &hub, &from).await?,
    };
    let mut is_empty = true;
    let mut left = limit.unwrap_or(u64::MAX);
    for partition in partitions {
        let path = format!(
            "/api/v1/hubs/{}/events?partition={partition}&from={}",
            percent_encode(&hub),
            percent_encode(&from)
        );
        let mut pages = Pages::new(&connected.connection, path, "from", Some(left));
        while let Some(line) = pages.next().await? {
            left -= 1;
            is_empty = false;
            if asking.json {
                output.raw_line(&line)?;
                continue;
            }
            let event: Event = understood(&line)?;
            let body = event.body.unwrap_or_else(|| format!("base64 {}", event.body_base64));
            let key = event.partition_key.unwrap_or_else(|| "-".to_owned());
            let place = format!("{}/{}", event.partition, event.sequence_number);
            output.line(&format!(
                "  {place:<12} {}  {:<12} {}",
                event.enqueued_at,
                printable(&shortened(&key, 40)),
                printable(&shortened(&body, 160))
            ))?;
        }
    }
    if is_empty && !asking.json && limit != Some(0) {
        output.line(&format!("there are no events in {} from {} on", printable(&hub), printable(&from)))?;
    }
    output.finish(&[])?;
    connected.close().await?;
    Ok(Exit::Done)
}

/// The partitions of a hub that reach as far as `from`. Of a hub that does not exist the first is asked for, and the
/// answer says what is wrong.
async fn partitions_of(
    connection: &crate::client::Connection,
    hub: &str,
    from: &str,
) -> Result<Vec<u32>, Failure> {
    let first_wanted = from.parse::<u64>().unwrap_or(0);
    let mut pages = Pages::new(connection, "/api/v1/hubs".to_owned(), "after", None);
    while let Some(line) = pages.next().await? {
        let found: Hub = understood(&line)?;
        if found.hub.eq_ignore_ascii_case(hub) {
            let reaching = found.partitions.iter().filter(|partition| partition.tail >= first_wanted);
            return Ok(reaching.map(|partition| partition.partition).collect());
        }
    }
    Ok(vec![0])
}
