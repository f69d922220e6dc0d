//! `tidegate demo --outage`: what happens when something that a function depends on goes away.

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use tidegate_model::clock::SharedClock;
use tidegate_model::error::ErrorCode;

use crate::cli::demo::serve_until_ctrl_c;
use crate::cli::output::{Output, Table, grouped, printable, quoted, shortened};
use crate::config::{Config, FILE_NAME, Registered};
use crate::demo::outage::{self, FUNCTION, Facts, RATE, Step};
use crate::failure::{Exit, Failure};

/// How many characters of a line of the mail or the page are shown.
const WIDTH: usize = 110;

pub(super) async fn run(
    data_dir: &Path,
    json: bool,
    serves: bool,
    clock: SharedClock,
) -> Result<Exit, Failure> {
    let mut output = Output::new(json);
    if !json {
        output.heading("Tidegate demo: an outage, from the first failure to the last report")?;
        output.line(&format!("  data directory  {}", data_dir.display()))?;
        output.flush()?;
    }
    let began = clock.monotonic();
    let waiting = spinner(json);
    let ran = outage::run(data_dir, &clock, |step| {
        if json {
            return Ok(());
        }
        let seconds = clock.monotonic().saturating_sub(began).as_secs_f64();
        waiting.set_message(what_comes(&step));
        waiting.suspend(|| {
            show_step(&mut output, &step, seconds)?;
            output.flush()
        })
    })
    .await;
    waiting.finish_and_clear();
    let (facts, surroundings) = ran?;
    if json {
        output.object(&facts)?;
    } else {
        show_end(&mut output, &facts)?;
    }
    output.finish(&next_commands(data_dir, &facts))?;
    match (facts.ok, serves) {
        (false, _) => Err(not_ok(&facts)),
        (true, false) => Ok(Exit::Done),
        // What it depends on stays there meanwhile.
        (true, true) => {
            let outage::Surroundings { config, registry, .. } = &surroundings;
            let path = data_dir.join(FILE_NAME);
            let loaded = Config::load_text(config, &path, Registered::Only(&registry.names()))?;
            serve_until_ctrl_c(loaded, data_dir, registry, clock).await
        }
    }
}

fn spinner(json: bool) -> ProgressBar {
    let spinner = if json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    let spinner = match ProgressStyle::with_template("  {spinner} {msg}") {
        Ok(style) => spinner.with_style(style),
        Err(_) => spinner,
    };
    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
    spinner
}

/// What is waited for after a step.
fn what_comes(step: &Step<'_>) -> &'static str {
    match step {
        Step::Flows { .. } => "reports are processed",
        Step::Away { .. } => "failures are counted",
        Step::Opened(_) => "more reports are published",
        Step::Stopped(_) => "the mail is on its way",
        Step::Mailed(_) => "the downstream comes back",
        Step::Back => "the link is followed",
        Step::Followed { .. } => "what waited is processed",
        Step::Drained { .. } => "everything is compared",
    }
}

fn show_step(output: &mut Output, step: &Step<'_>, seconds: f64) -> Result<(), Failure> {
    let head = |text: &str| format!("{seconds:>6.1} s  {text}");
    let under = |text: &str| format!("          {text}");
    match step {
        Step::Flows { downstream, mail } => {
            output.line(&format!("  downstream      {downstream}, a small HTTP server in this process"))?;
            output.line(&format!("  mail server     {mail}, which catches every mail: nothing leaves this machine\n"))?;
            output.line(&head(&format!(
                "telemetry flows: {RATE} reports a second of real aircraft; `{FUNCTION}` posts each to the downstream"
            )))
        }
        Step::Away { processed } => {
            output.line(&head(&format!("{} reports are processed", grouped(*processed))))?;
            let line = output.bad("the downstream goes away: it answers 503");
            output.line(&under(&line))
        }
        Step::Opened(opened) => {
            let line = output.bad("the circuit is open");
            let after = opened.opened_at.since(opened.away_at).as_secs_f64();
            output.line(&head(&format!("{line}, since {}: {after:.1} s after the downstream went away", opened.opened_at)))?;
            output.line(&under(&printable(&opened.reason)))
        }
        Step::Stopped(stopped) => output.line(&head(&format!(
            "fetching has stopped in all {} partitions: {} more reports were published and stored, the downstream was asked {} times",
            stopped.lanes,
            grouped(stopped.published_while_open),
            stopped.requests_while_open
        ))),
        Step::Mailed(mailed) => {
            output.line(&head(&format!("a mail came for {}", mailed.mail_to.join(", "))))?;
            output.line(&under(&format!("| Subject: {}", printable(&mailed.mail_subject))))?;
            output.line(&under("|"))?;
            for line in mailed.mail_text.trim_end().lines() {
                for line in wrapped(&printable(line)) {
                    output.line(&under(format!("| {line}").trim_end()))?;
                }
            }
            Ok(())
        }
        Step::Back => {
            let line = output.good("the downstream is back");
            output.line(&head(&line))
        }
        Step::Followed { link, followed, page } => {
            let link = shortened(link, 60);
            output.line(&head(&format!("the link in the mail is followed: GET {link} -> {}", followed.link_shown)))?;
            for row in *page {
                output.line(&under(&format!("| {}", shortened(&printable(row), WIDTH))))?;
            }
            output.line(&under(&format!("looking changed nothing: the circuit is {}", followed.circuit_after_looking.as_str())))?;
            let restarted = output.good(&format!("restarted by {}", printable(&followed.restarted_by)));
            output.line(&under(&format!("the button: POST -> {}, {restarted}", followed.link_pressed)))?;
            output.line(&under(&format!("the button again: POST -> {}, the link works once", followed.link_pressed_again)))
        }
        Step::Drained { resolved, closing_mail } => {
            output.line(&head(&format!("everything is processed: {} reports", grouped(*resolved))))?;
            output.line(&under(&format!("| Subject: {}", printable(closing_mail))))
        }
    }
}

/// A line in lines that fit, broken between words; a word that is longer, such as the link, stays whole. What follows is
/// indented like the line itself.
fn wrapped(line: &str) -> Vec<String> {
    let indent: String = line.chars().take_while(|character| *character == ' ').collect();
    let mut lines = vec![indent.clone()];
    for word in line.split_whitespace() {
        let last = lines.last_mut().expect("there is one from the beginning");
        let is_empty = last.len() == indent.len();
        if is_empty || last.chars().count() + 1 + word.chars().count() <= WIDTH {
            if !is_empty {
                last.push(' ');
            }
            last.push_str(word);
        } else {
            lines.push(format!("{indent}{word}"));
        }
    }
    lines
}

fn show_end(output: &mut Output, facts: &Facts) -> Result<(), Failure> {
    let checked = &facts.checked;
    output.line("")?;
    let mut table = Table::new(&["what", ">should be", ">is"]);
    let mut row = |what: &str, should: u64, is: u64| {
        table.row(vec![what.to_owned(), grouped(should), grouped(is)]);
    };
    row("reports applied, each exactly once", checked.published, checked.applied);
    row("documents equal to a fold of the input", checked.documents, checked.documents_right);
    row("different reports the downstream took", checked.published, checked.downstream_different);
    row("reports fetched while the circuit was open", 0, facts.stopped.requests_while_open);
    row("dead letters", 0, checked.dead_letters);
    row("parked or pending", 0, checked.parked + checked.pending);
    output.table(&table)?;
    let repeats = checked.downstream_accepted.saturating_sub(checked.downstream_different);
    if repeats > 0 {
        output.line(&format!(
            "  the downstream took {} reports twice: effects outside the store happen at least once, and carry an id",
            grouped(repeats)
        ))?;
    }
    output.line("")?;
    let line = if facts.ok {
        output.good("  nothing was lost, nothing was set aside, and the audit accounts for every report")
    } else {
        output.bad("  something is not as it should be; see below")
    };
    output.line(&line)
}

fn next_commands(data_dir: &Path, facts: &Facts) -> Vec<String> {
    let options = format!("--data-dir {}", quoted(data_dir));
    let mut commands = vec![
        format!("tidegate trail {options}               # who restarted it, when, and why"),
        format!("tidegate circuit status {options}"),
        format!("tidegate audit --deep {options}"),
    ];
    commands.extend(
        facts
            .checked
            .documents_wrong
            .first()
            .map(|id| format!("tidegate documents get {FUNCTION} {id} {options}")),
    );
    commands
        .push("tidegate config reference              # `circuit`, `[alerts]`, `[email.NAME]`".to_owned());
    commands
}

fn not_ok(facts: &Facts) -> Failure {
    let message = format!("the outage did not end as it should: {}", facts.wrong.join("; "));
    Failure::new(ErrorCode::AUDIT_GAP, message)
        .help("this is a defect: please report it with the output of `tidegate demo --outage --json`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_broken_between_words_and_a_link_is_not() {
        let link = "x".repeat(WIDTH + 1);
        let words = "word ".repeat(WIDTH / 5);
        let lines = wrapped(&format!("  {words}end {link}"));
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(lines[2], format!("  {link}"));
        assert!(lines[1].starts_with("  ") && lines[..2].iter().all(|line| line.chars().count() <= WIDTH));
        assert_eq!((wrapped(""), wrapped("  one")), (vec![String::new()], vec!["  one".to_owned()]));
    }
}
