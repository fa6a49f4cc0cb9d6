//! Watches AIProviders, AIRoutes and ApiTokens, streams their configuration to data planes, issues API keys and writes
//! status.
//!
//! Configuration flows `watch → index → publish → push` on every replica; acknowledgements come back to `push::ack`. Only the
//! holder of the lease writes (`tokens`, `status`, certificates). [`app`] wires it up.

pub mod admin;
pub mod app;
mod backoff;
pub mod connections;
pub mod context;
mod field_manager;
pub mod index;
pub mod injection;
pub mod issuer;
pub mod lease;
mod log_limiter;
pub mod preflight;
pub mod publish;
pub mod push;
pub mod response_ids;
mod service_account;
pub mod settings;
pub mod status;
pub mod telemetry;
pub mod tls;
mod token_bucket;
pub mod tokens;
pub mod watch;
pub mod write_limiter;
