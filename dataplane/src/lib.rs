//! The gateway: adapts protocols, falls back, limits and meters. Also the local commands of `routeapi`.
//!
//! A request's way: [`server`] (socket to request) → `request::handle` (one file per phase) → `upstream`. A
//! configuration's way: [`config`] (files or the operator's stream) → compiled form → [`config::store::Store`], which
//! every request reads once. [`app`] wires both and is the same for `main` and for tests; [`admin`] answers on its own
//! listener and runtime, so that a busy gateway can still be asked how it is.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
mod counted;
pub mod descriptors;
pub mod file_watch;
mod happy_eyeballs;
pub mod keepalive;
pub mod limits;
mod model_lists;
mod moment;
pub mod random;
pub mod request;
pub mod server;
pub mod service_accounts;
pub mod sidecar;
pub mod spawn;
pub mod state;
pub mod telemetry;
pub mod upstream;
