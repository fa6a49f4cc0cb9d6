//! Talking to upstreams: one HTTP exchange and where it goes. No translation, no retry loop, no policy.

pub mod balance;
mod client;
mod clients;
mod connect;
mod credential;
mod echo;
mod inflate;
mod kept;
mod resolve;
mod sent;

pub use client::{BaseUrl, Client, OutboundRequest, SendError, UpstreamBody, UpstreamBodyError};
pub use clients::{Clients, Pool, Trust};
pub use credential::{Credential, InvalidCredential};
pub use inflate::Inflated;
pub use routeapi_crds::value::{AddressPolicy, AddressRules};
pub use sent::{MarkedBody, SentMark};
