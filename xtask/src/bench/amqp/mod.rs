//! The Event Hubs door: the same telemetry through AMQP on loopback, beside appends within the process of the log.
//!
//! ```text
//! this process: clients ──AMQP, loopback──► a child process: door ─► log on disk
//!                                           another child:   appends ─► log on disk
//! ```
//!
//! The broker's CPU time is that of its process; what the appends of the other one cost is the log's part of it.

mod drain;
mod idle;
mod latency;
mod official;
mod publish;
mod report;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;

pub(crate) use publish::in_process;
pub(crate) use server::serve;

use drain::Reader;
use publish::Published;
use server::Server;

use super::data;

/// The batches that are measured.
const BATCHES: [usize; 2] = [100, 500];

/// How long a connection may be silent; more than any part takes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(240);

#[derive(Args)]
pub(crate) struct Amqp {
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// How many events are published with each size of batch.
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// How often each rate is measured; the middle one is told.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How many idle connections are made.
    #[arg(long, default_value_t = 5000)]
    idle: usize,
    /// Measures the official Python and JavaScript clients too, where their environments are (`cargo xtask clients
    /// --prepare`).
    #[arg(long)]
    clients: bool,
    /// Leaves out all but publishing and reading.
    #[arg(long)]
    no_latency: bool,
    /// Where the data goes; a directory of its own is made in it and removed. By default the target directory, which is on
    /// a disk.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// All that is measured.
#[derive(serde::Serialize)]
pub(crate) struct Measured {
    events: usize,
    publish: Vec<Batch>,
    drain_counting: drain::Drained,
    drain_engine: drain::Drained,
    server_peak_rss_mb: f64,
    latency_ms: Option<super::latency::Percentiles>,
    idle: Option<idle::Idle>,
    clients: Vec<official::Official>,
}

/// One size of batch.
#[derive(serde::Serialize)]
pub(crate) struct Batch {
    size: usize,
    in_process: Published,
    amqp: Published,
}

pub(crate) fn run(options: &Amqp) -> anyhow::Result<()> {
    // Children inherit the limit.
    idle::files_allowed();
    let (parent, work) = super::work_directory(options.dir.clone())?;
    let input = work.path().join("events.ndjson");
    data::write(&input, options.events, 10_000)?;
    if !options.json {
        super::report::heading("amqp", &parent);
    }

    let mut publish = Vec::new();
    let mut drained = Vec::new();
    for size in BATCHES {
        let mut rounds = Vec::new();
        for _ in 0..options.runs.max(1) {
            let in_process = in_another_process(&input, work.path(), size)?;
            let dir = tempfile::tempdir_in(work.path())?;
            let mut server = Server::start(dir.path(), IDLE_TIMEOUT)?;
            let amqp = publish::through_amqp(&mut server, &input, size)?;
            if size == BATCHES[0] {
                let counting = drain::drain(&mut server, Reader::Counting)?;
                let engine = drain::drain(&mut server, Reader::Engine)?;
                let peak = server.usage()?.peak_rss_mb;
                drained.push((counting, engine, peak));
            }
            server.stop()?;
            rounds.push(Batch { size, in_process, amqp });
        }
        rounds.sort_by(|one, other| one.ratio().total_cmp(&other.ratio()));
        publish.push(rounds.swap_remove(rounds.len() / 2));
    }
    drained.sort_by(|(one, _, _), (other, _, _)| one.wall_s.total_cmp(&other.wall_s));
    let (drain_counting, drain_engine, server_peak_rss_mb) = drained.swap_remove(drained.len() / 2);

    let dir = tempfile::tempdir_in(work.path())?;
    let mut server = Server::start(dir.path(), IDLE_TIMEOUT)?;
    let idle = match options.idle {
        0 => None,
        wanted => Some(idle::idle(&mut server, wanted)?),
    };
    let latency_ms = match options.no_latency {
        true => None,
        false => {
            data::write(&input, 200_000.min(options.events), 10_000)?;
            Some(latency::latency(server.address, &input)?)
        }
    };
    let clients = if options.clients { official::measure(&server)? } else { Vec::new() };
    server.stop()?;
    let events = options.events;
    let measured = Measured {
        events,
        publish,
        drain_counting,
        drain_engine,
        server_peak_rss_mb,
        latency_ms,
        idle,
        clients,
    };
    report::print(&measured, options.json)
}

impl Batch {
    /// The rate through AMQP by that of appends within the process.
    pub(crate) fn ratio(&self) -> f64 {
        self.amqp.rate() / self.in_process.rate()
    }

    /// What the broker's process takes beyond the log, in microseconds an event.
    pub(crate) fn cpu_beyond_log(&self) -> f64 {
        self.amqp.cpu() - self.in_process.cpu()
    }
}

fn in_another_process(input: &Path, work: &Path, batch: usize) -> anyhow::Result<Published> {
    let dir = tempfile::tempdir_in(work)?;
    let output = Command::new(std::env::current_exe()?)
        .args(["bench", "amqp-in-process", "--input"])
        .arg(input)
        .arg("--dir")
        .arg(dir.path())
        .arg("--batch")
        .arg(batch.to_string())
        .stderr(Stdio::inherit())
        .output()?;
    anyhow::ensure!(output.status.success(), "publishing within the process failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}
