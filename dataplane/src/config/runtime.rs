//! The immutable objects that a request reads: every reference is a pointer, every text is parsed, nothing is looked up
//! twice. Built by [`super::compile`], swapped as a whole.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::HeaderName;
use routeapi_channel::{
    ObjectId,
    snapshot::{AllowedNamespaces, Namespace},
};
use routeapi_crds::value::{Capability, FallbackCondition, LoadBalancing, ModelPattern, ProviderType};
use routeapi_metering::Price;
use routeapi_protocol::{
    dialect::{Family, Operation},
    host::Host,
    limits::Features,
    report::Mode,
};

pub use super::tables::Runtime;
use super::{offers::ModelOffers, patterns::Patterns};
use crate::{
    limits::Account,
    state::{ConcurrencyLimit, Health, Learned, Load, OfferedModels, RejectedKeys, RetryBudget},
    upstream::Client,
};

/// What a model id means.
#[derive(Debug)]
pub struct Route {
    /// The AIRoute.
    pub id: ObjectId,
    /// What it answers to in its own namespace.
    pub models: Vec<ModelPattern>,
    /// `owned_by` in listings.
    pub owned_by: Option<String>,
    /// Whether listings show it.
    pub listed: bool,
    /// Seconds since 1970; `created` in listings.
    pub created: i64,
    /// Whose tokens may use it.
    pub allowed: AllowedNamespaces,
    /// Labels by which `allowed` decides, if it is a selector; shared by all routes.
    pub namespaces: Arc<BTreeMap<String, Namespace>>,
    /// What happens to fields an upstream cannot express.
    pub mode: Mode,
    /// Ways to serve it, lowest priority first.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Which of those of one priority comes first.
    pub balancing: LoadBalancing,
    /// What keeps a session on one of those of one priority, if anything does.
    pub affinity: Option<Affinity>,
    /// When another one is tried.
    pub fallback: Fallback,
    /// What keeps a streaming client's connection open.
    pub heartbeat: Heartbeat,
    /// Why upstreams are missing, for whoever runs the gateway.
    pub problem: Option<String>,
    /// Bounds extra attempts.
    pub budget: Arc<RetryBudget>,
}

/// What names the session of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// What clients are known to name it by.
    Session,
    /// The value of this header.
    Header(HeaderName),
}

/// What keeps a streaming client's connection open while no content comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Whether there are any.
    pub on: bool,
    /// Whether they begin before an upstream has answered, which commits to status 200.
    pub before_content: bool,
    /// How long a client hears nothing before the next; none for what the process is started with.
    pub every: Option<Duration>,
}

/// When another upstream is tried.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// Failures that lead on.
    pub conditions: Vec<FallbackCondition>,
    /// Attempts in all, at least 1.
    pub max_attempts: u32,
    /// The longest pause that is waited for.
    pub max_retry_after: Duration,
}

/// One way to serve a route.
#[derive(Debug)]
pub struct Upstream {
    /// Its name in the route.
    pub name: String,
    /// The account or server.
    pub provider: Arc<Provider>,
    /// The operations that it is called on: those of the provider, as far as the route wants them.
    pub operations: Vec<Operation>,
    /// Model id to send; none means the one the client sent.
    pub model: Option<String>,
    /// Lower is tried first.
    pub priority: u32,
    /// Share within a priority; 0 takes no part.
    pub weight: u32,
    /// Whether the provider is of another namespace than the route.
    pub(super) foreign: bool,
    /// What the route says the model can do; [`Upstream::terms`] is what counts.
    pub(super) capabilities: Vec<Capability>,
    /// What the route says it costs; [`Upstream::terms`] is what counts.
    pub(super) price: Option<Price>,
    /// Most output tokens that the route allows; [`Upstream::terms`] is what counts.
    pub(super) max_output: Option<u64>,
    /// What the route does not let through; [`Upstream::terms`] is what counts.
    pub(super) unsupported: Features,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// How to reach it.
    pub client: Client,
    /// Its passive health.
    pub health: Arc<Health>,
    /// What it has to do for this process.
    pub load: Arc<Load>,
    /// What it was found not to take.
    pub learned: Arc<Learned>,
}

/// One account or server.
#[derive(Debug)]
pub struct Provider {
    /// The AIProvider.
    pub id: ObjectId,
    /// Its type, for telemetry.
    pub type_: ProviderType,
    /// Whose conventions it follows. Echo follows the client's.
    pub family: Family,
    /// Where and how its dialects are served.
    pub host: Host,
    /// The operations it has.
    pub operations: Vec<Operation>,
    /// What its owner says about its models.
    pub offers: ModelOffers,
    /// What it says it offers.
    pub offered_models: Arc<OfferedModels>,
    /// Whether the caller's own credential is sent to it. What it then says of the account says nothing about others' requests.
    pub takes_client_credential: bool,
    /// A hash of its key; none if it has none.
    pub key: Option<u64>,
    /// Where it is noted whether the vendor takes that.
    pub rejected_keys: Arc<RejectedKeys>,
    /// Requests in flight from this process.
    pub concurrency: Arc<ConcurrencyLimit>,
}

/// How long each step of an attempt may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To a usable connection.
    pub connect: Duration,
    /// From sending to the first content.
    pub first_content: Duration,
    /// Between two events.
    pub stream_idle: Duration,
    /// The whole request.
    pub request: Duration,
}

/// One key or ServiceAccount of a client credential.
#[derive(Debug)]
pub struct Token {
    /// The ApiToken.
    pub id: ObjectId,
    /// Which of its keys, or `serviceaccount/NAME`.
    pub key_id: String,
    /// The models it may name.
    pub models: Arc<Patterns<()>>,
    /// Seconds since 1970 after which the token is refused.
    pub expires: Option<i64>,
    /// Seconds since 1970 after which this key is refused (rotation).
    pub key_not_after: Option<i64>,
    /// Refused until further notice.
    pub suspended: bool,
    /// Leaves out upstreams without a price.
    pub denies_unpriced: bool,
    /// What it may still use.
    pub account: Arc<Account>,
}

// === impl Provider ===

impl Provider {
    /// An upstream answered with this status. `rejects` says that it is about the gateway's key, which a vendor says with
    /// 401 or 403 and nothing else. Logged once per change, never in the vendor's words.
    pub fn answered(&self, status: u16, rejects: bool, now: i64) {
        let Some(key) = self.key else { return };
        if rejects && matches!(status, 401 | 403) {
            if self.rejected_keys.rejected(&self.id, key, status, now) {
                tracing::warn!(provider = %self.id, status, "the upstream rejects the key of this AIProvider");
            }
        } else if (200..300).contains(&status) && self.rejected_keys.accepted(&self.id, key) {
            tracing::info!(provider = %self.id, "the upstream accepts the key of this AIProvider again");
        }
    }
}

// === impl Route ===

impl Route {
    /// Whether tokens of this namespace may use it.
    pub fn is_open_to(&self, namespace: &str) -> bool {
        self.allowed.is_open_to(namespace, &self.namespaces)
    }

    /// Whether listings show what its upstreams offer: where it answers for a prefix.
    pub fn shows_offered_models(&self) -> bool {
        self.listed && self.models.iter().any(|model| matches!(model, ModelPattern::Prefix(_)))
    }

    /// Whether any upstream takes requests.
    pub fn serves(&self) -> bool {
        self.upstreams.iter().any(|upstream| upstream.weight > 0)
    }
}

// === impl Upstream ===

impl Upstream {
    /// Whether it is sent the model that the client names, so that what its provider offers is what clients can ask for.
    pub fn passes_models_on(&self) -> bool {
        self.model.is_none() && self.weight > 0
    }
}

// === impl Heartbeat ===

impl Heartbeat {
    /// How long a client hears nothing before the next, where the process says `default`; none for no heartbeats.
    pub fn interval(&self, default: Option<Duration>) -> Option<Duration> {
        self.every.or(default).filter(|_| self.on)
    }
}

// === impl Token ===

impl Token {
    /// Whether its allow-list holds this model id.
    pub fn may_name(&self, model: &str) -> bool {
        self.models.matching(model).next().is_some()
    }
}
