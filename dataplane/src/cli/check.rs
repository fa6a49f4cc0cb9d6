//! `routeapi check`: everything that is wrong with manifests, as an API server and the operator would say it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args as ClapArgs;

use super::manifests::{self, Manifests};

const EXAMPLES: &str = "\
Examples:
  routeapi check -f examples/quickstart.yaml
  routeapi check -f base/ overlays/prod/

Each line names file, line, object and field. Exit code 1 if anything is wrong.";

/// What `check` takes.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    manifests: Manifests,
}

/// Says what is wrong.
pub(super) fn check(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = args.manifests.look()?;
    let mut out = io::stdout().lock();
    manifests::tell(&mut out, "note", &loaded.notices)?;
    manifests::tell(&mut out, "error", &loaded.problems)?;
    let counts: Vec<String> = loaded.counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let objects = if counts.is_empty() { "nothing to serve from".to_owned() } else { counts.join(", ") };
    match loaded.problems.len() {
        0 => writeln!(out, "ok: {objects}")?,
        1 => writeln!(out, "1 problem in: {objects}")?,
        problems => writeln!(out, "{problems} problems in: {objects}")?,
    }
    Ok(if loaded.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
