//! The `tidegate` program with the function `drones` in it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::Program::new().function(tidegate_example_drones::function()).main()
}
