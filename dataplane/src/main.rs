//! The `routeapi` program: reads the command line and hands over.

use std::process::ExitCode;

use clap::Parser;
use routeapi_dataplane::cli::{self, Cli};
use tikv_jemallocator::Jemalloc;

// Gives memory back after a burst; the root Cargo.toml says how it was chosen.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(error) => cli::refuse(&error),
    }
}
