//! The API keys of ApiTokens: issued, imported, rotated and repaired by the leader.
//!
//! [`reconciler`] brings one token to its desired state; this file decides when: when the token changes, when something of it
//! falls due, at each resync, and when its Secret, which cannot be watched, has changed ([`secret_poller`]). What the API server
//! refuses is reported in the token's condition and retried, with the delays of [`queue`].

mod error;
mod pending_key;
pub mod plan;
mod queue;
mod reconciler;
mod secret;
mod secret_poller;
pub mod write_failure;

use std::{collections::BTreeMap, time::Duration};

use routeapi_channel::ObjectId;
use routeapi_crds::condition::Reason;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tracing::{debug, warn};

use crate::{context::Context, log_limiter::LogLimiter, settings::Settings, telemetry::Outcome};
use plan::SecretState;
use queue::Queue;
use reconciler::{Reconciled, Reconciler};
use secret_poller::{SecretPoller, SecretVersion};
use write_failure::WriteFailure;

/// Tokens that are reconciled at the same time: most of it is waiting for data planes to acknowledge keys.
const MAX_CONCURRENT_TOKENS: usize = 8;

/// Reads of metadata of Secrets that run at the same time. At 20 per second they rarely overlap.
const MAX_CONCURRENT_POLLS: usize = 4;

/// Consecutive failures after which a transient error (a conflict, a timeout) is reported: with [`queue`]'s back-off, after
/// about two seconds.
const REPORT_AFTER: u32 = 3;

/// UID and generation of a token; none if there is no such token.
type TokenVersion = Option<(Option<String>, Option<i64>)>;

/// What the leader stores.
struct LeaderState {
    queue: Queue,
    /// The version of each token when it was last reconciled.
    reconciled: BTreeMap<ObjectId, TokenVersion>,
    log_limiter: LogLimiter<ObjectId>,
    poller: SecretPoller,
}

/// Decides when tokens are reconciled. One per replica.
pub struct TokenController {
    context: Context,
    reconciler: Reconciler,
    secret_check: Duration,
}

// === impl TokenController ===

impl TokenController {
    /// A controller with these settings.
    pub fn new(settings: &Settings, context: &Context) -> Self {
        Self {
            context: context.clone(),
            reconciler: Reconciler::new(settings, context),
            secret_check: settings.secret_check.into(),
        }
    }

    /// The states of all tokens' Secrets, for their statuses.
    pub fn secret_states(&self) -> watch::Receiver<BTreeMap<ObjectId, SecretState>> {
        self.reconciler.secret_states.subscribe()
    }

    /// Reconciles while this replica is the leader, until aborted.
    pub async fn run(self, mut leader: watch::Receiver<bool>) {
        let mut ready = self.context.index.ready();
        loop {
            if leader.wait_for(|leads| *leads).await.is_err() || ready.wait_for(|ready| *ready).await.is_err() {
                return;
            }
            tokio::select! {
                () = self.lead() => {}
                _ = leader.wait_for(|leads| !*leads) => {}
            }
            self.reconciler.clear();
        }
    }

    /// Reconciles every token as it falls due. Dropping it drops reconciliations in progress, which the next ones repair.
    async fn lead(&self) {
        let now = Instant::now();
        let mut state = LeaderState::new(now, self.secret_check);
        self.context.index.token_ids().into_iter().for_each(|id| state.queue.at(id, now));
        let mut reconciling: JoinSet<(ObjectId, Result<Option<Reconciled>, WriteFailure>)> = JoinSet::new();
        let mut polling: JoinSet<Option<(ObjectId, SecretVersion)>> = JoinSet::new();
        let mut polled_at = now;
        loop {
            while reconciling.len() < MAX_CONCURRENT_TOKENS
                && let Some(id) = state.queue.due(Instant::now())
            {
                state.reconciled.insert(id.clone(), self.version(&id));
                let reconciler = self.reconciler.clone();
                reconciling.spawn(async move {
                    let result = reconciler.reconcile(&id).await;
                    (id, result)
                });
            }
            tokio::select! {
                touched = self.context.index.touched_tokens() => {
                    touched.into_iter().for_each(|id| self.touched(&mut state, id));
                }
                Some(Ok((id, result))) = reconciling.join_next() => self.finished(&mut state, &id, result),
                () = state.queue.wait(), if reconciling.len() < MAX_CONCURRENT_TOKENS => {}
                () = state.poller.wait(polled_at), if polling.len() < MAX_CONCURRENT_POLLS => {
                    polled_at = Instant::now();
                    if let Some(id) = state.poller.next() {
                        let reconciler = self.reconciler.clone();
                        polling.spawn(async move { reconciler.poll(id).await });
                    }
                }
                Some(Ok(found)) = polling.join_next() => {
                    if let Some((id, _)) = found.filter(|(id, version)| state.poller.differs(id, version)) {
                        state.queue.at(id, Instant::now());
                    }
                }
            }
        }
    }

    /// A token that fails is not reconciled because of what its failures write, but when its spec changes.
    fn touched(&self, state: &mut LeaderState, id: ObjectId) {
        let now = Instant::now();
        if !state.queue.is_failing(&id) {
            state.queue.at(id, now);
        } else if state.reconciled.get(&id) != Some(&self.version(&id)) {
            state.queue.changed(&id, now);
        }
    }

    fn finished(&self, state: &mut LeaderState, id: &ObjectId, result: Result<Option<Reconciled>, WriteFailure>) {
        let now = Instant::now();
        match result {
            Ok(None) => {
                self.reconciler.forget(id);
                state.forget(id);
                state.poller.forget(id);
                state.queue.done(id, None);
            }
            Ok(Some(Reconciled { requeue_after, secret })) => {
                state.forget(id);
                state.poller.observed(id.clone(), secret);
                state.queue.succeeded(id, now);
                state.queue.done(id, Some(now + requeue_after));
            }
            Err(failure) => self.failed(state, id, failure, now),
        }
    }

    fn failed(&self, state: &mut LeaderState, id: &ObjectId, failure: WriteFailure, now: Instant) {
        state.poller.forget(id);
        let (failures, delay) = state.queue.failed(id, now, fastrand::f64());
        state.queue.done(id, Some(now + delay));
        if state.reconciled.get(id) != Some(&self.version(id)) {
            state.queue.changed(id, now); // in the meantime
        }
        let conflict = failure.reason == Reason::Conflict;
        self.context.metrics.wrote("token", if conflict { Outcome::Conflict } else { Outcome::Failed });
        if failure.is_transient() && failures < REPORT_AFTER {
            debug!(token = %id, reason = %failure.reason, message = failure.message, "cannot reconcile a token");
            return;
        }
        if let Some(omitted) = state.log_limiter.admit(id, &failure.reason.to_string(), now) {
            let (reason, message) = (failure.reason, &failure.message);
            warn!(token = %id, %reason, message, omitted, "cannot reconcile a token, retrying");
        }
        self.reconciler.set_state(id, SecretState::WriteFailed(failure));
    }

    /// Which object it is, and which spec it has.
    fn version(&self, id: &ObjectId) -> TokenVersion {
        let token = self.context.index.token(id)?;
        Some((token.metadata.uid.clone(), token.metadata.generation))
    }
}

// === impl LeaderState ===

impl LeaderState {
    fn new(now: Instant, secret_check: Duration) -> Self {
        Self {
            queue: Queue::default(),
            reconciled: BTreeMap::new(),
            log_limiter: LogLimiter::new(now),
            poller: SecretPoller::new(secret_check),
        }
    }

    fn forget(&mut self, id: &ObjectId) {
        self.reconciled.remove(id);
        self.log_limiter.forget(id);
    }
}
