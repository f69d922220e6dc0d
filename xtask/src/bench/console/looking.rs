//! Tabs with the overview open, as the page does it: it is loaded once, and then the stream of its changes is read. And a
//! scrape each second.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::program::Program;

/// Fifteen times as often as Prometheus does by default.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);

/// Who looks.
#[derive(Clone, Copy)]
pub(super) struct Looking {
    tabs: usize,
    /// Whether each tab has credentials of its own, so that the program makes the page for each of them.
    is_each_another: bool,
}

impl Looking {
    /// Nobody, and nothing scrapes.
    pub(super) fn nobody() -> Self {
        Self { tabs: 0, is_each_another: false }
    }

    /// One browser with so many tabs.
    pub(super) fn one_person(tabs: usize) -> Self {
        Self { tabs, is_each_another: false }
    }

    /// So many people with a tab each.
    pub(super) fn people(tabs: usize) -> Self {
        Self { tabs, is_each_another: true }
    }
}

/// Those who look now.
pub(super) struct Viewers {
    tasks: JoinSet<anyhow::Result<()>>,
    bytes: Arc<AtomicU64>,
    tabs: usize,
}

impl Viewers {
    /// Opens the tabs, and returns when each of them shows the page.
    pub(super) async fn begin(program: &Program, looking: Looking) -> anyhow::Result<Self> {
        let (mut tasks, bytes) = (JoinSet::new(), Arc::<AtomicU64>::default());
        for tab in 0..looking.tabs {
            let cookie =
                if looking.is_each_another { format!("cookie: who={tab}\r\n") } else { String::new() };
            let page = once(program.address, &format!("GET / HTTP/1.1\r\n{cookie}")).await?;
            ensure!(page.contains("id=\"charts\""), "the overview is another than this benchmark knows");
            let mut stream =
                asked(program.address, &format!("GET /live?path=/ HTTP/1.1\r\n{cookie}")).await?;
            let mut first = vec![0; 64 * 1024];
            let read = stream.read(&mut first).await?;
            let head = String::from_utf8_lossy(first.get(..read).unwrap_or_default());
            ensure!(head.contains("200 OK") && head.contains("text/event-stream"), "no live page: {head}");
            let bytes = Arc::clone(&bytes);
            bytes.fetch_add(read as u64, Ordering::Relaxed);
            tasks.spawn(async move {
                loop {
                    let read = stream.read(&mut first).await?;
                    ensure!(read > 0, "the live page ended");
                    bytes.fetch_add(read as u64, Ordering::Relaxed);
                }
            });
        }
        if looking.tabs > 0 {
            let address = program.address;
            tasks.spawn(async move {
                loop {
                    let scrape = once(address, "GET /metrics HTTP/1.1\r\n").await?;
                    ensure!(scrape.contains("tidegate_build_info"), "no metrics: {scrape}");
                    tokio::time::sleep(SCRAPE_EVERY).await;
                }
            });
        }
        Ok(Self { tasks, bytes, tabs: looking.tabs })
    }

    /// Closes the tabs. How many bytes all of them were sent.
    ///
    /// # Errors
    /// When one of them could not look until now.
    pub(super) async fn end(mut self) -> anyhow::Result<u64> {
        if let Some(ended) = self.tasks.try_join_next() {
            ended.context("a viewer panicked")??;
        }
        self.tasks.shutdown().await;
        let bytes = self.bytes.load(Ordering::Relaxed);
        ensure!(bytes > 0 || self.tabs == 0, "nothing was shown");
        Ok(bytes)
    }
}

/// A connection with a request on it.
async fn asked(address: SocketAddr, head: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("{head}host: {address}\r\n\r\n").as_bytes()).await?;
    Ok(stream)
}

/// An answer with its head.
async fn once(address: SocketAddr, head: &str) -> anyhow::Result<String> {
    let mut stream = asked(address, &format!("{head}connection: close\r\n")).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(answer)
}
