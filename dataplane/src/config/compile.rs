//! Snapshot → the tables a request reads, and what they change in the state that outlives them. What cannot be compiled is
//! reported and left out; the rest stands.
//!
//! Pure: the state is looked at and nothing in it is changed, so that a configuration can be judged without being put in
//! force.

mod providers;
mod routes;
mod tokens;
mod values;

use std::sync::Arc;

use routeapi_channel::{Kind, Revision, Snapshot, catalog::Unreadable};
use routeapi_metering::Share;
use routeapi_protocol::{dialect::Operation, direct::Direct};

use self::values::unreadable;
use super::runtime::Runtime;
use crate::state::{StateChanges, View};

/// Compiles a configuration beside this state. `share` is this process's part of every token's limits. To put the tables in
/// force, apply the changes first.
pub fn compile(
    snapshot: &Snapshot,
    revision: &Revision,
    state: View<'_>,
    share: Share,
) -> (Runtime, StateChanges, Vec<Unreadable>) {
    // Taken apart, so that a kind that is forgotten here does not compile.
    let Snapshot { providers, routes, tokens, namespaces } = snapshot;
    let (mut draft, mut refused) = (state.draft(), Vec::new());
    let providers = providers::compile(providers, &mut draft, &mut refused);
    let mut runtime = Runtime { revision: Some(revision.clone()), ..Runtime::default() };
    let other = Operation::Direct(Direct::Unlisted);
    runtime.has_other_paths = providers.values().any(|compiled| compiled.provider.operations.contains(&other));
    let namespaces = Arc::new(namespaces.clone());
    for (id, route) in routes {
        match routes::compile(id, route, &providers, &namespaces, &mut draft) {
            Ok(compiled) => {
                let compiled = Arc::new(compiled);
                runtime.names.insert(&compiled, &route.published);
                runtime.routes.push(compiled);
            }
            Err(message) => refused.push(unreadable(Kind::Route, id, message)),
        }
    }
    for (id, token) in tokens {
        match tokens::compile(id, token, &mut draft, share) {
            Ok(compiled) => {
                runtime.tokens.extend(compiled.keys);
                runtime.service_accounts.extend(compiled.service_accounts);
            }
            Err(message) => refused.push(unreadable(Kind::Token, id, message)),
        }
    }
    (runtime, draft.finish(), refused)
}

#[cfg(test)]
mod tests;
