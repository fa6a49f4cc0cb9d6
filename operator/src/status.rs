//! Writes verdicts and acknowledgements as conditions; only on the leader.
//!
//! [`agenda`] knows which objects are to be looked at, `decide` decides (pure) the status of each and whether it is worth a write;
//! this file writes it, at the rate of [`crate::write_limiter`], with events on transitions. Validity is not checked here
//! again. An object that cannot be read (see `index::ExcludedObject`) gets a status once per version.

mod agenda;
pub mod decide;
mod event_queue;
mod observed;
mod pod_counts;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use routeapi_channel::{Key, Kind};
use routeapi_crds::condition::{ConditionType, Reason, shorten};
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tracing::{debug, warn};

use crate::{
    backoff::Backoff,
    context::Context,
    log_limiter::LogLimiter,
    publish::Publication,
    push::ack::{AckSummary, Progress, RECONNECT_GRACE},
    settings::Settings,
    telemetry::Outcome,
    tokens::SecretStates,
    write_limiter::{Priority, WriteLimiter},
};
use agenda::Agenda;
use decide::{ACK_GRACE, DesiredStatus, StatusInputs, Transition};
use event_queue::{EventQueue, EventWriter, event_queue};
use observed::ObservedObject;
use pod_counts::PendingCounts;
use write::{LastWrite, ObservedFields};

/// Changes are collected for this long before statuses are decided: acknowledgements of many pods arrive together.
const BATCH_DELAY: Duration = Duration::from_millis(50);

/// Retries of a failed write. The API server is not overloaded by a status that it refuses, nor does anybody wait long for one
/// that succeeds again.
const RETRY: Backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_secs(60) };

/// How long nothing is done at most; then it is seen whether the watch has returned what was written, and whether pods are gone.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Writes that run at the same time: the API server's latency does not limit the rate.
const MAX_CONCURRENT_WRITES: usize = 8;

/// Writes of one round. What becomes more urgent in the meantime is in the next one.
const MAX_ROUND: usize = 32;

/// How long issuing a key may take before a status tells that it is being issued.
const ISSUE_GRACE: Duration = Duration::from_secs(2);

/// Maximum length of an error in a log line, in bytes: webhooks return whole pages.
const MAX_LOGGED_ERROR: usize = 500;

/// Writes statuses. One per replica.
pub struct StatusWriter {
    context: Context,
    secret_states: SecretStates,
    events: EventQueue,
    event_writer: EventWriter,
    /// Writes per second; none to follow the API server.
    per_second: Option<u32>,
}

/// What the leader stores between two rounds.
struct LeaderState {
    agenda: Agenda,
    limiter: WriteLimiter,
    /// Since when acknowledgements of an object have been outstanding.
    waiting: BTreeMap<Key, Instant>,
    /// Since when an object's status has to be written.
    wanted: BTreeMap<Key, Instant>,
    /// The last write of each object, until the watch returns it.
    last_writes: BTreeMap<Key, LastWrite>,
    retries: BTreeMap<Key, Retry>,
    log_limiter: LogLimiter<Key>,
    pending_counts: PendingCounts,
    leader_since: Instant,
    /// The number of pods in statuses when this replica became the leader.
    expected: Option<usize>,
    /// Whether this replica has been the leader for long enough to know which pods there are.
    settled: bool,
    tidied: Instant,
}

/// A write that failed.
#[derive(Clone, Copy)]
struct Retry {
    at: Instant,
    failures: u32,
}

/// A status to write.
struct PendingWrite {
    key: Key,
    current: ObservedObject,
    desired: DesiredStatus,
    priority: Priority,
}

/// What became of a write: the new resourceVersion.
type Written = Result<(Option<String>, Vec<Transition>), kube::Error>;

// === impl StatusWriter ===

impl StatusWriter {
    /// A writer with these settings.
    pub fn new(settings: &Settings, context: &Context, secret_states: SecretStates) -> Self {
        let (events, event_writer) = event_queue(&context.client, &settings.identity);
        let per_second = (settings.status_writes > 0).then_some(settings.status_writes);
        Self { context: context.clone(), secret_states, events, event_writer, per_second }
    }

    /// Writes while this replica is the leader, until aborted.
    pub async fn run(self, mut leader: watch::Receiver<bool>) {
        let Self { context, secret_states, events, event_writer, per_second } = self;
        let leading = Leading { context, secret_states, events, per_second };
        let lead = async {
            while leader.wait_for(|leads| *leads).await.is_ok() {
                leading.context.metrics.leads(true);
                tokio::select! {
                    () = leading.lead() => {}
                    _ = leader.wait_for(|leads| !*leads) => {}
                }
                leading.context.metrics.leads(false);
            }
        };
        tokio::join!(lead, event_writer.run());
    }
}

/// What rounds need.
struct Leading {
    context: Context,
    secret_states: SecretStates,
    events: EventQueue,
    per_second: Option<u32>,
}

// === impl Leading ===

impl Leading {
    async fn lead(&self) {
        let mut state = LeaderState::new(self.per_second, Instant::now());
        let mut publications = self.context.publisher.subscribe();
        let (mut acks, mut touched) = (self.context.acks.changed(), self.context.index.touched());
        let mut secrets = self.secret_states.subscribe();
        loop {
            let current = publications.borrow_and_update().clone();
            acks.mark_unchanged();
            touched.mark_unchanged();
            secrets.mark_unchanged();
            let wait = match current {
                Some(publication) => self.round(&publication, &mut state).await,
                None => MAX_WAIT,
            };
            tokio::select! {
                _ = publications.changed() => {}
                _ = acks.changed() => {}
                _ = touched.changed() => {}
                _ = secrets.changed() => {}
                () = time::sleep(wait) => continue,
            }
            time::sleep(BATCH_DELAY).await;
        }
    }

    /// Decides the statuses that are due, and writes some of them. Returns the time until one may be due.
    async fn round(&self, publication: &Arc<Publication>, state: &mut LeaderState) -> Duration {
        let summary = self.summary(publication, state);
        state.agenda.published(publication);
        state.agenda.add(self.context.index.take_touched());
        let tokens = self.secret_states.take_changed().into_iter();
        state.agenda.add(tokens.map(|id| Key { kind: Kind::Token, id }));
        state.agenda.acknowledged(&summary, state.waiting.keys());
        let now = Instant::now();
        state.tidy(now);
        let mut due = Vec::new();
        let keys = state.agenda.take(now);
        let keys = keys.unwrap_or_else(|| publication.verdicts.keys().cloned().collect::<BTreeSet<_>>());
        for key in keys {
            match self.pending_write(&key, publication, &summary, state, now) {
                Some(Ok(write)) => due.push(write),
                Some(Err(later)) => state.agenda.at(key, now + later),
                None => drop(state.wanted.remove(&key)),
            }
        }
        let mut wait = self.write_some(due, state).await;
        wait = wait.min(state.agenda.wait(now).unwrap_or(MAX_WAIT)).min(state.until_settled(now));
        wait.max(Duration::from_millis(10))
    }

    /// Progress of rollouts. A new leader has not seen pods disconnect.
    fn summary(&self, publication: &Publication, state: &mut LeaderState) -> AckSummary {
        let mut summary = self.context.acks.summary(|revision| self.context.publisher.state(revision));
        let expected = *state.expected.get_or_insert_with(|| self.observed_pods(publication));
        if state.leader_since.elapsed() < RECONNECT_GRACE {
            summary.unaccounted = expected.saturating_sub(summary.connected);
        }
        summary
    }

    /// The highest number of pods in any status.
    fn observed_pods(&self, publication: &Publication) -> usize {
        let routes = publication.verdicts.keys().filter(|key| key.kind == Kind::Route);
        let objects = routes.filter_map(|key| ObservedObject::find(&self.context.index, key));
        objects.filter_map(|object| object.fields.connected()).max().unwrap_or_default()
    }

    /// Writes as many of these statuses as the rate allows and one round takes, the most urgent first: of two alike the one that
    /// changed last, which somebody is waiting for. Returns the time until the next may be written.
    async fn write_some(&self, mut due: Vec<PendingWrite>, state: &mut LeaderState) -> Duration {
        let now = Instant::now();
        due.sort_by_cached_key(|write| (write.priority, std::cmp::Reverse(state.wanted_since(&write.key, now))));
        let (mut wait, mut admitted) = (MAX_WAIT, Vec::new());
        for write in due {
            if admitted.len() == MAX_ROUND {
                state.agenda.add([write.key]);
                wait = Duration::ZERO;
                continue;
            }
            match state.limiter.admit(&write.key, write.priority, now) {
                Ok(()) => admitted.push(write),
                Err(later) => {
                    wait = wait.min(later);
                    state.agenda.at(write.key, now + later);
                }
            }
        }
        let writes = stream::iter(admitted).map(|write| async move {
            let written = self.write(&write).await;
            (write, written)
        });
        let results: Vec<_> = writes.buffer_unordered(MAX_CONCURRENT_WRITES).collect().await;
        results.into_iter().for_each(|(write, written)| self.written(write, written, state));
        wait
    }

    /// The status to write of an object now, or the time until one may be due.
    fn pending_write(
        &self,
        key: &Key,
        publication: &Publication,
        summary: &AckSummary,
        state: &mut LeaderState,
        now: Instant,
    ) -> Option<Result<PendingWrite, Duration>> {
        let Some(verdict) = publication.verdicts.get(key) else {
            state.forget(key);
            return None;
        };
        if let Some(left) =
            state.retries.get(key).map(|retry| retry.at.saturating_duration_since(now)).filter(|left| !left.is_zero())
        {
            return Some(Err(left));
        }
        let excluded = publication.excluded.get(key);
        let current = match excluded {
            Some(excluded) => ObservedObject::excluded(key, &excluded.uid),
            None => ObservedObject::find(&self.context.index, key)?,
        };
        if state.last_writes.get(key).is_some_and(|written| written.is_newer_than(current.metadata())) {
            return None; // the watch has not returned the last write yet
        }
        if excluded.is_none() {
            state.last_writes.remove(key);
        }
        // Of an excluded object an older version is in force, whose rollout does not matter here.
        let entry = publication.catalog.get(key).filter(|_| excluded.is_none());
        let progress = entry.map(|entry| summary.of(key, &entry.version));
        let inputs = StatusInputs {
            verdict,
            pending_for: state.pending_for(key, progress.as_ref(), now),
            progress,
            secret_state: (key.kind == Kind::Token).then(|| self.secret_states.get(&key.id)),
            key_rejection: (key.kind == Kind::Provider).then(|| summary.key_rejection(&key.id)).flatten(),
            current: current.conditions(),
            leading_for: now.duration_since(state.leader_since),
            now: Timestamp::now(),
        };
        let (desired, later) = decide::decide(&inputs);
        let Some(desired) = desired else { return later.map(Err) };
        let changed = match &current.fields {
            ObservedFields::Nothing => {
                !state.last_writes.get(key).is_some_and(|write| write.equals(&desired, current.metadata()))
            }
            fields => desired.differs_from(current.conditions()) || fields.differs(&verdict.detail),
        };
        let pods = current.fields.pods(&desired);
        let due_in = pods.and_then(|pods| state.pending_counts.due(key, pods, inputs.leading_for, now));
        if is_being_issued(&desired) {
            // Mostly the next thing to be told is that it was.
            let left = ISSUE_GRACE.saturating_sub(now.duration_since(state.wanted_since(key, now)));
            if !left.is_zero() {
                return Some(Err(left));
            }
        }
        let priority = match due_in {
            // A namespace over its limits has many objects to report, and a key that is being issued is reported only if that
            // takes a while: others first.
            _ if changed && (excluded.is_some_and(|object| object.over_limit) || is_being_issued(&desired)) => {
                Priority::Low
            }
            _ if changed => Priority::High,
            Some(Duration::ZERO) => Priority::Low,
            _ => return due_in.into_iter().chain(later).min().map(Err),
        };
        Some(Ok(PendingWrite { key: key.clone(), current, desired, priority }))
    }

    async fn write(&self, write: &PendingWrite) -> Written {
        let mut conditions = write.current.conditions().to_vec();
        let transitions = write.desired.write_into(&mut conditions, &Time(Timestamp::now()));
        let body = write::body(&write.key, write.current.metadata(), &write.desired, &conditions);
        write::apply(&self.context.client, &write.key, &body).await.map(|version| (version, transitions))
    }

    fn written(&self, write: PendingWrite, written: Written, state: &mut LeaderState) {
        let PendingWrite { key, current, desired, .. } = write;
        let now = Instant::now();
        match written {
            Ok((version, transitions)) => {
                self.context.metrics.wrote("status", Outcome::Written);
                state.limiter.succeeded(now);
                state.retries.remove(&key);
                state.wanted.remove(&key);
                state.log_limiter.forget(&key);
                state.last_writes.insert(key.clone(), LastWrite::new(current.metadata(), version, desired));
                self.events.add(&current.reference(), transitions);
                // What the watch returns is looked at anyway, unless nothing was new to the API server.
                state.agenda.at(key, now + MAX_WAIT);
            }
            Err(error) => self.write_failed(&key, &error, state, now),
        }
    }

    /// Retries a failed write with back-off, and logs it once per cause.
    fn write_failed(&self, key: &Key, error: &kube::Error, state: &mut LeaderState, now: Instant) {
        let (code, retry_after) = match error {
            kube::Error::Api(status) => {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                (Some(status.code), (seconds > 0).then(|| Duration::from_secs(seconds.into())))
            }
            _ => (None, None),
        };
        if code == Some(429) {
            state.limiter.throttled(retry_after, now);
        }
        let gone = matches!(code, Some(404 | 409));
        self.context.metrics.wrote("status", if gone { Outcome::Conflict } else { Outcome::Failed });
        let cause = code.map_or_else(|| "no response".to_owned(), |code| code.to_string());
        if gone {
            debug!(object = %key.id, %error, "deleted or recreated in the meantime");
        } else if let Some(omitted) = state.log_limiter.admit(key, &cause, now) {
            let error = shorten(&error.to_string(), MAX_LOGGED_ERROR);
            warn!(kind = write::kind(key.kind), object = %key.id, error, omitted, "cannot write a status, retrying");
        }
        let failures = state.retries.get(key).map_or(0, |retry| retry.failures);
        let at = now + RETRY.delay(failures, fastrand::f64());
        state.retries.insert(key.clone(), Retry { at, failures: failures.saturating_add(1) });
        state.agenda.at(key.clone(), at);
    }
}

/// Whether all that is wrong is that a key is being issued or about to be, which takes a moment.
fn is_being_issued(desired: &DesiredStatus) -> bool {
    let passes = |reason| matches!(reason, Reason::Minting | Reason::Pending | Reason::Propagating);
    let mut wrong = desired.decisions.iter().filter(|decision| !decision.holds());
    let secret = desired.decisions.iter().find(|decision| decision.type_ == ConditionType::SecretReady);
    secret.is_some_and(|secret| matches!(secret.reason, Reason::Minting | Reason::Pending))
        && wrong.all(|decision| passes(decision.reason))
}

// === impl LeaderState ===

impl LeaderState {
    fn new(per_second: Option<u32>, now: Instant) -> Self {
        Self {
            agenda: Agenda::default(),
            limiter: WriteLimiter::new(per_second, now),
            waiting: BTreeMap::new(),
            wanted: BTreeMap::new(),
            last_writes: BTreeMap::new(),
            retries: BTreeMap::new(),
            log_limiter: LogLimiter::new(now),
            pending_counts: PendingCounts::default(),
            leader_since: now,
            expected: None,
            settled: false,
            tidied: now,
        }
    }

    /// How long acknowledgements of an object have been outstanding.
    fn pending_for(&mut self, key: &Key, progress: Option<&Progress>, now: Instant) -> Duration {
        if progress.is_none_or(Progress::complete) {
            self.waiting.remove(key);
            return Duration::ZERO;
        }
        now.duration_since(*self.waiting.entry(key.clone()).or_insert(now))
    }

    fn wanted_since(&mut self, key: &Key, now: Instant) -> Instant {
        *self.wanted.entry(key.clone()).or_insert(now)
    }

    /// Forgets a deleted object.
    fn forget(&mut self, key: &Key) {
        self.limiter.forget(key);
        self.waiting.remove(key);
        self.wanted.remove(key);
        self.last_writes.remove(key);
        self.retries.remove(key);
        self.log_limiter.forget(key);
        self.pending_counts.forget(key);
    }

    /// Drops what is not needed any more, now and then, and looks at everything again once what is not known is not so.
    fn tidy(&mut self, now: Instant) {
        if !self.settled && now.duration_since(self.leader_since) >= ACK_GRACE {
            self.settled = true;
            self.agenda.all();
        }
        if now.duration_since(self.tidied) >= MAX_WAIT {
            self.tidied = now;
            self.limiter.tidy(now);
        }
    }

    /// The time until a new leader knows more.
    fn until_settled(&mut self, now: Instant) -> Duration {
        let since = now.duration_since(self.leader_since);
        let left = |grace: Duration| grace.checked_sub(since).filter(|left| !left.is_zero());
        [RECONNECT_GRACE, ACK_GRACE].into_iter().find_map(left).unwrap_or(MAX_WAIT)
    }
}
