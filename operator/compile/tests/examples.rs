//! Everything in `examples/` is accepted without a note, and usable as soon as the environment has the keys.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use routeapi_channel::{
    ObjectId,
    snapshot::{Affinity, Credential, Proxy},
};
use routeapi_compile::{AddressPolicy, Compiled, Manifests, Options, Publishers, WorkloadIdentity, compile, items};
use routeapi_crds::yaml;

/// Compiles the manifests of a file or directory, with a stand-in for every `${NAME}` of the environment.
fn load(example: &str) -> Compiled {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example);
    let files: Vec<PathBuf> = match path.is_dir() {
        true => fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect(),
        false => vec![path],
    };
    let mut manifests = Manifests::default();
    for file in files {
        for document in yaml::read(&filled(&fs::read_to_string(&file).unwrap()))
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        {
            for item in items(&document.value) {
                let place = format!("{}:{}", file.display(), document.line);
                manifests.add(item).unwrap_or_else(|error| panic!("{place}: {error}"));
            }
        }
    }
    let objects = manifests.finish();
    objects.providers.iter().for_each(|provider| provider.validate_cel().unwrap());
    objects.routes.iter().for_each(|route| route.validate_cel().unwrap());
    objects.tokens.iter().for_each(|token| token.validate_cel().unwrap());

    // As in a cluster, which is the stricter of both.
    let compiled = compile(&objects, &options(AddressPolicy::Cluster));
    for (key, verdict) in &compiled.verdicts {
        for decision in &verdict.decisions {
            assert!(
                decision.holds() && decision.message.is_empty(),
                "{example}: {} {}: {decision:?}",
                key.kind,
                key.id
            );
        }
    }
    assert_eq!(
        compiled,
        compile(&objects, &options(AddressPolicy::Workstation)),
        "a workstation compiles it to the same"
    );
    compiled
}

/// The examples' own namespace is the one that a cluster's release would be in.
fn options(addresses: AddressPolicy) -> Options {
    Options {
        addresses: addresses.into(),
        publishers: Publishers::Any,
        workload_identity: WorkloadIdentity::Any,
        partial: false,
    }
}

/// With a stand-in for every `${NAME}`.
fn filled(text: &str) -> String {
    let mut parts = text.split("${");
    let head = parts.next().unwrap_or_default().to_owned();
    parts.fold(head, |filled, part| filled + "sk-" + &part.replacen('}', "", 1))
}

#[test]
fn quickstart() {
    let compiled = load("quickstart.yaml");
    let snapshot = compiled.snapshot;
    assert_eq!((snapshot.providers.len(), snapshot.routes.len(), snapshot.tokens.len()), (1, 2, 1));
    assert!(snapshot.routes.values().any(|route| route.models.iter().any(|model| model.matches("gpt-4o"))));
    assert!(snapshot.routes.keys().all(|id| id.namespace() == "default"));
}

#[test]
fn provider_settings() {
    let snapshot = load("provider-settings.yaml").snapshot;
    let provider = |name| &snapshot.providers[&ObjectId::new("ai-platform", name)];
    let apim = provider("azure-apim");
    let Some(Credential::Header(header)) = &apim.credential else { panic!("{apim:?}") };
    assert_eq!(header.name, "ocp-apim-subscription-key");
    let request = apim.request.as_ref().unwrap();
    assert_eq!((request.headers.len(), request.query_parameters.len(), request.forward_headers.len()), (2, 1, 2));
    assert_eq!(request.body_defaults["store"], false);
    assert!(matches!(&provider("openai").proxy, Some(Proxy::Connect(proxy)) if proxy.basic_auth.is_some()));
    assert_eq!(provider("vllm").proxy, Some(Proxy::Direct));
    assert_eq!(snapshot.routes.len(), 1);
}

#[test]
fn session_affinity() {
    let snapshot = load("session-affinity.yaml").snapshot;
    let route = &snapshot.routes[&ObjectId::new("ai-platform", "gpt-5")];
    assert_eq!((&route.affinity, route.upstreams.len()), (&Some(Affinity::Session), 2));
}

#[test]
fn multi_vendor() {
    let compiled = load("multi-vendor");
    let snapshot = compiled.snapshot;
    assert_eq!((snapshot.providers.len(), snapshot.routes.len(), snapshot.tokens.len()), (4, 2, 1));
    let assistant = snapshot.routes.values().find(|route| route.upstreams.len() == 4).unwrap();
    let order: Vec<(&str, u32)> =
        assistant.upstreams.iter().map(|upstream| (upstream.name.as_str(), upstream.priority)).collect();
    assert_eq!(order, [("openai", 0), ("anthropic", 1), ("gemini", 1), ("in-cluster", 2)]);
    let token = snapshot.tokens.keys().next().unwrap();
    let open = assistant.allowed_namespaces.is_open_to(token.namespace(), &snapshot.namespaces);
    assert!(open, "the example's token may use the example's route");
}

#[test]
fn clouds() {
    let azure = load("clouds/azure.yaml").snapshot;
    let provider = azure.providers.values().next().unwrap();
    let Some(Credential::Header(header)) = &provider.credential else { panic!("{provider:?}") };
    assert_eq!((provider.base_url.as_str(), header.name.as_str()), ("https://contoso.openai.azure.com", "api-key"));
    let vertex = load("clouds/vertex.yaml").snapshot;
    let provider = vertex.providers.values().next().unwrap();
    assert_eq!(provider.base_url, "https://aiplatform.googleapis.com/v1/projects/contoso-ai/locations/global");
    assert!(matches!(&provider.credential, Some(Credential::Google(_))));
    assert_eq!((vertex.routes.len(), vertex.tokens.len()), (2, 1));
    let bedrock = load("clouds/bedrock.yaml").snapshot;
    let provider = bedrock.providers.values().next().unwrap();
    assert_eq!(provider.base_url, "https://bedrock-runtime.eu-central-1.amazonaws.com");
    assert!(matches!(&provider.credential, Some(Credential::Aws(_))));
}

/// Entry by entry: under the name that apps know, the same model at the same vendor with the same share and price.
#[test]
fn migrate_from_litellm() {
    let compiled = load("migrate-from-litellm/routeapi.yaml");
    let snapshot = compiled.snapshot;
    assert_eq!((snapshot.providers.len(), snapshot.routes.len(), snapshot.tokens.len()), (3, 4, 1));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/migrate-from-litellm/litellm-config.yaml");
    let documents = yaml::read(&fs::read_to_string(path).unwrap()).unwrap();
    let config = &documents.first().unwrap().value;

    let route = |name: &str| {
        let found = snapshot.routes.values().find(|route| route.models.iter().any(|model| model.matches(name)));
        found.unwrap_or_else(|| panic!("no route for {name}"))
    };
    for entry in config["model_list"].as_array().unwrap() {
        let name = entry["model_name"].as_str().unwrap();
        let params = &entry["litellm_params"];
        let (vendor, model) = params["model"].as_str().unwrap().split_once('/').unwrap();
        let provider = if vendor == "hosted_vllm" { "vllm" } else { vendor };
        let same = |upstream: &&routeapi_channel::snapshot::Upstream| {
            upstream.model.as_deref() == Some(model) && upstream.provider.name() == provider
        };
        let upstream = route(name).upstreams.iter().find(same).unwrap_or_else(|| panic!("{name}: no {model}"));
        assert_eq!(u64::from(upstream.weight), params["weight"].as_u64().unwrap_or(1), "{name}: {model}");
        assert_eq!(u64::from(upstream.priority), params["order"].as_u64().unwrap_or(1) - 1, "{name}: {model}");
        if let Some(cost) = entry["model_info"]["input_cost_per_token"].as_f64() {
            let price = upstream.price.unwrap().input_per_million.to_string().parse::<f64>().unwrap();
            assert!((price - cost * 1e6).abs() < 1e-6, "{name}: {model}: {price} is not {cost} a million times");
        }
    }
    for (alias, name) in config["router_settings"]["model_group_alias"].as_object().unwrap() {
        assert_eq!(route(alias), route(name.as_str().unwrap()));
    }
    for fallback in config["router_settings"]["fallbacks"].as_array().unwrap() {
        let (name, next) = fallback.as_object().unwrap().iter().next().unwrap();
        let last = route(name).upstreams.iter().max_by_key(|upstream| upstream.priority).unwrap();
        let first = route(next[0].as_str().unwrap()).upstreams.first().unwrap();
        assert_eq!((&last.provider, &last.model), (&first.provider, &first.model), "{name} falls back to {next}");
        assert!(last.priority > 0);
    }
}
