//! The `tidegate` program with the function `aircraft` in it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::Program::new().function(tidegate_example_flights::function()).main()
}
