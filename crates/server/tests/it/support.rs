//! Runs the program as a person does: as a process, with a directory of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// The configuration of the reference, as written there.
pub(crate) const CONFIG: &str = r#"
[hub.flights]
partitions = 8
retention = "7d"

[function.aircraft]
hub = "flights"
kind = "upsert"
decode = "json"
key = "/icao24"
merge = "patch"
collection = "aircraft"
max_event_batch_size = 512
retry = { strategy = "exponential", max_attempts = 4, min_interval = "100ms", max_interval = "10s" }
"#;

/// A directory with a configuration and a data directory in it.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("tidegate.toml"), config).expect("write the configuration");
        Self { dir }
    }

    /// A directory that has a data directory already.
    pub(crate) fn at(dir: tempfile::TempDir) -> Self {
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).expect("write a file");
        path
    }

    /// A command with this data directory.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = program();
        command.current_dir(self.dir.path()).args(words.split_whitespace()).args(["--data-dir", "data"]);
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, words: &str) -> Output {
        self.command(words).output().expect("the program runs")
    }

    /// Runs a command that has no data directory.
    pub(crate) fn program(&self, words: &str) -> Output {
        let mut command = program();
        command.current_dir(self.dir.path()).args(words.split_whitespace());
        command.output().expect("the program runs")
    }

    /// Runs a command that has no data directory and must succeed; its standard output.
    pub(crate) fn run_alone(&self, words: &str) -> String {
        succeeded(self.program(words), words)
    }

    /// Runs a command that must succeed; its standard output.
    pub(crate) fn ok(&self, words: &str) -> String {
        succeeded(self.run(words), words)
    }

    /// Runs a listing that must succeed; its objects.
    pub(crate) fn json(&self, words: &str) -> Vec<Value> {
        objects(&self.ok(&format!("{words} --json")))
    }

    /// Starts a server on a free port and waits until it accepts work.
    pub(crate) fn serve(&self) -> Server {
        started(self.command("run --http 127.0.0.1:0 --json")).0
    }

    /// Starts a server, which may refuse.
    pub(crate) fn try_serve(&self) -> Result<Server, Refused> {
        try_started(self.command("run --http 127.0.0.1:0 --json")).map(|(server, _)| server)
    }

    /// The key of the server, as it is in the data directory.
    pub(crate) fn key(&self) -> String {
        let keys: Value =
            serde_json::from_slice(&std::fs::read(self.data().join("keys.json")).expect("keys"))
                .expect("keys are JSON");
        keys["keys"][0]["key"].as_str().expect("a key").to_owned()
    }

    /// Waits until every function of a running server has resolved everything.
    pub(crate) fn caught_up(&self, published: u64) {
        wait_until("everything is resolved", || {
            let accounts = self.json("audit");
            !accounts.is_empty()
                && accounts.iter().all(|account| account["pending"] == 0 && account["published"] == published)
        });
    }
}

/// The program, with nothing of this environment that changes what it does.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for variable in
        ["TIDEGATE_DATA_DIR", "TIDEGATE_SERVER", "TIDEGATE_KEY", "TIDEGATE_LOG", "TIDEGATE_LOG_FORMAT"]
    {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

pub(crate) fn succeeded(output: Output, what: &str) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{what} failed with {}\n{out}\n{err}", output.status);
    out
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn objects(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// A running server. It is killed when dropped.
pub(crate) struct Server {
    child: Child,
    // Kept open: the server would otherwise find its standard output closed.
    _stdout: BufReader<ChildStdout>,
    log: Option<JoinHandle<String>>,
    pub(crate) http: String,
}

/// Starts a server by a command that prints its start as JSON.
pub(crate) fn started(command: Command) -> (Server, Value) {
    try_started(command).unwrap_or_else(|refused| panic!("the server did not start: {}", refused.said))
}

/// A server that did not start.
pub(crate) struct Refused {
    pub(crate) status: ExitStatus,
    /// Its standard output and standard error.
    pub(crate) said: String,
}

/// As [`started`], but the server may refuse.
pub(crate) fn try_started(mut command: Command) -> Result<(Server, Value), Refused> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the server starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    // Its log is read all the time, so that it never waits for a full pipe.
    let mut stderr = child.stderr.take().expect("it is piped");
    let log = std::thread::spawn(move || {
        let mut log = Vec::new();
        let _ = stderr.read_to_end(&mut log);
        text(&log)
    });
    let mut said = String::new();
    // A program that is a test as well says so before.
    let started = loop {
        let mut line = String::new();
        let length = stdout.read_line(&mut line).expect("the server's output can be read");
        said.push_str(&line);
        if let Ok(started) = serde_json::from_str::<Value>(&line) {
            break started;
        }
        if length == 0 {
            let status = child.wait().expect("it has ended");
            return Err(Refused { status, said: said + &log.join().expect("its log can be read") });
        }
    };
    let http = started["http"].as_str().expect("an address").to_owned();
    Ok((Server { child, _stdout: stdout, log: Some(log), http }, started))
}

impl Server {
    /// Ends it as a power cut ends it.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it has ended");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it can be signalled");
    }

    /// Ends it as an operator ends it.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().expect("it has ended")
    }

    /// Ends it as an operator ends it; how it ended and what it logged in its life.
    pub(crate) fn terminate_and_tell(mut self) -> (ExitStatus, String) {
        let log = self.log.take().expect("it is taken once");
        (self.terminate(), log.join().expect("its log can be read"))
    }

    /// True while the process has not ended.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }

    pub(crate) fn client(&self, key: String) -> Client {
        let address = self.http.strip_prefix("http://").expect("an address").to_owned();
        Client { address, key }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As little of an HTTP client as the tests need.
#[derive(Clone)]
pub(crate) struct Client {
    address: String,
    key: String,
}

/// What a server answers.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    }

    /// The body.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", text(&self.body)))
    }
}

impl Client {
    /// The status of an answer and its body; an error when there is none or not all of it.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> std::io::Result<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: {content_type}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            self.address,
            self.key,
            body.len()
        )?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(cut)?;
        let status = answer.get(9..12).and_then(|digits| text(digits).parse().ok()).ok_or_else(cut)?;
        Ok((status, answer.split_off(end + 4)))
    }

    /// An answer with its headers.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("the server takes connections");
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n{headers}\
             connection: close\r\n\r\n",
            self.address,
            self.key,
            body.len()
        )
        .and_then(|()| stream.write_all(body))
        .expect("the server takes the request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the server answers");
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let body = answer.split_off(end + 4);
        let head = text(&answer);
        Answer { status: head[9..12].parse().expect("a status"), head, body }
    }

    /// The object at an address.
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, &[], b"");
        assert_eq!(answer.status, 200, "{path}: {}", text(&answer.body));
        answer.json()
    }

    /// What is answered to an object.
    pub(crate) fn post_json(&self, path: &str, object: &Value) -> Value {
        let headers = [("content-type", "application/json")];
        let answer = self.ask("POST", path, &headers, object.to_string().as_bytes());
        assert!((200..300).contains(&answer.status), "{path}: {}", text(&answer.body));
        answer.json()
    }

    /// What a listing of the API answers.
    pub(crate) fn objects(&self, path: &str) -> Vec<Value> {
        self.try_objects(path).expect("the server answers")
    }

    /// The same, of a server that may have ended.
    pub(crate) fn try_objects(&self, path: &str) -> Option<Vec<Value>> {
        let (status, answer) = self.request("GET", path, "text/plain", b"").ok()?;
        assert_eq!(status, 200, "{path}: {}", text(&answer));
        Some(objects(&text(&answer)))
    }

    /// Publishes lines; true when they were acknowledged.
    pub(crate) fn publish(&self, hub: &str, query: &str, lines: &[u8]) -> bool {
        let path = format!("/{hub}/messages{query}");
        matches!(self.request("POST", &path, "application/x-ndjson", lines), Ok((201, _)))
    }
}

/// Waits until something is so; fails when it is not so for a long time.
pub(crate) fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    wait_minutes(1, what, holds);
}

/// Waits until something is so; fails when it is not so for so many minutes.
pub(crate) fn wait_minutes(minutes: u32, what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3000 * minutes {
        if holds() {
            return;
        }
        pause();
    }
    panic!("waited for {minutes} minutes, and it never happened that {what}");
}

/// A moment, in which another process may get on.
#[expect(
    clippy::disallowed_methods,
    reason = "another process is waited for, and nothing here can be told by it"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
