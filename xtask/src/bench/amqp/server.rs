//! The server half, in a process of its own so that its CPU time and memory are its own: the AMQP door over a log on
//! disk, nothing else. It prints the port it listens on; then each line `usage` is answered with what it has taken so far,
//! and the end of its input ends it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tidegate_eventlog::{Log, LogOptions};
use tidegate_gateway::Gateway;
use tidegate_gateway::admission::Limits;
use tidegate_gateway::amqp::{AmqpBounds, AmqpDoor};
use tidegate_gateway::auth::{AccessRule, Authorizer, Right, Scope, SecretKey};
use tidegate_gateway::namespace::ConsumerGroups;
use tidegate_model::clock::SystemClock;
use tidegate_model::event::HubName;
use tidegate_model::ports::EventLog;
use tidegate_model::position::PartitionId;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::bench::data::PARTITIONS;
use crate::bench::measure;
use crate::bench::pipeline::runtime;

/// The hub, and the rule that may do everything.
pub(crate) const HUB: &str = "telemetry";
pub(crate) const RULE: &str = "RootManageSharedAccessKey";
pub(crate) const KEY: &str = "not-a-secret";

/// What the server has taken since it began.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu_s: f64,
    pub(crate) rss_mb: f64,
    pub(crate) peak_rss_mb: f64,
    /// Events in the log.
    pub(crate) events: u64,
    pub(crate) of_partition: [u64; PARTITIONS as usize],
}

/// Serves until the input ends.
pub(crate) fn serve(dir: &Path, idle_timeout: Duration) -> anyhow::Result<()> {
    let clock = SystemClock::shared();
    let log = Log::open(&dir.join("log"), LogOptions::default(), Arc::clone(&clock))?;
    let hub = log.create_hub(&HubName::new(HUB)?, PARTITIONS)?;
    let rule = AccessRule {
        name: RULE.into(),
        keys: vec![SecretKey::new(KEY)?],
        rights: [Right::Manage].into_iter().collect(),
        scope: Scope::Namespace,
    };
    let authorizer = Arc::new(Authorizer::new(vec![rule])?);
    let gateway = Arc::new(Gateway::new(authorizer, Limits::default(), Arc::clone(&clock)));
    gateway.open_hub_with(hub.clone(), Some(hub.clone()), ConsumerGroups::default())?;
    // Beyond the default, so that 5,000 idle connections leave room for one more.
    let bounds = AmqpBounds { connections: 6000, idle_timeout, ..AmqpBounds::default() };
    let door = AmqpDoor::new(gateway, bounds);
    let stop = watch::Sender::new(false);
    let runtime = runtime()?;
    let (listener, port) = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        anyhow::Ok((listener, port))
    })?;
    let stopped = stop.subscribe();
    let serving = runtime.spawn(async move { door.serve(listener, stopped).await });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{port}")?;
    out.flush()?;
    for line in std::io::stdin().lines() {
        anyhow::ensure!(line? == "usage", "the only question is usage");
        let mut of_partition = [0; PARTITIONS as usize];
        for (partition, events) in (0..).zip(&mut of_partition) {
            *events = hub.status(PartitionId(partition))?.ends().tail.0;
        }
        let usage = Usage {
            cpu_s: measure::cpu_time().as_secs_f64(),
            rss_mb: measure::rss_mb(),
            peak_rss_mb: measure::peak_rss_mb(),
            events: of_partition.iter().sum(),
            of_partition,
        };
        writeln!(out, "{}", serde_json::to_string(&usage)?)?;
        out.flush()?;
    }
    stop.send_replace(true);
    runtime.block_on(serving)?;
    log.close();
    Ok(())
}

/// The server's process, seen from the one that measures it.
pub(crate) struct Server {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts one whose log is in `dir`.
    pub(crate) fn start(dir: &Path, idle_timeout: Duration) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "amqp-server", "--dir"])
            .arg(dir)
            .arg("--idle-timeout-ms")
            .arg(idle_timeout.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let questions = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        let mut port = String::new();
        answers.read_line(&mut port)?;
        let port = port.trim().parse().context("the server did not start")?;
        Ok(Self { child, questions, answers, address: (Ipv4Addr::LOCALHOST, port).into() })
    }

    pub(crate) fn usage(&mut self) -> anyhow::Result<Usage> {
        let questions = self.questions.as_mut().context("the server is stopped")?;
        questions.write_all(b"usage\n")?;
        questions.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).context("the server has ended")
    }

    /// Ends it as a service manager would.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.questions = None;
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.questions.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
