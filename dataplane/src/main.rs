//! The `routeapi` program: reads the command line and hands over.

use std::process::ExitCode;

use clap::Parser;
use routeapi_dataplane::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
