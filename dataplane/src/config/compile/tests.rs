use routeapi_channel::{Catalog, snapshot::Secret};
use serde_json::json;

use super::*;
use crate::upstream::AddressPolicy;

fn snapshot(value: serde_json::Value) -> Snapshot {
    serde_json::from_value(value).unwrap()
}

fn compiled(value: serde_json::Value, live: &Live) -> (Runtime, Vec<Unreadable>) {
    let snapshot = snapshot(value);
    let revision = Catalog::of(&snapshot).unwrap().revision();
    compile(&snapshot, &revision, live, Share::default())
}

fn provider(base_url: &str) -> serde_json::Value {
    json!({"type": "OpenAI", "baseUrl": base_url, "endpoints": ["ChatCompletions"],
           "eviction": {"consecutiveFailures": 5, "duration": "30s"}})
}

fn route(models: &[&str], provider: &str) -> serde_json::Value {
    json!({"models": models, "listed": true, "created": 0, "allowedNamespaces": {"only": ["a"]},
           "translation": "Default",
           "upstreams": [{"name": "u", "provider": provider, "priority": 0, "weight": 1,
                          "timeouts": {"connect": "1s", "firstContent": "1s", "streamIdle": "1s", "request": "1s"}}],
           "fallback": {"conditions": ["Timeout"], "maxAttempts": 3, "maxRetryAfter": "2s"}})
}

#[test]
fn the_exact_id_wins_then_the_longest_prefix() {
    let live = Live::new(AddressPolicy::Workstation);
    let (runtime, refused) = compiled(
        json!({
            "providers": {"a/p": provider("http://127.0.0.1:1/v1")},
            "routes": {
                "a/all": route(&["*"], "a/p"),
                "a/gpt": route(&["gpt-*"], "a/p"),
                "a/one": route(&["gpt-4o"], "a/p"),
            },
        }),
        &live,
    );
    assert_eq!(refused, []);
    for (model, name) in [("gpt-4o", "one"), ("gpt-4o-mini", "gpt"), ("claude", "all")] {
        assert_eq!(runtime.route(model).unwrap().id.name(), name, "{model}");
    }
    assert!(runtime.route("gpt-4o").unwrap().is_open_to("a"));
    assert!(!runtime.route("gpt-4o").unwrap().is_open_to("b"));
}

#[test]
fn what_cannot_be_compiled_is_refused_alone() {
    let live = Live::new(AddressPolicy::Cluster);
    let (runtime, refused) = compiled(
        json!({
            "providers": {"a/p": provider("http://vllm.ai.svc/v1"), "a/self": provider("http://169.254.169.254/v1")},
            "routes": {"a/good": route(&["good"], "a/p"), "a/bad": route(&["bad"], "a/self")},
            "tokens": {"a/t": {"keys": [{"id": "k", "sha256": "zz"}], "models": ["*"]}},
        }),
        &live,
    );
    assert!(runtime.route("good").is_some());
    assert!(runtime.route("bad").is_none());
    let keys: Vec<String> = refused.iter().map(|it| format!("{} {}", it.key.kind, it.key.id)).collect();
    assert_eq!(keys, ["provider a/self", "route a/bad", "token a/t"]);
}

#[test]
fn an_upstream_model_that_could_leave_its_place_in_a_path_is_refused() {
    let live = Live::new(AddressPolicy::Workstation);
    let of = |model: &str, served_by: &str| {
        let mut route = route(&["m"], served_by);
        route["upstreams"][0]["model"] = model.into();
        let gemini = json!({"type": "Gemini", "baseUrl": "http://127.0.0.1:1",
                            "eviction": {"consecutiveFailures": 5, "duration": "30s"}});
        let providers = json!({"a/gemini": gemini, "a/chat": provider("http://127.0.0.1:1/v1")});
        let (_, refused) = compiled(json!({"providers": providers, "routes": {"a/r": route}}), &live);
        refused.into_iter().map(|it| it.message).collect::<Vec<_>>()
    };
    let refused = of("m/../../v1beta/corpora/c", "a/gemini");
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("upstream \"u\"") && refused[0].contains("`..`"), "{refused:?}");
    assert!(of("models/gemini-2.5-pro", "a/gemini").is_empty());
    assert!(of("../models/7B/model.gguf", "a/chat").is_empty(), "a body holds any id");
}

#[test]
fn a_new_state_keeps_health_and_counters() {
    let live = Live::new(AddressPolicy::Workstation);
    let state = json!({
        "providers": {"a/p": provider("http://127.0.0.1:1/v1")},
        "routes": {"a/one": route(&["m"], "a/p")},
        "tokens": {"a/t": {"keys": [{"id": "k", "sha256": "00".repeat(32)}], "models": ["*"]}},
    });
    let (first, _) = compiled(state.clone(), &live);
    let (second, _) = compiled(state, &live);
    let health = |runtime: &Runtime| runtime.route("m").unwrap().upstreams[0].health.clone();
    assert!(Arc::ptr_eq(&health(&first), &health(&second)));
    let account = |runtime: &Runtime| runtime.token(&[0; 32]).unwrap().account.clone();
    assert!(Arc::ptr_eq(&account(&first), &account(&second)));
}

#[test]
fn no_debug_output_shows_a_key() {
    let live = Live::new(AddressPolicy::Workstation);
    let mut snapshot = snapshot(json!({
        "providers": {"a/p": provider("http://127.0.0.1:1/v1")},
        "routes": {"a/one": route(&["m"], "a/p")},
    }));
    let key = routeapi_channel::snapshot::Credential::ApiKey(Secret::new("canary-key"));
    snapshot.providers.values_mut().for_each(|provider| provider.credential = Some(key.clone()));
    let revision = Catalog::of(&snapshot).unwrap().revision();
    let (runtime, _) = compile(&snapshot, &revision, &live, Share::default());
    assert!(!format!("{runtime:?}{snapshot:?}{live:?}").contains("canary"));
}

#[test]
fn selectors_are_decided_by_the_labels_of_namespaces() {
    let live = Live::new(AddressPolicy::Workstation);
    let mut gold = route(&["gold"], "a/p");
    gold["allowedNamespaces"] = json!({"selector": {"matchLabels": {"tier": "gold"}}});
    let state = json!({
        "providers": {"a/p": provider("http://127.0.0.1:1/v1")},
        "routes": {"a/gold": gold},
        "namespaces": {"shop": {"labels": {"tier": "gold"}}, "lab": {"labels": {"tier": "silver"}}},
    });
    let (runtime, refused) = compiled(state, &live);
    assert_eq!(refused, []);
    let route = runtime.route("gold").unwrap();
    assert_eq!(["shop", "lab", "a"].map(|it| route.is_open_to(it)), [true, false, false]);
}
