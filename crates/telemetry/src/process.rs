//! What the operating system knows about the program, under the names that every Prometheus client gives it.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;
use tidegate_model::clock::Timestamp;

use crate::flow::Show;

/// Reads `/proc/self` at each scrape. Where there is none it shows the start only.
#[derive(Debug)]
pub(crate) struct ProcessCollector {
    pub(crate) started_at: Timestamp,
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        if let Some(usage) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(usage_of) {
            let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
            let cpu = ConstCounter::new(usage.cpu_ticks as f64 / ticks);
            let metric = encoder.encode_descriptor(
                "process_cpu",
                "Processor time of the program, user and system",
                Some(&Unit::Seconds),
                cpu.metric_type(),
            )?;
            cpu.encode(metric)?;
            let resident = usage.resident_pages as f64 * rustix::param::page_size() as f64;
            let mut show = Show(&mut encoder);
            show.gauge(
                "process_resident_memory",
                "Memory of the program that is in RAM",
                Some(Unit::Bytes),
                resident,
            )?;
            show.gauge(
                "process_virtual_memory",
                "Address space of the program",
                Some(Unit::Bytes),
                usage.virtual_bytes as f64,
            )?;
            show.gauge("process_threads", "Threads of the program", None, usage.threads as f64)?;
        }
        let mut show = Show(&mut encoder);
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            show.gauge("process_open_fds", "Open files", None, open.count() as f64)?;
        }
        if let Some(most) =
            std::fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(most_files_of)
        {
            show.gauge("process_max_fds", "How many files may be open", None, most as f64)?;
        }
        show.gauge(
            "process_start_time",
            "When the program started, since 1970",
            Some(Unit::Seconds),
            self.started_at.as_millis() as f64 / 1e3,
        )
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Usage {
    cpu_ticks: u64,
    threads: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

/// What the line of `/proc/PID/stat` says; see proc_pid_stat(5). The name of the program may hold anything, also spaces and
/// parentheses.
fn usage_of(stat: &str) -> Option<Usage> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    // The first field behind the name is number 3.
    let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Usage {
        cpu_ticks: field(14)? + field(15)?,
        threads: field(20)?,
        virtual_bytes: field(23)?,
        resident_pages: field(24)?,
    })
}

/// What `/proc/PID/limits` says about open files; see proc_pid_limits(5). Nothing when there is no limit.
fn most_files_of(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_the_soft_one() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             96000                96000                processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(most_files_of(limits), Some(1024));
        assert_eq!(most_files_of(&limits.replace("1024  ", "unlimited")), None);
    }

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 900 0 0 0 120 30 0 0 20 0 9 0 100 2000000 555 184467 1 1";
        let usage = Usage { cpu_ticks: 150, threads: 9, virtual_bytes: 2_000_000, resident_pages: 555 };
        assert_eq!(usage_of(stat), Some(usage));
        assert_eq!(usage_of("7 (a) S 1"), None);
    }
}
