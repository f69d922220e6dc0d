//! `tidegate parked`: the events that wait in the store, and what a person does about them.

use clap::Subcommand;
use serde::Deserialize;

use tidegate_model::error::ErrorCode;

use crate::cli::Context;
use crate::cli::listing::{Asking, Listing, address};
use crate::cli::output::{grouped, shortened};
use crate::client::understood;
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Lists them, lane by lane, in their order.
    List {
        /// Only of this function.
        #[arg(long, value_name = "NAME")]
        function: Option<String>,
        /// Only from this hub.
        #[arg(long, value_name = "NAME")]
        hub: Option<String>,
        /// Only from this partition.
        #[arg(long, value_name = "N")]
        partition: Option<u32>,
        /// Only with this partition key.
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Show at most so many.
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Gives one to its function now, whether it waits for a later time or is held.
    Try {
        #[command(flatten)]
        event: EventName,
        /// Why; kept in the audit trail.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Makes one a dead letter, so that it can be edited or discarded and what waits behind it goes on.
    SetAside {
        #[command(flatten)]
        event: EventName,
        /// Why; kept in the audit trail.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        asking: Asking,
    },
}

/// A parked event by its name.
#[derive(clap::Args)]
struct EventName {
    /// The event as `parked list` names it, FUNCTION/HUB/PARTITION/SEQUENCE; or its lane, FUNCTION/HUB/PARTITION.
    #[arg(value_name = "EVENT")]
    place: String,
    /// Its sequence number, after a lane.
    #[arg(value_name = "SEQUENCE")]
    sequence_number: Option<u64>,
}

impl EventName {
    fn id(&self) -> Result<String, Failure> {
        let parts = self.place.split('/').count();
        match (parts, self.sequence_number) {
            (4, None) => Ok(self.place.clone()),
            (3, Some(number)) => Ok(format!("{}/{number}", self.place)),
            _ => Err(Failure::usage(
                ErrorCode::BAD_REQUEST,
                format!("{:?} is the name of no parked event", self.place),
            )
            .help("write FUNCTION/HUB/PARTITION/SEQUENCE, as `tidegate parked list` shows it")),
        }
    }
}

#[derive(Deserialize)]
struct Row {
    id: String,
    partition_key: Option<String>,
    parked_at: String,
    state: String,
    due_at: Option<String>,
    held: Option<String>,
    behind: Option<u64>,
    attempts: Vec<Attempt>,
    redrive_of: Option<u64>,
}

#[derive(Deserialize)]
struct Attempt {
    error: String,
}

const COLUMNS: [&str; 7] = ["event", "key", "parked", "state", ">attempts", ">redrive of", "last error"];

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    match args.action {
        Action::List { function, hub, partition, key, limit, asking } => {
            let parameters = [
                ("function", function.clone()),
                ("hub", hub),
                ("partition", partition.map(|partition| partition.to_string())),
                ("key", key),
            ];
            let listing = Listing::all(address("/api/v1/parked", &parameters), &COLUMNS).limit(limit);
            list(listing, function.as_deref(), &asking, &context).await
        }
        Action::Try { event, reason, asking } => {
            let (path, done) = ("/api/v1/parked/try", "is tried as soon as its function is free");
            act(path, &event.id()?, &reason, &asking, &context, done, "parked list").await
        }
        Action::SetAside { event, reason, asking } => {
            let (path, done) = ("/api/v1/parked/set-aside", "is a dead letter now");
            act(path, &event.id()?, &reason, &asking, &context, done, "dead-letters list --status open").await
        }
    }
}

async fn list(
    listing: Listing<'_>,
    function: Option<&str>,
    asking: &Asking,
    context: &Context,
) -> Result<Exit, Failure> {
    let mut session = asking.open(context).await?;
    let mut first = None;
    let listed = session.list(listing, |row: Row, rows| {
        let state = match (row.state.as_str(), row.due_at, row.held, row.behind) {
            ("behind", _, _, Some(head)) => format!("behind {head}"),
            ("waiting", Some(due_at), ..) => format!("until {due_at}"),
            ("held", _, Some(why), _) => format!("held: {}", shortened(&why, 60)),
            (state, ..) => state.to_owned(),
        };
        if row.behind.is_none() {
            first.get_or_insert_with(|| row.id.clone());
        }
        rows.push(vec![
            row.id,
            shortened(row.partition_key.as_deref().unwrap_or("-"), 30),
            row.parked_at,
            state,
            row.attempts.len().to_string(),
            row.redrive_of.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            row.attempts.last().map_or_else(|| "-".to_owned(), |last| shortened(&last.error, 60)),
        ]);
    });
    let count = listed.await?;
    if count == 0 {
        session.nothing_found_of(function).await?;
    }
    if !asking.json {
        let text = if count == 0 {
            "nothing is parked".to_owned()
        } else {
            format!("{} parked events", grouped(count))
        };
        session.output.line(&text)?;
    }
    let next =
        first.map(|id| vec![format!("parked try {id}"), format!("parked set-aside {id} --reason TEXT")]);
    session.finish(&next.unwrap_or_default()).await
}

async fn act(
    path: &str,
    id: &str,
    reason: &str,
    asking: &Asking,
    context: &Context,
    done: &str,
    next: &str,
) -> Result<Exit, Failure> {
    let mut session = asking.open(context).await?;
    let request = serde_json::json!({ "id": id, "reason": reason });
    let answer = session.connection().post_json(path, &request).await?;
    if asking.json {
        session.output.raw_line(&answer)?;
    } else {
        let _: serde_json::Value = understood(&answer)?;
        session.output.line(&format!("{id} {done}"))?;
    }
    session.finish(&[next.to_owned()]).await
}
