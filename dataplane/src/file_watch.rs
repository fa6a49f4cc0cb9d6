//! Tells when files change: edited in place, replaced by an editor, or swapped behind a symbolic link as Kubernetes does
//! with mounted Secrets.
//!
//! Watches the directories that the paths are in, since a replaced file is another file to the kernel. A burst of events
//! is one change: it is told after a quiet moment, at the latest after a second. Events can be lost (network file
//! systems, too few inotify watches), so a change is also supposed once a minute; whoever asks has to compare anyway.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

const DEBOUNCE: Duration = Duration::from_millis(50);
const MAX_DEBOUNCE: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_secs(60);

/// Follows a fixed set of paths.
pub struct FileWatch {
    events: mpsc::Receiver<()>,
    _sender: mpsc::Sender<()>,
    _watcher: Option<RecommendedWatcher>,
}

impl FileWatch {
    /// Follows files and directories (these not recursively). Where the system has no way to tell, only the fallback
    /// remains, and a warning says so.
    pub fn new<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        let (sender, events) = mpsc::channel(1);
        let directories: BTreeSet<PathBuf> = paths.into_iter().flat_map(|path| watched(path.as_ref())).collect();
        let watcher = start(sender.clone(), &directories)
            .inspect_err(|error| tracing::warn!(%error, "cannot watch files; changes are looked for once a minute"))
            .ok();
        Self { events, _sender: sender, _watcher: watcher }
    }

    /// Resolves after the next change, or after a minute.
    pub async fn changed(&mut self) {
        if timeout(POLL_INTERVAL, self.events.recv()).await.is_err() {
            return;
        }
        let end = Instant::now() + MAX_DEBOUNCE;
        loop {
            let quiet = (Instant::now() + DEBOUNCE).min(end);
            tokio::select! {
                _ = self.events.recv() => {}
                () = sleep_until(quiet) => return,
            }
        }
    }
}

/// The directories whose entries decide what is found at a path.
fn watched(path: &Path) -> Vec<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => path.to_owned(),
    };
    let mut directories = if path.is_dir() { vec![path.to_owned()] } else { vec![parent(path)] };
    directories.extend(path.canonicalize().ok().filter(|real| real.is_file()).map(|real| parent(&real)));
    directories
}

fn start(sender: mpsc::Sender<()>, directories: &BTreeSet<PathBuf>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let reading = matches!(&event, Ok(Event { kind: EventKind::Access(_), .. }));
        if !reading {
            // Full means that a change is waiting to be told already.
            let _ = sender.try_send(());
        }
    })?;
    for directory in directories {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn edits_replacements_and_symlink_swaps_are_detected() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for version in ["v1", "v2"] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("tls.crt"), version).unwrap();
        }
        symlink("v1", path("..data")).unwrap();
        symlink("..data/tls.crt", path("tls.crt")).unwrap();
        fs::write(path("plain"), "1").unwrap();
        let mut watch = FileWatch::new([path("tls.crt"), path("plain")]);

        fs::write(path("plain"), "2").unwrap();
        timeout(SOON, watch.changed()).await.unwrap();

        fs::write(path("plain.new"), "3").unwrap();
        fs::rename(path("plain.new"), path("plain")).unwrap();
        timeout(SOON, watch.changed()).await.unwrap();

        symlink("v2", path("..next")).unwrap();
        fs::rename(path("..next"), path("..data")).unwrap();
        timeout(SOON, watch.changed()).await.unwrap();
        assert_eq!(fs::read_to_string(path("tls.crt")).unwrap(), "v2");
    }
}
