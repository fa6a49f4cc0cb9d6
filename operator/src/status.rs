//! Writes verdicts and acknowledgements as conditions; only on the leader.
//!
//! `decide` decides (pure) the status of each object and whether it is worth a write; this file writes it, at a limited rate,
//! with events on transitions. Validity is not checked here again. An object that cannot be read (see
//! `index::ExcludedObject`) gets a status once per version.

pub mod decide;
mod pod_counts;
mod write;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time},
};
use kube::{
    Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use routeapi_channel::{Key, Kind, ObjectId};
use routeapi_crds::{
    condition::shorten,
    v1alpha1::{AIProvider, AIRoute, ApiToken},
};
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
    tokens::plan::SecretState,
    write_limiter::{Priority, WriteLimiter},
};
use decide::{DesiredStatus, StatusInputs};
use pod_counts::PendingCounts;
use write::{LastWrite, ObservedFields};

/// Changes are collected for this long before statuses are decided: acknowledgements of many pods arrive together.
const BATCH_DELAY: Duration = Duration::from_millis(50);

/// Retries of a failed write. The API server is not overloaded by a status that it refuses, nor does anybody wait long for one
/// that succeeds again.
const RETRY: Backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_secs(60) };

/// How long recording an event may take; it is not worth delaying statuses for longer.
const EVENT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often statuses are decided when nothing changes: tokens expire.
const RESYNC_INTERVAL: Duration = Duration::from_secs(10);

/// Maximum length of an error in a log line, in bytes: webhooks return whole pages.
const MAX_LOGGED_ERROR: usize = 500;

type SecretStates = BTreeMap<ObjectId, SecretState>;

/// Writes statuses. One per replica.
pub struct StatusWriter {
    context: Context,
    secret_states: watch::Receiver<SecretStates>,
    recorder: Recorder,
}

/// What the leader stores between two rounds.
struct LeaderState {
    limiter: WriteLimiter,
    /// Since when acknowledgements of an object have been outstanding.
    waiting: BTreeMap<Key, Instant>,
    /// The last write of each object, until the watch returns it.
    last_writes: BTreeMap<Key, LastWrite>,
    retries: BTreeMap<Key, Retry>,
    log_limiter: LogLimiter<Key>,
    pending_counts: PendingCounts,
    leader_since: Instant,
    /// The number of pods in statuses when this replica became the leader.
    expected: Option<usize>,
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

/// An object's metadata and conditions as the index has them.
struct ObservedObject {
    metadata: ObjectMeta,
    reference: ObjectReference,
    conditions: Vec<Condition>,
    fields: ObservedFields,
}

// === impl StatusWriter ===

impl StatusWriter {
    /// A writer with these settings.
    pub fn new(settings: &Settings, context: &Context, secret_states: watch::Receiver<SecretStates>) -> Self {
        let reporter =
            Reporter { controller: "routeapi-operator".to_owned(), instance: Some(settings.identity.clone()) };
        Self { recorder: Recorder::new(context.client.clone(), reporter), context: context.clone(), secret_states }
    }

    /// Writes while this replica is the leader, until aborted.
    pub async fn run(mut self, mut leader: watch::Receiver<bool>) {
        loop {
            if leader.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            self.context.metrics.leads(true);
            tokio::select! {
                () = self.lead() => {}
                _ = leader.wait_for(|leads| !*leads) => {}
            }
            self.context.metrics.leads(false);
        }
    }

    async fn lead(&mut self) {
        let now = Instant::now();
        let mut state = LeaderState {
            limiter: WriteLimiter::new(now),
            waiting: BTreeMap::new(),
            last_writes: BTreeMap::new(),
            retries: BTreeMap::new(),
            log_limiter: LogLimiter::new(now),
            pending_counts: PendingCounts::default(),
            leader_since: now,
            expected: None,
        };
        let mut publications = self.context.publisher.subscribe();
        let (mut acks, mut touched) = (self.context.acks.changed(), self.context.index.touched());
        loop {
            let current = publications.borrow_and_update().clone();
            acks.mark_unchanged();
            touched.mark_unchanged();
            self.secret_states.mark_unchanged();
            let wait = match current {
                Some(publication) => self.reconcile(&publication, &mut state).await,
                None => RESYNC_INTERVAL,
            };
            tokio::select! {
                _ = publications.changed() => {}
                _ = acks.changed() => {}
                _ = touched.changed() => {}
                _ = self.secret_states.changed() => {}
                () = time::sleep(wait) => continue,
            }
            time::sleep(BATCH_DELAY).await;
        }
    }

    /// Decides and writes the status of every object. Returns the time until one may be due.
    async fn reconcile(&self, publication: &Publication, state: &mut LeaderState) -> Duration {
        let mut summary = self.context.acks.summary(|revision| self.context.publisher.state(revision));
        let expected = *state.expected.get_or_insert_with(|| self.observed_pods(publication));
        if state.leader_since.elapsed() < RECONNECT_GRACE {
            // A new leader has not seen pods disconnect.
            summary.unaccounted = expected.saturating_sub(summary.connected);
        }
        let secret_states = self.secret_states.borrow().clone();
        let verdicts = &publication.compiled.verdicts;
        state.limiter.retain(|key| verdicts.contains_key(key));
        state.last_writes.retain(|key, _| verdicts.contains_key(key));
        state.waiting.retain(|key, _| verdicts.contains_key(key));
        state.retries.retain(|key, _| verdicts.contains_key(key));
        state.log_limiter.retain(|key| verdicts.contains_key(key));
        state.pending_counts.retain(|key| verdicts.contains_key(key));
        let mut wait = RESYNC_INTERVAL;
        let mut due = Vec::new();
        for key in verdicts.keys() {
            match self.pending_write(key, publication, &summary, &secret_states, state) {
                Some(Ok(write)) => due.push(write),
                Some(Err(later)) => wait = wait.min(later),
                None => {}
            }
        }
        due.sort_by_key(|write| write.priority);
        for PendingWrite { key, current, desired, priority } in due {
            match state.limiter.admit(&key, priority, Instant::now()) {
                Ok(()) => self.write(&key, &current, desired, state).await,
                Err(later) => wait = wait.min(later),
            }
        }
        wait.max(Duration::from_millis(10))
    }

    /// The highest number of pods in any status.
    fn observed_pods(&self, publication: &Publication) -> usize {
        let fields = publication.compiled.verdicts.keys().filter_map(|key| self.current(key));
        fields.filter_map(|current| current.fields.connected()).max().unwrap_or_default()
    }

    /// The status to write of an object now, or the time until one may be due.
    fn pending_write(
        &self,
        key: &Key,
        publication: &Publication,
        summary: &AckSummary,
        secret_states: &SecretStates,
        state: &mut LeaderState,
    ) -> Option<Result<PendingWrite, Duration>> {
        let now = Instant::now();
        if let Some(left) =
            state.retries.get(key).map(|retry| retry.at.saturating_duration_since(now)).filter(|left| !left.is_zero())
        {
            return Some(Err(left));
        }
        let verdict = publication.compiled.verdicts.get(key)?;
        let current = match publication.excluded.get(key) {
            Some(excluded) => ObservedObject::unreadable(key, &excluded.uid),
            None => self.current(key)?,
        };
        if state.last_writes.get(key).is_some_and(|written| written.is_newer_than(&current.metadata)) {
            return None; // the watch has not returned the last write yet
        }
        // Of an excluded object an older version is in force, whose rollout does not matter here.
        let entry = publication.catalog.get(key).filter(|_| !publication.excluded.contains_key(key));
        let progress = entry.map(|entry| summary.of(key, &entry.version));
        let since = if progress.as_ref().is_none_or(Progress::complete) {
            state.waiting.remove(key);
            now
        } else {
            *state.waiting.entry(key.clone()).or_insert(now)
        };
        let inputs = StatusInputs {
            verdict,
            progress,
            secret_state: (key.kind == Kind::Token).then(|| secret_states.get(&key.id).cloned()),
            key_rejection: (key.kind == Kind::Provider).then(|| summary.key_rejection(&key.id)).flatten(),
            current: &current.conditions,
            pending_for: now.duration_since(since),
            leading_for: now.duration_since(state.leader_since),
            now: Timestamp::now(),
        };
        let (desired, later) = decide::decide(&inputs);
        let Some(desired) = desired else { return later.map(Err) };
        let changed = match &current.fields {
            ObservedFields::Nothing => {
                !state.last_writes.get(key).is_some_and(|write| write.equals(&desired, &current.metadata))
            }
            fields => desired.differs_from(&current.conditions) || fields.differs(&verdict.detail),
        };
        let pods = current.fields.pods(&desired);
        let due_in = pods.and_then(|pods| state.pending_counts.due(key, pods, inputs.leading_for, now));
        let priority = match due_in {
            // A namespace over its limits has many objects to report: others first.
            _ if changed && publication.excluded.get(key).is_some_and(|object| object.over_limit) => Priority::Low,
            _ if changed => Priority::High,
            Some(Duration::ZERO) => Priority::Low,
            _ => return due_in.into_iter().chain(later).min().map(Err),
        };
        Some(Ok(PendingWrite { key: key.clone(), current, desired, priority }))
    }

    fn current(&self, key: &Key) -> Option<ObservedObject> {
        match key.kind {
            Kind::Provider => self.context.index.provider(&key.id).map(|object| ObservedObject::of_provider(&object)),
            Kind::Route => self.context.index.route(&key.id).map(|object| ObservedObject::of_route(&object)),
            Kind::Token => self.context.index.token(&key.id).map(|object| ObservedObject::of_token(&object)),
            Kind::Namespace | Kind::Unknown(_) => None,
        }
    }

    async fn write(&self, key: &Key, current: &ObservedObject, desired: DesiredStatus, state: &mut LeaderState) {
        let mut conditions = current.conditions.clone();
        let now = Time(Timestamp::now());
        let transitions = desired.write_into(&mut conditions, &now);
        let body = write::body(key, &current.metadata, &desired, &conditions);
        match write::apply(&self.context.client, key, &body).await {
            Ok(version) => {
                self.context.metrics.wrote("status", Outcome::Written);
                state.retries.remove(key);
                state.log_limiter.forget(key);
                state.last_writes.insert(key.clone(), LastWrite::new(&current.metadata, version, desired));
                self.record_events(&current.reference, &transitions).await;
            }
            Err(error) => {
                self.write_failed(key, &error, state);
            }
        }
    }

    /// Retries a failed write with back-off, and logs it once per cause.
    fn write_failed(&self, key: &Key, error: &kube::Error, state: &mut LeaderState) {
        let now = Instant::now();
        let code = match error {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        };
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
    }

    /// Records an event for each transition.
    async fn record_events(&self, about: &ObjectReference, transitions: &[decide::Transition]) {
        for transition in transitions {
            let event = Event {
                type_: if transition.good { EventType::Normal } else { EventType::Warning },
                reason: transition.reason.clone(),
                note: Some(transition.note.clone()),
                action: transition.type_.clone(),
                secondary: None,
            };
            let published = time::timeout(EVENT_TIMEOUT, self.recorder.publish(&event, about)).await;
            if !matches!(published, Ok(Ok(()))) {
                debug!(reason = transition.reason, "cannot record an event");
            }
        }
    }
}

// === impl ObservedObject ===

impl ObservedObject {
    fn of_provider(object: &AIProvider) -> Self {
        let status = object.status.clone().unwrap_or_default();
        Self::of(object, status.conditions, ObservedFields::Provider(status.attached_routes))
    }

    fn of_route(object: &AIRoute) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let pods = status.data_plane.as_ref().map(Into::into);
        Self::of(object, status.conditions, ObservedFields::Route(status.upstreams, pods))
    }

    fn of_token(object: &ApiToken) -> Self {
        let status = object.status.clone().unwrap_or_default();
        Self::of(object, status.conditions, ObservedFields::Token)
    }

    fn of<K: Resource<DynamicType = ()>>(object: &K, conditions: Vec<Condition>, fields: ObservedFields) -> Self {
        Self { metadata: object.meta().clone(), reference: object.object_ref(&()), conditions, fields }
    }

    /// An object whose newest version is excluded: nothing is known about its status.
    fn unreadable(key: &Key, uid: &str) -> Self {
        let metadata = ObjectMeta {
            name: Some(key.id.name().to_owned()),
            namespace: Some(key.id.namespace().to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        };
        let reference = ObjectReference {
            api_version: Some(write::API_VERSION.to_owned()),
            kind: Some(write::kind(key.kind).to_owned()),
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            ..ObjectReference::default()
        };
        Self { metadata, reference, conditions: Vec::new(), fields: ObservedFields::Nothing }
    }
}
