//! The `routeapi` program: reads the command line and hands over.

use std::process::ExitCode;

use clap::Parser;
use routeapi_dataplane::cli::{self, Cli};

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(error) => cli::refuse(&error),
    }
}
