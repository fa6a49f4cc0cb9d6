//! The API that users write: the kinds `AIProvider`, `AIRoute` and `ApiToken` of `routeapi.dev/v1alpha1`.
//!
//! [`value`] has the small validated types that specs share with snapshots; [`v1alpha1`] the kinds themselves, one per
//! file, whose doc comments are what `kubectl explain` shows; [`condition`] the conditions of their status; [`schema`]
//! their CustomResourceDefinitions; [`yaml`] reads and writes YAML. This crate depends on no Kubernetes client and no
//! async runtime.

pub mod condition;
pub mod schema;
pub mod v1alpha1;
pub mod value;
pub mod yaml;
