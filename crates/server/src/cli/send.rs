//! `tidegate send`: publishes lines, and says exactly how many are durable when something goes wrong.
//!
//! ```text
//! file │ .gz │ stdin → lines → batches of a few MiB → POST /{hub}/messages, one after the other → acknowledged
//! ```
//!
//! Requests are never in flight together, so the events of a key keep the order of their lines, and everything before
//! the first line of the last request is durable.

use std::path::PathBuf;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use tidegate_model::clock::SharedClock;
use tidegate_model::error::ErrorCode;

use crate::api::page::percent_encode;
use crate::cli::Context;
use crate::cli::output::{Output, grouped, quoted, quoted_word};
use crate::cli::pace::Pace;
use crate::cli::target::Target;
use crate::client::{Connection, Refusal};
use crate::failure::Exit;
use crate::failure::Failure;
use crate::lines::{Batch, Lines};
use crate::run::find_config;

/// A request has at most so many bytes of lines.
const REQUEST_BYTES: usize = 4 * 1024 * 1024;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The hub.
    hub: String,
    /// The file with one event a line, plain or gzip; `-` is standard input.
    #[arg(long, value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Where each line has its partition key: a JSON pointer such as /icao24. A line without one is published without.
    #[arg(long, value_name = "POINTER")]
    key: Option<String>,
    /// Publish everything to this partition.
    #[arg(long, value_name = "N", conflicts_with = "key")]
    partition: Option<u32>,
    /// Publish at most so many lines a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Leave out so many lines at the beginning: they are durable already.
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
    /// The configuration with the hub, where no server runs; as for `tidegate run`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// One JSON object at the end, also after a failure: how many lines from the beginning are durable.
    #[arg(long)]
    json: bool,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Sent {
    /// Lines from the beginning of the input that are durable, the skipped ones included.
    acknowledged: u64,
    /// The skipped lines.
    skipped: u64,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    let lines = Lines::open(&args.file)?;
    let config = find_config(args.config.as_deref(), &args.target.data_dir);
    let connected = args.target.connect_for_sending(&context, config.as_deref()).await?;
    let progress = progress_bar(&lines, args.json);

    let mut sent = Sent { acknowledged: 0, skipped: args.skip };
    let result = send_all(&args, &connected.connection, lines, &context.clock, &progress, &mut sent).await;
    progress.finish_and_clear();
    let closed = connected.close().await;
    let mut output = Output::new(args.json);
    if args.json {
        output.object(&sent)?;
        output.flush()?;
    }
    if let Err(failure) = result {
        return Err(resumable(failure, &args, sent));
    }
    closed?;
    if !args.json {
        let published = grouped(sent.acknowledged.saturating_sub(sent.skipped));
        output.line(&format!(
            "{published} lines published to {} and acknowledged: they are durable",
            args.hub
        ))?;
    }
    output.finish(&[format!("tidegate audit {}{}", args.hub, args.target.options())])?;
    Ok(Exit::Done)
}

/// Sends batch after batch; `sent` says at any time how far everything is durable.
async fn send_all(
    args: &Args,
    connection: &Connection,
    mut lines: Lines,
    clock: &SharedClock,
    progress: &ProgressBar,
    sent: &mut Sent,
) -> Result<(), Failure> {
    let path = address(args);
    let mut pace = args.rate.map(|rate| Pace::new(rate, &**clock));
    let most_lines = pace.as_ref().map_or(u64::MAX, Pace::a_step);
    sent.acknowledged = lines.skip(args.skip)?;
    if sent.acknowledged < args.skip {
        let message =
            format!("--skip {} leaves out more lines than there are: {}", args.skip, sent.acknowledged);
        return Err(Failure::usage(ErrorCode::BAD_REQUEST, message));
    }
    let mut asked = false;
    loop {
        // A file is read where nothing else waits for this thread: the command has no other work.
        let Batch { bytes, lines: count } = lines.next_batch(REQUEST_BYTES, most_lines)?;
        // Without lines the server is asked all the same: it knows whether the hub exists.
        if count == 0 && asked {
            return Ok(());
        }
        asked = true;
        let size = bytes.len() as u64;
        post(connection, &path, Bytes::from(bytes), sent).await?;
        sent.acknowledged += count;
        progress.inc(size);
        progress.set_message(format!("{} lines durable", grouped(sent.acknowledged)));
        if let Some(pace) = &mut pace {
            pace.keep(count, &**clock).await;
        }
    }
}

async fn post(connection: &Connection, path: &str, body: Bytes, sent: &mut Sent) -> Result<(), Failure> {
    match connection.post(path, "application/x-ndjson", body).await {
        Ok(_) => Ok(()),
        Err(Refusal { mut failure, acknowledged, .. }) => {
            let begins_at = sent.acknowledged;
            if let (Some(lines), Some(problem)) = (acknowledged, failure.problems.first_mut()) {
                sent.acknowledged += lines;
                if begins_at > 0 {
                    // The server counts the lines of one request.
                    let message = &problem.message;
                    problem.message =
                        format!("in the request that begins at line {begins_at} (from 0): {message}");
                }
            }
            Err(failure)
        }
    }
}

fn address(args: &Args) -> String {
    let hub = percent_encode(&args.hub);
    match (args.partition, &args.key) {
        (Some(partition), _) => format!("/{hub}/partitions/{partition}/messages"),
        (None, Some(key)) => format!("/{hub}/messages?key={}", percent_encode(key)),
        (None, None) => format!("/{hub}/messages"),
    }
}

/// The failure with what is durable and how to go on.
fn resumable(mut failure: Failure, args: &Args, sent: Sent) -> Failure {
    if failure.exit == Exit::Usage || failure.problems.is_empty() {
        return failure;
    }
    let mut command = format!("tidegate send {} --file {}", args.hub, quoted(&args.file));
    if let Some(key) = &args.key {
        command.push_str(&format!(" --key {}", quoted_word(key)));
    }
    if let Some(partition) = args.partition {
        command.push_str(&format!(" --partition {partition}"));
    }
    if let Some(rate) = args.rate {
        command.push_str(&format!(" --rate {rate}"));
    }
    if let Some(config) = &args.config {
        command.push_str(&format!(" --config {}", quoted(config)));
    }
    command.push_str(&format!(" --skip {}{}", sent.acknowledged, args.target.options()));
    if let Some(problem) = failure.problems.last_mut() {
        let way_out = format!(
            "the first {} lines are durable; lines after them were not acknowledged: some may be stored all the same, and \
             then come twice\nresume with: {command}",
            sent.acknowledged
        );
        problem.help = format!("{}\n{way_out}", problem.help).trim_start().to_owned();
    }
    failure
}

fn progress_bar(lines: &Lines, json: bool) -> ProgressBar {
    // Indicatif shows nothing where standard error is no terminal.
    let bar = match lines.total_bytes() {
        _ if json => ProgressBar::hidden(),
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::new_spinner(),
    };
    let style = if lines.total_bytes().is_some() {
        ProgressStyle::with_template("  {bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {msg}")
    } else {
        ProgressStyle::with_template("  {spinner} {bytes}  {bytes_per_sec}  {msg}")
    };
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parsed;

    #[test]
    fn what_was_interrupted_is_resumed_with_all_that_was_said() {
        let typed =
            ["send", "flights", "--file", "a b", "--key", "/the key", "--rate", "7", "--config", "my.toml"];
        let args: Args = parsed(typed);
        let lost = Failure::new(ErrorCode::SERVER_UNREACHABLE, "the server went away");
        let told = resumable(lost, &args, Sent { acknowledged: 12, skipped: 0 }).to_string();
        let command =
            "tidegate send flights --file 'a b' --key '/the key' --rate 7 --config my.toml --skip 12";
        assert!(told.contains(command), "{told}");
    }
}
