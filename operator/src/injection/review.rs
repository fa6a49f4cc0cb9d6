//! Answers one AdmissionReview about a pod. Pure.

use base64::{Engine, engine::general_purpose::STANDARD};
use routeapi_injection::{LABEL, Sidecar, patch};
use serde::Deserialize;
use serde_json::{Value, json};

/// The only version that is spoken, stable since Kubernetes 1.16.
const API_VERSION: &str = "admission.k8s.io/v1";

/// What is needed of an AdmissionReview.
#[derive(Deserialize)]
struct Review {
    #[serde(rename = "apiVersion")]
    api_version: String,
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    uid: String,
    #[serde(default)]
    object: Value,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It is not an AdmissionReview.
    #[error("not an AdmissionReview: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is of another version.
    #[error("AdmissionReview of version {0:?}; only {API_VERSION} is supported")]
    Version(String),
}

/// The answer to an AdmissionReview in JSON: allowed with a patch, or refused with the reason.
///
/// # Errors
/// When it is not one about an object.
pub fn respond(body: &[u8], sidecar: &Sidecar) -> Result<Vec<u8>, ReviewError> {
    let Review { api_version, request: Request { uid, object } } = serde_json::from_slice(body)?;
    if api_version != API_VERSION {
        return Err(ReviewError::Version(api_version));
    }
    let response = match patch(&object, sidecar) {
        Ok(operations) if operations.is_empty() => json!({"uid": uid, "allowed": true}),
        Ok(operations) => {
            let patch = STANDARD.encode(serde_json::to_vec(&operations)?);
            json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": patch})
        }
        Err(refusal) => {
            let message =
                format!("{refusal}. To run the pod without the sidecar, give it the label {LABEL}: \"false\"");
            json!({"uid": uid, "allowed": false, "status": {"code": 403, "reason": "Forbidden", "message": message}})
        }
    };
    let answer = json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response});
    Ok(serde_json::to_vec(&answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sidecar() -> Sidecar {
        Sidecar {
            image: "routeapi:1".to_owned(),
            pull_policy: "Always".to_owned(),
            gateway: "https://routeapi.ai.svc".to_owned(),
            gateway_ca: None,
            resources: Sidecar::default_resources(),
            user: None,
        }
    }

    fn response(object: &Value) -> Value {
        let review =
            json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "request": {"uid": "1", "object": object}});
        let answer: Value =
            serde_json::from_slice(&respond(review.to_string().as_bytes(), &sidecar()).unwrap()).unwrap();
        assert_eq!((&answer["apiVersion"], &answer["response"]["uid"]), (&json!(API_VERSION), &json!("1")));
        answer["response"].clone()
    }

    #[test]
    fn a_pod_is_patched_once() {
        let mut pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "app"}]}});
        let first = response(&pod);
        assert_eq!((&first["allowed"], &first["patchType"]), (&json!(true), &json!("JSONPatch")));
        let operations: Value =
            serde_json::from_slice(&STANDARD.decode(first["patch"].as_str().unwrap()).unwrap()).unwrap();
        assert_eq!(operations, Value::Array(patch(&pod, &sidecar()).unwrap()));
        routeapi_injection::inject(&mut pod, &sidecar()).unwrap();
        assert_eq!(response(&pod), json!({"uid": "1", "allowed": true}));
    }

    #[test]
    fn a_refusal_says_why_and_what_to_do() {
        let refused = response(&json!({"metadata": {}, "spec": {"hostNetwork": true, "containers": []}}));
        assert_eq!((&refused["allowed"], &refused["status"]["code"]), (&json!(false), &json!(403)));
        let message = refused["status"]["message"].as_str().unwrap();
        assert!(message.starts_with("spec.hostNetwork: ") && message.ends_with("label routeapi.dev/inject: \"false\""));
    }

    #[test]
    fn what_is_no_review_is_an_error() {
        for body in ["", "[]", "{}", r#"{"apiVersion":"admission.k8s.io/v1"}"#, "null", &"[".repeat(100_000)] {
            assert!(matches!(respond(body.as_bytes(), &sidecar()), Err(ReviewError::Malformed(_))));
        }
        let old = r#"{"apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"1"}}"#;
        assert!(matches!(respond(old.as_bytes(), &sidecar()), Err(ReviewError::Version(_))));
        assert_eq!(response(&Value::Null)["allowed"], false, "there is no pod without an object");
    }
}
