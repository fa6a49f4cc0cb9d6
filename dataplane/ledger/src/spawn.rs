//! The only place of this crate that starts threads.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

/// A thread that can be waited for with a limit.
#[derive(Debug)]
pub(crate) struct Thread(Mutex<Receiver<()>>);

impl Thread {
    /// Starts it.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(crate) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (alive, done): (Sender<()>, _) = channel();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Dropped when the work ends or panics.
            let _alive = alive;
            work();
        })?;
        Ok(Self(Mutex::new(done)))
    }

    /// Waits until it has ended, at most for so long. Returns whether it has.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let done = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        done.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
    }
}
