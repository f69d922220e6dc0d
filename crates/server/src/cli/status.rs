//! `tidegate status`: whether all is well, on one screen.

use serde::Serialize;
use serde_json::value::RawValue;

use tidegate_api::{FunctionOverview, Overview};
use tidegate_model::clock::Timestamp;

use crate::cli::Context;
use crate::cli::listing::{Asking, Session};
use crate::cli::measures::{rate, span};
use crate::cli::output::{Output, Table, grouped, printable, shortened};
use crate::cli::overview::{self, Need, is_closed, is_paused, needs};
use crate::client::understood;
use crate::failure::{Exit, Failure};

/// How many rows of a table one screen has room for. A table that is longer shows those that need somebody first.
const ROWS: usize = 15;

/// How many needs are told.
const NEEDS: usize = 10;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    asking: Asking,
}

/// What `--json` prints.
#[derive(Serialize)]
struct StatusJson<'a> {
    /// Whether nothing needs a person.
    well: bool,
    /// Whether a server runs.
    server: bool,
    needs: Vec<NeedJson<'a>>,
    /// As the API has it.
    overview: &'a RawValue,
}

#[derive(Serialize)]
struct NeedJson<'a> {
    what: &'a str,
    command: String,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(&context).await?;
    let served = session.connected.is_server();
    let body = session.connection().get(overview::PATH).await?.into_body();
    let overview: Overview = understood(&body)?;
    let needs = needs(&overview, served);
    if args.asking.json {
        let told =
            needs.iter().map(|need| NeedJson { what: &need.what, command: session.next(&need.command) });
        let needs: Vec<NeedJson<'_>> = told.collect();
        let json = StatusJson { well: needs.is_empty(), server: served, needs, overview: understood(&body)? };
        session.output.object(&json)?;
    } else {
        tell(&overview, &needs, served, &mut session)?;
    }
    let exit = if needs.is_empty() { Exit::Done } else { Exit::NeedsPerson };
    let next = next(&needs, &overview, served);
    session.finish(&next).await?;
    Ok(exit)
}

/// What to type next: the commands that help, without repeating one.
fn next(needs: &[Need], overview: &Overview, served: bool) -> Vec<String> {
    let mut next: Vec<String> = Vec::new();
    for need in needs.iter().take(NEEDS) {
        if !next.contains(&need.command) {
            next.push(need.command.clone());
        }
    }
    next.truncate(4);
    if next.is_empty() {
        next.push(if served && !overview.functions.is_empty() { "top" } else { "documents list" }.to_owned());
    }
    next
}

fn tell(overview: &Overview, needs: &[Need], served: bool, session: &mut Session) -> Result<(), Failure> {
    let output = &mut session.output;
    let verdict = match needs.len() {
        0 => output.good("all is well"),
        1 => output.bad("one thing needs a person"),
        many => output.bad(&format!("{many} things need a person")),
    };
    let up = Some(overview.now.since(overview.started_at).as_secs_f64());
    let server = if served {
        let ready = if overview.ready { "ready" } else { "not ready" };
        format!("tidegate {}, up {}, {ready}", printable(&overview.version), span(up))
    } else {
        "no server runs".to_owned()
    };
    output.line(&format!("{verdict}   {server}"))?;
    for need in needs.iter().take(NEEDS) {
        let what = shortened(&printable(&need.what), 160);
        output.line(&format!("  {} {what}", output.bad("!")))?;
    }
    if let Some(more) = needs.len().checked_sub(NEEDS).filter(|more| *more > 0) {
        output.line(&format!("  … and {more} more; see `tidegate status --json`"))?;
    }
    tell_hubs(overview, output)?;
    tell_functions(overview, output)
}

fn tell_hubs(overview: &Overview, output: &mut Output) -> Result<(), Failure> {
    output.line("")?;
    if overview.hubs.is_empty() {
        return output.line("  there are no hubs");
    }
    let mut table = Table::new(&["hub", ">partitions", ">published", ">in/s"]);
    for hub in overview.hubs.iter().take(ROWS) {
        table.row(vec![
            hub.hub.clone(),
            hub.partitions.to_string(),
            grouped(hub.published),
            rate(hub.incoming_per_s),
        ]);
    }
    output.table(&table)?;
    more(overview.hubs.len(), "hubs", output)
}

const FUNCTIONS: [&str; 10] = [
    "function",
    "hub",
    "circuit",
    ">done/s",
    ">lag",
    ">behind",
    ">parked",
    ">held",
    ">dead letters",
    ">oldest unresolved",
];

fn tell_functions(overview: &Overview, output: &mut Output) -> Result<(), Failure> {
    output.line("")?;
    if overview.functions.is_empty() {
        return output.line("  no function is configured, and none has run here");
    }
    let mut functions: Vec<&FunctionOverview> = overview.functions.iter().collect();
    if functions.len() > ROWS {
        functions.sort_by_key(|function| {
            is_closed(&function.circuit) && function.paused.is_empty() && function.dead_letters == 0
        });
    }
    let mut table = Table::new(&FUNCTIONS);
    for function in functions.into_iter().take(ROWS) {
        table.row(row(function, overview.now));
    }
    output.table(&table)?;
    more(overview.functions.len(), "functions", output)
}

fn row(function: &FunctionOverview, now: Timestamp) -> Vec<String> {
    let state = &function.circuit.state;
    let paused = match function.paused.len() {
        0 => String::new(),
        _ if is_paused(function) => ", paused".to_owned(),
        lanes => format!(", {lanes} paused"),
    };
    let oldest = function.oldest_unresolved_at.map(|at| now.since(at).as_secs_f64());
    vec![
        function.function.clone(),
        function.hub.clone(),
        format!("{state}{paused}"),
        rate(function.processed_per_s),
        grouped(function.lag_events),
        span(function.lag_s),
        grouped(function.parked),
        grouped(function.held),
        grouped(function.dead_letters),
        span(oldest),
    ]
}

fn more(count: usize, what: &str, output: &mut Output) -> Result<(), Failure> {
    match count.checked_sub(ROWS).filter(|more| *more > 0) {
        Some(more) => output.line(&format!("  … and {more} more {what}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::overview::tests::{overview, well};

    #[test]
    fn what_to_type_next_is_what_helps() {
        let at_rest = overview(well());
        assert_eq!(next(&needs(&at_rest, true), &at_rest, true), ["top"]);
        let mut changed = well();
        changed["functions"][0]["dead_letters"] = json!(3);
        changed["functions"][0]["paused"] =
            json!([{ "paused": "aircraft", "since": "2026-11-22T11:00:00Z", "reason": "", "by": "ann" }]);
        let changed = overview(changed);
        let commands = next(&needs(&changed, true), &changed, true);
        assert_eq!(commands, ["resume aircraft", "dead-letters groups --function aircraft"]);
    }
}
