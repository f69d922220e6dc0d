//! The program under measurement, as a user starts it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};

use crate::bench::data::PARTITIONS;

/// The hub that everything is published to.
pub(super) const HUB: &str = "telemetry";

/// A running server over an empty directory.
pub(super) struct Program {
    child: Child,
    // Kept open: the server would otherwise find its standard output closed.
    _output: BufReader<ChildStdout>,
    pub(super) address: SocketAddr,
    /// May do everything.
    pub(super) key: String,
}

impl Program {
    /// Starts one with the benchmark's hub and function.
    pub(super) fn start(executable: &Path, dir: &Path) -> anyhow::Result<Self> {
        let config = format!(
            "[hub.{HUB}]\npartitions = {PARTITIONS}\n\n[function.devices]\nhub = \"{HUB}\"\nkind = \"upsert\"\n\
             decode = \"json\"\nkey = \"/deviceId\"\nmerge = \"patch\"\ncollection = \"devices\"\n\
             max_event_batch_size = 512\n"
        );
        std::fs::write(dir.join("tidegate.toml"), config)?;
        let data_dir = dir.join("data");
        let mut child = Command::new(executable)
            .args(["run", "--http", "127.0.0.1:0", "--json", "--config"])
            .arg(dir.join("tidegate.toml"))
            .arg("--data-dir")
            .arg(&data_dir)
            .env("TIDEGATE_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let started: serde_json::Value = serde_json::from_str(&line).context("the server did not start")?;
        let address = started["http"].as_str().and_then(|http| http.strip_prefix("http://"));
        let address = address.context("the server did not say where it is")?.parse()?;
        let keys: serde_json::Value = serde_json::from_slice(&std::fs::read(data_dir.join("keys.json"))?)?;
        let key = keys["keys"][0]["key"].as_str().context("there is no key")?.to_owned();
        Ok(Self { child, _output: output, address, key })
    }

    /// User and system time of the server so far, in seconds.
    pub(super) fn cpu_s(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name before may hold anything; the first field behind it is number 3 (proc_pid_stat(5)).
        let (_, behind_name) = stat.rsplit_once(')').context("a line of /proc")?;
        let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
        let ticks: f64 = fields.get(11).context("user time")?.parse::<f64>()?
            + fields.get(12).context("system time")?.parse::<f64>()?;
        Ok(ticks / rustix::param::clock_ticks_per_second().max(1) as f64)
    }

    /// Ends it as a service manager would.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        )?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
