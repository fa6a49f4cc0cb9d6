//! The API that users write: the kinds `AIProvider`, `AIRoute` and `ApiToken` of `routeapi.dev/v1alpha1`.
//!
//! [`value`] holds the small checked types that specs share with snapshots; [`v1alpha1`] the kinds themselves, one per
//! file, whose doc comments become `kubectl explain`; [`condition`] the words of their status; [`schema`] their
//! definitions as the API server takes them; [`yaml`] is the only place that knows which YAML library is used. No
//! client and no runtime is linked from here.

pub mod condition;
pub mod schema;
pub mod v1alpha1;
pub mod value;
pub mod yaml;
