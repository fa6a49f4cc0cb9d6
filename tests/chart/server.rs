//! A real API server takes everything that the chart renders, as it is, and the pods as restricted ones.

use routeapi_crds::yaml;
use routeapi_tests::apiserver::ApiServer;
use routeapi_tests::helm::{self, of_kind, template};
use routeapi_tests::tools;
use serde_json::{Value, json};

/// Kinds of other projects, whose CRDs the server does not have.
const FOREIGN: [&str; 1] = ["monitoring.coreos.com/v1"];

/// Renders for a namespace of the server's and returns what it takes. A dry run makes no accounts, without which no Pod is taken: they are made here.
async fn rendered(api: &ApiServer, namespace: &str, args: &[&str]) -> Vec<Value> {
    let mut objects = template("rel", namespace, args).unwrap();
    objects.retain(|object| !FOREIGN.contains(&object["apiVersion"].as_str().unwrap()));
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
        let route = tools::http_route_crd().unwrap();
        api.kubectl(&["apply", "--server-side", "-f", route.to_str().unwrap()]).await.unwrap();
        api.kubectl(&["wait", "--for=condition=Established", "crd/httproutes.gateway.networking.k8s.io"])
            .await
            .unwrap();
        for namespace in ["shop", "search", "keys", "more-keys"] {
            api.namespace_named(namespace, &[]).await.unwrap();
        }
    })
    .await;
    api
}

#[tokio::test]
async fn the_api_server_accepts_every_object_without_warnings() {
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

/// The Gateway API's own CRD judges the HTTPRoute, its CEL rules too.
#[tokio::test]
async fn the_gateway_api_accepts_the_http_route_and_rejects_invalid_ones() {
    let api = server().await;
    let namespace = api.namespace("gateway-api").await.unwrap();
    let parent = "dataPlane.httpRoute.enabled=true,dataPlane.httpRoute.parentRefs[0].name=public";
    let routes = async |more: &[&str]| {
        let mut args = vec!["--set", parent];
        args.extend(more.iter().flat_map(|value| ["--set", value]));
        let objects = template("rel", &namespace, &args).unwrap();
        let routes: Vec<Value> = of_kind(&objects, "HTTPRoute").into_iter().cloned().collect();
        assert_eq!(routes.len(), 1);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": routes}).to_string();
        let args = ["apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "-f", "-"];
        api.kubectl_with_input(&args, &list).await
    };
    let taken = [
        &[][..],
        &["dataPlane.httpRoute.hostnames[0]=ai.example.com", "dataPlane.httpRoute.timeouts.request=0s"],
        &["dataPlane.httpRoute.timeouts.request=1h", "dataPlane.httpRoute.timeouts.backendRequest=30m"],
    ];
    for values in taken {
        let said = routes(values).await.unwrap();
        assert!(said.trim_end().ends_with("serverside-applied (server dry run)"), "{values:?}: {said}");
    }
    // The judge is awake.
    let values = ["dataPlane.httpRoute.timeouts.request=1m", "dataPlane.httpRoute.timeouts.backendRequest=2m"];
    let refused = routes(&values).await.unwrap_err().to_string();
    assert!(refused.contains("backendRequest timeout cannot be longer than request timeout"), "{refused}");
}

#[tokio::test]
async fn pods_pass_pod_security_restricted() {
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
async fn an_installation_upgrades_and_the_commands_of_its_notes_work() {
    let api = server().await;
    for program in helm::HELMS {
        let namespace = api.namespace("install").await.unwrap();
        let (kubeconfig, chart) = (api.kubeconfig(), helm::chart().display().to_string());
        let run = |verb: &str, more: &[&str]| {
            let args = [verb, "routeapi", "--namespace", &namespace];
            helm::run(program, args.iter().chain(more), Some(&kubeconfig)).unwrap()
        };
        // Other tests have releases too, and each has objects of its own.
        let own = format!("crds.install=false,watchNamespaces={{{namespace}}}");
        let notes = run("install", &[&chart, "--set", &own]);
        let address = format!("is available at http://routeapi.{namespace}.svc\n");
        assert!(notes.contains(&address), "{program}: {notes}");
        apply_manifest_of_notes(api, &namespace, &notes).await;

        run("upgrade", &[&chart, "--set", &own, "--set", "dataPlane.replicas=5"]);
        let replicas = ["-n", &namespace, "get", "deployment", "routeapi", "-o", "jsonpath={.spec.replicas}"];
        assert_eq!(api.kubectl(&replicas).await.unwrap(), "5", "{program}");
        run("uninstall", &[]);
        let left = api.kubectl(&["-n", &namespace, "get", "deployments,roles,services", "-o", "name"]).await.unwrap();
        assert_eq!(left, "", "{program}");
        api.kubectl(&["get", "crd", "airoutes.routeapi.dev"]).await.unwrap();
    }
}

/// Applies the manifests in the notes (dry run), and checks the name of the token's Secret.
async fn apply_manifest_of_notes(api: &ApiServer, namespace: &str, notes: &str) {
    let manifests = notes.split("<<'YAML'\n").nth(1).unwrap().split("\n   YAML").next().unwrap();
    let plain: Vec<&str> = manifests.lines().map(|line| line.strip_prefix("   ").unwrap_or(line)).collect();
    assert_eq!(yaml::read(&plain.join("\n")).unwrap().len(), 3);
    let args = ["-n", namespace, "apply", "--server-side", "--dry-run=server", "-f", "-"];
    api.kubectl_with_input(&args, &plain.join("\n")).await.unwrap();
    assert!(notes.contains(&routeapi_crds::v1alpha1::default_secret_name("demo")), "{notes}");
}

#[tokio::test]
async fn the_notes_warn_about_missing_secrets_only() {
    let api = server().await;
    let namespace = api.namespace("missing").await.unwrap();
    let chart = helm::chart().display().to_string();
    let notes = |verb: &str| {
        let names = ["--set", "dataPlane.tls.existingSecret=serving", "--set", "operator.tlsExistingSecret=config"];
        let own = format!("crds.install=false,watchNamespaces={{{namespace}}}");
        let fixed = [verb, "routeapi", &chart, "--namespace", &namespace, "--set", &own];
        helm::helm(fixed.iter().chain(&names), Some(&api.kubeconfig())).unwrap()
    };
    let warning =
        |name: &str, value: &str| format!("WARNING: Secret {name} ({value}) not found in namespace {namespace}");
    let (serving, config) =
        (warning("serving", "dataPlane.tls.existingSecret"), warning("config", "operator.tlsExistingSecret"));
    let first = notes("install");
    assert!(first.contains(&serving) && first.contains(&config), "{first}");
    api.kubectl(&["-n", &namespace, "create", "secret", "generic", "serving"]).await.unwrap();
    let second = notes("upgrade");
    assert!(!second.contains(&serving) && second.contains(&config), "{second}");
    api.kubectl(&["-n", &namespace, "create", "secret", "generic", "config"]).await.unwrap();
    let third = notes("upgrade");
    assert!(!third.contains("WARNING"), "{third}");
}

/// Installs or upgrades a release, and returns Helm's output or error.
fn release(api: &ApiServer, verb: &str, name: &str, namespace: &str, values: &str) -> Result<String, String> {
    let chart = helm::chart().display().to_string();
    let args = [verb, name, &chart, "--namespace", namespace, "--set", "crds.install=false", "--set", values];
    helm::helm(args, Some(&api.kubeconfig())).map_err(|refused| refused.to_string())
}

async fn objects_in(api: &ApiServer, namespace: &str) -> String {
    let kinds = "deployments,services,serviceaccounts,roles,secrets";
    let named = api.kubectl(&["-n", namespace, "get", kinds, "-o", "name"]).await.unwrap();
    named.lines().filter(|line| *line != "serviceaccount/default").collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_missing_namespace_fails_before_anything_is_installed() {
    let api = server().await;
    let namespace = api.namespace("early").await.unwrap();
    for value in ["providerNamespaces", "watchNamespaces"] {
        let values = format!("watchNamespaces={{{namespace}}},{value}={{{namespace},nowhere,nor-here}}");
        let said = release(api, "install", "routeapi", &namespace, &values).unwrap_err();
        assert!(said.contains(&format!("{value}: namespace not found: nowhere, nor-here")), "{said}");
        assert_eq!(objects_in(api, &namespace).await, "", "{value}");
    }
    // The release's own namespace is made by helm after the check.
    let own = format!("made-{}", api.unique());
    let chart = helm::chart().display().to_string();
    let values = format!("crds.install=false,watchNamespaces={{{own}}}");
    let args = ["install", "routeapi", &chart, "--namespace", &own, "--create-namespace", "--set", &values];
    helm::helm(args, Some(&api.kubeconfig())).unwrap();
}

#[tokio::test]
async fn releases_that_share_objects_are_rejected() {
    let api = server().await;
    let (first, second) = (api.namespace("first").await.unwrap(), api.namespace("second").await.unwrap());
    let team = api.namespace("team").await.unwrap();
    let watch = |namespaces: &str| format!("watchNamespaces={{{namespaces}}}");
    release(api, "install", "one", &first, &watch(&format!("{first},{team}"))).unwrap();
    let refused = release(api, "install", "two", &second, &watch(&format!("{team},{second}"))).unwrap_err();
    assert!(refused.contains(&format!("release {first}/one already watches {team}")), "{refused}");
    let everywhere = release(api, "install", "two", &second, "dataPlane.replicas=1").unwrap_err();
    assert!(everywhere.contains("and both operators would write to the same objects"), "{everywhere}");
    assert_eq!(objects_in(api, &second).await, "");

    release(api, "install", "two", &second, &watch(&second)).unwrap();
    // A third in the namespace of the first, told apart by labels. It cannot be upgraded to objects of the others.
    let red = |more: &str| format!("selector=team=red,{}{more}", watch(&team));
    let refused = release(api, "install", "three", &first, &red("")).unwrap_err();
    assert!(refused.contains(&format!("release {first}/one already watches {team}")), "one has no selector: {refused}");
    let blue = format!("selector=team=blue,{}", watch(&format!("{first},{team}")));
    release(api, "upgrade", "one", &first, &blue).unwrap();
    release(api, "install", "three", &first, &red("")).unwrap();
    release(api, "upgrade", "three", &first, &red(",dataPlane.replicas=3")).unwrap();
    for (namespace, leases) in [(&first, 2), (&second, 1)] {
        let get = ["-n", namespace, "get", "deployments", "-l", "app.kubernetes.io/component=operator", "-o", "json"];
        let found: Value = serde_json::from_str(&api.kubectl(&get).await.unwrap()).unwrap();
        let lease = |deployment: &Value| {
            helm::arguments(deployment, &[]).into_iter().find(|arg| arg.starts_with("--lease=")).unwrap()
        };
        let names: std::collections::BTreeSet<_> = found["items"].as_array().unwrap().iter().map(lease).collect();
        assert_eq!(names.len(), leases, "{names:?}");
    }
}

#[tokio::test]
async fn crds_of_another_release_are_not_taken_over() {
    // A server of its own: who owns CRDs is a fact of the whole cluster.
    let api: &'static ApiServer = Box::leak(Box::new(ApiServer::start().await.unwrap()));
    let (first, second) = (api.namespace("first").await.unwrap(), api.namespace("second").await.unwrap());
    let chart = helm::chart().display().to_string();
    let install = |namespace: &str, more: &str| {
        let values = format!("watchNamespaces={{{namespace}}}{more}");
        let args = ["install", "routeapi", &chart, "--namespace", namespace, "--set", &values];
        helm::helm(args, Some(&api.kubeconfig())).map_err(|refused| refused.to_string())
    };
    install(&first, "").unwrap();
    let refused = install(&second, "").unwrap_err();
    assert!(
        refused.contains(&format!("the CRDs belong to release {first}/routeapi: set crds.install=false")),
        "{refused}"
    );
    install(&second, ",crds.install=false").unwrap();
}
