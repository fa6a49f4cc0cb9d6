//! Keys of upstreams that are replaced while requests are under way.

use routeapi_tests::{
    upstream::{Script, Upstream},
    wait,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    gateway::{Gateway, Manifests, SOON},
    request::{Ask, chat},
};

/// Stands before an upstream and holds connections back before their TLS handshake.
struct Gate {
    port: u16,
    /// Connections so far, and whether they are let through.
    state: watch::Sender<(usize, bool)>,
}

impl Gate {
    async fn before(upstream: &Upstream) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, to) = (watch::Sender::new((0, false)), upstream.address());
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                shared.send_modify(|(connections, _)| *connections += 1);
                let mut opened = shared.subscribe();
                tokio::spawn(async move {
                    opened.wait_for(|(_, is_open)| *is_open).await.unwrap();
                    let mut server = TcpStream::connect(to).await.unwrap();
                    drop(copy_bidirectional(&mut client, &mut server).await);
                });
            }
        });
        Self { port, state }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/v1", self.port)
    }
}

fn manifests(upstream: &Upstream, url: &str, key: &str) -> Manifests {
    Manifests::new()
        .secret("ca", &[("ca.crt", upstream.ca_pem().unwrap())])
        .secret("key", &[("apiKey", key)])
        .with(&format!(
            "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: up, namespace: apps}}\n\
             spec: {{type: OpenAI, baseURL: \"{url}\", credentials: {{apiKey: {{secretRef: {{name: key}}}}}}, \
             tls: {{caCertificateRef: {{kind: Secret, name: ca}}}}}}"
        ))
        .route_with("m", &["up"], "timeouts: {connect: 30s}")
        .token()
}

/// Sends a request that waits for its connection until `meanwhile` is in force; the key that it was sent with.
async fn key_of_a_waiting_request(
    upstream: &Upstream,
    gate: &Gate,
    gateway: &Gateway,
    meanwhile: &Manifests,
) -> String {
    let asking = tokio::spawn({
        let address = gateway.address();
        async move { Ask::post("/v1/chat/completions", chat("m", false)).open_at(address).await.read().await }
    });
    wait::until_true("the request waits for its connection", SOON, || gate.state.borrow().0 > 0).await;
    gateway.apply(meanwhile).await;
    gate.state.send_modify(|(_, is_open)| *is_open = true);
    let answer = asking.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    upstream.last().header("authorization").unwrap_or_default().to_owned()
}

async fn start() -> (Upstream, Gate) {
    let upstream = Upstream::builder().tls().script(Script::new()).start().await.unwrap();
    let gate = Gate::before(&upstream).await;
    (upstream, gate)
}

#[tokio::test]
async fn rotated_key_is_used_by_requests_waiting_for_a_connection() {
    let (upstream, gate) = start().await;
    let gateway = Gateway::start(&manifests(&upstream, &gate.url(), "old-key"));
    let rotated = manifests(&upstream, &gate.url(), "new-key");
    assert_eq!(key_of_a_waiting_request(&upstream, &gate, &gateway, &rotated).await, "Bearer new-key");
}

#[tokio::test]
async fn new_key_is_never_sent_to_the_old_address() {
    let (upstream, gate) = start().await;
    let elsewhere = Upstream::builder().tls().script(Script::new()).start().await.unwrap();
    let gateway = Gateway::start(&manifests(&upstream, &gate.url(), "old-key"));
    let moved = manifests(&elsewhere, &elsewhere.openai_url(), "new-key");
    assert_eq!(key_of_a_waiting_request(&upstream, &gate, &gateway, &moved).await, "Bearer old-key");
}
