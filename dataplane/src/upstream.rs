//! Talking to upstreams: one HTTP request and where it goes. No translation, no retry loop, no policy.

mod additions;
mod authorization;
pub mod balance;
mod body;
mod client;
mod clients;
mod connect;
mod credentials;
mod echo;
mod egress;
mod inflate;
mod metrics;
mod pool;
mod proxies;
mod resolve;
mod sent;
mod tunnel;
mod upgrade;

pub use additions::{Additions, InvalidAdditions};
pub use authorization::{Authorization, InvalidKey, Payload, Stale};
pub use body::{BrokenOff, OutboundBody, Tail};
pub use client::{BaseUrl, Client, ConnectedClient, OutboundRequest, SendError, UpstreamBody, UpstreamBodyError};
pub use clients::{ClientIdentity, Clients, NewConnections, Trust, UnusableConnection};
pub use credentials::Credentials;
pub use egress::{Egress, InvalidEgress};
pub use inflate::Inflated;
pub use metrics::Metrics;
pub use pool::{ConnectionLifetimes, Host, Pool, PooledBody, PooledConnection};
pub use proxies::{InvalidProxy, Proxy, ProxyChoice};
pub use routeapi_crds::value::{AddressPolicy, AddressRules};
pub use sent::{MarkedBody, SentMark};
pub use upgrade::{Opened, WebSocketIo, accept_value, lists};
