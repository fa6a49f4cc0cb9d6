//! A real API server takes everything that the chart renders, as it is, and the pods as restricted ones.

use routeapi_crds::yaml;
use routeapi_tests::apiserver::ApiServer;
use routeapi_tests::helm::{self, of_kind, template};
use serde_json::{Value, json};

/// Renders for a namespace of the server's and returns what it takes: it knows no monitors, whose CRDs are another
/// project's. A dry run makes no accounts, without which no Pod is taken: they are made here.
async fn rendered(api: &ApiServer, namespace: &str, args: &[&str]) -> Vec<Value> {
    let mut objects = template("rel", namespace, args).unwrap();
    objects.retain(|object| object["apiVersion"] != "monitoring.coreos.com/v1");
    for pod in of_kind(&objects, "Pod") {
        let account = pod["spec"]["serviceAccountName"].as_str().unwrap();
        api.ensure_service_account(namespace, account).await.unwrap();
    }
    objects
}

async fn dry_run(api: &ApiServer, objects: &[Value]) -> String {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let args = ["apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "-f", "-"];
    api.kubectl_with_input(&args, &list).await.unwrap()
}

/// The CRDs first and for real: the server must know the kinds.
async fn server() -> &'static ApiServer {
    static ONCE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let api = ApiServer::shared().await;
    ONCE.get_or_init(|| async {
        api.apply_crds().await.unwrap();
        for namespace in ["shop", "search", "keys", "more-keys"] {
            api.namespace_named(namespace, &[]).await.unwrap();
        }
    })
    .await;
    api
}

#[tokio::test]
async fn the_server_takes_every_object_without_a_warning() {
    let api = server().await;
    for args in helm::all_values() {
        let namespace = api.namespace("chart").await.unwrap();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let objects = rendered(api, &namespace, &args).await;
        let said = dry_run(api, &objects).await;
        assert_eq!(said.lines().count(), objects.len(), "{said}");
        assert!(said.lines().all(|line| line.ends_with("serverside-applied (server dry run)")), "{said}");
    }
}

#[tokio::test]
async fn the_pods_are_restricted_ones() {
    let api = server().await;
    let namespace = format!("restricted-{}", api.unique());
    let label = ("pod-security.kubernetes.io/enforce", "restricted");
    api.namespace_named(&namespace, &[label]).await.unwrap();
    for account in ["rel-routeapi", "rel-routeapi-operator"] {
        api.ensure_service_account(&namespace, account).await.unwrap();
    }
    let objects = rendered(api, &namespace, &[]).await;
    let pod = |deployment: &Value| {
        let mut pod = deployment["spec"]["template"].clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = deployment["metadata"]["name"].clone();
        pod["metadata"]["namespace"] = json!(namespace);
        pod
    };
    let mut pods: Vec<Value> = of_kind(&objects, "Deployment").into_iter().map(pod).collect();
    pods.extend(of_kind(&objects, "Pod").into_iter().cloned());
    assert_eq!(dry_run(api, &pods).await.lines().count(), 3);

    // The judge is awake.
    pods[0]["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    let text = pods[0].to_string();
    let refused = api.kubectl_with_input(&["apply", "--dry-run=server", "-f", "-"], &text).await.unwrap_err();
    assert!(refused.to_string().contains("violates PodSecurity"), "{refused}");
}

#[tokio::test]
async fn an_installation_upgrades_and_its_notes_are_true() {
    let api = server().await;
    for program in helm::HELMS {
        let namespace = api.namespace("install").await.unwrap();
        let (kubeconfig, chart) = (api.kubeconfig(), helm::chart().display().to_string());
        let run = |verb: &str, more: &[&str]| {
            let args = [verb, "routeapi", "--namespace", &namespace];
            helm::run(program, args.iter().chain(more), Some(&kubeconfig)).unwrap()
        };
        let notes = run("install", &[&chart, "--set", "crds.install=false"]);
        let address = format!("serves at http://routeapi.{namespace}.svc\n");
        assert!(notes.contains(&address), "{program}: {notes}");
        what_the_notes_show_is_taken(api, &namespace, &notes).await;

        run("upgrade", &[&chart, "--set", "crds.install=false", "--set", "dataPlane.replicas=5"]);
        let replicas = ["-n", &namespace, "get", "deployment", "routeapi", "-o", "jsonpath={.spec.replicas}"];
        assert_eq!(api.kubectl(&replicas).await.unwrap(), "5", "{program}");
        run("uninstall", &[]);
        let left = api.kubectl(&["-n", &namespace, "get", "deployments,roles,services", "-o", "name"]).await.unwrap();
        assert_eq!(left, "", "{program}");
        api.kubectl(&["get", "crd", "airoutes.routeapi.dev"]).await.unwrap();
    }
}

/// The manifests in the notes are ones that the server takes, and the Secret they name is the operator's.
async fn what_the_notes_show_is_taken(api: &ApiServer, namespace: &str, notes: &str) {
    let manifests = notes.split("<<'YAML'\n").nth(1).unwrap().split("\n   YAML").next().unwrap();
    let plain: Vec<&str> = manifests.lines().map(|line| line.strip_prefix("   ").unwrap_or(line)).collect();
    assert_eq!(yaml::read(&plain.join("\n")).unwrap().len(), 3);
    let args = ["-n", namespace, "apply", "--server-side", "--dry-run=server", "-f", "-"];
    api.kubectl_with_input(&args, &plain.join("\n")).await.unwrap();
    assert!(notes.contains(&routeapi_crds::v1alpha1::default_secret_name("demo")), "{notes}");
}

#[tokio::test]
async fn the_notes_name_a_secret_that_is_missing_and_no_other() {
    let api = server().await;
    let namespace = api.namespace("missing").await.unwrap();
    let chart = helm::chart().display().to_string();
    let notes = |verb: &str| {
        let names = ["--set", "dataPlane.tls.existingSecret=serving", "--set", "operator.tlsExistingSecret=config"];
        let fixed = [verb, "routeapi", &chart, "--namespace", &namespace, "--set", "crds.install=false"];
        helm::helm(fixed.iter().chain(&names), Some(&api.kubeconfig())).unwrap()
    };
    let waiting =
        |name: &str, value: &str| format!("WAITING for Secret {name} in namespace {namespace}, which {value} names");
    let (serving, config) =
        (waiting("serving", "dataPlane.tls.existingSecret"), waiting("config", "operator.tlsExistingSecret"));
    let first = notes("install");
    assert!(first.contains(&serving) && first.contains(&config), "{first}");
    api.kubectl(&["-n", &namespace, "create", "secret", "generic", "serving"]).await.unwrap();
    let second = notes("upgrade");
    assert!(!second.contains(&serving) && second.contains(&config), "{second}");
    api.kubectl(&["-n", &namespace, "create", "secret", "generic", "config"]).await.unwrap();
    let third = notes("upgrade");
    assert!(!third.contains("WAITING"), "{third}");
}
