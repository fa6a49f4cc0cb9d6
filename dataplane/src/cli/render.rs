//! `routeapi render`: the snapshot that manifests compile to.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args as ClapArgs;
use routeapi_crds::yaml;

use super::manifests::{self, Look};

const EXAMPLES: &str = "\
Examples:
  routeapi render -f examples/quickstart.yaml
  routeapi render -f examples/multi-vendor --complete

Prints the configuration that a data plane would receive, with upstream keys redacted. Objects with problems are left
out, as in a cluster, and the exit code is 1. A token without a Secret has the hash of a placeholder. Environment
variables do not have to be set.";

/// What `render` takes.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    manifests: Look,
}

/// Prints YAML.
pub(super) fn render(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = args.manifests.load()?;
    manifests::remarks(&mut io::stderr().lock(), &loaded)?;
    manifests::print(&mut io::stderr().lock(), "error", &loaded.problems)?;
    let text = yaml::write(&loaded.compiled.snapshot.redacted())?;
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(if loaded.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
