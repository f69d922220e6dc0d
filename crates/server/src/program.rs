//! The program, to be run as it is or with functions of one's own.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;

use tidegate_model::clock::SystemClock;
use tidegate_model::error::ErrorCode;
use tidegate_model::ports::Function;

use crate::cli::{Cli, Context};
use crate::failure::{Exit, Failure};
use crate::functions::Registry;
use crate::logging;

/// The `tidegate` program with functions of one's own.
///
/// A function takes part when the configuration names it: a table `[function.NAME]` with `kind = "rust"` and the
/// function's own name.
///
/// ```no_run
/// use std::process::ExitCode;
/// use tidegate::Program;
/// # fn my_function() -> tidegate::Function { unimplemented!() }
///
/// fn main() -> ExitCode {
///     Program::new().function(my_function()).main()
/// }
/// ```
#[derive(Default)]
pub struct Program {
    registry: Registry,
}

impl Program {
    /// The program without functions of one's own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Brings a function along. One of the same name is replaced.
    #[must_use]
    pub fn function(mut self, function: impl Into<Arc<dyn Function>>) -> Self {
        self.registry.register(function.into());
        self
    }

    /// Does what the command line asks for.
    pub fn main(self) -> ExitCode {
        self.run(std::env::args_os())
    }

    /// Does what a command line asks for; its first word is the program's name.
    pub fn run(self, command_line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
        let cli = match Cli::try_parse_from(command_line) {
            Ok(cli) => cli,
            Err(answer) => {
                // Help and version come this way too. A closed standard output changes nothing about the exit code.
                let _ = answer.print();
                return if answer.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
            }
        };
        let clock = SystemClock::shared();
        logging::init(cli.voice(), &clock);
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let message = format!("the operating system does not give the program threads: {error}");
                return report(&Failure::new(ErrorCode::DATA_DIR_IO, message));
            }
        };
        let context = Context { registry: self.registry, clock };
        let result = runtime.block_on(cli.run(context));
        // What still runs was abandoned on purpose; nothing waits for it.
        runtime.shutdown_background();
        match result {
            Ok(exit) => exit.into(),
            Err(failure) => report(&failure),
        }
    }
}

fn report(failure: &Failure) -> ExitCode {
    if !failure.problems.is_empty() {
        // Nobody is left to tell if standard error is closed.
        let _ = writeln!(std::io::stderr(), "{failure}");
    }
    failure.exit.into()
}
