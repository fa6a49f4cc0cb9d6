//! Everything from nothing: providers, routes, tokens; what one new token and one revocation have to wait meanwhile.

use std::{collections::BTreeMap, time::Instant};

use kube::api::{DeleteParams, Patch, PatchParams};
use routeapi_tests::{client::Client, wait};
use serde_json::json;

use crate::{
    company::{Company, model, provider, route_spec, token_spec},
    ground::{LIMIT, object},
    processes::{cpu, figure, resident},
};

/// Providers and routes.
pub async fn routes(company: &mut Company<'_>) {
    let size = company.ground.size;
    figure("operator without objects, RSS", format_args!("{:.1} MiB", resident(&company.operator.process)));
    company.create("AIProvider", (0..size.providers).map(provider).collect()).await;
    let routes = (0..size.routes).map(|number| {
        let spec = route_spec(number, size.providers, &model(number));
        (company.team(number).to_owned(), object("AIRoute", &format!("route-{number:05}"), &spec))
    });
    let created = company.create("AIRoute", routes.collect()).await;
    let after = company.ready("routes are ready", &company.routes, size.routes).await;
    figure("routes created in", format_args!("{created:.1?}, all Ready {after:.1?} later"));
    figure("operator with all routes, RSS", format_args!("{:.1} MiB", resident(&company.operator.process)));
    let written = company.operator.metric("writes_total", "what=\"status\",outcome=\"Written\"").await;
    let objects = (size.providers + size.routes) as u64;
    figure("status writes per provider and route", format_args!("{:.2}", written as f64 / objects as f64));
    // While routes are being created, a provider's number of routes changes again and again, at most every five seconds.
    assert!(written <= 3 * objects, "{written} writes for {objects} objects");
}

/// Tokens: a key for each, with one more and two revocations in the middle.
pub async fn tokens(company: &mut Company<'_>) {
    let size = company.ground.size;
    let before = company.ground.requests().await;
    let (statuses, keys) = (written(company, "status").await, written(company, "token").await);
    let (mut operator_cpu, mut gateway_cpu) = (cpu(&company.operator.process), cpu(&company.gateways[0].process));
    let started = Instant::now();
    let name = |number: usize| format!("app-{number:05}");
    let tokens = (0..size.tokens)
        .map(|number| (company.team(number).to_owned(), object("ApiToken", &name(number), &token_spec())));
    let created = company.create("ApiToken", tokens.collect()).await;
    figure("tokens created in", format_args!("{created:.1?}"));
    one_more(company).await;
    revocations(company).await;
    // Two of them were revoked.
    company.ready("tokens are ready", &company.tokens, size.tokens - 1).await;
    let took = started.elapsed();
    figure(
        "all tokens Ready from nothing",
        format_args!("{took:.1?}, {:.1} per second", size.tokens as f64 / took.as_secs_f64()),
    );
    operator_cpu = cpu(&company.operator.process) - operator_cpu;
    gateway_cpu = cpu(&company.gateways[0].process) - gateway_cpu;
    figure(
        "CPU of filling per token",
        format_args!(
            "operator {:.2?}, data plane {:.2?}",
            operator_cpu / size.tokens as u32,
            gateway_cpu / size.tokens as u32
        ),
    );
    let rss = resident(&company.operator.process);
    figure("operator with all tokens, RSS", format_args!("{rss:.1} MiB"));
    for (number, gateway) in company.gateways.iter().enumerate() {
        figure(&format!("data plane {number}, RSS"), format_args!("{:.1} MiB", resident(&gateway.process)));
    }
    let after = company.ground.requests().await;
    let count = |verb: &str, resource: &str| {
        let of = |requests: &BTreeMap<_, u64>| {
            requests.get(&(verb.to_owned(), resource.to_owned())).copied().unwrap_or_default()
        };
        (of(&after) - of(&before)) as f64 / size.tokens as f64
    };
    let statuses = (written(company, "status").await - statuses) as f64 / size.tokens as f64;
    let keys = (written(company, "token").await - keys) as f64 / size.tokens as f64;
    let (tokens, secrets) = (count("GET", "apitokens"), count("GET", "secrets"));
    let events = count("POST", "events") + count("PATCH", "events");
    figure(
        "per token",
        format_args!(
            "writes of status.keys {keys:.2}, of conditions {statuses:.2}, events {events:.2}; reads of \
        ApiTokens {tokens:.2}, of Secrets {secrets:.2}"
        ),
    );
    let minted = company.operator.metric("tokens_minted_total", "").await;
    assert_eq!(minted, size.tokens as u64 + 1, "each token gets one key");
    assert!(keys <= 1.2, "{keys} writes of status.keys per token");
    assert!(statuses <= 2.5, "{statuses} writes of conditions per token");
    assert!(tokens <= 0.3, "{tokens} reads of ApiTokens per token");
    let per_object = rss * 1024.0 / (size.providers + size.routes + size.tokens) as f64;
    figure("operator per object", format_args!("{per_object:.1} KiB"));
}

/// A new token while all others are being minted.
async fn one_more(company: &Company<'_>) {
    let team = company.team(0).to_owned();
    let pending = || company.tokens.lock().unwrap().values().filter(|ready| !**ready).count();
    let behind = pending();
    company.create("ApiToken", vec![(team.clone(), object("ApiToken", "one-more", &token_spec()))]).await;
    let (_, took) = company.key(&team, "one-more").await;
    figure(
        "a new token during filling has its Secret after",
        format_args!("{took:.1?} ({behind} waited, {} still do)", pending()),
    );
}

/// One token is deleted and one suspended while others are being minted.
async fn revocations(company: &Company<'_>) {
    let ready = |nth: usize| {
        let tokens = company.tokens.lock().unwrap();
        let mut ready: Vec<_> =
            tokens.iter().filter(|(key, ready)| **ready && key.1 != "one-more").map(|(key, _)| key.clone()).collect();
        ready.sort();
        ready.into_iter().nth(nth)
    };
    wait::until_true("two tokens are ready", LIMIT, || ready(1).is_some()).await;
    for (what, refused) in [("deleted", 401), ("suspended", 401)] {
        let (team, name) = ready(0).unwrap();
        let (key, _) = company.key(&team, &name).await;
        let tokens = company.ground.api("ApiToken", &team);
        let clients: Vec<_> = company.gateways.iter().map(|gateway| Client::new(gateway.address, &key)).collect();
        let started = Instant::now();
        if what == "deleted" {
            tokens.delete(&name, &DeleteParams::default()).await.unwrap();
        } else {
            let suspend = Patch::Merge(json!({"spec": {"state": "Suspended"}}));
            tokens.patch(&name, &PatchParams::default(), &suspend).await.unwrap();
        }
        for client in &clients {
            let look = || async {
                matches!(client.chat("model-00000").await.status, status if status == refused || status == 403)
                    .then_some(())
            };
            wait::until("it is refused", LIMIT, look).await;
        }
        figure(
            &format!("token {what} during filling, refused by all data planes after"),
            format_args!("{:.1?}", started.elapsed()),
        );
        // The readiness of the next one is not that of this one.
        company.tokens.lock().unwrap().remove(&(team, name));
    }
}

async fn written(company: &Company<'_>, what: &str) -> u64 {
    company.operator.metric("writes_total", &format!("what=\"{what}\",outcome=\"Written\"")).await
}
