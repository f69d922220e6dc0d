//! Logs: to standard error, as much as `TIDEGATE_LOG` asks for.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// The variable that says how much is logged, such as `info` or `tidegate_host=debug`.
const VARIABLE: &str = "TIDEGATE_LOG";

/// Begins to log. A server tells what it does; a command only what is odd, since it reports its own errors.
pub(crate) fn init(is_server: bool) {
    let default = if is_server { "info" } else { "warn,tidegate_gateway=off,tidegate_eventlog::fsck=off" };
    let filter = match std::env::var(VARIABLE) {
        Ok(wanted) => EnvFilter::try_new(&wanted).unwrap_or_else(|error| {
            eprintln!("warning: {VARIABLE}={wanted:?} is not understood ({error}); using {default:?}");
            EnvFilter::new(default)
        }),
        Err(_) => EnvFilter::new(default),
    };
    let colour =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // A program that embeds this one may have set up its own logging; that one stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .try_init();
}
