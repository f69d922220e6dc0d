//! `tidegate documents`: what functions made of the events.

use bytes::Bytes;
use clap::Subcommand;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::page::percent_encode;
use crate::api::{QueryRequest, TRUNCATED_HEADER};
use crate::cli::Context;
use crate::cli::output::{Output, Table, shortened};
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
    /// Lists the collections.
    Collections {
        #[command(flatten)]
        target: Target,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
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
        target: Target,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Shows one document.
    Get {
        /// The collection.
        collection: String,
        /// The document.
        id: String,
        #[command(flatten)]
        target: Target,
        /// One JSON object on one line.
        #[arg(long)]
        json: bool,
    },
    /// Asks a question in SQL. Each collection is a table of its own name; its columns are id, document (the JSON text),
    /// partition, sequence_number, etag, updated_at, and each member that the documents have at their top level.
    Query {
        /// One SELECT statement, such as "SELECT id, altitude FROM aircraft ORDER BY altitude DESC LIMIT 10".
        sql: String,
        #[command(flatten)]
        target: Target,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// What is shown of a document in a list.
#[derive(Deserialize)]
struct Row<'a> {
    id: String,
    partition: u32,
    sequence_number: u64,
    updated_at: String,
    #[serde(borrow)]
    document: &'a RawValue,
}

#[derive(Deserialize)]
struct Collection {
    collection: String,
    documents: u64,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let (target, json) = match &args.action {
        Action::Collections { target, json }
        | Action::List { target, json, .. }
        | Action::Get { target, json, .. }
        | Action::Query { target, json, .. } => (target, *json),
    };
    let connected = target.connect(&context).await?;
    let mut output = Output::new(json);
    let connection = &connected.connection;
    let next = match &args.action {
        Action::Collections { .. } => collections(connection, &mut output, target).await?,
        Action::List { collection, limit, after, .. } => {
            list(connection, &mut output, target, collection, *limit, after.as_deref()).await?
        }
        Action::Get { collection, id, .. } => get(connection, &mut output, collection, id).await?,
        Action::Query { sql, .. } => query(connection, &mut output, sql).await?,
    };
    output.finish(&next)?;
    connected.close().await?;
    Ok(Exit::Done)
}

async fn collections(
    connection: &Connection,
    output: &mut Output,
    target: &Target,
) -> Result<Vec<String>, Failure> {
    let mut pages = Pages::new(connection, "/api/v1/collections".to_owned(), "after", None);
    let mut table = Table::new(&["collection", ">documents"]);
    let mut first = None;
    while let Some(line) = pages.next().await? {
        if output.is_json() {
            output.raw_line(&line)?;
            continue;
        }
        let row: Collection = understood(&line)?;
        first.get_or_insert_with(|| row.collection.clone());
        table.row(vec![row.collection, row.documents.to_string()]);
    }
    if output.is_json() {
        return Ok(Vec::new());
    }
    let Some(first) = first else {
        output.line("there are no documents yet")?;
        return Ok(Vec::new());
    };
    output.table(&table)?;
    Ok(vec![format!("tidegate documents list {first}{}", target.options())])
}

async fn list(
    connection: &Connection,
    output: &mut Output,
    target: &Target,
    collection: &str,
    limit: Option<u64>,
    after: Option<&str>,
) -> Result<Vec<String>, Failure> {
    let after = after.map(|id| format!("?after={}", percent_encode(id))).unwrap_or_default();
    let path = format!("/api/v1/collections/{}/documents{after}", percent_encode(collection));
    let mut pages = Pages::new(connection, path, "after", limit);
    let mut table = Table::new(&["id", "document", ">partition", ">sequence", "updated"]);
    let (mut count, mut first) = (0u64, None);
    while let Some(line) = pages.next().await? {
        count += 1;
        if output.is_json() {
            output.raw_line(&line)?;
            continue;
        }
        let row: Row<'_> = understood(&line)?;
        first.get_or_insert_with(|| row.id.clone());
        table.row(vec![
            shortened(&row.id, 40),
            shortened(row.document.get(), 70),
            row.partition.to_string(),
            row.sequence_number.to_string(),
            row.updated_at,
        ]);
        // A table of everything would need all of it in memory at once.
        if count.is_multiple_of(1000) {
            output.table(&std::mem::replace(
                &mut table,
                Table::new(&["id", "document", ">partition", ">sequence", "updated"]),
            ))?;
        }
    }
    if output.is_json() {
        return Ok(Vec::new());
    }
    let Some(first) = first else {
        output.line(&format!("the collection {collection} has no documents"))?;
        return Ok(vec![format!("tidegate documents collections{}", target.options())]);
    };
    output.table(&table)?;
    output.line(&format!("{count} documents"))?;
    Ok(vec![format!("tidegate documents get {collection} {first}{}", target.options())])
}

async fn get(
    connection: &Connection,
    output: &mut Output,
    collection: &str,
    id: &str,
) -> Result<Vec<String>, Failure> {
    let path = format!("/api/v1/collections/{}/documents/{}", percent_encode(collection), percent_encode(id));
    let body = connection.get(&path).await?.into_body();
    if output.is_json() {
        output.raw_line(&body)?;
    } else {
        let value: serde_json::Value = understood(&body)?;
        output.line(&format!("{value:#}"))?;
    }
    Ok(Vec::new())
}

async fn query(connection: &Connection, output: &mut Output, sql: &str) -> Result<Vec<String>, Failure> {
    let request = serde_json::to_vec(&QueryRequest { sql: sql.to_owned() }).expect("a query has a JSON form");
    let answer = connection.post("/api/v1/query", "application/json", Bytes::from(request)).await?;
    let truncated = answer.headers().contains_key(TRUNCATED_HEADER);
    let rows = answer.into_body();
    let rows = rows.split(|byte| *byte == b'\n').filter(|row| !row.is_empty());
    if output.is_json() {
        for row in rows {
            output.raw_line(row)?;
        }
    } else {
        show_rows(rows, output)?;
    }
    if truncated {
        output.warn("there are more rows than one answer holds; narrow the question down")?;
    }
    Ok(Vec::new())
}

fn show_rows<'r>(rows: impl Iterator<Item = &'r [u8]>, output: &mut Output) -> Result<(), Failure> {
    let mut table: Option<Table> = None;
    for row in rows {
        // Members keep the order of the columns, which a map would not.
        let row: Members = understood(row)?;
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

/// The members of an object in their order.
struct Members(Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
