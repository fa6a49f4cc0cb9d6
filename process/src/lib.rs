//! What both programs need as processes: logging that never blocks, sockets for IPv4 and IPv6, and a deadline for
//! shutdown.
//!
//! A pipe that nobody reads is full after 64 KiB, and a write to it then blocks for ever. On a thread that serves, that
//! would block all requests, the probes and shutdown. So both programs write on a thread of its own with a bounded queue:
//! entries that do not fit are dropped and counted, and shutdown waits for the queue only for a limited time.

mod background;
mod bind;
mod exit;
mod listen;
mod log;
mod usage;

pub use background::{Background, Bounds, Entry};
pub use bind::bind;
pub use exit::exit_after;
pub use listen::{DefaultHost, listen};
pub use log::{Filter, Format, InvalidFilter, Log, LostLines, start};
pub use usage::usage_error_line;
