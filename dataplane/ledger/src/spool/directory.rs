//! A spool's directory: its lock, its state, the names of its files.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Write},
    ops::ControlFlow,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::frame;

/// Behind the names of segments.
const SUFFIX: &str = ".segment";

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process writes to it.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// Another version of this program wrote it.
    #[error("{} is not of this version's format; start the version that wrote it, or move the file away", .0.display())]
    Format(PathBuf),
    /// The file system.
    #[error("{}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The directory of a spool, locked.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Unlocked when the process ends, however it does.
    _lock: File,
}

/// What is known of a spool beside its entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// The last sequence number that was acknowledged.
    pub(super) acknowledged: u64,
    /// No process had it open.
    pub(super) closed: bool,
}

/// What a state's frame holds.
const CLOSED: &[u8] = b"closed";
const OPEN: &[u8] = b"open";

impl Directory {
    /// Makes the directory, for this user alone, and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, SpoolError> {
        let failed = |error| SpoolError::Io { path: path.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(false).mode(0o600);
        let lock = options.open(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(SpoolError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The state that was written last; none in a new directory, or if it cannot be read.
    pub(super) fn state(&self) -> Result<Option<State>, SpoolError> {
        let path = self.path.join("state");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| SpoolError::Io { path, error })?,
        };
        let mut state = None;
        frame::read(&bytes, |frame| {
            state = Some(State { acknowledged: frame.sequence, closed: frame.entry == CLOSED });
            ControlFlow::Break(())
        });
        Ok(state)
    }

    /// Replaces the state as a whole. It is not synced: an older one makes a sink see entries again, no more.
    pub(super) fn write_state(&self, state: State) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, state.acknowledged, if state.closed { CLOSED } else { OPEN });
        let (next, path) = (self.path.join("state~"), self.path.join("state"));
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&next)?.write_all(&bytes)?;
        fs::rename(next, path)
    }

    /// First sequence numbers of all segments, in order.
    pub(super) fn segments(&self) -> Result<Vec<u64>, SpoolError> {
        let failed = |error| SpoolError::Io { path: self.path.clone(), error };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if let Some(first) = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)) {
                found.extend(first.parse::<u64>());
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// A new file that is there after a crash of the machine as well.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(self.path(name))?;
        File::open(&self.path)?.sync_all()?;
        Ok(file)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The name of the segment that begins with this sequence number.
pub(super) fn segment_name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}
