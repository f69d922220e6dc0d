//! The official clients of Event Hubs, unmodified, against the program: one test for each, which shows the tests of its
//! suite as they run. What the suites check is in `clients/`.
//!
//! The first run installs the clients, which takes minutes; later ones find them (`TIDEGATE_CLIENTS_CACHE`, or
//! `target/clients`). A suite whose language is not on this machine is ignored, and says so; where `CI` is set it fails.

use std::path::Path;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tidegate_clients::{Ended, Suite, prepare, run};

fn main() {
    let mut arguments = Arguments::from_args();
    // A suite's own tests take turns, and what they say is to be read.
    arguments.test_threads = Some(1);
    let runs_all = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.list;
    let trials = Suite::ALL.map(|suite| {
        Trial::ignorable_test(format!("official_{}_client", suite.name()), move || {
            if runs_all && suite == Suite::ALL[0] {
                build_meanwhile();
            }
            official_client(suite)
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit();
}

/// Builds the Rust client, which takes longest, while the suites of the others run, which mostly wait.
fn build_meanwhile() {
    std::thread::spawn(|| {
        // Its suite builds again, finds it done, or tells what is wrong.
        let _ = prepare(Suite::Rust);
    });
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
