//! `tidegate audit`: accounts for every sequence number.

use tidegate_api::{FunctionAudit, SourceState};
use tidegate_model::error::ErrorCode;

use crate::cli::listing::{Asking, address};
use crate::cli::output::{Output, Table, grouped};
use crate::cli::{Context, audit_deep};
use crate::client::{Pages, understood};
use crate::failure::{Exit, Failure, Problem};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this hub.
    hub: Option<String>,
    /// Read the log once more, and check what became of each single event.
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    asking: Asking,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(&context).await?;
    let path = address("/api/v1/audit", &[("hub", args.hub)]);
    let mut accounts: Vec<FunctionAudit> = Vec::new();
    let mut pages = Pages::new(&session.connected.connection, path, "after", None);
    while let Some(line) = pages.next().await? {
        if args.asking.json {
            session.output.raw_line(&line)?;
        }
        accounts.push(understood(&line)?);
    }
    let mut problems = gaps(&accounts);
    if !args.asking.json {
        show(&accounts, &mut session.output)?;
    }
    let away = away(&accounts);
    if args.deep {
        problems.extend(audit_deep::run(&accounts, &mut session).await?);
    }
    if !args.asking.json && !accounts.is_empty() {
        let verdict = if !problems.is_empty() {
            session.output.bad("not every sequence number is accounted for")
        } else if !away.is_empty() {
            session.output.bad("what is known is accounted for; what sources have beyond it cannot be asked")
        } else {
            session.output.good("every sequence number is accounted for")
        };
        session.output.line(&verdict)?;
    }
    let mut next = Vec::new();
    if accounts.iter().any(|account| account.totals.dead_lettered > 0) {
        next.push("dead-letters groups".to_owned());
    }
    if accounts.iter().any(|account| account.totals.parked > 0) {
        next.push("parked list".to_owned());
    }
    session.finish(&next).await?;
    match (problems.is_empty(), away.is_empty()) {
        (true, true) => Ok(Exit::Done),
        (true, false) => Err(Failure { problems: away, exit: Exit::Failed }),
        (false, _) => {
            problems.extend(away);
            Err(Failure { problems, exit: Exit::AuditGap })
        }
    }
}

/// The sources that cannot be asked, each a problem.
fn away(accounts: &[FunctionAudit]) -> Vec<Problem> {
    let away = accounts.iter().filter_map(|account| Some((account, account.source.as_ref()?)));
    away.map(|(account, status)| {
        let since = status.since.map(|since| format!(" since {since}")).unwrap_or_default();
        let problem = status.problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
        Problem {
            code: ErrorCode::SERVER_UNREACHABLE,
            message: format!(
                "the source {} is {}{since}{problem}; function {} is accounted for up to its checkpoints",
                account.hub,
                status.state.as_str(),
                account.function,
            ),
            help: match status.state {
                SourceState::NotRead => "start the server, and ask again".to_owned(),
                _ => "ask again when the source is there; `tidegate hubs list` shows its checkpoints"
                    .to_owned(),
            },
        }
    })
    .collect()
}

/// Every gap as a problem.
fn gaps(accounts: &[FunctionAudit]) -> Vec<Problem> {
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

fn show(accounts: &[FunctionAudit], output: &mut Output) -> Result<(), Failure> {
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
        ">discarded",
        ">lost",
        ">pending",
        "verdict",
    ]);
    for account in accounts {
        table.row(vec![
            account.hub.clone(),
            account.function.clone(),
            grouped(account.totals.published),
            grouped(account.totals.applied),
            grouped(account.totals.filtered),
            grouped(account.totals.dead_lettered),
            grouped(account.totals.parked),
            grouped(account.totals.discarded),
            grouped(account.totals.lost),
            grouped(account.totals.pending),
            match (account.ok, &account.source) {
                (false, _) => "GAP",
                (true, Some(status)) => status.state.as_str(),
                (true, None) => "ok",
            }
            .to_owned(),
        ]);
    }
    output.table(&table)?;
    for account in accounts {
        let parts: Vec<String> = [
            (account.totals.quarantined, "dead letters are quarantined"),
            (account.totals.held, "parked events are held"),
            (account.totals.redriving, "parked events are redrives"),
            (account.totals.absent, "numbers belong to no event of the source"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(count)))
        .collect();
        if !parts.is_empty() {
            output.line(&format!("  {}: {}", account.function, parts.join(", ")))?;
        }
    }
    Ok(())
}
