//! Reads the manifests again when a file changes. A broken edit changes nothing: every problem is told and what runs
//! keeps running. An edit without effect is not worth a word.

use routeapi_compile::Compiled;

use super::{Environment, Loaded, Loader, problem::Problem};
use crate::file_watch::FileWatch;

/// Follows the loader's paths for as long as it is polled. `told` gets each load that has no problems and differs from
/// the one in force, which is `current` at first, and each set of problems that is new.
pub async fn follow(
    mut loader: Loader,
    environment: Environment<'_>,
    mut current: Compiled,
    mut told: impl FnMut(Result<&Loaded, &[Problem]>),
) {
    let mut watch = FileWatch::new(loader.paths());
    let mut known = Vec::new();
    // Looks once before it waits: something may have changed since the first load and before the watch.
    loop {
        let loaded = loader.load(environment);
        if !loaded.problems.is_empty() && loaded.problems != known {
            told(Err(&loaded.problems));
        } else if loaded.problems.is_empty() && loaded.compiled != current {
            told(Ok(&loaded));
            current = loaded.compiled;
        }
        known = loaded.problems;
        watch.changed().await;
    }
}
