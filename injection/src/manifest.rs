//! Finds the pods in manifests: workloads of Kubernetes' own kinds, and lists of them. Everything else stays as it is.

use std::fmt;

use serde_json::Value;

use crate::{Outcome, Refusal, Sidecar, inject};

/// What became of one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Kind of the object.
    pub kind: String,
    /// Namespace; empty if the manifest names none.
    pub namespace: String,
    /// Name, or `generateName`.
    pub name: String,
    /// What became of its pods, or why they cannot have the sidecar.
    pub outcome: Result<Outcome, Refusal>,
}

/// Lists in lists: more than anybody writes, few enough for the stack.
const MAX_DEPTH: usize = 8;

/// Adds the sidecar to the pods that a manifest describes; what became of each workload. Empty for other kinds.
pub fn inject_manifest(object: &mut Value, sidecar: &Sidecar) -> Vec<Workload> {
    let mut found = Vec::new();
    visit(object, sidecar, MAX_DEPTH, &mut found);
    found
}

fn visit(object: &mut Value, sidecar: &Sidecar, depth: usize, found: &mut Vec<Workload>) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api, kind) = (text("/apiVersion"), text("/kind"));
    if api == "v1" && kind == "List" {
        let items = object.get_mut("items").and_then(Value::as_array_mut);
        if let Some(depth) = depth.checked_sub(1) {
            items.into_iter().flatten().for_each(|item| visit(item, sidecar, depth, found));
        }
        return;
    }
    let Some(pointer) = pods_of(&api, &kind) else { return };
    let name = match text("/metadata/name") {
        name if name.is_empty() => text("/metadata/generateName"),
        name => name,
    };
    let namespace = text("/metadata/namespace");
    let pod = object.pointer_mut(pointer).ok_or(Refusal::Malformed("spec"));
    let outcome = pod.and_then(|pod| inject(pod, sidecar));
    found.push(Workload { kind, namespace, name, outcome });
}

/// Where a kind has its pod, or the template of its pods; none for other kinds.
fn pods_of(api: &str, kind: &str) -> Option<&'static str> {
    let group = api.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("", "Pod") => Some(""),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {
            Some("/spec/template")
        }
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, outcome } = self;
        let separator = if namespace.is_empty() { "" } else { "/" };
        write!(out, "{kind} {namespace}{separator}{name}: ")?;
        match outcome {
            Ok(Outcome::Injected) => out.write_str("sidecar added"),
            Ok(Outcome::Unchanged) => out.write_str("has the sidecar already"),
            Ok(Outcome::OptedOut) => write!(out, "left alone, because its pods have the label {}=false", crate::LABEL),
            Err(refusal) => refusal.fmt(out),
        }
    }
}
