//! The benchmarks.
//!
//! Every part of a run is a process of its own, so that its peak memory, its CPU time and the bytes it wrote are its own:
//! the program calls itself with `part`, and each part prints one line of JSON.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]

mod amqp;
mod console;
mod data;
mod floor;
mod latency;
mod measure;
mod pipeline;
mod report;
mod trouble;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use tempfile::TempDir;

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// JSON telemetry from 10,000 and from 1,000,000 devices: published durably, processed to the end, and latency.
    #[command(name = "telemetry-1m")]
    Telemetry {
        /// One JSON object a run, one a line.
        #[arg(long)]
        json: bool,
        /// How many events a run has.
        #[arg(long, default_value_t = 1_000_000)]
        events: usize,
        /// How many devices send them; by default one run each.
        #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000])]
        devices: Vec<usize>,
        /// Leaves the latency run out.
        #[arg(long)]
        no_latency: bool,
        /// Leaves out the runs in which things go wrong.
        #[arg(long)]
        no_trouble: bool,
        /// Where the data goes; a directory of its own is made in it and removed. By default the target directory, which
        /// is on a disk.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// The same telemetry through AMQP on loopback: publishing, reading, latency, and connections that do nothing.
    Amqp(amqp::Amqp),
    /// What looking costs: the program processes telemetry with the console open in tabs and a scrape each second, and
    /// without, in turn.
    Console(console::Console),
    /// The server that `amqp` measures (internal).
    #[command(hide = true)]
    AmqpServer {
        /// An empty directory.
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        idle_timeout_ms: u64,
    },
    /// What `amqp` is compared with (internal).
    #[command(hide = true)]
    AmqpInProcess {
        /// The events, as made by `data`.
        #[arg(long)]
        input: PathBuf,
        /// An empty directory.
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        batch: usize,
    },
    /// Writes the events of a run to a file, to profile one part of it.
    #[command(hide = true)]
    Data {
        /// The file.
        output: PathBuf,
        #[arg(long, default_value_t = 1_000_000)]
        events: usize,
        #[arg(long, default_value_t = 10_000)]
        devices: usize,
    },
    /// One part of a run (internal).
    #[command(hide = true)]
    Part {
        /// Which part.
        part: Part,
        /// The events, as made by `data`.
        #[arg(long)]
        input: PathBuf,
        /// An empty directory.
        #[arg(long)]
        dir: PathBuf,
    },
}

/// The parts of a run.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Part {
    /// One thread: write, sync, parse, fold.
    Floor,
    /// Publish only.
    Publish,
    /// Publish and process at the same time, to the end.
    EndToEnd,
    /// 10,000 events a second.
    Latency,
    /// As end to end, in order by key.
    KeyOrder,
    /// As in order by key, and one key in a hundred fails for ever.
    FailingKeys,
    /// Every event is a dead letter, and is redriven.
    Redrive,
    /// The downstream goes away and comes back.
    Recovery,
}

pub(crate) fn run(bench: Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Amqp(options) => amqp::run(&options),
        Bench::Console(options) => console::run(&options),
        Bench::AmqpServer { dir, idle_timeout_ms } => {
            amqp::serve(&dir, Duration::from_millis(idle_timeout_ms))
        }
        Bench::AmqpInProcess { input, dir, batch } => {
            println!("{}", serde_json::to_string(&amqp::in_process(&input, &dir, batch)?)?);
            Ok(())
        }
        Bench::Data { output, events, devices } => data::write(&output, events, devices),
        Bench::Part { part, input, dir } => {
            let result = match part {
                Part::Floor => serde_json::to_string(&floor::run(&input, &dir)?)?,
                Part::Publish => serde_json::to_string(&pipeline::publish(&input, &dir)?)?,
                Part::EndToEnd => serde_json::to_string(&pipeline::end_to_end(&input, &dir)?)?,
                Part::Latency => serde_json::to_string(&latency::run(&input, &dir)?)?,
                Part::KeyOrder => serde_json::to_string(&trouble::keys(&input, &dir, false)?)?,
                Part::FailingKeys => serde_json::to_string(&trouble::keys(&input, &dir, true)?)?,
                Part::Redrive => serde_json::to_string(&trouble::redrive(&input, &dir)?)?,
                Part::Recovery => serde_json::to_string(&trouble::recovery(&input, &dir)?)?,
            };
            println!("{result}");
            Ok(())
        }
        Bench::Telemetry { json, events, devices, no_latency, no_trouble, dir } => {
            let (parent, work) = work_directory(dir)?;
            if !json {
                report::heading("telemetry-1m", &parent);
            }
            for devices in devices {
                let input = work.path().join("events.ndjson");
                data::write(&input, events, devices)?;
                let floor: floor::Floor = part(Part::Floor, &input, work.path())?;
                let publish: pipeline::Run = part(Part::Publish, &input, work.path())?;
                let end_to_end: pipeline::Run = part(Part::EndToEnd, &input, work.path())?;
                report::throughput(json, devices, events, &floor, &publish, &end_to_end)?;
            }
            if !no_latency {
                let input = work.path().join("events.ndjson");
                data::write(&input, 200_000.min(events), 10_000)?;
                let latency: latency::Latency = part(Part::Latency, &input, work.path())?;
                report::latency(json, &latency)?;
            }
            if !no_trouble {
                let input = work.path().join("events.ndjson");
                data::write(&input, events, 10_000)?;
                let mut rounds = Vec::new();
                for _ in 0..ROUNDS {
                    rounds.push(report::Round {
                        plain: part(Part::EndToEnd, &input, work.path())?,
                        key_order: part(Part::KeyOrder, &input, work.path())?,
                        failing: part(Part::FailingKeys, &input, work.path())?,
                    });
                }
                let recovery: trouble::Recovery = part(Part::Recovery, &input, work.path())?;
                data::write(&input, 100_000.min(events), 10_000)?;
                let redrive: trouble::Redrive = part(Part::Redrive, &input, work.path())?;
                report::trouble(json, events, &rounds, &recovery, &redrive);
            }
            Ok(())
        }
    }
}

/// How often the runs are repeated whose speeds are compared: a single one says little on a busy machine.
const ROUNDS: usize = 5;

/// An empty directory that is removed at the end, and the one it is in.
fn work_directory(parent: Option<PathBuf>) -> anyhow::Result<(PathBuf, TempDir)> {
    let parent = parent.unwrap_or_else(|| PathBuf::from("target"));
    let make = || {
        std::fs::create_dir_all(&parent)?;
        tempfile::Builder::new().prefix("bench-").tempdir_in(&parent)
    };
    let work = make().with_context(|| format!("no data can be put into {}", parent.display()))?;
    Ok((parent, work))
}

/// Runs one part in a process of its own and in a directory of its own, and reads what it prints.
fn part<T: serde::de::DeserializeOwned>(part: Part, input: &Path, work: &Path) -> anyhow::Result<T> {
    let dir = tempfile::tempdir_in(work)?;
    let name = part.to_possible_value().context("every part has a name")?;
    let output = Command::new(std::env::current_exe()?)
        .args(["bench", "part", name.get_name(), "--input"])
        .arg(input)
        .arg("--dir")
        .arg(dir.path())
        .stderr(Stdio::inherit())
        .output()?;
    anyhow::ensure!(output.status.success(), "the part {} failed", name.get_name());
    Ok(serde_json::from_slice(&output.stdout)?)
}
