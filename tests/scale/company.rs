//! A company: teams with routes and tokens, one operator and three data planes; who is ready is followed by watches.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
    runtime::{WatchStreamExt, watcher},
};
use routeapi_tests::wait;
use serde_json::{Value, json};

use crate::ground::{Gateway, Ground, HOME, LIMIT, Operator, object};

/// Objects that are created at the same time.
const AT_ONCE: usize = 16;

/// Data planes.
const GATEWAYS: usize = 3;

/// Which objects of a kind are ready.
pub type Readiness = Arc<Mutex<HashMap<(String, String), bool>>>;

pub struct Company<'a> {
    pub ground: &'a Ground,
    pub operator: Operator,
    pub gateways: Vec<Gateway>,
    pub teams: Vec<String>,
    pub routes: Readiness,
    pub tokens: Readiness,
}

impl<'a> Company<'a> {
    /// Teams, an operator that is ready and data planes that are connected; no objects yet.
    pub async fn found(ground: &'a Ground) -> Self {
        let teams: Vec<String> = (0..ground.size.namespaces).map(|team| format!("team-{team:02}")).collect();
        for team in &teams {
            ground.server.namespace_named(team, &[("tier", "team")]).await.unwrap();
        }
        let operator = ground.operator("first", None);
        operator.ready().await;
        let mut gateways = Vec::new();
        for _ in 0..GATEWAYS {
            gateways.push(ground.gateway(&operator).await);
        }
        let (routes, tokens) = (follow(ground, "AIRoute"), follow(ground, "ApiToken"));
        let company = Self { ground, operator, gateways, teams, routes, tokens };
        company.connected().await;
        company
    }

    /// Waits until all data planes are connected.
    pub async fn connected(&self) -> Duration {
        let all = self.gateways.len() as u64;
        let connected = || async { (self.operator.metric("data_planes_connected", "").await == all).then_some(()) };
        wait::until("data planes are connected", LIMIT, connected).await.1
    }

    /// Creates objects of a kind; how long that took.
    pub async fn create(&self, kind: &str, objects: Vec<(String, DynamicObject)>) -> Duration {
        let started = std::time::Instant::now();
        let creations = stream::iter(objects).map(|(namespace, object)| {
            let api = self.ground.api(kind, &namespace);
            async move { drop(api.create(&PostParams::default(), &object).await.unwrap()) }
        });
        creations.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
        started.elapsed()
    }

    /// Waits until so many objects are ready; how long that took.
    pub async fn ready(&self, what: &str, who: &Readiness, count: usize) -> Duration {
        let ready = || who.lock().unwrap().values().filter(|ready| **ready).count() >= count;
        wait::until_true(what, LIMIT, ready).await
    }

    /// The team of the object with this number.
    pub fn team(&self, number: usize) -> &str {
        &self.teams[number % self.teams.len()]
    }

    /// The API key of a token, once it has one.
    pub async fn key(&self, namespace: &str, name: &str) -> (String, Duration) {
        let api: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(self.ground.client.clone(), namespace);
        let secret = routeapi_crds::v1alpha1::default_secret_name(name);
        let read = || async {
            let data = api.get_opt(&secret).await.ok()??.data?;
            String::from_utf8(data.get("token")?.0.clone()).ok()
        };
        wait::until("the Secret", LIMIT, read).await
    }
}

/// Follows which objects of a kind are ready, until the runtime ends.
fn follow(ground: &Ground, kind: &str) -> Readiness {
    let all = Readiness::default();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("routeapi.dev", "v1alpha1", kind));
    let api: Api<DynamicObject> = Api::all_with(ground.client.clone(), &resource);
    let known = Arc::clone(&all);
    tokio::spawn(async move {
        let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
        loop {
            let event = events.try_next().await;
            let key = |object: &DynamicObject| (object.namespace().unwrap_or_default(), object.name_any());
            match event {
                Ok(Some(watcher::Event::Apply(object) | watcher::Event::InitApply(object))) => {
                    let ready = is_ready(&object);
                    known.lock().unwrap().insert(key(&object), ready);
                }
                Ok(Some(watcher::Event::Delete(object))) => drop(known.lock().unwrap().remove(&key(&object))),
                Ok(Some(watcher::Event::Init)) => known.lock().unwrap().clear(),
                Ok(None) => return,
                Ok(_) | Err(_) => {}
            }
        }
    });
    all
}

fn is_ready(object: &DynamicObject) -> bool {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| {
        condition["type"] == "Ready"
            && condition["status"] == "True"
            && condition["observedGeneration"].as_i64() == object.metadata.generation
    })
}

/// A provider that needs no network, open to all.
pub fn provider(number: usize) -> (String, DynamicObject) {
    let spec = json!({"type": "Echo", "allowedRoutes": {"namespaces": {"from": "All"}}});
    (HOME.to_owned(), object("AIProvider", &format!("provider-{number:04}"), &spec))
}

/// The spec of a route to one of so many providers.
pub fn route_spec(number: usize, providers: usize, model: &str) -> Value {
    let upstream = |nth: usize| {
        json!({"name": format!("upstream-{nth}"), "priority": nth,
            "providerRef": {"name": format!("provider-{:04}", (number + nth) % providers), "namespace": HOME}})
    };
    json!({"model": model, "upstreams": [upstream(0), upstream(1)]})
}

/// The model of the route with this number.
pub fn model(number: usize) -> String {
    format!("model-{number:05}")
}

/// The spec of a token, with limits as a company sets them.
pub fn token_spec() -> Value {
    json!({"models": ["model-*"], "limits": [
        {"name": "requests", "per": "Minute", "requests": 60_000},
        {"name": "tokens", "per": "Day", "tokens": 5_000_000},
    ]})
}
