//! The name of a data-plane pod.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a pod, for messages. Pods are identified by UID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodName {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod, unique in its namespace at any time.
    pub name: String,
}

impl fmt::Display for PodName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}
