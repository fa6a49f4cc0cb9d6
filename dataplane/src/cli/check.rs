//! `routeapi check`: everything that is wrong with manifests, as an API server and the operator would say it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args as ClapArgs;

use super::manifests::{self, Look};
use crate::config::local::{Loaded, problem::ManifestProblem};

const EXAMPLES: &str = "\
Examples:
  routeapi check -f examples/quickstart.yaml
  routeapi check -R -f examples/multi-vendor
  cat examples/quickstart.yaml | routeapi check -f -
  routeapi check -f examples/multi-vendor --complete

Each line names file, line, object and field. `warning` marks what is accepted but probably a mistake, `assumed` what is
needed but not in these manifests. Environment variables do not have to be set. The exit code is 1 if anything is wrong,
or if there is nothing to check.";

/// What `check` takes.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    manifests: Look,
}

/// Says what is wrong.
pub(super) fn check(args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = args.manifests.load()?;
    let mut out = io::stdout().lock();
    manifests::remarks(&mut out, &loaded)?;
    manifests::print(&mut out, "error", &loaded.problems)?;
    writeln!(out, "{}", summary(&loaded))?;
    Ok(if loaded.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(loaded: &Loaded) -> String {
    let counts: Vec<String> = loaded.counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    match (loaded.problems.len(), loaded.assumptions.is_empty()) {
        (0, _) if counts.is_empty() => "nothing to check (accepted because of --allow-empty)".to_owned(),
        (0, true) => format!("ok: {}", counts.join(", ")),
        (0, false) => format!("ok, if the assumptions hold: {}", counts.join(", ")),
        (1, _) => format!("1 problem in {}", places(&loaded.problems)),
        (problems, _) => format!("{problems} problems in {}", places(&loaded.problems)),
    }
}

/// The objects that have the problems, each once, else the files.
fn places(problems: &[ManifestProblem]) -> String {
    let mut places: Vec<String> = Vec::new();
    for problem in problems {
        let file = || problem.origin.as_ref().map(|origin| origin.file.display().to_string());
        let place = problem.object.clone().or_else(file).unwrap_or_else(|| "the environment".to_owned());
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_names_each_object_once_or_its_file() {
        let about = |object: Option<&str>| ManifestProblem {
            object: object.map(str::to_owned),
            ..ManifestProblem::in_file("a.yaml", 1, "spec: x")
        };
        let problems = vec![about(Some("AIRoute ai/r")), about(None), about(Some("AIRoute ai/r"))];
        let loaded = Loaded { problems, ..Loaded::default() };
        assert_eq!(summary(&loaded), "3 problems in AIRoute ai/r, a.yaml");
    }
}
