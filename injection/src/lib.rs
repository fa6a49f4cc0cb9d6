//! What the sidecar adds to a pod, and which pods cannot have one. Pure: objects as JSON in, objects as JSON out.
//!
//! The operator's webhook and `routeapi sidecar inject` use this; the MutatingAdmissionPolicy of the chart
//! (`charts/routeapi/templates/sidecar/policy.yaml`) says the same in CEL, and `tests/chart/sidecar.rs` holds both
//! together. [`sidecar`] describes the container and what belongs to it, [`pod`] adds it, [`manifest`] finds the pods in
//! manifests of other kinds. [`docs/sidecar-injection.md`] is for users.
//!
//! [`docs/sidecar-injection.md`]: https://github.com/routeapi/routeapi/blob/main/docs/sidecar-injection.md

pub mod manifest;
pub mod pod;
pub mod sidecar;

pub use manifest::{Workload, inject_manifest};
pub use pod::{Outcome, Refusal, inject, patch};
pub use sidecar::{LABEL, Sidecar};
