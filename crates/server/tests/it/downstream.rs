//! A program with a function of its own, as a process, and what that function depends on, which can go away.
//!
//! The function asks the downstream before it changes documents. The downstream lives in the test, so that the test says
//! what it answers, and sees what it is asked. A document counts the events of its key and holds what is needed to see that
//! each came once and in order.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use serde::{Deserialize, Serialize};
use tidegate::Program;
use tidegate_function::{Batch, BatchFunction, DocumentId, Event, Failure, FunctionError, Rejection, batch};

use crate::support::{Place, Server, started, try_started};

/// Tells the program where the downstream is.
const ADDRESS: &str = "TIDEGATE_TEST_DOWNSTREAM";

/// The command line of [`program`].
const COMMAND_LINE: &str = "TIDEGATE_TEST_COMMAND_LINE";

/// Run by [`Downstream::serve`] in a process of its own; does nothing otherwise.
#[test]
fn program() {
    let (Ok(address), Ok(words)) = (std::env::var(ADDRESS), std::env::var(COMMAND_LINE)) else { return };
    let function = Posts { address: address.parse().unwrap(), idle: Mutex::default() };
    let exit = Program::new().function(batch("f", function)).run(words.split(' '));
    assert_eq!(format!("{exit:?}"), format!("{:?}", ExitCode::SUCCESS));
}

/// What is published: a number in the row of its key.
#[derive(Deserialize)]
struct Reading {
    id: String,
    n: i64,
    /// Whether the program ends when the function gets it.
    #[serde(default)]
    aborts: bool,
}

/// The document of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// How many events.
    pub(crate) count: u64,
    /// Their numbers together.
    pub(crate) sum: i64,
    /// The last number.
    pub(crate) last: i64,
    /// How often a number was not above the one before.
    pub(crate) backwards: u64,
}

impl Row {
    /// What becomes of it with this number.
    pub(crate) fn with(&self, n: i64) -> Self {
        let is_backwards = self.count > 0 && n <= self.last;
        Self {
            count: self.count + 1,
            sum: self.sum + n,
            last: n,
            backwards: self.backwards + u64::from(is_backwards),
        }
    }
}

/// The rows as the numbers of each key make them.
pub(crate) fn rows<'k>(numbers: impl IntoIterator<Item = (&'k str, i64)>) -> BTreeMap<String, Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for (key, n) in numbers {
        let row = rows.entry(key.to_owned()).or_default();
        *row = row.with(n);
    }
    rows
}

/// The rows as they are in the store.
pub(crate) fn stored_rows(place: &Place) -> BTreeMap<String, Row> {
    let row = |mut one: serde_json::Value| {
        (one["id"].as_str().unwrap().to_owned(), serde_json::from_value(one["document"].take()).unwrap())
    };
    place.json("documents list f").into_iter().map(row).collect()
}

/// The function.
struct Posts {
    address: SocketAddr,
    idle: Mutex<Vec<BufReader<TcpStream>>>,
}

impl Posts {
    fn post(&self, events: usize) -> std::io::Result<String> {
        let idle = self.idle.lock().unwrap().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => BufReader::new(TcpStream::connect(self.address)?),
        };
        writeln!(connection.get_mut(), "{events}")?;
        let mut answer = String::new();
        connection.read_line(&mut answer)?;
        self.idle.lock().unwrap().push(connection);
        Ok(answer.trim().to_owned())
    }
}

fn reading(event: &Event) -> Result<Reading, Rejection> {
    serde_json::from_slice(event.body()).map_err(|error| Rejection { reason: error.to_string() })
}

impl BatchFunction for Posts {
    fn documents(&self, event: &Event) -> Result<Vec<DocumentId>, Rejection> {
        let id = DocumentId::new(&reading(event)?.id);
        Ok(vec![id.map_err(|invalid| Rejection { reason: invalid.to_string() })?])
    }

    async fn run(&self, events: Vec<Event>, batch: &mut Batch) -> Result<(), FunctionError> {
        if events.iter().any(|event| reading(event).is_ok_and(|reading| reading.aborts)) {
            std::process::abort();
        }
        let answer = self.post(events.len()).unwrap_or_else(|error| error.to_string());
        for event in &events {
            match answer.as_str() {
                "taken" => {}
                "refused" => {
                    batch.on(event).reject("the downstream refuses it");
                    continue;
                }
                _ => {
                    let error = format!("the downstream is away: {answer}");
                    // Where no such dependency is declared, that means nothing.
                    batch.on(event).fail(Failure::new(error).because_of("downstream"));
                    return Ok(());
                }
            }
            let (Ok(reading), Ok(ids)) = (reading(event), self.documents(event)) else { continue };
            for id in ids {
                let row: Row = batch.document(&id)?.unwrap_or_default();
                batch.on(event).upsert(&id, row.with(reading.n));
            }
        }
        Ok(())
    }
}

/// What the downstream does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It takes what it is given.
    Takes,
    /// It answers that it is away.
    Away,
    /// It will never take what it is given.
    Refuses,
}

/// What the function depends on. It stops when it is dropped.
pub(crate) struct Downstream {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    mode: AtomicU8,
    /// How many events it was given while it took them.
    taken: AtomicU64,
    failures: Mutex<Failures>,
    goes_on: Condvar,
}

#[derive(Default)]
struct Failures {
    /// How often it answered that it is away, or is about to.
    count: u64,
    /// From this one on, no answer is given.
    held_from: Option<u64>,
    has_ended: bool,
}

impl Downstream {
    /// One that takes everything.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        std::thread::spawn({
            let state = state.clone();
            move || {
                for connection in listener.incoming() {
                    let state = state.clone();
                    if state.failures.lock().unwrap().has_ended {
                        return;
                    }
                    // A connection that breaks is that of a program that was killed.
                    std::thread::spawn(move || connection.map(|connection| state.answer(connection)));
                }
            }
        });
        Self { address, state }
    }

    /// From now on it does this.
    pub(crate) fn becomes(&self, mode: Mode) {
        self.state.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// While it is away, the answer with this number and all after it are not given.
    pub(crate) fn hold_from(&self, failure: u64) {
        self.state.failures.lock().unwrap().held_from = Some(failure);
    }

    /// What waits for an answer gets one.
    pub(crate) fn release(&self) {
        self.state.failures.lock().unwrap().held_from = None;
        self.state.goes_on.notify_all();
    }

    /// True while somebody waits for an answer that is held.
    pub(crate) fn holds(&self) -> bool {
        let failures = self.state.failures.lock().unwrap();
        failures.held_from.is_some_and(|from| failures.count >= from)
    }

    /// How many events it took; one that is given to the function twice counts twice.
    pub(crate) fn taken(&self) -> u64 {
        self.state.taken.load(Ordering::SeqCst)
    }

    /// Starts the program with its function in a place, whose configuration names the function `f`.
    pub(crate) fn serve(&self, place: &Place) -> Server {
        started(self.command(place)).0
    }

    /// As [`serve`](Self::serve), where the program may end before it has started.
    pub(crate) fn try_serve(&self, place: &Place) -> Option<Server> {
        try_started(self.command(place)).ok().map(|(server, _)| server)
    }

    fn command(&self, place: &Place) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.current_dir(place.path()).env_remove("TIDEGATE_LOG");
        command.args(["--quiet", "--exact", "downstream::program", "--nocapture"]);
        let words = "tidegate run --http 127.0.0.1:0 --json --config tidegate.toml --data-dir data";
        command.env(ADDRESS, self.address.to_string()).env(COMMAND_LINE, words);
        command
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        self.state.failures.lock().unwrap().has_ended = true;
        self.state.goes_on.notify_all();
        // Wakes the listener, which then sees it. It may have ended already.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn answer(&self, connection: TcpStream) -> std::io::Result<()> {
        let mut connection = BufReader::new(connection);
        let mut line = String::new();
        while connection.read_line(&mut line)? > 0 {
            let events: u64 = line.trim().parse().unwrap();
            line.clear();
            let mode = self.mode.load(Ordering::SeqCst);
            let answer = if mode == Mode::Takes as u8 {
                self.taken.fetch_add(events, Ordering::SeqCst);
                "taken"
            } else if mode == Mode::Refuses as u8 {
                "refused"
            } else {
                let mut failures = self.failures.lock().unwrap();
                failures.count += 1;
                let this = failures.count;
                let is_held = |failures: &mut Failures| {
                    failures.held_from.is_some_and(|from| this >= from) && !failures.has_ended
                };
                drop(self.goes_on.wait_while(failures, is_held).unwrap());
                "away"
            };
            writeln!(connection.get_mut(), "{answer}")?;
        }
        Ok(())
    }
}
