//! `redrive` and `discard`: acts on many dead letters, in requests of a few hundred.
//!
//! Each request is a transaction, and what is done is not done again. So an act that was interrupted is resumed by typing
//! the same command once more.

use indicatif::ProgressBar;
use serde::Deserialize;

use tidegate_model::clock::SharedClock;
use tidegate_model::error::ErrorCode;

use crate::cli::Context;
use crate::cli::dead_letters::filter::{Chosen, Which, tell};
use crate::cli::dead_letters::outcome::{Ends, wait};
use crate::cli::listing::{Asking, Session};
use crate::cli::output::grouped;
use crate::cli::pace::{Pace, progress};
use crate::client::{lines, understood};
use crate::failure::{Exit, Failure, Problem};

/// How many dead letters one request is about.
const A_REQUEST: usize = 200;

/// How many dead letters of a kind a failure names.
const NAMED: usize = 5;

#[derive(clap::Args)]
pub(super) struct RedriveArgs {
    #[command(flatten)]
    which: Which,
    /// Why; kept in the audit trail. Needed unless --dry-run.
    #[arg(long, value_name = "TEXT", default_value = "", required_unless_present = "dry_run")]
    reason: String,
    /// Only say which would be redriven.
    #[arg(long)]
    dry_run: bool,
    /// Redrive at most so many a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Also quarantined ones, which came back too often.
    #[arg(long)]
    force: bool,
    /// Wait until each of them is resolved or came back. Interrupting that changes nothing.
    #[arg(long)]
    wait: bool,
    /// Redrive one after the other, wait for each, and stop when one comes back.
    #[arg(long)]
    stop_at_first_failure: bool,
    #[command(flatten)]
    asking: Asking,
}

impl RedriveArgs {
    /// The same command without --dry-run, to be typed.
    fn in_earnest(&self) -> String {
        let mut command = format!("dead-letters redrive{}", self.which.arguments());
        if let Some(rate) = self.rate {
            command.push_str(&format!(" --rate {rate}"));
        }
        let flags = [
            (self.force, " --force"),
            (self.wait, " --wait"),
            (self.stop_at_first_failure, " --stop-at-first-failure"),
        ];
        flags.iter().filter(|(is_given, _)| *is_given).for_each(|(_, flag)| command.push_str(flag));
        command.push_str(" --reason TEXT");
        command
    }
}

#[derive(clap::Args)]
pub(super) struct DiscardArgs {
    #[command(flatten)]
    which: Which,
    /// Why; kept in the audit trail. Needed unless --dry-run.
    #[arg(long, value_name = "TEXT", default_value = "", required_unless_present = "dry_run")]
    reason: String,
    /// Only say which would be discarded.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn redrive(args: RedriveArgs, context: &Context) -> Result<Exit, Failure> {
    let clock = &context.clock;
    let mut session = args.asking.open(context).await?;
    let waits = args.wait || args.stop_at_first_failure;
    if waits && !args.dry_run && !session.connected.is_server() {
        return Err(Failure::usage(
            ErrorCode::SERVER_UNREACHABLE,
            "there is nothing to wait for: no server runs that gives the events to their functions",
        )
        .help("start it with `tidegate run`, or leave --wait and --stop-at-first-failure out"));
    }
    let usual = if args.force { "open,quarantined" } else { "open" };
    let chosen = args.which.choose(session.connection(), usual, &**clock).await?;
    if chosen.ids.is_empty() {
        session.nothing_found_of(args.which.filter.function()).await?;
    }
    let act = Act {
        path: "/api/v1/dead-letters/redrive",
        reason: &args.reason,
        force: args.force,
        already: &["redriving", "redriven"],
    };
    if args.dry_run {
        tell(&mut session, &chosen, &**clock).await?;
        return finish_dry_run(session, &chosen, &act, usual, "redriven", args.in_earnest()).await;
    }
    let bar = progress(chosen.ids.len() as u64, args.asking.json);
    let mut done = Done::default();
    let mut ends = Ends::default();
    let result = async {
        if args.stop_at_first_failure {
            for id in &chosen.ids {
                let before = done.under_way.len();
                act.on(std::slice::from_ref(id), &mut session, &mut done).await?;
                if let Some(id) = done.under_way.get(before) {
                    ends += wait(session.connection(), std::slice::from_ref(id), clock, None).await?;
                }
                bar.inc(1);
                if ends.came_back() > 0 {
                    break;
                }
            }
            return Ok(());
        }
        on_all(&act, &chosen.ids, args.rate, &mut session, &mut done, clock, &bar).await?;
        if args.wait {
            bar.set_position(0);
            bar.set_length(done.under_way.len() as u64);
            bar.set_message("resolved");
            ends = wait(session.connection(), &done.under_way, clock, Some(&bar)).await?;
        }
        Ok(())
    };
    let result = result.await;
    bar.finish_and_clear();
    if let Err(failure) = result {
        session.output.flush()?;
        return Err(resumable(failure, &done, chosen.ids.len(), "redriven"));
    }
    tell_done(&mut session, &done, &chosen, "redriven")?;
    if waits {
        ends.tell(&mut session.output)?;
    }
    let mut failed = done.failure();
    failed.extend(ends.failure());
    let next = match waits {
        true if ends.came_back() > 0 => vec!["dead-letters groups".to_owned()],
        true => vec!["audit".to_owned()],
        false => vec!["dead-letters groups".to_owned(), "parked list".to_owned()],
    };
    finish(session, &next, failed).await
}

pub(super) async fn discard(args: DiscardArgs, context: &Context) -> Result<Exit, Failure> {
    let clock = &context.clock;
    let mut session = args.asking.open(context).await?;
    let usual = "open,quarantined";
    let chosen = args.which.choose(session.connection(), usual, &**clock).await?;
    if chosen.ids.is_empty() {
        session.nothing_found_of(args.which.filter.function()).await?;
    }
    let act = Act {
        path: "/api/v1/dead-letters/discard",
        reason: &args.reason,
        force: false,
        already: &["discarded"],
    };
    if args.dry_run {
        tell(&mut session, &chosen, &**clock).await?;
        let next = format!("dead-letters discard{} --reason TEXT", args.which.arguments());
        return finish_dry_run(session, &chosen, &act, usual, "discarded", next).await;
    }
    let bar = progress(chosen.ids.len() as u64, args.asking.json);
    let mut done = Done::default();
    let result = on_all(&act, &chosen.ids, None, &mut session, &mut done, clock, &bar).await;
    bar.finish_and_clear();
    if let Err(failure) = result {
        session.output.flush()?;
        return Err(resumable(failure, &done, chosen.ids.len(), "discarded"));
    }
    tell_done(&mut session, &done, &chosen, "discarded")?;
    finish(session, &["audit".to_owned()], done.failure()).await
}

/// Says what the act would come to. Those that were named are looked at one by one, and what could not be done to them is a
/// failure as it would be without --dry-run; `allowed` are the states in which it can be.
async fn finish_dry_run(
    mut session: Session,
    chosen: &Chosen,
    act: &Act<'_>,
    allowed: &str,
    what: &str,
    next: String,
) -> Result<Exit, Failure> {
    let mut would = Done::default();
    if chosen.filter.is_some() {
        would.done = chosen.ids.len() as u64;
    } else {
        for id in &chosen.ids {
            would.note(look_at(*id, &session, allowed).await?, act.already);
        }
    }
    if !session.output.is_json() {
        let mut text = format!("{} dead letters would be {what}", grouped(would.done));
        if would.already > 0 {
            text.push_str(&format!("; {} are already", grouped(would.already)));
        }
        if would.refused_in_all > 0 {
            text.push_str(&format!("; {} would not", grouped(would.refused_in_all)));
        }
        session.output.line(&format!("{text}; nothing was changed"))?;
    }
    let next = if would.done > 0 { vec![next] } else { vec!["dead-letters list".to_owned()] };
    finish(session, &next, would.failure()).await
}

/// What an act on this one would be answered.
async fn look_at(id: u64, session: &Session, allowed: &str) -> Result<Answer, Failure> {
    #[derive(Deserialize)]
    struct Seen {
        status: String,
    }
    let answer = |result: &str, status| Answer { id, result: result.to_owned(), status };
    let found = session.connection().get(&format!("/api/v1/dead-letters/{id}")).await;
    let body = match found.map_err(Failure::from) {
        Ok(found) => found.into_body(),
        Err(failure) if failure.code() == Some(ErrorCode::NOT_FOUND) => return Ok(answer("not-found", None)),
        Err(failure) => return Err(failure),
    };
    let Seen { status } = understood(&body)?;
    Ok(match allowed.split(',').any(|allowed| allowed == status) {
        true => answer("done", Some(status)),
        false => answer("wrong-status", Some(status)),
    })
}

/// Ends the command; with a failure if something was refused.
async fn finish(session: Session, next: &[String], problems: Vec<Problem>) -> Result<Exit, Failure> {
    session.finish(next).await?;
    if problems.is_empty() { Ok(Exit::Done) } else { Err(Failure { problems, exit: Exit::Failed }) }
}

/// What is done to dead letters.
pub(super) struct Act<'a> {
    pub(super) path: &'a str,
    pub(super) reason: &'a str,
    pub(super) force: bool,
    /// What a dead letter is that it was done to before: what was interrupted finds its own work done.
    pub(super) already: &'static [&'static str],
}

#[derive(Deserialize)]
struct Answer {
    id: u64,
    result: String,
    status: Option<String>,
}

impl Act<'_> {
    /// Does it in one request, and notes and prints what came of it.
    pub(super) async fn on(
        &self,
        ids: &[u64],
        session: &mut Session,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let mut request = serde_json::json!({ "ids": ids, "reason": self.reason });
        if self.force {
            request["force"] = true.into();
        }
        let body = session.connection().post_json(self.path, &request).await?;
        for line in lines(&body) {
            let answer: Answer = understood(&line)?;
            if session.output.is_json() {
                session.output.raw_line(&line)?;
            }
            done.note(answer, self.already);
        }
        Ok(())
    }
}

/// Acts on all, request after request.
async fn on_all(
    act: &Act<'_>,
    ids: &[u64],
    rate: Option<u64>,
    session: &mut Session,
    done: &mut Done,
    clock: &SharedClock,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let mut pace = rate.map(|rate| Pace::new(rate, &**clock));
    let step = pace
        .as_ref()
        .map_or(A_REQUEST, |pace| usize::try_from(pace.a_step()).unwrap_or(A_REQUEST).min(A_REQUEST));
    for ids in ids.chunks(step) {
        act.on(ids, session, done).await?;
        bar.inc(ids.len() as u64);
        if let Some(pace) = &mut pace {
            pace.keep(ids.len() as u64, &**clock).await;
        }
    }
    Ok(())
}

/// What came of an act so far.
#[derive(Default)]
pub(super) struct Done {
    /// Those it was done to.
    done: u64,
    /// Those it had been done to before.
    already: u64,
    /// Those on their way to the function, by this command or another.
    under_way: Vec<u64>,
    /// Those it could not be done to, and why.
    refused: Vec<(u64, Refused)>,
    /// More of them than are noted.
    refused_in_all: u64,
}

/// Why an act was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refused {
    NotFound,
    Status(String),
    Leased,
    OtherIncarnation,
    Other(String),
}

/// How many refusals are noted one by one.
const NOTED: usize = 10_000;

impl Done {
    fn note(&mut self, answer: Answer, already: &[&str]) {
        let Answer { id, result, status } = answer;
        let status = status.unwrap_or_default();
        let refused = match (result.as_str(), status.as_str()) {
            ("done", _) => {
                self.done += 1;
                self.under_way.push(id);
                return;
            }
            ("wrong-status", status) if already.contains(&status) => {
                self.already += 1;
                if status == "redriving" {
                    self.under_way.push(id);
                }
                return;
            }
            ("wrong-status", _) => Refused::Status(status),
            ("not-found", _) => Refused::NotFound,
            ("leased", _) => Refused::Leased,
            ("other-incarnation", _) => Refused::OtherIncarnation,
            (other, _) => Refused::Other(other.to_owned()),
        };
        self.refused_in_all += 1;
        if self.refused.len() < NOTED {
            self.refused.push((id, refused));
        }
    }

    /// How many it was done to.
    pub(super) fn count(&self) -> u64 {
        self.done
    }

    /// What could not be done, a problem for each reason.
    pub(super) fn failure(&self) -> Vec<Problem> {
        let mut kinds: Vec<&Refused> = Vec::new();
        for (_, why) in &self.refused {
            if !kinds.contains(&why) {
                kinds.push(why);
            }
        }
        let problem = |why: &Refused| {
            let ids: Vec<u64> = self.refused.iter().filter(|(_, of)| of == why).map(|(id, _)| *id).collect();
            why.problem(&ids)
        };
        kinds.into_iter().map(problem).collect()
    }
}

impl Refused {
    fn problem(&self, ids: &[u64]) -> Problem {
        let named: Vec<String> = ids.iter().take(NAMED).map(ToString::to_string).collect();
        let more = if ids.len() > NAMED { format!(" and {} more", ids.len() - NAMED) } else { String::new() };
        let which = format!("{}{more}", named.join(", "));
        let (code, message, help) = match self {
            Self::NotFound => (
                ErrorCode::NOT_FOUND,
                format!("there is no dead letter {which}"),
                "list them: tidegate dead-letters list",
            ),
            Self::Status(status) if status == "quarantined" => (
                ErrorCode::CONFLICT,
                format!("quarantined, because they came back too often: {which}"),
                "edit them or mend the function, and redrive them with --force",
            ),
            Self::Status(status) => (
                ErrorCode::CONFLICT,
                format!("{status}, and so nothing to act on: {which}"),
                "see what was done to one: tidegate dead-letters show ID",
            ),
            Self::Leased => (
                ErrorCode::CONFLICT,
                format!("leased by somebody else: {which}"),
                "`tidegate dead-letters show ID` says by whom and until when",
            ),
            Self::OtherIncarnation => (
                ErrorCode::CONFLICT,
                format!("from another life of their hub, in which their place in the order is gone: {which}"),
                "export them and publish them once more, or discard them",
            ),
            Self::Other(word) => (
                ErrorCode::SERVER_UNREACHABLE,
                format!("the server says {word:?}, which this version does not know: {which}"),
                "use the same version of tidegate on both sides",
            ),
        };
        Problem { code, message, help: help.to_owned() }
    }
}

fn tell_done(session: &mut Session, done: &Done, chosen: &Chosen, what: &str) -> Result<(), Failure> {
    if session.output.is_json() {
        return Ok(());
    }
    if chosen.ids.is_empty() {
        return session.output.line(&format!("there are no such dead letters; nothing was {what}"));
    }
    let mut text = format!("{} dead letters {what}", grouped(done.done));
    if done.already > 0 {
        text.push_str(&format!("; {} were already", grouped(done.already)));
    }
    if done.refused_in_all > 0 {
        text.push_str(&format!("; {} were not", grouped(done.refused_in_all)));
    }
    let left = chosen.ids.len() as u64
        - (done.done + done.already + done.refused_in_all).min(chosen.ids.len() as u64);
    if left > 0 {
        text.push_str(&format!("; {} are left", grouped(left)));
    }
    session.output.line(&text)
}

/// The failure with what was done before it, and how to go on.
fn resumable(mut failure: Failure, done: &Done, total: usize, what: &str) -> Failure {
    if failure.exit == Exit::Usage {
        return failure;
    }
    if let Some(problem) = failure.problems.last_mut() {
        let left = (total as u64).saturating_sub(done.done + done.already + done.refused_in_all);
        let way_out = format!(
            "{} of {} dead letters were {what} before that, and {} are left\ntype the same command again to go on: what is done \
             is not done twice",
            grouped(done.done + done.already),
            grouped(total as u64),
            grouped(left)
        );
        problem.help = format!("{}\n{way_out}", problem.help).trim_start().to_owned();
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parsed;

    fn noted(answers: &[(u64, &str, &str)]) -> Done {
        let mut done = Done::default();
        for (id, result, status) in answers {
            let status = (!status.is_empty()).then(|| (*status).to_owned());
            let answer = Answer { id: *id, result: (*result).to_owned(), status };
            done.note(answer, &["redriving", "redriven"]);
        }
        done
    }

    #[test]
    fn what_is_done_already_is_no_failure() {
        let done =
            noted(&[(1, "done", ""), (2, "wrong-status", "redriving"), (3, "wrong-status", "redriven")]);
        assert_eq!((done.done, done.already, done.under_way.clone()), (1, 2, vec![1, 2]));
        assert!(done.failure().is_empty());
        assert_eq!(noted(&[(4, "wrong-status", "discarded")]).failure().len(), 1);
    }

    #[test]
    fn each_reason_is_one_problem_that_names_some() {
        let mut answers: Vec<_> = (1..=7).map(|id| (id, "not-found", "")).collect();
        answers.extend([
            (8, "wrong-status", "quarantined"),
            (9, "leased", ""),
            (10, "other-incarnation", ""),
            (11, "wrong-status", "replayed"),
        ]);
        let failure = Failure { problems: noted(&answers).failure(), exit: Exit::Failed }.to_string();
        assert!(failure.contains("there is no dead letter 1, 2, 3, 4, 5 and 2 more"), "{failure}");
        assert!(failure.contains("came back too often: 8") && failure.contains("--force"), "{failure}");
        assert!(failure.contains("leased by somebody else: 9"), "{failure}");
        assert!(failure.contains("replayed, and so nothing to act on: 11"), "{failure}");
    }

    #[test]
    fn an_interruption_says_what_is_left() {
        let failure = Failure::new(ErrorCode::SERVER_UNREACHABLE, "gone");
        let done = noted(&[(1, "done", ""), (2, "done", "")]);
        let said = resumable(failure, &done, 5, "redriven").to_string();
        assert!(said.contains("2 of 5 dead letters were redriven before that, and 3 are left"), "{said}");
    }

    #[test]
    fn after_a_dry_run_it_is_done_as_it_was_said() {
        let typed = "redrive --function f --dry-run --rate 5 --stop-at-first-failure";
        let args: RedriveArgs = parsed(typed.split(' '));
        let command = "dead-letters redrive --function f --rate 5 --stop-at-first-failure --reason TEXT";
        assert_eq!(args.in_earnest(), command);
    }
}
