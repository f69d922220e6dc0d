//! A mail server that does what the test says.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_alerts::catcher::CaughtMail;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the server does with one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It takes the mail.
    Accept,
    /// It answers the greeting, or a command, with this.
    Answer(&'static str, &'static str),
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

pub(crate) struct SmtpServer {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
    /// Counts the connections that stall.
    stalled: watch::Sender<usize>,
    _connections: JoinSet<()>,
}

impl SmtpServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let log: Arc<Mutex<Log>> = Arc::default();
        let stalled = watch::Sender::new(0);
        let mut connections = JoinSet::new();
        let (shared, signal) = (Arc::clone(&log), stalled.clone());
        connections.spawn(async move {
            let mut each = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let manner = shared.lock().manners.pop_front().unwrap_or(Manner::Accept);
                let (shared, signal) = (Arc::clone(&shared), signal.clone());
                each.spawn(async move {
                    let _ = serve(stream, manner, &shared, &signal).await;
                });
            }
        });
        Self { address, log, stalled, _connections: connections }
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
}

async fn serve(
    stream: TcpStream,
    manner: Manner,
    log: &Mutex<Log>,
    stalled: &watch::Sender<usize>,
) -> std::io::Result<()> {
    let stall = async || {
        stalled.send_modify(|count| *count += 1);
        std::future::pending::<()>().await;
    };
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    match manner {
        Manner::StallAtOnce => stall().await,
        Manner::Answer("", answer) => write.write_all(answer.as_bytes()).await?,
        _ => write.write_all(b"220 test\r\n").await?,
    }
    let mut mail = CaughtMail { from: String::new(), to: Vec::new(), raw: String::new() };
    while let Some(command) = lines.next_line().await? {
        log.lock().commands.push(command.clone());
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        if let Manner::Answer(at, answer) = manner
            && at == verb
        {
            write.write_all(answer.as_bytes()).await?;
            continue;
        }
        match verb.as_str() {
            "EHLO" => write.write_all(b"250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n").await?,
            "MAIL" => {
                mail.from.clone_from(&command);
                write.write_all(b"250 ok\r\n").await?;
            }
            "RCPT" => {
                mail.to.push(command.clone());
                write.write_all(b"250 ok\r\n").await?;
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await?;
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    mail.raw.push_str(line.strip_prefix('.').unwrap_or(&line));
                    mail.raw.push_str("\r\n");
                }
                log.lock().mails.push(mail.clone());
                match manner {
                    Manner::StallAfterData => stall().await,
                    Manner::DieAfterData => return Ok(()),
                    _ => write.write_all(b"250 taken\r\n").await?,
                }
            }
            "QUIT" => {
                if manner == Manner::StallAtQuit {
                    stall().await;
                }
                write.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => write.write_all(b"250 ok\r\n").await?,
        }
    }
    Ok(())
}
