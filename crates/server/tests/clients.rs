//! The official clients of Event Hubs, unmodified, against the program: one test for each, which shows the tests of its
//! suite as they run. What the suites check is in `clients/`.
//!
//! The first run installs the clients, which takes minutes; later ones find them (`TIDEGATE_CLIENTS_CACHE`, or
//! `target/clients`). A suite whose language is not on this machine is ignored, and says so; where `CI` is set it fails.

use std::path::Path;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tidegate_clients::{Ended, Shown, Suite, run};

fn main() {
    let mut arguments = Arguments::from_args();
    // All at the same time: they mostly wait, and the first time one of them is built meanwhile.
    arguments.test_threads = Some(Suite::ALL.len());
    let trials = Suite::ALL.map(|suite| {
        Trial::ignorable_test(format!("official_{}_client", suite.name()), move || official_client(suite))
    });
    libtest_mimic::run(&arguments, trials.into()).exit();
}

fn official_client(suite: Suite) -> Result<Completion, Failed> {
    let ended = run(suite, Path::new(env!("CARGO_BIN_EXE_tidegate")), &[], Shown::BesideOthers)?;
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
