//! What a change, a restart and doing nothing cost at that size.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use routeapi_tests::{client::Client, wait};
use serde_json::json;

use crate::{
    company::{Company, model},
    ground::LIMIT,
    processes::{cpu, figure, resident, spread},
};

/// Changes of routes and of a token, one after the other.
pub async fn measure(company: &mut Company<'_>) {
    idle(company).await;
    let size = company.ground.size;
    let before = resident(&company.operator.process);
    let (team, token) = (company.team(0).to_owned(), "one-more");
    let (key, _) = company.key(&team, token).await;
    let clients: Vec<_> = company.gateways.iter().map(|gateway| Client::new(gateway.address, &key)).collect();
    let routes = company.ground.api("AIRoute", &team);
    let costs = Costs::begin(company).await;
    let mut times = Vec::new();
    for change in 0..size.changes {
        let next = format!("model-changed-{change}");
        let patch = Patch::Merge(json!({"spec": {"aliases": [next]}}));
        let started = Instant::now();
        routes.patch("route-00000", &PatchParams::default(), &patch).await.unwrap();
        everywhere(&clients, &next, 200).await;
        times.push(started.elapsed());
    }
    costs.end(company, "change of a route", &times).await;

    let tokens = company.ground.api("ApiToken", &team);
    let costs = Costs::begin(company).await;
    let mut times = Vec::new();
    for change in 0..size.changes {
        let state = if change % 2 == 0 { "Suspended" } else { "Active" };
        let patch = Patch::Merge(json!({"spec": {"state": state}}));
        let started = Instant::now();
        tokens.patch(token, &PatchParams::default(), &patch).await.unwrap();
        let wanted = if change % 2 == 0 { 403 } else { 200 };
        everywhere(&clients, &model(size.namespaces), wanted).await;
        times.push(started.elapsed());
    }
    costs.end(company, "change of a token", &times).await;
    let after = resident(&company.operator.process);
    figure("operator RSS before and after these changes", format_args!("{before:.1} MiB, {after:.1} MiB"));
}

/// Waits until every data plane answers so; a suspended token is refused with 401 or 403.
async fn everywhere(clients: &[Client], model: &str, wanted: u16) {
    for client in clients {
        let look = || async {
            let status = client.chat(model).await.status;
            (status == wanted || (wanted == 403 && status == 401)).then_some(())
        };
        wait::until("every data plane has the change", LIMIT, look).await;
    }
}

/// What processes have used, and compiled, until a moment.
struct Costs {
    operator: Duration,
    gateways: Vec<Duration>,
    compiled: u64,
}

impl Costs {
    async fn begin(company: &Company<'_>) -> Self {
        Self {
            operator: cpu(&company.operator.process),
            gateways: company.gateways.iter().map(|gateway| cpu(&gateway.process)).collect(),
            compiled: company.operator.metric("compiled_objects_total", "").await,
        }
    }

    async fn end(self, company: &Company<'_>, what: &str, times: &[Duration]) {
        let changes = times.len() as u32;
        figure(&format!("{what} to served by all"), spread(times.to_vec()));
        let operator = (cpu(&company.operator.process) - self.operator) / changes;
        let gateways: Duration = company.gateways.iter().map(|gateway| cpu(&gateway.process)).sum();
        let gateway = (gateways - self.gateways.iter().sum::<Duration>()) / (changes * company.gateways.len() as u32);
        let compiled =
            (company.operator.metric("compiled_objects_total", "").await - self.compiled) as f64 / f64::from(changes);
        figure(
            &format!("{what}, cost"),
            format_args!(
                "operator {operator:.2?} CPU with its statuses, data plane {gateway:.2?} CPU \
            with the requests that look, {compiled:.1} objects compiled"
            ),
        );
        assert!(compiled <= 4.0, "{compiled} objects are compiled for one {what}");
    }
}

/// Nothing happens: what the operator asks for all the same.
async fn idle(company: &Company<'_>) {
    let settled = || async {
        let before = written(company).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        (written(company).await == before).then_some(())
    };
    wait::until("all is quiet", LIMIT, settled).await;
    let (before, cpu_before) = (company.ground.requests().await, cpu(&company.operator.process));
    let started = Instant::now();
    tokio::time::sleep(company.ground.size.idle).await;
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let used = (cpu(&company.operator.process) - cpu_before).as_secs_f64() / started.elapsed().as_secs_f64();
    let after = company.ground.requests().await;
    let ours = ["aiproviders", "airoutes", "apitokens", "configmaps", "namespaces", "events", "leases", "tokenreviews"];
    let count = |wanted: &dyn Fn(&str) -> bool| {
        let each = after.iter().filter(|((_, resource), _)| wanted(resource.split('/').next().unwrap_or_default()));
        each.map(|(key, count)| count - before.get(key).copied().unwrap_or_default()).sum::<u64>() as f64 / minutes
    };
    figure(
        "idle",
        format_args!(
            "{:.1} requests a minute (the API server's own lease among them), and {:.0} to look at Secrets in \
        turn; {:.2} % of a CPU",
            count(&|resource| ours.contains(&resource)),
            count(&|resource| resource == "secrets"),
            used * 100.0
        ),
    );
}

async fn written(company: &Company<'_>) -> u64 {
    company.operator.metric("writes_total", "").await
}

/// A start beside all objects, an orderly stop, and the lease from one to the other.
pub async fn restart(company: &mut Company<'_>) {
    let second = company.ground.operator("second", None);
    let started = second.ready().await;
    figure("start to Ready beside all objects", format_args!("{started:.1?}"));
    let before = secrets_read(company).await;
    let stopping = Instant::now();
    let status = company.operator.process.terminate(Duration::from_secs(30)).unwrap();
    let stopped = stopping.elapsed();
    let leads = || async { (second.metric("leader", "").await == 1).then_some(()) };
    let (_, took) = wait::until("the other leads", LIMIT, leads).await;
    figure("orderly stop", format_args!("{stopped:.1?} ({status}), lease taken over {took:.1?} later"));
    let watching = Instant::now();
    wait::until_true("ten seconds", LIMIT, || watching.elapsed() > Duration::from_secs(10)).await;
    let read = secrets_read(company).await - before;
    figure("Secrets that the new leader reads in its first ten seconds", read);
    let tokens = company.ground.size.tokens;
    assert!(read <= 400, "{read} reads of Secrets for {tokens} tokens that are settled");
    assert_eq!(second.metric("writes_total", "what=\"token\"").await, 0, "it writes no key anew");
    // Data planes know the address of the first.
    let config = company.operator.config().port();
    second.process.terminate(Duration::from_secs(30)).unwrap();
    company.operator = company.ground.operator("third", Some(config));
    company.operator.ready().await;
    figure("data planes are connected again after", format_args!("{:.1?}", company.connected().await));
}

async fn secrets_read(company: &Company<'_>) -> u64 {
    let requests = company.ground.requests().await;
    requests.get(&("GET".to_owned(), "secrets".to_owned())).copied().unwrap_or_default()
}
