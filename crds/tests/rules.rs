//! The CEL rules of the CRDs on small specs: which are accepted, and the message of those that are rejected.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use kube::core::{CustomResourceExt, Resource, cel};
use routeapi_crds::{
    v1alpha1::{AIProvider, AIRoute, ApiToken},
    yaml,
};
use serde::{Serialize, de::DeserializeOwned};

fn object<T: DeserializeOwned + Resource<DynamicType = ()>>(name: &str, spec: &str) -> T {
    let mut value = yaml::read(&format!("metadata: {{name: {name}, namespace: ns}}\nspec: {spec}")).unwrap();
    let mut value = value.remove(0).value;
    value["apiVersion"] = "routeapi.dev/v1alpha1".into();
    value["kind"] = T::kind(&()).into();
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{spec}: {error}"))
}

/// Messages of the violated rules; empty if there are none.
fn violations<T: CustomResourceExt + Serialize>(new: &T, old: Option<&T>) -> String {
    let result = match old {
        None => cel::validate_cel(new),
        Some(old) => cel::validate_cel_update(new, old),
    };
    result.err().map(|errors| errors.to_string()).unwrap_or_default()
}

fn created<T: DeserializeOwned + Resource<DynamicType = ()> + CustomResourceExt + Serialize>(cases: &[(&str, &str)]) {
    for (spec, expected) in cases {
        let messages = violations(&object::<T>("a", spec), None);
        assert!(
            messages.contains(expected) && (messages.is_empty() == expected.is_empty()),
            "{spec}\n  messages: {messages}"
        );
    }
}

fn updated<T: DeserializeOwned + Resource<DynamicType = ()> + CustomResourceExt + Serialize>(
    cases: &[(&str, &str, &str)],
) {
    for (old, new, expected) in cases {
        let messages = violations(&object::<T>("a", new), Some(&object::<T>("a", old)));
        assert!(
            messages.contains(expected) && (messages.is_empty() == expected.is_empty()),
            "{old} → {new}\n  messages: {messages}"
        );
    }
}

#[test]
fn providers_at_clouds() {
    let with_key = |rest: &str| format!("{{{rest}, credentials: {{apiKey: {{secretRef: {{name: s}}}}}}}}");
    let azure =
        with_key("type: AzureOpenAI, baseURL: 'https://x.openai.azure.com', azureOpenAI: {apiVersion: 2024-10-21}");
    let no_url = with_key("type: AzureOpenAI, azureOpenAI: {apiVersion: v1}");
    let no_version = with_key("type: AzureOpenAI, baseURL: 'https://x.openai.azure.com'");
    let vertex =
        |credentials: &str| format!("{{type: VertexAI, vertexAI: {{project: p, location: global}}{credentials}}}");
    let azure_as = |identity: &str| {
        format!("{{type: AzureOpenAI, baseURL: 'https://x.openai.azure.com', credentials: {{azure: {{{identity}}}}}}}")
    };
    created::<AIProvider>(&[
        (&azure, ""),
        ("{type: Bedrock, bedrock: {region: us-east-1}, credentials: {aws: {secretRef: {name: s}}}}", ""),
        (&vertex(", credentials: {google: {workloadIdentity: {}}}"), ""),
        (&vertex(", baseURL: 'https://proxy.svc'"), ""),
        (&vertex(""), "credentials are required unless baseURL is set"),
        (&vertex(", credentials: {apiKey: {secretRef: {name: s}}}"), "type VertexAI does not support API keys"),
        (&vertex(", credentials: {google: {}}"), "exactly one of workloadIdentity or serviceAccountKey"),
        (&azure_as("workloadIdentity: {}"), ""),
        (&azure_as("managedIdentity: {clientID: 00000000-0000-0000-0000-000000000000}"), ""),
        (&azure_as(""), "exactly one of workloadIdentity, managedIdentity or clientSecret"),
        (&azure_as("workloadIdentity: {}, managedIdentity: {}"), "exactly one of workloadIdentity, managedIdentity or"),
        (&with_key("type: OpenAI, azureOpenAI: {apiVersion: v1}"), "azureOpenAI is only for type AzureOpenAI"),
        (
            "{type: OpenAI, credentials: {azure: {workloadIdentity: {}}}}",
            "credentials.azure is only for type AzureOpenAI",
        ),
        (
            "{type: OpenAI, credentials: {google: {workloadIdentity: {}}}}",
            "credentials.google is only for type VertexAI",
        ),
        (&no_url, "baseURL is required for type AzureOpenAI"),
        (&no_version, ""),
        ("{type: Bedrock}", "bedrock must be set if and only if type is Bedrock"),
        ("{type: Echo, vertexAI: {project: p, location: l}}", "vertexAI must be set if and only if"),
        ("{type: OpenAI, credentials: {aws: {secretRef: {name: s}}}}", "credentials.aws is only for type Bedrock"),
    ]);
}

#[test]
fn providers() {
    const KEY: &str = "credentials: {apiKey: {secretRef: {name: s}}}";
    let with_key = |rest: &str| format!("{{{rest}, {KEY}}}");
    let openai = with_key("type: OpenAI");
    let endpoints = with_key("type: Gemini, endpoints: [Responses]");
    created::<AIProvider>(&[
        ("{type: Echo}", ""),
        (&openai, ""),
        ("{type: OpenAI, baseURL: 'http://vllm:8000/v1'}", ""),
        ("{type: OpenAI}", "credentials are required unless baseURL is set"),
        ("{type: Echo, baseURL: 'http://x.svc'}", "type Echo does not support baseURL"),
        ("{type: OpenAI, baseURL: 'ftp://example.com'}", "absolute http or https URL"),
        ("{type: OpenAI, baseURL: 'not a url'}", "absolute http or https URL"),
        ("{type: OpenAI, baseURL: 'https://u:p@example.com'}", "without user, query or fragment"),
        ("{type: OpenAI, baseURL: 'https://example.com/v1?x=1'}", "without user, query or fragment"),
        ("{type: OpenAI, credentials: {}}", "exactly one of apiKey, aws, azure, google or"),
        (&endpoints, "endpoints is only for type OpenAI"),
        (
            "{type: Echo, tls: {serverName: x}}",
            "type Echo does not support baseURL, credentials, tls, proxy and request",
        ),
        ("{type: OpenAI, baseURL: 'https://x.svc', tls: {}}", "at least one of caCertificateRef, serverName and"),
        ("{type: OpenAI, baseURL: 'https://x.svc', tls: {clientCertificateRef: {name: s}}}", ""),
        (
            "{type: Echo, proxy: {mode: Direct}}",
            "type Echo does not support baseURL, credentials, tls, proxy and request",
        ),
        (&with_key("type: OpenAI, proxy: {url: 'http://proxy:3128', basicAuth: {secretRef: {name: s}}}"), ""),
        (&with_key("type: OpenAI, proxy: {mode: Direct}"), ""),
        (&with_key("type: OpenAI, proxy: {url: 'http://u:p@proxy:3128'}"), "url must not contain credentials"),
        (&with_key("type: OpenAI, proxy: {}"), "url is required for mode Connect"),
        (&with_key("type: OpenAI, proxy: {mode: Direct, url: 'http://proxy:3128'}"), "not allowed for mode Direct"),
        (&with_key("type: OpenAI, proxy: {mode: Direct, basicAuth: {secretRef: {name: s}}}"), "basicAuth requires url"),
        (&with_key("type: OpenAI, request: {}"), "at least one of headers, queryParameters, bodyDefaults"),
        (&with_key("type: OpenAI, request: {bodyDefaults: {store: false, reasoning: {effort: low}}}"), ""),
        (&with_key("type: OpenAI, request: {headers: [{name: x-team, value: a}], forwardHeaders: [User-Agent]}"), ""),
        (&with_key("type: OpenAI, request: {headers: [{name: x-team}]}"), "exactly one of value and valueFrom"),
        (
            &with_key(
                "type: OpenAI, request: {queryParameters: [{name: v, value: a, valueFrom: {secretKeyRef: {name: s}}}]}",
            ),
            "exactly one of value and valueFrom",
        ),
        (
            &with_key("type: OpenAI, request: {headers: [{name: x-team, valueFrom: {}}]}"),
            "exactly one of secretKeyRef and configMapKeyRef",
        ),
        ("{type: Echo, allowedRoutes: {namespaces: {from: Selector}}}", "selector must be set if and only if"),
        ("{type: Echo, allowedRoutes: {namespaces: {from: All, selector: {}}}}", "selector must be set if and only if"),
        (
            "{type: Echo, allowedRoutes: {namespaces: {from: Selector, selector: \
             {matchExpressions: [{key: a, operator: In}]}}}}",
            "values must be set if and only if",
        ),
    ]);
    updated::<AIProvider>(&[
        ("{type: Echo}", "{type: Echo, maxConcurrentRequests: 5}", ""),
        ("{type: Echo}", "{type: OpenAI, baseURL: 'http://x.svc'}", "type is immutable"),
    ]);
}

#[test]
fn routes() {
    const UP: &str = "upstreams: [{name: a, providerRef: {name: p}}]";
    let route = |rest: &str| format!("{{{rest}, {UP}}}");
    created::<AIRoute>(&[
        (&route("model: gpt-4o"), ""),
        (&route("model: 'gpt-*', aliases: [x, 'y*']"), ""),
        (&route("model: '*'"), ""),
        (&route("model: a, timeouts: {firstContent: 1m, request: 60s}"), ""),
        (&route("model: a, heartbeat: {interval: 1s}, loadBalancer: {type: LowestLatency}"), ""),
        (&route("model: a, heartbeat: {mode: AfterContent}"), ""),
        (&route("model: a, affinity: {}"), ""),
        (&route("model: a, affinity: {type: Session}"), ""),
        (&route("model: a, affinity: {type: Header, header: X-Team-Session}"), ""),
        (&route("model: a, affinity: {type: Header}"), "header must be set if and only if type is Header"),
        (&route("model: a, affinity: {header: x-a}"), "header must be set if and only if type is Header"),
        (&route("model: a, affinity: {type: Session, header: x-a}"), "header must be set if and only if type is"),
        (&route("model: a, heartbeat: {interval: 999ms}"), "interval must be at least 1s"),
        (&route("model: a, aliases: [b, a]"), "aliases must not repeat model"),
        (&route("model: a, timeouts: {firstContent: 61s, request: 1m}"), "firstContent must not exceed request"),
        ("{model: a, upstreams: [{name: a, weight: 0, providerRef: {name: p}}]}", "a weight above 0"),
        (
            "{model: a, upstreams: [{name: a, providerRef: {name: p}, timeouts: {firstContent: 2h, request: 1h}}]}",
            "firstContent must not exceed request",
        ),
    ]);
    updated::<AIRoute>(&[
        (&route("model: a"), &route("model: a, aliases: [b]"), ""),
        (&route("model: a"), &route("model: b"), "model is immutable"),
    ]);
}

#[test]
fn tokens() {
    created::<ApiToken>(&[
        ("{models: ['*']}", ""),
        ("{models: [a], limits: [{name: x, per: Day, spendUSD: '1.50'}], rotation: {interval: 48h}}", ""),
        ("{models: [a], limits: [{name: x, per: Day}]}", "exactly one of requests, tokens or spendUSD"),
        ("{models: [a], limits: [{name: x, per: Day, tokens: 1, requests: 1}]}", "exactly one of requests, tokens"),
        ("{models: [a], limits: [{name: x, per: Day, tokens: 1, enforcement: Strict}]}", ""),
        ("{models: [a], limits: [{name: x, per: Day, requests: 1, enforcement: Settle}]}", ""),
        (
            "{models: [a], limits: [{name: x, per: Day, requests: 1, enforcement: Strict}]}",
            "requires tokens or spendUSD",
        ),
        ("{models: [a], rotation: {interval: 5m, overlap: 1m}}", "interval must be at least 10m"),
        ("{models: [a], rotation: {interval: 24h}}", "rotation.overlap must be shorter than rotation.interval"),
        ("{models: [a], subjects: [{serviceAccountName: checkout}]}", ""),
        ("{models: [a], subjects: [{serviceAccountName: checkout}], secretKeys: None}", ""),
        ("{models: [a], secretKeys: None}", "secretKeys None requires subjects"),
        ("{models: [a], subjects: [], secretKeys: None}", "secretKeys None requires subjects"),
        (
            "{models: [a], subjects: [{serviceAccountName: a}], secretKeys: None, rotation: {interval: 48h}}",
            "rotation requires an API key",
        ),
    ]);
    updated::<ApiToken>(&[
        ("{models: [a]}", "{models: [b], state: Suspended}", ""),
        ("{models: [a], rotation: {revision: 1}}", "{models: [a], rotation: {revision: 2}}", ""),
        (
            "{models: [a], rotation: {revision: 2}}",
            "{models: [a], rotation: {revision: 1}}",
            "revision can only be increased",
        ),
        ("{models: [a]}", "{models: [a], secretName: s}", "secretName is immutable"),
        ("{models: [a], secretName: s}", "{models: [a]}", "secretName is immutable"),
    ]);
    let long = "n".repeat(201);
    assert!(violations(&object::<ApiToken>(&long, "{models: [a]}"), None).contains("at most 200 characters"));
}
