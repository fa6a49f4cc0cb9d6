//! `-f PATH...`, and what every command that reads manifests does with problems.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;
use routeapi_compile::Publishers;

use crate::config::local::{Loaded, Loader, problem::ManifestProblem, values::Values};

/// Where manifests are.
#[derive(Debug, Args)]
pub(super) struct Manifests {
    /// Manifests (YAML or JSON) with AIProviders, AIRoutes, ApiTokens, Secrets and ConfigMaps: files, directories, or -
    /// for standard input. `${NAME}` in a Secret's stringData becomes that environment variable.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// Read the subdirectories of directories too.
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Accept manifests that hold no object, or from which all objects of a kind have gone. Otherwise that is an error,
    /// and `run` keeps what is in force: an editor that truncates a file for a moment would revoke every token.
    #[arg(long)]
    allow_empty: bool,

    /// Apply a cluster's rule for who may publish models to other namespaces: these namespaces, the release's first, and
    /// those with the label routeapi.dev/publish-models. Without it, every namespace may.
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    publish_namespaces: Vec<String>,
}

/// Manifests that are only looked at.
#[derive(Debug, Args)]
pub(super) struct Look {
    #[command(flatten)]
    manifests: Manifests,
    /// Report everything that the manifests refer to and do not hold, as `run` does. Without it, Secrets, ConfigMaps,
    /// AIProviders and namespace labels that are not there are assumed to be elsewhere, and what is assumed is printed.
    #[arg(long)]
    complete: bool,
}

impl Manifests {
    pub(super) fn loader(&self, values: Values) -> anyhow::Result<Loader> {
        let loader = Loader::new(self.paths.clone(), values)?;
        let loader = loader.allow_empty(self.allow_empty).recursive(self.recursive);
        Ok(loader.with_publishers(self.publishers()))
    }

    /// Whether standard input is among them.
    fn is_stdin(&self) -> bool {
        self.paths.iter().any(|path| path.as_os_str() == "-")
    }

    fn publishers(&self) -> Publishers {
        match self.publish_namespaces.split_first() {
            None => Publishers::Any,
            Some((first, listed)) => {
                Publishers::Granted { first: first.clone(), listed: listed.iter().cloned().collect() }
            }
        }
    }
}

impl Look {
    /// Reads once: tokens without a Secret get a placeholder.
    pub(super) fn load(&self) -> anyhow::Result<Loaded> {
        let mut loader = self.manifests.loader(Values::Placeholder)?.partial(!self.complete);
        Ok(loader.load(&environment))
    }

    pub(super) fn is_stdin(&self) -> bool {
        self.manifests.is_stdin()
    }
}

/// The process's own.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Everything that is said of manifests beside what is wrong with them.
pub(super) fn remarks(out: &mut impl Write, loaded: &Loaded) -> io::Result<()> {
    print(out, "note", &loaded.notices)?;
    print(out, "assumed", &loaded.assumptions)?;
    print(out, "warning", &loaded.warnings)
}

/// One line each.
pub(super) fn print(out: &mut impl Write, word: &str, problems: &[ManifestProblem]) -> io::Result<()> {
    problems.iter().try_for_each(|problem| writeln!(out, "{word}: {problem}"))
}
