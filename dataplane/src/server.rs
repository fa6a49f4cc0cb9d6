//! From a socket to a request: accepting, TLS, one hyper connection per socket, and ending well.
//!
//! Knows nothing about models, tokens or dialects: it hands each request to the one function it was given and sends back
//! what that returns.

pub mod drain;

pub use drain::Drain;
