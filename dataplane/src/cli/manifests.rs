//! `-f PATH...`, and what every command that reads manifests does with problems.

use std::{io::Write, path::PathBuf};

use clap::Args;

use crate::config::local::{Loaded, Loader, problem::Problem, values::Values};

/// Where manifests are.
#[derive(Debug, Args)]
pub(super) struct Manifests {
    /// Files with AIProviders, AIRoutes, ApiTokens, Secrets and ConfigMaps, or directories of them. `${NAME}` in a
    /// Secret's stringData becomes that environment variable.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
}

impl Manifests {
    pub(super) fn loader(&self, values: Values) -> anyhow::Result<Loader> {
        Ok(Loader::new(self.paths.clone(), values)?)
    }

    /// Reads once, for a look: tokens without a Secret get a placeholder.
    pub(super) fn look(&self) -> anyhow::Result<Loaded> {
        Ok(self.loader(Values::Placeholder)?.load(&environment))
    }
}

/// The process's own.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// One line each.
pub(super) fn tell(out: &mut impl Write, word: &str, problems: &[Problem]) -> std::io::Result<()> {
    problems.iter().try_for_each(|problem| writeln!(out, "{word}: {problem}"))
}
