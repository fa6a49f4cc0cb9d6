//! The schema for checks without an API server accepts what an API server accepts, and its errors have a path.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use routeapi_crds::{schema, yaml};
use serde_json::Value;

/// Errors of the schema, with their paths.
fn errors(kind: &str, spec: &str) -> Vec<String> {
    let head = format!("apiVersion: routeapi.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: a, labels: {{a: b}}}}");
    let manifest: Value = yaml::read(&format!("{head}\nspec: {spec}")).unwrap().remove(0).value;
    let validator = jsonschema::validator_for(&schema::strict(kind).unwrap()).unwrap();
    validator.iter_errors(&manifest).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn valid_specs_pass() {
    for (kind, spec) in [
        ("AIProvider", "{type: OpenAI, baseURL: null, tls: null, credentials: {apiKey: {secretRef: {name: s}}}}"),
        ("AIProvider", "{type: Echo, allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {a: b}}}}}"),
        (
            "AIProvider",
            "{type: Gemini, request: {bodyDefaults: {generationConfig: {temperature: 0.5, stop: null}}, headers: [{name: X-Team, \
             valueFrom: {configMapKeyRef: {name: c, key: team}}}]}, proxy: {url: 'http://[fd00::1]:3128'}}",
        ),
        ("AIRoute", "{model: 'a/b:c*', fallback: null, upstreams: [{name: a, providerRef: {name: p}, weight: 0}]}"),
        ("ApiToken", "{models: ['*'], limits: [{name: a, per: Day, spendUSD: '0.5', tokens: null}]}"),
    ] {
        assert_eq!(errors(kind, spec), [] as [String; 0], "{spec}");
    }
}

#[test]
fn errors_name_the_field() {
    for (kind, spec, path, words) in [
        ("AIProvider", "{type: openai}", "/spec/type", "openai"),
        ("AIProvider", "{type: Echo, baseUrl: x}", "/spec", "baseUrl"),
        ("AIProvider", "{type: Echo, maxConcurrentRequests: 0}", "/spec/maxConcurrentRequests", "minimum"),
        (
            "AIProvider",
            "{type: Gemini, request: {headers: [{name: 'X Team', value: a}]}}",
            "/spec/request/headers/0/name",
            "X Team",
        ),
        ("AIProvider", "{type: Gemini, request: {forwardHeaders: ['a:b']}}", "/spec/request/forwardHeaders/0", "a:b"),
        ("AIProvider", "{type: Gemini, proxy: {url: 'http://proxy/path'}}", "/spec/proxy/url", "proxy/path"),
        ("AIProvider", "{type: Gemini, proxy: {url: 'socks5://proxy'}}", "/spec/proxy/url", "socks5"),
        ("AIRoute", "{model: a, upstreams: []}", "/spec/upstreams", "[]"),
        ("AIRoute", "{model: a b, upstreams: [{name: a, providerRef: {name: p}}]}", "/spec/model", "a b"),
        (
            "AIRoute",
            "{model: a, aliases: [b, b], upstreams: [{name: a, providerRef: {name: p}}]}",
            "/spec/aliases",
            "non-unique",
        ),
        ("AIRoute", "{model: a, upstreams: [{name: a, providerRef: {}}]}", "/spec/upstreams/0/providerRef", "name"),
        ("ApiToken", "{models: [a], limits: [{name: a, per: Week}]}", "/spec/limits/0/per", "Week"),
        ("ApiToken", "{}", "/spec", "models"),
    ] {
        let found = errors(kind, spec);
        assert!(
            found.len() == 1 && found[0].starts_with(&format!("{path}: ")) && found[0].contains(words),
            "{spec}: {found:?}"
        );
    }
    assert!(schema::strict("Deployment").is_none());
}
