//! What a key does.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::cli::overview::{is_paused, is_paused_in};
use crate::cli::top::state::{Act, Confirm, Over, Screen, State};

/// Rows that a page has, for keys that move by one.
const PAGE: isize = 10;

/// What a key asks for beyond the state.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    /// The end.
    Quit,
    /// Something to be done by the API.
    Do(Act),
}

/// Changes the state as the key says.
pub(super) fn press(state: &mut State, key: KeyEvent) -> Option<Effect> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && key.code == KeyCode::Char('c') {
        return Some(Effect::Quit);
    }
    state.note = None;
    match &state.over {
        Over::Nothing => browse(state, key.code, control),
        Over::Help => {
            state.over = Over::Nothing;
            None
        }
        Over::Filter => {
            filter(state, key.code, control);
            None
        }
        Over::Confirm(confirm) => match (key.code, confirm.act()) {
            (KeyCode::Esc, _) => {
                state.over = Over::Nothing;
                None
            }
            (KeyCode::Enter, Some(act)) => {
                state.over = Over::Nothing;
                Some(Effect::Do(act))
            }
            (code, _) => {
                edit(state, code, control);
                None
            }
        },
    }
}

fn browse(state: &mut State, code: KeyCode, control: bool) -> Option<Effect> {
    match code {
        KeyCode::Char('d') if control => state.step(PAGE),
        KeyCode::Char('u') if control => state.step(-PAGE),
        _ if control => {}
        KeyCode::Char('q') => return Some(Effect::Quit),
        KeyCode::Char('j') | KeyCode::Down => state.step(1),
        KeyCode::Char('k') | KeyCode::Up => state.step(-1),
        KeyCode::PageDown => state.step(PAGE),
        KeyCode::PageUp => state.step(-PAGE),
        KeyCode::Char('g') | KeyCode::Home => state.place(0),
        KeyCode::Char('G') | KeyCode::End => state.place(usize::MAX),
        KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => drill(state),
        KeyCode::Esc | KeyCode::Backspace | KeyCode::Left | KeyCode::Char('h') => state.back(),
        KeyCode::Char('/') => state.over = Over::Filter,
        KeyCode::Char('?') => state.over = Over::Help,
        KeyCode::Char('a') => state.open(Screen::Alerts),
        KeyCode::Char('d') => dead_letters(state),
        KeyCode::Char('e') | KeyCode::Tab => other_side(state),
        KeyCode::Char('p') => pause(state),
        _ => {}
    }
    None
}

fn filter(state: &mut State, code: KeyCode, control: bool) {
    match code {
        KeyCode::Enter => state.over = Over::Nothing,
        KeyCode::Esc => {
            state.unfilter();
            state.over = Over::Nothing;
        }
        KeyCode::Down => state.step(1),
        KeyCode::Up => state.step(-1),
        code => edit(state, code, control),
    }
}

fn edit(state: &mut State, code: KeyCode, control: bool) {
    match code {
        KeyCode::Backspace => state.erase(),
        KeyCode::Char(character) if !control => state.typed(character),
        _ => {}
    }
}

/// Goes where the row leads.
fn drill(state: &mut State) {
    let cursor = state.cursor();
    if let Some(screen) = state.rows().rows.into_iter().nth(cursor).and_then(|row| row.leads) {
        state.open(screen);
    }
}

/// Opens the causes of the dead letters of what is looked at.
fn dead_letters(state: &mut State) {
    let partition = match &state.top().screen {
        Screen::Events(_, partition) => Some(*partition),
        Screen::Functions | Screen::Lanes(_) => None,
        _ => return,
    };
    if let Some(reader) = state.reader() {
        state.open(Screen::Groups(reader, partition));
    }
}

/// From the events of a partition to its dead letters, and back.
fn other_side(state: &mut State) {
    match state.top().screen.clone() {
        Screen::Events(reader, partition) => state.replace(Screen::Groups(reader, Some(partition))),
        Screen::Groups(reader, Some(partition)) => state.replace(Screen::Events(reader, partition)),
        _ => {}
    }
}

/// Asks whether the function, or the partition of it, is to be paused or resumed.
fn pause(state: &mut State) {
    let Some(reader) = state.reader() else { return };
    let Some(function) = state.function(&reader) else { return };
    let partition = match &state.top().screen {
        Screen::Lanes(_) => state.chosen().and_then(|partition| partition.parse().ok()),
        Screen::Events(_, partition) | Screen::Groups(_, Some(partition)) => Some(*partition),
        _ => None,
    };
    // A partition of a paused function does not go on by being resumed itself.
    let partition = partition.filter(|_| !is_paused(function));
    let pause = match partition {
        Some(partition) => !is_paused_in(function, partition),
        None => !is_paused(function),
    };
    state.over = Over::Confirm(Confirm { pause, reader, partition, reason: String::new() });
}
