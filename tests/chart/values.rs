//! Values: the defaults and both extremes lint and render; a wrong name or type is refused with its path.

use routeapi_crds::yaml;
use routeapi_tests::helm::{self, of_kind, template};
use serde_json::Value;
use std::collections::BTreeMap;

#[test]
fn defaults_and_all_values_files_pass_a_strict_lint() {
    for args in helm::all_values() {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        for program in helm::HELMS {
            let said = helm::lint(program, &args).unwrap();
            assert!(said.contains("0 chart(s) failed"), "{program} {args:?}: {said}");
            assert!(!said.contains("[WARNING]"), "{program} {args:?}: {said}");
        }
    }
}

#[test]
fn every_helm_renders_the_same() {
    for args in helm::all_values() {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let [by_3, by_4] = helm::HELMS.map(|program| {
            let text = helm::manifest(program, "rel", "sys", &args).unwrap();
            let objects = yaml::read(&text).unwrap().into_iter().map(|document| document.value);
            objects.map(|it| (format!("{} {}", it["kind"], it["metadata"]), it)).collect::<BTreeMap<_, _>>()
        });
        assert!(by_3.len() > 4 && by_3 == by_4, "{args:?}\n{by_3:#?}\n{by_4:#?}");
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
        ("dataPlane.extraEnvFrom.configMapRef.name=x", "/dataPlane/extraEnvFrom", "array"),
        ("operator.extraVolumeMount[0].name=x", "/operator", "extraVolumeMount"),
        ("dataPlane.autoscaling.behavior.scaledown.x=1", "/dataPlane/autoscaling/behavior", "scaledown"),
        ("metrics.serviceMonitor.interval=often", "/metrics/serviceMonitor/interval", "pattern"),
        ("bindAddress=10.0.0.1", "/bindAddress", "'[::]'"),
        ("metrics.dashboard.enable=true", "/metrics/dashboard", "enable"),
        ("networkPolicy.apiServerPorts[0]=https", "/networkPolicy/apiServerPorts/0", "integer"),
    ] {
        let refused = template("rel", "sys", &["--set", value]).expect_err(value).to_string();
        assert!(refused.contains(&format!("at '{path}'")) && refused.contains(about), "{value}: {refused}");
    }
}

#[test]
fn an_account_that_nobody_makes_has_to_be_named() {
    for component in ["operator", "dataPlane"] {
        let refused = template("rel", "sys", &["--set", &format!("{component}.serviceAccount.create=false")]);
        let said = refused.unwrap_err().to_string();
        assert!(said.contains(&format!("{component}.serviceAccount.name: with serviceAccount.create off")), "{said}");
    }
}

#[test]
fn what_excludes_each_other_is_refused_together() {
    let both = ["--set", "metrics.podMonitor.enabled=true", "--set", "metrics.serviceMonitor.enabled=true"];
    let refused = template("rel", "sys", &both).unwrap_err().to_string();
    assert!(refused.contains("metrics.podMonitor.enabled and metrics.serviceMonitor.enabled: choose one"), "{refused}");
}

/// On by default, because an installation without them is no working one; `least-values.yaml` turns them off.
const ON_BY_DEFAULT: [&str; 8] = [
    "crds.install",
    "rbac.create",
    "rbac.restrictSecretWrites",
    "rbac.aggregate",
    "operator.serviceAccount.create",
    "operator.pdb.create",
    "dataPlane.serviceAccount.create",
    "dataPlane.pdb.create",
];

#[test]
fn every_option_there_is_takes_part_in_these_tests() {
    let defaults = leaves(&read("values.yaml"));
    let mut everything = leaves(&read("ci/everything-values.yaml"));
    everything.extend(leaves(&read("ci/service-monitor-values.yaml")));
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
    assert_eq!(count(&["-f", &helm::values("least-values.yaml")]), "2 Deployment, 1 Pod, 2 Service");
    let defaults = "3 ClusterRole, 1 ClusterRoleBinding, 3 CustomResourceDefinition, 2 Deployment, 1 Pod, \
                    2 PodDisruptionBudget, 2 Role, 2 RoleBinding, 2 Service, 2 ServiceAccount, \
                    1 ValidatingAdmissionPolicy, 1 ValidatingAdmissionPolicyBinding";
    assert_eq!(count(&[]), defaults);
    let everything = "3 ClusterRole, 1 ClusterRoleBinding, 1 ConfigMap, 3 CustomResourceDefinition, 2 Deployment, \
                      1 HorizontalPodAutoscaler, 3 NetworkPolicy, 1 Pod, 2 PodDisruptionBudget, 2 PodMonitor, 5 Role, \
                      5 RoleBinding, 2 Service, 2 ServiceAccount, 1 ValidatingAdmissionPolicy, \
                      1 ValidatingAdmissionPolicyBinding";
    assert_eq!(count(&["-f", &helm::values("everything-values.yaml")]), everything);
    let with_services =
        defaults.replace("2 Service,", "3 Service,").replace("2 ServiceAccount", "2 ServiceAccount, 2 ServiceMonitor");
    assert_eq!(count(&["-f", &helm::values("service-monitor-values.yaml")]), with_services);
}

#[test]
fn selectors_find_the_pods_they_are_meant_for() {
    let mut seen = 0;
    for args in helm::all_values() {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let objects = template("rel", "sys", &args).unwrap();
        let mut pods = of_kind(&objects, "Pod");
        pods.extend(of_kind(&objects, "Deployment").iter().map(|it| &it["spec"]["template"]));
        for object in &objects {
            let selector = match object["kind"].as_str().unwrap() {
                "Service" => &object["spec"]["selector"],
                "Deployment" | "PodDisruptionBudget" | "PodMonitor" => &object["spec"]["selector"]["matchLabels"],
                "NetworkPolicy" => &object["spec"]["podSelector"]["matchLabels"],
                _ => continue,
            };
            assert_eq!(matching(selector, &pods).len(), 1, "{args:?}: {}", object["metadata"]["name"]);
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_monitor_finds_one_admin_port_of_each_program() {
    for (file, kind) in [("everything-values.yaml", "PodMonitor"), ("service-monitor-values.yaml", "ServiceMonitor")] {
        let objects = template("rel", "sys", &["-f", &helm::values(file)]).unwrap();
        let monitors = of_kind(&objects, kind);
        assert_eq!(monitors.len(), 2, "{file}");
        for monitor in monitors {
            let spec = &monitor["spec"];
            let selector = &spec["selector"]["matchLabels"];
            let (endpoint, ports) = if kind == "PodMonitor" {
                let pods = of_kind(&objects, "Deployment").iter().map(|it| &it["spec"]["template"]).collect::<Vec<_>>();
                let found = matching(selector, &pods);
                (&spec["podMetricsEndpoints"][0], vec![&found[0]["spec"]["containers"][0]["ports"]])
            } else {
                let found = matching(selector, &of_kind(&objects, "Service"));
                (&spec["endpoints"][0], found.iter().map(|service| &service["spec"]["ports"]).collect())
            };
            let named =
                ports.iter().flat_map(|list| list.as_array().unwrap()).filter(|it| it["name"] == endpoint["port"]);
            assert_eq!(named.count(), 1, "{}", monitor["metadata"]["name"]);
            assert_eq!((&endpoint["port"], &endpoint["interval"]), (&"admin".into(), &"15s".into()));
            assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
        }
    }
}

/// Those of the objects that have these labels.
fn matching<'a>(selector: &Value, objects: &[&'a Value]) -> Vec<&'a Value> {
    let selector = selector.as_object().unwrap();
    let fits = |object: &&&Value| {
        let labels = &object["metadata"]["labels"];
        selector.iter().all(|(name, value)| labels.get(name) == Some(value))
    };
    objects.iter().filter(fits).copied().collect()
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
