//! A deadline for the end of the process.

use std::{process, thread, time::Duration};

/// Ends the process with code 1 after `limit`, whatever blocks it: a write to a pipe that nobody reads, or a file system
/// that does not respond. Runs on a thread of its own, because the async runtime may be what blocks.
pub fn exit_after(limit: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "graceful shutdown has used up its time; SIGKILL would follow and loses as much"
    )]
    let exit = move || {
        thread::sleep(limit);
        process::exit(1);
    };
    let started = thread::Builder::new().name("exit".to_owned()).spawn(exit);
    if let Err(error) = started {
        tracing::warn!(%error, "cannot start the thread that limits shutdown, which may therefore take longer");
    }
}
