//! Without the operator, traffic continues and a restarted gateway serves its last configuration; an operator that returns
//! does not resend known configuration. The release watches two namespaces and reads keys in one, so that it has the
//! smallest roles. It has an API server of its own, because the test stops it.

use crate::cluster::{Traffic, list, provide_in, route_to, token, upstream};
use routeapi_tests::apiserver::ApiServer;
use routeapi_tests::client::Client;
use routeapi_tests::operator::{self, Release};
use routeapi_tests::upstream::Script;
use routeapi_tests::wait;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_continues_without_the_operator() {
    let api: &'static ApiServer = Box::leak(Box::new(ApiServer::start().await.unwrap()));
    let (app, keys) = (api.namespace("app").await.unwrap(), api.namespace("keys").await.unwrap());
    let watched = format!("watchNamespaces={{{app},{keys}}},providerNamespaces={{{keys}}}");
    let release = Release::install(api, &["--set", &watched]).await.unwrap();
    let operator = release.operator(None).await.unwrap();
    let port = operator.config.port();
    let (steady, restarted) = (release.gateway(&operator).await.unwrap(), release.gateway(&operator).await.unwrap());

    let upstream = upstream(Script::new().text("hello").delay_headers(Duration::from_millis(10))).await;
    provide_in(&release, &keys, "upstream", &upstream).await;
    release.apply(&app, &list(&[route_to(&keys, "lasting", "upstream", "model-1"), token("app")])).await.unwrap();
    release.condition("AIRoute", (&app, "lasting"), ("Ready", "True")).await;
    release.condition("ApiToken", (&app, "app"), ("Ready", "True")).await;
    let key = release.token(&app, "app").await.remove("token").unwrap();
    let traffic = Traffic::start(&[Client::new(steady.gateway.address(), &key)], "lasting", &key);
    traffic.more(20).await;

    operator.kill();
    wait::until("the gateway notices", LIMIT, || async {
        (steady.gateway.config().await["operator"]["state"] == "disconnected").then_some(())
    })
    .await;
    traffic.more(50).await;
    let started = Instant::now();
    let restarted = restarted.restarted().await;
    restarted.gateway.ready().await;
    let took = started.elapsed();
    assert_eq!(restarted.gateway.config().await["origin"], "last_good");
    let client = Client::new(restarted.gateway.address(), &key);
    assert_eq!(client.chat("lasting").await.status, 200);
    println!("figure: without an operator, a gateway restarted and served its last good configuration after {took:?}");

    let started = Instant::now();
    let operator = release.operator(Some(port)).await.unwrap();
    for pod in [&steady, &restarted] {
        wait::until("the gateway is connected again", LIMIT, || async {
            (pod.gateway.config().await["operator"]["state"] == "connected").then_some(())
        })
        .await;
    }
    println!("figure: operator back to both gateways connected: {:?}", started.elapsed());
    wait::until_true("both gateways are counted", LIMIT, || {
        operator.metrics.text().unwrap().contains("data_planes_connected 2")
    })
    .await;

    // A change proves that the streams are alive; it is all that was sent.
    release.apply(&app, &list(&[route_to(&keys, "lasting", "upstream", "model-2")])).await.unwrap();
    for pod in [&steady, &restarted] {
        let client = Client::new(pod.gateway.address(), &key);
        wait::until("the change serves", LIMIT, || async {
            (client.chat("lasting").await.json()["model"] == "model-2").then_some(())
        })
        .await;
    }
    let puts = operator.metrics.puts();
    let (answered, failures) = traffic.end().await;
    println!(
        "figure: traffic while the operator was away and came back = {answered} requests, failed = {}; resources sent after its return = {puts}, all of them the changed route",
        failures.len()
    );
    assert!(failures.is_empty(), "{:?}", failures.first());
    assert_eq!(puts, 2, "one changed route to two gateways, and nothing else");
    assert_eq!(operator::forbidden(), Vec::<String>::new(), "the chart's roles lack something");
}
