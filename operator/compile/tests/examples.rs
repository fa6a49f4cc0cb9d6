//! Everything in `examples/` is what it claims to be: accepted, and usable as soon as the environment has the keys.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use routeapi_compile::{Compiled, Manifests, Options, compile, items};
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
        let text = fs::read_to_string(&file).unwrap().replace("${", "sk-").replace('}', "");
        for document in yaml::read(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())) {
            for item in items(&document.value) {
                let place = format!("{}:{}", file.display(), document.line);
                manifests.add(item).unwrap_or_else(|error| panic!("{place}: {error}"));
            }
        }
    }
    let objects = manifests.finish();
    objects.providers.iter().for_each(|it| it.validate_cel().unwrap());
    objects.routes.iter().for_each(|it| it.validate_cel().unwrap());
    objects.tokens.iter().for_each(|it| it.validate_cel().unwrap());

    // As in a cluster, which is the stricter of both.
    let compiled = compile(&objects, &Options { loopback: false });
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
    assert_eq!(compiled, compile(&objects, &Options { loopback: true }), "a workstation sees the same");
    compiled
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
fn multi_vendor() {
    let compiled = load("multi-vendor");
    let snapshot = compiled.snapshot;
    assert_eq!((snapshot.providers.len(), snapshot.routes.len(), snapshot.tokens.len()), (4, 2, 1));
    let assistant = snapshot.routes.values().find(|route| route.upstreams.len() == 4).unwrap();
    let order: Vec<(&str, u32)> = assistant.upstreams.iter().map(|it| (it.name.as_str(), it.priority)).collect();
    assert_eq!(order, [("openai", 0), ("anthropic", 1), ("gemini", 1), ("in-cluster", 2)]);
    let token = snapshot.tokens.keys().next().unwrap();
    let routeapi_channel::snapshot::AllowedNamespaces::Only(allowed) = &assistant.allowed_namespaces else {
        panic!("open to all");
    };
    assert!(allowed.contains(token.namespace()), "the example's token may use the example's route");
}
