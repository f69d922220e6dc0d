//! `tidegate demo`: shows in half a minute what the program does with events, good and bad.

mod outage;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::value::RawValue;

use tidegate_api::FunctionAudit;
use tidegate_model::clock::SharedClock;
use tidegate_model::error::ErrorCode;

use crate::cli::Context;
use crate::cli::output::{Output, Table, grouped, printable, quoted, shortened};
use crate::client::{Connection, Pages, understood};
use crate::config::{Config, FILE_NAME, LoadedConfig, Registered};
use crate::demo::{self, Finished, Published, Verdict};
use crate::failure::{Exit, Failure};
use crate::functions::Registry;
use crate::run::{Options, Started, serve};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the demo keeps its data; running it again there publishes everything once more [default: a new directory
    /// under the system's temporary directory, which stays].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Show an outage instead: what the function depends on goes away and comes back, and a person is told. The data
    /// directory must be a new one.
    #[arg(long)]
    outage: bool,
    /// Go on serving what the demo made at the end, until Ctrl-C, so that it can be looked at in a browser. On a terminal
    /// the demo does so anyway.
    #[arg(long, conflicts_with = "json")]
    serve: bool,
    /// End when the demo is over, also on a terminal.
    #[arg(long, conflicts_with = "serve")]
    no_serve: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What the demo found, for a program.
#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    data_dir: &'a Path,
    published: Rate,
    processed: Rate,
    documents: u64,
    dead_letters: DeadLetterReport<'a>,
    checkpoints: Vec<Box<RawValue>>,
    audit: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
struct Rate {
    events: u64,
    seconds: f64,
    events_per_second: f64,
}

#[derive(Serialize)]
struct DeadLetterReport<'a> {
    total: u64,
    /// The corrupt events that the log holds: those of this run and of earlier ones.
    labelled: u64,
    /// The corrupt events of this run.
    labelled_this_run: u64,
    exact: bool,
    missed: u64,
    unexpected: u64,
    by_cause: Vec<CauseReport<'a>>,
}

#[derive(Serialize)]
struct CauseReport<'a> {
    cause: &'a str,
    count: u64,
    example: Example<'a>,
}

#[derive(Serialize)]
struct Example<'a> {
    id: u64,
    partition: u32,
    sequence_number: u64,
    class: &'static str,
    reason: &'a str,
}

/// What the API says after the run.
struct Seen {
    documents: u64,
    example: Option<String>,
    checkpoints: Vec<bytes::Bytes>,
    accounts: Vec<bytes::Bytes>,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let data_dir = match args.data_dir {
        Some(data_dir) => data_dir,
        None => fresh_directory()?,
    };
    let on_a_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let serves = args.serve || (on_a_terminal && !args.no_serve && !args.json);
    if args.outage {
        return outage::run(&data_dir, args.json, serves, context.clock).await;
    }
    let mut output = Output::new(args.json);
    if !args.json {
        output.heading(
            "Tidegate demo: aircraft around Paris, 7 October 2021, with corrupt events among them",
        )?;
        output.line(&format!("  data directory  {}\n", data_dir.display()))?;
        output.flush()?;
    }
    let progress = progress_bar(args.json);
    let finished = demo::run(&data_dir, &context.clock, &progress).await;
    progress.finish_and_clear();
    let finished = finished?;
    let connection = Connection::to_router(finished.system.node.router(), finished.system.node.root_key()?)?;
    let seen = look(&connection).await?;
    drop(connection);
    let accounts =
        seen.accounts.iter().map(|line| understood(line)).collect::<Result<Vec<FunctionAudit>, _>>()?;
    let accounted =
        !accounts.is_empty() && accounts.iter().all(|account| account.ok && account.totals.pending == 0);
    let ok = accounted && finished.verdict.is_exact();

    if args.json {
        output.object(&report(ok, &data_dir, &finished, &seen)?)?;
    } else {
        show(&mut output, &finished, &seen, &accounts, ok)?;
    }
    let (published, verdict) = (finished.published, finished.verdict);
    finished.system.stop().await?;
    let next = next_commands(&data_dir, seen.example.as_deref(), &verdict);
    output.finish(&next)?;
    match (ok, serves) {
        (false, _) => Err(not_ok(accounted, &published, &verdict)),
        (true, false) => Ok(Exit::Done),
        (true, true) => look_at_it(&data_dir, context).await,
    }
}

/// Serves what the demo made until Ctrl-C, for a browser.
async fn look_at_it(data_dir: &Path, context: Context) -> Result<Exit, Failure> {
    let loaded = Config::load(&data_dir.join(FILE_NAME), Registered::Only(&[]))?;
    serve_until_ctrl_c(loaded, data_dir, &context.registry, context.clock).await
}

/// Serves a data directory until Ctrl-C, and says how to look at it and how to sign in.
async fn serve_until_ctrl_c(
    loaded: LoadedConfig,
    data_dir: &Path,
    registry: &Registry,
    clock: SharedClock,
) -> Result<Exit, Failure> {
    let LoadedConfig { config, settings, .. } = loaded;
    // Another server may be running. It is the demo's own, so the port does not matter.
    let is_free = std::net::TcpListener::bind(config.http.listen).is_ok();
    let listen = if is_free { config.http.listen } else { SocketAddr::from(([127, 0, 0, 1], 0)) };
    let shown = quoted(data_dir);
    let announce = move |started: &Started<'_>| {
        let mut output = Output::new(false);
        output.line("")?;
        output.heading("now look at it in a browser")?;
        output.line(&format!("  {}/", started.address.http))?;
        if let Some(link) = &started.sign_in_link {
            output.line("\nto act there as well, open this instead: it signs you in as an operator")?;
            output.line(&format!("  {}", link))?;
            output.line("  it works once, and for 15 minutes; this makes another:")?;
        } else {
            output.line("\nto act there as well, sign in; this makes a link for it:")?;
        }
        output.line(&format!("  tidegate tokens sign-in-link --data-dir {shown}"))?;
        output.line("\nstop with Ctrl-C")?;
        output.finish(&[])
    };
    let data_dir = data_dir.to_owned();
    let options = Options { config, settings, data_dir, listen, offers_sign_in: true };
    serve(options, registry, clock, announce).await
}

fn fresh_directory() -> Result<PathBuf, Failure> {
    let made = tempfile::Builder::new().prefix("tidegate-demo-").tempdir();
    made.map(tempfile::TempDir::keep).map_err(|error| {
        Failure::new(ErrorCode::DATA_DIR_IO, format!("cannot make a directory for the demo: {error}"))
            .help("name one with --data-dir DIR")
    })
}

fn progress_bar(json: bool) -> ProgressBar {
    let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(60_320) };
    match ProgressStyle::with_template("  {msg:10} {bar:32} {pos}/{len}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

async fn look(connection: &Connection) -> Result<Seen, Failure> {
    let listing = |path: &str| Pages::new(connection, path.to_owned(), "after", None);
    let mut seen = Seen { documents: 0, example: None, checkpoints: Vec::new(), accounts: Vec::new() };
    let mut documents = listing("/api/v1/collections/aircraft/documents");
    while let Some(line) = documents.next().await? {
        seen.documents += 1;
        if seen.example.is_none() {
            let document: serde_json::Value = understood(&line)?;
            seen.example = document["id"].as_str().map(str::to_owned);
        }
    }
    let mut checkpoints = listing("/api/v1/checkpoints");
    while let Some(line) = checkpoints.next().await? {
        seen.checkpoints.push(line);
    }
    let mut accounts = listing("/api/v1/audit");
    while let Some(line) = accounts.next().await? {
        seen.accounts.push(line);
    }
    Ok(seen)
}

fn rate(events: u64, took: Duration) -> Rate {
    let seconds = took.as_secs_f64();
    let events_per_second = if seconds > 0.0 { (events as f64 / seconds).round() } else { 0.0 };
    Rate { events, seconds: (seconds * 1000.0).round() / 1000.0, events_per_second }
}

fn report<'a>(
    ok: bool,
    data_dir: &'a Path,
    finished: &'a Finished,
    seen: &'a Seen,
) -> Result<Report<'a>, Failure> {
    let verdict = &finished.verdict;
    let raw = |lines: &'a [bytes::Bytes]| {
        lines
            .iter()
            .map(|line| understood::<&RawValue>(line).map(ToOwned::to_owned))
            .collect::<Result<Vec<_>, _>>()
    };
    let by_cause = verdict.causes.iter().map(|(cause, found)| CauseReport {
        cause,
        count: found.count,
        example: Example {
            id: found.example.id.0,
            partition: found.example.letter.lane.partition.0,
            sequence_number: found.example.letter.event.sequence_number.0,
            class: found.example.letter.class.as_str(),
            reason: &found.example.letter.reason,
        },
    });
    Ok(Report {
        ok,
        data_dir,
        published: rate(finished.published.events, finished.published.took),
        processed: rate(finished.processed, finished.processing_took),
        documents: seen.documents,
        dead_letters: DeadLetterReport {
            total: verdict.dead_lettered,
            labelled: verdict.labelled,
            labelled_this_run: finished.published.corrupt,
            exact: verdict.is_exact(),
            missed: verdict.missed,
            unexpected: verdict.unexpected,
            by_cause: by_cause.collect(),
        },
        checkpoints: raw(&seen.checkpoints)?,
        audit: raw(&seen.accounts)?,
    })
}

fn show(
    output: &mut Output,
    finished: &Finished,
    seen: &Seen,
    accounts: &[FunctionAudit],
    ok: bool,
) -> Result<(), Failure> {
    let published = &finished.published;
    let (ingest, process) =
        (rate(published.events, published.took), rate(finished.processed, finished.processing_took));
    let per_second = |rate: &Rate| format!("{:>9}/s", grouped(rate.events_per_second as u64));
    let megabytes = published.bytes as f64 / 1e6;
    output.line(&format!(
        "  published   {:>9} events  {}   {megabytes:.1} MB, each acknowledged after it was synced to disk",
        grouped(ingest.events),
        per_second(&ingest)
    ))?;
    output.line(&format!(
        "  processed   {:>9} events  {}   into {} documents, each event exactly once",
        grouped(process.events),
        per_second(&process),
        grouped(seen.documents)
    ))?;
    let verdict = &finished.verdict;
    output.line(&format!(
        "  set aside   {:>9} events               {} corrupt ones are in the log; {}",
        grouped(verdict.dead_lettered),
        grouped(verdict.labelled),
        if verdict.is_exact() {
            "the dead letters are exactly these"
        } else {
            "the dead letters are NOT these"
        }
    ))?;

    output.line("")?;
    output.heading("dead letters by cause")?;
    let mut causes =
        Table::new(&["what was done to them", ">count", "why the function rejected them, and an example"]);
    for (label, cause) in &verdict.causes {
        let letter = &cause.example.letter;
        causes.row(vec![label.clone(), grouped(cause.count), shortened(&letter.reason, 90)]);
        let body = String::from_utf8_lossy(letter.event.body()).into_owned();
        causes.row(vec![
            String::new(),
            String::new(),
            format!("#{} {}", cause.example.id, printable(&shortened(&end_or_whole(label, &body), 84))),
        ]);
    }
    output.table(&causes)?;

    output.line("")?;
    output.heading("checkpoints")?;
    let mut checkpoints = Table::new(&[">partition", ">applied", ">dead-lettered", ">checkpoint", ">lag"]);
    for line in &seen.checkpoints {
        let row: serde_json::Value = understood(line)?;
        let number = |name: &str| row[name].as_u64().map_or_else(|| "-".to_owned(), grouped);
        checkpoints.row(vec![
            number("partition"),
            number("applied"),
            number("dead_lettered"),
            number("position"),
            number("lag"),
        ]);
    }
    output.table(&checkpoints)?;

    output.line("")?;
    output.heading("audit")?;
    for account in accounts {
        output.line(&format!(
            "  {} applied + {} filtered + {} dead-lettered + {} parked + {} pending = {} published",
            grouped(account.totals.applied),
            grouped(account.totals.filtered),
            grouped(account.totals.dead_lettered),
            grouped(account.totals.parked),
            grouped(account.totals.pending),
            grouped(account.totals.published)
        ))?;
    }
    let line = if ok {
        output.good("  every sequence number is accounted for")
    } else {
        output.bad("  something is not accounted for; see below")
    };
    output.line(&line)
}

/// A cut-off event shows its end, where it is cut; the others their beginning or the place that is wrong.
fn end_or_whole(label: &str, body: &str) -> String {
    let shown = 84;
    let length = body.chars().count();
    if label == "cut-off-json" && length > shown {
        return std::iter::once('…').chain(body.chars().skip(length - shown + 1)).collect();
    }
    match body.find("\"icao24\"").map(|at| body[..at].chars().count()) {
        Some(at) if length > shown => {
            std::iter::once('…').chain(body.chars().skip(at.saturating_sub(1).min(length))).collect()
        }
        _ => body.to_owned(),
    }
}

fn next_commands(data_dir: &Path, document: Option<&str>, verdict: &Verdict) -> Vec<String> {
    let options = format!("--data-dir {}", quoted(data_dir));
    let mut commands = vec![format!("tidegate documents list aircraft {options}")];
    if let Some(id) = document {
        commands.push(format!("tidegate documents get aircraft {id} {options}"));
    }
    if let Some(cause) = verdict.causes.values().next() {
        commands.push(format!("tidegate dead-letters show {} {options}", cause.example.id));
    }
    commands.push(format!("tidegate audit {options}"));
    commands.push(format!(
        "tidegate run {options}      # goes on from here, and shows it in a browser at http://127.0.0.1:8780/"
    ));
    commands
        .push("tidegate demo --outage      # what happens when something it depends on goes away".to_owned());
    commands
}

fn not_ok(accounted: bool, published: &Published, verdict: &Verdict) -> Failure {
    let mut failure = if verdict.is_exact() {
        Failure::new(ErrorCode::AUDIT_GAP, "the audit does not account for every event")
    } else {
        Failure::new(
            ErrorCode::AUDIT_GAP,
            format!(
                "the dead letters are not exactly the corrupt events: {} corrupt events in the log ({} of this run), {} \
                 dead letters, {} missed, {} unexpected",
                verdict.labelled,
                published.corrupt,
                verdict.dead_lettered,
                verdict.missed,
                verdict.unexpected
            ),
        )
    };
    if !accounted {
        failure.exit = Exit::AuditGap;
    }
    failure.help("`tidegate audit` names each gap; `tidegate dead-letters list` shows the dead letters")
}
