//! The API keys of ApiTokens: issued, imported, rotated and repaired by the leader.
//!
//! [`reconciler`] brings one token to its desired state; this file decides when: when somebody changes the token, when something
//! of it falls due, and when its Secret, which cannot be watched, has changed ([`secret_poller`]). In which order, and when what
//! the API server refuses is retried, is up to [`queue`]; it is reported in the token's condition.
//!
//! A new leader believes the statuses of tokens that are settled and reads their Secrets in turn: a restart is not a burst of
//! reads.

mod error;
mod own_writes;
mod pending_key;
pub mod plan;
mod queue;
mod reconciler;
mod rollout;
mod secret;
mod secret_poller;
mod secret_states;
pub mod write_failure;

use std::{collections::BTreeMap, time::Duration};

use routeapi_channel::ObjectId;
use routeapi_crds::condition::Reason;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tracing::{debug, warn};

use crate::{context::Context, index::Touch, log_limiter::LogLimiter, settings::Settings, telemetry::Outcome};
use plan::{Keys, SecretState};
use queue::Queue;
use reconciler::{Reconciled, Reconciler};
use secret_poller::{Read, SecretPoller, SecretVersion};
pub use secret_states::SecretStates;
use write_failure::WriteFailure;

/// Tokens that are reconciled at the same time: most of it is waiting for data planes to acknowledge keys, which one round does
/// for all of them.
const MAX_CONCURRENT_TOKENS: usize = 64;

/// How many of a backlog may be among them, so that a token that has just been made or changed need not wait for its end.
const MAX_CONCURRENT_BACKLOG: usize = 40;

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
    resync: Duration,
}

// === impl TokenController ===

impl TokenController {
    /// A controller with these settings.
    pub fn new(settings: &Settings, context: &Context) -> Self {
        Self {
            context: context.clone(),
            reconciler: Reconciler::new(settings, context),
            secret_check: settings.secret_check.into(),
            resync: settings.resync.into(),
        }
    }

    /// The states of all tokens' Secrets, for their statuses.
    pub fn secret_states(&self) -> SecretStates {
        self.reconciler.secret_states.clone()
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
                () = self.reconciler.rollout.follow(&self.context) => {}
                _ = leader.wait_for(|leads| !*leads) => {}
            }
            self.reconciler.clear();
        }
    }

    /// Reconciles every token as it falls due. Dropping it drops reconciliations in progress, which the next ones repair.
    async fn lead(&self) {
        let now = Instant::now();
        let mut state = LeaderState::new(now, self.secret_check);
        self.begin(&mut state, now);
        let mut reconciling: JoinSet<(ObjectId, Result<Option<Reconciled>, WriteFailure>)> = JoinSet::new();
        let mut polling: JoinSet<Option<(ObjectId, SecretVersion)>> = JoinSet::new();
        let mut polled_at = now;
        loop {
            while let Some(id) = state.next(reconciling.len()) {
                state.reconciled.insert(id.clone(), self.version(&id));
                let reconciler = self.reconciler.clone();
                reconciling.spawn(async move {
                    let result = reconciler.reconcile(&id).await;
                    (id, result)
                });
            }
            tokio::select! {
                touched = self.context.index.touched_tokens() => {
                    touched.into_iter().for_each(|(id, touch)| self.touched(&mut state, id, touch));
                }
                Some(Ok((id, result))) = reconciling.join_next() => self.finished(&mut state, &id, result),
                () = state.queue.wait(), if reconciling.len() < MAX_CONCURRENT_BACKLOG => {}
                () = state.poller.wait(polled_at), if polling.len() < MAX_CONCURRENT_POLLS => {
                    polled_at = Instant::now();
                    match state.poller.next() {
                        Some(Read::Version(id)) => {
                            let reconciler = self.reconciler.clone();
                            polling.spawn(async move { reconciler.poll(id).await });
                        }
                        Some(Read::All(id)) => state.queue.at(id, polled_at),
                        None => {}
                    }
                }
                Some(Ok(found)) = polling.join_next() => {
                    if let Some((id, _)) = found.filter(|(id, version)| state.poller.differs(id, version)) {
                        state.queue.at(id, polled_at);
                    }
                }
            }
        }
    }

    /// Schedules all tokens: those that are settled when something of them falls due.
    fn begin(&self, state: &mut LeaderState, now: Instant) {
        let clock = jiff::Timestamp::now();
        // All tokens are looked at here, those that were touched while nobody led among them.
        self.context.index.take_touched_tokens();
        for (id, token) in self.context.index.tokens() {
            if !plan::is_settled(&token) || !state.poller.unread(id.clone()) {
                state.queue.at(id, now);
            } else if let Some(due) = plan::due(&token, &Keys::of(&token), clock) {
                state.queue.at(id, now + due);
            }
        }
    }

    /// A token is not reconciled because the watch returns what was written here, and one that fails not because of what its
    /// failures write, but when its spec changes.
    fn touched(&self, state: &mut LeaderState, id: ObjectId, touch: Touch) {
        let token = self.context.index.token(&id);
        if token.is_some_and(|token| self.reconciler.wrote(&id, &token)) && touch == Touch::Keys {
            return;
        }
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
                // Without the poller nothing else notices that a Secret has changed.
                let resync = self.secret_check.is_zero().then_some(self.resync);
                state.queue.done(id, requeue_after.into_iter().chain(resync).min().map(|after| now + after));
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
        self.reconciler.secret_states.set(id, SecretState::WriteFailed(failure));
    }

    /// Which object it is, and which spec it has.
    fn version(&self, id: &ObjectId) -> TokenVersion {
        let token = self.context.index.token(id)?;
        Some((token.metadata.uid.clone(), token.metadata.generation))
    }
}

// === impl LeaderState ===

impl LeaderState {
    /// The next token to reconcile, beside so many.
    fn next(&mut self, reconciling: usize) -> Option<ObjectId> {
        let now = Instant::now();
        match reconciling {
            ..MAX_CONCURRENT_BACKLOG => self.queue.due(now),
            MAX_CONCURRENT_BACKLOG..MAX_CONCURRENT_TOKENS => self.queue.fresh(now),
            MAX_CONCURRENT_TOKENS.. => None,
        }
    }

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
