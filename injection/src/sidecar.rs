//! The sidecar as it stands in a pod: a container, the volume with its token, and the variables of the app's containers.

use routeapi_channel::service_account::GATEWAY_AUDIENCE;
use serde_json::{Map, Value, json};

/// The label that asks for the sidecar (`"true"`) on a namespace or a pod, or declines it (`"false"`) on a pod.
pub const LABEL: &str = "routeapi.dev/inject";

/// The container's name.
pub const CONTAINER: &str = "routeapi";

/// The volume with the pod's token for the gateway.
pub const TOKEN_VOLUME: &str = "routeapi-token";

/// Where the token is mounted: the default of `routeapi sidecar --token-file`.
pub const TOKEN_DIRECTORY: &str = "/var/run/secrets/routeapi.dev/serviceaccount";

/// How long a token is valid in seconds. Kubelets renew it after four fifths of that.
pub const TOKEN_SECONDS: u64 = 3600;

/// Where the sidecar listens for the app: the default of `routeapi sidecar --listen`.
pub const LISTEN_PORT: u64 = 4000;

/// Where it answers probes: the default of `routeapi sidecar --admin`.
pub const ADMIN_PORT: u64 = 4090;

/// The variable with the CA certificates that the sidecar trusts, in PEM.
pub const CA_VARIABLE: &str = "ROUTEAPI_GATEWAY_CA";

/// What the SDKs read. They need a key to start; it means nothing to the sidecar.
pub const VARIABLES: [(&str, &str); 6] = [
    ("OPENAI_BASE_URL", "http://127.0.0.1:4000/v1"),
    ("OPENAI_API_KEY", "in-pod-identity"),
    ("ANTHROPIC_BASE_URL", "http://127.0.0.1:4000"),
    ("ANTHROPIC_API_KEY", "in-pod-identity"),
    ("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:4000"),
    ("GEMINI_API_KEY", "in-pod-identity"),
];

/// What differs between installations.
#[derive(Clone, Debug, PartialEq)]
pub struct Sidecar {
    /// Image of the container.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: String,
    /// Address of the gateway: `https://host[:port]`.
    pub gateway: String,
    /// CA certificates in PEM that its certificate must be signed by; none for the public ones.
    pub gateway_ca: Option<String>,
    /// `resources` of the container.
    pub resources: Value,
    /// User and group ID of the container; none where the cluster assigns them, as OpenShift does.
    pub user: Option<u32>,
}

// === impl Sidecar ===

impl Sidecar {
    /// What an idle sidecar needs, with room for a burst. There is no CPU limit, because throttling would delay every stream.
    pub fn default_resources() -> Value {
        json!({"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "64Mi"}})
    }

    /// The user ID of the image.
    pub const DEFAULT_USER: u32 = 65532;

    /// The container: a native sidecar, which starts before the app and ends after it.
    pub fn container(&self) -> Value {
        let probe = |path: &str, seconds: u64, failures: u64| json!({"httpGet": {"path": path, "port": ADMIN_PORT}, "periodSeconds": seconds, "failureThreshold": failures});
        let mut container = json!({
            "name": CONTAINER,
            "image": self.image,
            "imagePullPolicy": self.pull_policy,
            "restartPolicy": "Always",
            "args": ["sidecar", format!("--gateway={}", self.gateway)],
            "ports": [{"name": "routeapi-admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
            // As of the gateway: start-up asks for what a restart can mend, and the app may start while the gateway is away.
            "startupProbe": probe("/livez", 1, 60),
            "readinessProbe": probe("/readyz", 2, 2),
            "livenessProbe": probe("/livez", 10, 6),
            "resources": self.resources,
            "securityContext": self.security(),
            "volumeMounts": [{"name": TOKEN_VOLUME, "mountPath": TOKEN_DIRECTORY, "readOnly": true}],
        });
        if let (Some(ca), Some(fields)) = (&self.gateway_ca, container.as_object_mut()) {
            fields.insert("env".to_owned(), json!([{"name": CA_VARIABLE, "value": ca}]));
        }
        container
    }

    /// The volume with a token that only the gateway accepts.
    pub fn volume(&self) -> Value {
        let token = json!({"path": "token", "audience": GATEWAY_AUDIENCE, "expirationSeconds": TOKEN_SECONDS});
        json!({"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}})
    }

    /// What the Pod Security Standard "restricted" requires, whatever the pod's own context says.
    fn security(&self) -> Value {
        let mut context = json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"},
        });
        if let (Some(user), Some(fields)) = (self.user, context.as_object_mut()) {
            fields.extend(Map::from_iter(["runAsUser", "runAsGroup"].map(|name| (name.to_owned(), json!(user)))));
        }
        context
    }
}

/// Whether a container, which has [`CONTAINER`] as its name, is the sidecar.
pub fn is_sidecar(container: &Value) -> bool {
    let command = container.get("args").and_then(|args| args.get(0));
    container.get("restartPolicy").is_some_and(|policy| policy == "Always")
        && command.is_some_and(|command| command == "sidecar")
}

/// Whether a volume, which has [`TOKEN_VOLUME`] as its name, is the sidecar's.
pub fn is_token_volume(volume: &Value) -> bool {
    let sources = volume.pointer("/projected/sources").and_then(Value::as_array);
    sources.into_iter().flatten().any(|source| {
        source.pointer("/serviceAccountToken/audience").is_some_and(|audience| audience == GATEWAY_AUDIENCE)
    })
}

/// Reads the address of a gateway: `https://host[:port]`, without a final slash in the result.
///
/// # Errors
/// When it is anything else.
pub fn parse_gateway(text: &str) -> Result<String, InvalidGateway> {
    let url = text.strip_suffix('/').unwrap_or(text);
    let host = url.strip_prefix("https://").unwrap_or_default();
    let is_odd = |character: char| "/?#@\\".contains(character) || character.is_whitespace() || character.is_control();
    if host.is_empty() || host.starts_with(':') || host.contains(is_odd) {
        return Err(InvalidGateway(text.to_owned()));
    }
    Ok(url.to_owned())
}

/// The text is not the address of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not https://host[:port]")]
pub struct InvalidGateway(String);
