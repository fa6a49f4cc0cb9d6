//! Token counts, disjoint (protocols 2.6): no token is in two members.

pub use routeapi_metering::Usage;
