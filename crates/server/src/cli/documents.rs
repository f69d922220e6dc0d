//! `tidegate documents`: what functions made of the events.

use bytes::Bytes;
use clap::Subcommand;
use serde::Deserialize;
use serde_json::value::RawValue;

use tidegate_api::{DocumentHistory, QueryRequest, TRUNCATED_HEADER};

use crate::api::members::Members;
use crate::api::page::percent_encode;
use crate::cli::Context;
use crate::cli::listing::{Asking, Listing, Session, address};
use crate::cli::output::{Output, Table, grouped, quoted_word, shortened};
use crate::client::{lines, understood};
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Lists the collections.
    Collections {
        #[command(flatten)]
        asking: Asking,
    },
    /// Lists the documents of a collection, ordered by id.
    List {
        /// The collection.
        collection: String,
        /// Show at most so many.
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// Begin after this id.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Shows one document.
    Get {
        /// The collection.
        collection: String,
        /// The document.
        id: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Tells which events of the log made a document, the newest first, and what became of each.
    History {
        /// The collection.
        collection: String,
        /// The document.
        id: String,
        /// Events of this partition; by default of the one of its last writer.
        #[arg(long, value_name = "N")]
        partition: Option<u32>,
        /// Only events before this sequence number.
        #[arg(long, value_name = "N")]
        before: Option<u64>,
        /// Show at most so many; there are at most 100 in an answer.
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Asks a question in SQL. Each collection is a table of its own name; its columns are id, document (the JSON text),
    /// partition, sequence_number, etag, updated_at, and each member that the documents have at their top level.
    Query {
        /// One SELECT statement, such as "SELECT id, altitude FROM aircraft ORDER BY altitude DESC LIMIT 10".
        sql: String,
        #[command(flatten)]
        asking: Asking,
    },
}

/// What is shown of a document in a list.
#[derive(Deserialize)]
struct Row {
    id: String,
    partition: u32,
    sequence_number: u64,
    updated_at: String,
    document: Box<RawValue>,
}

#[derive(Deserialize)]
struct Collection {
    collection: String,
    documents: u64,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let (Action::Collections { asking }
    | Action::List { asking, .. }
    | Action::Get { asking, .. }
    | Action::History { asking, .. }
    | Action::Query { asking, .. }) = &args.action;
    let mut session = asking.open(&context).await?;
    let next = match &args.action {
        Action::Collections { .. } => collections(&mut session).await?,
        Action::List { collection, limit, after, .. } => {
            list(&mut session, collection, *limit, after.clone()).await?
        }
        Action::Get { collection, id, .. } => get(&mut session, collection, id).await?,
        Action::History { collection, id, partition, before, limit, .. } => {
            let parameters = [
                ("partition", partition.map(|partition| partition.to_string())),
                ("before", before.map(|before| before.to_string())),
                ("limit", limit.map(|limit| limit.to_string())),
            ];
            history(&mut session, collection, id, &parameters).await?
        }
        Action::Query { sql, .. } => query(&mut session, sql).await?,
    };
    session.finish(&next).await
}

async fn collections(session: &mut Session) -> Result<Vec<String>, Failure> {
    let mut first = None;
    let listing = Listing::all("/api/v1/collections", &["collection", ">documents"]);
    let count = session.list(listing, |row: Collection, rows| {
        first.get_or_insert_with(|| row.collection.clone());
        rows.push(vec![row.collection, row.documents.to_string()]);
    });
    if count.await? == 0 && !session.output.is_json() {
        session.output.line("there are no documents yet")?;
    }
    Ok(first.map(|first| format!("documents list {first}")).into_iter().collect())
}

async fn list(
    session: &mut Session,
    collection: &str,
    limit: Option<u64>,
    after: Option<String>,
) -> Result<Vec<String>, Failure> {
    let path = format!("/api/v1/collections/{}/documents", percent_encode(collection));
    let columns = ["id", "document", ">partition", ">sequence", "updated"];
    let listing = Listing::all(address(&path, &[("after", after)]), &columns).limit(limit);
    let mut first = None;
    let count = session.list(listing, |row: Row, rows| {
        first.get_or_insert_with(|| row.id.clone());
        rows.push(vec![
            shortened(&row.id, 40),
            shortened(row.document.get(), 70),
            row.partition.to_string(),
            row.sequence_number.to_string(),
            row.updated_at,
        ]);
    });
    let count = count.await?;
    if session.output.is_json() {
        return Ok(Vec::new());
    }
    let Some(first) = first else {
        session.output.line(&format!("the collection {collection} has no documents"))?;
        return Ok(vec!["documents collections".to_owned()]);
    };
    session.output.line(&format!("{} documents", grouped(count)))?;
    Ok(vec![format!("documents get {collection} {}", quoted_word(&first))])
}

async fn get(session: &mut Session, collection: &str, id: &str) -> Result<Vec<String>, Failure> {
    let path = format!("/api/v1/collections/{}/documents/{}", percent_encode(collection), percent_encode(id));
    let body = session.connection().get(&path).await?.into_body();
    if session.output.is_json() {
        session.output.raw_line(&body)?;
    } else {
        let value: serde_json::Value = understood(&body)?;
        session.output.line(&format!("{value:#}"))?;
    }
    Ok(Vec::new())
}

async fn history(
    session: &mut Session,
    collection: &str,
    id: &str,
    parameters: &[(&str, Option<String>)],
) -> Result<Vec<String>, Failure> {
    let path = format!(
        "/api/v1/collections/{}/documents/{}/history",
        percent_encode(collection),
        percent_encode(id)
    );
    let body = session.connection().get(&address(&path, parameters)).await?.into_body();
    if session.output.is_json() {
        session.output.raw_line(&body)?;
        return Ok(Vec::new());
    }
    let history: DocumentHistory = understood(&body)?;
    let mut table = Table::new(&[">partition", ">sequence", "enqueued at", "outcome", "body"]);
    for writer in &history.writers {
        table.row(vec![
            writer.partition.to_string(),
            writer.sequence_number.to_string(),
            writer.enqueued_at.to_string(),
            writer.outcome.clone(),
            shortened(writer.preview.as_deref().unwrap_or_default(), 60),
        ]);
    }
    session.output.table(&table)?;
    if history.next.is_none() && history.head > 0 {
        let dropped = format!("what was before the event {} is dropped from the log", history.head);
        session.output.line(&dropped)?;
    }
    let of_partition = parameters.iter().find(|(name, value)| *name == "partition" && value.is_some());
    let of_partition = of_partition.and_then(|(_, value)| value.as_ref());
    let partition = of_partition.map(|partition| format!(" --partition {partition}")).unwrap_or_default();
    let id = quoted_word(id);
    let older =
        history.next.map(|next| format!("documents history {collection} {id}{partition} --before {next}"));
    let first = history.writers.first().map(|writer| {
        let (hub, partition, number) = (&history.hub, writer.partition, writer.sequence_number);
        format!("trace --hub {hub} --partition {partition} --sequence {number}")
    });
    Ok(first.into_iter().chain(older).collect())
}

async fn query(session: &mut Session, sql: &str) -> Result<Vec<String>, Failure> {
    let request = serde_json::to_vec(&QueryRequest { sql: sql.to_owned() }).expect("a query has a JSON form");
    let answer = session.connection().post("/api/v1/query", "application/json", Bytes::from(request)).await?;
    let truncated = answer.headers().contains_key(TRUNCATED_HEADER);
    let rows = answer.into_body();
    let rows = lines(&rows);
    let output = &mut session.output;
    if output.is_json() {
        for row in rows {
            output.raw_line(&row)?;
        }
    } else {
        show_rows(rows, output)?;
    }
    if truncated {
        output.warn("there are more rows than one answer holds; narrow the question down")?;
    }
    Ok(Vec::new())
}

fn show_rows(rows: impl Iterator<Item = Bytes>, output: &mut Output) -> Result<(), Failure> {
    let mut table: Option<Table> = None;
    for row in rows {
        // Members keep the order of the columns, which a map would not.
        let row: Members<serde_json::Value> = understood(&row)?;
        let table =
            table.get_or_insert_with(|| Table::with_columns(row.0.iter().map(|(name, _)| name.clone())));
        table.row(row.0.into_iter().map(|(_, value)| cell(&value)).collect());
    }
    match table {
        Some(table) => output.table(&table),
        None => output.line("no rows"),
    }
}

fn cell(value: &serde_json::Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    shortened(&text, 80)
}
