//! What a person reads, and what a program reads.

use std::path::Path;

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

pub(crate) fn trouble(
    json: bool,
    events: usize,
    plain: &Run,
    key_order: &Keys,
    failing: &Keys,
    recovery: &Recovery,
    redrive: &Redrive,
) {
    let n = events as f64;
    let plain_rate = n / plain.taken.wall_s;
    let key_rate = n / key_order.wall_s;
    // Of the keys that work; what fails is parked meanwhile.
    let working_rate = failing.counts.applied as f64 / failing.wall_s;
    let share = key_order.counts.applied as f64 / key_order.wall_s;
    let redrive_rate = redrive.dead_letters as f64 / redrive.wall_s;
    if json {
        println!(
            "{}",
            json!({
                "benchmark": "trouble",
                "partition_order_events_per_s": plain_rate.round(),
                "key_order_events_per_s": key_rate.round(),
                "key_order_ratio": key_rate / plain_rate,
                "failing_keys_events_per_s": working_rate.round(),
                "failing_keys_ratio": working_rate / share,
                "failing_keys_parked": failing.counts.parked,
                "redriven_per_s": redrive_rate.round(),
                "recovery": recovery,
            })
        );
        return;
    }
    println!("\nwhen things go wrong, 10,000 devices");
    println!("  order by partition     {plain_rate:>12.0} events/s");
    println!("  order by key           {key_rate:>12.0} events/s   {:.2} of it", key_rate / plain_rate);
    println!(
        "  1 % of the keys failing{working_rate:>12.0} events/s   of the others, {:.2} of it",
        working_rate / share
    );
    println!(
        "  redrive                {redrive_rate:>12.0} dead letters/s, {} of them",
        redrive.dead_letters
    );
    println!(
        "  outage                 circuit open after {:.2} s; after the return events flow in {:.2} s (probe every {} s), at full speed {:.2} s later (ramp {} s)",
        recovery.opened_s, recovery.flowing_s, recovery.probe_after_s, recovery.full_speed_s, recovery.ramp_s
    );
}
