//! What a screen asks the API for besides the overview, and what comes back.

use serde::de::DeserializeOwned;

use tidegate_api::{DeadLetter, DeadLetterGroup, Event, Overview, Trace};

use crate::api::page::percent_encode;
use crate::cli::timeline::{Timeline, timeline};
use crate::cli::top::state::{Reader, Screen};
use crate::client::{lines, understood};
use crate::failure::Failure;

/// How many events or dead letters one screen holds.
const MOST_ROWS: u64 = 100;

/// What a screen needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// The newest events of a partition.
    Events { hub: String, partition: u32 },
    /// The causes of a function's dead letters that wait for a decision.
    Groups { reader: Reader, partition: Option<u32> },
    /// The dead letters of a cause.
    Letters { cause: String },
    /// What happened to an event.
    Trace { hub: String, partition: u32, sequence_number: u64 },
}

/// What came back.
#[derive(Debug)]
pub(super) enum Detail {
    /// The newest first.
    Events(Vec<Event>),
    /// The most frequent first.
    Groups(Vec<DeadLetterGroup>),
    /// As the API has them.
    Letters(Vec<DeadLetter>),
    /// The oldest first.
    Trace(Timeline),
}

impl Question {
    /// What the screen needs, if it needs anything.
    pub(super) fn of(screen: &Screen) -> Option<Self> {
        match screen {
            Screen::Functions | Screen::Lanes(_) | Screen::Alerts => None,
            Screen::Events(Reader { hub, .. }, partition) => {
                Some(Self::Events { hub: hub.clone(), partition: *partition })
            }
            Screen::Groups(reader, partition) => {
                Some(Self::Groups { reader: reader.clone(), partition: *partition })
            }
            Screen::Letters { cause, .. } => Some(Self::Letters { cause: cause.clone() }),
            Screen::Trace { hub, partition, sequence_number } => Some(Self::Trace {
                hub: hub.clone(),
                partition: *partition,
                sequence_number: *sequence_number,
            }),
        }
    }

    /// Where it is asked. How far the partition reaches is in the overview.
    pub(super) fn path(&self, overview: &Overview) -> String {
        match self {
            Self::Events { hub, partition } => {
                let lanes = overview.functions.iter().filter(|function| function.hub == *hub);
                let lanes =
                    lanes.flat_map(|function| &function.lanes).filter(|lane| lane.partition == *partition);
                let from = lanes.filter_map(|lane| lane.tail).max().unwrap_or(0).saturating_sub(MOST_ROWS);
                let hub = percent_encode(hub);
                format!("/api/v1/hubs/{hub}/events?partition={partition}&from={from}&limit={MOST_ROWS}")
            }
            Self::Groups { reader, partition } => {
                let (function, hub) = (percent_encode(&reader.function), percent_encode(&reader.hub));
                let partition =
                    partition.map_or_else(String::new, |partition| format!("&partition={partition}"));
                format!(
                    "/api/v1/dead-letter-groups?function={function}&hub={hub}{partition}&status=open,quarantined\
                     &limit={MOST_ROWS}"
                )
            }
            Self::Letters { cause } => {
                let cause = percent_encode(cause);
                format!("/api/v1/dead-letters?cause={cause}&status=open,quarantined&limit={MOST_ROWS}")
            }
            Self::Trace { hub, partition, sequence_number } => {
                let hub = percent_encode(hub);
                format!("/api/v1/trace?hub={hub}&partition={partition}&sequence_number={sequence_number}")
            }
        }
    }

    /// Understands the answer.
    pub(super) fn understand(&self, body: &bytes::Bytes) -> Result<Detail, Failure> {
        Ok(match self {
            Self::Events { .. } => {
                let mut events: Vec<Event> = each(body)?;
                events.reverse();
                Detail::Events(events)
            }
            Self::Groups { .. } => Detail::Groups(each(body)?),
            Self::Letters { .. } => Detail::Letters(each(body)?),
            Self::Trace { .. } => Detail::Trace(timeline(&understood::<Trace>(body)?)),
        })
    }
}

fn each<T: DeserializeOwned>(body: &bytes::Bytes) -> Result<Vec<T>, Failure> {
    lines(body).map(|line| understood(&line)).collect()
}
