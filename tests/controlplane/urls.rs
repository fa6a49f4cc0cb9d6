//! The API server and `routeapi check` evaluate the same regular expression for `baseURL`, with different engines.

use kube::{Api, api::PostParams};
use routeapi_crds::v1alpha1::AIProvider;
use routeapi_dataplane::config::local::{Loader, values::Values};
use serde_json::{Value, json};

use crate::cluster::Cluster;

const ACCEPTED: [&str; 14] = [
    "http://localhost:11434/v1",
    "http://localhost",
    "http://127.0.0.1:1234/v1",
    "http://[::1]:8080/v1",
    "https://[2001:db8::1]",
    "https://[2001:db8::1]:65535/v1/",
    "https://api.openai.com/v1",
    "https://api.openai.com/v1/",
    "HTTPS://API.example.com:443/v1",
    "http://vllm:8000/v1",
    "http://vllm.ai.svc.cluster.local.:8000/v1",
    "http://model_server:8000",
    "https://example.com/a%20b/~c/d-e_f.g/v1",
    "https://example.com//v1",
];

const REFUSED: [&str; 30] = [
    "localhost:11434/v1",
    "//example.com/v1",
    "http//example.com",
    "http:/example.com",
    "ftp://example.com/v1",
    "httpss://example.com",
    "https://user:password@example.com",
    "https://user@example.com/v1",
    "https://@example.com",
    "https://example.com/v1?x=1",
    "https://example.com?x=1",
    "https://example.com/v1?",
    "https://example.com/v1#top",
    "https://example.com/v1#",
    "https://:443/v1",
    "https:///v1/models",
    "http://::1/v1",
    "http://[::1/v1",
    "http://[::1]8080",
    "http://[example.com]",
    "https://example.com:port",
    "https://example.com:",
    "https://example.com:123456",
    "https://example.com/a b",
    " https://example.com",
    "https://example.com\n",
    "https://example.com/v1\n/x",
    "https://b\u{fc}cher.example",
    "https://example.com/\u{e4}",
    "https://example.com\\v1",
];

const SAYS: &str = "baseURL must be an absolute http or https URL";

fn provider(name: &str, url: &str) -> Value {
    json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "AIProvider", "metadata": {"name": name},
           "spec": {"type": "OpenAI", "baseURL": url}})
}

/// What `routeapi check` says of it.
fn checked(url: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("provider.json");
    std::fs::write(&path, provider("it", url).to_string()).unwrap();
    let loaded = Loader::new(vec![path], Values::Placeholder).unwrap().partial(true).load(&|_| None);
    loaded.problems.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn the_api_server_and_check_accept_the_same_base_urls() {
    let cluster = Cluster::new("urls").await;
    let providers: Api<AIProvider> = cluster.api();
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let judged = async |url: &str| {
        let object = serde_json::from_value(provider("it", url)).unwrap();
        providers.create(&dry_run, &object).await.err().map(|error| error.to_string())
    };
    for url in ACCEPTED {
        assert_eq!((judged(url).await, checked(url)), (None, Vec::new()), "{url}");
    }
    for url in REFUSED {
        let (server, check) = (judged(url).await.unwrap_or_default(), checked(url));
        assert!(server.contains(SAYS), "{url:?}: the API server says {server:?}");
        assert!(check.iter().any(|problem| problem.contains(SAYS)), "{url:?}: check says {check:?}");
    }
}
