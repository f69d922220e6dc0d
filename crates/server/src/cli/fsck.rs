//! `tidegate fsck`: checks the files of a data directory, and repairs what can be repaired.

use std::ops::Range;
use std::path::PathBuf;

use serde::Serialize;

use tidegate_eventlog::fsck::{self, DamageReport, HubReport, PartitionReport, Repaired};
use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;
use tidegate_model::position::{PartitionId, SequenceNumber};
use tidegate_store::check;

use crate::cli::Context;
use crate::cli::output::{Output, Table, grouped, quoted};
use crate::data_dir::{self, DataDir, IfMissing};
use crate::failure::{Exit, Failure, Problem};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Replace damaged files of the log by what can be read of them. The originals are kept in log/.set-aside, and the
    /// numbers of events that cannot be read are recorded as lost.
    #[arg(long)]
    repair: bool,
    /// The data directory. No server may have it open.
    #[arg(long, value_name = "DIR", env = "TIDEGATE_DATA_DIR", hide_env_values = true, default_value = data_dir::DEFAULT)]
    data_dir: PathBuf,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// A line of the JSON output.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Line<'a> {
    Repaired {
        hub: &'a HubName,
        partition: PartitionId,
        set_aside: &'a [PathBuf],
        lost: Vec<Numbers>,
    },
    Hub {
        hub: &'a HubName,
        ok: bool,
        problem: &'a str,
    },
    Partition {
        hub: &'a HubName,
        partition: PartitionId,
        ok: bool,
        segments: usize,
        events: u64,
        bytes: u64,
        head: SequenceNumber,
        tail: SequenceNumber,
        lost: Vec<Numbers>,
        torn_tail: bool,
        damage: Vec<Damage<'a>>,
    },
    Store {
        ok: bool,
        unfinished: bool,
        lanes: u64,
        documents: u64,
        dead_letters: u64,
        parked: u64,
        problems: &'a [String],
    },
}

#[derive(Serialize)]
struct Damage<'a> {
    file: &'a PathBuf,
    offset: u64,
    end: u64,
    problem: &'a str,
    lost: Numbers,
}

/// Sequence numbers from the first to the one after the last.
#[derive(Serialize)]
struct Numbers {
    from: SequenceNumber,
    to: SequenceNumber,
}

impl From<&Range<SequenceNumber>> for Numbers {
    fn from(range: &Range<SequenceNumber>) -> Self {
        Self { from: range.start, to: range.end }
    }
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let data_dir = DataDir::open(&args.data_dir, IfMissing::Refuse, &*context.clock)?;
    let mut output = Output::new(args.json);
    let mut problems = Vec::new();
    let mut next = Vec::new();
    let options = match args.data_dir.as_os_str() == data_dir::DEFAULT {
        true => String::new(),
        false => format!(" --data-dir {}", quoted(&args.data_dir)),
    };

    if data_dir.log().exists() {
        if args.repair {
            for repaired in fsck::repair(&data_dir.log())? {
                show_repaired(&repaired, &mut output)?;
            }
        }
        let report = fsck::check(&data_dir.log())?;
        show_log(&report.hubs, &mut output)?;
        problems.extend(log_problems(&report.hubs, &format!("tidegate fsck --repair{options}")));
    }
    if data_dir.store().exists() {
        let report = check::check(&data_dir.store())?;
        show_store(&report, &mut output)?;
        problems.extend(report.problems.into_iter().map(|message| Problem {
            code: ErrorCode::STORE_DAMAGED,
            message,
            help: "restore store/ together with log/ from the same backup".to_owned(),
        }));
    }
    if problems.is_empty() {
        if !args.json {
            let verdict = output.good("the files are in order");
            output.line(&verdict)?;
        }
        next.push(format!("tidegate audit{options}"));
    }
    output.finish(&next)?;
    if problems.is_empty() { Ok(Exit::Done) } else { Err(Failure { problems, exit: Exit::Failed }) }
}

fn show_repaired(repaired: &Repaired, output: &mut Output) -> Result<(), Failure> {
    let Repaired { hub, partition, set_aside, lost } = repaired;
    if output.is_json() {
        let lost = lost.iter().map(Numbers::from).collect();
        return output.object(&Line::Repaired { hub, partition: *partition, set_aside, lost });
    }
    for file in set_aside {
        output.line(&format!(
            "repaired partition {partition} of {hub}; the damaged file is kept as {}",
            file.display()
        ))?;
    }
    for lost in lost {
        output.line(&format!("  events {} are lost", numbers(lost)))?;
    }
    Ok(())
}

fn show_log(hubs: &[HubReport], output: &mut Output) -> Result<(), Failure> {
    let mut table =
        Table::new(&["hub", ">partition", ">files", ">events", ">oldest", ">next", ">bytes", "state"]);
    for hub in hubs {
        if let (Some(problem), true) = (&hub.problem, output.is_json()) {
            output.object(&Line::Hub { hub: &hub.hub, ok: false, problem })?;
        }
        for partition in &hub.partitions {
            if output.is_json() {
                output.object(&partition_line(&hub.hub, partition))?;
                continue;
            }
            table.row(vec![
                hub.hub.to_string(),
                partition.partition.to_string(),
                partition.segments.to_string(),
                grouped(partition.events),
                grouped(partition.head.0),
                grouped(partition.tail.0),
                grouped(partition.bytes),
                state(partition),
            ]);
        }
    }
    if output.is_json() || hubs.is_empty() { Ok(()) } else { output.table(&table) }
}

fn partition_line<'a>(hub: &'a HubName, report: &'a PartitionReport) -> Line<'a> {
    Line::Partition {
        hub,
        partition: report.partition,
        ok: report.damage.is_empty(),
        segments: report.segments,
        events: report.events,
        bytes: report.bytes,
        head: report.head,
        tail: report.tail,
        lost: report.lost.iter().map(Numbers::from).collect(),
        torn_tail: report.torn_tail.is_some(),
        damage: report
            .damage
            .iter()
            .map(|damage| Damage {
                file: &damage.file,
                offset: damage.offset,
                end: damage.end,
                problem: &damage.problem,
                lost: Numbers::from(&damage.lost),
            })
            .collect(),
    }
}

fn state(report: &PartitionReport) -> String {
    if !report.damage.is_empty() {
        return "DAMAGED".to_owned();
    }
    let mut state = "ok".to_owned();
    if report.torn_tail.is_some() {
        state.push_str(", ends with an unacknowledged write that the next start cuts off");
    }
    for lost in &report.lost {
        state.push_str(&format!(", events {} were lost earlier", numbers(lost)));
    }
    state
}

/// A range of numbers for a person.
fn numbers(range: &Range<SequenceNumber>) -> String {
    match range.end.previous() {
        Some(last) if last > range.start => format!("{} to {last}", range.start),
        _ => range.start.to_string(),
    }
}

fn log_problems(hubs: &[HubReport], repair: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for hub in hubs {
        if let Some(problem) = &hub.problem {
            problems.push(Problem {
                code: ErrorCode::DATA_DIR_IO,
                message: problem.clone(),
                help: String::new(),
            });
        }
        for partition in &hub.partitions {
            for damage in &partition.damage {
                problems.push(damage_problem(&hub.hub, partition.partition, damage, repair));
            }
        }
    }
    problems
}

fn damage_problem(hub: &HubName, partition: PartitionId, damage: &DamageReport, repair: &str) -> Problem {
    let DamageReport { file, offset, end, problem, lost } = damage;
    let lost = match lost.is_empty() {
        true => "no event is lost".to_owned(),
        false => format!("events {} cannot be read", numbers(lost)),
    };
    Problem {
        code: ErrorCode::PARTITION_DAMAGED,
        message: format!(
            "partition {partition} of {hub}: {} from byte {offset} to {end}: {problem}; {lost}",
            file.display()
        ),
        help: format!("restore the file from a backup, or go on without these events: {repair}"),
    }
}

fn show_store(report: &check::Report, output: &mut Output) -> Result<(), Failure> {
    let check::Report { unfinished, lanes, documents, dead_letters, parked, problems } = report;
    if output.is_json() {
        let (lanes, documents, dead_letters, parked) = (*lanes, *documents, *dead_letters, *parked);
        return output.object(&Line::Store {
            ok: problems.is_empty(),
            unfinished: *unfinished,
            lanes,
            documents,
            dead_letters,
            parked,
            problems,
        });
    }
    if *unfinished {
        return output.line(
            "  store: was never finished: the program ended while it was made. Nothing is in it, and the next start \
             finishes it; if it had something in it once, restore store/ together with log/ from the same backup",
        );
    }
    output.line(&format!(
        "  store: {} documents, {} dead letters, {} parked events, {} checkpoints: {}",
        grouped(*documents),
        grouped(*dead_letters),
        grouped(*parked),
        grouped(*lanes),
        if problems.is_empty() { "ok" } else { "DAMAGED" }
    ))
}
