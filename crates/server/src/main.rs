//! The `tidegate` program.

use std::process::ExitCode;

/// Documents are allocated by one thread and freed by another all the time, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tidegate::Program::new().main()
}
