//! Sixteen producers that upload lines, each over one connection, and the wait until everything is resolved.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::program::{HUB, Program};
use crate::bench::data;
use crate::bench::pipeline::Lines;

/// Lines in an upload.
const LINES: usize = 500;

/// How often all events are published in a phase at full speed, so that it lasts for some of the seconds between two looks.
const PASSES: usize = 5;

/// How often it is asked whether everything is resolved.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// How fast producers are.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// All events five times, without a pause, until the last one is resolved.
    AsFastAsPossible,
    /// So many a second for so long, again from the beginning when there are no more.
    Fixed { events_per_s: u32, lasts: Duration },
}

/// What it took.
pub(super) struct Spent {
    pub(super) events: u64,
    pub(super) wall_s: f64,
    /// Of the program alone.
    pub(super) cpu_s: f64,
}

/// The events, ready to be sent.
pub(super) struct Load {
    /// Of each producer: its partition, and its uploads with the number of their lines.
    producers: Vec<(u32, Vec<(Bytes, u64)>)>,
    /// How many were published so far.
    published: u64,
}

impl Load {
    pub(super) fn read(input: &Path) -> anyhow::Result<Self> {
        let mut producers = Vec::new();
        for (producer, section) in data::sections(input)?.windows(2).enumerate() {
            let (mut lines, mut uploads) = (Lines::open(input, section[0]..section[1])?, Vec::new());
            loop {
                let batch = lines.batch_of(LINES)?;
                if batch.is_empty() {
                    break;
                }
                let mut upload = BytesMut::new();
                for event in &batch {
                    upload.extend_from_slice(&event.body);
                    upload.extend_from_slice(b"\n");
                }
                uploads.push((upload.freeze(), batch.len() as u64));
            }
            producers.push((data::partition_of(producer), uploads));
        }
        Ok(Self { producers, published: 0 })
    }

    /// Publishes events, and says what that took.
    pub(super) async fn publish(&mut self, program: &Program, pace: Pace) -> anyhow::Result<Spent> {
        let (began, cpu) = (Instant::now(), program.cpu_s()?);
        let many = self.producers.len();
        let producing = self.producers.iter().map(async |(partition, uploads)| {
            let mut door = Door::open(program).await?;
            let path = format!("/{HUB}/messages?partition={partition}");
            let mut sent = 0;
            match pace {
                Pace::AsFastAsPossible => {
                    for (upload, lines) in uploads.iter().cycle().take(uploads.len() * PASSES) {
                        door.upload(&path, upload.clone()).await?;
                        sent += lines;
                    }
                }
                Pace::Fixed { events_per_s, lasts } => {
                    let pause = Duration::from_secs_f64((LINES * many) as f64 / f64::from(events_per_s));
                    let mut due = Duration::ZERO;
                    for (upload, lines) in uploads.iter().cycle() {
                        if due >= lasts {
                            break;
                        }
                        tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
                        door.upload(&path, upload.clone()).await?;
                        sent += lines;
                        due += pause;
                    }
                }
            }
            anyhow::Ok(sent)
        });
        let events = futures_util::future::try_join_all(producing).await?.into_iter().sum();
        self.published += events;
        self.resolved(program).await?;
        let (wall_s, cpu_s) = (began.elapsed().as_secs_f64(), program.cpu_s()? - cpu);
        Ok(Spent { events, wall_s, cpu_s })
    }

    /// Waits until every event that was published has an outcome.
    async fn resolved(&self, program: &Program) -> anyhow::Result<()> {
        let mut door = Door::open(program).await?;
        loop {
            let checkpoints = door.get("/api/v1/checkpoints").await?;
            let checkpoints: serde_json::Value = serde_json::from_slice(&checkpoints)?;
            let items = checkpoints["items"].as_array().context("checkpoints are listed")?;
            let resolved: u64 = items.iter().filter_map(|checkpoint| checkpoint["position"].as_u64()).sum();
            if resolved >= self.published {
                return Ok(());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

/// A connection to the HTTP door.
struct Door {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    authorization: String,
}

impl Door {
    async fn open(program: &Program) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(program.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with its sender; what goes wrong is told there.
        tokio::spawn(connection);
        let authorization = format!("Bearer {}", program.key);
        Ok(Self { sender, host: program.address.to_string(), authorization })
    }

    async fn upload(&mut self, path: &str, lines: Bytes) -> anyhow::Result<()> {
        let (status, answer) = self.ask(Method::POST, path, lines).await?;
        ensure!(status == StatusCode::CREATED, "{status}: {}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        let (status, answer) = self.ask(Method::GET, path, Bytes::new()).await?;
        ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&answer));
        Ok(answer)
    }

    async fn ask(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, &self.authorization)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-ndjson")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}
