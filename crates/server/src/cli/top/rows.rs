//! The table of each screen: what is in its rows, by which one of them is known again, and where it leads.

use tidegate_api::{Alert, DeadLetter, DeadLetterGroup, Event, FunctionOverview, LaneOverview};
use tidegate_model::clock::Timestamp;

use crate::cli::measures::{course, rate, span};
use crate::cli::output::{grouped, printable};
use crate::cli::overview::{is_closed, is_paused, is_paused_in};
use crate::cli::top::detail::Detail;
use crate::cli::top::state::{Reader, Screen, State};

/// How many points a course in a row has.
const COURSE: usize = 30;

/// A table.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Its columns.
    pub(super) columns: &'static [Column],
    /// Its rows, with a cell for each column.
    pub(super) rows: Vec<Row>,
    /// What is said where there are none.
    pub(super) empty: String,
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    /// Its name.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) holds: Holds,
    /// What it has at least, as the last column, where so much is in it.
    pub(super) least: usize,
    /// Which columns go first where there is no room; the higher, the earlier. Zero stays.
    pub(super) spare: u8,
}

/// What a column holds, and so which end of it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Text, read from its beginning.
    Text,
    /// Numbers, one below the other.
    Numbers,
    /// Courses, the newest at the right.
    Courses,
}

/// A row.
#[derive(Debug)]
pub(super) struct Row {
    /// What it is known again by.
    pub(super) id: String,
    /// Its cells.
    pub(super) cells: Vec<Cell>,
    /// Where it leads.
    pub(super) leads: Option<Screen>,
}

/// A cell.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// What it says; without control characters.
    pub(super) text: String,
    /// How it is meant.
    pub(super) tone: Tone,
}

/// How something is meant. Words say it too: there are terminals without colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it is.
    Plain,
    /// Beside the point.
    Faint,
    /// Worth a look.
    Odd,
    /// Bad news.
    Bad,
}

const fn text(name: &'static str, spare: u8) -> Column {
    Column { name, holds: Holds::Text, least: 32, spare }
}

const fn number(name: &'static str, spare: u8) -> Column {
    Column { name, holds: Holds::Numbers, least: 8, spare }
}

const fn courses(name: &'static str, spare: u8) -> Column {
    Column { name, holds: Holds::Courses, least: 8, spare }
}

const FUNCTIONS: &[Column] = &[
    text("FUNCTION", 0),
    text("HUB", 6),
    text("CIRCUIT", 0),
    number("PROC/S", 1),
    number("FAIL/S", 3),
    number("LAG", 0),
    number("BEHIND", 2),
    number("PARKED", 4),
    number("HELD", 3),
    number("DEAD", 0),
    number("OLDEST", 4),
    number("P99", 7),
    courses("PROCESSED", 5),
];

const LANES: &[Column] = &[
    number("PART", 0),
    text("STATE", 0),
    number("POSITION", 1),
    number("TAIL", 4),
    number("LAG", 0),
    number("PARKED", 2),
    number("HELD", 2),
    text("OWNER", 5),
    number("EPOCH", 5),
    number("MOVED", 3),
    text("WHY", 0),
];

const EVENTS: &[Column] =
    &[number("SEQUENCE", 0), number("AGE", 1), text("", 0), text("KEY", 2), text("BODY", 0)];

const GROUPS: &[Column] =
    &[number("COUNT", 0), text("CLASS", 2), number("LAST", 1), number("EXAMPLE", 3), text("REASON", 0)];

const LETTERS: &[Column] = &[
    number("ID", 0),
    text("STATUS", 2),
    text("EVENT", 0),
    text("KEY", 3),
    number("AGE", 1),
    text("REASON", 0),
];

const TRACE: &[Column] = &[text("AT", 0), text("WHO", 1), text("WHAT", 0)];

const ALERTS: &[Column] =
    &[text("SEVERITY", 2), text("KIND", 0), text("SUBJECT", 0), number("SINCE", 1), text("WHAT", 0)];

/// The rows of the screen on top.
pub(super) fn rows(state: &State) -> Rows {
    match &state.top().screen {
        Screen::Functions => functions(state),
        Screen::Lanes(reader) => lanes(state, reader),
        Screen::Alerts => alerts(state),
        Screen::Events(reader, partition) => events(state, reader, *partition),
        Screen::Groups(reader, _) => groups(state, reader),
        Screen::Letters { .. } => letters(state),
        Screen::Trace { .. } => trace(state),
    }
}

fn functions(state: &State) -> Rows {
    let row = |function: &FunctionOverview| {
        let FunctionOverview { function: name, hub, circuit, .. } = function;
        let reader = Reader { function: name.clone(), hub: hub.clone() };
        let flow = if is_paused(function) {
            odd("paused")
        } else if is_closed(circuit) {
            plain("closed")
        } else {
            bad(&circuit.state)
        };
        let points = state.series.get(&format!("function.{name}.processed")).map_or(&[][..], Vec::as_slice);
        let points = &points[points.len().saturating_sub(COURSE)..];
        Row {
            id: format!("{name}/{hub}"),
            cells: vec![
                plain(name),
                faint(hub),
                flow,
                plain(&rate(function.processed_per_s)),
                counted_rate(function.failed_per_s),
                plain(&grouped(function.lag_events)),
                plain(&span(function.lag_s)),
                plain(&grouped(function.parked)),
                count(function.held, odd),
                count(function.dead_letters, bad),
                plain(&age(state, function.oldest_unresolved_at)),
                plain(&milliseconds(function.latency_ms.map(|latency| latency.p99))),
                plain(&course(points, COURSE)),
            ],
            leads: Some(Screen::Lanes(reader)),
        }
    };
    let rows = state.overview.functions.iter().map(row).collect();
    Rows { columns: FUNCTIONS, rows, empty: "no function is configured, and none has run here".to_owned() }
}

fn lanes(state: &State, reader: &Reader) -> Rows {
    let row = |function: &FunctionOverview, lane: &LaneOverview| {
        let word = lane.state.as_deref().unwrap_or("not running");
        let stands = match word {
            _ if is_paused(function) || is_paused_in(function, lane.partition) => odd("paused"),
            "running" => plain(word),
            "stopped" | "not running" => bad(word),
            _ => odd(word),
        };
        let why = match &lane.watchdog {
            Some(what) => bad(what),
            None => plain(lane.detail.as_deref().unwrap_or_default()),
        };
        Row {
            id: lane.partition.to_string(),
            cells: vec![
                plain(&lane.partition.to_string()),
                stands,
                plain(&lane.position.map_or_else(|| "-".to_owned(), grouped)),
                plain(&lane.tail.map_or_else(|| "-".to_owned(), grouped)),
                plain(&grouped(lane.lag)),
                plain(&grouped(lane.parked)),
                count(lane.held, odd),
                faint(lane.owner.as_deref().unwrap_or("-")),
                faint(&lane.epoch.map_or_else(|| "-".to_owned(), grouped)),
                plain(&age(state, lane.progressed_at)),
                why,
            ],
            leads: Some(Screen::Events(reader.clone(), lane.partition)),
        }
    };
    let rows = state
        .function(reader)
        .map(|function| function.lanes.iter().map(|lane| row(function, lane)).collect());
    let empty = match rows {
        Some(_) => "it has no partitions yet".to_owned(),
        None => format!("{} on {} is not there any more", reader.function, reader.hub),
    };
    Rows { columns: LANES, rows: rows.unwrap_or_default(), empty }
}

fn alerts(state: &State) -> Rows {
    let row = |alert: &Alert| {
        let severity = alert.severity.as_str();
        let about = state.overview.functions.iter().find(|function| function.function == alert.subject);
        Row {
            id: alert.id.clone(),
            cells: vec![
                if severity == "critical" { bad(severity) } else { odd(severity) },
                plain(&alert.kind),
                plain(&alert.subject),
                plain(&age(state, Some(alert.since))),
                plain(&alert.what),
            ],
            leads: about.map(|function| {
                Screen::Lanes(Reader { function: function.function.clone(), hub: function.hub.clone() })
            }),
        }
    };
    let rows = state.overview.alerts.iter().map(row).collect();
    Rows { columns: ALERTS, rows, empty: "no alert is open".to_owned() }
}

fn events(state: &State, reader: &Reader, partition: u32) -> Rows {
    let position = state.function(reader).and_then(|function| {
        function.lanes.iter().find(|lane| lane.partition == partition).and_then(|lane| lane.position)
    });
    detailed(state, EVENTS, "the partition has no events", |detail| {
        let Detail::Events(events) = detail else { return None };
        let row = |event: &Event| {
            let number = event.sequence_number;
            let waits = position.is_some_and(|position| number >= position);
            let body = event.body.clone().unwrap_or_else(|| format!("base64 {}", event.body_base64));
            Row {
                id: number.to_string(),
                cells: vec![
                    plain(&number.to_string()),
                    faint(&age(state, Some(event.enqueued_at))),
                    if waits { odd("waits") } else { plain("") },
                    plain(event.partition_key.as_deref().unwrap_or("-")),
                    plain(&body),
                ],
                leads: Some(Screen::Trace { hub: reader.hub.clone(), partition, sequence_number: number }),
            }
        };
        Some(events.iter().map(row).collect())
    })
}

fn groups(state: &State, reader: &Reader) -> Rows {
    detailed(state, GROUPS, "no dead letter waits for a decision", |detail| {
        let Detail::Groups(groups) = detail else { return None };
        let row = |group: &DeadLetterGroup| Row {
            id: group.fingerprint.clone(),
            cells: vec![
                bad(&grouped(group.count)),
                plain(&group.class),
                plain(&age(state, Some(group.last_at))),
                faint(&group.example.to_string()),
                plain(&group.reason),
            ],
            leads: Some(Screen::Letters {
                reader: reader.clone(),
                cause: group.fingerprint.clone(),
                reason: group.reason.clone(),
            }),
        };
        Some(groups.iter().map(row).collect())
    })
}

fn letters(state: &State) -> Rows {
    detailed(state, LETTERS, "none of them waits for a decision any more", |detail| {
        let Detail::Letters(letters) = detail else { return None };
        let row = |letter: &DeadLetter| Row {
            id: letter.id.to_string(),
            cells: vec![
                plain(&letter.id.to_string()),
                plain(&letter.status),
                plain(&format!("{}/{}/{}", letter.hub, letter.partition, letter.sequence_number)),
                plain(letter.partition_key.as_deref().unwrap_or("-")),
                plain(&age(state, Some(letter.dead_lettered_at))),
                plain(&letter.reason),
            ],
            leads: Some(Screen::Trace {
                hub: letter.hub.clone(),
                partition: letter.partition,
                sequence_number: letter.sequence_number,
            }),
        };
        Some(letters.iter().map(row).collect())
    })
}

fn trace(state: &State) -> Rows {
    detailed(state, TRACE, "nothing is known of it", |detail| {
        let Detail::Trace(timeline) = detail else { return None };
        let row = |cells: Vec<Cell>| cells;
        let published = timeline
            .published
            .iter()
            .map(|(name, value)| row(vec![faint("the event"), faint(name), plain(value)]));
        let ends = timeline.ends.iter().map(|end| {
            let what = format!("{}  {}", end.outcome, end.detail);
            let well = matches!(end.outcome.as_str(), "applied" | "resolved");
            row(vec![faint("it is"), plain(&end.function), if well { plain(&what) } else { odd(&what) }])
        });
        let entries = timeline.entries.iter().map(|entry| {
            let what = if entry.bad { bad(&entry.what) } else { plain(&entry.what) };
            row(vec![faint(&clock_time(entry.at)), plain(&entry.who), what])
        });
        let all = published.chain(ends).chain(entries).enumerate();
        Some(all.map(|(place, cells)| Row { id: place.to_string(), cells, leads: None }).collect())
    })
}

/// The rows of what the screen asked for, or what is to be said instead.
fn detailed(
    state: &State,
    columns: &'static [Column],
    none: &str,
    rows: impl FnOnce(&Detail) -> Option<Vec<Row>>,
) -> Rows {
    match &state.detail {
        None => Rows { columns, rows: Vec::new(), empty: "…".to_owned() },
        Some(Err(why)) => Rows { columns, rows: Vec::new(), empty: printable(why) },
        Some(Ok(detail)) => Rows { columns, rows: rows(detail).unwrap_or_default(), empty: none.to_owned() },
    }
}

fn cell(text: &str, tone: Tone) -> Cell {
    Cell { text: printable(text), tone }
}

fn plain(text: &str) -> Cell {
    cell(text, Tone::Plain)
}

fn faint(text: &str) -> Cell {
    cell(text, Tone::Faint)
}

fn odd(text: &str) -> Cell {
    cell(text, Tone::Odd)
}

fn bad(text: &str) -> Cell {
    cell(text, Tone::Bad)
}

/// A number that should be none.
fn count(number: u64, otherwise: impl Fn(&str) -> Cell) -> Cell {
    if number == 0 { plain("0") } else { otherwise(&grouped(number)) }
}

/// A rate that should be none.
fn counted_rate(per_second: Option<f64>) -> Cell {
    let text = rate(per_second);
    if per_second.is_some_and(|rate| rate > 0.0) { bad(&text) } else { plain(&text) }
}

fn milliseconds(milliseconds: Option<f64>) -> String {
    milliseconds.map_or_else(
        || "-".to_owned(),
        |value| {
            if value < 1000.0 { format!("{value:.0}ms") } else { span(Some(value / 1000.0)) }
        },
    )
}

/// How long ago something was when the server last answered.
fn age(state: &State, at: Option<Timestamp>) -> String {
    span(at.map(|at| state.now().since(at).as_secs_f64()))
}

/// The time of day in UTC, without the date where that is the same.
fn clock_time(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..23).map_or_else(|| text.clone(), str::to_owned)
}
