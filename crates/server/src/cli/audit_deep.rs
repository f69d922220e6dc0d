//! `tidegate audit --deep`: what became of each single event, a stretch of a partition at a time.

use serde::Deserialize;

use tidegate_api::FunctionAudit;
use tidegate_model::error::ErrorCode;

use crate::cli::listing::{Session, address};
use crate::cli::output::grouped;
use crate::cli::pace::progress;
use crate::client::understood;
use crate::failure::{Failure, Problem};

/// How many findings of one lane are told.
const TOLD: usize = 100;

#[derive(Deserialize)]
struct Stretch {
    next: u64,
    compared: u64,
    dropped: u64,
    dead_lettered: u64,
    parked: u64,
    counted: Option<Tally>,
    findings: Vec<Finding>,
    more_findings: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
struct Tally {
    dead_lettered: u64,
    parked: u64,
}

#[derive(Deserialize)]
struct Finding {
    detail: String,
}

/// What was found in one lane.
struct Lane<'a> {
    account: &'a FunctionAudit,
    partition: u32,
    compared: u64,
    dropped: u64,
    found: Tally,
    /// What the checkpoint counted at the first stretch and at the last.
    counted: Option<(Option<Tally>, Option<Tally>)>,
    findings: Vec<String>,
    more: u64,
}

/// Checks every event of the lanes of these accounts; what is wrong. Of a source that cannot be asked there are no events to
/// check.
pub(super) async fn run(accounts: &[FunctionAudit], session: &mut Session) -> Result<Vec<Problem>, Failure> {
    let distance = |account: &FunctionAudit| -> u64 {
        account.partitions.iter().map(|partition| partition.tail.saturating_sub(partition.start)).sum()
    };
    let can_be_read = |account: &&FunctionAudit| account.source.is_none();
    let bar = progress(accounts.iter().filter(can_be_read).map(distance).sum(), session.output.is_json());
    let mut problems = Vec::new();
    let (mut compared, mut dropped) = (0, 0);
    for account in accounts.iter().filter(can_be_read) {
        for partition in &account.partitions {
            let mut lane = Lane {
                account,
                partition: partition.partition,
                compared: 0,
                dropped: 0,
                found: Tally { dead_lettered: 0, parked: 0 },
                counted: None,
                findings: Vec::new(),
                more: 0,
            };
            bar.set_message(lane.name());
            let mut from = partition.start;
            // What is published while this looks is for the next audit.
            while from < partition.tail {
                let next = match lane.look(session, from).await {
                    Ok(next) => next,
                    // The store or the log cannot be read there: that is a finding about this lane.
                    Err(failure) if failure.code() != Some(ErrorCode::SERVER_UNREACHABLE) => {
                        lane.findings.push(failure.problems.iter().map(|one| one.message.as_str()).collect());
                        break;
                    }
                    Err(failure) => return Err(failure),
                };
                bar.inc(next.saturating_sub(from).min(partition.tail - from));
                if next <= from {
                    break;
                }
                from = next;
            }
            compared += lane.compared;
            dropped += lane.dropped;
            if session.output.is_json() {
                session.output.object(&lane.json())?;
            }
            problems.extend(lane.problems());
        }
    }
    bar.finish_and_clear();
    if !session.output.is_json() {
        let mut text = format!("{} events compared one by one with the log", grouped(compared));
        if dropped > 0 {
            text.push_str(&format!("; {} more are dropped from it by now", grouped(dropped)));
        }
        session.output.line(&text)?;
    }
    Ok(problems)
}

impl Lane<'_> {
    fn name(&self) -> String {
        format!("{}/{}/{}", self.account.function, self.account.hub, self.partition)
    }

    /// Looks at the stretch from a place on; where it ends.
    async fn look(&mut self, session: &Session, from: u64) -> Result<u64, Failure> {
        let parameters = [
            ("function", Some(self.account.function.clone())),
            ("hub", Some(self.account.hub.clone())),
            ("partition", Some(self.partition.to_string())),
            ("from", Some(from.to_string())),
        ];
        let answer = session.connection().get(&address("/api/v1/audit/deep", &parameters)).await?;
        let stretch: Stretch = understood(answer.body())?;
        self.compared += stretch.compared;
        self.dropped += stretch.dropped;
        self.found.dead_lettered += stretch.dead_lettered;
        self.found.parked += stretch.parked;
        let first = self.counted.map_or(stretch.counted, |(first, _)| first);
        self.counted = Some((first, stretch.counted));
        self.more += stretch.more_findings;
        for finding in stretch.findings {
            if self.findings.len() < TOLD {
                self.findings.push(finding.detail);
            } else {
                self.more += 1;
            }
        }
        Ok(stretch.next)
    }

    /// That the events do not add up to what the checkpoint counts; unknown while it changes.
    fn miscount(&self) -> Option<String> {
        let Some((Some(first), Some(last))) = self.counted else { return None };
        (first == last && self.found != last).then(|| {
            format!(
                "the checkpoint counts {} dead letters and {} parked events, but one by one there are {} and {}",
                last.dead_lettered, last.parked, self.found.dead_lettered, self.found.parked
            )
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let all = self.findings.iter().cloned().chain(self.miscount());
        let mut problems: Vec<Problem> = all
            .map(|detail| Problem {
                code: ErrorCode::AUDIT_GAP,
                message: format!(
                    "function {} on hub {}, partition {}: {detail}",
                    self.account.function, self.account.hub, self.partition
                ),
                help: String::new(),
            })
            .collect();
        if let Some(problem) = problems.last_mut() {
            problem.help = match self.more {
                0 => "the page of this code says what to do".to_owned(),
                more => format!("there are {more} more of them; the page of this code says what to do"),
            };
        }
        problems
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "deep": true,
            "function": self.account.function,
            "hub": self.account.hub,
            "partition": self.partition,
            "ok": self.findings.is_empty() && self.miscount().is_none(),
            "compared": self.compared,
            "dropped": self.dropped,
            "dead_lettered": self.found.dead_lettered,
            "parked": self.found.parked,
            "findings": self.findings.iter().cloned().chain(self.miscount()).collect::<Vec<_>>(),
            "more_findings": self.more,
        })
    }
}
