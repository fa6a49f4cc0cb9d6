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
//! Every token is looked at when it changes, when something of it falls due, at each resync, and when its Secret, which
//! cannot be watched, is found to be another one ([`rounds`]). What the API server refuses is said in the token's condition and tried again with
//! the same value ([`attempt`]), after waits that [`queue`] keeps.

mod attempt;
pub mod plan;
mod queue;
pub mod refusal;
mod rounds;
mod secret;

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
use routeapi_crds::{
    condition::Reason,
    v1alpha1::{ApiToken, KeyStatus},
};
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant},
};
use tracing::{debug, info, warn};

use crate::{complaints::Complaints, parts::Parts, settings::Settings, telemetry::Outcome, writer::KEYS_MANAGER};
use attempt::{Attempt, Attempts, Wish};
use plan::{Finding, Held, Keys, Next, Plan};
use queue::Queue;
use refusal::Refusal;
use rounds::Rounds;

/// Tokens that are worked on at the same time.
const AT_ONCE: usize = 8;

/// How long data planes may take to acknowledge a key before its Secret is written anyway: one that is stuck must not
/// keep every app from its token.
const ACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Questions about Secrets that may be open at the same time.
const ASKED_AT_ONCE: usize = 4;

/// So often in a row a failure that usually passes by itself happens before it is said.
const PERSISTENT: u32 = 3;

/// When a Secret that is being deleted is looked at again.
const TERMINATING: Duration = Duration::from_secs(5);

/// How long the API server may take for one call.
const CALL: Duration = Duration::from_secs(15);

/// What was found out about each token's Secret, for statuses.
pub type Findings = watch::Sender<BTreeMap<ObjectId, Finding>>;

/// Uid and generation; none if there is no such token.
type Version = Option<(Option<String>, Option<i64>)>;

/// What the leader has in hand.
struct Work {
    queue: Queue,
    /// The version of each token when it was last looked at.
    seen: BTreeMap<ObjectId, Version>,
    complaints: Complaints<ObjectId>,
    rounds: Rounds,
}

/// What became of a look at a token.
struct Looked {
    /// When to look again.
    wait: Duration,
    secret: rounds::Version,
}

/// Works on tokens. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Tokens {
    parts: Parts,
    findings: Arc<Findings>,
    attempts: Attempts,
    gateway_url: Arc<str>,
    resync: Duration,
    secret_check: Duration,
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
            attempts: Attempts::default(),
            gateway_url: settings.gateway_url.trim_end_matches('/').into(),
            resync: settings.resync.into(),
            secret_check: settings.secret_check.into(),
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
            self.attempts.clear();
        }
    }

    /// Works on every token as it falls due. Dropping it drops the work in hand, which looking again repairs.
    async fn lead(&self) {
        let now = Instant::now();
        let mut work = Work::new(now, self.secret_check);
        self.parts.index.token_ids().into_iter().for_each(|id| work.queue.at(id, now));
        let mut working: JoinSet<(ObjectId, Result<Option<Looked>, Refusal>)> = JoinSet::new();
        let mut asking: JoinSet<Option<(ObjectId, rounds::Version)>> = JoinSet::new();
        let mut asked = now;
        loop {
            while working.len() < AT_ONCE
                && let Some(id) = work.queue.due(Instant::now())
            {
                work.seen.insert(id.clone(), self.version(&id));
                let this = self.clone();
                working.spawn(async move {
                    let done = this.look(&id).await;
                    (id, done)
                });
            }
            tokio::select! {
                touched = self.parts.index.touched_tokens() => {
                    touched.into_iter().for_each(|id| self.touched(&mut work, id));
                }
                Some(Ok((id, done))) = working.join_next() => self.finished(&mut work, &id, done),
                () = work.queue.wait(), if working.len() < AT_ONCE => {}
                () = work.rounds.turn(asked), if asking.len() < ASKED_AT_ONCE => {
                    asked = Instant::now();
                    if let Some(id) = work.rounds.next() {
                        let this = self.clone();
                        asking.spawn(async move { this.ask(id).await });
                    }
                }
                Some(Ok(found)) = asking.join_next() => {
                    if let Some((id, _)) = found.filter(|(id, version)| work.rounds.differs(id, version)) {
                        work.queue.at(id, Instant::now());
                    }
                }
            }
        }
    }

    /// Which version a token's Secret has now; none if that cannot be told, which a look would complain of.
    async fn ask(&self, id: ObjectId) -> Option<(ObjectId, rounds::Version)> {
        let token = self.parts.index.token(&id)?;
        match secret::ask(&self.parts.client, &token).await {
            Ok(version) => Some((id, version)),
            Err(error) => {
                debug!(token = %id, %error, "cannot ask for the Secret");
                None
            }
        }
    }

    /// A token that fails is not woken by what its failures write, but by a change of its spec.
    fn touched(&self, work: &mut Work, id: ObjectId) {
        let now = Instant::now();
        if !work.queue.is_failing(&id) {
            work.queue.at(id, now);
        } else if work.seen.get(&id) != Some(&self.version(&id)) {
            work.queue.changed(&id, now);
        }
    }

    fn finished(&self, work: &mut Work, id: &ObjectId, done: Result<Option<Looked>, Refusal>) {
        let now = Instant::now();
        match done {
            Ok(None) => {
                self.findings.send_if_modified(|findings| findings.remove(id).is_some());
                self.attempts.forget(id);
                work.forget(id);
                work.rounds.forget(id);
                work.queue.done(id, None);
            }
            Ok(Some(Looked { wait, secret })) => {
                work.forget(id);
                work.rounds.saw(id.clone(), secret);
                work.queue.succeeded(id, now);
                work.queue.done(id, Some(now + wait));
            }
            Err(refusal) => self.failed(work, id, refusal, now),
        }
    }

    fn failed(&self, work: &mut Work, id: &ObjectId, refusal: Refusal, now: Instant) {
        work.rounds.forget(id);
        let (times, wait) = work.queue.failed(id, now, fastrand::f64());
        work.queue.done(id, Some(now + wait));
        if work.seen.get(id) != Some(&self.version(id)) {
            work.queue.changed(id, now); // while it was being worked on
        }
        let conflict = refusal.reason == Reason::Conflict;
        self.parts.metrics.wrote("token", if conflict { Outcome::Conflict } else { Outcome::Failed });
        if refusal.is_passing() && times < PERSISTENT {
            debug!(token = %id, reason = %refusal.reason, message = refusal.message, "token failed");
            return;
        }
        if let Some(omitted) = work.complaints.admit(id, &refusal.reason.to_string(), now) {
            let (reason, message) = (refusal.reason, &refusal.message);
            warn!(token = %id, %reason, message, omitted, "token failed; it is tried again");
        }
        self.found(id, Finding::Refused(refusal));
    }

    /// Which object it is, and which spec it has.
    fn version(&self, id: &ObjectId) -> Version {
        let token = self.parts.index.token(id)?;
        Some((token.metadata.uid.clone(), token.metadata.generation))
    }

    /// Brings one token to where it should be; when to look again, none if it is gone.
    async fn look(&self, id: &ObjectId) -> Result<Option<Looked>, Refusal> {
        // What the index holds may be older than what this task wrote itself: ask.
        let fetched = self.fetch(id).await.map_err(|error| Refusal::of(&error, &[]))?;
        let Some(token) = fetched else { return Ok(None) };
        let read = secret::read(&self.parts.client, &token, &self.gateway_url).await;
        let (held, mut version) = read.map_err(|error| Refusal::of(&error, &[]))?;
        let now = Timestamp::now();
        let plan = plan::plan(&token, &held, now);
        let longest = if matches!(held, Held::Terminating(_)) { TERMINATING } else { self.resync };
        if plan.next == Next::Mint {
            let attempt = self.attempts.resume(id, Wish::of(&token, &held), now, fresh);
            let attempt = attempt.map_err(|error| Refusal::of(&error, &[]))?;
            self.minting(id);
            match self.mint(&token, plan.keys, &held, &attempt).await {
                Ok(written) => version = written,
                Err(error) => {
                    let refusal = Refusal::of(&error, &hidden(&held, Some(&attempt)));
                    if refusal.ambiguous {
                        self.attempts.forget(id);
                    }
                    return Err(refusal);
                }
            }
            self.found(id, Finding::Ready);
        } else {
            let kept = self.keep(&token, &plan, &held).await;
            let written = kept.map_err(|error| Refusal::of(&error, &hidden(&held, None)))?;
            version = written.or(version);
            self.found(id, plan.finding);
        }
        self.attempts.forget(id);
        let due = plan::due(&token, &Keys::of(&token), now);
        Ok(Some(Looked { wait: due.map_or(longest, |due| due.min(longest)), secret: version }))
    }

    /// Writes what a plan asks for that needs no new value; the Secret's new version if it was written.
    async fn keep(&self, token: &ApiToken, plan: &Plan, held: &Held) -> Result<rounds::Version, TokenError> {
        if Keys::of(token) != plan.keys {
            self.write_keys(token, token.metadata.resource_version.clone(), &plan.keys).await?;
        }
        if plan.next == Next::Refresh {
            return secret::refresh(&self.parts.client, token, held, &self.gateway_url).await;
        }
        Ok(None)
    }

    /// Puts a new value into the Secret, in the order that the head of this file gives. What an earlier try did already is
    /// not done again. The Secret's new version.
    async fn mint(
        &self,
        token: &ApiToken,
        mut keys: Keys,
        held: &Held,
        attempt: &Attempt,
    ) -> Result<rounds::Version, TokenError> {
        let (id, minted) = (crate::index::id_of(&token.metadata), &attempt.minted);
        keys.add(KeyStatus {
            id: minted.id.clone(),
            sha256: minted.sha256.clone(),
            issued_time: Time(attempt.issued),
            not_after_time: None,
        });
        let mut version = token.metadata.resource_version.clone();
        if Keys::of(token) != keys {
            version = self.write_keys(token, version, &keys).await?;
        }
        if !attempt.announced {
            self.acknowledged(&id, &minted.id).await;
            self.attempts.announced(&id);
        }
        let written = secret::write(&self.parts.client, token, held, minted, &self.gateway_url).await?;
        self.parts.metrics.minted();
        info!(token = %id, key = minted.id, "token minted");
        keys.retire_others(&minted.id, plan::overlap(token), Timestamp::now());
        keys.rotation_revision = plan::wanted_revision(token);
        self.write_keys(token, version, &keys).await?;
        Ok(written)
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

    /// The first value is being made. While the API server refuses it, that is what is said.
    fn minting(&self, id: &ObjectId) {
        self.findings.send_if_modified(|findings| {
            let silent = !findings.contains_key(id);
            if silent {
                findings.insert(id.clone(), Finding::Minting);
            }
            silent
        });
    }

    fn found(&self, id: &ObjectId, finding: Finding) {
        self.findings.send_if_modified(|findings| {
            let same = match (findings.get(id), &finding) {
                (Some(Finding::Refused(held)), Finding::Refused(next)) => next.repeats(held),
                (held, next) => held == Some(next),
            };
            if !same {
                findings.insert(id.clone(), finding);
            }
            !same
        });
    }
}

// === impl Work ===

impl Work {
    fn new(now: Instant, secret_check: Duration) -> Self {
        Self {
            queue: Queue::default(),
            seen: BTreeMap::new(),
            complaints: Complaints::new(now),
            rounds: Rounds::new(secret_check),
        }
    }

    fn forget(&mut self, id: &ObjectId) {
        self.seen.remove(id);
        self.complaints.forget(id);
    }
}

/// What no message may show.
fn hidden<'a>(held: &'a Held, attempt: Option<&'a Attempt>) -> Vec<&'a Secret> {
    let current = match held {
        Held::Ours(ours) => ours.value.as_ref(),
        _ => None,
    };
    current.into_iter().chain(attempt.map(|it| &it.minted.value)).collect()
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
        Ok(Err(error)) => Err(TokenError::Api(what, Box::new(error))),
        Err(_) => Err(TokenError::TimedOut(what)),
    }
}
