//! Sidecars: what adds them to pods, and that the policy's CEL says what the operator's webhook does.

use routeapi_injection::{Sidecar, sidecar::VARIABLES};
use routeapi_tests::helm::{arguments, of_kind, template};
use serde_json::{Value, json};

const STABLE: [&str; 3] =
    ["--kube-version=1.36.0", "--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"];
const BETA: [&str; 2] = ["--api-versions", "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy"];

fn rendered(args: &[&str]) -> Result<Vec<Value>, String> {
    template("rel", "sys", &[&["--set", "sidecar.enabled=true"], args].concat()).map_err(|error| error.to_string())
}

fn mode(args: &[&str]) -> String {
    let objects = rendered(args).unwrap();
    let policies = of_kind(&objects, "MutatingAdmissionPolicy");
    match (policies.first(), of_kind(&objects, "MutatingWebhookConfiguration").len()) {
        (Some(policy), 0) => policy["apiVersion"].as_str().unwrap().to_owned(),
        (None, 1) => "webhook".to_owned(),
        (None, 0) => "none".to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_policy_is_chosen_where_it_is_stable() {
    let set = |mode: &'static str| ["--set", mode];
    assert_eq!(mode(&STABLE), "admissionregistration.k8s.io/v1");
    assert_eq!(mode(&[]), "webhook");
    assert_eq!(mode(&BETA), "webhook", "its feature gate may be off");
    assert_eq!(mode(&STABLE[1..]), "webhook", "helm knows the kind, the cluster is older");
    let policy = set("sidecar.injection.mode=Policy");
    assert_eq!(mode(&[&policy[..], &BETA].concat()), "admissionregistration.k8s.io/v1beta1");
    assert_eq!(mode(&[&set("sidecar.injection.mode=Webhook")[..], &STABLE].concat()), "webhook");
    assert_eq!(mode(&set("sidecar.injection.mode=None")), "none");
    assert_eq!(mode(&set("sidecar.enabled=false")), "none");
}

/// A CEL literal as JSON: without `dyn(…)` outside of texts.
fn literal(cel: &str) -> Value {
    let (mut json, mut in_text, mut escaped) = (String::new(), false, false);
    for character in cel.replace("params.data[\"ca.crt\"]", "\"the CA\"").replace("dyn(", "\u{1}").chars() {
        if !in_text && matches!(character, '\u{1}' | ')') {
            continue;
        }
        in_text ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        json.push(character);
    }
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

#[test]
fn the_policy_adds_what_the_webhook_adds() {
    let objects = rendered(&STABLE).unwrap();
    let policy = of_kind(&objects, "MutatingAdmissionPolicy")[0];
    let variables = policy["spec"]["variables"].as_array().unwrap();
    let expression = |name: &str| {
        let found = variables.iter().find(|variable| variable["name"] == name).unwrap();
        found["expression"].as_str().unwrap().to_owned()
    };
    let sidecar = Sidecar {
        image: format!("routeapi:{}", env!("CARGO_PKG_VERSION")),
        pull_policy: "IfNotPresent".to_owned(),
        gateway: "https://rel-routeapi.sys.svc".to_owned(),
        gateway_ca: Some("the CA".to_owned()),
        resources: Sidecar::default_resources(),
        user: Some(Sidecar::DEFAULT_USER),
    };
    assert_eq!(literal(&expression("container")), sidecar.container());
    assert_eq!(literal(&expression("volume")), sidecar.volume());
    let given = literal(&expression("env").replace('\'', "\""));
    let wanted: Vec<Value> = VARIABLES.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    assert_eq!(given, json!(wanted));
}

#[test]
fn policy_and_webhook_are_about_the_same_pods() {
    let watched = ["--set", "watchNamespaces={shop}"];
    let (policy, webhook) = (rendered(&[&watched[..], &STABLE].concat()).unwrap(), rendered(&watched).unwrap());
    let configuration = of_kind(&webhook, "MutatingWebhookConfiguration")[0];
    let hooks = configuration["webhooks"].as_array().unwrap();
    for kind in ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"] {
        let named = |object: &&Value| object["metadata"]["name"] == "sys.rel-routeapi-sidecar";
        let policy = of_kind(&policy, kind).into_iter().find(named).unwrap();
        assert_eq!(policy["spec"]["matchConstraints"]["resourceRules"], hooks[0]["rules"], "{kind}");
        assert_eq!(policy["spec"]["matchConditions"], hooks[0]["matchConditions"], "{kind}");
    }
    for kind in ["MutatingAdmissionPolicyBinding", "ValidatingAdmissionPolicyBinding"] {
        let bindings = of_kind(&policy, kind).into_iter();
        let bindings: Vec<_> = bindings
            .filter(|binding| binding["spec"]["policyName"] == "sys.rel-routeapi-sidecar")
            .map(|binding| &binding["spec"]["matchResources"])
            .collect();
        assert_eq!(bindings.len(), 2, "{kind}");
        for (binding, hook) in bindings.iter().zip(hooks) {
            for selector in ["namespaceSelector", "objectSelector"] {
                assert_eq!(binding[selector], hook[selector], "{kind}");
            }
            assert!(binding["namespaceSelector"].to_string().contains(r#"["shop"]"#), "{binding}");
        }
    }
    assert_eq!(hooks.iter().filter(|hook| hook["clientConfig"].get("caBundle").is_some()).count(), 0);
}

#[test]
fn the_gateway_serves_https_with_a_certificate_of_the_operator() {
    let by = |objects: &[Value], component: &str| -> Vec<String> {
        let deployments = of_kind(objects, "Deployment").into_iter();
        let mut of = deployments.filter(|it| it["metadata"]["labels"]["app.kubernetes.io/component"] == component);
        arguments(of.next().unwrap(), &[])
    };
    let own = rendered(&[]).unwrap();
    assert!(by(&own, "operator").contains(&"--gateway-tls-secret=rel-routeapi-gateway-tls".to_owned()));
    assert!(by(&own, "data-plane").iter().any(|flag| flag.starts_with("--listen-tls=")));
    let given = ["--set", "dataPlane.tls.existingSecret=given,sidecar.gatewayCA.configMap=company"];
    let given = rendered(&given).unwrap();
    let operator = by(&given, "operator");
    assert!(!operator.iter().any(|flag| flag.starts_with("--gateway-tls-secret")), "{operator:?}");
    assert!(operator.contains(&"--sidecar-ca-config-map=company".to_owned()), "{operator:?}");
    let public = rendered(&["--set", "dataPlane.tls.existingSecret=given"]).unwrap();
    assert!(!by(&public, "operator").iter().any(|flag| flag.starts_with("--sidecar-ca-")), "public CAs");
}

#[test]
fn what_cannot_work_is_refused() {
    for (values, says) in [
        ("operator.tlsExistingSecret=given", "requires dataPlane.tls.existingSecret"),
        ("dataPlane.proxyProtocol=true", "set dataPlane.trustedProxies"),
        ("sidecar.injection.mode=Policy", "requires an API server with MutatingAdmissionPolicy"),
    ] {
        let refused = rendered(&["--set", values]).unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
}
