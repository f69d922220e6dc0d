//! Runs the deterministic simulation: one seed, many, or those that must catch a planted defect.

use std::num::NonZeroUsize;

use anyhow::{Context, bail};
use clap::Args;
use tidegate_sim::{Mutation, StoreKind, campaign, caught_by, command, run, run_on};

/// Seeds that are run when nothing else is asked for.
const MANY: u64 = 200;

#[derive(Args)]
pub(crate) struct Sim {
    /// Runs this seed alone.
    #[arg(long, conflicts_with = "many")]
    seed: Option<u64>,
    /// With a seed: shows everything that happened.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Runs so many seeds.
    #[arg(long)]
    many: Option<u64>,
    /// The first of many seeds.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// With many seeds: writes the result as JSON.
    #[arg(long)]
    json: bool,
    /// Plants a defect, and succeeds only if it is caught. Without --many or --seed, within the seeds it has to be
    /// caught in. `all` plants one after the other.
    #[arg(long)]
    mutation: Option<String>,
    /// The store: `reference`, `embedded`, or `embedded-apart` on a disk that never fails. Without it, the seed says.
    #[arg(long, value_parser = store_kind)]
    store: Option<StoreKind>,
}

fn store_kind(name: &str) -> Result<StoreKind, String> {
    StoreKind::named(name).ok_or_else(|| {
        let known: Vec<_> = StoreKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("there is no such store; there are {}", known.join(", "))
    })
}

pub(crate) fn simulate(options: &Sim) -> anyhow::Result<()> {
    match &options.mutation {
        Some(name) if name == "all" => {
            Mutation::ALL.iter().try_for_each(|(mutation, ..)| catch(options, *mutation))
        }
        Some(name) => match Mutation::named(name) {
            Some(mutation) => catch(options, mutation),
            None => {
                let known: Vec<_> = Mutation::ALL.iter().map(|(_, name, _)| *name).collect();
                bail!("there is no mutation {name:?}; there are {}", known.join(", "))
            }
        },
        None => match options.seed {
            Some(seed) => run_one(options, seed, None),
            None => run_many(options),
        },
    }
}

fn run_one(options: &Sim, seed: u64, mutation: Option<Mutation>) -> anyhow::Result<()> {
    let report = match options.store {
        Some(store) => run_on(store, seed, mutation),
        None => run(seed, mutation),
    };
    if options.trace {
        print!("{}", report.trace);
    }
    match report.violation {
        None => {
            println!(
                "seed {seed}: every promise was kept ({} polls, {} commits)",
                report.polls, report.commits
            );
            Ok(())
        }
        Some(violation) => {
            bail!(
                "seed {seed}: {}: {}\n{}",
                violation.promise,
                violation.detail,
                command(seed, mutation, options.store)
            )
        }
    }
}

fn run_many(options: &Sim) -> anyhow::Result<()> {
    let many = options.many.unwrap_or(MANY);
    let done = campaign(options.from..options.from.saturating_add(many), threads(), options.store);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&done)?);
    } else {
        for failure in &done.failures {
            println!("seed {}: {}: {}", failure.seed, failure.violation.promise, failure.violation.detail);
            println!("    {}", failure.command);
        }
        println!("{} seeds, {} polls, {} commits", done.runs, done.polls, done.commits);
    }
    match done.failures.len() {
        0 => Ok(()),
        failures => bail!("{failures} of {} seeds broke a promise", done.runs),
    }
}

fn catch(options: &Sim, mutation: Mutation) -> anyhow::Result<()> {
    let name = mutation.name();
    if let Some(seed) = options.seed {
        return match run_one(options, seed, Some(mutation)) {
            Ok(()) => bail!("{name} was not caught by seed {seed}"),
            Err(caught) => {
                println!("{name} was caught: {caught}");
                Ok(())
            }
        };
    }
    let many = options.many.unwrap_or(mutation.seeds());
    let caught = caught_by(mutation, options.from..options.from.saturating_add(many), options.store)
        .with_context(|| format!("{name} was not caught within {many} seeds"))?;
    println!(
        "{name} was caught by seed {}: {}: {}",
        caught.seed, caught.violation.promise, caught.violation.detail
    );
    println!("    {}", caught.command);
    Ok(())
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
