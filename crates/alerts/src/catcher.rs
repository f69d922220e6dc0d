//! A mail server for demonstrations and tests: it takes every mail at a loopback address and hands it to a channel.
//!
//! It speaks as much of RFC 5321 as clients need, sends nothing on, and keeps nothing.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

/// The largest mail, in bytes.
pub const MAX_MAIL: usize = 1024 * 1024;

/// The longest line, in bytes; RFC 5321, section 4.5.3.1.6, allows 1000.
const MAX_LINE: usize = 4096;

/// How many connections are served at once.
const MAX_CONNECTIONS: usize = 16;

/// How many mails wait for the receiver before senders wait too.
const MAX_WAITING: usize = 64;

/// A mail as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaughtMail {
    /// Who sent it, as the envelope says.
    pub from: String,
    /// Whom it is for, as the envelope says.
    pub to: Vec<String>,
    /// Headers and body, as they came; lines end in CR LF.
    pub raw: String,
}

impl CaughtMail {
    /// The value of a header, unfolded, as it is written.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.raw.split("\r\n\r\n").next()?.replace("\r\n ", " ").replace("\r\n\t", " ");
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    /// The plain text of the mail, decoded; the whole body if it has no such part.
    pub fn text(&self) -> String {
        let body = self.raw.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let boundary = self.header("Content-Type").and_then(|value| {
            value.split_once("boundary=\"").and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()))
        });
        let Some(boundary) = boundary else { return body.to_owned() };
        let between = format!("--{boundary}");
        for part in body.split(&between) {
            let Some((head, content)) = part.split_once("\r\n\r\n") else { continue };
            let head = head.to_ascii_lowercase();
            if !head.contains("text/plain") {
                continue;
            }
            if head.contains("base64") {
                use base64::Engine as _;
                let packed: String = content.split_whitespace().collect();
                let decoded = base64::engine::general_purpose::STANDARD.decode(packed).unwrap_or_default();
                return String::from_utf8_lossy(&decoded).into_owned();
            }
            if head.contains("quoted-printable") {
                return quoted_printable(content);
            }
            return content.trim_end().to_owned();
        }
        body.to_owned()
    }
}

/// Decodes quoted-printable text (RFC 2045, section 6.7); what is malformed stays as it is.
fn quoted_printable(text: &str) -> String {
    let joined = text.replace("=\r\n", "");
    let mut bytes = Vec::with_capacity(joined.len());
    let mut rest = joined.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let decoded = (first == b'=')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        match decoded {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

/// The mail server. It stops when it is dropped.
pub struct Catcher {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Catcher {
    /// Listens at `127.0.0.1`, at `port` or, if that is 0, any free one. The mails come out of the receiver.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn listen(port: u16) -> std::io::Result<(Self, mpsc::Receiver<CaughtMail>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let (caught, mails) = mpsc::channel(MAX_WAITING);
        let task = tokio::spawn(async move {
            // Connections end with the set, and the set with the task.
            let mut connections = JoinSet::new();
            loop {
                while connections.len() >= MAX_CONNECTIONS {
                    connections.join_next().await;
                }
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let caught = caught.clone();
                        connections.spawn(async move {
                            let (read, write) = stream.into_split();
                            // A client that goes away or speaks something else is no concern of anybody.
                            let _ = converse(BufReader::new(read), write, &caught).await;
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the mail catcher takes no more connections");
                        return;
                    }
                }
            }
        });
        Ok((Self { address, task }, mails))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Catcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, to its end.
async fn converse<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut input: BufReader<R>,
    mut output: W,
    caught: &mpsc::Sender<CaughtMail>,
) -> std::io::Result<()> {
    output.write_all(b"220 tidegate catches mail\r\n").await?;
    let (mut from, mut to) = (None, Vec::new());
    loop {
        let Some(line) = line(&mut input).await? else { return Ok(()) };
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "EHLO" => b"250-tidegate\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
            "HELO" => b"250 tidegate\r\n",
            "MAIL" => {
                from = Some(address_in(&line));
                to.clear();
                b"250 ok\r\n"
            }
            "RCPT" if from.is_none() => b"503 MAIL comes first\r\n",
            "RCPT" if to.len() >= 100 => b"452 that is enough\r\n",
            "RCPT" => {
                to.push(address_in(&line));
                b"250 ok\r\n"
            }
            "DATA" if to.is_empty() => b"503 RCPT comes first\r\n",
            "DATA" => {
                output.write_all(b"354 go on\r\n").await?;
                match data(&mut input).await? {
                    None => return Ok(()),
                    Some(Err(TooLarge)) => b"552 too large\r\n",
                    Some(Ok(raw)) => {
                        let mail = CaughtMail {
                            from: from.take().unwrap_or_default(),
                            to: std::mem::take(&mut to),
                            raw,
                        };
                        if caught.send(mail).await.is_ok() {
                            b"250 caught\r\n"
                        } else {
                            b"451 nobody looks\r\n"
                        }
                    }
                }
            }
            "RSET" => {
                from = None;
                to.clear();
                b"250 ok\r\n"
            }
            "NOOP" => b"250 ok\r\n",
            "QUIT" => {
                output.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"502 not here\r\n",
        };
        output.write_all(answer).await?;
    }
}

struct TooLarge;

/// The mail after `DATA`, up to the line with a single dot; `None` when the connection ends before.
async fn data<R: AsyncRead + Unpin>(
    input: &mut BufReader<R>,
) -> std::io::Result<Option<Result<String, TooLarge>>> {
    let mut raw = String::new();
    let mut fits = true;
    loop {
        let Some(line) = line(input).await? else { return Ok(None) };
        if line == "." {
            return Ok(Some(if fits { Ok(raw) } else { Err(TooLarge) }));
        }
        fits = fits && raw.len() + line.len() + 2 <= MAX_MAIL;
        if fits {
            // RFC 5321, section 4.5.2: a line that begins with a dot was sent with another before it.
            raw.push_str(line.strip_prefix('.').unwrap_or(&line));
            raw.push_str("\r\n");
        }
    }
}

/// One line without its end; `None` at the end of the connection. A line that is too long ends it.
async fn line<R: AsyncRead + Unpin>(input: &mut BufReader<R>) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = input.take(MAX_LINE as u64).read_until(b'\n', &mut bytes).await?;
    if read == 0 || bytes.pop() != Some(b'\n') {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What is between the angle brackets of `MAIL FROM:<...>`.
fn address_in(line: &str) -> String {
    line.split_once('<').and_then(|(_, rest)| Some(rest.split_once('>')?.0)).unwrap_or_default().to_owned()
}
