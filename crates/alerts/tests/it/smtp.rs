//! A mail server that does what the test says.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_alerts::catcher::CaughtMail;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// What the server does with one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It takes the mail.
    Accept,
    /// It answers with this: to the connection (an empty text), a command, or the end of the mail (a dot).
    Answer(&'static str, &'static str),
    /// Everything it says comes byte by byte, one for each [`drip`](SmtpServer::drip).
    Drips,
    /// It says nothing from the beginning on.
    StallAtOnce,
    /// It takes the mail and says nothing.
    StallAfterData,
    /// It takes the mail and hangs up without an answer.
    DieAfterData,
    /// It takes the mail, and says nothing to the goodbye.
    StallAtQuit,
}

#[derive(Default)]
struct Log {
    manners: VecDeque<Manner>,
    mails: Vec<CaughtMail>,
    commands: Vec<String>,
}

/// Bytes that are let through one by one.
struct Drips {
    allowed: Semaphore,
    said: watch::Sender<usize>,
}

pub(crate) struct SmtpServer {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
    /// Counts the connections that stall.
    stalled: watch::Sender<usize>,
    /// The bytes that dripping connections may say, and have said.
    drips: Arc<Drips>,
    _connections: JoinSet<()>,
}

impl SmtpServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let log: Arc<Mutex<Log>> = Arc::default();
        let stalled = watch::Sender::new(0);
        let drips = Arc::new(Drips { allowed: Semaphore::new(0), said: watch::Sender::new(0) });
        let mut connections = JoinSet::new();
        let (shared, signal, dripping) = (Arc::clone(&log), stalled.clone(), Arc::clone(&drips));
        connections.spawn(async move {
            let mut each = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let manner = shared.lock().manners.pop_front().unwrap_or(Manner::Accept);
                let (shared, signal, dripping) = (Arc::clone(&shared), signal.clone(), Arc::clone(&dripping));
                each.spawn(async move {
                    let _ = serve(stream, manner, &shared, &signal, &dripping).await;
                });
            }
        });
        Self { address, log, stalled, drips, _connections: connections }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to do with the next connections; after them it accepts.
    pub(crate) fn then(&self, manners: impl IntoIterator<Item = Manner>) {
        self.log.lock().manners.extend(manners);
    }

    pub(crate) fn mails(&self) -> Vec<CaughtMail> {
        self.log.lock().mails.clone()
    }

    pub(crate) fn commands(&self) -> Vec<String> {
        self.log.lock().commands.clone()
    }

    /// Waits until `count` connections have stalled.
    pub(crate) async fn stalled(&self, count: usize) {
        self.stalled.subscribe().wait_for(|stalled| *stalled >= count).await.unwrap();
    }

    /// Has a dripping connection say one byte, and waits until it has.
    pub(crate) async fn drip(&self) {
        let before = *self.drips.said.borrow();
        self.drips.allowed.add_permits(1);
        self.drips.said.subscribe().wait_for(|said| *said > before).await.unwrap();
    }
}

/// Says something, as fast as it may.
async fn say(write: &mut OwnedWriteHalf, text: &[u8], manner: Manner, drips: &Drips) -> std::io::Result<()> {
    if manner != Manner::Drips {
        return write.write_all(text).await;
    }
    for byte in text {
        drips.allowed.acquire().await.expect("it is never closed").forget();
        let result = write.write_all(std::slice::from_ref(byte)).await;
        drips.said.send_modify(|said| *said += 1);
        result?;
    }
    Ok(())
}

async fn serve(
    stream: TcpStream,
    manner: Manner,
    log: &Mutex<Log>,
    stalled: &watch::Sender<usize>,
    drips: &Drips,
) -> std::io::Result<()> {
    let stall = async || {
        stalled.send_modify(|count| *count += 1);
        std::future::pending::<()>().await;
    };
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    match manner {
        Manner::StallAtOnce => stall().await,
        Manner::Answer("", answer) => say(&mut write, answer.as_bytes(), manner, drips).await?,
        _ => say(&mut write, b"220 test\r\n", manner, drips).await?,
    }
    let mut mail = CaughtMail { from: String::new(), to: Vec::new(), raw: String::new() };
    while let Some(command) = lines.next_line().await? {
        log.lock().commands.push(command.clone());
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        if let Manner::Answer(at, answer) = manner
            && at == verb
        {
            say(&mut write, answer.as_bytes(), manner, drips).await?;
            continue;
        }
        match verb.as_str() {
            "EHLO" => {
                say(&mut write, b"250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n", manner, drips).await?
            }
            "MAIL" => {
                mail.from.clone_from(&command);
                say(&mut write, b"250 ok\r\n", manner, drips).await?;
            }
            "RCPT" => {
                mail.to.push(command.clone());
                say(&mut write, b"250 ok\r\n", manner, drips).await?;
            }
            "DATA" => {
                say(&mut write, b"354 go on\r\n", manner, drips).await?;
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    mail.raw.push_str(line.strip_prefix('.').unwrap_or(&line));
                    mail.raw.push_str("\r\n");
                }
                if let Manner::Answer(".", answer) = manner {
                    say(&mut write, answer.as_bytes(), manner, drips).await?;
                    continue;
                }
                log.lock().mails.push(mail.clone());
                match manner {
                    Manner::StallAfterData => stall().await,
                    Manner::DieAfterData => return Ok(()),
                    _ => say(&mut write, b"250 taken\r\n", manner, drips).await?,
                }
            }
            "QUIT" => {
                if manner == Manner::StallAtQuit {
                    stall().await;
                }
                say(&mut write, b"221 bye\r\n", manner, drips).await?;
                return Ok(());
            }
            _ => say(&mut write, b"250 ok\r\n", manner, drips).await?,
        }
    }
    Ok(())
}
