//! Hostile bytes, on any compiler: targets on changed seeds, and an attack on a server in a process of its own.

#![expect(clippy::disallowed_methods, reason = "how long it runs is the machine's time")]

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use tidegate_gateway::amqp::AmqpBounds;
use tidegate_hostile::attack::{Attack, Stand, attack, check_log};
use tidegate_hostile::driver;
use tidegate_hostile::targets::{TARGETS, Target, named};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How much the server may grow after its warm-up, in MB: what an allocator keeps in reserve moves by about as much.
const GROWTH_MB: f64 = 30.0;

#[derive(Args)]
pub(crate) struct Fuzz {
    /// Which target; `all` runs one after the other, `server` attacks a server. Without one they are listed.
    target: Option<String>,
    /// How long a target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What the changes are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs a target on this file alone.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Writes the seeds of all targets into this directory, one directory a target.
    #[arg(long, value_name = "DIRECTORY")]
    seeds: Option<PathBuf>,
    /// With `server`: how many frames are thrown.
    #[arg(long, default_value_t = 1_000_000)]
    frames: u64,
    /// The process that is attacked (internal).
    #[arg(long, hide = true, value_name = "DIRECTORY")]
    stand: Option<PathBuf>,
}

pub(crate) fn fuzz(options: &Fuzz) -> anyhow::Result<()> {
    if let Some(dir) = &options.stand {
        return stand(dir);
    }
    if let Some(dir) = &options.seeds {
        return write_seeds(dir);
    }
    match options.target.as_deref() {
        None => {
            for target in TARGETS {
                println!("{:<14} {}", target.name, target.about);
            }
            println!("{:<14} random and mutated frames at a server, between clients that behave", "server");
            Ok(())
        }
        Some("server") => attack_server(options),
        Some("all") => TARGETS.iter().try_for_each(|target| run(target, options)),
        Some(name) => {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            let target = named(name).with_context(|| {
                format!("there is no target {name:?}; there are {}, all and server", names.join(", "))
            })?;
            run(target, options)
        }
    }
}

fn write_seeds(dir: &Path) -> anyhow::Result<()> {
    for target in TARGETS {
        let dir = dir.join(target.name);
        std::fs::create_dir_all(&dir)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}

fn run(target: &Target, options: &Fuzz) -> anyhow::Result<()> {
    if let Some(input) = &options.input {
        (target.run)(&std::fs::read(input)?);
        println!("{}: nothing is wrong with {}", target.name, input.display());
        return Ok(());
    }
    let until = Instant::now() + Duration::from_secs(options.seconds);
    match driver::run(target, options.seed, |_| Instant::now() < until) {
        Ok(inputs) => {
            println!("{}: {inputs} inputs", target.name);
            Ok(())
        }
        Err(broken) => {
            let dir = Path::new("target/fuzz");
            std::fs::create_dir_all(dir)?;
            let file = dir.join(format!("{}-{}", target.name, options.seed));
            std::fs::write(&file, &broken.input)?;
            bail!(
                "{}: {}\nagain: cargo xtask fuzz {} --input {}",
                target.name,
                broken.said,
                target.name,
                file.display()
            )
        }
    }
}

// The attack

/// The server, until its input ends.
fn stand(dir: &Path) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let bounds = AmqpBounds { idle_timeout: Duration::from_secs(20), ..AmqpBounds::default() };
    let stand = Stand::new(dir, bounds)?;
    let stop = watch::Sender::new(false);
    let stopped = stop.subscribe();
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    std::thread::spawn(move || {
        let _ = std::io::stdin().lines().count();
        stop.send_replace(true);
    });
    runtime.block_on(stand.serve(listener, stopped));
    stand.close();
    Ok(())
}

fn attack_server(options: &Fuzz) -> anyhow::Result<()> {
    let work = tempfile::Builder::new().prefix("fuzz-").tempdir_in("target")?;
    let dir = work.path().join("log");
    let mut child = Command::new(std::env::current_exe()?)
        .args(["fuzz", "--stand"])
        .arg(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut port = String::new();
    BufReader::new(child.stdout.take().context("its output is a pipe")?).read_line(&mut port)?;
    let address = (Ipv4Addr::LOCALHOST, port.trim().parse().context("the server did not start")?).into();
    let plan = Attack { frames: options.frames, attackers: 8, seed: options.seed };
    let mut memory = Vec::new();
    let began = Instant::now();
    let report = runtime()?.block_on(attack(address, plan, |frames| {
        if let Some(rss) = rss_mb(&child) {
            memory.push((frames, rss));
            eprintln!("{frames:>9} frames, {rss:.1} MB, {:.0} s", began.elapsed().as_secs_f64());
        }
    }));
    let still_runs = child.try_wait()?.is_none();
    drop(child.stdin.take());
    let status = child.wait()?;
    ensure!(still_runs && status.success(), "the server ended with {status}");
    let report = report?;
    runtime()?.block_on(check_log(&dir, &report))?;
    let events: u64 = report.acknowledged.values().sum();
    let warm = memory.iter().filter(|(frames, _)| *frames <= options.frames / 4).map(|(_, rss)| *rss);
    let warm = warm.fold(0.0, f64::max);
    let end = memory.last().map_or(0.0, |(_, rss)| *rss);
    println!(
        "{} frames before the server ended their connections, {} in all, over {} connections; {events} events of clients that behave are in the log as acknowledged; \
         {warm:.1} MB after a quarter, {end:.1} MB at the end",
        report.frames, report.thrown, report.connections
    );
    ensure!(end <= warm + GROWTH_MB, "the server has grown from {warm:.0} to {end:.0} MB");
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// The resident set of a process, in MB.
fn rss_mb(child: &Child) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}
