//! The configuration in force as `/config` shows it: where it is from, how old, what was refused, and the snapshot
//! without its secrets.

use serde_json::{Value, json};

use crate::{
    clock,
    config::store::{Link, Origin, Store},
};

/// The whole dump.
pub(super) fn dump(store: &Store) -> Value {
    let now = clock::now();
    let applied = store.applied();
    let applied = applied.as_deref();
    let (snapshot, _) = applied.map(|it| it.catalog.decode()).unwrap_or_default();
    json!({
        "revision": applied.map(|it| &it.revision),
        "origin": applied.map(|it| word(it.origin)),
        "appliedUnixMs": applied.map(|it| it.at.unix_ms),
        "ageSeconds": applied.map(|it| now.mono.saturating_duration_since(it.at.mono).as_secs()),
        "rejected": applied.map(|it| &it.rejected),
        "operator": link(&store.link()),
        "snapshot": snapshot.redacted(),
    })
}

/// As it is labelled in metrics too.
pub(super) fn word(origin: Origin) -> &'static str {
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
