//! `tidegate top`: functions and partitions as they run, live on the terminal.
//!
//! ```text
//! keys ──► press ──► State ──► draw ──► the terminal
//!                    ▲   │ what the screen needs
//!             answers└── feed ──► the API, once a second
//! ```
//!
//! The state and the frame are pure; this file has the terminal, `feed` the API.

mod detail;
mod feed;
mod keys;
mod rows;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal as _};

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use tidegate_model::error::ErrorCode;

use crate::cli::Context;
use crate::cli::output::colours_are_wanted;
use crate::cli::target::Target;
use crate::cli::top::feed::Feed;
use crate::cli::top::keys::{Effect, press};
use crate::cli::top::state::{Act, Answer, State, Wanted};
use crate::cli::top::view::{Theme, draw};
use crate::failure::{Exit, Failure};

/// How many acts wait for the API at most: each was confirmed by a person.
const MOST_ACTS: usize = 8;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(args: Args, context: Context) -> Result<Exit, Failure> {
    refuse_without_terminal()?;
    // What goes wrong here is told before the terminal is taken.
    let (feed, server, overview) = Feed::open(args.target, context.clock).await?;
    let mut state = State::new(server, overview);
    let (want, wanted) = watch::channel(state.wanted());
    let (acts, to_do) = mpsc::channel(MOST_ACTS);
    let (answer, mut answers) = mpsc::channel(1);
    let feed = tokio::spawn(feed.run(wanted, to_do, answer));

    let ended = {
        let mut screen = Taken::new()?;
        follow(&mut screen, &mut state, &want, &acts, &mut answers).await
    };
    drop((want, acts, answers));
    ended?;
    // It ends by itself now that nobody listens; an answer that is under way is not waited for.
    if feed.is_finished()
        && let Err(error) = feed.await
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
    Ok(Exit::Done)
}

/// Shows the state until a person or a signal ends it.
async fn follow(
    screen: &mut Taken,
    state: &mut State,
    want: &watch::Sender<Wanted>,
    acts: &mpsc::Sender<Act>,
    answers: &mut mpsc::Receiver<Answer>,
) -> Result<(), Failure> {
    let theme = Theme { colour: colours_are_wanted() };
    let mut events = EventStream::new();
    let mut signals = Signals::new()?;
    loop {
        screen.terminal.draw(|frame| draw(frame, state, theme)).map_err(terminal_failure)?;
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) => match press(state, key) {
                    Some(Effect::Quit) => return Ok(()),
                    Some(Effect::Do(act)) => match acts.try_send(act) {
                        Ok(()) => {}
                        Err(_) => state
                            .take(Answer::Acted(Err("nothing was done: the server does not answer".to_owned()))),
                    },
                    None => {}
                },
                // A resize is drawn by the next turn.
                Some(Ok(_)) => {}
                // The terminal is gone.
                Some(Err(_)) | None => return Ok(()),
            },
            answer = answers.recv() => match answer {
                Some(answer) => state.take(answer),
                None => return Ok(()),
            },
            () = signals.any() => return Ok(()),
        }
        let new = state.wanted();
        want.send_if_modified(|wanted| {
            // Another screen is answered at once; where only the cursor moved, the next second will do.
            let now = wanted.question != new.question;
            *wanted = new;
            now
        });
    }
}

/// The terminal as `top` needs it. However this ends, also by a panic, the terminal is as it was before.
struct Taken {
    terminal: ratatui::DefaultTerminal,
}

impl Taken {
    fn new() -> Result<Self, Failure> {
        // A panic restores the terminal before it is told of.
        ratatui::try_init().map(|terminal| Self { terminal }).map_err(|error| {
            ratatui::restore();
            terminal_failure(error)
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // A terminal that has gone away needs no restoring.
        let _ = self.terminal.show_cursor();
        // A panic has given the screen back and is told on it. Doing that again would set the cursor back, and what is written
        // next would cover what was told.
        if !std::thread::panicking() {
            let _ = ratatui::try_restore();
        }
    }
}

/// The signals that end a program.
struct Signals([Signal; 4]);

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(terminal_failure);
        Ok(Self([
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
            listen(SignalKind::interrupt())?,
            listen(SignalKind::quit())?,
        ]))
    }

    async fn any(&mut self) {
        let [one, two, three, four] = &mut self.0;
        tokio::select! {
            _ = one.recv() => {}
            _ = two.recv() => {}
            _ = three.recv() => {}
            _ = four.recv() => {}
        }
    }
}

fn refuse_without_terminal() -> Result<(), Failure> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb {
        return Ok(());
    }
    Err(Failure::usage(
        ErrorCode::BAD_REQUEST,
        "top is for a terminal, and this is none that can be drawn on",
    )
    .help("`tidegate status` tells the same once, and `tidegate status --json` tells it to a program"))
}

fn terminal_failure(error: io::Error) -> Failure {
    Failure::new(ErrorCode::DATA_DIR_IO, format!("the terminal cannot be used: {error}"))
        .help("`tidegate status` needs no terminal")
}
