//! The last resort of an end that does not come.

use std::{process, thread, time::Duration};

/// Ends the process with code 1 when its time is over, whatever still waits: a write to a pipe that nobody reads, a file
/// system that does not answer. On a thread of its own, since it may be a runtime that hangs.
pub fn exit_after(limit: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the orderly end had its time; SIGKILL comes next and loses as much")]
    let exit = move || {
        thread::sleep(limit);
        process::exit(1);
    };
    let started = thread::Builder::new().name("exit".to_owned()).spawn(exit);
    if let Err(error) = started {
        tracing::warn!(%error, "nothing bounds the end of this process");
    }
}
