//! `tidegate hubs`: the hubs and their partitions, and making, changing and deleting hubs.

use std::io::{IsTerminal as _, Write as _};

use clap::Subcommand;
use serde::Deserialize;

use tidegate_api::Source;
use tidegate_model::error::ErrorCode;

use crate::api::page::percent_encode;
use crate::cli::Context;
use crate::cli::listing::{Asking, Listing, Session};
use crate::cli::output::{Table, grouped, shortened};
use crate::client::understood;
use crate::config::elements::byte_size;
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
    /// Lists the hubs with their partitions, and the sources: the hubs of others that are read.
    List {
        #[command(flatten)]
        asking: Asking,
    },
    /// Shows one hub.
    Show {
        /// The hub.
        name: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Makes a hub, which clients can use at once and which stays over restarts.
    Create(CreateArgs),
    /// Deletes a hub with all its events, and what is kept about functions that read it once.
    Delete {
        /// The hub.
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Why; kept in the audit trail.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Lists, adds and removes the consumer groups of a hub.
    Groups {
        /// The hub.
        name: String,
        #[command(subcommand)]
        action: GroupAction,
    },
}

#[derive(clap::Args)]
struct CreateArgs {
    /// Its name.
    name: String,
    /// How many partitions it has. It cannot be changed later [default: 4].
    #[arg(long, value_name = "N")]
    partitions: Option<u32>,
    /// How long events are kept, such as 12h or 7d; or forever [default: 7d].
    #[arg(long, value_name = "TIME")]
    retention: Option<String>,
    /// How many bytes are kept at most, such as 10GiB [default: no limit].
    #[arg(long, value_name = "SIZE")]
    retention_bytes: Option<String>,
    /// A consumer group beside $Default; may be repeated.
    #[arg(long, value_name = "GROUP")]
    consumer_group: Vec<String>,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Subcommand)]
enum GroupAction {
    /// Lists them.
    List {
        #[command(flatten)]
        asking: Asking,
    },
    /// Adds one.
    Add(GroupArgs),
    /// Removes one. Who receives in it is detached.
    Remove(GroupArgs),
}

#[derive(clap::Args)]
struct GroupArgs {
    /// The consumer group.
    group: String,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Deserialize)]
struct Hub {
    hub: String,
    created_at: String,
    declared: bool,
    retention: Option<String>,
    retention_bytes: Option<u64>,
    consumer_groups: Vec<String>,
    functions: Vec<String>,
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

const SOURCE_COLUMNS: [&str; 6] = ["source", ">partition", ">oldest", ">next", "checkpoints", "state"];

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    match args.action {
        None => list(&args.asking, &context).await,
        Some(Action::List { asking }) => list(&asking, &context).await,
        Some(Action::Show { name, asking }) => show(&name, &asking, &context).await,
        Some(Action::Create(args)) => create(&args, &context).await,
        Some(Action::Delete { name, yes, reason, asking }) => {
            delete(&name, yes, &reason, &asking, &context).await
        }
        Some(Action::Groups { name, action }) => match action {
            GroupAction::List { asking } => groups(&name, &asking, &context).await,
            GroupAction::Add(args) => group(&name, "add", &args, &context).await,
            GroupAction::Remove(args) => group(&name, "remove", &args, &context).await,
        },
    }
}

async fn list(asking: &Asking, context: &Context) -> Result<Exit, Failure> {
    let mut session = asking.open(context).await?;
    let mut first = None;
    let count = session.list(Listing::all("/api/v1/hubs", &COLUMNS), |hub: Hub, rows| {
        rows.extend(hub.partitions.iter().map(|partition| row(&hub.hub, partition)));
        first.get_or_insert(hub.hub);
    });
    let hubs = count.await?;
    let sources = session.list(Listing::all("/api/v1/sources", &SOURCE_COLUMNS), |source: Source, rows| {
        rows.extend(source_rows(&source));
    });
    if hubs + sources.await? == 0 && !asking.json {
        session.output.line("there are no hubs")?;
    }
    let next = match first {
        Some(hub) => vec![format!("hubs show {hub}"), format!("events read {hub}")],
        None => vec!["hubs create NAME".to_owned()],
    };
    session.finish(&next).await
}

/// The rows of a source: how it is, then its partitions.
fn source_rows(source: &Source) -> Vec<Vec<String>> {
    let dash = || "-".to_owned();
    let since = source.status.since.map(|since| format!(" since {since}")).unwrap_or_default();
    let problem = source.status.problem.as_ref().map(|problem| format!(": {}", shortened(problem, 80)));
    let state = format!("{}{since}{}", source.status.state.as_str(), problem.unwrap_or_default());
    if source.partitions.is_empty() {
        return vec![vec![source.source.clone(), dash(), dash(), dash(), dash(), state]];
    }
    let rows = source.partitions.iter().map(|partition| {
        let checkpoints = partition.checkpoints.iter();
        let resolved: Vec<String> = checkpoints
            .map(|checkpoint| format!("{} at {}", checkpoint.function, grouped(checkpoint.position)))
            .collect();
        let reader =
            partition.reader.as_ref().map(|reader| format!(", read by {reader}")).unwrap_or_default();
        vec![
            source.source.clone(),
            partition.partition.to_string(),
            partition.head.map_or_else(dash, grouped),
            partition.tail.map_or_else(dash, grouped),
            if resolved.is_empty() { dash() } else { resolved.join(", ") },
            format!("{state}{reader}"),
        ]
    });
    rows.collect()
}

fn row(hub: &str, partition: &Partition) -> Vec<String> {
    vec![
        hub.to_owned(),
        partition.partition.to_string(),
        grouped(partition.head),
        grouped(partition.tail),
        grouped(partition.size_bytes),
        partition.last_enqueued_at.clone().unwrap_or_else(|| "-".to_owned()),
        partition.damage.as_ref().map_or_else(|| "ok".to_owned(), |damage| shortened(damage, 60)),
    ]
}

fn address_of(hub: &str) -> String {
    format!("/api/v1/hubs/{}", percent_encode(hub))
}

async fn show(name: &str, asking: &Asking, context: &Context) -> Result<Exit, Failure> {
    let mut session = asking.open(context).await?;
    let answer = session.connection().get(&address_of(name)).await?.into_body();
    if asking.json {
        session.output.raw_line(&answer)?;
        return session.finish(&[]).await;
    }
    let hub: Hub = understood(&answer)?;
    describe(&mut session, &hub)?;
    let mut table = Table::new(&COLUMNS);
    hub.partitions.iter().for_each(|partition| table.row(row(&hub.hub, partition)));
    session.output.table(&table)?;
    session.finish(&[format!("events read {}", hub.hub)]).await
}

fn describe(session: &mut Session, hub: &Hub) -> Result<(), Failure> {
    let output = &mut session.output;
    output.heading(&hub.hub)?;
    let by = if hub.declared { "the configuration" } else { "command" };
    output.line(&format!("  made             {} by {by}", hub.created_at))?;
    output.line(&format!("  partitions       {}", hub.partitions.len()))?;
    let bytes = hub.retention_bytes.map(|bytes| format!(", at most {} bytes", grouped(bytes)));
    let time = hub.retention.as_deref().unwrap_or("forever, as nobody said how long");
    output.line(&format!("  events are kept  {time}{}", bytes.unwrap_or_default()))?;
    output.line(&format!("  consumer groups  {}", hub.consumer_groups.join(", ")))?;
    let functions = if hub.functions.is_empty() { "none".to_owned() } else { hub.functions.join(", ") };
    output.line(&format!("  functions        {functions}"))
}

async fn create(args: &CreateArgs, context: &Context) -> Result<Exit, Failure> {
    let bytes = args.retention_bytes.as_deref().map(|text| {
        byte_size::parse(text).map(|size| size.0).ok_or_else(|| {
            Failure::usage(ErrorCode::BAD_REQUEST, format!("{text:?} is no size"))
                .help("it is a whole number with one of the units B, KiB, MiB, GiB, TiB, such as 10GiB")
        })
    });
    let request = serde_json::json!({
        "hub": args.name,
        "partitions": args.partitions,
        "retention": args.retention,
        "retention_bytes": bytes.transpose()?,
        "consumer_groups": args.consumer_group,
        "reason": args.reason,
    });
    let mut session = args.asking.open(context).await?;
    let answer = session.connection().post_json("/api/v1/hubs", &request).await?;
    if args.asking.json {
        session.output.raw_line(&answer)?;
        return session.finish(&[]).await;
    }
    let hub: Hub = understood(&answer)?;
    session.output.line("a hub was made; clients can use it now")?;
    describe(&mut session, &hub)?;
    session.finish(&[format!("send {} --file FILE", hub.hub), format!("hubs show {}", hub.hub)]).await
}

/// What went with a hub.
#[derive(Deserialize)]
struct Deleted {
    hub: String,
    events: u64,
    checkpoints: u64,
    parked: u64,
    dead_letters: u64,
}

async fn delete(
    name: &str,
    yes: bool,
    reason: &str,
    asking: &Asking,
    context: &Context,
) -> Result<Exit, Failure> {
    let mut session = asking.open(context).await?;
    if !yes {
        let answer = session.connection().get(&address_of(name)).await?.into_body();
        let hub: Hub = understood(&answer)?;
        if !is_confirmed(&hub)? {
            session.output.line("nothing was deleted")?;
            session.finish(&[]).await?;
            return Ok(Exit::Failed);
        }
    }
    let request = serde_json::json!({ "reason": reason });
    let answer = session.connection().post_json(&format!("{}/delete", address_of(name)), &request).await?;
    if asking.json {
        session.output.raw_line(&answer)?;
        return session.finish(&[]).await;
    }
    let Deleted { hub, events, checkpoints, parked, dead_letters } = understood(&answer)?;
    session.output.line(&format!("the hub {hub} is deleted, and with it {} events", grouped(events)))?;
    if checkpoints > 0 {
        session.output.line(&format!("{} checkpoints are forgotten", grouped(checkpoints)))?;
    }
    if dead_letters > 0 {
        let (dead_letters, parked) = (grouped(dead_letters), grouped(parked));
        session.output.line(&format!(
            "{dead_letters} dead letters are discarded, {parked} of which were parked events; all can still be read"
        ))?;
    }
    session.finish(&[format!("trail --subject {hub}")]).await
}

/// Asks the person at the terminal.
fn is_confirmed(hub: &Hub) -> Result<bool, Failure> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Err(Failure::usage(
            ErrorCode::BAD_REQUEST,
            format!("deleting the hub {} needs a confirmation, and nobody is at a terminal", hub.hub),
        )
        .help("add --yes"));
    }
    let events: u64 =
        hub.partitions.iter().map(|partition| partition.tail.saturating_sub(partition.head)).sum();
    // A question that cannot be shown is not answered with the name.
    let _ = write!(
        stderr,
        "The hub {} has {} events in {} partitions. They will be gone for good.\nType its name to delete it: ",
        hub.hub,
        grouped(events),
        hub.partitions.len()
    );
    let _ = stderr.flush();
    let mut typed = String::new();
    stdin.read_line(&mut typed).map_err(|error| {
        Failure::new(ErrorCode::DATA_DIR_IO, format!("the terminal cannot be read: {error}"))
    })?;
    Ok(typed.trim() == hub.hub)
}

async fn groups(name: &str, asking: &Asking, context: &Context) -> Result<Exit, Failure> {
    let mut session = asking.open(context).await?;
    let answer = session.connection().get(&address_of(name)).await?.into_body();
    let hub: Hub = understood(&answer)?;
    for group in &hub.consumer_groups {
        match asking.json {
            true => session.output.object(&serde_json::json!({ "consumer_group": group }))?,
            false => session.output.line(group)?,
        }
    }
    session.finish(&[]).await
}

/// What became of a consumer group.
#[derive(Deserialize)]
struct GroupChanged {
    hub: String,
    consumer_group: String,
    result: String,
    unchanged: bool,
}

async fn group(name: &str, action: &str, args: &GroupArgs, context: &Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(context).await?;
    let request = serde_json::json!({ "consumer_group": args.group, "reason": args.reason });
    let path = format!("{}/consumer-groups/{action}", address_of(name));
    let answer = session.connection().post_json(&path, &request).await?;
    if args.asking.json {
        session.output.raw_line(&answer)?;
        return session.finish(&[]).await;
    }
    let GroupChanged { hub, consumer_group, result, unchanged } = understood(&answer)?;
    session.output.line(&match unchanged {
        true => format!("the consumer group {consumer_group} of {hub} is there already"),
        false => format!("{result} the consumer group {consumer_group} of {hub}"),
    })?;
    session.finish(&[format!("hubs groups {hub} list")]).await
}
