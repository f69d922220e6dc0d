//! Logs: to standard error, as much as `TIDEGATE_LOG` asks for; and of a server also to where they can be searched.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tidegate_model::clock::SharedClock;
use tidegate_telemetry::logs::{Inbox, LogLayer, StandardError};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// The variable that says how much is logged, such as `info` or `tidegate_host=debug`.
const VARIABLE: &str = "TIDEGATE_LOG";

/// The variable that says in which form: `text`, or `json` for one object a line.
const FORMAT: &str = "TIDEGATE_LOG_FORMAT";

/// What a server says on standard error when nothing else is asked for. What becomes of single events is only kept.
const SAID: &str = "info,tidegate::events=off";

/// What of a server's lines is kept.
const KEPT: &str = "info";

/// The lines of this program on their way to where they are kept: `tracing` has one place for them in a process.
static KEPT_LINES: OnceLock<Inbox> = OnceLock::new();

/// The lines that are to be kept.
pub(crate) fn kept_lines() -> Inbox {
    KEPT_LINES.get_or_init(Inbox::default).clone()
}

/// Who logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    /// It tells what it does.
    Server,
    /// It tells what is odd, and shows by itself what becomes of its events.
    Demo,
    /// It tells what is odd; it reports its own errors.
    Command,
}

impl Voice {
    /// What is said on standard error when nothing else is asked for.
    fn said(self) -> &'static str {
        match self {
            Self::Server => SAID,
            Self::Demo => "warn,tidegate::events=off,tidegate_gateway=off",
            Self::Command => "warn,tidegate_gateway=off,tidegate_eventlog::fsck=off",
        }
    }
}

/// Begins to log.
pub(crate) fn init(voice: Voice, clock: &SharedClock) {
    let default = voice.said();
    let filter = match std::env::var(VARIABLE) {
        Ok(wanted) => EnvFilter::try_new(&wanted).unwrap_or_else(|error| {
            eprintln!("warning: {VARIABLE}={wanted:?} is not understood ({error}); using {default:?}");
            EnvFilter::new(default)
        }),
        Err(_) => EnvFilter::new(default),
    };
    let said = match std::env::var(FORMAT).as_deref() {
        Ok("json") => LogLayer::new(StandardError, clock.clone()).boxed(),
        other => {
            if let Ok(wanted) = other.map_err(drop)
                && !matches!(wanted, "" | "text")
            {
                eprintln!("warning: {FORMAT}={wanted:?} is neither \"text\" nor \"json\"; using \"text\"");
            }
            let colour = std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour).boxed()
        }
    };
    let keeps = voice != Voice::Command;
    let kept = keeps.then(|| LogLayer::new(kept_lines(), clock.clone()).with_filter(EnvFilter::new(KEPT)));
    // A program that embeds this one may have set up its own logging; that one stays.
    let _ = tracing_subscriber::registry().with(said.with_filter(filter)).with(kept).try_init();
}
