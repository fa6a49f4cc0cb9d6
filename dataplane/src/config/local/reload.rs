//! Reads the manifests again when a file changes. A broken edit changes nothing: every problem is told and what runs
//! keeps running. An edit without effect is not worth a word.
//!
//! Files are compared before they are read, and their bytes before they are parsed; both and the compilation happen on a
//! blocking thread, since this runs beside the probes. Objects that disappear are believed after a moment without
//! another change: an editor may be between deleting a file and writing it.

use std::{
    future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use routeapi_compile::Compiled;
use tokio::time::sleep;

use super::{Environment, Loaded, Loader, problem::ManifestProblem};
use crate::file_watch::FileWatch;

/// Between two looks, so that a storm of events beside the manifests costs little.
const MIN_RELOAD_INTERVAL: Duration = Duration::from_millis(200);

/// How long nothing may change before objects that are gone are gone.
const REMOVAL_DELAY: Duration = Duration::from_secs(1);

/// Follows the loader's paths for as long as it is polled. `on_change` gets each load that has no problems and
/// differs from the one in force, which is `current` at first and the loader's last, and each set of problems that is new.
pub async fn follow(
    loader: Loader,
    environment: Environment<'static>,
    mut current: Compiled,
    mut on_change: impl FnMut(Result<&Loaded, &[ManifestProblem]>),
) {
    let mut watch = FileWatch::new(loader.watchable());
    let loader = Arc::new(Mutex::new(loader));
    let mut known = Vec::new();
    // Looks once before it waits: something may have changed since the first load and before the watch.
    loop {
        let mut found = reload(&loader, environment).await;
        while let Some(loaded) = found.as_ref().filter(|it| it.problems.is_empty()) {
            if !removes_objects(&current, &loaded.compiled) {
                break;
            }
            sleep(REMOVAL_DELAY).await;
            match reload(&loader, environment).await {
                Some(newer) => found = Some(newer),
                None => break,
            }
        }
        if let Some(loaded) = found {
            if !loaded.problems.is_empty() && loaded.problems != known {
                on_change(Err(&loaded.problems));
            } else if loaded.problems.is_empty() && loaded.compiled != current {
                on_change(Ok(&loaded));
                current = loaded.compiled;
            }
            known = loaded.problems;
        }
        sleep(MIN_RELOAD_INTERVAL).await;
        watch.changed().await;
    }
}

/// Whether an object of the one is not in the other.
fn removes_objects(current: &Compiled, next: &Compiled) -> bool {
    current.verdicts.keys().any(|key| !next.verdicts.contains_key(key))
}

async fn reload(loader: &Arc<Mutex<Loader>>, environment: Environment<'static>) -> Option<Loaded> {
    let loader = Arc::clone(loader);
    let reading = move || loader.lock().unwrap_or_else(PoisonError::into_inner).reload(environment);
    match tokio::task::spawn_blocking(reading).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, "cannot watch the manifests any more; the configuration in force stays");
            future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::{
        sync::mpsc,
        time::{Instant, timeout},
    };

    use super::*;
    use crate::config::local::values::Values;

    const SOON: Duration = Duration::from_secs(20);

    /// Each load that parses asks for a variable once.
    fn manifests(model: &str, token: &str) -> String {
        format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: up}}\nspec: {{type: Echo}}\n---\n\
             apiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\nmetadata: {{name: r}}\n\
             spec: {{model: {model}, upstreams: [{{name: up, providerRef: {{name: up}}}}]}}\n---\n{token}\
             apiVersion: v1\nkind: Secret\nmetadata: {{name: app}}\nstringData: {{token: 'sk-${{KEY}}'}}\n"
        )
    }

    const TOKEN: &str = "apiVersion: routeapi.dev/v1alpha1\nkind: ApiToken\nmetadata: {name: app}\n\
                         spec: {models: ['*'], secretName: app}\n---\n";

    /// A follower, what it tells, and how often it has parsed.
    struct Following {
        on_change: mpsc::UnboundedReceiver<Result<Vec<String>, String>>,
        loads: &'static AtomicUsize,
        task: tokio::task::JoinHandle<()>,
    }

    impl Following {
        fn start(paths: &[PathBuf], allow_empty: bool) -> Self {
            let loads: &'static AtomicUsize = Box::leak(Box::default());
            let environment: Environment<'static> = Box::leak(Box::new(move |_: &str| {
                loads.fetch_add(1, Ordering::SeqCst);
                Some("value-of-a-test-token".to_owned())
            }));
            let mut loader = Loader::new(paths.to_vec(), Values::random()).unwrap().allow_empty(allow_empty);
            let loaded = loader.load(environment);
            assert_eq!(loaded.problems, []);
            let (sender, on_change) = mpsc::unbounded_channel();
            let task = tokio::spawn(follow(loader, environment, loaded.compiled, move |result| {
                let names = |loaded: &Loaded| {
                    loaded.compiled.verdicts.keys().map(|key| format!("{} {}", key.kind, key.id)).collect()
                };
                let words = |problems: &[ManifestProblem]| problems.iter().map(|it| format!("{it}\n")).collect();
                let _ = sender.send(result.map(names).map_err(words));
            }));
            Self { on_change, loads, task }
        }

        async fn next(&mut self) -> Result<Vec<String>, String> {
            timeout(SOON, self.on_change.recv()).await.unwrap().unwrap()
        }

        fn loads(&self) -> usize {
            self.loads.load(Ordering::SeqCst)
        }
    }

    impl Drop for Following {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn edit(path: &Path, text: &str) {
        let next = path.with_extension("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, path).unwrap();
    }

    #[tokio::test]
    async fn unrelated_files_and_unchanged_bytes_trigger_no_reload() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory, "all.yaml", &manifests("one", TOKEN));
        let mut following = Following::start(std::slice::from_ref(&path), false);
        for at in 0..300 {
            fs::write(directory.path().join(format!("noise-{}", at % 7)), at.to_string()).unwrap();
            if at % 50 == 0 {
                edit(&path, &manifests("one", TOKEN)); // the same bytes in another file
                fs::write(&path, manifests("one", TOKEN)).unwrap();
            }
            tokio::task::yield_now().await;
        }
        edit(&path, &manifests("two", TOKEN));
        following.next().await.unwrap();
        assert_eq!(following.loads(), 2, "the first and the edit");
    }

    #[tokio::test]
    async fn emptied_manifests_are_refused_and_the_old_state_stays() {
        let directory = tempfile::tempdir().unwrap();
        let whole = manifests("one", TOKEN);
        let path = file(&directory, "all.yaml", &whole);
        let mut following = Following::start(std::slice::from_ref(&path), false);
        for (text, said) in [
            ("", "all.yaml:1: no AIProvider, AIRoute or ApiToken found"),
            (&manifests("one", ""), "no ApiToken is left (1 before)"),
            (&whole[..whole.len() / 2], "all.yaml:"),
        ] {
            fs::write(&path, text).unwrap();
            let problems = following.next().await.unwrap_err();
            assert!(problems.contains(said), "{text:?}: {problems}");
        }
        fs::remove_file(&path).unwrap();
        assert!(following.next().await.unwrap_err().contains("all.yaml:1: "));
        // Nothing was ever told to change, so the whole file is no news and the next edit is.
        fs::write(&path, manifests("two", TOKEN)).unwrap();
        let names = following.next().await.unwrap();
        assert_eq!(names, ["provider default/up", "route default/r", "token default/app"]);
    }

    #[tokio::test]
    async fn one_emptied_file_is_refused_but_a_deletion_is_not() {
        let directory = tempfile::tempdir().unwrap();
        file(&directory, "a.yaml", &manifests("one", TOKEN));
        let more = TOKEN.replace("name: app}", "name: more}").replace(", secretName: app", "");
        let path = file(&directory, "b.yaml", &more);
        let mut following = Following::start(&[directory.path().to_owned()], false);
        fs::write(&path, "").unwrap();
        assert!(following.next().await.unwrap_err().contains("b.yaml:1: holds no object any more (1 before)"));
        fs::remove_file(&path).unwrap();
        let names = following.next().await.unwrap();
        assert!(!names.contains(&"token default/more".to_owned()), "{names:?}");
    }

    #[tokio::test]
    async fn briefly_missing_object_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        file(&directory, "a.yaml", &manifests("one", TOKEN));
        let more = TOKEN.replace("name: app}", "name: more}").replace(", secretName: app", "");
        let path = file(&directory, "b.yaml", &more);
        let mut following = Following::start(&[directory.path().to_owned()], false);
        fs::remove_file(&path).unwrap();
        let end = Instant::now() + SOON;
        while following.loads() < 2 && Instant::now() < end {
            tokio::task::yield_now().await;
        }
        // The load without it has begun; within a second it is back, with something that tells the two apart.
        fs::write(&path, more.replace("models: ['*']", "models: [one]")).unwrap();
        let names = following.next().await.unwrap();
        assert!(names.contains(&"token default/more".to_owned()), "it was never told as gone: {names:?}");
    }

    #[tokio::test]
    async fn allow_empty_accepts_empty_manifests() {
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory, "all.yaml", &manifests("one", TOKEN));
        let mut following = Following::start(std::slice::from_ref(&path), true);
        edit(&path, "");
        assert_eq!(following.next().await.unwrap(), [""; 0]);
    }
}
