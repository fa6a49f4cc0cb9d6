//! Verdicts and acknowledgements become conditions, written by the lease holder.
//!
//! `decide` says (pure) what each status should say and whether that is worth a write; this file writes it, paced, with
//! events on transitions. Validity is not judged here again. An object whose status cannot be read (see
//! `index::Broken`) is told so once per version.

pub mod decide;
mod numbers;
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
    complaints::Complaints,
    parts::Parts,
    publish::Publication,
    push::ack::{AWAY, Progress, Standing},
    settings::Settings,
    telemetry::Outcome,
    tokens::plan::Finding,
    writer::{Pace, Urgency},
};
use decide::{Facts, Wanted};
use numbers::Unsaid;
use write::{Shown, Written};

/// Changes are gathered for this long before statuses are looked at.
const GATHER: Duration = Duration::from_millis(50);

/// How soon a failed write is tried again; the wait doubles
const RETRY: Duration = Duration::from_secs(2);

/// up to this.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// How long recording an event may take.
const EVENT: Duration = Duration::from_secs(2);

/// How often statuses are looked at when nothing happens: tokens expire.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Bytes of an error that a log line shows.
const LONGEST_ERROR: usize = 500;

type Findings = BTreeMap<ObjectId, Finding>;

/// Writes statuses.
pub struct Statuses {
    parts: Parts,
    findings: watch::Receiver<Findings>,
    recorder: Recorder,
}

/// What the leader remembers between looks.
struct Memory {
    pace: Pace,
    /// Since when an object has been waiting for data planes.
    waiting: BTreeMap<Key, Instant>,
    /// What was written, until the watch shows it.
    written: BTreeMap<Key, Written>,
    retry: BTreeMap<Key, Retry>,
    complaints: Complaints<Key>,
    unsaid: Unsaid,
    since: Instant,
    /// How many pods statuses spoke of when this replica began to write.
    expected: Option<usize>,
}

/// A write that failed.
#[derive(Clone, Copy)]
struct Retry {
    at: Instant,
    times: u32,
}

/// A status to be written.
struct Due {
    key: Key,
    current: Current,
    wanted: Wanted,
    urgency: Urgency,
}

/// An object's metadata and conditions as the index has them.
struct Current {
    metadata: ObjectMeta,
    reference: ObjectReference,
    conditions: Vec<Condition>,
    shown: Shown,
}

// === impl Statuses ===

impl Statuses {
    /// By these settings.
    pub fn new(settings: &Settings, parts: &Parts, findings: watch::Receiver<Findings>) -> Self {
        let reporter =
            Reporter { controller: "routeapi-operator".to_owned(), instance: Some(settings.identity.clone()) };
        Self { recorder: Recorder::new(parts.client.clone(), reporter), parts: parts.clone(), findings }
    }

    /// Writes while this replica is the leader, until aborted.
    pub async fn run(mut self, mut leader: watch::Receiver<bool>) {
        loop {
            if leader.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            self.parts.metrics.leads(true);
            tokio::select! {
                () = self.lead() => {}
                _ = leader.wait_for(|leads| !*leads) => {}
            }
            self.parts.metrics.leads(false);
        }
    }

    async fn lead(&mut self) {
        let now = Instant::now();
        let mut memory = Memory {
            pace: Pace::new(now),
            waiting: BTreeMap::new(),
            written: BTreeMap::new(),
            retry: BTreeMap::new(),
            complaints: Complaints::new(now),
            unsaid: Unsaid::default(),
            since: now,
            expected: None,
        };
        let mut publications = self.parts.publisher.subscribe();
        let (mut acks, mut touched) = (self.parts.acks.changed(), self.parts.index.touched());
        loop {
            let current = publications.borrow_and_update().clone();
            acks.mark_unchanged();
            touched.mark_unchanged();
            self.findings.mark_unchanged();
            let wait = match current {
                Some(publication) => self.look(&publication, &mut memory).await,
                None => LOOK_AGAIN,
            };
            tokio::select! {
                _ = publications.changed() => {}
                _ = acks.changed() => {}
                _ = touched.changed() => {}
                _ = self.findings.changed() => {}
                () = time::sleep(wait) => continue,
            }
            time::sleep(GATHER).await;
        }
    }

    /// Looks at every object; how long until something may be due.
    async fn look(&self, publication: &Publication, memory: &mut Memory) -> Duration {
        let mut standing = self.parts.acks.standing(|revision| self.parts.publisher.recall(revision));
        let expected = *memory.expected.get_or_insert_with(|| self.shown_pods(publication));
        if memory.since.elapsed() < AWAY {
            // An operator that starts has not seen them leave.
            standing.strangers = expected.saturating_sub(standing.connected);
        }
        let findings = self.findings.borrow().clone();
        let verdicts = &publication.compiled.verdicts;
        memory.pace.retain(|key| verdicts.contains_key(key));
        memory.written.retain(|key, _| verdicts.contains_key(key));
        memory.waiting.retain(|key, _| verdicts.contains_key(key));
        memory.retry.retain(|key, _| verdicts.contains_key(key));
        memory.complaints.retain(|key| verdicts.contains_key(key));
        memory.unsaid.retain(|key| verdicts.contains_key(key));
        let mut wait = LOOK_AGAIN;
        let mut due = Vec::new();
        for key in verdicts.keys() {
            match self.wanted(key, publication, &standing, &findings, memory) {
                Some(Ok(write)) => due.push(write),
                Some(Err(later)) => wait = wait.min(later),
                None => {}
            }
        }
        due.sort_by_key(|it| it.urgency);
        for Due { key, current, wanted, urgency } in due {
            match memory.pace.admit(&key, urgency, Instant::now()) {
                Ok(()) => self.write(&key, &current, wanted, memory).await,
                Err(later) => wait = wait.min(later),
            }
        }
        wait.max(Duration::from_millis(10))
    }

    /// The most pods that any status speaks of.
    fn shown_pods(&self, publication: &Publication) -> usize {
        let shown = publication.compiled.verdicts.keys().filter_map(|key| self.current(key));
        shown.filter_map(|current| current.shown.connected()).max().unwrap_or_default()
    }

    /// What should be written of an object now, or when to look again.
    fn wanted(
        &self,
        key: &Key,
        publication: &Publication,
        standing: &Standing,
        findings: &Findings,
        memory: &mut Memory,
    ) -> Option<Result<Due, Duration>> {
        let now = Instant::now();
        if let Some(left) =
            memory.retry.get(key).map(|it| it.at.saturating_duration_since(now)).filter(|it| !it.is_zero())
        {
            return Some(Err(left));
        }
        let verdict = publication.compiled.verdicts.get(key)?;
        let current = match publication.broken.get(key) {
            Some(broken) => Current::unreadable(key, &broken.uid),
            None => self.current(key)?,
        };
        if memory.written.get(key).is_some_and(|written| written.is_newer_than(&current.metadata)) {
            return None; // the watch has not shown what was written last
        }
        // Of an unreadable object an older version is in force, which says nothing about this one.
        let entry = publication.catalog.get(key).filter(|_| !publication.broken.contains_key(key));
        let progress = entry.map(|entry| standing.of(key, &entry.version));
        let complete = progress.as_ref().is_none_or(Progress::complete);
        let since = match complete {
            true => {
                memory.waiting.remove(key);
                now
            }
            false => *memory.waiting.entry(key.clone()).or_insert(now),
        };
        let facts = Facts {
            verdict,
            progress,
            finding: (key.kind == Kind::Token).then(|| findings.get(&key.id).cloned()),
            key_rejection: (key.kind == Kind::Provider).then(|| standing.key_rejection(&key.id)).flatten(),
            held: &current.conditions,
            waited: now.duration_since(since),
            led: now.duration_since(memory.since),
            now: Timestamp::now(),
        };
        let (wanted, later) = decide::decide(&facts);
        let Some(wanted) = wanted else { return later.map(Err) };
        let news = match &current.shown {
            Shown::Nothing => !memory.written.get(key).is_some_and(|it| it.says(&wanted, &current.metadata)),
            shown => wanted.differs_from(&current.conditions) || shown.differs(&verdict.detail),
        };
        let pods = current.shown.pods(&wanted);
        let numbers = pods.and_then(|pods| memory.unsaid.due(key, pods, facts.led, now));
        let urgency = match numbers {
            // Of a namespace that holds too much, many have to be told: others first.
            _ if news && publication.broken.get(key).is_some_and(|it| it.over) => Urgency::Numbers,
            _ if news => Urgency::News,
            Some(Duration::ZERO) => Urgency::Numbers,
            _ => return numbers.into_iter().chain(later).min().map(Err),
        };
        Some(Ok(Due { key: key.clone(), current, wanted, urgency }))
    }

    fn current(&self, key: &Key) -> Option<Current> {
        match key.kind {
            Kind::Provider => self.parts.index.provider(&key.id).map(|it| Current::of_provider(&it)),
            Kind::Route => self.parts.index.route(&key.id).map(|it| Current::of_route(&it)),
            Kind::Token => self.parts.index.token(&key.id).map(|it| Current::of_token(&it)),
            Kind::Namespace | Kind::Unknown(_) => None,
        }
    }

    async fn write(&self, key: &Key, current: &Current, wanted: Wanted, memory: &mut Memory) {
        let mut conditions = current.conditions.clone();
        let now = Time(Timestamp::now());
        let flips = wanted.write_into(&mut conditions, &now);
        let body = write::body(key, &current.metadata, &wanted, &conditions);
        match write::apply(&self.parts.client, key, &body).await {
            Ok(version) => {
                self.parts.metrics.wrote("status", Outcome::Written);
                memory.retry.remove(key);
                memory.complaints.forget(key);
                memory.written.insert(key.clone(), Written::new(&current.metadata, version, wanted));
                self.announce(&current.reference, &flips).await;
            }
            Err(error) => {
                self.write_failed(key, &error, memory);
            }
        }
    }

    /// A write that is refused again and again is tried less and less often, and logged once per cause.
    fn write_failed(&self, key: &Key, error: &kube::Error, memory: &mut Memory) {
        let now = Instant::now();
        let code = match error {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        };
        let gone = matches!(code, Some(404 | 409));
        self.parts.metrics.wrote("status", if gone { Outcome::Conflict } else { Outcome::Failed });
        let cause = code.map_or_else(|| "no answer".to_owned(), |code| code.to_string());
        if gone {
            debug!(object = %key.id, %error, "gone or made anew meanwhile");
        } else if let Some(omitted) = memory.complaints.admit(key, &cause, now) {
            let error = shorten(&error.to_string(), LONGEST_ERROR);
            warn!(kind = write::kind(key.kind), object = %key.id, error, omitted, "cannot write a status; it is tried again");
        }
        let times = memory.retry.get(key).map_or(0, |it| it.times);
        let wait = RETRY.saturating_mul(1 << times.min(16)).min(LONGEST_RETRY).mul_f64(0.75 + fastrand::f64() / 2.0);
        memory.retry.insert(key.clone(), Retry { at: now + wait, times: times.saturating_add(1) });
    }

    /// An event for each condition that changed its answer.
    async fn announce(&self, about: &ObjectReference, flips: &[decide::Flip]) {
        for flip in flips {
            let event = Event {
                type_: if flip.good { EventType::Normal } else { EventType::Warning },
                reason: flip.reason.clone(),
                note: Some(flip.note.clone()),
                action: flip.type_.clone(),
                secondary: None,
            };
            let published = time::timeout(EVENT, self.recorder.publish(&event, about)).await;
            if !matches!(published, Ok(Ok(()))) {
                debug!(reason = flip.reason, "event was not recorded");
            }
        }
    }
}

// === impl Current ===

impl Current {
    fn of_provider(object: &AIProvider) -> Self {
        let status = object.status.clone().unwrap_or_default();
        Self::of(object, status.conditions, Shown::Provider(status.attached_routes))
    }

    fn of_route(object: &AIRoute) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let pods = status.data_plane.as_ref().map(Into::into);
        Self::of(object, status.conditions, Shown::Route(status.upstreams, pods))
    }

    fn of_token(object: &ApiToken) -> Self {
        let status = object.status.clone().unwrap_or_default();
        Self::of(object, status.conditions, Shown::Token)
    }

    fn of<K: Resource<DynamicType = ()>>(object: &K, conditions: Vec<Condition>, shown: Shown) -> Self {
        Self { metadata: object.meta().clone(), reference: object.object_ref(&()), conditions, shown }
    }

    /// Of an object whose newest version cannot be read: nothing is known of its status.
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
        Self { metadata, reference, conditions: Vec::new(), shown: Shown::Nothing }
    }
}
