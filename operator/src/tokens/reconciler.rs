//! Brings one token to its desired state.
//!
//! [`plan`] decides (pure) what its Secret and its status should contain, this file and [`secret`] write it. The order is such
//! that an app that reads a new Secret is never refused, and that a crash between any two steps is repaired by the next
//! reconciliation:
//!
//! ```text
//! hash into status.keys → data planes acknowledge it → value into the Secret → end of the old key into status.keys
//! ```
//!
//! A retry writes the same value ([`pending_key`]).
//!
//! [`plan`]: super::plan
//! [`secret`]: super::secret
//! [`pending_key`]: super::pending_key

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use routeapi_channel::{
    Key, Kind, ObjectId, Secret,
    token_format::{self, Minted},
};
use routeapi_crds::v1alpha1::{ApiToken, KeyStatus};
use serde_json::json;
use tokio::{sync::watch, time};
use tracing::{debug, info, warn};

use super::{
    error::{TokenError, call},
    pending_key::{KeyRequest, PendingKey, PendingKeys},
    plan::{self, FoundSecret, Keys, Plan, SecretAction, SecretState},
    secret,
    secret_poller::SecretVersion,
    write_failure::WriteFailure,
};
use crate::{
    context::Context, field_manager::KEYS_FIELD_MANAGER, index::id_of, settings::Settings, telemetry::Outcome,
};

/// How long data planes may take to acknowledge a key before its Secret is written anyway: one that is stuck must not keep every
/// app from its key.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a Secret that is being deleted is checked.
const TERMINATING_INTERVAL: Duration = Duration::from_secs(5);

/// Reconciles tokens. Cheap to clone; all clones share their state.
#[derive(Clone)]
pub struct Reconciler {
    context: Context,
    /// The state of each token's Secret, for its status.
    pub secret_states: Arc<watch::Sender<BTreeMap<ObjectId, SecretState>>>,
    pending_keys: PendingKeys,
    gateway_url: Arc<str>,
    resync: Duration,
}

/// The result of a reconciliation.
pub struct Reconciled {
    /// The time until the next one.
    pub requeue_after: Duration,
    /// The version of the Secret.
    pub secret: SecretVersion,
}

// === impl Reconciler ===

impl Reconciler {
    /// A reconciler with these settings.
    pub fn new(settings: &Settings, context: &Context) -> Self {
        Self {
            context: context.clone(),
            secret_states: Arc::default(),
            pending_keys: PendingKeys::default(),
            gateway_url: settings.gateway_url.trim_end_matches('/').into(),
            resync: settings.resync.into(),
        }
    }

    /// Reconciles one token; none if it was deleted.
    ///
    /// # Errors
    /// When the API server refuses a write or is unavailable.
    pub async fn reconcile(&self, id: &ObjectId) -> Result<Option<Reconciled>, WriteFailure> {
        // The index may not have what this task has written itself.
        let fetched = self.fetch(id).await.map_err(|error| WriteFailure::of(&error, &[]))?;
        let Some(token) = fetched else { return Ok(None) };
        let read = secret::read(&self.context.client, &token, &self.gateway_url).await;
        let (found, mut version) = read.map_err(|error| WriteFailure::of(&error, &[]))?;
        let now = Timestamp::now();
        let plan = plan::plan(&token, &found, now);
        let interval = if matches!(found, FoundSecret::Terminating(_)) { TERMINATING_INTERVAL } else { self.resync };
        if plan.action == SecretAction::Issue {
            let pending = self.pending_keys.resume(id, KeyRequest::of(&token, &found), now, mint);
            let pending = pending.map_err(|error| WriteFailure::of(&error, &[]))?;
            self.set_issuing(id);
            match self.issue(&token, plan.keys, &found, &pending).await {
                Ok(written) => version = written,
                Err(error) => {
                    let failure = WriteFailure::of(&error, &secrets(&found, Some(&pending)));
                    if failure.ambiguous {
                        self.pending_keys.forget(id);
                    }
                    return Err(failure);
                }
            }
            self.set_state(id, SecretState::Ready);
        } else {
            let refreshed = self.refresh(&token, &plan, &found).await;
            let written = refreshed.map_err(|error| WriteFailure::of(&error, &secrets(&found, None)))?;
            version = written.or(version);
            self.set_state(id, plan.state);
        }
        self.pending_keys.forget(id);
        let due = plan::due(&token, &Keys::of(&token), now);
        Ok(Some(Reconciled { requeue_after: due.map_or(interval, |due| due.min(interval)), secret: version }))
    }

    /// Reads the version of a token's Secret; none if that fails, which a reconciliation would report.
    pub async fn poll(&self, id: ObjectId) -> Option<(ObjectId, SecretVersion)> {
        let token = self.context.index.token(&id)?;
        match secret::poll(&self.context.client, &token).await {
            Ok(version) => Some((id, version)),
            Err(error) => {
                debug!(token = %id, %error, "cannot read the metadata of a Secret");
                None
            }
        }
    }

    /// Sets the state of a token's Secret. A failure that differs only in numbers is not a change.
    pub fn set_state(&self, id: &ObjectId, state: SecretState) {
        self.secret_states.send_if_modified(|states| {
            let same = match (states.get(id), &state) {
                (Some(SecretState::WriteFailed(current)), SecretState::WriteFailed(next)) => next.repeats(current),
                (current, next) => current == Some(next),
            };
            if !same {
                states.insert(id.clone(), state);
            }
            !same
        });
    }

    /// Forgets a deleted token.
    pub fn forget(&self, id: &ObjectId) {
        self.secret_states.send_if_modified(|states| states.remove(id).is_some());
        self.pending_keys.forget(id);
    }

    /// Forgets all tokens.
    pub fn clear(&self) {
        self.secret_states.send_modify(BTreeMap::clear);
        self.pending_keys.clear();
    }

    /// A first key is being issued. While the API server refuses it, the failure stays the state.
    fn set_issuing(&self, id: &ObjectId) {
        self.secret_states.send_if_modified(|states| {
            let unknown = !states.contains_key(id);
            if unknown {
                states.insert(id.clone(), SecretState::Issuing);
            }
            unknown
        });
    }

    /// Writes what a plan requires without a new key. The version of the Secret if it was written.
    async fn refresh(&self, token: &ApiToken, plan: &Plan, found: &FoundSecret) -> Result<SecretVersion, TokenError> {
        if Keys::of(token) != plan.keys {
            self.write_keys(token, token.metadata.resource_version.clone(), &plan.keys).await?;
        }
        if plan.action == SecretAction::Refresh {
            return secret::refresh(&self.context.client, token, found, &self.gateway_url).await;
        }
        Ok(None)
    }

    /// Issues a key, in the order of this file's header. Skips what an earlier attempt has done. Returns the version of the
    /// Secret.
    async fn issue(
        &self,
        token: &ApiToken,
        mut keys: Keys,
        found: &FoundSecret,
        pending: &PendingKey,
    ) -> Result<SecretVersion, TokenError> {
        let (id, minted) = (id_of(&token.metadata), &pending.minted);
        keys.add(KeyStatus {
            id: minted.id.clone(),
            sha256: minted.sha256.clone(),
            issued_time: Time(pending.issued),
            not_after_time: None,
        });
        let mut version = token.metadata.resource_version.clone();
        if Keys::of(token) != keys {
            version = self.write_keys(token, version, &keys).await?;
        }
        if !pending.announced {
            self.wait_for_acks(&id, &minted.id).await;
            self.pending_keys.announced(&id);
        }
        let written = secret::write(&self.context.client, token, found, minted, &self.gateway_url).await?;
        self.context.metrics.minted();
        info!(token = %id, key = minted.id, "API key issued");
        keys.retire_others(&minted.id, plan::overlap(token), Timestamp::now());
        keys.rotation_revision = plan::requested_revision(token);
        self.write_keys(token, version, &keys).await?;
        Ok(written)
    }

    /// Waits until every connected data plane has a key, up to a timeout.
    async fn wait_for_acks(&self, token: &ObjectId, key_id: &str) {
        let key = Key { kind: Kind::Token, id: token.clone() };
        let (mut publications, mut acks) = (self.context.publisher.subscribe(), self.context.acks.changed());
        let acknowledged = async {
            loop {
                let current = publications.borrow_and_update().clone();
                let with_key = current.filter(|publication| publication.has_token_key(token, key_id));
                if let Some(publication) = with_key
                    && let Some(entry) = publication.catalog.get(&key)
                {
                    let summary = self.context.acks.summary(|revision| self.context.publisher.state(revision));
                    let progress = summary.of(&key, &entry.version);
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
        if time::timeout(ACK_TIMEOUT, acknowledged).await.is_err() {
            warn!(%token, key = key_id, "not every data plane acknowledged a new API key in time");
        }
    }

    async fn fetch(&self, id: &ObjectId) -> Result<Option<ApiToken>, TokenError> {
        if self.context.index.token(id).is_none() {
            return Ok(None);
        }
        let api: Api<ApiToken> = Api::namespaced(self.context.client.clone(), id.namespace());
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
        let id = id_of(&token.metadata);
        let api: Api<ApiToken> = Api::namespaced(self.context.client.clone(), id.namespace());
        let patch = json!({
            "apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken",
            "metadata": {"name": id.name(), "uid": token.metadata.uid, "resourceVersion": version},
            "status": {
                "secretName": token.spec.has_key().then(|| token.secret_name()),
                "keys": keys.keys,
                "nextRotationTime": plan::next_rotation(token, keys).map(Time),
                "rotationRevision": keys.rotation_revision,
            },
        });
        let params = PatchParams::apply(KEYS_FIELD_MANAGER).force();
        let written = call("writing status.keys", api.patch_status(id.name(), &params, &Patch::Apply(patch))).await?;
        self.context.metrics.wrote("token", Outcome::Written);
        Ok(written.metadata.resource_version)
    }
}

/// The values that no message may contain.
fn secrets<'a>(found: &'a FoundSecret, pending: Option<&'a PendingKey>) -> Vec<&'a Secret> {
    let current = match found {
        FoundSecret::Managed(secret) => secret.value.as_ref(),
        _ => None,
    };
    current.into_iter().chain(pending.map(|pending| &pending.minted.value)).collect()
}

fn mint() -> Result<Minted, TokenError> {
    let mut entropy = [0; token_format::ENTROPY];
    getrandom::fill(&mut entropy).map_err(TokenError::NoRandomness)?;
    let minted = token_format::mint(&entropy);
    entropy.fill(0);
    Ok(minted)
}
