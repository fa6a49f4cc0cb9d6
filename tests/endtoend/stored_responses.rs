//! A response that one gateway passed on is found through every other.

use crate::cluster::{Cluster, list, provide, provider, route, token, upstream};
use routeapi_tests::upstream::Script;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_one_gateway_holds_at_the_others_and_for_its_token_alone() {
    let cluster = Cluster::shared().await;
    let _turn = cluster.together().await;
    let release = &cluster.release;
    let upstream = upstream(Script::new().text("kept")).await;
    let namespace = cluster.namespace("stored").await;
    provide(release, &namespace, &upstream).await;
    let mut responses = provider(&namespace, &upstream);
    responses["spec"]["endpoints"] = json!(["Responses"]);
    release.apply(&release.namespace, &list(&[responses])).await.unwrap();
    let objects = [route(release, "kept", &namespace, "model"), token("app"), token("other")];
    release.apply(&namespace, &list(&objects)).await.unwrap();
    release.condition("AIRoute", (&namespace, "kept"), ("Ready", "True")).await;
    let own = release.token(&namespace, "app").await.remove("token").unwrap();
    let other = release.token(&namespace, "other").await.remove("token").unwrap();

    let clients = cluster.clients(&own);
    let first = clients[0].post("/v1/responses", &json!({"model": "kept", "input": "begin"})).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let id = first.json()["id"].clone();
    let goes_on = json!({"model": "kept", "input": "go on", "previous_response_id": id});
    for client in &clients {
        let answer = client.post("/v1/responses", &goes_on).await;
        assert_eq!((answer.status, &answer.json()["previous_response_id"]), (200, &id), "{}", answer.text());
        let stolen = client.with_token(&other).post("/v1/responses", &goes_on).await;
        assert_eq!(stolen.json()["error"]["code"], "previous_response_not_found", "{}", stolen.text());
    }
    assert_eq!(upstream.received().len(), 1 + clients.len());
}
