//! `-f PATH...`, and what every command that reads manifests does with problems.

use std::{io::Write, path::PathBuf};

use clap::Args;
use routeapi_compile::Publishers;

use crate::config::local::{Loaded, Loader, problem::Problem, values::Values};

/// Where manifests are.
#[derive(Debug, Args)]
pub(super) struct Manifests {
    /// Files with AIProviders, AIRoutes, ApiTokens, Secrets and ConfigMaps, or directories of them. `${NAME}` in a
    /// Secret's stringData becomes that environment variable.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// Take it as meant when files hold no object, or when all objects of a kind are gone. Otherwise that is an error, and
    /// `run` keeps what is in force: an editor that truncates a file for a moment would revoke every token.
    #[arg(long)]
    allow_empty: bool,

    /// Apply a cluster's rule for who may publish models to other namespaces: these namespaces, the release's first, and
    /// those with the label routeapi.dev/publish-models. Without it, every namespace may.
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    publish_namespaces: Vec<String>,
}

impl Manifests {
    pub(super) fn loader(&self, values: Values) -> anyhow::Result<Loader> {
        let loader = Loader::new(self.paths.clone(), values)?;
        Ok(loader.allow_empty(self.allow_empty).with_publishers(self.publishers()))
    }

    fn publishers(&self) -> Publishers {
        match self.publish_namespaces.split_first() {
            None => Publishers::Any,
            Some((first, listed)) => {
                Publishers::Granted { first: first.clone(), listed: listed.iter().cloned().collect() }
            }
        }
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
