//! Automation in Rust: `cargo xtask` lists what there is.

mod bench;
mod clients;
mod contract;
mod fuzz;
mod program;
mod sim;

/// The same allocator as the program's, so that the benchmark measures what users run.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Automation of the Tidegate tree")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measures what Tidegate does on this machine. Never a test: compare ratios of one run.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Runs the whole system from seeds, with everything that can go wrong, and checks every promise.
    Sim(sim::Sim),
    /// Throws hostile bytes at the codec, the state machines and a server.
    Fuzz(fuzz::Fuzz),
    /// Runs the official clients of Event Hubs, unmodified, against the program.
    Clients(clients::Clients),
    /// Holds the program to its OpenAPI document: schemathesis asks it everything the document allows, and more.
    Contract(contract::Contract),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().task {
        Task::Bench(bench) => bench::run(bench)?,
        Task::Sim(options) => sim::simulate(&options)?,
        Task::Fuzz(options) => fuzz::fuzz(&options)?,
        Task::Clients(options) => return clients::clients(&options),
        Task::Contract(options) => return contract::hold(&options),
    }
    Ok(ExitCode::SUCCESS)
}
