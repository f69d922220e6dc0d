//! Dead letters as they are: `list`, `groups` and `show`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::diff::pretty;
use crate::cli::Context;
use crate::cli::dead_letters::filter::Filter;
use crate::cli::listing::{Asking, Listing, Session, address};
use crate::cli::output::{Output, grouped, printable, shortened};
use crate::client::understood;
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// Show at most so many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Show the newest first.
    #[arg(long)]
    newest: bool,
    /// Begin after the one with this id, in the order in which they are shown.
    #[arg(long, value_name = "ID")]
    after: Option<u64>,
    #[command(flatten)]
    asking: Asking,
}

/// What is shown of a dead letter in a list.
#[derive(Deserialize)]
struct Row {
    id: u64,
    status: String,
    function: String,
    hub: String,
    partition: u32,
    sequence_number: u64,
    class: String,
    reason: String,
    returns: u32,
}

const COLUMNS: [&str; 9] =
    [">id", "status", "function", "hub", ">partition", ">sequence", "class", ">returns", "reason"];

pub(super) async fn list(args: ListArgs, context: &Context) -> Result<Exit, Failure> {
    let mut parameters = args.filter.parameters(&*context.clock)?;
    let mut session = args.asking.open(context).await?;
    parameters.push(("order", args.newest.then(|| "newest".to_owned())));
    parameters.push(("after", args.after.map(|id| id.to_string())));
    let listing = Listing::all(address("/api/v1/dead-letters", &parameters), &COLUMNS).limit(args.limit);
    let mut first = None;
    let count = session.list(listing, |letter: Row, rows| {
        first.get_or_insert(letter.id);
        rows.push(vec![
            letter.id.to_string(),
            letter.status,
            letter.function,
            letter.hub,
            letter.partition.to_string(),
            letter.sequence_number.to_string(),
            letter.class,
            letter.returns.to_string(),
            shortened(&letter.reason, 80),
        ]);
    });
    let count = count.await?;
    if count == 0 {
        session.nothing_found_of(args.filter.function()).await?;
    }
    if !args.asking.json {
        session.output.line(&match count {
            0 if args.filter.is_empty() => "there are no dead letters".to_owned(),
            0 => "there are no dead letters that match".to_owned(),
            count => format!("{} dead letters", grouped(count)),
        })?;
    }
    let next = first.map(|id| vec!["dead-letters groups".to_owned(), format!("dead-letters show {id}")]);
    session.finish(&next.unwrap_or_default()).await
}

#[derive(clap::Args)]
pub(super) struct GroupsArgs {
    #[command(flatten)]
    filter: Filter,
    /// Show at most so many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Deserialize)]
struct Group {
    fingerprint: String,
    function: String,
    class: String,
    reason: String,
    count: u64,
    first_at: String,
    last_at: String,
    example: u64,
}

pub(super) const GROUP_COLUMNS: [&str; 8] =
    ["cause", ">count", "function", "class", "first", "last", ">example", "reason"];

pub(super) async fn groups(args: GroupsArgs, context: &Context) -> Result<Exit, Failure> {
    let asked = args.filter;
    let mut filter = asked.clone();
    if !filter.has_status() {
        // What is settled needs nobody's attention.
        filter = filter.with_status("open,quarantined");
    }
    let parameters = filter.parameters(&*context.clock)?;
    let mut session = args.asking.open(context).await?;
    let listing =
        Listing::all(address("/api/v1/dead-letter-groups", &parameters), &GROUP_COLUMNS).limit(args.limit);
    let first = list_groups(&mut session, listing).await?;
    if first.is_none() {
        session.nothing_found_of(filter.function()).await?;
    }
    if first.is_none() && !args.asking.json {
        session.output.line("there are no dead letters that wait for a decision")?;
    }
    let next = first.map(|(cause, example)| {
        vec![
            format!("dead-letters show {example}"),
            format!("dead-letters redrive{} --dry-run", asked.with_cause(&cause).options()),
        ]
    });
    session.finish(&next.unwrap_or_default()).await
}

/// Lists groups; the fingerprint and the example of the first.
pub(super) async fn list_groups(
    session: &mut Session,
    listing: Listing<'_>,
) -> Result<Option<(String, u64)>, Failure> {
    let mut first = None;
    let listed = session.list(listing, |group: Group, rows| {
        first.get_or_insert_with(|| (group.fingerprint.clone(), group.example));
        rows.push(vec![
            group.fingerprint,
            grouped(group.count),
            group.function,
            group.class,
            group.first_at,
            group.last_at,
            group.example.to_string(),
            shortened(&group.reason, 80),
        ]);
    });
    listed.await?;
    Ok(first)
}

#[derive(clap::Args)]
pub(super) struct ShowArgs {
    /// Its id.
    id: u64,
    #[command(flatten)]
    asking: Asking,
}

/// What is shown of a dead letter.
#[derive(Deserialize)]
struct Shown {
    id: u64,
    status: String,
    changed_at: String,
    fingerprint: String,
    redrives: u32,
    returns: u32,
    revision: u32,
    lease: Option<LeaseOf>,
    function: String,
    function_version: String,
    hub: String,
    partition: u32,
    sequence_number: u64,
    enqueued_at: String,
    dead_lettered_at: String,
    partition_key: Option<String>,
    properties: Box<RawValue>,
    system_properties: Box<RawValue>,
    class: String,
    reason: String,
    attempts: Vec<Attempt>,
    body_base64: String,
    edited_diff: Option<String>,
    document: Option<Document>,
    document_now: Option<Document>,
    document_diff: Option<String>,
    history: Vec<Entry>,
    history_truncated: bool,
}

#[derive(Deserialize)]
struct LeaseOf {
    holder: String,
    until: String,
}

#[derive(Deserialize)]
struct Attempt {
    at: String,
    kind: String,
    error: String,
}

#[derive(Deserialize)]
struct Document {
    collection: String,
    id: String,
    body: Option<Box<RawValue>>,
}

/// A line of the audit trail.
#[derive(Deserialize)]
struct Entry {
    action: String,
    by: String,
    reason: String,
    at: String,
    detail: serde_json::Value,
}

pub(super) async fn show(args: ShowArgs, context: &Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(context).await?;
    let body = session.connection().get(&format!("/api/v1/dead-letters/{}", args.id)).await?.into_body();
    if args.asking.json {
        session.output.raw_line(&body)?;
        return session.finish(&[]).await;
    }
    let shown: Shown = understood(&body)?;
    let id = shown.id;
    let next = match shown.status.as_str() {
        "open" | "quarantined" => vec![
            format!("dead-letters edit {id} --reason TEXT"),
            format!("dead-letters redrive {id} --reason TEXT"),
            format!("dead-letters discard {id} --reason TEXT"),
        ],
        "redriving" => {
            let Shown { function, hub, partition, sequence_number, .. } = &shown;
            vec![format!("parked try {function}/{hub}/{partition}/{sequence_number}")]
        }
        _ => Vec::new(),
    };
    tell(shown, &mut session.output)?;
    session.finish(&next).await
}

fn tell(shown: Shown, output: &mut Output) -> Result<(), Failure> {
    output.heading(&format!("dead letter {}", shown.id))?;
    let lease = shown.lease.map(|lease| format!("{} until {}", lease.holder, lease.until));
    for (name, value) in [
        ("status", format!("{} since {}", shown.status, shown.changed_at)),
        ("class", shown.class),
        ("reason", shown.reason),
        ("cause", shown.fingerprint),
        ("function", format!("{} (version {})", shown.function, shown.function_version)),
        ("event", format!("{}/{}/{}", shown.hub, shown.partition, shown.sequence_number)),
        ("key", shown.partition_key.unwrap_or_else(|| "none".to_owned())),
        ("enqueued", shown.enqueued_at),
        ("set aside", shown.dead_lettered_at),
        ("redriven", format!("{} times, came back {} times", shown.redrives, shown.returns)),
        ("leased to", lease.unwrap_or_else(|| "nobody".to_owned())),
        ("properties", shown.properties.get().to_owned()),
        ("system", shown.system_properties.get().to_owned()),
    ] {
        output.line(&format!("  {name:<11}{}", printable(&value)))?;
    }
    for (place, attempt) in shown.attempts.iter().enumerate() {
        output.line(&format!(
            "  attempt {:<3}{}  {}: {}",
            place + 1,
            attempt.at,
            attempt.kind,
            printable(&attempt.error)
        ))?;
    }
    let event = STANDARD.decode(&shown.body_base64).unwrap_or_default();
    output.line(&format!("  body ({} bytes)", event.len()))?;
    block(output, &String::from_utf8_lossy(&event))?;
    if let Some(diff) = shown.edited_diff {
        output.heading(&format!("edited, revision {}", shown.revision))?;
        tell_diff(output, &diff)?;
    }
    match (shown.document, shown.document_now) {
        (Some(then), now) => {
            output.heading(&format!(
                "document {} of {} at that time",
                printable(&then.id),
                then.collection
            ))?;
            let text = |body: Option<Box<RawValue>>| {
                body.map_or_else(|| "there was none".to_owned(), |body| readable(body.get()))
            };
            block(output, &text(then.body))?;
            match shown.document_diff.filter(|diff| !diff.is_empty()) {
                Some(_) if now.is_some_and(|now| now.body.is_none()) => output.line("  there is none now")?,
                Some(diff) => {
                    output.heading("what changed in it since")?;
                    tell_diff(output, &diff)?;
                }
                None => output.line("  it is the same now")?,
            }
        }
        (None, _) => output.line("  document   not known")?,
    }
    if !shown.history.is_empty() {
        output.heading("what was done")?;
    }
    for entry in shown.history {
        let reason = if entry.reason.is_empty() { String::new() } else { format!(": {}", entry.reason) };
        output.line(&printable(&format!("  {}  {} by {}{reason}", entry.at, entry.action, entry.by)))?;
        if let Some(diff) = entry.detail.get("diff").and_then(serde_json::Value::as_str) {
            tell_diff(output, diff)?;
        }
    }
    if shown.history_truncated {
        output.line(&format!("  … and more; see `tidegate trail --subject {}`", shown.id))?;
    }
    Ok(())
}

/// JSON with a member a line; text as it is.
fn readable(text: &str) -> String {
    pretty(text).unwrap_or_else(|| text.to_owned())
}

fn block(output: &mut Output, text: &str) -> Result<(), Failure> {
    for line in text.lines() {
        output.line(&format!("    {}", printable(line)))?;
    }
    Ok(())
}

/// Prints a difference, what went in the colour of bad news and what came in that of good news.
pub(super) fn tell_diff(output: &mut Output, diff: &str) -> Result<(), Failure> {
    for line in diff.lines() {
        let text = format!("    {}", printable(line));
        let text = match line.as_bytes().first() {
            Some(b'+') => output.good(&text),
            Some(b'-') => output.bad(&text),
            _ => text,
        };
        output.line(&text)?;
    }
    Ok(())
}
