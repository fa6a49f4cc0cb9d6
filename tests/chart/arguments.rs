//! What the Deployments tell the programs, the programs understand: every flag and every variable is theirs.

use clap::{Args as _, CommandFactory as _, FromArgMatches as _, Parser as _};
use routeapi_crds::value::Duration;
use routeapi_dataplane::{
    cli::Cli,
    upstream::{CloudEnvironment, Egress},
};
use routeapi_operator::settings::Settings;
use routeapi_tests::helm::{self, arguments, of_kind, template};
use serde_json::Value;
use std::collections::BTreeSet;

/// Values that between them render every argument.
fn all_ways() -> Vec<Vec<String>> {
    let mut ways = helm::all_values();
    ways.push(vec!["--set".to_owned(), "dataPlane.tls.existingSecret=serving".to_owned()]);
    ways
}

fn deployment(args: &[String], component: &str) -> Value {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let objects = template("rel", "sys", &args).unwrap();
    let of = |it: &&&Value| it["metadata"]["labels"]["app.kubernetes.io/component"] == component;
    of_kind(&objects, "Deployment").iter().find(of).map(|found| (**found).clone()).unwrap()
}

/// Variables that a container is given and its own arguments do not refer to.
fn variables(deployment: &Value) -> BTreeSet<String> {
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let args = container["args"].to_string();
    let names = container["env"].as_array().unwrap().iter().map(|variable| variable["name"].as_str().unwrap());
    names.filter(|name| !args.contains(&format!("$({name})"))).map(str::to_owned).collect()
}

fn known(command: &clap::Command) -> BTreeSet<String> {
    let own = command
        .get_arguments()
        .filter_map(|argument| argument.get_env())
        .map(|name| name.to_string_lossy().into_owned());
    own.chain(command.get_subcommands().flat_map(known)).collect()
}

fn settings(args: &[String]) -> Settings {
    let command = Settings::augment_args(clap::Command::new("run"));
    let matches = command.try_get_matches_from(args).unwrap_or_else(|refused| panic!("{args:?}: {refused}"));
    Settings::from_arg_matches(&matches).unwrap()
}

#[test]
fn the_operator_parses_its_arguments() {
    for values in all_ways() {
        let found = deployment(&values, "operator");
        let args = arguments(&found, &[("POD_NAME", "operator-0"), ("POD_NAMESPACE", "sys")]);
        assert_eq!(args[0], "run", "{args:?}");
        let settings = settings(&args);
        assert_eq!((settings.identity.as_str(), settings.namespace.as_str()), ("operator-0", "sys"));
        assert_eq!(settings.data_planes.len(), 1, "without an account no data plane may connect");
        assert_eq!((settings.listen.port(), settings.admin.port()), (8443, 9090), "the ports that the pod names");
        let mut readable = known(&Settings::augment_args(clap::Command::new("run")));
        readable.insert("ROUTEAPI_LOG".to_owned()); // read before there are settings
        let given = variables(&found);
        assert!(given.is_subset(&readable), "{:?} mean nothing to it", given.difference(&readable));
    }
}

#[test]
fn both_components_use_the_same_names() {
    for values in all_ways() {
        let (operator, gateway) = (deployment(&values, "operator"), deployment(&values, "data-plane"));
        let settings = settings(&arguments(&operator, &[("POD_NAME", "operator-0"), ("POD_NAMESPACE", "sys")]));
        let pod = &gateway["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], settings.data_planes[0].name.as_str());
        let own = &operator["spec"]["template"]["spec"]["serviceAccountName"];
        assert_eq!(own, settings.operator.as_ref().unwrap().name.as_str());
        let mounted = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "operator-ca").unwrap();
        assert_eq!(mounted["configMap"]["name"], settings.ca_config_map.as_str());
        let address = format!("--operator=https://{}:8443", settings.dns_names()[0]);
        assert!(arguments(&gateway, &[]).contains(&address), "{address}");
        assert_eq!(settings.peers.unwrap(), address.trim_start_matches("--operator=https://"));
    }
}

#[test]
fn the_data_plane_parses_its_arguments() {
    for values in all_ways() {
        let found = deployment(&values, "data-plane");
        let args = arguments(&found, &[]);
        assert_eq!(args[0], "serve", "{args:?}");
        Cli::try_parse_from(["routeapi".to_owned()].iter().chain(&args))
            .unwrap_or_else(|refused| panic!("{args:?}: {refused}"));
        let (given, mut readable) = (variables(&found), known(&Cli::command()));
        readable.extend(Egress::VARIABLES.map(str::to_owned));
        readable.extend(CloudEnvironment::VARIABLES.map(str::to_owned));
        assert!(given.is_subset(&readable), "{:?} mean nothing to it", given.difference(&readable));
        assert!(given.contains("POD_NAME"));
    }
}

/// Seconds that it asks for by its arguments, and seconds that it is given.
fn stopping_time(gateway: &Value) -> (u64, u64) {
    let args = arguments(gateway, &[]);
    let time = |flag: &str| -> std::time::Duration {
        let text = args.iter().find_map(|arg| arg.strip_prefix(flag)).unwrap();
        text.parse::<Duration>().unwrap().into()
    };
    let asked = time("--drain-delay=") + time("--drain-timeout=");
    (asked.as_secs(), gateway["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap())
}

#[test]
fn the_grace_period_covers_the_drain() {
    let set = |value: &str| vec!["--set".to_owned(), value.to_owned()];
    let longer = [set("dataPlane.drain.timeout=1h2m3s500ms"), set("dataPlane.drain.delay=90s")];
    for values in all_ways().into_iter().chain(longer) {
        let (asked, given) = stopping_time(&deployment(&values, "data-plane"));
        // Its own words (`serve --help`): longer than both and 5 s.
        assert!(given >= asked + 5, "{values:?}: {given} s for {asked} s");
    }
    assert_eq!(stopping_time(&deployment(&[], "data-plane")), (115, 130));
    let enough = ["--set", "dataPlane.terminationGracePeriodSeconds=120"];
    assert_eq!(stopping_time(&deployment(&enough.map(str::to_owned), "data-plane")), (115, 120));
    let short = ["--set", "dataPlane.terminationGracePeriodSeconds=119"];
    let refused = template("rel", "sys", &short).unwrap_err().to_string();
    assert!(
        refused.contains("dataPlane.terminationGracePeriodSeconds is 119") && refused.contains("at least 120"),
        "{refused}"
    );
}

#[test]
fn helm_test_calls_the_service_with_valid_arguments() {
    for values in all_ways() {
        let args: Vec<&str> = values.iter().map(String::as_str).collect();
        let objects = template("rel", "sys", &args).unwrap();
        let (test, services) = (of_kind(&objects, "Pod")[0], of_kind(&objects, "Service"));
        let given = test["spec"]["containers"][0]["args"].as_array().unwrap();
        let given: Vec<String> = given.iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
        Cli::try_parse_from(["routeapi".to_owned()].iter().chain(&given))
            .unwrap_or_else(|refused| panic!("{given:?}: {refused}"));
        let asked = given.iter().find_map(|arg| arg.strip_prefix("--gateway=http://")).unwrap();
        let (host, port) = asked.split_once(':').unwrap_or((asked, "80"));
        let serves = |service: &&Value| {
            let name = service["metadata"]["name"].as_str().unwrap();
            host.strip_suffix(".sys.svc") == Some(name)
                && service["spec"]["ports"][0]["port"].as_u64() == port.parse().ok()
        };
        assert_eq!(services.into_iter().filter(serves).count(), 1, "{asked}");
        assert_eq!(test["metadata"]["annotations"]["helm.sh/hook"], "test");
    }
}

#[test]
fn mounted_volumes_and_named_ports_exist() {
    for values in all_ways() {
        for component in ["operator", "data-plane"] {
            let found = deployment(&values, component);
            let pod = &found["spec"]["template"]["spec"];
            let container = &pod["containers"][0];
            let names = |list: &Value| -> BTreeSet<String> {
                let list = list.as_array().cloned().unwrap_or_default();
                list.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
            };
            assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]), "{component}");
            let ports = names(&container["ports"]);
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                assert!(ports.contains(container[probe]["httpGet"]["port"].as_str().unwrap()), "{component} {probe}");
            }
            let files = arguments(&found, &[]);
            let files = files.iter().filter_map(|arg| arg.split_once("=/")).map(|(_, path)| format!("/{path}"));
            let mounts = container["volumeMounts"].as_array().unwrap();
            for file in files {
                let below = |mount: &Value| file.starts_with(mount["mountPath"].as_str().unwrap());
                assert!(mounts.iter().any(below), "{component}: nothing is mounted at {file}");
            }
        }
    }
}

#[test]
fn readiness_and_liveness_probes_differ() {
    for component in ["operator", "data-plane"] {
        let found = deployment(&[], component);
        let container = &found["spec"]["template"]["spec"]["containers"][0];
        let path = |probe: &str| container[probe]["httpGet"]["path"].as_str().unwrap();
        // Start-up is asked for what a restart can mend: without a configuration a pod is alive, and waits.
        assert_eq!(["startupProbe", "livenessProbe", "readinessProbe"].map(path), ["/livez", "/livez", "/readyz"]);
    }
}

#[test]
fn openshift_assigns_user_ids() {
    let user = |args: &[&str]| {
        let objects = template("rel", "sys", args).unwrap();
        let contexts =
            of_kind(&objects, "Deployment").into_iter().map(|deployment| &deployment["spec"]["template"]["spec"]);
        let contexts: Vec<Value> = contexts.map(|pod| pod["securityContext"].clone()).collect();
        assert!(contexts.iter().all(|context| context["runAsNonRoot"] == true), "{contexts:?}");
        contexts.into_iter().map(|context| context["runAsUser"].as_u64()).collect::<Vec<_>>()
    };
    assert_eq!(user(&[]), [Some(65_532); 2]);
    assert_eq!(user(&["--api-versions", "security.openshift.io/v1"]), [None; 2]);
}
