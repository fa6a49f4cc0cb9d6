//! Values: the defaults and both extremes lint and render; a wrong name or type is refused with its path.

use routeapi_crds::yaml;
use routeapi_tests::helm::{self, of_kind, template};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[test]
fn defaults_and_both_extremes_pass_a_strict_lint() {
    for args in [
        vec![],
        vec!["-f".to_owned(), helm::values("everything-values.yaml")],
        vec!["-f".to_owned(), helm::values("least-values.yaml")],
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let said = helm::lint(&args).unwrap();
        assert!(said.contains("0 chart(s) failed"), "{args:?}: {said}");
        assert!(!said.contains("[WARNING]"), "{args:?}: {said}");
    }
}

#[test]
fn a_wrong_name_or_type_is_refused_with_its_path() {
    for (value, path, about) in [
        ("dataPlane.replicsa=3", "/dataPlane", "replicsa"),
        ("operater.replicas=3", "", "operater"),
        ("operator.image.tga=x", "/operator/image", "tga"),
        ("dataPlane.autoscaling.enable=true", "/dataPlane/autoscaling", "enable"),
        ("metrics.podMonitor.enabled=yes-please", "/metrics/podMonitor/enabled", "boolean"),
        ("dataPlane.replicas=0", "/dataPlane/replicas", "minimum"),
        ("operator.image.digest=latest", "/operator/image/digest", "pattern"),
        ("dataPlane.url=ai.example.com", "/dataPlane/url", "pattern"),
        ("dataPlane.drain.delay=soon", "/dataPlane/drain/delay", "pattern"),
    ] {
        let refused = template("rel", "sys", &["--set", value]).expect_err(value).to_string();
        assert!(refused.contains(&format!("at '{path}'")) && refused.contains(about), "{value}: {refused}");
    }
}

/// On by default, because an installation without them is no working one; `least-values.yaml` turns them off.
const ON_BY_DEFAULT: [&str; 7] = [
    "crds.install",
    "rbac.create",
    "rbac.aggregate",
    "operator.serviceAccount.create",
    "operator.pdb.create",
    "dataPlane.serviceAccount.create",
    "dataPlane.pdb.create",
];

#[test]
fn every_option_there_is_takes_part_in_these_tests() {
    let defaults = leaves(&read("values.yaml"));
    let everything = leaves(&read("ci/everything-values.yaml"));
    let least = leaves(&read("ci/least-values.yaml"));
    let under = |all: &BTreeMap<String, Value>, path: &str| {
        let inside = format!("{path}.");
        all.keys().any(|known| known == path || known.starts_with(&inside))
    };
    for (path, default) in &defaults {
        assert!(under(&everything, path), "{path} is missing in everything-values.yaml");
        let switch = ON_BY_DEFAULT.contains(&path.as_str());
        assert!(switch || everything.get(path) != Some(default), "{path} is at its default in everything-values.yaml");
        assert!(!switch || least.get(path) == Some(&Value::Bool(false)), "{path} is on in least-values.yaml");
    }
}

#[test]
fn every_switch_takes_its_objects_away() {
    let count = |args: &[&str]| {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for object in template("rel", "sys", args).unwrap() {
            *kinds.entry(object["kind"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(count(&["-f", &helm::values("least-values.yaml")]), "2 Deployment, 2 Service");
    let defaults = "3 ClusterRole, 1 ClusterRoleBinding, 3 CustomResourceDefinition, 2 Deployment, 2 PodDisruptionBudget, \
                    2 Role, 2 RoleBinding, 2 Service, 2 ServiceAccount";
    assert_eq!(count(&[]), defaults);
    let everything = "3 ClusterRole, 1 ClusterRoleBinding, 3 CustomResourceDefinition, 2 Deployment, \
                      1 HorizontalPodAutoscaler, 2 NetworkPolicy, 2 PodDisruptionBudget, 2 PodMonitor, 5 Role, \
                      5 RoleBinding, 2 Service, 2 ServiceAccount";
    assert_eq!(count(&["-f", &helm::values("everything-values.yaml")]), everything);
}

#[test]
fn selectors_find_the_pods_they_are_meant_for() {
    let objects = template("rel", "sys", &["-f", &helm::values("everything-values.yaml")]).unwrap();
    let deployments = of_kind(&objects, "Deployment");
    let labels = |pod: &Value| pod["spec"]["template"]["metadata"]["labels"].as_object().unwrap().clone();
    let matching = |selector: &Value| {
        let selector = selector.as_object().unwrap();
        let fits = |pod: &Map<String, Value>| selector.iter().all(|(name, value)| pod.get(name) == Some(value));
        deployments.iter().filter(|pod| fits(&labels(pod))).count()
    };
    let mut seen = 0;
    for object in &objects {
        let selector = match object["kind"].as_str().unwrap() {
            "Service" => &object["spec"]["selector"],
            "Deployment" | "PodDisruptionBudget" | "PodMonitor" => &object["spec"]["selector"]["matchLabels"],
            "NetworkPolicy" => &object["spec"]["podSelector"]["matchLabels"],
            _ => continue,
        };
        assert_eq!(matching(selector), 1, "{}", object["metadata"]["name"]);
        seen += 1;
    }
    assert_eq!(seen, 10);
    for monitor in of_kind(&objects, "PodMonitor") {
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        assert_eq!((&endpoint["port"], &endpoint["interval"]), (&"admin".into(), &"15s".into()));
        assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    }
}

fn read(file: &str) -> Value {
    let text = std::fs::read_to_string(helm::chart().join(file)).unwrap();
    yaml::read(&text).unwrap().remove(0).value
}

/// Every value that is no object with members, by its path.
fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    collect(value, String::new(), &mut found);
    found
}

fn collect(value: &Value, path: String, found: &mut BTreeMap<String, Value>) {
    match value.as_object().filter(|members| !members.is_empty()) {
        None => drop(found.insert(path, value.clone())),
        Some(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(member, path, found);
            }
        }
    }
}
