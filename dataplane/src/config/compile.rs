//! Snapshot → the tables a request reads. What cannot be compiled is reported and left out; the rest stands.

mod providers;
mod routes;
mod tokens;

use std::sync::Arc;

use routeapi_channel::{Key, Kind, ObjectId, Revision, Snapshot, catalog::Unreadable};
use routeapi_crds::value::ModelPattern;
use routeapi_metering::Share;

use super::runtime::{Route, Runtime};
use crate::live::Live;

/// Compiles a state. `share` is this process's part of every token's limits.
pub fn compile(snapshot: &Snapshot, revision: &Revision, live: &Live, share: Share) -> (Runtime, Vec<Unreadable>) {
    let mut refused = Vec::new();
    let providers = providers::compile(&snapshot.providers, live, &mut refused);
    let mut runtime = Runtime { revision: Some(revision.clone()), ..Runtime::default() };
    let namespaces = Arc::new(snapshot.namespaces.clone());
    for (id, route) in &snapshot.routes {
        match routes::compile(id, route, &providers, &namespaces, live) {
            Ok(route) => publish(&mut runtime, Arc::new(route)),
            Err(message) => refused.push(unreadable(Kind::Route, id, message)),
        }
    }
    runtime.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    for (id, token) in &snapshot.tokens {
        match tokens::compile(id, token, live, share) {
            Ok(keys) => runtime.tokens.extend(keys),
            Err(message) => refused.push(unreadable(Kind::Token, id, message)),
        }
    }
    live.prune();
    (runtime, refused)
}

fn publish(runtime: &mut Runtime, route: Arc<Route>) {
    for model in &route.models {
        match model {
            ModelPattern::Exact(id) => {
                runtime.exact.insert(id.clone(), Arc::clone(&route));
            }
            ModelPattern::Prefix(prefix) => runtime.prefixes.push((prefix.clone(), Arc::clone(&route))),
        }
    }
    runtime.routes.push(route);
}

fn unreadable(kind: Kind, id: &ObjectId, message: String) -> Unreadable {
    Unreadable { key: Key { kind, id: id.clone() }, message }
}

#[cfg(test)]
mod tests;
