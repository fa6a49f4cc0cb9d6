//! `-f PATH...`, and what every command that reads manifests does with problems.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use routeapi_compile::Publishers;

use crate::{
    config::local::{Loaded, Loader, problem::ManifestProblem, values::Values},
    upstream::CloudEnvironment,
};

/// Where manifests are.
#[derive(Debug, Args)]
pub(super) struct Manifests {
    /// Manifests (YAML or JSON) with AIProviders, AIRoutes, ApiTokens, Secrets and ConfigMaps: files, directories, or -
    /// for standard input. `${NAME}` in a Secret's stringData is replaced by that environment variable.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// Also read subdirectories.
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Accept manifests without any object, or from which all objects of a kind were removed. Otherwise that is an error,
    /// and `run` keeps the previous configuration: an editor that briefly truncates a file would revoke every token.
    #[arg(long)]
    allow_empty: bool,

    /// Namespaces that may publish models to other namespaces, as in a cluster: the release's namespace first. Namespaces
    /// with the label routeapi.dev/publish-models may as well. Default: every namespace may.
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    publish_namespaces: Vec<String>,
}

/// Manifests that are only looked at.
#[derive(Debug, Args)]
pub(super) struct Look {
    #[command(flatten)]
    manifests: Manifests,
    /// Report everything that the manifests refer to but do not contain, as `run` does. Without it, missing Secrets,
    /// ConfigMaps, AIProviders and namespace labels are assumed to exist, and each assumption is printed.
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

/// The identity at clouds that it gives this process.
pub(super) fn cloud() -> CloudEnvironment {
    CloudEnvironment::read(environment, |path| Path::new(path).exists())
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
