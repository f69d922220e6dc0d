//! What `top` shows, as a value: keys and answers of the API change it, and a frame is made of it.

use std::collections::BTreeMap;

use serde_json::Value;

use tidegate_api::{FunctionOverview, Overview};
use tidegate_model::clock::Timestamp;

use crate::cli::top::detail::{Detail, Question};
use crate::cli::top::rows::{Rows, rows};

/// How many characters a person may type into one line.
const MOST_TYPED: usize = 200;

/// How many functions and how many hubs have their courses shown, at most: one request asks for 64 courses, of which three
/// are of the function that is looked at.
const MOST_FUNCTIONS: usize = 40;
const MOST_HUBS: usize = 20;

/// Everything that a frame is made of.
pub(super) struct State {
    /// The server's address.
    pub(super) server: String,
    /// How everything stood when the server last answered.
    pub(super) overview: Overview,
    /// The courses of values by name.
    pub(super) series: BTreeMap<String, Vec<Option<f64>>>,
    /// Whether the server answers.
    pub(super) link: Link,
    /// What the screen on top asked for besides, once it is there.
    pub(super) detail: Option<Result<Detail, String>>,
    /// What lies over the screen.
    pub(super) over: Over,
    /// What came of the last act, until the next key.
    pub(super) note: Option<Note>,
    /// The screens, the one that is seen last; never empty.
    open: Vec<Open>,
}

/// Whether the server answers.
pub(super) enum Link {
    /// It does.
    Up,
    /// It does not.
    Lost {
        /// How many times it was asked since it last answered.
        tries: u64,
        /// Why.
        why: String,
    },
}

/// What came of an act.
pub(super) struct Note {
    /// For a person.
    pub(super) text: String,
    /// Whether it failed.
    pub(super) failed: bool,
}

/// A screen with a place in it.
pub(super) struct Open {
    /// The screen.
    pub(super) screen: Screen,
    /// Only rows that have this in them.
    pub(super) filter: String,
    cursor: usize,
    /// The row the cursor is on: rows come and go around it.
    chosen: Option<String>,
}

/// What can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Screen {
    /// All functions.
    Functions,
    /// A function partition by partition.
    Lanes(Reader),
    /// The newest events of a partition.
    Events(Reader, u32),
    /// The causes of dead letters: of a function, or of one partition of it.
    Groups(Reader, Option<u32>),
    /// The dead letters of one cause.
    Letters {
        /// The function.
        reader: Reader,
        /// The fingerprint.
        cause: String,
        /// In words.
        reason: String,
    },
    /// Everything that happened to one event.
    Trace {
        /// The hub.
        hub: String,
        /// The partition.
        partition: u32,
        /// The event.
        sequence_number: u64,
    },
    /// What is alerted about.
    Alerts,
}

/// A function on a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reader {
    /// The function.
    pub(super) function: String,
    /// The hub.
    pub(super) hub: String,
}

/// What lies over the screen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Nothing.
    Nothing,
    /// The keys.
    Help,
    /// The filter is being typed.
    Filter,
    /// A question before something is done.
    Confirm(Confirm),
}

/// Whether a function or a lane is to be paused or resumed, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Confirm {
    /// True for a pause.
    pub(super) pause: bool,
    /// The function.
    pub(super) reader: Reader,
    /// One partition of it.
    pub(super) partition: Option<u32>,
    /// Why, as far as it was typed.
    pub(super) reason: String,
}

impl Confirm {
    /// What is acted on.
    pub(super) fn subject(&self) -> String {
        let Reader { function, hub } = &self.reader;
        self.partition.map_or_else(|| function.clone(), |partition| format!("{function}/{hub}/{partition}"))
    }

    /// The act, once there is a reason for it; resuming needs none.
    pub(super) fn act(&self) -> Option<Act> {
        if self.pause && self.reason.trim().is_empty() {
            return None;
        }
        let word = if self.pause { "pause" } else { "resume" };
        let function = crate::api::page::percent_encode(&self.reader.function);
        let hub = self.partition.map(|_| &self.reader.hub);
        Some(Act {
            path: format!("/api/v1/pauses/{function}/{word}"),
            request: serde_json::json!({ "hub": hub, "partition": self.partition, "reason": self.reason.trim() }),
            done: format!("{} is {}", self.subject(), if self.pause { "paused" } else { "resumed" }),
        })
    }
}

/// Something to be done by the API.
#[derive(Debug, PartialEq)]
pub(super) struct Act {
    /// Where.
    pub(super) path: String,
    /// With what.
    pub(super) request: Value,
    /// What is said when it is done.
    pub(super) done: String,
}

/// What is asked of the API each time.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    /// The courses.
    pub(super) series: Vec<String>,
    /// What the screen on top needs besides the overview.
    pub(super) question: Option<Question>,
}

/// What the API answered.
pub(super) enum Answer {
    /// How everything stands, and what else was wanted.
    Told {
        /// How everything stands.
        overview: Box<Overview>,
        /// The courses; nothing where the server tells none.
        series: BTreeMap<String, Vec<Option<f64>>>,
        /// What the screen needs.
        detail: Option<(Question, Result<Detail, String>)>,
        /// The server's address.
        server: String,
    },
    /// Nobody answers.
    Lost(String),
    /// An act was done, or not.
    Acted(Result<String, String>),
}

impl State {
    /// The first screen of the server at this address.
    pub(super) fn new(server: String, overview: Overview) -> Self {
        let open = Open { screen: Screen::Functions, filter: String::new(), cursor: 0, chosen: None };
        let mut state = Self {
            server,
            overview,
            series: BTreeMap::new(),
            link: Link::Up,
            detail: None,
            over: Over::Nothing,
            note: None,
            open: vec![open],
        };
        state.settle();
        state
    }

    /// The screen on top.
    pub(super) fn top(&self) -> &Open {
        self.open.last().expect("the first screen is never closed")
    }

    fn top_mut(&mut self) -> &mut Open {
        self.open.last_mut().expect("the first screen is never closed")
    }

    /// The names of the screens from the first to the one that is seen.
    pub(super) fn path(&self) -> impl Iterator<Item = &Screen> {
        self.open.iter().map(|open| &open.screen)
    }

    /// The function of this name on this hub.
    pub(super) fn function(&self, reader: &Reader) -> Option<&FunctionOverview> {
        let is_it =
            |function: &&FunctionOverview| function.function == reader.function && function.hub == reader.hub;
        self.overview.functions.iter().find(is_it)
    }

    /// The rows of the screen, those that pass the filter.
    pub(super) fn rows(&self) -> Rows {
        let mut rows = rows(self);
        let wanted = self.top().filter.to_lowercase();
        if !wanted.is_empty() {
            rows.rows.retain(|row| row.cells.iter().any(|cell| cell.text.to_lowercase().contains(&wanted)));
        }
        rows
    }

    /// The row the cursor is on.
    pub(super) fn cursor(&self) -> usize {
        self.top().cursor
    }

    /// What names the row the cursor is on.
    pub(super) fn chosen(&self) -> Option<&str> {
        self.top().chosen.as_deref()
    }

    /// The function the cursor is on, or the one that the screen is about.
    pub(super) fn reader(&self) -> Option<Reader> {
        match &self.top().screen {
            Screen::Functions => {
                let (function, hub) = self.chosen()?.split_once('/')?;
                Some(Reader { function: function.to_owned(), hub: hub.to_owned() })
            }
            Screen::Lanes(reader)
            | Screen::Events(reader, _)
            | Screen::Groups(reader, _)
            | Screen::Letters { reader, .. } => Some(reader.clone()),
            Screen::Trace { .. } | Screen::Alerts => None,
        }
    }

    /// What is to be asked next time.
    pub(super) fn wanted(&self) -> Wanted {
        let hubs = self.overview.hubs.iter().map(|hub| format!("hub.{}.incoming", hub.hub));
        let mut series: Vec<String> = hubs.take(MOST_HUBS).collect();
        if self.top().screen == Screen::Functions {
            let functions = self.overview.functions.iter().take(MOST_FUNCTIONS);
            series.extend(functions.map(|function| format!("function.{}.processed", function.function)));
        }
        if let (Screen::Functions | Screen::Lanes(_), Some(reader)) = (&self.top().screen, self.reader()) {
            let of_it = ["processed", "lag", "failed"];
            series.extend(of_it.iter().map(|what| format!("function.{}.{what}", reader.function)));
        }
        series.sort_unstable();
        series.dedup();
        Wanted { series, question: Question::of(&self.top().screen) }
    }

    /// Takes what the API answered.
    pub(super) fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Told { overview, series, detail, server } => {
                self.overview = *overview;
                self.series = series;
                self.server = server;
                self.link = Link::Up;
                // An answer to what another screen asked is late.
                if let Some((question, detail)) = detail
                    && Question::of(&self.top().screen).as_ref() == Some(&question)
                {
                    self.detail = Some(detail);
                }
            }
            Answer::Lost(why) => {
                let tries = if let Link::Lost { tries, .. } = self.link { tries + 1 } else { 1 };
                self.link = Link::Lost { tries, why };
            }
            Answer::Acted(Ok(done)) => self.note = Some(Note { text: done, failed: false }),
            Answer::Acted(Err(why)) => self.note = Some(Note { text: why, failed: true }),
        }
        self.settle();
    }

    /// The time of the server when it last answered.
    pub(super) fn now(&self) -> Timestamp {
        self.overview.now
    }

    /// Opens a screen over the others.
    pub(super) fn open(&mut self, screen: Screen) {
        // As deep as screens lead to one another, and no deeper.
        if self.top().screen == screen || self.open.len() >= 8 {
            return;
        }
        self.open.push(Open { screen, filter: String::new(), cursor: 0, chosen: None });
        self.detail = None;
        self.settle();
    }

    /// Goes to a screen in place of the one that is seen.
    pub(super) fn replace(&mut self, screen: Screen) {
        let open = Open { screen, filter: String::new(), cursor: 0, chosen: None };
        *self.top_mut() = open;
        self.detail = None;
        self.settle();
    }

    /// Goes back: what was typed to filter is given up first, then the screen.
    pub(super) fn back(&mut self) {
        if !self.top().filter.is_empty() {
            self.top_mut().filter.clear();
        } else if self.open.len() > 1 {
            self.open.pop();
            self.detail = None;
        }
        self.settle();
    }

    /// Moves the cursor by so many rows.
    pub(super) fn step(&mut self, by: isize) {
        let last = self.rows().rows.len().saturating_sub(1);
        let to = self.cursor().saturating_add_signed(by).min(last);
        self.place(to);
    }

    /// Moves the cursor to a row, or to the last one.
    pub(super) fn place(&mut self, row: usize) {
        let rows = self.rows().rows;
        let row = row.min(rows.len().saturating_sub(1));
        let chosen = rows.get(row).map(|row| row.id.clone());
        let top = self.top_mut();
        (top.cursor, top.chosen) = (row, chosen);
    }

    /// Adds what was typed to the filter or the reason.
    pub(super) fn typed(&mut self, character: char) {
        if character.is_control() {
            return;
        }
        if let Some(text) = self.typing()
            && text.chars().count() < MOST_TYPED
        {
            text.push(character);
        }
        self.settle();
    }

    /// Takes the last character back.
    pub(super) fn erase(&mut self) {
        if let Some(text) = self.typing() {
            text.pop();
        }
        self.settle();
    }

    /// The line that is being typed.
    fn typing(&mut self) -> Option<&mut String> {
        match &mut self.over {
            Over::Confirm(confirm) => Some(&mut confirm.reason),
            Over::Filter => self.open.last_mut().map(|open| &mut open.filter),
            Over::Nothing | Over::Help => None,
        }
    }

    /// Gives the filter up.
    pub(super) fn unfilter(&mut self) {
        self.top_mut().filter.clear();
        self.settle();
    }

    /// Keeps the cursor on its row when rows came and went, and on a row at all.
    fn settle(&mut self) {
        let rows = self.rows().rows;
        let found = self.chosen().and_then(|chosen| rows.iter().position(|row| row.id == chosen));
        let row = found.unwrap_or_else(|| self.cursor().min(rows.len().saturating_sub(1)));
        let top = self.top_mut();
        top.cursor = row;
        // What is being fetched may come back with the same row.
        if let Some(row) = rows.get(row) {
            top.chosen = Some(row.id.clone());
        }
    }
}
