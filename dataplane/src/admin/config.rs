//! The configuration in force as `/config` shows it: where it is from, how old, what was refused, and the snapshot
//! without its secrets; and the state of each upstream in this process.

use std::{collections::BTreeMap, time::Instant};

use routeapi_protocol::{host::Surface, limits::ChatLimit, request::LeftOut};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    clock::{self, Now},
    config::{
        runtime::{Route, Runtime, Upstream},
        store::{Link, Origin, Store},
    },
    state::Availability,
};

/// The whole dump.
pub(super) fn dump(store: &Store) -> Value {
    let now = clock::now();
    let applied = store.applied();
    let applied = applied.as_deref();
    let (snapshot, _) = applied.map(|it| it.catalog.decode()).unwrap_or_default();
    json!({
        "revision": applied.map(|it| &it.revision),
        "origin": applied.map(|it| label(it.origin)),
        "appliedUnixMs": applied.map(|it| it.at.unix_ms),
        "ageSeconds": applied.map(|it| now.mono.saturating_duration_since(it.at.mono).as_secs()),
        "rejected": applied.map(|it| &it.rejected),
        "operator": link(&store.link()),
        "upstreams": upstreams(&store.current(), now),
        "snapshot": snapshot.redacted(),
    })
}

/// An upstream as this process knows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UpstreamState {
    #[serde(flatten)]
    for_everybody: Shown,
    in_flight: u32,
    expected_first_content_ms: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    refuses_stream_options: bool,
    /// What its models were found to refuse.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    learned: BTreeMap<String, Refused>,
    /// Namespaces for whose tokens alone it is left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    by_namespace: BTreeMap<String, Shown>,
}

/// What a model was found to refuse.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    /// As an AIProvider writes them.
    unsupported: Vec<String>,
    /// The name of the output limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_limit: Option<&'static str>,
    /// Where the upstream does not serve the model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    closed: Vec<&'static str>,
}

/// Whether an upstream takes part, and when it does again.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_unix_ms: Option<i64>,
}

/// The state of each upstream, by route and name. Routes that use the same model of the same provider share it.
fn upstreams(runtime: &Runtime, now: Now) -> BTreeMap<String, BTreeMap<&str, UpstreamState>> {
    runtime.routes().map(|route| (route.id.to_string(), of_route(route, now))).collect()
}

fn of_route(route: &Route, now: Now) -> BTreeMap<&str, UpstreamState> {
    route.upstreams.iter().map(|upstream| (upstream.name.as_str(), UpstreamState::of(upstream, now))).collect()
}

impl UpstreamState {
    fn of(upstream: &Upstream, now: Now) -> Self {
        let (state, alone) = upstream.health.overview(now.mono);
        let (latency, learned) = (upstream.load.latency(now.mono), upstream.learned.overview(now.mono));
        Self {
            for_everybody: Shown::of(state, now),
            in_flight: upstream.load.in_flight(),
            expected_first_content_ms: latency.and_then(|latency| u64::try_from(latency.as_millis()).ok()),
            refuses_stream_options: learned.stream_options,
            learned: learned.models.into_iter().map(|(model, refused)| (model, Refused::of(refused))).collect(),
            by_namespace: alone.into_iter().map(|(name, state)| (name, Shown::of(state, now))).collect(),
        }
    }
}

impl Refused {
    fn of(refused: LeftOut) -> Self {
        let unsupported = refused.hints.iter().map(|hint| format!("{hint:?}")).collect();
        let closed = refused.closed.iter().map(Surface::name).collect();
        Self { unsupported, output_limit: refused.chat_limit.map(ChatLimit::name), closed }
    }
}

impl Shown {
    fn of(availability: Availability, now: Now) -> Self {
        let unix_ms = |until: Instant| {
            let left = i64::try_from(until.saturating_duration_since(now.mono).as_millis()).unwrap_or(i64::MAX);
            now.unix_ms.saturating_add(left)
        };
        let (state, until) = match availability {
            Availability::Ready => ("ready", None),
            Availability::CoolingDown(until) => ("cooling_down", Some(until)),
            Availability::Evicted(until) => ("evicted", Some(until)),
        };
        Self { state, until_unix_ms: until.map(unix_ms) }
    }
}

/// As it is labelled in metrics too.
pub(super) fn label(origin: Origin) -> &'static str {
    match origin {
        Origin::Files => "files",
        Origin::Operator => "operator",
        Origin::LastGood => "last_good",
    }
}

fn link(link: &Link) -> Value {
    match link {
        Link::Local => json!({ "state": "none" }),
        Link::Down { since, reason } => {
            json!({ "state": "disconnected", "sinceUnixMs": since.unix_ms, "reason": reason })
        }
        Link::Up { since } => json!({ "state": "connected", "sinceUnixMs": since.unix_ms }),
    }
}
