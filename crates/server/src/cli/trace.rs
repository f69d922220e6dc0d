//! `tidegate trace`: everything that happened to an event, in its order.

use tidegate_api::{Event, Hub, Trace};
use tidegate_model::error::ErrorCode;
use tidegate_model::partitioner::partition_of_key;

use crate::api::page::percent_encode;
use crate::cli::Context;
use crate::cli::listing::{Asking, Session, address};
use crate::cli::output::{Table, grouped, printable, shortened};
use crate::cli::timeline::{Timeline, timeline};
use crate::client::{Pages, understood};
use crate::failure::{Exit, Failure};

/// How many events one step back through the log reads.
const STEP: u64 = 1000;

/// How much of a value or a line is shown.
const SHOWN: usize = 400;

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["sequence", "key"])))]
pub(crate) struct Args {
    /// The hub; may be left out where there is only one.
    #[arg(long, value_name = "NAME")]
    hub: Option<String>,
    /// The partition. With --key it may be left out: the key says it.
    #[arg(long, value_name = "N", required_unless_present = "key")]
    partition: Option<u32>,
    /// The event's sequence number.
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// The newest events with this partition key instead.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// With --key: at most so many events.
    #[arg(long, value_name = "N", default_value = "5")]
    limit: usize,
    /// With --key: how many events of the partition are looked through, back from its end.
    #[arg(long, value_name = "N", default_value = "20000")]
    within: u64,
    #[command(flatten)]
    asking: Asking,
}

/// What is to be traced.
struct Wanted {
    hub: String,
    partition: u32,
    /// Oldest first.
    sequence_numbers: Vec<u64>,
    /// What is said besides.
    remark: Option<String>,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(&context).await?;
    let hub = match &args.hub {
        Some(hub) => hub.clone(),
        None => only_hub(&session).await?,
    };
    let wanted = match (args.sequence, &args.key, args.partition) {
        (Some(sequence), _, Some(partition)) => {
            Wanted { hub, partition, sequence_numbers: vec![sequence], remark: None }
        }
        (_, Some(key), partition) => of_key(&session, hub, key, partition, args.limit, args.within).await?,
        // The command line was refused before.
        _ => return Err(Failure::usage(ErrorCode::BAD_REQUEST, "neither an event nor a key is named")),
    };
    let mut next: Vec<String> = Vec::new();
    for (place, sequence_number) in wanted.sequence_numbers.iter().enumerate() {
        let parameters = [
            ("hub", Some(wanted.hub.clone())),
            ("partition", Some(wanted.partition.to_string())),
            ("sequence_number", Some(sequence_number.to_string())),
        ];
        let body = session.connection().get(&address("/api/v1/trace", &parameters)).await?.into_body();
        if args.asking.json {
            session.output.raw_line(body.trim_ascii_end())?;
            continue;
        }
        if place > 0 {
            session.output.line("")?;
        }
        let timeline = timeline(&understood::<Trace>(&body)?);
        tell(&timeline, &mut session)?;
        next.extend(timeline.dead_letters.iter().map(|id| format!("dead-letters show {id}")));
    }
    if let Some(remark) = &wanted.remark
        && !args.asking.json
    {
        session.output.line(remark)?;
    }
    next.truncate(4);
    session.finish(&next).await
}

/// The newest events of a key: a look back through its partition.
async fn of_key(
    session: &Session,
    hub: String,
    key: &str,
    partition: Option<u32>,
    limit: usize,
    within: u64,
) -> Result<Wanted, Failure> {
    let path = format!("/api/v1/hubs/{}", percent_encode(&hub));
    let found: Hub = understood(&session.connection().get(&path).await?.into_body())?;
    let count = u32::try_from(found.partitions.len()).unwrap_or(u32::MAX).max(1);
    let partition = partition.unwrap_or_else(|| partition_of_key(key, count).0);
    let bounds = found.partitions.iter().find(|one| one.partition == partition);
    let (head, tail) = bounds.map_or((0, 0), |bounds| (bounds.head, bounds.tail));
    let oldest = tail.saturating_sub(within).max(head);
    let (mut before, mut newest_first) = (tail, Vec::new());
    while before > oldest && newest_first.len() < limit {
        let from = before.saturating_sub(STEP).max(oldest);
        let mut with_key = events_with_key(session, &hub, partition, from..before, key).await?;
        with_key.reverse();
        newest_first.append(&mut with_key);
        before = from;
    }
    newest_first.truncate(limit);
    newest_first.reverse();
    let looked = grouped(tail - before.min(tail));
    if newest_first.is_empty() {
        let message = format!(
            "no event with the key {} is among the last {looked} of the {} events of partition {partition} of {}",
            printable(key),
            grouped(tail - head.min(tail)),
            printable(&hub)
        );
        let failure = Failure::new(ErrorCode::NOT_FOUND, message);
        return Err(match before > head {
            true => failure.help(format!("look through all of them with --within {}", tail - head)),
            false => failure.help("`tidegate documents show` tells which event wrote a document last"),
        });
    }
    let remark = (before > head)
        .then(|| format!("there may be older ones; the last {looked} events were looked through"));
    Ok(Wanted { hub, partition, sequence_numbers: newest_first, remark })
}

/// Which of these events of a partition have the key, oldest first.
async fn events_with_key(
    session: &Session,
    hub: &str,
    partition: u32,
    range: std::ops::Range<u64>,
    key: &str,
) -> Result<Vec<u64>, Failure> {
    let path =
        format!("/api/v1/hubs/{}/events?partition={partition}&from={}", percent_encode(hub), range.start);
    let mut pages = Pages::new(session.connection(), path, "from", Some(range.end - range.start));
    let mut found = Vec::new();
    while let Some(line) = pages.next().await? {
        let event: Event = understood(&line)?;
        if event.sequence_number >= range.end {
            break;
        }
        if event.partition_key.as_deref() == Some(key) {
            found.push(event.sequence_number);
        }
    }
    Ok(found)
}

/// The hub, where there is one only.
async fn only_hub(session: &Session) -> Result<String, Failure> {
    let mut pages = Pages::new(session.connection(), "/api/v1/hubs".to_owned(), "after", Some(2));
    let mut hubs: Vec<String> = Vec::new();
    while let Some(line) = pages.next().await? {
        hubs.push(understood::<Hub>(&line)?.hub);
    }
    match <[String; 1]>::try_from(hubs) {
        Ok([hub]) => Ok(hub),
        Err(hubs) => {
            let how_many = if hubs.is_empty() { "there is no hub" } else { "there are several hubs" };
            let message = format!("{how_many}, so which one is meant must be said");
            Err(Failure::usage(ErrorCode::BAD_REQUEST, message)
                .help("name it with --hub NAME; `tidegate hubs` lists them"))
        }
    }
}

fn tell(timeline: &Timeline, session: &mut Session) -> Result<(), Failure> {
    let output = &mut session.output;
    output.heading(&format!("event {}", printable(&timeline.event)))?;
    for (name, value) in &timeline.published {
        output.line(&format!("  {name:<6}{}", shortened(&printable(value), SHOWN)))?;
    }
    if timeline.ends.is_empty() {
        output.line("  no function reads this hub")?;
    }
    for end in &timeline.ends {
        let outcome = printable(&end.outcome);
        let outcome = match end.outcome.as_str() {
            "applied" | "resolved" => output.good(&outcome),
            "dead-lettered" | "lost" => output.bad(&outcome),
            _ => output.bold(&outcome),
        };
        let line = format!("  {}: {outcome}  {}", printable(&end.function), printable(&end.detail));
        output.line(line.trim_end())?;
    }
    let mut table = Table::new(&["at", "who", "what"]);
    for entry in &timeline.entries {
        table.row(vec![entry.at.to_string(), entry.who.clone(), shortened(&printable(&entry.what), SHOWN)]);
    }
    output.table(&table)
}
