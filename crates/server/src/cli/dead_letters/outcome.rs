//! What became of redriven dead letters: waits until none of them is on its way.

use std::collections::BTreeSet;
use std::time::Duration;

use indicatif::ProgressBar;

use tidegate_model::clock::SharedClock;
use tidegate_model::error::ErrorCode;

use crate::cli::dead_letters::filter::{Filter, find};
use crate::cli::output::{Output, grouped};
use crate::client::Connection;
use crate::failure::{Failure, Problem};

/// How long the first pause between two looks is; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How redrives ended.
#[derive(Default)]
pub(super) struct Ends {
    /// Resolved.
    redriven: BTreeSet<u64>,
    /// Came back and wait for a decision.
    open: BTreeSet<u64>,
    /// Came back once too often.
    quarantined: BTreeSet<u64>,
    /// Somebody acted on them meanwhile.
    otherwise: BTreeSet<u64>,
}

impl std::ops::AddAssign for Ends {
    fn add_assign(&mut self, other: Self) {
        self.redriven.extend(other.redriven);
        self.open.extend(other.open);
        self.quarantined.extend(other.quarantined);
        self.otherwise.extend(other.otherwise);
    }
}

impl Ends {
    /// How many came back.
    pub(super) fn came_back(&self) -> usize {
        self.open.len() + self.quarantined.len()
    }

    /// Tells them.
    pub(super) fn tell(&self, output: &mut Output) -> Result<(), Failure> {
        let all = [
            ("redriven", &self.redriven),
            ("open", &self.open),
            ("quarantined", &self.quarantined),
            ("otherwise", &self.otherwise),
        ];
        if output.is_json() {
            for (outcome, ids) in all {
                for id in ids {
                    output.object(&serde_json::json!({ "id": id, "outcome": outcome }))?;
                }
            }
            return Ok(());
        }
        let resolved = grouped(self.redriven.len() as u64);
        let came_back = grouped(self.came_back() as u64);
        let mut text = format!("{resolved} are resolved, {came_back} came back");
        if !self.quarantined.is_empty() {
            text.push_str(&format!(", {} of them are quarantined", grouped(self.quarantined.len() as u64)));
        }
        if !self.otherwise.is_empty() {
            text.push_str(&format!("; {} somebody else acted on", grouped(self.otherwise.len() as u64)));
        }
        output.line(&text)
    }

    /// What came back, as a problem.
    pub(super) fn failure(&self) -> Option<Problem> {
        let first = self.open.iter().chain(&self.quarantined).next()?;
        Some(Problem {
            code: ErrorCode::CONFLICT,
            message: format!("{} redriven dead letters failed again, such as {first}", self.came_back()),
            help: format!("see why: tidegate dead-letters show {first}"),
        })
    }
}

/// Waits until none of these is on its way to the function any more; how each ended.
pub(super) async fn wait(
    connection: &Connection,
    ids: &[u64],
    clock: &SharedClock,
    bar: Option<&ProgressBar>,
) -> Result<Ends, Failure> {
    let mut left: BTreeSet<u64> = ids.iter().copied().collect();
    let mut pause = FIRST_PAUSE;
    while !left.is_empty() {
        let under_way = among(connection, &left, "redriving", clock).await?;
        if under_way.len() < left.len() {
            pause = FIRST_PAUSE;
        }
        left = under_way;
        if let Some(bar) = bar {
            bar.set_position((ids.len() - left.len()) as u64);
        }
        if !left.is_empty() {
            clock.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
    let mut rest: BTreeSet<u64> = ids.iter().copied().collect();
    let mut ends = Ends::default();
    for (status, end) in
        [("redriven", &mut ends.redriven), ("open", &mut ends.open), ("quarantined", &mut ends.quarantined)]
    {
        *end = among(connection, &rest, status, clock).await?;
        rest.retain(|id| !end.contains(id));
    }
    ends.otherwise = rest;
    Ok(ends)
}

/// Those of `ids` that are in a state.
async fn among(
    connection: &Connection,
    ids: &BTreeSet<u64>,
    status: &str,
    clock: &SharedClock,
) -> Result<BTreeSet<u64>, Failure> {
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(BTreeSet::new()) };
    let filter = Filter::default().with_status(status);
    let found = find(connection, &filter, first.checked_sub(1), Some(*last), &**clock).await?;
    Ok(found.into_iter().filter(|id| ids.contains(id)).collect())
}
