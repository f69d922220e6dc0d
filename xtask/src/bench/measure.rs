//! What a process took: wall time, CPU time, memory, bytes to the disk.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A measurement under way.
pub(crate) struct Measure {
    began: Instant,
    cpu: Duration,
    written: u64,
}

/// What was measured.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) peak_rss_mb: f64,
    pub(crate) written_bytes: u64,
}

impl Measure {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), cpu: cpu_time(), written: written_bytes() }
    }

    pub(crate) fn end(&self) -> Taken {
        Taken {
            wall_s: self.began.elapsed().as_secs_f64(),
            cpu_s: (cpu_time() - self.cpu).as_secs_f64(),
            peak_rss_mb: peak_rss_mb(),
            written_bytes: written_bytes() - self.written,
        }
    }
}

/// User and system time of this process so far.
pub(crate) fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The largest resident set so far (`VmHWM`).
pub(crate) fn peak_rss_mb() -> f64 {
    field("/proc/self/status", "VmHWM:") / 1024.0
}

/// The resident set now (`VmRSS`).
pub(crate) fn rss_mb() -> f64 {
    field("/proc/self/status", "VmRSS:") / 1024.0
}

/// Bytes this process has written to files so far (`wchar`), zeros written ahead included. `write_bytes` would count a
/// whole folio of the page cache, up to megabytes, for every small write into it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of bytes")]
fn written_bytes() -> u64 {
    field("/proc/self/io", "wchar:") as u64
}

fn field(file: &str, name: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}
