//! What both programs are as processes: logs that wait for no reader, sockets that serve IPv4 and IPv6, and an end that
//! waits for nothing.
//!
//! A pipe that nobody reads is full after 64 KiB, and a write to it waits for ever. Done on a thread that serves, that stops
//! every request, the probes and the end of the process. So both programs write through a thread of its own with a bounded
//! queue: what does not fit is left out and counted, and the end waits for the queue for a bounded time.

mod background;
mod bind;
mod exit;
mod listen;
mod log;

pub use background::{Background, Bounds, Entry};
pub use bind::bind;
pub use exit::exit_after;
pub use listen::{DefaultHost, listen};
pub use log::{Filter, Format, InvalidFilter, Log, LostLines, start};
