//! Token counts, disjoint (docs/protocols/usage.md): no token is in two members.

pub use routeapi_metering::Usage;
