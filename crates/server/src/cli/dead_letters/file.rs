//! `dead-letters export` and `import`: dead letters as lines of a file, and edited events back from it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use tidegate_model::error::ErrorCode;

use crate::cli::Context;
use crate::cli::dead_letters::filter::Filter;
use crate::cli::listing::{Asking, Session, address};
use crate::cli::output::{grouped, quoted};
use crate::cli::pace::progress;
use crate::client::{Pages, understood};
use crate::failure::{Exit, Failure, Problem};

/// The longest line that is read: an event at its limit twice, all of it escaped, with a document at its limit and a long
/// story of attempts.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// How many lines that were not taken are named one by one.
const NAMED: usize = 20;

#[derive(clap::Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    filter: Filter,
    /// The file to write, which must not exist; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
pub(super) struct ImportArgs {
    /// The file; `-` is standard input.
    file: PathBuf,
    /// Why; kept in the audit trail.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only say what would be taken.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn export(args: ExportArgs, context: &Context) -> Result<Exit, Failure> {
    let mut parameters = args.filter.parameters(&*context.clock)?;
    parameters.push(("event", Some("true".to_owned())));
    let mut session = args.asking.open(context).await?;
    let mut pages = Pages::new(
        &session.connected.connection,
        address("/api/v1/dead-letters", &parameters),
        "after",
        None,
    );
    let file = &args.file;
    if file.as_os_str() == "-" {
        while let Some(line) = pages.next().await? {
            session.output.raw_line(&line)?;
        }
        return session.finish(&[]).await;
    }
    let cannot = |error: std::io::Error| {
        Failure::new(ErrorCode::DATA_DIR_IO, format!("cannot write {}: {error}", file.display()))
            .help("name a new file in a directory that can be written")
    };
    if file.exists() {
        return Err(cannot(std::io::Error::from(std::io::ErrorKind::AlreadyExists)));
    }
    // The file is there whole or not at all.
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut written = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new("."))).map_err(cannot)?;
    let mut count = 0u64;
    {
        let mut out = std::io::BufWriter::new(written.as_file_mut());
        while let Some(line) = pages.next().await? {
            out.write_all(&line).and_then(|()| out.write_all(b"\n")).map_err(cannot)?;
            count += 1;
        }
        out.flush().map_err(cannot)?;
    }
    written.as_file().sync_all().map_err(cannot)?;
    written.persist_noclobber(file).map_err(|refused| cannot(refused.error))?;
    if args.asking.json {
        session.output.object(&serde_json::json!({ "file": file, "exported": count }))?;
    } else {
        let text = format!("{} dead letters in {}", grouped(count), file.display());
        session.output.line(&text)?;
    }
    session.finish(&[format!("dead-letters import {} --reason TEXT", quoted(file))]).await
}

/// A line of the file, as far as it matters. The rest is for a person.
#[derive(Deserialize)]
struct Line {
    id: u64,
    function: String,
    hub: String,
    partition: u32,
    incarnation: String,
    sequence_number: u64,
    revision: u32,
    event: Box<RawValue>,
}

/// A dead letter here.
#[derive(Deserialize)]
struct Here {
    revision: u32,
    id: u64,
    status: String,
    incarnation: String,
}

#[derive(Deserialize)]
struct Edited {
    result: String,
}

#[derive(Serialize)]
struct EditRequest<'l> {
    revision: u32,
    event: &'l RawValue,
    reason: &'l str,
    dry_run: bool,
}

/// What came of the lines.
#[derive(Default, Serialize)]
struct Imported {
    lines: u64,
    edited: u64,
    unchanged: u64,
    not_taken: u64,
}

pub(super) async fn import(args: ImportArgs, context: &Context) -> Result<Exit, Failure> {
    let (mut input, size) = open(&args.file)?;
    let mut session = args.asking.open(context).await?;
    let bar = progress(size, args.asking.json);
    let mut imported = Imported::default();
    let mut problems: Vec<Problem> = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut input)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .map_err(|error| unreadable(&args.file, &format!("at line {}: {error}", imported.lines + 1)))?;
        if read == 0 {
            break;
        }
        imported.lines += 1;
        bar.inc(read as u64);
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match take(&args, &mut session, &line).await {
            Ok(true) => imported.edited += 1,
            Ok(false) => imported.unchanged += 1,
            // A server that is gone takes none of the lines that follow either.
            Err(failure) if failure.code() == Some(ErrorCode::SERVER_UNREACHABLE) => {
                bar.finish_and_clear();
                return Err(failure.help(format!(
                    "{} lines were read before that; type the same command again to go on: what is taken is not taken twice",
                    imported.lines - 1
                )));
            }
            Err(failure) => {
                imported.not_taken += 1;
                let of_line = failure.problems.into_iter().map(|mut problem| {
                    problem.message =
                        format!("line {} of {}: {}", imported.lines, args.file.display(), problem.message);
                    problem
                });
                if problems.len() < NAMED {
                    problems.extend(of_line);
                }
            }
        }
    }
    bar.finish_and_clear();
    if args.asking.json {
        session.output.object(&imported)?;
    } else {
        let Imported { edited, unchanged, not_taken, .. } = &imported;
        let verb = if args.dry_run { "would be edited" } else { "edited" };
        let text = format!(
            "{} dead letters {verb}, {} unchanged, {} lines not taken",
            grouped(*edited),
            grouped(*unchanged),
            grouped(*not_taken)
        );
        session.output.line(&text)?;
    }
    session.finish(&["dead-letters groups".to_owned()]).await?;
    if imported.not_taken == 0 {
        return Ok(Exit::Done);
    }
    let named = problems.len() as u64;
    if let Some(problem) = problems.last_mut()
        && imported.not_taken > named
    {
        let more = format!("{} more lines were not taken", imported.not_taken - named);
        problem.help = format!("{}\n{more}", problem.help).trim_start().to_owned();
    }
    Err(Failure { problems, exit: Exit::Failed })
}

/// Takes the edited event of a line; false when it is like that already.
async fn take(args: &ImportArgs, session: &mut Session, line: &[u8]) -> Result<bool, Failure> {
    let line: Line = serde_json::from_slice(line).map_err(|error| {
        Failure::new(ErrorCode::BAD_REQUEST, format!("it is no exported dead letter: {error}"))
            .help("a line is a JSON object as `tidegate dead-letters export` writes it; change only its member `event`")
    })?;
    let parameters = [
        ("function", Some(line.function.clone())),
        ("hub", Some(line.hub.clone())),
        ("partition", Some(line.partition.to_string())),
        ("from_sequence", Some(line.sequence_number.to_string())),
        ("before_sequence", Some(line.sequence_number.saturating_add(1).to_string())),
    ];
    let mut here = Vec::new();
    let mut pages =
        Pages::new(session.connection(), address("/api/v1/dead-letters", &parameters), "after", None);
    while let Some(found) = pages.next().await? {
        let found: Here = understood(&found)?;
        if found.incarnation == line.incarnation {
            here.push(found);
        }
    }
    // The number may be another one where the file comes from; what counts is the event's place in the order.
    let is_live = |found: &&Here| matches!(found.status.as_str(), "open" | "quarantined" | "redriving");
    let found = here
        .iter()
        .find(|found| found.id == line.id)
        .filter(is_live)
        .or_else(|| here.iter().find(is_live))
        .or_else(|| here.last());
    let Some(found) = found else {
        return Err(Failure::new(
            ErrorCode::NOT_FOUND,
            format!(
                "there is no dead letter of {}/{}/{}/{} in this life of the hub",
                line.function, line.hub, line.partition, line.sequence_number
            ),
        )
        .help(
            "an edit is taken back only where its dead letter is: in the data directory that it was exported from, or a copy of \
             it; to have the event processed elsewhere, publish it there",
        ));
    };
    let request = EditRequest {
        // A file from a copy of this directory may know later revisions, and none here was made after them.
        revision: line.revision.min(found.revision),
        event: &line.event,
        reason: &args.reason,
        dry_run: args.dry_run,
    };
    let path = format!("/api/v1/dead-letters/{}/edit", found.id);
    let answer = session.connection().post_json(&path, &request).await?;
    let Edited { result } = understood(&answer)?;
    Ok(result != "unchanged")
}

/// Opens a file; its size, where it has one.
fn open(file: &Path) -> Result<(Box<dyn BufRead + Send>, u64), Failure> {
    if file.as_os_str() == "-" {
        return Ok((Box::new(BufReader::new(std::io::stdin())), 0));
    }
    let opened = File::open(file).map_err(|error| unreadable(file, &format!(": {error}")))?;
    let metadata = opened.metadata().map_err(|error| unreadable(file, &format!(": {error}")))?;
    if metadata.is_dir() {
        return Err(unreadable(file, ": it is a directory"));
    }
    Ok((Box::new(BufReader::new(opened)), metadata.len()))
}

fn unreadable(file: &Path, why: &str) -> Failure {
    let why = if why.starts_with(':') { why.to_owned() } else { format!(" {why}") };
    Failure::usage(ErrorCode::BAD_REQUEST, format!("cannot read {}{why}", file.display()))
        .help("name a file that `tidegate dead-letters export` wrote, or `-` for standard input")
}
