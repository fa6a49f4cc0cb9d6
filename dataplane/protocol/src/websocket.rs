//! WebSocket frames (RFC 6455): bytes → messages and back, without sockets or clocks.
//!
//! A connection's bytes go through a [`Reader`], which hands out whole messages and control frames and says with which
//! close code a peer that breaks the protocol is answered. [`head`] and [`mask`] make a frame of a message.
//!
//! Why not a crate: tungstenite's buffers keep the size of the largest message for the life of the connection, take the
//! length that a header announces before a byte of it has come, and cannot be counted from outside. A session lasts an
//! hour, and what one tenant holds must be counted and given back. Here a message takes memory as it comes and belongs to
//! whoever has got it. Tests in `tests/inprocess` let tungstenite speak with this.

mod close;
pub mod code;
mod frame;
mod reader;
mod violation;

pub use self::{
    close::Close,
    frame::{Head, MOST_CONTROL, Opcode, Role, head, mask},
    reader::{Incoming, Reader},
    violation::Violation,
};

#[cfg(test)]
mod tests;
