//! Sessions of the Realtime API, with a WebSocket client that is not the gateway's own.

mod client;
mod ends;
mod hostile;
mod talk;

use std::time::Duration;

use routeapi_dataplane::request::{RequestSettings, SessionSettings};
use routeapi_tests::upstream::{Script, Upstream};

use self::client::{Client, Refused};
use crate::gateway::{Gateway, Manifests, TOKEN};

/// A gateway with one upstream, whose model has another name there.
async fn one(script: Script) -> (Upstream, Gateway) {
    one_with(script, "models: [\"*\"]", RequestSettings::default()).await
}

async fn one_with(script: Script, token: &str, settings: RequestSettings) -> (Upstream, Gateway) {
    let upstream = Upstream::builder().script(script).key("key-of-the-owner").start().await.unwrap();
    let gateway = Gateway::start_with(&manifests(&upstream).token_with("main", TOKEN, token), settings);
    (upstream, gateway)
}

/// All but a token.
fn manifests(upstream: &Upstream) -> Manifests {
    provider("up", upstream, with_key()).route_with("m", &["up"], "fallback: {maxAttempts: 2}")
}

fn with_key() -> Manifests {
    Manifests::new().secret("key", &[("apiKey", "key-of-the-owner")])
}

fn provider(name: &str, upstream: &Upstream, manifests: Manifests) -> Manifests {
    manifests.provider_with(
        name,
        "OpenAI",
        upstream,
        "endpoints: [Realtime, ChatCompletions], credentials: {apiKey: {secretRef: {name: key, key: apiKey}}}",
    )
}

fn sessions(change: impl FnOnce(&mut SessionSettings)) -> RequestSettings {
    let mut settings = RequestSettings::default();
    change(&mut settings.sessions);
    settings
}

async fn open(gateway: &Gateway) -> Client {
    Client::open(gateway, "/v1/realtime?model=m").await.unwrap()
}

async fn refused(gateway: &Gateway, path: &str) -> Refused {
    Client::open(gateway, path).await.map(drop).unwrap_err()
}

const BRIEF: Duration = Duration::from_millis(400);
