//! Manifests in, manifests out: `golden/NAME.yaml` and `golden/NAME.out.yaml`. `UPDATE=1` writes the second.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, with the text of what went wrong"
)]

use std::path::Path;

use routeapi_crds::yaml;
use routeapi_injection::{LABEL, Outcome, Refusal, Sidecar, inject, inject_manifest, patch, sidecar::parse_gateway};
use serde_json::{Value, json};

fn sidecar() -> Sidecar {
    Sidecar {
        image: "registry.example/routeapi:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        gateway: "https://routeapi.ai.svc".to_owned(),
        gateway_ca: Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()),
        resources: Sidecar::default_resources(),
        user: Some(Sidecar::DEFAULT_USER),
    }
}

fn pod(spec: &str) -> Value {
    let spec = yaml::read(spec).unwrap().remove(0).value;
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec})
}

fn refused(spec: &str) -> Refusal {
    let (before, mut after) = (pod(spec), pod(spec));
    let refusal = inject(&mut after, &sidecar()).expect_err(spec);
    assert_eq!(before, after, "a refused pod is unchanged");
    refusal
}

#[test]
fn manifests_are_injected_as_the_golden_files_say() {
    for name in ["pod", "workloads"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
        let given = std::fs::read_to_string(directory.join(format!("{name}.yaml"))).unwrap();
        let mut said = Vec::new();
        let injected = |document: yaml::Document| {
            let mut object = document.value;
            said.extend(inject_manifest(&mut object, &sidecar()).iter().map(|workload| format!("# {workload}\n")));
            let twice = &mut object.clone();
            for workload in inject_manifest(twice, &sidecar()) {
                assert_ne!(workload.outcome, Ok(Outcome::Injected), "{workload}");
            }
            assert_eq!(*twice, object, "the second time changes nothing");
            yaml::write(&object).unwrap()
        };
        let documents: Vec<_> = yaml::read(&given).unwrap().into_iter().map(injected).collect();
        let result = said.concat() + &documents.join("---\n");
        let path = directory.join(format!("{name}.out.yaml"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &result).unwrap();
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(wanted == result, "{}: not what is there; UPDATE=1 writes it:\n{result}", path.display());
    }
}

#[test]
fn a_pod_that_cannot_have_the_sidecar_is_refused_with_the_field() {
    let app = "containers: [{name: app}]";
    assert_eq!(refused(&format!("{{hostNetwork: true, {app}}}")), Refusal::HostNetwork);
    assert_eq!(refused(&format!("{{os: {{name: windows}}, {app}}}")), Refusal::Windows);
    for (spec, field) in [
        ("containers: [{name: routeapi, args: [sidecar], restartPolicy: Always}]", "spec.containers"),
        ("{containers: [], initContainers: [{name: routeapi, args: [sidecar]}]}", "spec.initContainers"),
        ("{containers: [], initContainers: [{name: routeapi, restartPolicy: Always}]}", "spec.initContainers"),
    ] {
        assert_eq!(refused(spec), Refusal::ContainerName(field), "{spec}");
    }
    assert_eq!(
        refused(&format!("{{{app}, volumes: [{{name: routeapi-token, emptyDir: {{}}}}]}}")),
        Refusal::VolumeName
    );
    for port in [4000, 4090] {
        let refusal = refused(&format!("containers: [{{name: app, ports: [{{containerPort: {port}}}]}}]"));
        let said = format!("spec.containers: container app has port {port}, which is the sidecar's");
        assert_eq!(refusal.to_string(), said);
    }
}

#[test]
fn malformed_manifests_are_refused_with_the_field() {
    for (spec, field) in [
        ("containers: {name: app}", "spec.containers"),
        ("containers: [app]", "spec.containers"),
        ("{containers: [], initContainers: 1}", "spec.initContainers"),
        ("{containers: [], volumes: text}", "spec.volumes"),
        ("containers: [{name: app, env: 1}]", "spec.containers"),
    ] {
        let mut pod = pod(spec);
        assert_eq!(inject(&mut pod, &sidecar()), Err(Refusal::Malformed(field)), "{spec}");
    }
    assert_eq!(inject(&mut json!({"spec": []}), &sidecar()), Err(Refusal::Malformed("spec")));
    assert_eq!(inject(&mut json!([]), &sidecar()), Err(Refusal::Malformed("spec")));
    let mut deep = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": []}});
    for _ in 0..100 {
        deep = json!({"apiVersion": "v1", "kind": "List", "items": [deep]});
    }
    assert_eq!(inject_manifest(&mut deep, &sidecar()), []);
}

#[test]
fn containers_that_came_later_get_the_variables_only() {
    let mut pod = pod("containers: [{name: app}]");
    inject(&mut pod, &sidecar()).unwrap();
    let injected = pod["spec"]["initContainers"].clone();
    pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late"}));
    let newer = Sidecar { image: "registry.example/routeapi:2".to_owned(), ..sidecar() };
    assert_eq!(inject(&mut pod, &newer), Ok(Outcome::Injected));
    assert_eq!(pod["spec"]["initContainers"], injected, "the sidecar that is there stays");
    assert_eq!(pod["spec"]["containers"][1]["env"], pod["spec"]["containers"][0]["env"]);
    assert_eq!(inject(&mut pod, &newer), Ok(Outcome::Unchanged));
}

#[test]
fn a_patch_has_one_operation_for_each_list_that_changes() {
    let mut pod = pod("{hostname: kept, containers: [{name: app}]}");
    let operations = patch(&pod, &sidecar()).unwrap();
    let paths: Vec<_> = operations.iter().map(|operation| operation["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/spec/containers", "/spec/initContainers", "/spec/volumes"]);
    inject(&mut pod, &sidecar()).unwrap();
    for operation in &operations {
        assert_eq!(operation["op"], "add");
        assert_eq!(pod.pointer(operation["path"].as_str().unwrap()), Some(&operation["value"]));
    }
    assert_eq!(patch(&pod, &sidecar()).unwrap(), Vec::<Value>::new());
}

#[test]
fn labels_other_than_false_are_no_refusal() {
    for (label, outcome) in [("true", Outcome::Injected), ("yes", Outcome::Injected), ("false", Outcome::OptedOut)] {
        let mut pod = pod("containers: [{name: app}]");
        pod["metadata"]["labels"] = json!({LABEL: label});
        assert_eq!(inject(&mut pod, &sidecar()), Ok(outcome), "{label}");
    }
}

#[test]
fn gateway_is_an_address_with_tls() {
    for (text, host) in
        [("https://gw", "gw"), ("https://gw.ai.svc:8443/", "gw.ai.svc:8443"), ("https://[::1]", "[::1]")]
    {
        assert_eq!(parse_gateway(text).unwrap(), format!("https://{host}"));
    }
    for text in
        ["", "gw", "http://gw", "https://", "https:///", "https://:1", "https://a/b", "https://a@b", "https://a b"]
    {
        assert_eq!(parse_gateway(text).unwrap_err().to_string(), format!("{text:?} is not https://host[:port]"));
    }
}

#[test]
fn openshift_assigns_the_user_and_public_cas_need_no_variable() {
    let container = Sidecar { user: None, gateway_ca: None, ..sidecar() }.container();
    assert_eq!(container["securityContext"].get("runAsUser"), None);
    assert_eq!(container["securityContext"]["runAsNonRoot"], true);
    assert_eq!(container.get("env"), None);
}
