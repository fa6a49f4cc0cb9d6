//! What it takes to find the route of a model id, by how many prefix routes there are.

use std::{
    hint::black_box,
    io::{self, Write},
    time::Instant,
};

use anyhow::ensure;
use routeapi_channel::{Catalog, Snapshot};
use routeapi_dataplane::{config::compile, state::SharedState, upstream::AddressPolicy};
use routeapi_metering::Share;
use serde_json::{Map, Value, json};

/// Look-ups per figure.
const ROUNDS: u32 = 200_000;

/// Prints a line per number of routes.
pub fn run() -> anyhow::Result<()> {
    for routes in [10, 1_000, 5_000] {
        let snapshot: Snapshot = serde_json::from_value(state(routes))?;
        let revision = Catalog::of(&snapshot)?.revision();
        let state = SharedState::new(AddressPolicy::Workstation);
        let (runtime, _changes, refused) = compile::compile(&snapshot, &revision, state.view(), Share::default());
        ensure!(refused.is_empty(), "{refused:?}");
        let found = format!("team-{}-gpt-4o-mini", routes - 1);
        let nanos = |model: &str| {
            let began = Instant::now();
            for _ in 0..ROUNDS {
                black_box(runtime.route("app", black_box(model)));
            }
            began.elapsed().as_nanos() / u128::from(ROUNDS)
        };
        ensure!(runtime.route("app", &found).is_some(), "{found} is not found");
        writeln!(
            io::stdout().lock(),
            "figure: look-up among {routes} prefix routes: {} ns found, {} ns unknown, {} ns unknown of 1 MiB",
            nanos(&found),
            nanos("nobody-has-this"),
            nanos(&"x".repeat(1 << 20)),
        )?;
    }
    Ok(())
}

/// Published prefixes of three lengths, each of its own route.
fn state(routes: usize) -> Value {
    let route = |number: usize| {
        let upstream = json!({"name": "u", "provider": "ai/echo", "priority": 0, "weight": 1,
            "timeouts": {"connect": "1s", "firstContent": "1s", "streamIdle": "1s", "request": "1s"}});
        let route = json!({"models": [], "published": [{"model": format!("team-{number}-*")}], "listed": true, "created": 0,
            "allowedNamespaces": "all", "translation": "Default", "upstreams": [upstream],
            "fallback": {"conditions": [], "maxAttempts": 1, "maxRetryAfter": "1s"}});
        (format!("ai/r{number}"), route)
    };
    let routes: Map<String, Value> = (0..routes).map(route).collect();
    let eviction = json!({"consecutiveFailures": 5, "duration": "30s"});
    json!({"providers": {"ai/echo": {"type": "Echo", "baseUrl": "", "eviction": eviction}}, "routes": routes})
}
