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
//! Many tokens are in the second step at the same time and share it ([`rollout`]). A first key has no old one to end, so that
//! the last step is nothing to write. A retry writes the same value ([`pending_key`]).
//!
//! [`plan`]: super::plan
//! [`secret`]: super::secret
//! [`pending_key`]: super::pending_key
//! [`rollout`]: super::rollout

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use routeapi_channel::{
    ObjectId, Secret,
    token_format::{self, Minted},
};
use routeapi_crds::v1alpha1::{ApiToken, KeyStatus};
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tracing::{debug, info, warn};

use super::{
    error::{TokenError, call},
    own_writes::OwnWrites,
    pending_key::{KeyRequest, PendingKey, PendingKeys},
    plan::{self, FoundSecret, Keys, Plan, SecretAction, SecretState},
    rollout::Rollout,
    secret,
    secret_poller::SecretVersion,
    secret_states::SecretStates,
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

/// Calls to the API server that run at the same time: what waits for data planes runs no call.
const MAX_CONCURRENT_CALLS: usize = 16;

/// How often a write is repeated if somebody else wrote something that does not matter to it, such as a condition.
const MAX_REPEATS: usize = 3;

/// Reconciles tokens. Cheap to clone; all clones share their state.
#[derive(Clone)]
pub struct Reconciler {
    context: Context,
    /// The state of each token's Secret, for its status.
    pub secret_states: SecretStates,
    /// Which keys every data plane has.
    pub rollout: Rollout,
    pending_keys: PendingKeys,
    own_writes: OwnWrites,
    calls: Arc<Semaphore>,
    gateway_url: Arc<str>,
}

/// The result of a reconciliation.
pub struct Reconciled {
    /// The time until the next one, if one falls due by itself.
    pub requeue_after: Option<Duration>,
    /// The version of the Secret.
    pub secret: SecretVersion,
}

// === impl Reconciler ===

impl Reconciler {
    /// A reconciler with these settings.
    pub fn new(settings: &Settings, context: &Context) -> Self {
        Self {
            context: context.clone(),
            secret_states: SecretStates::default(),
            rollout: Rollout::default(),
            pending_keys: PendingKeys::default(),
            own_writes: OwnWrites::default(),
            calls: Arc::new(Semaphore::new(MAX_CONCURRENT_CALLS)),
            gateway_url: settings.gateway_url.trim_end_matches('/').into(),
        }
    }

    /// Reconciles one token; none if it was deleted.
    ///
    /// # Errors
    /// When the API server refuses a write or is unavailable.
    pub async fn reconcile(&self, id: &ObjectId) -> Result<Option<Reconciled>, WriteFailure> {
        let fetched = self.fetch(id).await.map_err(|error| WriteFailure::of(&error, &[]))?;
        let Some(token) = fetched else { return Ok(None) };
        let call = self.call().await;
        let read = secret::read(&self.context.client, &token, &self.gateway_url).await;
        drop(call);
        let (found, mut version) = read.map_err(|error| WriteFailure::of(&error, &[]))?;
        let now = Timestamp::now();
        let plan = plan::plan(&token, &found, now);
        let mut keys = plan.keys.clone();
        let terminating = matches!(found, FoundSecret::Terminating(_)).then_some(TERMINATING_INTERVAL);
        if plan.action == SecretAction::Issue {
            let pending = self.pending_keys.resume(id, KeyRequest::of(&token, &found), now, mint);
            let pending = pending.map_err(|error| WriteFailure::of(&error, &[]))?;
            // While the API server refuses a first key, the failure stays the state.
            self.secret_states.set_first(id, SecretState::Issuing);
            match self.issue(&token, plan.keys, &found, &pending).await {
                Ok(issued) => (version, keys) = issued,
                Err(error) => {
                    let failure = WriteFailure::of(&error, &secrets(&found, Some(&pending)));
                    if failure.ambiguous {
                        self.pending_keys.forget(id);
                    }
                    return Err(failure);
                }
            }
            self.secret_states.set(id, SecretState::Ready);
        } else {
            let refreshed = self.refresh(&token, &plan, &found).await;
            let written = refreshed.map_err(|error| WriteFailure::of(&error, &secrets(&found, None)))?;
            version = written.or(version);
            self.secret_states.set(id, plan.state);
        }
        self.pending_keys.forget(id);
        let due = plan::due(&token, &keys, now);
        Ok(Some(Reconciled { requeue_after: due.into_iter().chain(terminating).min(), secret: version }))
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

    /// Forgets a deleted token.
    pub fn forget(&self, id: &ObjectId) {
        self.secret_states.forget(id);
        self.pending_keys.forget(id);
        self.own_writes.forget(id);
    }

    /// Forgets all tokens.
    pub fn clear(&self) {
        self.secret_states.clear();
        self.pending_keys.clear();
        self.own_writes.clear();
    }

    /// Whether the keys in a token's status are those that were written here last: then the watch has returned that.
    pub fn wrote(&self, id: &ObjectId, token: &ApiToken) -> bool {
        let own = self.own_writes.keys(id).is_some_and(|keys| keys == Keys::of(token));
        if own && !self.own_writes.is_newer(id, token) {
            self.own_writes.forget(id);
        }
        own
    }

    /// Writes what a plan requires without a new key. The version of the Secret if it was written.
    async fn refresh(&self, token: &ApiToken, plan: &Plan, found: &FoundSecret) -> Result<SecretVersion, TokenError> {
        if Keys::of(token) != plan.keys {
            self.write_keys(token, token.metadata.resource_version.clone(), &Keys::of(token), &plan.keys).await?;
        }
        let _call = self.call().await;
        if plan.action == SecretAction::Refresh {
            return secret::refresh(&self.context.client, token, found, &self.gateway_url).await;
        }
        Ok(None)
    }

    /// Issues a key, in the order of this file's header. Skips what an earlier attempt has done. Returns the version of the
    /// Secret, and the keys that are valid now.
    async fn issue(
        &self,
        token: &ApiToken,
        mut keys: Keys,
        found: &FoundSecret,
        pending: &PendingKey,
    ) -> Result<(SecretVersion, Keys), TokenError> {
        let (id, minted) = (id_of(&token.metadata), &pending.minted);
        keys.add(KeyStatus {
            id: minted.id.clone(),
            sha256: minted.sha256.clone(),
            issued_time: Time(pending.issued),
            not_after_time: None,
        });
        if keys.keys.len() == 1 {
            keys.rotation_revision = plan::requested_revision(token);
        }
        let mut version = token.metadata.resource_version.clone();
        if Keys::of(token) != keys {
            version = self.write_keys(token, version, &Keys::of(token), &keys).await?;
        }
        if !pending.announced {
            let acknowledged = self.rollout.acknowledged(&id, &minted.id);
            if time::timeout(ACK_TIMEOUT, acknowledged).await.is_err() {
                warn!(token = %id, key = minted.id, "not every data plane acknowledged a new API key in time");
            }
            self.pending_keys.announced(&id);
        }
        let call = self.call().await;
        let written = secret::write(&self.context.client, token, found, minted, &self.gateway_url).await?;
        drop(call);
        self.context.metrics.minted();
        info!(token = %id, key = minted.id, "API key issued");
        let before = keys.clone();
        keys.retire_others(&minted.id, plan::overlap(token), Timestamp::now());
        keys.rotation_revision = plan::requested_revision(token);
        if keys != before {
            self.write_keys(token, version, &before, &keys).await?;
        }
        Ok((written, keys))
    }

    /// A call to the API server may begin; it ends when this is dropped.
    async fn call(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.calls).acquire_owned().await.ok()
    }

    /// The token: as the watch has it, or as the API server has it if something newer was written here.
    async fn fetch(&self, id: &ObjectId) -> Result<Option<Arc<ApiToken>>, TokenError> {
        let Some(known) = self.context.index.token(id) else { return Ok(None) };
        let current =
            if self.own_writes.is_newer(id, &known) { self.get(id).await?.map(Arc::new) } else { Some(known) };
        Ok(current.filter(|token| token.metadata.deletion_timestamp.is_none()))
    }

    async fn get(&self, id: &ObjectId) -> Result<Option<ApiToken>, TokenError> {
        let _call = self.call().await;
        let api: Api<ApiToken> = Api::namespaced(self.context.client.clone(), id.namespace());
        call("reading the ApiToken", api.get_opt(id.name())).await
    }

    /// Writes keys over exactly the version that was read, or over a later one in which neither spec nor keys are others;
    /// returns the new version. `held` are the keys in the version that was read.
    async fn write_keys(
        &self,
        token: &ApiToken,
        mut version: Option<String>,
        held: &Keys,
        keys: &Keys,
    ) -> Result<Option<String>, TokenError> {
        let id = id_of(&token.metadata);
        for _ in 0..MAX_REPEATS {
            match self.patch_keys(&id, token, version.clone(), keys).await {
                Err(error) if error.is_conflict() => {}
                other => return other,
            }
            let now = self.get(&id).await?;
            let same = |now: &ApiToken| {
                let (now, then) = (&now.metadata, &token.metadata);
                now.uid == then.uid && now.generation == then.generation && now.deletion_timestamp.is_none()
            };
            match now.filter(|now| same(now) && Keys::of(now) == *held) {
                Some(now) => version = now.metadata.resource_version,
                None => break,
            }
        }
        self.patch_keys(&id, token, version, keys).await
    }

    async fn patch_keys(
        &self,
        id: &ObjectId,
        token: &ApiToken,
        version: Option<String>,
        keys: &Keys,
    ) -> Result<Option<String>, TokenError> {
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
        let _call = self.call().await;
        self.own_writes.begins(id, keys);
        let written = call("writing status.keys", api.patch_status(id.name(), &params, &Patch::Apply(patch))).await?;
        self.context.metrics.wrote("token", Outcome::Written);
        let version = written.metadata.resource_version;
        self.own_writes.written(id, version.as_deref(), keys);
        Ok(version)
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
