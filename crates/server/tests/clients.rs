//! The official clients of Event Hubs, unmodified, against the program: one test for each, which shows the tests of its
//! suite as they run. What the suites check is in `clients/`.
//!
//! They run with `-- --include-ignored`, or as `cargo xtask clients`. The first run installs the clients, which takes minutes. A suite whose language is not on this machine is ignored, and
//! says so; where `CI` is set it fails.

use std::path::Path;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tidegate_clients::{Ended, Suite, run};

fn main() {
    let mut arguments = Arguments::from_args();
    // A suite's own tests take turns, and what they say is to be read.
    arguments.test_threads = Some(1);
    let trials = Suite::ALL.map(|suite| {
        Trial::ignorable_test(format!("official_{}_client", suite.name()), move || official_client(suite))
            .with_ignored_flag(true)
    });
    libtest_mimic::run(&arguments, trials.into()).exit();
}

fn official_client(suite: Suite) -> Result<Completion, Failed> {
    let ended = run(suite, Path::new(env!("CARGO_BIN_EXE_tidegate")), &[])?;
    match ended {
        Ended::Passed => Ok(Completion::Completed),
        Ended::Failed => Err("tests of the suite failed, see above".into()),
        Ended::Missing(tool) if std::env::var_os("CI").is_some() => Err(tool.to_string().into()),
        Ended::Missing(tool) => {
            eprintln!("\nNOT RUN: the suite of the official {} client: {tool}\n", suite.name());
            Ok(Completion::ignored_with(tool))
        }
    }
}
