//! `tidegate audit`: accounts for every sequence number.

use serde::Deserialize;

use tidegate_model::error::ErrorCode;

use crate::api::page::percent_encode;
use crate::cli::Context;
use crate::cli::output::{Output, Table, grouped};
use crate::cli::target::Target;
use crate::client::{Pages, understood};
use crate::failure::{Exit, Failure, Problem};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this hub.
    hub: Option<String>,
    #[command(flatten)]
    target: Target,
    /// One JSON object a hub and function.
    #[arg(long)]
    json: bool,
}

/// The account of a function on a hub, as far as it is shown.
#[derive(Deserialize)]
pub(crate) struct Account {
    pub(crate) hub: String,
    pub(crate) function: String,
    pub(crate) ok: bool,
    pub(crate) published: u64,
    pub(crate) applied: u64,
    pub(crate) filtered: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) parked: u64,
    #[serde(default)]
    pub(crate) lost: u64,
    pub(crate) pending: u64,
    #[serde(default)]
    pub(crate) gaps: Vec<Gap>,
    pub(crate) partitions: Vec<Partition>,
}

#[derive(Deserialize)]
pub(crate) struct Partition {
    pub(crate) partition: u32,
    pub(crate) gaps: Vec<Gap>,
}

#[derive(Deserialize)]
pub(crate) struct Gap {
    pub(crate) detail: String,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let connected = args.target.connect(&context).await?;
    let mut output = Output::new(args.json);
    let query = args.hub.as_ref().map(|hub| format!("?hub={}", percent_encode(hub))).unwrap_or_default();
    let mut pages = Pages::new(&connected.connection, format!("/api/v1/audit{query}"), "after", None);
    let mut accounts = Vec::new();
    while let Some(line) = pages.next().await? {
        if args.json {
            output.raw_line(&line)?;
        }
        accounts.push(understood::<Account>(&line)?);
    }
    let problems = gaps(&accounts);
    if !args.json {
        show(&accounts, &problems, &mut output)?;
    }
    let next = match accounts.iter().any(|account| account.dead_lettered > 0) {
        true => vec![format!("tidegate dead-letters list{}", args.target.options())],
        false => Vec::new(),
    };
    output.finish(&next)?;
    connected.close().await?;
    if problems.is_empty() { Ok(Exit::Done) } else { Err(Failure { problems, exit: Exit::AuditGap }) }
}

/// Every gap as a problem.
fn gaps(accounts: &[Account]) -> Vec<Problem> {
    let help = "`tidegate fsck` checks the files; the page of this code says what each gap means";
    let problem = |place: String, detail: &str| Problem {
        code: ErrorCode::AUDIT_GAP,
        message: format!("{place}: {detail}"),
        help: help.to_owned(),
    };
    let mut problems = Vec::new();
    for account in accounts {
        let place = format!("function {} on hub {}", account.function, account.hub);
        problems.extend(account.gaps.iter().map(|gap| problem(place.clone(), &gap.detail)));
        for partition in &account.partitions {
            let place = format!("{place}, partition {}", partition.partition);
            problems.extend(partition.gaps.iter().map(|gap| problem(place.clone(), &gap.detail)));
        }
        let named =
            account.gaps.is_empty() && account.partitions.iter().all(|partition| partition.gaps.is_empty());
        if !account.ok && named {
            problems.push(problem(place, "the account does not add up"));
        }
    }
    problems
}

fn show(accounts: &[Account], problems: &[Problem], output: &mut Output) -> Result<(), Failure> {
    if accounts.is_empty() {
        return output.line("no function has run here yet, so there is nothing to account for");
    }
    let mut table = Table::new(&[
        "hub",
        "function",
        ">published",
        ">applied",
        ">filtered",
        ">dead-lettered",
        ">parked",
        ">lost",
        ">pending",
        "verdict",
    ]);
    for account in accounts {
        table.row(vec![
            account.hub.clone(),
            account.function.clone(),
            grouped(account.published),
            grouped(account.applied),
            grouped(account.filtered),
            grouped(account.dead_lettered),
            grouped(account.parked),
            grouped(account.lost),
            grouped(account.pending),
            if account.ok { "ok" } else { "GAP" }.to_owned(),
        ]);
    }
    output.table(&table)?;
    let verdict = if problems.is_empty() {
        output.good("every sequence number is accounted for")
    } else {
        output.bad("not every sequence number is accounted for")
    };
    output.line(&verdict)
}
