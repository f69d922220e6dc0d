//! `tidegate circuit`, `tidegate pause` and `tidegate resume`: whether functions are given events.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Deserialize;

use tidegate_api::FailureCause;

use tidegate_model::circuit::is_only_failing;

use crate::api::page::percent_encode;
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
    /// Shows how the circuits stand, and what they are judged by.
    Status {
        /// Only of this function.
        function: Option<String>,
        /// The configuration that the circuits are judged by, where no server runs that knows it.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Shows why events failed in the last hour, with how often and an event each.
    Failures {
        /// Only of this function, or of those that need this dependency.
        function: Option<String>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Opens a circuit: its function gets no events until a person closes or probes it.
    Open(ActArgs),
    /// Closes a circuit, whatever probes say: events flow again.
    Close(ActArgs),
    /// Lets one event through an open circuit, to see: it closes if that goes well.
    Probe(ActArgs),
}

#[derive(clap::Args)]
struct ActArgs {
    /// The function.
    function: String,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
pub(crate) struct PauseArgs {
    /// The function.
    function: String,
    /// Only in this partition.
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// The hub of the partition, where the function reads several.
    #[arg(long, value_name = "NAME", requires = "partition")]
    hub: Option<String>,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
pub(crate) struct ResumeArgs {
    /// The function. Without it: shows what is paused.
    function: Option<String>,
    /// Only in this partition.
    #[arg(long, value_name = "N", requires = "function")]
    partition: Option<u32>,
    /// The hub of the partition, where the function reads several.
    #[arg(long, value_name = "NAME", requires = "partition")]
    hub: Option<String>,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Deserialize)]
struct Row {
    function: String,
    state: String,
    since: Option<String>,
    reason: String,
    by: String,
    manual: bool,
    next_probe_at: Option<String>,
    failures_in_window: u64,
    threshold: Option<u64>,
    window_s: u64,
    paused: Option<Pause>,
    paused_lanes: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Pause {
    since: String,
    reason: String,
}

const COLUMNS: [&str; 6] = ["function", "state", "since", "failures in the window", "paused", "reason"];

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    match args.action {
        Action::Status { function, config, asking } => {
            status(function, config.as_deref(), &asking, &context).await
        }
        Action::Failures { function, asking } => failures(function, &asking, &context).await,
        Action::Open(args) => act("open", &args, &context).await,
        Action::Close(args) => act("close", &args, &context).await,
        Action::Probe(args) => act("probe", &args, &context).await,
    }
}

async fn status(
    function: Option<String>,
    config: Option<&Path>,
    asking: &Asking,
    context: &Context,
) -> Result<Exit, Failure> {
    let mut session = asking.open_with(context, config).await?;
    let listing = Listing::all(address("/api/v1/circuits", &[("function", function)]), &COLUMNS);
    let (mut open, mut paused) = (None, None);
    let mut why = Vec::new();
    let listed = session.list(listing, |row: Row, rows| {
        if row.state != "closed" {
            open.get_or_insert_with(|| (row.function.clone(), is_only_failing(&row.reason)));
            why.push(format!("the circuit of {} is {}: {}", row.function, row.state, row.reason));
        }
        if row.paused.is_some() {
            paused.get_or_insert_with(|| row.function.clone());
        }
        let mut reason = shortened(&row.reason, 60);
        if !row.by.is_empty() {
            reason = format!("{reason} ({})", row.by);
        }
        match row.next_probe_at {
            Some(at) => reason.push_str(&format!("; probed at {at}")),
            None if row.manual => reason.push_str("; waits for a person"),
            None => {}
        }
        let pauses = match (row.paused, row.paused_lanes.len()) {
            (Some(pause), _) => format!("since {}: {}", pause.since, shortened(&pause.reason, 40)),
            (None, 0) => "no".to_owned(),
            (None, lanes) => format!("{lanes} partitions"),
        };
        rows.push(vec![
            row.function,
            row.state,
            row.since.unwrap_or_else(|| "-".to_owned()),
            match row.threshold {
                Some(threshold) => {
                    format!(
                        "{} of {} in {} s",
                        grouped(row.failures_in_window),
                        grouped(threshold),
                        row.window_s
                    )
                }
                None => {
                    format!("{} in {} s; threshold not known", grouped(row.failures_in_window), row.window_s)
                }
            },
            pauses,
            reason,
        ]);
    });
    if listed.await? == 0 && !asking.json {
        session.output.line("there are no functions here yet")?;
    }
    if !asking.json {
        for line in &why {
            session.output.line(line)?;
        }
    }
    let mut next: Vec<String> = Vec::new();
    if let Some((function, is_only_failing)) = open {
        next.push(match is_only_failing {
            // Another probe would say the same.
            true => format!("parked list --function {function}"),
            false => format!("circuit probe {function} --reason TEXT"),
        });
        next.push(format!("circuit close {function} --reason TEXT"));
    }
    if let Some(function) = paused {
        next.push(format!("resume {function}"));
    }
    session.finish(&next).await
}

const CAUSES: [&str; 6] = [">attempts", "function", "kind", "last", "event", "cause"];

async fn failures(function: Option<String>, asking: &Asking, context: &Context) -> Result<Exit, Failure> {
    let mut session = asking.open(context).await?;
    let listing = Listing::all(address("/api/v1/failures", &[("function", function)]), &CAUSES);
    let mut trace = None;
    let listed = session.list(listing, |cause: FailureCause, rows| {
        let FailureCause { hub, partition, sequence_number, .. } = cause;
        trace.get_or_insert_with(|| {
            format!("trace --hub {hub} --partition {partition} --sequence {sequence_number}")
        });
        rows.push(vec![
            grouped(cause.attempts),
            cause.function,
            cause.kind.unwrap_or_else(|| "-".to_owned()),
            cause.last_at.to_string(),
            format!("{hub}/{partition}/{sequence_number}"),
            shortened(&cause.error, 100),
        ]);
    });
    if listed.await? == 0 && !asking.json {
        session.output.line("no attempt failed in the last hour")?;
    }
    session.finish(&trace.into_iter().collect::<Vec<_>>()).await
}

#[derive(Deserialize)]
struct Acted {
    function: String,
    state: String,
    since: Option<String>,
    unchanged: bool,
}

async fn act(action: &str, args: &ActArgs, context: &Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(context).await?;
    let path = format!("/api/v1/circuits/{}/{action}", percent_encode(&args.function));
    let request = serde_json::json!({ "reason": args.reason });
    let answer = session.connection().post_json(&path, &request).await?;
    if args.asking.json {
        session.output.raw_line(&answer)?;
    } else {
        let Acted { function, state, since, unchanged } = understood(&answer)?;
        session.output.line(&match (unchanged, since) {
            (true, Some(since)) => format!("the circuit of {function} stays {state}, as since {since}"),
            (true, None) => format!("the circuit of {function} stays {state}: nothing ever opened it"),
            (false, _) => format!("the circuit of {function} is {state} now"),
        })?;
    }
    session.finish(&[format!("circuit status {}", args.function)]).await
}

#[derive(Deserialize)]
struct Paused {
    paused: String,
    result: String,
    unchanged: bool,
}

pub(crate) async fn pause(args: PauseArgs, context: Context) -> Result<Exit, Failure> {
    let PauseArgs { function, partition, hub, reason, asking } = args;
    let request = serde_json::json!({ "hub": hub, "partition": partition, "reason": reason });
    let next = command_to_resume(&function, hub.as_deref(), partition);
    change_pause("pause", &function, &request, &asking, &context, next).await
}

pub(crate) async fn resume(args: ResumeArgs, context: Context) -> Result<Exit, Failure> {
    let ResumeArgs { function, partition, hub, reason, asking } = args;
    let Some(function) = function else { return pauses(&asking, &context).await };
    let request = serde_json::json!({ "hub": hub, "partition": partition, "reason": reason });
    let next = format!("circuit status {function}");
    change_pause("resume", &function, &request, &asking, &context, next).await
}

/// What resumes what was paused, to be typed.
fn command_to_resume(function: &str, hub: Option<&str>, partition: Option<u32>) -> String {
    let hub = hub.map(|hub| format!(" --hub {hub}")).unwrap_or_default();
    let partition = partition.map(|partition| format!(" --partition {partition}")).unwrap_or_default();
    format!("resume {function}{hub}{partition}")
}

async fn change_pause(
    action: &str,
    function: &str,
    request: &serde_json::Value,
    asking: &Asking,
    context: &Context,
    next: String,
) -> Result<Exit, Failure> {
    let mut session = asking.open(context).await?;
    let path = format!("/api/v1/pauses/{}/{action}", percent_encode(function));
    let answer = session.connection().post_json(&path, request).await?;
    if asking.json {
        session.output.raw_line(&answer)?;
    } else {
        let Paused { paused, result, unchanged } = understood(&answer)?;
        let already = if unchanged { " already" } else { "" };
        session.output.line(&format!("{paused} is {result}{already}"))?;
    }
    session.finish(&[next]).await
}

async fn pauses(asking: &Asking, context: &Context) -> Result<Exit, Failure> {
    #[derive(Deserialize)]
    struct Row {
        paused: String,
        since: String,
        by: String,
        reason: String,
    }
    let mut session = asking.open(context).await?;
    let mut first = None;
    let listing = Listing::all("/api/v1/pauses", &["paused", "since", "by", "reason"]);
    let listed = session.list(listing, |row: Row, rows| {
        first.get_or_insert_with(|| row.paused.clone());
        rows.push(vec![row.paused, row.since, row.by, shortened(&row.reason, 80)]);
    });
    if listed.await? == 0 && !asking.json {
        session.output.line("nothing is paused")?;
    }
    let command = |paused: String| match paused.split('/').collect::<Vec<_>>().as_slice() {
        [function, hub, partition] => format!("resume {function} --hub {hub} --partition {partition}"),
        _ => format!("resume {paused}"),
    };
    let next: Vec<String> = first.map(command).into_iter().collect();
    session.finish(&next).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paused_on_one_of_several_hubs_is_resumed_there() {
        assert_eq!(command_to_resume("f", None, None), "resume f");
        assert_eq!(command_to_resume("f", Some("h"), Some(2)), "resume f --hub h --partition 2");
    }
}
