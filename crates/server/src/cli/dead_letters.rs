//! `tidegate dead-letters`: the events that nobody could process.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use serde::Deserialize;

use crate::api::page::percent_encode;
use crate::cli::Context;
use crate::cli::output::{Output, Table, printable, shortened};
use crate::cli::target::Target;
use crate::client::{Connection, Pages, understood};
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Lists them, oldest first.
    List {
        /// Only of this function.
        #[arg(long, value_name = "NAME")]
        function: Option<String>,
        /// Only from this hub.
        #[arg(long, value_name = "NAME")]
        hub: Option<String>,
        /// Only of this class: permanent or exhausted.
        #[arg(long, value_name = "CLASS")]
        class: Option<String>,
        /// Show at most so many.
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// Begin after the one with this id.
        #[arg(long, value_name = "ID")]
        after: Option<u64>,
        #[command(flatten)]
        target: Target,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Shows one with everything that is known about it.
    Show {
        /// Its id.
        id: u64,
        #[command(flatten)]
        target: Target,
        /// One JSON object on one line.
        #[arg(long)]
        json: bool,
    },
}

/// What is shown of a dead letter.
#[derive(Deserialize)]
struct Letter {
    id: u64,
    function: String,
    function_version: String,
    hub: String,
    partition: u32,
    sequence_number: u64,
    enqueued_at: String,
    dead_lettered_at: String,
    partition_key: Option<String>,
    properties: serde_json::Value,
    class: String,
    reason: String,
    attempts: Vec<Attempt>,
    body_base64: String,
    document: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Attempt {
    at: String,
    error: String,
}

const COLUMNS: [&str; 7] = [">id", "function", "hub", ">partition", ">sequence", "class", "reason"];

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let (target, json) = match &args.action {
        Action::List { target, json, .. } | Action::Show { target, json, .. } => (target, *json),
    };
    let connected = target.connect(&context).await?;
    let mut output = Output::new(json);
    let next = match &args.action {
        Action::Show { id, .. } => show(&connected.connection, &mut output, *id).await?,
        Action::List { function, hub, class, limit, after, .. } => {
            let after = after.map(|id| id.to_string());
            let conditions = [("function", function), ("hub", hub), ("class", class), ("after", &after)];
            let query: Vec<String> = conditions
                .iter()
                .filter_map(|(name, value)| Some(format!("{name}={}", percent_encode(value.as_deref()?))))
                .collect();
            let path = format!("/api/v1/dead-letters?{}", query.join("&"));
            list(Pages::new(&connected.connection, path, "after", *limit), &mut output, target).await?
        }
    };
    output.finish(&next)?;
    connected.close().await?;
    Ok(Exit::Done)
}

async fn list(mut pages: Pages<'_>, output: &mut Output, target: &Target) -> Result<Vec<String>, Failure> {
    let mut table = Table::new(&COLUMNS);
    let (mut count, mut first) = (0u64, None);
    while let Some(line) = pages.next().await? {
        count += 1;
        if output.is_json() {
            output.raw_line(&line)?;
            continue;
        }
        let letter: Letter = understood(&line)?;
        first.get_or_insert(letter.id);
        table.row(vec![
            letter.id.to_string(),
            letter.function,
            letter.hub,
            letter.partition.to_string(),
            letter.sequence_number.to_string(),
            letter.class,
            shortened(&letter.reason, 80),
        ]);
        if count.is_multiple_of(1000) {
            output.table(&std::mem::replace(&mut table, Table::new(&COLUMNS)))?;
        }
    }
    if output.is_json() {
        return Ok(Vec::new());
    }
    let Some(first) = first else {
        output.line("there are no dead letters")?;
        return Ok(Vec::new());
    };
    output.table(&table)?;
    output.line(&format!("{count} dead letters"))?;
    Ok(vec![format!("tidegate dead-letters show {first}{}", target.options())])
}

async fn show(connection: &Connection, output: &mut Output, id: u64) -> Result<Vec<String>, Failure> {
    let body = connection.get(&format!("/api/v1/dead-letters/{id}")).await?.into_body();
    if output.is_json() {
        output.raw_line(&body)?;
        return Ok(Vec::new());
    }
    let letter: Letter = understood(&body)?;
    output.heading(&format!("dead letter {}", letter.id))?;
    let event = STANDARD.decode(&letter.body_base64).unwrap_or_default();
    for (name, value) in [
        ("class", letter.class),
        ("reason", letter.reason),
        ("function", format!("{} (version {})", letter.function, letter.function_version)),
        ("event", format!("{}/{}/{}", letter.hub, letter.partition, letter.sequence_number)),
        ("key", letter.partition_key.unwrap_or_else(|| "none".to_owned())),
        ("enqueued", letter.enqueued_at),
        ("set aside", letter.dead_lettered_at),
        ("properties", letter.properties.to_string()),
        ("document", letter.document.map_or_else(|| "not known".to_owned(), |document| document.to_string())),
    ] {
        output.line(&format!("  {name:<11}{}", printable(&value)))?;
    }
    for (place, attempt) in letter.attempts.iter().enumerate() {
        output.line(&format!("  attempt {:<3}{}  {}", place + 1, attempt.at, printable(&attempt.error)))?;
    }
    output.line(&format!("  body ({} bytes)", event.len()))?;
    output.line(&format!("    {}", printable(&String::from_utf8_lossy(&event))))?;
    Ok(Vec::new())
}
