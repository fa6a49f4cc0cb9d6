use routeapi_channel::{Catalog, snapshot::Secret};
use routeapi_crds::value::Capability;
use serde_json::json;

use super::*;
use crate::{state::SharedState, upstream::AddressPolicy};

fn snapshot(value: serde_json::Value) -> Snapshot {
    serde_json::from_value(value).unwrap()
}

fn compiled(value: serde_json::Value, shared: &SharedState) -> (Runtime, Vec<Unreadable>) {
    let snapshot = snapshot(value);
    let revision = Catalog::of(&snapshot).unwrap().revision();
    let (runtime, changes, refused) = compile(&snapshot, &revision, shared.view(), Share::default());
    changes.apply(shared);
    (runtime, refused)
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
    let shared = SharedState::new(AddressPolicy::Workstation);
    let (runtime, refused) = compiled(
        json!({
            "providers": {"a/p": provider("http://127.0.0.1:1/v1")},
            "routes": {
                "a/all": route(&["*"], "a/p"),
                "a/gpt": route(&["gpt-*"], "a/p"),
                "a/one": route(&["gpt-4o"], "a/p"),
            },
        }),
        &shared,
    );
    assert_eq!(refused, []);
    for (model, name) in [("gpt-4o", "one"), ("gpt-4o-mini", "gpt"), ("claude", "all")] {
        assert_eq!(runtime.route("a", model).unwrap().id.name(), name, "{model}");
    }
    assert!(runtime.route("b", "gpt-4o").is_none(), "none of them is published");
}

/// A route of namespace `p` that is published, with the part of its namespaces that each pattern reaches.
fn published(published: &serde_json::Value, allowed: &serde_json::Value, weight: u32) -> serde_json::Value {
    let mut value = route(&[], "p/p");
    value["published"] = published.clone();
    value["allowedNamespaces"] = allowed.clone();
    value["upstreams"][0]["weight"] = weight.into();
    value
}

#[test]
fn own_routes_come_before_published_ones_and_broken_ones_last() {
    let shared = SharedState::new(AddressPolicy::Workstation);
    let mut own = route(&["own", "shared-*", "down"], "p/p");
    let mut down = route(&["broken", "shared-x"], "p/p");
    down["upstreams"] = json!([]);
    own["listed"] = true.into();
    let (runtime, refused) = compiled(
        json!({
            "providers": {"p/p": provider("http://127.0.0.1:1/v1")},
            "routes": {
                "a/own": own,
                "a/down": down,
                "p/all": published(&json!([{"model": "shared-1"}, {"model": "x-*"}, {"model": "broken"}]), &json!("all"), 1),
                "p/drained": published(&json!([{"model": "x-1"}, {"model": "only-drained"}]), &json!("all"), 0),
                "p/some": published(&json!([{"model": "m", "reach": {"except": ["a"]}}]), &json!("all"), 1),
                "p/one": published(&json!([{"model": "m", "reach": {"only": ["a"]}}]), &json!("all"), 1),
            },
        }),
        &shared,
    );
    assert_eq!(refused, []);
    for (namespace, model, name) in [
        ("a", "own", "own"),
        ("a", "shared-1", "own"),
        ("b", "shared-1", "all"),
        ("a", "shared-x", "own"),
        ("a", "broken", "all"),
        ("b", "x-1", "all"),
        ("b", "only-drained", "drained"),
        ("a", "m", "one"),
        ("b", "m", "some"),
    ] {
        assert_eq!(runtime.route(namespace, model).unwrap().id.name(), name, "{model} for {namespace}");
    }
    assert!(runtime.route("b", "own").is_none());
    let listed = |namespace| runtime.models(namespace).into_keys().collect::<Vec<_>>().join(" ");
    assert_eq!(listed("a"), "broken down m own", "shared-1 is answered by a prefix of its own");
    assert_eq!(listed("b"), "broken m shared-1");
}

#[test]
fn many_routes_of_one_model_are_told_apart_by_namespace() {
    let shared = SharedState::new(AddressPolicy::Workstation);
    let one = |number: usize| {
        let allowed = json!({"only": [format!("team-{number}"), "shared"]});
        let reach = if number == 0 {
            json!([{"model": "m"}])
        } else {
            json!([{"model": "m", "reach": {"except": ["shared"]}}])
        };
        (format!("p/r{number}"), published(&reach, &allowed, 1))
    };
    let mut routes: serde_json::Map<String, serde_json::Value> = (0..40).map(one).collect();
    routes.insert(
        "p/rest".to_owned(),
        published(&json!([{"model": "m", "reach": {"except": ["team-0"]}}]), &json!("all"), 1),
    );
    let (runtime, _) =
        compiled(json!({"providers": {"p/p": provider("http://127.0.0.1:1/v1")}, "routes": routes}), &shared);
    for (namespace, name) in [("team-0", "r0"), ("team-39", "r39"), ("shared", "r0"), ("elsewhere", "rest")] {
        assert_eq!(runtime.route(namespace, "m").unwrap().id.name(), name, "{namespace}");
    }
}

/// A provider of namespace `p` with a list, used by a route of its own namespace and by one of another.
fn priced(own: &serde_json::Value) -> Runtime {
    let price = |input: &str, output: &str| json!({"inputPerMillion": input, "outputPerMillion": output});
    let mut owner = provider("http://127.0.0.1:1/v1");
    owner["models"] = json!([
        {"model": "gpt-*", "price": price("2", "8"), "capabilities": ["Tools", "Vision"]},
        {"model": "gpt-4o", "price": price("5", "5")},
        {"model": "preview"},
    ]);
    let upstream = |namespace: &str| {
        let mut value = route(&["*"], "p/p");
        value["allowedNamespaces"] = json!({"only": [namespace]});
        if let (Some(fields), Some(more)) = (value["upstreams"][0].as_object_mut(), own.as_object()) {
            fields.extend(more.clone());
        }
        value
    };
    let routes = json!({"p/own": upstream("p"), "t/foreign": upstream("t")});
    let (runtime, refused) =
        compiled(json!({"providers": {"p/p": owner}, "routes": routes}), &SharedState::new(AddressPolicy::Workstation));
    assert_eq!(refused, []);
    runtime
}

/// Input and output price per million in dollars, whether it is known, and whether tools and vision go.
fn terms(runtime: &Runtime, namespace: &str, model: &str) -> String {
    let upstream = &runtime.route(namespace, model).unwrap().upstreams[0];
    let Some(terms) = upstream.terms(model) else { return "not offered".to_owned() };
    let price = terms
        .price
        .map_or("none".to_owned(), |it| format!("{}/{}", it.input / 1_000_000_000, it.output / 1_000_000_000));
    let can = |what, capability| if terms.can(capability) { what } else { "" };
    let known = if terms.priced { "" } else { " unpriced" };
    format!("{price}{known} {}{}", can("t", Capability::Tools), can("v", Capability::Vision))
}

#[test]
fn price_and_abilities_belong_to_the_providers_owner() {
    for (own, model, expected_own, expected_foreign) in [
        (json!({}), "gpt-5", "2/8 tv", "2/8 tv"),
        (json!({}), "gpt-4o", "5/5 tv", "5/5 tv"),
        (json!({}), "preview", "none unpriced tv", "none unpriced tv"),
        (json!({}), "other", "none unpriced tv", "not offered"),
        (json!({"model": "gpt-4o"}), "other", "5/5 tv", "5/5 tv"),
        (json!({"price": {"inputPerMillion": "3", "outputPerMillion": "3"}}), "gpt-5", "3/3 tv", "3/8 tv"),
        (json!({"price": {"inputPerMillion": "0", "outputPerMillion": "0"}}), "gpt-5", "0/0 tv", "2/8 tv"),
        (json!({"price": {"inputPerMillion": "0", "outputPerMillion": "0"}}), "preview", "0/0 tv", "0/0 unpriced tv"),
        (json!({"capabilities": ["Vision", "Audio"]}), "gpt-5", "2/8 v", "2/8 v"),
        (json!({"capabilities": ["Tools"]}), "gpt-4o", "5/5 t", "5/5 t"),
        (json!({"capabilities": ["Audio"]}), "gpt-5", "2/8 ", "2/8 "),
    ] {
        let runtime = priced(&own);
        assert_eq!(terms(&runtime, "p", model), expected_own, "own route: {own} {model}");
        assert_eq!(terms(&runtime, "t", model), expected_foreign, "route of another namespace: {own} {model}");
    }
}

#[test]
fn what_cannot_be_compiled_is_refused_alone() {
    let shared = SharedState::new(AddressPolicy::Cluster);
    let (runtime, refused) = compiled(
        json!({
            "providers": {"a/p": provider("http://vllm.ai.svc/v1"), "a/self": provider("http://169.254.169.254/v1")},
            "routes": {"a/good": route(&["good"], "a/p"), "a/bad": route(&["bad"], "a/self")},
            "tokens": {"a/t": {"keys": [{"id": "k", "sha256": "zz"}], "models": ["*"]}},
        }),
        &shared,
    );
    assert!(runtime.route("a", "good").is_some());
    assert!(runtime.route("a", "bad").is_none());
    let keys: Vec<String> = refused.iter().map(|it| format!("{} {}", it.key.kind, it.key.id)).collect();
    assert_eq!(keys, ["provider a/self", "route a/bad", "token a/t"]);
}

#[test]
fn an_upstream_model_that_could_leave_its_place_in_a_path_is_refused() {
    let shared = SharedState::new(AddressPolicy::Workstation);
    let of = |model: &str, served_by: &str| {
        let mut route = route(&["m"], served_by);
        route["upstreams"][0]["model"] = model.into();
        let gemini = json!({"type": "Gemini", "baseUrl": "http://127.0.0.1:1",
                            "eviction": {"consecutiveFailures": 5, "duration": "30s"}});
        let providers = json!({"a/gemini": gemini, "a/chat": provider("http://127.0.0.1:1/v1")});
        let (_, refused) = compiled(json!({"providers": providers, "routes": {"a/r": route}}), &shared);
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
    let shared = SharedState::new(AddressPolicy::Workstation);
    let state = json!({
        "providers": {"a/p": provider("http://127.0.0.1:1/v1")},
        "routes": {"a/one": route(&["m"], "a/p")},
        "tokens": {"a/t": {"keys": [{"id": "k", "sha256": "00".repeat(32)}], "models": ["*"]}},
    });
    let (first, _) = compiled(state.clone(), &shared);
    let (second, _) = compiled(state, &shared);
    let health = |runtime: &Runtime| runtime.route("a", "m").unwrap().upstreams[0].health.clone();
    assert!(Arc::ptr_eq(&health(&first), &health(&second)));
    let account = |runtime: &Runtime| runtime.token(&[0; 32]).unwrap().account.clone();
    assert!(Arc::ptr_eq(&account(&first), &account(&second)));
}

#[test]
fn no_debug_output_shows_a_key() {
    let shared = SharedState::new(AddressPolicy::Workstation);
    let mut snapshot = snapshot(json!({
        "providers": {"a/p": provider("http://127.0.0.1:1/v1")},
        "routes": {"a/one": route(&["m"], "a/p")},
    }));
    let key = routeapi_channel::snapshot::Credential::ApiKey(Secret::new("canary-key"));
    snapshot.providers.values_mut().for_each(|provider| provider.credential = Some(key.clone()));
    let revision = Catalog::of(&snapshot).unwrap().revision();
    let (runtime, changes, _) = compile(&snapshot, &revision, shared.view(), Share::default());
    assert!(!format!("{runtime:?}{changes:?}{snapshot:?}{shared:?}").contains("canary"));
}

#[test]
fn selectors_are_decided_by_the_labels_of_namespaces() {
    let shared = SharedState::new(AddressPolicy::Workstation);
    let mut gold = route(&[], "a/p");
    gold["published"] = json!([{"model": "gold"}]);
    gold["allowedNamespaces"] = json!({"selector": {"matchLabels": {"tier": "gold"}}});
    let state = json!({
        "providers": {"a/p": provider("http://127.0.0.1:1/v1")},
        "routes": {"a/gold": gold},
        "namespaces": {"shop": {"labels": {"tier": "gold"}}, "lab": {"labels": {"tier": "silver"}}},
    });
    let (runtime, refused) = compiled(state, &shared);
    assert_eq!(refused, []);
    for (namespace, found) in [("shop", true), ("lab", false), ("a", false)] {
        assert_eq!(runtime.route(namespace, "gold").is_some(), found, "{namespace}");
    }
}
