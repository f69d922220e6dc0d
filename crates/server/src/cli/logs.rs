//! `tidegate logs`: what the server logged.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;

use tidegate_api::LogLine;
use tidegate_model::clock::Timestamp;
use tidegate_model::error::ErrorCode;

use crate::cli::Context;
use crate::cli::listing::{Asking, Session, address};
use crate::cli::output::{Output, printable};
use crate::cli::timeline::fields;
use crate::client::{Pages, understood};
use crate::failure::{Exit, Failure};

/// How often is asked for new lines.
const EACH: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Go on with what is logged from now on, until it is interrupted.
    #[arg(long, short)]
    follow: bool,
    /// Only lines of this level or a worse one.
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    /// Only about this function.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Only about this hub.
    #[arg(long, value_name = "NAME")]
    hub: Option<String>,
    /// Only about this partition.
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// Only about the event with this sequence number.
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// Only about events with this partition key.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only about this invocation.
    #[arg(long, value_name = "ID")]
    invocation: Option<String>,
    /// Only lines with this text in them.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Only from this time on, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Show so many at most, the newest.
    #[arg(long, value_name = "N", default_value = "200")]
    limit: u64,
    #[command(flatten)]
    asking: Asking,
}

/// How bad a line is.
#[derive(Clone, Copy, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Args {
    /// The listing from a time on.
    fn path(&self, since: Option<Timestamp>) -> String {
        address(
            "/api/v1/logs",
            &[
                ("level", self.level.map(|level| level.as_str().to_owned())),
                ("function", self.function.clone()),
                ("hub", self.hub.clone()),
                ("partition", self.partition.map(|partition| partition.to_string())),
                ("sequence_number", self.sequence.map(|number| number.to_string())),
                ("key", self.key.clone()),
                ("invocation", self.invocation.clone()),
                ("text", self.text.clone()),
                ("since", since.map(|since| since.to_string())),
                ("until", self.until.map(|until| until.to_string())),
            ],
        )
    }
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let mut session = args.asking.open(&context).await?;
    if args.follow && !session.connected.is_server() {
        return Err(Failure::usage(ErrorCode::SERVER_UNREACHABLE, "no server runs that would log anything")
            .help("start one with `tidegate run`; without --follow the lines that were kept are shown"));
    }
    let kept = lines(&session, args.path(args.since), args.limit).await?;
    if kept.is_empty() && !args.follow && !args.asking.json {
        session.output.line("nothing was logged that matches")?;
    }
    let mut seen = Seen { since: args.since.unwrap_or_else(|| context.clock.now()), lines: HashSet::new() };
    for line in kept {
        tell(&line, seen.is_new(&line)?.1, &mut session.output)?;
    }
    if !args.follow {
        return session.finish(&[]).await;
    }
    loop {
        session.output.flush()?;
        context.clock.sleep(EACH).await;
        for line in lines(&session, args.path(Some(seen.since)), u64::MAX).await? {
            if let (true, log) = seen.is_new(&line)? {
                tell(&line, log, &mut session.output)?;
            }
        }
    }
}

/// The newest lines, oldest first.
async fn lines(session: &Session, path: String, limit: u64) -> Result<Vec<Bytes>, Failure> {
    let mut pages = Pages::new(session.connection(), path, "after", Some(limit));
    let mut newest_first = Vec::new();
    while let Some(line) = pages.next().await? {
        newest_first.push(line);
    }
    newest_first.reverse();
    Ok(newest_first)
}

/// How far the log was shown: up to a time, and of that time these lines.
struct Seen {
    since: Timestamp,
    lines: HashSet<Bytes>,
}

impl Seen {
    /// Whether the line was not shown yet, and what it says. Lines come in the order of their times.
    fn is_new(&mut self, line: &Bytes) -> Result<(bool, LogLine), Failure> {
        let log: LogLine = understood(line)?;
        if log.at > self.since {
            self.since = log.at;
            self.lines.clear();
        }
        let is_new = self.lines.insert(line.clone());
        Ok((is_new, log))
    }
}

fn tell(line: &Bytes, log: LogLine, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.raw_line(line);
    }
    let level = printable(&log.level.to_uppercase());
    let level = match level.as_str() {
        "ERROR" | "WARN" => output.bad(&format!("{level:<5}")),
        _ => format!("{level:<5}"),
    };
    let text = format!("{}: {}{}", log.target, log.message, fields(&log.fields));
    output.line(&format!("{}  {level}  {}", log.at, printable(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_comes_twice_is_shown_once() {
        let line = |at: &str, message: &str| {
            let line =
                format!(r#"{{"at":"{at}","level":"info","target":"t","message":"{message}","fields":{{}}}}"#);
            Bytes::from(line)
        };
        let mut seen = Seen { since: "2026-11-22T12:00:00Z".parse().expect("a time"), lines: HashSet::new() };
        let mut is_new = |line: Bytes| seen.is_new(&line).expect("a line").0;
        assert!(is_new(line("2026-11-22T12:00:01Z", "one")));
        assert!(is_new(line("2026-11-22T12:00:01Z", "two")));
        assert!(!is_new(line("2026-11-22T12:00:01Z", "one")));
        assert!(!is_new(line("2026-11-22T12:00:01Z", "two")));
        assert!(is_new(line("2026-11-22T12:00:02Z", "one")));
    }
}
