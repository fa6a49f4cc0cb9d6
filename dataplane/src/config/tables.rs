//! One state of the configuration: every route by the model ids it answers, every token by its hash and by the ServiceAccounts
//! that call with it. The tables of the next state are made from a clone, which shares what does not change.

use std::{collections::BTreeMap, sync::Arc};

use routeapi_channel::{ObjectId, Revision, shared_map::SharedMap, snapshot::Published};

use super::{
    names::Names,
    runtime::{Route, Token},
    token_table::TokenTable,
};

/// One state of the configuration, compiled.
#[derive(Clone, Debug, Default)]
pub struct Runtime {
    /// The state's name; none before the first configuration.
    pub revision: Option<Revision>,
    /// Whether any provider takes paths that the gateway does not know.
    pub has_other_paths: bool,
    pub(super) names: Names,
    pub(super) routes: SharedMap<ObjectId, NamedRoute>,
    pub(super) tokens: TokenTable<[u8; 32]>,
    pub(super) service_accounts: TokenTable<ObjectId>,
}

/// A route with what it answers to in other namespaces.
#[derive(Clone, Debug)]
pub(super) struct NamedRoute {
    pub route: Arc<Route>,
    pub published: Arc<[Published]>,
}

impl PartialEq for NamedRoute {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.route, &other.route)
    }
}

impl Runtime {
    /// The route that answers this model id for tokens of this namespace.
    pub fn route(&self, namespace: &str, model: &str) -> Option<&Arc<Route>> {
        self.names.find(namespace, model)
    }

    /// The exact model ids that tokens of this namespace find, with the route that answers each.
    pub fn models(&self, namespace: &str) -> BTreeMap<&str, &Arc<Route>> {
        self.names.exact(namespace)
    }

    /// The routes that answer tokens of this namespace for whatever begins with a prefix, with that prefix.
    pub fn prefixes(&self, namespace: &str) -> impl Iterator<Item = (&str, &Arc<Route>)> {
        self.names.prefixes(namespace)
    }

    /// Every route, by id.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter().map(|(_, named)| &named.route)
    }

    /// The token that a presented value's SHA-256 stands for.
    pub fn token(&self, sha256: &[u8; 32]) -> Option<&Arc<Token>> {
        self.tokens.get(sha256)
    }

    /// The token that a ServiceAccount calls with.
    pub fn service_account(&self, account: &ObjectId) -> Option<&Arc<Token>> {
        self.service_accounts.get(account)
    }

    /// Whether any ServiceAccount may call.
    pub fn has_service_accounts(&self) -> bool {
        !self.service_accounts.is_empty()
    }
}
