//! Keys and answers in, frames out.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use serde_json::json;

use tidegate_api::{DeadLetter, DeadLetterGroup, Event, Overview};

use crate::cli::overview::tests::{overview, well};
use crate::cli::timeline::tests::failed;
use crate::cli::timeline::timeline;
use crate::cli::top::detail::{Detail, Question};
use crate::cli::top::keys::{Effect, press};
use crate::cli::top::state::{Answer, Link, Over, Screen, State};
use crate::cli::top::view::{Theme, draw};

/// What a producer or an error message may hold.
const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\r\n\t\u{202e}日本語👩‍👩‍👧\u{0}é̂";

fn started() -> State {
    State::new("http://127.0.0.1:8780".to_owned(), overview(well()))
}

fn terminal(state: &State, colour: bool, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    terminal.draw(|frame| draw(frame, state, Theme { colour })).expect("it is drawn");
    terminal
}

/// The lines of a frame.
fn frame(state: &State, width: u16, height: u16) -> Vec<String> {
    let terminal = terminal(state, true, width, height);
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

/// Whether a frame of the usual size shows this.
fn shows(state: &State, text: &str) -> bool {
    frame(state, 80, 24).iter().any(|line| line.contains(text))
}

fn key(state: &mut State, code: KeyCode) -> Option<Effect> {
    press(state, KeyEvent::new(code, KeyModifiers::NONE))
}

fn type_in(state: &mut State, text: &str) {
    for character in text.chars() {
        key(state, KeyCode::Char(character));
    }
}

fn event(number: u64, body: &str) -> Event {
    let event = json!({ "partition": 0, "sequence_number": number, "offset": "1", "enqueued_at": "2026-11-22T11:59:00Z",
        "partition_key": "0101de", "properties": {}, "system_properties": {}, "body": body, "body_base64": "" });
    serde_json::from_value(event).expect("an event")
}

fn group(reason: &str) -> DeadLetterGroup {
    let group = json!({ "fingerprint": "85944171f73967e8", "function": "aircraft", "class": "permanent",
        "reason": reason, "count": 80, "first_at": "2026-11-22T11:00:00Z", "last_at": "2026-11-22T11:59:00Z", "example": 7 });
    serde_json::from_value(group).expect("a group")
}

fn letter() -> DeadLetter {
    failed().functions[0].dead_letter.clone().expect("a dead letter")
}

/// The server answers with this overview, and with this to what the screen asked.
fn answer(state: &mut State, overview: Overview, detail: Result<Detail, String>) {
    let question = state.wanted().question;
    state.take(Answer::Told {
        overview: Box::new(overview),
        series: [("function.aircraft.processed".to_owned(), vec![Some(0.0), Some(10.0), None, Some(20.0)])]
            .into(),
        detail: question.map(|question| (question, detail)),
        server: "http://127.0.0.1:8780".to_owned(),
    });
}

#[test]
fn the_first_screen_tells_how_everything_stands() {
    let mut state = started();
    answer(&mut state, overview(well()), Err(String::new()));
    let lines = frame(&state, 80, 24);
    assert!(lines[0].contains("tidegate 0.1.0  all is well  up 2h"), "{lines:#?}");
    assert!(lines[1].contains("flights 1,204/s"), "{lines:#?}");
    let row = lines.iter().find(|line| line.contains("closed  ")).expect("a row of the function");
    for cell in ["aircraft", "1,198", "6", "0.1s"] {
        assert!(row.contains(cell), "{cell} in {row}");
    }
    assert!(lines.iter().any(|line| line.contains("processed") && line.contains("▁▅ █")), "{lines:#?}");
    assert!(
        lines[22].is_empty() && lines[23].contains("enter partitions") && lines[23].contains("q quit"),
        "{lines:#?}"
    );
    let row = frame(&state, 82, 24).into_iter().find(|line| line.contains("closed  ")).expect("a row");
    assert!(row.ends_with("▁▅ █"), "of a course the newest is seen: {row}");
    let wide = frame(&state, 160, 40).join("\n");
    for column in ["FUNCTION", "HUB", "P99", "PROCESSED", "OLDEST"] {
        assert!(wide.contains(column), "{column} in {wide}");
    }
}

#[test]
fn one_looks_from_a_function_down_to_an_event_and_back() {
    let mut state = started();
    key(&mut state, KeyCode::Enter);
    assert!(shows(&state, "30,166") && shows(&state, "aircraft on flights"));
    key(&mut state, KeyCode::Enter);
    assert!(shows(&state, "…"), "it is being asked for");
    let asked = state.wanted().question.expect("events");
    assert_eq!(asked.path(&state.overview), "/api/v1/hubs/flights/events?partition=0&from=30066&limit=100");
    let events = vec![event(30_165, "{\"altitude\": 3}"), event(30_100, "old")];
    answer(&mut state, overview(well()), Ok(Detail::Events(events)));
    let lines = frame(&state, 80, 24).join("\n");
    assert!(lines.contains("30165") && lines.contains("waits") && lines.contains("altitude"), "{lines}");
    key(&mut state, KeyCode::Enter);
    let Some(Question::Trace { sequence_number: 30_165, .. }) = state.wanted().question else {
        panic!("a trace is asked for")
    };
    answer(&mut state, overview(well()), Ok(Detail::Trace(timeline(&failed()))));
    assert!(shows(&state, "attempt 1 failed, rejected: no JSON") && shows(&state, "12:00:01.000"));
    for expected in ["partition 0", "aircraft on flights", "functions"] {
        key(&mut state, KeyCode::Esc);
        assert!(shows(&state, expected));
    }
    assert_eq!(state.top().screen, Screen::Functions);
    key(&mut state, KeyCode::Esc);
    assert_eq!(state.top().screen, Screen::Functions, "there is nothing before the first screen");
}

#[test]
fn dead_letters_are_grouped_and_each_leads_to_its_event() {
    let mut state = started();
    key(&mut state, KeyCode::Char('d'));
    let asked = state.wanted().question.expect("groups").path(&state.overview);
    assert!(asked.contains("function=aircraft&hub=flights&status=open,quarantined"), "{asked}");
    answer(&mut state, overview(well()), Ok(Detail::Groups(vec![group("the body is not JSON")])));
    assert!(shows(&state, "80") && shows(&state, "the body is not JSON"));
    key(&mut state, KeyCode::Enter);
    assert!(
        state.wanted().question.expect("letters").path(&state.overview).contains("cause=85944171f73967e8")
    );
    answer(&mut state, overview(well()), Ok(Detail::Letters(vec![letter()])));
    assert!(shows(&state, "flights/3/1204"));
    key(&mut state, KeyCode::Enter);
    assert!(matches!(state.top().screen, Screen::Trace { partition: 3, sequence_number: 1204, .. }));

    let mut state = started();
    key(&mut state, KeyCode::Enter);
    key(&mut state, KeyCode::Enter);
    key(&mut state, KeyCode::Tab);
    assert!(matches!(state.top().screen, Screen::Groups(_, Some(0))));
    key(&mut state, KeyCode::Tab);
    assert!(matches!(state.top().screen, Screen::Events(_, 0)));
}

#[test]
fn an_answer_to_a_screen_that_was_left_is_not_shown() {
    let mut state = started();
    key(&mut state, KeyCode::Char('d'));
    let question = state.wanted().question.expect("groups");
    key(&mut state, KeyCode::Esc);
    key(&mut state, KeyCode::Enter);
    key(&mut state, KeyCode::Enter);
    state.take(Answer::Told {
        overview: Box::new(overview(well())),
        series: [].into(),
        detail: Some((question, Ok(Detail::Groups(vec![group("late")])))),
        server: String::new(),
    });
    assert!(state.detail.is_none());
    answer(&mut state, overview(well()), Err("TG-404: it was deleted\u{1b}[2J".to_owned()));
    assert!(shows(&state, "TG-404: it was deleted\u{fffd}[2J"), "what the server refuses is said");
}

#[test]
fn a_pause_needs_a_reason_and_a_second_key() {
    let mut state = started();
    key(&mut state, KeyCode::Char('p'));
    assert!(
        shows(&state, "aircraft gets no events until it is resumed") && shows(&state, "a reason is needed")
    );
    assert_eq!(key(&mut state, KeyCode::Enter), None, "not without a reason");
    assert_eq!(key(&mut state, KeyCode::Char(' ')), None);
    assert_eq!(key(&mut state, KeyCode::Enter), None, "a blank is none");
    type_in(&mut state, "disk is q");
    key(&mut state, KeyCode::Backspace);
    type_in(&mut state, "full");
    let Some(Effect::Do(act)) = key(&mut state, KeyCode::Enter) else { panic!("it is done") };
    assert_eq!(act.path, "/api/v1/pauses/aircraft/pause");
    assert_eq!(act.request, json!({ "hub": null, "partition": null, "reason": "disk is full" }));
    state.take(Answer::Acted(Ok(act.done)));
    assert!(shows(&state, "aircraft is paused"));

    let mut paused = well();
    paused["functions"][0]["paused"] =
        json!([{ "paused": "aircraft", "since": "2026-11-22T11:00:00Z", "reason": "later", "by": "ann" }]);
    answer(&mut state, overview(paused), Err(String::new()));
    assert!(shows(&state, "1 thing needs a person"));
    key(&mut state, KeyCode::Char('p'));
    assert!(shows(&state, "goes on from its checkpoint"));
    let Some(Effect::Do(act)) = key(&mut state, KeyCode::Enter) else {
        panic!("a resumption needs no reason")
    };
    assert_eq!(act.path, "/api/v1/pauses/aircraft/resume");
    state.take(Answer::Acted(Err("TG-403: not allowed".to_owned())));
    assert!(shows(&state, "TG-403: not allowed"));

    let mut state = started();
    key(&mut state, KeyCode::Enter);
    key(&mut state, KeyCode::Char('j'));
    key(&mut state, KeyCode::Char('p'));
    assert!(shows(&state, "aircraft/flights/1 gets no events"));
    type_in(&mut state, "x");
    let Some(Effect::Do(act)) = key(&mut state, KeyCode::Enter) else { panic!("it is done") };
    assert_eq!(act.request, json!({ "hub": "flights", "partition": 1, "reason": "x" }));
    key(&mut state, KeyCode::Char('p'));
    key(&mut state, KeyCode::Esc);
    assert_eq!(state.over, Over::Nothing, "it is left");
}

#[test]
fn a_server_that_goes_away_is_said_to_and_comes_back() {
    let mut state = started();
    for tries in 1..=3 {
        state.take(Answer::Lost("connection refused\u{1b}".to_owned()));
        assert!(matches!(state.link, Link::Lost { tries: counted, .. } if counted == tries));
    }
    let lines = frame(&state, 80, 24);
    assert!(lines[0].contains("no answer"), "{lines:#?}");
    assert!(lines[22].contains("asked 3 times; this is as of 2026-11-22T12:00:00"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("1,198")), "what was known is still seen");
    answer(&mut state, overview(well()), Err(String::new()));
    assert!(!shows(&state, "no answer"));
}

#[test]
fn rows_are_filtered_and_the_cursor_stays_on_its_row() {
    let mut many = well();
    let one = many["functions"][0].clone();
    let functions: Vec<_> = (0..30)
        .map(|number| {
            let mut function = one.clone();
            function["function"] = json!(format!("function-{number:02}"));
            function
        })
        .collect();
    many["functions"] = json!(functions);
    let mut state = State::new(String::new(), overview(many.clone()));
    key(&mut state, KeyCode::Char('G'));
    assert_eq!(state.chosen(), Some("function-29/flights"));
    assert!(shows(&state, "function-29"), "the rows scroll");
    key(&mut state, KeyCode::Char('k'));
    many["functions"].as_array_mut().expect("functions").remove(0);
    answer(&mut state, overview(many), Err(String::new()));
    assert_eq!(state.chosen(), Some("function-28/flights"), "one went, and the cursor is where it was");
    key(&mut state, KeyCode::Char('/'));
    type_in(&mut state, "ON-1");
    key(&mut state, KeyCode::Enter);
    assert_eq!(state.rows().rows.len(), 10);
    assert!(shows(&state, "only ON-1"));
    key(&mut state, KeyCode::Home);
    assert_eq!(state.chosen(), Some("function-10/flights"));
    key(&mut state, KeyCode::Esc);
    assert_eq!(state.rows().rows.len(), 29);
    key(&mut state, KeyCode::Char('/'));
    type_in(&mut state, "nothing like it");
    assert_eq!(state.rows().rows.len(), 0);
    key(&mut state, KeyCode::Esc);
    assert_eq!(state.rows().rows.len(), 29);
}

#[test]
fn words_say_what_colours_say() {
    let mut changed = well();
    changed["functions"][0]["circuit"]["state"] = json!("open");
    changed["functions"][0]["dead_letters"] = json!(3);
    let state = State::new(String::new(), overview(changed));
    let plain = terminal(&state, false, 120, 30);
    for cell in plain.backend().buffer().content() {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
    }
    assert!(frame(&state, 120, 30).iter().any(|line| line.contains("aircraft") && line.contains("open")));
    let coloured = terminal(&state, true, 120, 30);
    assert!(coloured.backend().buffer().content().iter().any(|cell| cell.fg == Color::Red));
}

#[test]
fn help_is_over_everything_and_any_key_ends_it() {
    let mut state = started();
    key(&mut state, KeyCode::Char('?'));
    assert!(shows(&state, "pause or resume the function or the partition"));
    assert_eq!(key(&mut state, KeyCode::Char('q')), None);
    assert_eq!(key(&mut state, KeyCode::Char('q')), Some(Effect::Quit));
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    key(&mut state, KeyCode::Char('/'));
    assert_eq!(press(&mut state, control_c), Some(Effect::Quit), "whatever is open");
}

fn any_key() -> impl Strategy<Value = KeyCode> {
    let named = vec![
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Tab,
        KeyCode::Backspace,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::PageDown,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::F(1),
    ];
    let letters: Vec<char> = "jkgGhladep/?日\u{7}".chars().collect();
    prop_oneof![prop::sample::select(named), prop::sample::select(letters).prop_map(KeyCode::Char),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is typed at whatever size, and whatever is in the events: there is a frame, and it commands nothing.
    #[test]
    fn a_frame_is_text_and_nothing_else(
        keys in prop::collection::vec(any_key(), 0..30),
        width in 1_u16..200,
        height in 1_u16..60,
    ) {
        let mut hostile = well();
        hostile["version"] = json!(HOSTILE);
        hostile["hubs"][0]["hub"] = json!(HOSTILE);
        for member in ["function", "hub", "collection", "kind", "order"] {
            hostile["functions"][0][member] = json!(HOSTILE);
        }
        hostile["functions"][0]["lanes"][0]["detail"] = json!(HOSTILE);
        hostile["functions"][0]["lanes"][1]["watchdog"] = json!(HOSTILE);
        hostile["functions"][0]["circuit"]["state"] = json!(HOSTILE);
        hostile["functions"][0]["circuit"]["reason"] = json!(HOSTILE);
        hostile["alerts"] = json!([{ "id": "1", "kind": HOSTILE, "subject": HOSTILE, "since": "2026-11-22T11:00:00Z",
            "what": HOSTILE, "severity": HOSTILE, "open": true, "steps": [] }]);
        let mut state = State::new(HOSTILE.to_owned(), overview(hostile.clone()));
        for code in keys {
            if let Some(Effect::Do(act)) = key(&mut state, code) {
                state.take(Answer::Acted(Err(format!("{HOSTILE} {}", act.path))));
            }
            let detail = match state.wanted().question {
                Some(Question::Events { .. }) => Detail::Events(vec![event(1, HOSTILE), event(0, "")]),
                Some(Question::Groups { .. }) => Detail::Groups(vec![group(HOSTILE)]),
                Some(Question::Letters { .. }) => Detail::Letters(vec![letter()]),
                _ => Detail::Trace(timeline(&failed())),
            };
            answer(&mut state, overview(hostile.clone()), Ok(detail));
            for line in frame(&state, width, height) {
                let clean = |character: char| !character.is_control() && character != '\u{202e}';
                prop_assert!(line.chars().all(clean), "{line:?}");
            }
        }
    }
}

#[test]
fn a_large_terminal_shows_more_and_nothing_is_cut_that_has_room() {
    let mut state = started();
    for (width, height) in [(80, 24), (200, 60)] {
        let lines = frame(&state, width, height);
        assert_eq!(lines.len(), usize::from(height));
        assert!(lines.iter().any(|line| line.contains("aircraft")), "{lines:#?}");
        assert!(!lines.last().unwrap().is_empty(), "the keys are told at the bottom: {lines:#?}");
    }
    // The same rows, with what an 80 columns wide terminal has no room for.
    let narrow: usize = frame(&state, 80, 24).iter().map(|line| line.trim().chars().count()).sum();
    let wide: usize = frame(&state, 200, 60).iter().map(|line| line.trim().chars().count()).sum();
    assert!(wide > narrow, "{wide} {narrow}");
    key(&mut state, KeyCode::Char('?'));
    assert!(frame(&state, 200, 60).iter().any(|line| line.contains("quit")));
}

/// Names the directory of a test to the process that panics.
const PANICS: &str = "TIDEGATE_TEST_TOP_PANICS";

/// Run by the test below in a process of its own, on a terminal; does nothing otherwise.
#[test]
fn panics_with_the_terminal_taken() {
    if std::env::var_os(PANICS).is_none() {
        return;
    }
    let mut screen = super::Taken::new().expect("there is a terminal");
    screen.terminal.draw(|frame| draw(frame, &started(), Theme { colour: true })).expect("it is drawn");
    panic!("on purpose");
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_told() {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).expect("it takes a size");
    let name = ptsname(&master, Vec::new()).expect("it has a name");
    let terminal = std::fs::File::options().read(true).write(true).open(name.to_str().expect("a path"));
    let terminal = terminal.expect("it is opened");
    let before = tcgetattr(&terminal).expect("it tells its modes");
    let stdio = || Stdio::from(terminal.try_clone().expect("it is shared"));
    let mut child = Command::new(std::env::current_exe().expect("this test program"))
        .args(["--exact", "cli::top::tests::panics_with_the_terminal_taken", "--nocapture"])
        .env(PANICS, "1")
        .env("RUST_BACKTRACE", "0")
        .env("TERM", "xterm-256color")
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio())
        .spawn()
        .expect("it starts");
    let mut output = std::fs::File::from(master);
    let reader = std::thread::spawn(move || {
        let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
        // A terminal that nobody has open any more cannot be read.
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            all.extend_from_slice(&bytes[..count]);
        }
        all
    });
    assert!(!child.wait().expect("it ends").success(), "it panicked");
    let after = tcgetattr(&terminal).expect("it tells its modes");
    assert!(after.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO), "{:?}", after.local_modes);
    assert_eq!((before.local_modes, before.input_modes), (after.local_modes, after.input_modes));
    drop(terminal);
    let written = reader.join().expect("the reader ends");
    let mut screen = vt100::Parser::new(24, 80, 0);
    screen.process(&written);
    let screen = screen.screen();
    assert!(!screen.alternate_screen() && !screen.hide_cursor(), "the screen is given back");
    assert!(screen.contents().contains("on purpose"), "the panic is read on it: {}", screen.contents());
    let text = String::from_utf8_lossy(&written);
    assert!(text.contains("\u{1b}[?1049h"), "it had taken the screen");
}
