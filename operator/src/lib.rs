//! Watches the three kinds, compiles them, pushes snapshots to data planes, mints tokens, writes status.
//!
//! Configuration goes `watch → index → publish → push`, on every replica; answers come back to `push::ack`. What is
//! written (`tokens`, `status`, certificates) is written by the holder of `lease` alone. [`app`] wires it up.

pub mod admin;
pub mod app;
mod complaints;
pub mod connections;
pub mod index;
pub mod lease;
pub mod parts;
pub mod preflight;
pub mod publish;
pub mod push;
pub mod settings;
pub mod status;
pub mod telemetry;
pub mod tls;
pub mod tokens;
pub mod watch;
pub mod writer;
