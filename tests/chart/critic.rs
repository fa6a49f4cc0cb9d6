//! What kube-score says of everything that the chart renders: nothing, but for what is meant to be so and says why here.

use routeapi_tests::helm::{self, of_kind, template};
use routeapi_tests::tools;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// What no values change.
const NOT_MEANT: [&str; 2] = [
    // A throttled gateway delays every stream, a throttled operator every change. Requests share CPU fairly.
    "--ignore-container-cpu-limit",
    // A release's tag is never moved, and a pod must start again while the registry is away. `digest` pins.
    "--ignore-test=container-image-pull-policy",
];

/// Off unless asked for, and worth asking for.
const ALSO: [&str; 2] =
    ["--enable-optional-test=container-seccomp-profile", "--enable-optional-test=container-ports-check"];

/// Tests that the values given contradict on purpose.
fn contradicted(values: &[String]) -> Vec<&'static str> {
    let file = values.last().map_or("", String::as_str);
    let mut tests = Vec::new();
    if !file.ends_with("everything-values.yaml") {
        tests.push("--ignore-test=pod-networkpolicy"); // off by default: many clusters have policies of their own
    }
    if file.ends_with("least-values.yaml") {
        tests.push("--ignore-test=deployment-replicas");
    }
    tests
}

/// The complaints, one per line.
fn score_messages(manifest: &str, more: &[&str]) -> Vec<String> {
    let mut command = Command::new(tools::tool("kube-score").unwrap());
    command
        .args(["score", "--output-format=ci", "--kubernetes-version=v1.34"])
        .args(NOT_MEANT)
        .args(ALSO)
        .args(more)
        .arg("-");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().filter(|line| line.starts_with("[OK]")).count() > 10, "{said}");
    said.lines().filter(|line| !line.starts_with("[OK]") && !line.starts_with("[SKIPPED]")).map(str::to_owned).collect()
}

#[test]
fn kube_score_reports_nothing() {
    for values in helm::all_values() {
        let args: Vec<&str> = values.iter().map(String::as_str).collect();
        let manifest = helm::manifest(helm::HELMS[0], "rel", "sys", &args).unwrap();
        let found = score_messages(&manifest, &contradicted(&values));
        assert!(found.is_empty(), "{args:?}:\n{}", found.join("\n"));
    }
    // The critic is awake.
    let manifest = helm::manifest(helm::HELMS[0], "rel", "sys", &[]).unwrap();
    let worse = manifest.replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false");
    assert_eq!(score_messages(&worse, &contradicted(&[])).len(), 3);
}

/// Of kube-linter's checks those that neither kube-score nor Pod Security "restricted" has.
#[test]
fn accounts_permissions_and_ports_are_minimal() {
    for values in helm::all_values() {
        let args: Vec<&str> = values.iter().map(String::as_str).collect();
        let objects = template("rel", "sys", &args).unwrap();
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        let accounts: BTreeSet<String> = of_kind(&objects, "ServiceAccount").into_iter().map(name).collect();
        let mut pods: Vec<&Value> =
            of_kind(&objects, "Deployment").iter().map(|deployment| &deployment["spec"]["template"]).collect();
        pods.extend(of_kind(&objects, "Pod"));
        for pod in &pods {
            let account = pod["spec"]["serviceAccountName"].as_str().unwrap();
            assert!(accounts.contains(account) || account == "given", "{account}");
            let container = &pod["spec"]["containers"][0];
            for port in container["ports"].as_array().into_iter().flatten() {
                assert!(port["containerPort"].as_u64().unwrap() >= 1024, "{port}");
            }
            for variable in container["env"].as_array().into_iter().flatten() {
                let secret = ["KEY", "TOKEN", "PASSWORD", "SECRET"]
                    .iter()
                    .any(|word| variable["name"].to_string().contains(word));
                assert!(!secret, "{variable}: secrets are files");
            }
        }
        for role in of_kind(&objects, "ClusterRole").into_iter().chain(of_kind(&objects, "Role")) {
            for rule in role["rules"].as_array().unwrap() {
                assert!(!rule.to_string().contains("\"*\""), "{rule}");
                assert!(!rule["resources"].to_string().contains("pods"), "{rule}");
            }
        }
        for binding in of_kind(&objects, "ClusterRoleBinding").into_iter().chain(of_kind(&objects, "RoleBinding")) {
            let (kind, bound) = (binding["roleRef"]["kind"].as_str().unwrap(), &binding["roleRef"]["name"]);
            let ours = of_kind(&objects, kind).iter().any(|role| role["metadata"]["name"] == *bound);
            assert!(ours, "{bound} is a role that somebody else made");
        }
    }
}
