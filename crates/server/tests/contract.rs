//! The program keeps to its OpenAPI document, as schemathesis finds out.
//!
//! The first run installs schemathesis, which takes a minute; later ones find it (`TIDEGATE_CLIENTS_CACHE`, or
//! `target/clients`). Without Python on this machine the test is ignored, and says so; where `CI` is set it fails.

use std::path::Path;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tidegate_clients::{Ended, contract};

fn main() {
    let arguments = Arguments::from_args();
    let trial = Trial::ignorable_test("the_answers_are_what_the_openapi_document_says", held_to_it);
    libtest_mimic::run(&arguments, vec![trial]).exit();
}

fn held_to_it() -> Result<Completion, Failed> {
    match contract(Path::new(env!("CARGO_BIN_EXE_tidegate")), &[])? {
        Ended::Passed => Ok(Completion::Completed),
        Ended::Failed => Err("answers are not what the document says, see above".into()),
        Ended::Missing(tool) if std::env::var_os("CI").is_some() => Err(tool.to_string().into()),
        Ended::Missing(tool) => {
            eprintln!("\nNOT RUN: the OpenAPI document against the program: {tool}\n");
            Ok(Completion::ignored_with(tool))
        }
    }
}
