//! What a person reads, and what a program reads.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::floor::Floor;
use super::latency::{Latency, Percentiles};
use super::pipeline::Run;
use super::trouble::{Keys, Recovery, Redrive};

pub(crate) fn heading(name: &str, dir: &Path) {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{name} on {cores} cores of {}, data in {}\n",
        model.trim_start_matches(['\t', ':', ' ']),
        dir.display()
    );
}

pub(crate) fn throughput(
    json: bool,
    devices: usize,
    events: usize,
    floor: &Floor,
    publish: &Run,
    end_to_end: &Run,
) -> anyhow::Result<()> {
    anyhow::ensure!(
        end_to_end.documents == floor.documents as u64
            && end_to_end.counts.dead_lettered == floor.corrupt as u64,
        "the floor made {} documents and found {} corrupt events, the system {} and {}",
        floor.documents,
        floor.corrupt,
        end_to_end.documents,
        end_to_end.counts.dead_lettered
    );
    let n = events as f64;
    let publish_rate = n / publish.publish_s;
    let end_to_end_rate = n / end_to_end.taken.wall_s;
    let ratio = end_to_end.taken.wall_s / floor.taken.wall_s;
    let cpu = end_to_end.taken.cpu_s / n * 1e6;
    let floor_cpu = floor.taken.cpu_s / n * 1e6;
    let written = end_to_end.taken.written_bytes as f64 / n;
    if json {
        println!(
            "{}",
            json!({
                "benchmark": "telemetry-1m",
                "devices": devices,
                "events": events,
                "publish_events_per_s": publish_rate.round(),
                "publish_while_processing_events_per_s": (n / end_to_end.publish_s).round(),
                "end_to_end_events_per_s": end_to_end_rate.round(),
                "wall_s": end_to_end.taken.wall_s,
                "floor_s": floor.taken.wall_s,
                "ratio_to_floor": ratio,
                "cpu_us_per_event": cpu,
                "floor_cpu_us_per_event": floor_cpu,
                "publish_cpu_us_per_event": publish.taken.cpu_s / n * 1e6,
                "peak_rss_mb": end_to_end.taken.peak_rss_mb,
                "bytes_written_per_event": written,
                "documents": end_to_end.documents,
                "dead_letters": end_to_end.counts.dead_lettered,
            })
        );
        return Ok(());
    }
    println!(
        "{events} events from {devices} devices: {} documents, {} dead letters",
        end_to_end.documents, end_to_end.counts.dead_lettered
    );
    println!("  publish alone          {publish_rate:>12.0} events/s");
    println!("  publish while processed{:>12.0} events/s", n / end_to_end.publish_s);
    println!(
        "  end to end             {end_to_end_rate:>12.0} events/s   in {:.2} s",
        end_to_end.taken.wall_s
    );
    println!(
        "  floor                  {:>12.0} events/s   in {:.2} s, ratio {ratio:.2}",
        n / floor.taken.wall_s,
        floor.taken.wall_s
    );
    println!(
        "  CPU                    {cpu:>12.2} µs/event   floor {floor_cpu:.2}, beyond it {:.2}",
        cpu - floor_cpu
    );
    println!("  peak memory            {:>12.0} MB", end_to_end.taken.peak_rss_mb);
    println!("  written                {written:>12.0} bytes/event\n");
    Ok(())
}

pub(crate) fn latency(json: bool, latency: &Latency) -> anyhow::Result<()> {
    if json {
        println!("{}", json!({ "benchmark": "latency", "latency": latency }));
        return Ok(());
    }
    let line = |name: &str, p: &Percentiles| {
        println!("  {name:<23}{:>9.1} ms p50{:>9.1} ms p99{:>9.1} ms p99.9", p.p50, p.p99, p.p999);
    };
    println!("latency at {} events/s", latency.events_per_s);
    line("publish acknowledged", &latency.publish_acknowledged_ms);
    line("document committed", &latency.document_committed_ms);
    Ok(())
}

/// Order by partition, by key, and by key with some that fail, one run of each, one after the other.
pub(crate) struct Round {
    pub(crate) plain: Run,
    pub(crate) key_order: Keys,
    pub(crate) failing: Keys,
}

pub(crate) fn trouble(json: bool, events: usize, rounds: &[Round], recovery: &Recovery, redrive: &Redrive) {
    let n = events as f64;
    let applied = |run: &Keys| run.counts.applied as f64 / run.wall_s;
    let median_of = |of: &dyn Fn(&Round) -> f64| median(rounds.iter().map(of));
    let plain_rate = median_of(&|round| n / round.plain.taken.wall_s);
    let key_rate = median_of(&|round| n / round.key_order.wall_s);
    let key_ratio = Spread::of(rounds.iter().map(|round| round.plain.taken.wall_s / round.key_order.wall_s));
    // Of the keys that work; what fails is parked meanwhile.
    let working_rate = median_of(&|round| applied(&round.failing));
    let working_ratio =
        Spread::of(rounds.iter().map(|round| applied(&round.failing) / applied(&round.key_order)));
    let redrive_rate = redrive.dead_letters as f64 / redrive.wall_s;
    if json {
        println!(
            "{}",
            json!({
                "benchmark": "trouble",
                "partition_order_events_per_s": plain_rate.round(),
                "key_order_events_per_s": key_rate.round(),
                "key_order_ratio": key_ratio,
                "failing_keys_events_per_s": working_rate.round(),
                "failing_keys_ratio": working_ratio,
                "failing_keys_parked": rounds.iter().map(|round| round.failing.counts.parked).max(),
                "redriven_per_s": redrive_rate.round(),
                "recovery": recovery,
            })
        );
        return;
    }
    println!("\nwhen things go wrong, 10,000 devices, the middle of {} rounds", rounds.len());
    println!("  order by partition     {plain_rate:>12.0} events/s");
    println!("  order by key           {key_rate:>12.0} events/s   {key_ratio} of it");
    println!("  1 % of the keys failing{working_rate:>12.0} events/s   of the others, {working_ratio} of it");
    println!(
        "  redrive                {redrive_rate:>12.0} dead letters/s, {} of them",
        redrive.dead_letters
    );
    println!(
        "  outage                 circuit open after {:.2} s; after the return events flow in {:.2} s (probe every {} s), at full speed {:.2} s later (ramp {} s)",
        recovery.opened_s, recovery.flowing_s, recovery.probe_after_s, recovery.full_speed_s, recovery.ramp_s
    );
}

/// The middle of several runs, and how far they are apart.
#[derive(Serialize)]
struct Spread {
    median: f64,
    lowest: f64,
    highest: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (lowest, highest) =
            (values.clone().fold(f64::INFINITY, f64::min), values.clone().fold(0.0, f64::max));
        Self { median: median(values), lowest, highest }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ({:.2} to {:.2})", self.median, self.lowest, self.highest)
    }
}

/// The middle one.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
