//! Adds the sidecar to one pod, or to the template of pods.
//!
//! Adding it again changes nothing: a sidecar that is there stays as it is, and only containers that lack the variables get
//! them. That is what an API server relies on that asks again after other webhooks (`reinvocationPolicy`).

use serde_json::{Map, Value, json};

use crate::sidecar::{
    ADMIN_PORT, CONTAINER, LABEL, LISTEN_PORT, Sidecar, TOKEN_VOLUME, VARIABLES, is_sidecar, is_token_volume,
};

/// What became of a pod that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has changed.
    Injected,
    /// It had everything.
    Unchanged,
    /// Its label declines.
    OptedOut,
}

/// Why a pod cannot have the sidecar. The text names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The pod has the node's network.
    #[error(
        "spec.hostNetwork: the sidecar would listen on the node's own loopback address, where every process of the node \
         could call with this pod's identity"
    )]
    HostNetwork,
    /// The pod is for Windows.
    #[error("spec.os.name: the sidecar runs on Linux only")]
    Windows,
    /// Another container has the sidecar's name; the field.
    #[error("{0}: a container that is not the sidecar is named {CONTAINER}")]
    ContainerName(&'static str),
    /// Another volume has its name.
    #[error("spec.volumes: a volume that is not the sidecar's is named {TOKEN_VOLUME}")]
    VolumeName,
    /// A container has one of its ports.
    #[error("{field}: container {container} has port {port}, which is the sidecar's")]
    Port {
        /// The field with the container.
        field: &'static str,
        /// The container.
        container: String,
        /// The port.
        port: u64,
    },
    /// A field is not what it is in a pod.
    #[error("{0}: not what Kubernetes expects there")]
    Malformed(&'static str),
}

/// Field below `spec`, its path.
const CONTAINERS: (&str, &str) = ("containers", "spec.containers");
const INIT_CONTAINERS: (&str, &str) = ("initContainers", "spec.initContainers");
const VOLUMES: (&str, &str) = ("volumes", "spec.volumes");

/// Adds the sidecar to an object with `metadata` and `spec` of a pod.
///
/// # Errors
/// When it cannot have one; it is unchanged then.
pub fn inject(pod: &mut Value, sidecar: &Sidecar) -> Result<Outcome, Refusal> {
    if pod.pointer("/metadata/labels").and_then(|labels| labels.get(LABEL)).is_some_and(|label| label == "false") {
        return Ok(Outcome::OptedOut);
    }
    let spec = pod.get_mut("spec").and_then(Value::as_object_mut).ok_or(Refusal::Malformed("spec"))?;
    let Present { container, volume } = check(spec)?;
    let mut changed = false;
    for (field, path) in [CONTAINERS, INIT_CONTAINERS] {
        for app in list_mut(spec, field).into_iter().flatten().filter(|app| name(app) != Some(CONTAINER)) {
            changed |= set_variables(app).ok_or(Refusal::Malformed(path))?; // `check` has seen to it
        }
    }
    if !container {
        // First, so that it serves the init containers as well.
        entry(spec, INIT_CONTAINERS)?.insert(0, sidecar.container());
    }
    if !volume {
        entry(spec, VOLUMES)?.push(sidecar.volume());
    }
    Ok(if changed || !container || !volume { Outcome::Injected } else { Outcome::Unchanged })
}

/// What [`inject`] changes, as a JSON Patch (RFC 6902); empty if nothing.
///
/// # Errors
/// As [`inject`].
pub fn patch(pod: &Value, sidecar: &Sidecar) -> Result<Vec<Value>, Refusal> {
    let mut injected = pod.clone();
    inject(&mut injected, sidecar)?;
    let fields = [CONTAINERS, INIT_CONTAINERS, VOLUMES].into_iter();
    let changes = fields.filter_map(|(field, _)| {
        let after = injected.get("spec")?.get(field)?;
        let before = pod.get("spec").and_then(|spec| spec.get(field));
        (before != Some(after)).then(|| json!({"op": "add", "path": format!("/spec/{field}"), "value": after}))
    });
    Ok(changes.collect())
}

/// What of the sidecar a pod has.
struct Present {
    container: bool,
    volume: bool,
}

fn check(spec: &Map<String, Value>) -> Result<Present, Refusal> {
    if spec.get("hostNetwork").is_some_and(|on| on == true) {
        return Err(Refusal::HostNetwork);
    }
    if spec.get("os").and_then(|os| os.get("name")).is_some_and(|name| name == "windows") {
        return Err(Refusal::Windows);
    }
    let mut present = Present { container: false, volume: false };
    for (field, path) in [CONTAINERS, INIT_CONTAINERS] {
        for container in list(spec, (field, path))? {
            match name(container) {
                Some(CONTAINER) if field == INIT_CONTAINERS.0 && is_sidecar(container) => present.container = true,
                Some(CONTAINER) => return Err(Refusal::ContainerName(path)),
                _ => check_ports(container, path)?,
            }
            if !matches!(container.get("env"), None | Some(Value::Null | Value::Array(_))) {
                return Err(Refusal::Malformed(path));
            }
        }
    }
    for volume in list(spec, VOLUMES)?.iter().filter(|volume| name(volume) == Some(TOKEN_VOLUME)) {
        if !is_token_volume(volume) {
            return Err(Refusal::VolumeName);
        }
        present.volume = true;
    }
    Ok(present)
}

fn check_ports(container: &Value, field: &'static str) -> Result<(), Refusal> {
    for port in container.get("ports").and_then(Value::as_array).into_iter().flatten() {
        let is_tcp = port.get("protocol").is_none_or(|protocol| protocol == "TCP");
        let number = port.get("containerPort").and_then(Value::as_u64);
        if let Some(port) = number.filter(|number| is_tcp && [LISTEN_PORT, ADMIN_PORT].contains(number)) {
            let container = name(container).unwrap_or_default().to_owned();
            return Err(Refusal::Port { field, container, port });
        }
    }
    Ok(())
}

/// Sets the variables that a container does not set; whether there were any. None if it is not a container.
fn set_variables(container: &mut Value) -> Option<bool> {
    let fields = container.as_object_mut()?;
    let variables = fields.entry("env").or_insert(Value::Null);
    if variables.is_null() {
        *variables = json!([]);
    }
    let variables = variables.as_array_mut()?;
    let before = variables.len();
    for (variable, value) in VARIABLES {
        if !variables.iter().any(|given| name(given) == Some(variable)) {
            variables.push(json!({"name": variable, "value": value}));
        }
    }
    Some(variables.len() > before)
}

fn name(of: &Value) -> Option<&str> {
    of.get("name")?.as_str()
}

fn list<'a>(spec: &'a Map<String, Value>, (field, path): (&str, &'static str)) -> Result<&'a [Value], Refusal> {
    match spec.get(field) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) if items.iter().all(Value::is_object) => Ok(items),
        Some(_) => Err(Refusal::Malformed(path)),
    }
}

fn list_mut<'a>(spec: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Vec<Value>> {
    spec.get_mut(field)?.as_array_mut()
}

/// A list that may not be there yet.
fn entry<'a>(
    spec: &'a mut Map<String, Value>,
    (field, path): (&str, &'static str),
) -> Result<&'a mut Vec<Value>, Refusal> {
    let list = spec.entry(field).or_insert(Value::Null);
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().ok_or(Refusal::Malformed(path))
}
