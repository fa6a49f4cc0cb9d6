//! Reads the manifests again when a file changes. A broken edit changes nothing: every problem is told and what runs
//! keeps running. An edit without effect is not worth a word.

use routeapi_compile::Compiled;

use super::{Environment, Loaded, Loader, problem::Problem};
use crate::file_watch::FileWatch;

/// Follows the loader's paths for as long as it is polled. `apply` gets each load that has no problems and differs from
/// the one in force, which is `current` at first; `refuse` each set of problems that is new.
pub async fn follow(
    mut loader: Loader,
    environment: Environment<'_>,
    mut current: Compiled,
    mut apply: impl FnMut(&Loaded),
    mut refuse: impl FnMut(&[Problem]),
) {
    let mut watch = FileWatch::new(loader.paths());
    let mut told = Vec::new();
    loop {
        watch.changed().await;
        let loaded = loader.load(environment);
        if !loaded.problems.is_empty() {
            if loaded.problems != told {
                refuse(&loaded.problems);
            }
            told = loaded.problems;
            continue;
        }
        told.clear();
        if loaded.compiled != current {
            apply(&loaded);
            current = loaded.compiled;
        }
    }
}
