//! Holds the program to its OpenAPI document: schemathesis makes requests from the document, good ones and bad ones, and
//! looks at the answers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::environment::{self, Environments};
use crate::{Ended, cache, directory};

/// What an answer is held to: no status of a server's failure, and status, content type and body as the document says.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// What is left out: pages and protocols that are no part of the API, and the bodies of events, which have tests of their own.
const NOT_THE_API: &str = r"^/(metrics|restart|sign-in|\{hub\})";

/// Lines that make documents, and a dead letter.
const LINES: &[u8] = b"{\"id\":\"a\",\"n\":1}\nno json\n{\"id\":\"b\"}\n{\"id\":\"a\",\"n\":2}\n";

/// Runs schemathesis against `program`. The same requests each time; `arguments` are for its command line.
///
/// # Errors
/// When it could not be run, for another reason than a tool that is missing.
pub fn contract(program: &Path, arguments: &[String]) -> anyhow::Result<Ended> {
    if let Some(missing) = environment::missing_for_contract() {
        return Ok(Ended::Missing(missing));
    }
    let environment = Environments::open(&cache())?.contract()?;
    let place = tempfile::Builder::new().prefix("tidegate-contract-").tempdir()?;
    let server = Running::start(program, place.path())?;
    let authorization = format!("Authorization: Bearer {}", server.key);
    server.publish()?;
    let status = Command::new(environment.join("bin/schemathesis"))
        .args(["run", &format!("{}/api/v1/openapi.json", server.http)])
        .args(["--header", &authorization, "--checks", CHECKS, "--exclude-path-regex", NOT_THE_API])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "25", "--generation-deterministic"])
        .args(["--no-shrink", "--no-color", "--continue-on-failure", "--request-timeout", "30"])
        .args(["--warnings", "off"])
        .args(arguments)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", directory().join("contract"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(place.path())
        .stdin(Stdio::null())
        .status()
        .context("schemathesis cannot be started")?;
    let log = std::fs::read_to_string(place.path().join("log")).unwrap_or_default();
    let panicked: Vec<&str> = log.lines().filter(|line| line.contains("panicked")).collect();
    if status.success() && panicked.is_empty() {
        return Ok(Ended::Passed);
    }
    panicked.iter().for_each(|line| eprintln!("the server says: {line}"));
    Ok(Ended::Failed)
}

struct Running {
    child: Child,
    http: String,
    key: String,
    // Kept open: the server would otherwise find its standard output closed.
    _stdout: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(program: &Path, place: &Path) -> anyhow::Result<Self> {
        let data = place.join("data");
        let mut child = Command::new(program)
            .args(["run", "--json", "--http", "127.0.0.1:0", "--config"])
            .arg(directory().join("contract/tidegate.toml"))
            .arg("--data-dir")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(place.join("log"))?)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let mut stdout = BufReader::new(child.stdout.take().context("its output")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let started: Value = serde_json::from_str(&line).context("the server did not say that it started")?;
        let keys: Value = serde_json::from_slice(&std::fs::read(data.join("keys.json"))?)?;
        let text =
            |value: &Value| value.as_str().map(str::to_owned).context("the server said something else");
        let (http, key) = (text(&started["http"])?, text(&keys["keys"][0]["key"])?);
        Ok(Self { child, http, key, _stdout: stdout })
    }

    /// Publishes something to ask for.
    fn publish(&self) -> anyhow::Result<()> {
        let address = self.http.trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(address)?;
        write!(
            stream,
            "POST /h/messages?key=/id HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
             content-type: application/x-ndjson\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.key,
            LINES.len()
        )?;
        stream.write_all(LINES)?;
        let mut status = String::new();
        BufReader::new(stream).read_line(&mut status)?;
        ensure!(status.contains(" 201 "), "the server did not take events: {status}");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing more can be done about a process that cannot be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
