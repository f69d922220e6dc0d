//! `dead-letters lease`, `extend` and `release`: who works on what.

use crate::cli::Context;
use crate::cli::dead_letters::act::{Act, Done};
use crate::cli::dead_letters::filter::Filter;
use crate::cli::listing::{Asking, address};
use crate::client::{lines, understood};
use crate::failure::{Exit, Failure};

#[derive(clap::Args)]
pub(super) struct LeaseArgs {
    #[command(flatten)]
    filter: Filter,
    /// Lease at most so many.
    #[arg(long, value_name = "N")]
    limit: u64,
    /// For how long, such as 5m; at most 24h.
    #[arg(long = "for", value_name = "DURATION")]
    length: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
pub(super) struct ExtendArgs {
    /// Their numbers.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<u64>,
    /// For how long from now, such as 5m; at most 24h.
    #[arg(long = "for", value_name = "DURATION")]
    length: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
pub(super) struct ReleaseArgs {
    /// Their numbers.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<u64>,
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn lease(args: LeaseArgs, context: &Context) -> Result<Exit, Failure> {
    #[derive(serde::Deserialize)]
    struct Leased {
        id: u64,
        reason: String,
        lease: Option<Until>,
    }
    #[derive(serde::Deserialize)]
    struct Until {
        holder: String,
        until: String,
    }
    let mut parameters = args.filter.parameters(&*context.clock)?;
    parameters.extend([("limit", Some(args.limit.to_string())), ("for", Some(args.length))]);
    let mut session = args.asking.open(context).await?;
    let path = address("/api/v1/dead-letters/lease", &parameters);
    let answer = session.connection().post_json(&path, &serde_json::json!({})).await?;
    let mut ids = Vec::new();
    for line in lines(&answer) {
        if args.asking.json {
            session.output.raw_line(&line)?;
            continue;
        }
        let leased: Leased = understood(&line)?;
        ids.push(leased.id.to_string());
        let Until { holder, until } =
            leased.lease.unwrap_or(Until { holder: "nobody".to_owned(), until: String::new() });
        let reason = crate::cli::output::shortened(&crate::cli::output::printable(&leased.reason), 80);
        session.output.line(&format!("  {:>6}  {holder} until {until}  {reason}", leased.id))?;
    }
    let Some(first) = ids.first() else {
        if !args.asking.json {
            session.output.line("there are no open dead letters that are nobody's")?;
        }
        return session.finish(&[]).await;
    };
    let next = [format!("dead-letters show {first}"), format!("dead-letters release {}", ids.join(" "))];
    session.finish(&next).await
}

pub(super) async fn extend(args: ExtendArgs, context: &Context) -> Result<Exit, Failure> {
    let path = address("/api/v1/dead-letters/extend-lease", &[("for", Some(args.length))]);
    act_on(&path, &args.ids, &args.asking, context, "have a longer lease").await
}

pub(super) async fn release(args: ReleaseArgs, context: &Context) -> Result<Exit, Failure> {
    act_on("/api/v1/dead-letters/release", &args.ids, &args.asking, context, "are nobody's").await
}

async fn act_on(
    path: &str,
    ids: &[u64],
    asking: &Asking,
    context: &Context,
    what: &str,
) -> Result<Exit, Failure> {
    let mut session = asking.open(context).await?;
    let mut done = Done::default();
    Act { path, reason: "", force: false, already: &[] }.on(ids, &mut session, &mut done).await?;
    if !asking.json {
        session.output.line(&format!("{} dead letters {what} now", done.count()))?;
    }
    session.finish(&["dead-letters list --status open".to_owned()]).await?;
    let problems = done.failure();
    if problems.is_empty() { Ok(Exit::Done) } else { Err(Failure { problems, exit: Exit::Failed }) }
}
