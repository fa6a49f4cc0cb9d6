//! The keys of ApiTokens: made, taken over, rotated and repaired by the lease holder.
//!
//! One token at a time is looked at: `plan` says (pure) what its Secret and its status ask for, this file and
//! [`secret`] do it. The order is such that an app which reads a new Secret is never refused, and that a crash between
//! any two steps is repaired by looking again:
//!
//! ```text
//! hash into status.keys → data planes acknowledge it → value into the Secret → end of the old key into status.keys
//! ```
//!
//! Every token is looked at when it changes, when something of it falls due, and at each resync, since a Secret in an
//! app's namespace cannot be watched.

pub mod plan;
mod queue;
mod secret;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use routeapi_channel::{
    Key, Kind, ObjectId,
    token_format::{self, Minted},
};
use routeapi_crds::v1alpha1::{ApiToken, KeyStatus};
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant},
};
use tracing::{info, warn};

use crate::{parts::Parts, settings::Settings, telemetry::Outcome, writer::KEYS_MANAGER};
use plan::{Finding, Keys, Next, Plan};
use queue::Queue;

/// Tokens that are worked on at the same time.
const AT_ONCE: usize = 8;

/// How long data planes may take to acknowledge a key before its Secret is written anyway: one that is stuck must not
/// keep every app from its token.
const ACKNOWLEDGED: Duration = Duration::from_secs(10);

/// The first wait after a failure; doubles up to [`LONGEST_RETRY`].
const RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// How long the API server may take for one call.
const CALL: Duration = Duration::from_secs(15);

/// What was found out about each token's Secret, for statuses.
pub type Findings = watch::Sender<BTreeMap<ObjectId, Finding>>;

/// Works on tokens. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Tokens {
    parts: Parts,
    findings: Arc<Findings>,
    gateway_url: Arc<str>,
    resync: Duration,
}

/// Why a token could not be brought to where it should be. It will be tried again.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The API server refused or did not answer.
    #[error("{0}: {1}")]
    Api(&'static str, Box<kube::Error>),
    /// It took too long.
    #[error("{0}: the API server does not answer")]
    TimedOut(&'static str),
    /// Somebody else wrote first.
    #[error("{0} was changed by somebody else meanwhile")]
    Conflict(&'static str),
    /// No randomness from the operating system.
    #[error("the operating system gives no randomness: {0}")]
    NoRandomness(getrandom::Error),
}

// === impl Tokens ===

impl Tokens {
    /// By these settings.
    pub fn new(settings: &Settings, parts: &Parts) -> Self {
        Self {
            parts: parts.clone(),
            findings: Arc::default(),
            gateway_url: settings.gateway_url.trim_end_matches('/').into(),
            resync: settings.resync.into(),
        }
    }

    /// What was found out about Secrets.
    pub fn findings(&self) -> watch::Receiver<BTreeMap<ObjectId, Finding>> {
        self.findings.subscribe()
    }

    /// Works while this replica is the leader, until aborted.
    pub async fn run(self, mut leader: watch::Receiver<bool>) {
        let mut ready = self.parts.index.ready();
        loop {
            if leader.wait_for(|leads| *leads).await.is_err() || ready.wait_for(|ready| *ready).await.is_err() {
                return;
            }
            tokio::select! {
                () = self.lead() => {}
                _ = leader.wait_for(|leads| !*leads) => {}
            }
            self.findings.send_modify(BTreeMap::clear);
        }
    }

    /// Works on every token as it falls due. Dropping it drops the work in hand, which looking again repairs.
    async fn lead(&self) {
        let mut queue = Queue::default();
        let now = Instant::now();
        self.parts.index.token_ids().into_iter().for_each(|id| queue.at(id, now));
        let mut working: JoinSet<(ObjectId, Result<Option<Duration>, TokenError>)> = JoinSet::new();
        loop {
            while working.len() < AT_ONCE
                && let Some(id) = queue.due(Instant::now())
            {
                let this = self.clone();
                working.spawn(async move {
                    let done = this.look(&id).await;
                    (id, done)
                });
            }
            tokio::select! {
                touched = self.parts.index.touched_tokens() => {
                    let now = Instant::now();
                    touched.into_iter().for_each(|id| queue.at(id, now));
                }
                Some(Ok((id, done))) = working.join_next() => self.finished(&mut queue, &id, &done),
                () = queue.wait(), if working.len() < AT_ONCE => {}
            }
        }
    }

    fn finished(&self, queue: &mut Queue, id: &ObjectId, done: &Result<Option<Duration>, TokenError>) {
        let wait = match done {
            Ok(None) => {
                self.findings.send_if_modified(|findings| findings.remove(id).is_some());
                return queue.done(id, None);
            }
            Ok(Some(wait)) => {
                queue.succeeded(id);
                *wait
            }
            Err(error) => {
                let wait = queue.failed(id, RETRY, LONGEST_RETRY);
                let conflict = matches!(error, TokenError::Conflict(_));
                self.parts.metrics.wrote("token", if conflict { Outcome::Conflict } else { Outcome::Failed });
                warn!(token = %id, %error, retry_ms = wait.as_millis(), "token");
                wait
            }
        };
        queue.done(id, Some(Instant::now() + wait));
    }

    /// Brings one token to where it should be; when to look again, none if it is gone.
    async fn look(&self, id: &ObjectId) -> Result<Option<Duration>, TokenError> {
        // What the index holds may be older than what this task wrote itself: ask.
        let Some(token) = self.fetch(id).await? else { return Ok(None) };
        let secret = secret::read(&self.parts.client, &token, &self.gateway_url).await?;
        let now = Timestamp::now();
        let Plan { keys, next, finding } = plan::plan(&token, &secret, now);
        let version = token.metadata.resource_version.clone();
        if next != Next::Mint && Keys::of(&token) != keys {
            self.write_keys(&token, version.clone(), &keys).await?;
        }
        self.found(id, finding);
        match next {
            Next::Nothing => {}
            Next::Refresh => secret::refresh(&self.parts.client, &token, &secret, &self.gateway_url).await?,
            Next::Mint => {
                self.mint(&token, version, keys, &secret).await?;
                self.found(id, Finding::Ready);
            }
        }
        let due = plan::due(&token, &Keys::of(&token), now);
        Ok(Some(due.map_or(self.resync, |due| due.min(self.resync))))
    }

    /// Makes a new value, in the order that the head of this file gives.
    async fn mint(
        &self,
        token: &ApiToken,
        version: Option<String>,
        mut keys: Keys,
        secret: &plan::Held,
    ) -> Result<(), TokenError> {
        let minted = fresh()?;
        let now = Timestamp::now();
        let id = crate::index::id_of(&token.metadata);
        keys.add(KeyStatus {
            id: minted.id.clone(),
            sha256: minted.sha256.clone(),
            issued_time: Time(now),
            not_after_time: None,
        });
        let version = self.write_keys(token, version, &keys).await?;
        self.acknowledged(&id, &minted.id).await;
        secret::write(&self.parts.client, token, secret, &minted, &self.gateway_url).await?;
        self.parts.metrics.minted();
        info!(token = %id, key = minted.id, "token minted");
        keys.retire_others(&minted.id, plan::overlap(token), Timestamp::now());
        keys.rotation_revision = plan::wanted_revision(token);
        self.write_keys(token, version, &keys).await?;
        Ok(())
    }

    /// Waits until every connected data plane knows a key, but not forever.
    async fn acknowledged(&self, token: &ObjectId, key_id: &str) {
        let key = Key { kind: Kind::Token, id: token.clone() };
        let (mut publications, mut acks) = (self.parts.publisher.subscribe(), self.parts.acks.changed());
        let waiting = async {
            loop {
                let current = publications.borrow_and_update().clone();
                let known = current.filter(|it| it.has_token_key(token, key_id));
                if let Some(publication) = known
                    && let Some(entry) = publication.catalog.get(&key)
                {
                    let standing = self.parts.acks.standing(|revision| self.parts.publisher.recall(revision));
                    let progress = standing.of(&key, &entry.version);
                    if progress.connected == progress.acknowledged {
                        return;
                    }
                }
                tokio::select! {
                    _ = publications.changed() => {}
                    _ = acks.changed() => {}
                }
            }
        };
        if time::timeout(ACKNOWLEDGED, waiting).await.is_err() {
            warn!(%token, key = key_id, "not every data plane acknowledged the key in time");
        }
    }

    async fn fetch(&self, id: &ObjectId) -> Result<Option<ApiToken>, TokenError> {
        if self.parts.index.token(id).is_none() {
            return Ok(None);
        }
        let api: Api<ApiToken> = Api::namespaced(self.parts.client.clone(), id.namespace());
        let token = call("reading the ApiToken", api.get_opt(id.name())).await?;
        Ok(token.filter(|token| token.metadata.deletion_timestamp.is_none()))
    }

    /// Writes keys over exactly the version that was read; returns the new one.
    async fn write_keys(
        &self,
        token: &ApiToken,
        version: Option<String>,
        keys: &Keys,
    ) -> Result<Option<String>, TokenError> {
        let id = crate::index::id_of(&token.metadata);
        let api: Api<ApiToken> = Api::namespaced(self.parts.client.clone(), id.namespace());
        let patch = json!({
            "apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken",
            "metadata": {"name": id.name(), "uid": token.metadata.uid, "resourceVersion": version},
            "status": {
                "secretName": token.secret_name(),
                "keys": keys.keys,
                "nextRotationTime": plan::next_rotation(token, keys).map(Time),
                "rotationRevision": keys.rotation_revision,
            },
        });
        let params = PatchParams::apply(KEYS_MANAGER).force();
        let written = call("writing status.keys", api.patch_status(id.name(), &params, &Patch::Apply(patch))).await?;
        self.parts.metrics.wrote("token", Outcome::Written);
        Ok(written.metadata.resource_version)
    }

    fn found(&self, id: &ObjectId, finding: Finding) {
        self.findings.send_if_modified(|findings| {
            let differs = findings.get(id) != Some(&finding);
            findings.insert(id.clone(), finding);
            differs
        });
    }
}

fn fresh() -> Result<Minted, TokenError> {
    let mut entropy = [0; token_format::ENTROPY];
    getrandom::fill(&mut entropy).map_err(TokenError::NoRandomness)?;
    let minted = token_format::mint(&entropy);
    entropy.fill(0);
    Ok(minted)
}

/// A call to the API server with a limit.
async fn call<T>(what: &'static str, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, TokenError> {
    match time::timeout(CALL, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(TokenError::Conflict(what)),
        Ok(Err(error)) => Err(TokenError::Api(what, Box::new(error))),
        Err(_) => Err(TokenError::TimedOut(what)),
    }
}
