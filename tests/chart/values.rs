//! Values: the defaults and both extremes lint and render; a wrong name or type is refused with its path.

use routeapi_crds::yaml;
use routeapi_tests::helm::{self, of_kind, template};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

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
            objects
                .map(|object| (format!("{} {}", object["kind"], object["metadata"]), object))
                .collect::<BTreeMap<_, _>>()
        });
        assert!(by_3.len() > 4 && by_3 == by_4, "{args:?}\n{by_3:#?}\n{by_4:#?}");
    }
}

#[test]
fn an_unknown_name_or_wrong_type_fails_with_its_path() {
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
        ("dataPlane.service.nodePort=http", "/dataPlane/service/nodePort", "integer"),
        ("dataPlane.service.ipFamilies[0]=IPv5", "/dataPlane/service/ipFamilies/0", "'IPv6'"),
        ("dataPlane.ingress.hosts[0].path=/v1", "/dataPlane/ingress/hosts/0", "path"),
        ("dataPlane.httpRoute.timeouts.request=forever", "/dataPlane/httpRoute/timeouts/request", "pattern"),
        ("dataPlane.lifecycle.prestop.sleep.seconds=1", "/dataPlane/lifecycle", "prestop"),
        ("operator.dnsConfig.nameServers[0]=192.0.2.1", "/operator/dnsConfig", "nameServers"),
        ("dataPlane.autoscaling.targetCPU=half", "/dataPlane/autoscaling/targetCPU", "pattern"),
        ("networkPolicy.apiServerPorts[0]=https", "/networkPolicy/apiServerPorts/0", "integer"),
        ("dataPlane.trustedProxies[0]=everybody", "/dataPlane/trustedProxies/0", "pattern"),
        ("dataPlane.proxyProtocol=v2", "/dataPlane/proxyProtocol", "boolean"),
        ("dataPlane.recordClient[0]=email", "/dataPlane/recordClient/0", "'address'"),
        ("sidecar.enable=true", "/sidecar", "enable"),
        ("sidecar.url=http://gateway", "/sidecar/url", "pattern"),
        ("sidecar.injection.mode=Sometimes", "/sidecar/injection/mode", "'Webhook'"),
    ] {
        let refused = template("rel", "sys", &["--set", value]).expect_err(value).to_string();
        assert!(refused.contains(&format!("at '{path}'")) && refused.contains(about), "{value}: {refused}");
    }
}

#[test]
fn an_existing_service_account_needs_a_name() {
    for component in ["operator", "dataPlane"] {
        let refused = template("rel", "sys", &["--set", &format!("{component}.serviceAccount.create=false")]);
        let said = refused.unwrap_err().to_string();
        assert!(
            said.contains(&format!("{component}.serviceAccount.name: required if serviceAccount.create is false")),
            "{said}"
        );
    }
}

#[test]
fn pod_and_service_monitors_exclude_each_other() {
    let both = ["--set", "metrics.podMonitor.enabled=true", "--set", "metrics.serviceMonitor.enabled=true"];
    let refused = template("rel", "sys", &both).unwrap_err().to_string();
    assert!(
        refused.contains("metrics.podMonitor.enabled and metrics.serviceMonitor.enabled: enable only one"),
        "{refused}"
    );
}

#[test]
fn an_ingress_or_http_route_without_required_values_fails() {
    for (values, said) in [
        (vec!["dataPlane.ingress.enabled=true"], "dataPlane.ingress.hosts: set at least one"),
        (
            vec![
                "dataPlane.ingress.enabled=true",
                "dataPlane.ingress.hosts[0].host=a",
                "dataPlane.ingress.servicePort=https",
            ],
            "requires dataPlane.tls.existingSecret",
        ),
        (vec!["dataPlane.httpRoute.enabled=true"], "dataPlane.httpRoute.parentRefs: set the Gateway"),
    ] {
        let args: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
        let refused = template("rel", "sys", &args).unwrap_err().to_string();
        assert!(refused.contains(said), "{values:?}: {refused}");
    }
}

#[test]
fn an_ingress_and_an_http_route_use_existing_service_ports() {
    for tls in [false, true] {
        let mut args = vec!["--set", "dataPlane.ingress.enabled=true,dataPlane.ingress.hosts[0].host=ai.example.com"];
        args.extend(["--set", "dataPlane.httpRoute.enabled=true,dataPlane.httpRoute.parentRefs[0].name=public"]);
        if tls {
            args.extend(["--set", "dataPlane.tls.existingSecret=serving,dataPlane.ingress.servicePort=https"]);
        }
        let objects = template("rel", "sys", &args).unwrap();
        let services = of_kind(&objects, "Service");
        let port = |service: &Value, field: &str, value: &Value| {
            let named =
                services.iter().find(|object| object["metadata"]["name"] == *service).expect("a Service of this name");
            named["spec"]["ports"].as_array().unwrap().iter().find(|port| port[field] == *value).cloned()
        };
        let path = &of_kind(&objects, "Ingress")[0]["spec"]["rules"][0]["http"]["paths"][0];
        assert_eq!((&path["path"], &path["pathType"]), (&"/".into(), &"Prefix".into()));
        let backend = &path["backend"]["service"];
        let found = port(&backend["name"], "name", &backend["port"]["name"]).unwrap();
        assert_eq!(found["targetPort"], if tls { "https" } else { "http" });
        let backend = &of_kind(&objects, "HTTPRoute")[0]["spec"]["rules"][0]["backendRefs"][0];
        assert_eq!(port(&backend["name"], "port", &backend["port"]).unwrap()["targetPort"], "http");
    }
}

#[test]
fn security_contexts_are_replaced_field_by_field() {
    let values = r#"{"podSecurityContext": {"runAsUser": 1234, "fsGroup": null}, "securityContext": {"readOnlyRootFilesystem": false}}"#;
    for component in ["operator", "dataPlane"] {
        let objects = template("rel", "sys", &["--set-json", &format!("{component}={values}")]).unwrap();
        let name = if component == "operator" { "rel-routeapi-operator" } else { "rel-routeapi" };
        let deployments = of_kind(&objects, "Deployment");
        let pod = &deployments.iter().find(|deployment| deployment["metadata"]["name"] == name).unwrap()["spec"]["template"]
            ["spec"];
        let expected = serde_json::json!({"runAsNonRoot": true, "runAsUser": 1234, "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"}});
        assert_eq!(pod["securityContext"], expected);
        let expected = serde_json::json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": false,
            "capabilities": {"drop": ["ALL"]}});
        assert_eq!(pod["containers"][0]["securityContext"], expected);
    }
}

#[test]
fn the_autoscaler_targets_cpu_per_pod_and_scales_in_few_steps() {
    let scaler = |args: &[&str]| {
        let on = [&["--set", "dataPlane.autoscaling.enabled=true"], args].concat();
        of_kind(&template("rel", "sys", &on).unwrap(), "HorizontalPodAutoscaler")[0]["spec"].clone()
    };
    let target = |spec: &Value| spec["metrics"][0]["resource"]["target"].clone();
    let default = scaler(&[]);
    assert_eq!(target(&default), serde_json::json!({"type": "AverageValue", "averageValue": "500m"}));
    assert_eq!(default["behavior"]["scaleUp"]["stabilizationWindowSeconds"], 60);
    assert_eq!(
        default["behavior"]["scaleDown"]["policies"][0],
        serde_json::json!({"type": "Pods", "value": 1, "periodSeconds": 180})
    );
    let percent = scaler(&["--set", "dataPlane.autoscaling.targetCPUUtilizationPercentage=80"]);
    assert_eq!(target(&percent), serde_json::json!({"type": "Utilization", "averageUtilization": 80}));
    assert_eq!(percent["metrics"].as_array().unwrap().len(), 1, "one of the two counts");
    assert_eq!(target(&scaler(&["--set", "dataPlane.autoscaling.targetCPU=2"]))["averageValue"], "2");
}

#[test]
fn object_names_are_unique_to_the_release() {
    let names = |release: &str, namespace: &str| {
        let objects = template(release, namespace, &["--set", "crds.install=false"]).unwrap();
        let name = |it: &Value| format!("{} {}/{}", it["kind"], it["metadata"]["namespace"], it["metadata"]["name"]);
        objects.iter().map(name).collect::<std::collections::BTreeSet<_>>()
    };
    // Joined by a dash, these two would be the same; the next two are of one namespace, and then of one name.
    for (one, other) in
        [(("c", "a-b"), ("b-c", "a")), (("one", "sys"), ("two", "sys")), (("one", "sys"), ("one", "other"))]
    {
        let (one, other) = (names(one.0, one.1), names(other.0, other.1));
        assert!(one.len() > 10 && one.is_disjoint(&other), "{:?}", one.intersection(&other).collect::<Vec<_>>());
    }
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
fn the_tests_cover_every_value() {
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
fn every_value_changes_the_rendered_objects() {
    let defaults = read("values.yaml");
    let mut everything = read("ci/everything-values.yaml");
    for (path, value) in leaves(&read("ci/service-monitor-values.yaml")) {
        put(&mut everything, &path, value);
    }
    put(&mut everything, "metrics.podMonitor.enabled", Value::Bool(false));
    let paths: Vec<String> = leaves(&defaults).into_keys().collect();
    let all = rendered(&everything);
    let without_effect = |path: &String| {
        let (default, mut other) = (at(&defaults, path), at(&everything, path));
        if let Some(switch) = default.as_bool().filter(|_| default == other) {
            other = Value::Bool(!switch);
        }
        let (mut with, mut without, mut alone) = (everything.clone(), everything.clone(), serde_json::json!({}));
        put(&mut with, path, other.clone());
        put(&mut without, path, default.clone());
        // What another value overrides there may still count alone, if the switch above it is on.
        put(&mut alone, path, other);
        for (end, _) in path.match_indices('.') {
            let switch = format!("{}.enabled", &path[..end]);
            if *path != switch && at(&defaults, &switch) == Value::Bool(false) {
                put(&mut alone, &switch, Value::Bool(true));
                put(&mut alone, "dataPlane.ingress.hosts", serde_json::json!([{"host": "ai.example.com"}]));
                put(&mut alone, "dataPlane.httpRoute.parentRefs", serde_json::json!([{"name": "public"}]));
                put(&mut alone, "sidecar.image.repository", serde_json::json!("ai/routeapi"));
                put(&mut alone, "sidecar.gatewayCA.configMap", serde_json::json!("company-ca"));
            }
        }
        let mut with_default = alone.clone();
        put(&mut with_default, path, default);
        let whole = if with == everything { Arc::clone(&all) } else { rendered(&with) };
        whole == rendered(&without) && rendered(&alone) == rendered(&with_default)
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let silent: Vec<String> = std::thread::scope(|scope| {
        let (paths, check) = (&paths, &without_effect);
        let part = |nth| {
            move || paths.iter().skip(nth).step_by(threads).filter(|path| check(path)).cloned().collect::<Vec<_>>()
        };
        let parts: Vec<_> = (0..threads).map(|nth| scope.spawn(part(nth))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert_eq!(silent, Vec::<String>::new(), "these change nothing");
}

/// What values render to, or why they are refused, which is an effect too.
fn rendered(values: &Value) -> Arc<Result<String, String>> {
    let file = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    std::fs::write(file.path(), values.to_string()).unwrap();
    let args = ["-f", &file.path().display().to_string()];
    let text = helm::manifest(helm::HELMS[0], "rel", "sys", &args);
    // The file's name, which differs each time, may be part of a refusal.
    Arc::new(text.map_err(|error| error.to_string().replace(args[1], "FILE")))
}

fn at(values: &Value, path: &str) -> Value {
    path.split('.').fold(values, |values, name| &values[name]).clone()
}

fn put(values: &mut Value, path: &str, value: Value) {
    let place = path.split('.').fold(values, |values, name| {
        if !values.is_object() {
            *values = serde_json::json!({});
        }
        values.as_object_mut().unwrap().entry(name).or_insert(Value::Null)
    });
    *place = value;
}

#[test]
fn every_switch_removes_its_objects() {
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
                      1 HTTPRoute, 1 HorizontalPodAutoscaler, 1 Ingress, 3 NetworkPolicy, 1 Pod, 2 PodDisruptionBudget, 2 PodMonitor, 5 Role, \
                      5 RoleBinding, 2 Service, 2 ServiceAccount, 1 ValidatingAdmissionPolicy, \
                      1 ValidatingAdmissionPolicyBinding";
    assert_eq!(count(&["-f", &helm::values("everything-values.yaml")]), everything);
    let with_services =
        defaults.replace("2 Service,", "3 Service,").replace("2 ServiceAccount", "2 ServiceAccount, 2 ServiceMonitor");
    assert_eq!(count(&["-f", &helm::values("service-monitor-values.yaml")]), with_services);
}

#[test]
fn selectors_match_the_right_pods() {
    let mut seen = 0;
    for args in helm::all_values() {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let objects = template("rel", "sys", &args).unwrap();
        let mut pods = of_kind(&objects, "Pod");
        pods.extend(of_kind(&objects, "Deployment").iter().map(|deployment| &deployment["spec"]["template"]));
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
fn every_monitor_selects_one_admin_port_of_each_component() {
    for (file, kind) in [("everything-values.yaml", "PodMonitor"), ("service-monitor-values.yaml", "ServiceMonitor")] {
        let objects = template("rel", "sys", &["-f", &helm::values(file)]).unwrap();
        let monitors = of_kind(&objects, kind);
        assert_eq!(monitors.len(), 2, "{file}");
        for monitor in monitors {
            let spec = &monitor["spec"];
            let selector = &spec["selector"]["matchLabels"];
            let (endpoint, ports) = if kind == "PodMonitor" {
                let pods = of_kind(&objects, "Deployment")
                    .iter()
                    .map(|deployment| &deployment["spec"]["template"])
                    .collect::<Vec<_>>();
                let found = matching(selector, &pods);
                (&spec["podMetricsEndpoints"][0], vec![&found[0]["spec"]["containers"][0]["ports"]])
            } else {
                let found = matching(selector, &of_kind(&objects, "Service"));
                (&spec["endpoints"][0], found.iter().map(|service| &service["spec"]["ports"]).collect())
            };
            let named =
                ports.iter().flat_map(|list| list.as_array().unwrap()).filter(|port| port["name"] == endpoint["port"]);
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
