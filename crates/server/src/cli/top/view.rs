//! One frame: what is seen of a state, at any size.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Widget as _, Wrap};

use tidegate_api::FunctionOverview;

use crate::cli::measures::{course, rate, span};
use crate::cli::output::{grouped, printable, shortened, width_of};
use crate::cli::overview::{is_closed, needs};
use crate::cli::top::rows::{Column, Holds, Row, Rows, Tone};
use crate::cli::top::state::{Confirm, Link, Over, Screen, State};

/// A screen lower than this shows no courses below its table.
const ROOM_FOR_COURSES: u16 = 18;

/// The widest that a column becomes which is not the last.
const WIDEST: usize = 36;

/// How tones look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    /// Whether there are colours.
    pub(super) colour: bool,
}

impl Theme {
    fn of(self, tone: Tone) -> Style {
        let style = Style::new();
        match (tone, self.colour) {
            (Tone::Plain, _) => style,
            (Tone::Faint, _) => style.add_modifier(Modifier::DIM),
            (Tone::Odd, true) => style.fg(Color::Yellow),
            (Tone::Odd, false) => style.add_modifier(Modifier::BOLD),
            (Tone::Bad, true) => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Tone::Bad, false) => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
        }
    }

    fn good(self) -> Style {
        if self.colour { Style::new().fg(Color::Green) } else { Style::new() }
    }
}

/// Draws the state.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, theme: Theme) {
    let area = frame.area();
    let detail = match (&state.top().screen, area.height >= ROOM_FOR_COURSES) {
        (Screen::Functions | Screen::Lanes(_), true) => 5,
        _ => 0,
    };
    let [head, flow, path, table, below, note, keys] = area.layout(&Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(detail),
        Constraint::Length(1),
        Constraint::Length(1),
    ]));
    let buffer = frame.buffer_mut();
    line(buffer, head, head_line(state, theme));
    line(buffer, flow, flow_line(state, theme, flow.width));
    line(buffer, path, path_line(state, theme));
    draw_table(buffer, table, &state.rows(), state.cursor(), theme);
    draw_courses(buffer, below, state, theme);
    line(buffer, note, note_line(state, theme));
    line(buffer, keys, keys_line(state, theme));
    match &state.over {
        Over::Nothing | Over::Filter => {}
        Over::Help => draw_help(buffer, area),
        Over::Confirm(confirm) => draw_confirm(buffer, area, confirm, theme),
    }
}

fn line(buffer: &mut Buffer, area: Rect, line: Line<'_>) {
    line.render(area, buffer);
}

/// Which server, and whether all is well.
fn head_line(state: &State, theme: Theme) -> Line<'static> {
    let overview = &state.overview;
    let needs = needs(overview, true).len();
    let (verdict, style) = match (&state.link, needs) {
        (Link::Lost { .. }, _) => ("no answer".to_owned(), theme.of(Tone::Bad)),
        (Link::Up, 0) => ("all is well".to_owned(), theme.good()),
        (Link::Up, 1) => ("1 thing needs a person".to_owned(), theme.of(Tone::Bad)),
        (Link::Up, many) => (format!("{many} things need a person"), theme.of(Tone::Bad)),
    };
    let up = Some(state.now().since(overview.started_at).as_secs_f64());
    Line::from(vec![
        Span::styled(" tidegate ", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!("{}  ", printable(&overview.version))),
        Span::styled(verdict, style),
        Span::raw(format!("  up {}  ", span(up))),
        Span::styled(printable(&state.server), theme.of(Tone::Faint)),
    ])
}

/// What comes in, hub by hub, as many as there is room for.
fn flow_line(state: &State, theme: Theme, width: u16) -> Line<'static> {
    let hubs = &state.overview.hubs;
    let mut spans = vec![Span::styled(" in  ", theme.of(Tone::Faint))];
    let mut left = usize::from(width).saturating_sub(16);
    for (place, hub) in hubs.iter().enumerate() {
        let points = state.series.get(&format!("hub.{}.incoming", hub.hub)).map_or(&[][..], Vec::as_slice);
        let bars = course(&points[points.len().saturating_sub(20)..], 20);
        let text = format!("{} {}/s {bars}   ", printable(&hub.hub), rate(hub.incoming_per_s));
        if width_of(&text) > left {
            spans.push(Span::raw(format!("+{} more", hubs.len() - place)));
            break;
        }
        left -= width_of(&text);
        spans.push(Span::raw(text));
    }
    Line::from(spans)
}

/// Where one is, and what the rows are filtered by.
fn path_line(state: &State, theme: Theme) -> Line<'static> {
    let names: Vec<String> = state.path().map(|screen| printable(&name(screen))).collect();
    let mut spans =
        vec![Span::styled(format!(" {}", names.join(" › ")), Style::new().add_modifier(Modifier::BOLD))];
    let filter = &state.top().filter;
    if state.over == Over::Filter {
        spans.push(Span::styled(format!("  /{}", printable(filter)), theme.of(Tone::Odd)));
        spans.push(Span::styled("▏", theme.of(Tone::Odd)));
    } else if !filter.is_empty() {
        spans.push(Span::styled(format!("  only {}", printable(filter)), theme.of(Tone::Odd)));
    }
    Line::from(spans)
}

fn name(screen: &Screen) -> String {
    match screen {
        Screen::Functions => "functions".to_owned(),
        Screen::Lanes(reader) => format!("{} on {}", reader.function, reader.hub),
        Screen::Events(_, partition) => format!("partition {partition}"),
        Screen::Groups(reader, None) => format!("dead letters of {}", reader.function),
        Screen::Groups(_, Some(partition)) => format!("dead letters of partition {partition}"),
        Screen::Letters { reason, .. } => shortened(reason, 40),
        Screen::Trace { partition, sequence_number, .. } => format!("event {partition}/{sequence_number}"),
        Screen::Alerts => "alerts".to_owned(),
    }
}

fn draw_table(buffer: &mut Buffer, area: Rect, rows: &Rows, cursor: usize, theme: Theme) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let widths = fit(rows.columns, &rows.rows, usize::from(area.width));
    let header: Vec<Span<'_>> = widths
        .iter()
        .map(|(column, width)| {
            let column = &rows.columns[*column];
            Span::styled(padded(column.name, *width, column.holds), theme.of(Tone::Faint))
        })
        .collect();
    line(buffer, Rect { height: 1, ..area }, Line::from(header));
    let height = usize::from(area.height - 1);
    if rows.rows.is_empty() && height > 0 {
        let below = Rect { y: area.y + 1, height: area.height - 1, ..area };
        let text = Paragraph::new(format!(" {}", rows.empty)).wrap(Wrap { trim: false });
        text.style(theme.of(Tone::Faint)).render(below, buffer);
        return;
    }
    // The cursor is in the middle, but for the first and the last rows.
    let first = cursor.saturating_sub(height / 2).min(rows.rows.len().saturating_sub(height));
    for (place, row) in rows.rows.iter().enumerate().skip(first).take(height) {
        let y = area.y + 1 + u16::try_from(place - first).unwrap_or(0);
        let under = Rect { y, height: 1, ..area };
        let cells = widths.iter().map(|(column, width)| {
            let (cell, holds) = (&row.cells[*column], rows.columns[*column].holds);
            Span::styled(padded(&cell.text, *width, holds), theme.of(cell.tone))
        });
        line(buffer, under, cells.collect());
        if place == cursor {
            buffer.set_style(under, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

/// A space before it, and as many columns of the terminal as were given to it.
fn padded(text: &str, width: usize, holds: Holds) -> String {
    let text = match holds {
        // Bars take one column each.
        Holds::Courses => text.chars().skip(text.chars().count().saturating_sub(width)).collect(),
        Holds::Text | Holds::Numbers => shortened(text, width),
    };
    let pad = " ".repeat(width.saturating_sub(width_of(&text)));
    match holds {
        Holds::Numbers => format!(" {pad}{text}"),
        Holds::Text | Holds::Courses => format!(" {text}{pad}"),
    }
}

/// Which columns are seen, and how wide each is: all of what is in them, if there is room; the last takes what is left.
fn fit(columns: &[Column], rows: &[Row], width: usize) -> Vec<(usize, usize)> {
    let natural = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(column)).map(|cell| width_of(&cell.text));
        cells.chain([width_of(columns[column].name)]).max().unwrap_or(0)
    };
    let last = columns.len().saturating_sub(1);
    let mut seen: Vec<(usize, usize)> = (0..columns.len())
        .map(|column| {
            let widest = if column == last { columns[column].least } else { WIDEST };
            (column, natural(column).min(widest))
        })
        .collect();
    let taken = |seen: &[(usize, usize)]| seen.iter().map(|(_, width)| width + 1).sum::<usize>();
    while taken(&seen) > width {
        let spared =
            seen.iter().enumerate().map(|(place, (column, _))| (columns[*column].spare, place)).max();
        match spared {
            Some((spare, place)) if spare > 0 => {
                seen.remove(place);
            }
            _ => break,
        }
    }
    let left = width.saturating_sub(taken(&seen));
    if let Some((_, width)) = seen.last_mut() {
        *width += left;
    }
    seen
}

/// The courses of the function that the cursor is on, and how its circuit stands.
fn draw_courses(buffer: &mut Buffer, area: Rect, state: &State, theme: Theme) {
    if area.height < 5 {
        return;
    }
    let Some(reader) = state.reader() else { return };
    let Some(function) = state.function(&reader) else { return };
    let room = usize::from(area.width).saturating_sub(32);
    let row = |place: u16| Rect { y: area.y + place, height: 1, ..area };
    line(buffer, row(0), Line::styled("─".repeat(usize::from(area.width)), theme.of(Tone::Faint)));
    let courses = [
        ("processed", format!("{}/s", rate(function.processed_per_s))),
        ("lag", format!("{} events", grouped(function.lag_events))),
        ("failed", format!("{}/s", rate(function.failed_per_s))),
    ];
    for (place, (what, now)) in (1..).zip(courses) {
        let points = state.series.get(&format!("function.{}.{what}", function.function));
        let bars = course(points.map_or(&[], Vec::as_slice), room);
        let spans = vec![
            Span::styled(format!(" {what:<10}"), theme.of(Tone::Faint)),
            Span::raw(format!("{now:>18}  ")),
            Span::raw(bars),
        ];
        line(buffer, row(place), Line::from(spans));
    }
    line(buffer, row(4), Line::raw(format!(" {}", standing(function))));
}

/// A function in a sentence.
fn standing(function: &FunctionOverview) -> String {
    let FunctionOverview { function: name, circuit, .. } = function;
    let mut parts = vec![printable(name)];
    let threshold =
        circuit.threshold.map_or_else(String::new, |threshold| format!(" of {}", grouped(threshold)));
    let told = !circuit.reason.is_empty() && !is_closed(circuit);
    let reason = if told { format!(": {}", printable(&circuit.reason)) } else { String::new() };
    parts.push(format!(
        "circuit {}, {}{threshold} failures in {} s{reason}",
        printable(&circuit.state),
        grouped(circuit.failures_in_window),
        circuit.window_s
    ));
    if let Some(latency) = &function.latency_ms {
        parts.push(format!("p50 {:.1} p99 {:.1} p99.9 {:.1} ms", latency.p50, latency.p99, latency.p999));
    }
    let what: Vec<&str> =
        [&function.kind, &function.order].into_iter().filter_map(Option::as_deref).collect();
    if !what.is_empty() {
        parts.push(printable(&what.join(", order ")));
    }
    if let Some(collection) = &function.collection {
        parts.push(format!("into {}", printable(collection)));
    }
    parts.join(" · ")
}

fn note_line(state: &State, theme: Theme) -> Line<'static> {
    if let Link::Lost { tries, why } = &state.link {
        let at = state.now();
        return Line::styled(
            format!(" no answer, asked {} times; this is as of {at}: {}", grouped(*tries), printable(why)),
            theme.of(Tone::Bad),
        );
    }
    match &state.note {
        Some(note) if note.failed => Line::styled(format!(" {}", printable(&note.text)), theme.of(Tone::Bad)),
        Some(note) => Line::styled(format!(" {}", printable(&note.text)), theme.good()),
        None => Line::default(),
    }
}

/// The keys that do something here.
fn keys_line(state: &State, theme: Theme) -> Line<'static> {
    let keys: &[(&str, &str)] = match (&state.over, &state.top().screen) {
        (Over::Confirm(_), _) => &[("enter", "do it"), ("esc", "leave it")],
        (Over::Filter, _) => &[("enter", "keep"), ("esc", "all rows")],
        (Over::Help, _) => &[("any key", "back")],
        (_, Screen::Functions) => &[
            ("enter", "partitions"),
            ("d", "dead letters"),
            ("a", "alerts"),
            ("p", "pause"),
            ("/", "filter"),
            ("?", "help"),
            ("q", "quit"),
        ],
        (_, Screen::Lanes(_)) => &[
            ("enter", "events"),
            ("d", "dead letters"),
            ("p", "pause"),
            ("/", "filter"),
            ("esc", "back"),
            ("?", "help"),
            ("q", "quit"),
        ],
        (_, Screen::Events(..)) => &[
            ("enter", "trace"),
            ("tab", "dead letters"),
            ("p", "pause"),
            ("/", "filter"),
            ("esc", "back"),
            ("q", "quit"),
        ],
        (_, Screen::Groups(_, Some(_))) => {
            &[("enter", "each"), ("tab", "events"), ("/", "filter"), ("esc", "back"), ("q", "quit")]
        }
        (_, Screen::Groups(..) | Screen::Alerts) => {
            &[("enter", "look"), ("/", "filter"), ("esc", "back"), ("q", "quit")]
        }
        (_, Screen::Letters { .. }) => &[("enter", "trace"), ("/", "filter"), ("esc", "back"), ("q", "quit")],
        (_, Screen::Trace { .. }) => &[("/", "filter"), ("esc", "back"), ("q", "quit")],
    };
    let mut spans = vec![Span::raw(" ")];
    for (key, does) in keys {
        spans.push(Span::styled(*key, Style::new().add_modifier(Modifier::BOLD)));
        spans.push(Span::styled(format!(" {does}  "), theme.of(Tone::Faint)));
    }
    Line::from(spans)
}

const HELP: &str = " j k ↓ ↑        down, up           enter l →   look into it
 ^d ^u PgDn PgUp  ten rows         esc h ←     back
 g G Home End   first, last        /           only rows with this text
 d              dead letters by cause
 tab e          events of a partition, and its dead letters
 a              alerts
 p              pause or resume the function or the partition
 q ^c           quit

 LAG is in events, BEHIND is how old the oldest of them is. DEAD are
 dead letters that wait for a decision. Rates are of the last seconds.
 What needs a person: tidegate status";

fn draw_help(buffer: &mut Buffer, area: Rect) {
    let text = Paragraph::new(HELP).block(Block::bordered().title(" keys "));
    let over = centred(area, 74, 14);
    Clear.render(over, buffer);
    text.render(over, buffer);
}

fn draw_confirm(buffer: &mut Buffer, area: Rect, confirm: &Confirm, theme: Theme) {
    let subject = printable(&confirm.subject());
    let (title, what) = if confirm.pause {
        (" pause ", format!("{subject} gets no events until it is resumed, also after a restart."))
    } else {
        (" resume ", format!("{subject} goes on from its checkpoint."))
    };
    let needed = if confirm.pause && confirm.act().is_none() { "a reason is needed" } else { "" };
    let text = vec![
        Line::raw(what),
        Line::default(),
        Line::from(vec![
            Span::styled("reason: ", theme.of(Tone::Faint)),
            Span::raw(printable(&confirm.reason)),
            Span::raw("▏"),
        ]),
        Line::styled(needed, theme.of(Tone::Odd)),
    ];
    let over = centred(area, 74, 7);
    Clear.render(over, buffer);
    Paragraph::new(text)
        .wrap(Wrap { trim: false })
        .block(Block::bordered().title(title))
        .render(over, buffer);
}

/// A box of at most this size in the middle.
fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let (x, y) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
    Rect { x, y, width, height }
}
