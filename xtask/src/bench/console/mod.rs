//! What looking costs. One program processes the telemetry all the time; the console is open beside it, and closed, in turn:
//!
//! ```text
//! a round at a fixed rate:   nobody looks │ tabs of one person │ tabs of as many people      CPU of the program in each
//! a round at full speed:     nobody looks │ tabs of one person                               time and CPU of each
//! ```
//!
//! Phases are short and follow one another, so that what else the machine does meets all of them; what is told is the middle
//! one of the differences within a round. While somebody looks, there is a scrape each second as well.

mod load;
mod looking;
mod program;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use self::load::{Load, Pace};
use self::looking::{Looking, Viewers};
use self::program::Program;
use super::pipeline::runtime;
use crate::program::{Profile, named_or_built};

#[derive(Args)]
pub(crate) struct Console {
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// The program to measure, instead of building it.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// In how many tabs the overview is open.
    #[arg(long, default_value_t = 10)]
    tabs: usize,
    /// How often everything is measured.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Events a second at the fixed rate.
    #[arg(long, default_value_t = 50_000)]
    rate: u32,
    /// How long a phase at the fixed rate is, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many events there are; a phase at full speed publishes all of them five times.
    #[arg(long, default_value_t = 400_000)]
    events: usize,
    /// Where the data goes; a directory of its own is made in it and removed. By default the target directory, which is on
    /// a disk.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// All that is measured.
#[derive(Serialize)]
pub(crate) struct Measured {
    tabs: usize,
    events_per_s: u32,
    at_rate: Vec<AtRate>,
    at_full_speed: Vec<AtFullSpeed>,
}

/// A round at the fixed rate: the CPU of the program, in cores.
#[derive(Serialize, Clone, Copy)]
pub(crate) struct AtRate {
    nobody: f64,
    one_person: f64,
    as_many_people: f64,
    /// What a tab was sent, in bytes a second.
    tab_bytes_per_s: f64,
}

/// A round at full speed.
#[derive(Serialize, Clone, Copy)]
pub(crate) struct AtFullSpeed {
    nobody: Spent,
    one_person: Spent,
}

/// What a phase at full speed took.
#[derive(Serialize, Clone, Copy)]
pub(crate) struct Spent {
    /// From the first event to the outcome of the last, in seconds.
    wall_s: f64,
    /// Of the program alone, in microseconds an event.
    cpu_us: f64,
}

pub(crate) fn run(options: &Console) -> anyhow::Result<()> {
    let (parent, work) = super::work_directory(options.dir.clone())?;
    let executable = named_or_built(options.program.as_ref(), Profile::Release)?;
    if !options.json {
        super::report::heading("console", &parent);
    }
    let input = work.path().join("events.ndjson");
    super::data::write(&input, options.events, 10_000)?;
    let program = Program::start(&executable, work.path())?;
    let measured = runtime()?.block_on(measure(options, &program, Load::read(&input)?))?;
    program.stop()?;
    report::tell(options.json, &measured)
}

async fn measure(options: &Console, program: &Program, mut load: Load) -> anyhow::Result<Measured> {
    // What is new in a program that has just begun is no part of it.
    load.publish(program, Pace::AsFastAsPossible).await?;
    let paced = Pace::Fixed { events_per_s: options.rate, lasts: Duration::from_secs(options.seconds) };
    load.publish(program, paced).await?;

    let mut at_rate = Vec::new();
    for round in 0..options.rounds.max(1) {
        let mut phase = async |looking| {
            let viewers = Viewers::begin(program, looking).await?;
            let spent = load.publish(program, paced).await?;
            let bytes = viewers.end().await?;
            anyhow::Ok((spent.cpu_s / spent.wall_s, bytes as f64 / spent.wall_s))
        };
        let (nobody, _) = phase(Looking::nobody()).await?;
        let (one_person, bytes) = phase(Looking::one_person(options.tabs)).await?;
        let (as_many_people, _) = phase(Looking::people(options.tabs)).await?;
        let tab_bytes_per_s = bytes / options.tabs.max(1) as f64;
        at_rate.push(AtRate { nobody, one_person, as_many_people, tab_bytes_per_s });
        if !options.json {
            report::round_at_rate(round, options.tabs, at_rate.last());
        }
    }

    let mut at_full_speed = Vec::new();
    for round in 0..options.rounds.max(1) {
        let mut phase = async |looking| {
            let viewers = Viewers::begin(program, looking).await?;
            let spent = load.publish(program, Pace::AsFastAsPossible).await?;
            viewers.end().await?;
            anyhow::Ok(Spent { wall_s: spent.wall_s, cpu_us: spent.cpu_s * 1e6 / spent.events as f64 })
        };
        // Who is first has the fresher disk; so both are, in turn.
        let (nobody, one_person) = if round % 2 == 0 {
            let nobody = phase(Looking::nobody()).await?;
            (nobody, phase(Looking::one_person(options.tabs)).await?)
        } else {
            let one_person = phase(Looking::one_person(options.tabs)).await?;
            (phase(Looking::nobody()).await?, one_person)
        };
        at_full_speed.push(AtFullSpeed { nobody, one_person });
    }
    Ok(Measured { tabs: options.tabs, events_per_s: options.rate, at_rate, at_full_speed })
}
