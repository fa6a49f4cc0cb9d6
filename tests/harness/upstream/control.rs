//! The control port of the stand-alone program, for tests in other languages and for people:
//!
//! | request | does |
//! |---|---|
//! | `POST /_script` | sets scripts: `{"default": {…}, "models": {"name": {…}}, "queue": [{…}]}`; a member that is left out stays |
//! | `GET /_received` | every request as received |
//! | `GET /_ledger` | what was really produced |
//! | `GET /_state` | `{"in_flight", "open_connections", "accepted_connections"}` |
//! | `POST /_pause`, `POST /_resume` | nothing more is sent; goes on |
//! | `DELETE /_state` | forgets requests, ledger and scripts |

use super::ask::Dialect;
use super::play::Played;
use super::record::{Outcome, Received};
use super::script::Script;
use super::serve::{Scripts, Shared};
use super::stage::Stage;
use super::wire::Line;
use bytes::Bytes;
use hyper::{Method, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Orders {
    default: Option<Script>,
    models: Option<BTreeMap<String, Script>>,
    queue: Option<Vec<Script>>,
}

pub(super) fn answer(
    shared: &Arc<Shared>,
    line: &Arc<Line>,
    method: &Method,
    path: &str,
    body: &Bytes,
) -> Response<Played> {
    let result = obey(shared, method, path, body);
    let (status, document) = match result {
        Ok(document) => (200, document),
        Err((status, message)) => (status, json!({"error": message})),
    };
    // Control requests are no part of the record: theirs is thrown away.
    let aside = Arc::new(super::record::Records::default());
    let received = Received {
        id: 0,
        method: String::new(),
        path: String::new(),
        version: String::new(),
        headers: Vec::new(),
        body: Bytes::new(),
        at: Instant::now(),
    };
    let exchange = aside.open(Dialect::Gemini, received);
    let unpaused = tokio::sync::watch::Sender::new(false);
    let stage = Stage {
        dialect: Dialect::Gemini,
        script: Script::default(),
        line: Arc::clone(line),
        paused: unpaused.subscribe(),
    };
    stage.whole(status, document.to_string().into(), "application/json", 0, exchange)
}

fn obey(shared: &Shared, method: &Method, path: &str, body: &[u8]) -> Result<Value, (u16, String)> {
    match (method.as_str(), path) {
        ("POST", "/_script") => {
            let orders: Orders = serde_json::from_slice(body).map_err(|e| (400, e.to_string()))?;
            let mut scripts = shared.scripts.lock().unwrap();
            if let Some(default) = orders.default {
                scripts.default = default;
            }
            if let Some(models) = orders.models {
                scripts.models = models;
            }
            if let Some(queue) = orders.queue {
                scripts.queue = queue.into();
            }
            Ok(json!({}))
        }
        ("GET", "/_received") => Ok(shared.records.received().iter().map(Received::to_json).collect()),
        ("GET", "/_ledger") => Ok(json!(shared.records.ledger())),
        ("GET", "/_state") => {
            let open = shared.records.ledger().iter().filter(|entry| entry.outcome == Outcome::Open).count();
            Ok(json!({"in_flight": open, "open_connections": shared.open_connections(),
                "accepted_connections": shared.accepted.load(Ordering::Relaxed)}))
        }
        ("POST", "/_pause" | "/_resume") => {
            shared.paused.send_replace(path == "/_pause");
            Ok(json!({}))
        }
        ("DELETE", "/_state") => {
            shared.records.clear();
            shared.paused.send_replace(false);
            *shared.scripts.lock().unwrap() = Scripts::default();
            Ok(json!({}))
        }
        _ => Err((404, format!("there is no {method} {path}"))),
    }
}
