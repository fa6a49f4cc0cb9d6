//! Keeps what proves to upstreams that we may call them fresh: one place per upstream account, into which whoever renews
//! it publishes, and out of which each request takes what holds in the moment it goes out.
//!
//! - A key is published by whoever puts a configuration in force: one that was rotated in its Secret is taken up by requests
//!   that are planned already and wait for a connection.
//! - An identity's tokens are fetched ahead of need by a task of their own ([`renewal`]), which publishes here too. Once the
//!   first has come, no request waits for one.
//! - Where an identity has a session for each ApiToken, each has a place of its own below the provider's ([`sessions`]).
//!
//! A place belongs to a provider and to all that is said of it but its credential. A provider that is sent elsewhere gets
//! another one, so that a new key never goes to the old address.

mod aws;
mod azure;
mod environment;
mod google;
mod identity;
mod local;
mod renewal;
mod schedule;
mod sessions;
mod token;
mod token_client;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use routeapi_channel::ObjectId;
use tokio::{sync::watch, time::timeout};

pub use self::{
    aws::fixed as aws_keys,
    environment::CloudEnvironment,
    identity::Identity,
    renewal::{Renewal, follow},
    token_client::TokenClient,
};
use self::{schedule::Schedule, sessions::Sessions, token::FetchError};
use super::{authorization::Authorization, payload::Stale};
use crate::clock::{self, Now};

/// How old a token is at least that is replaced because an upstream rejects it: whoever makes an upstream reject tokens does not
/// make this process fetch one for each request.
const REPLACE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a request waits for the replacement.
const REPLACE_TIMEOUT: Duration = Duration::from_secs(5);

/// What proves to one upstream account that we may call it, as of now.
#[derive(Debug)]
pub struct Credentials {
    current: watch::Sender<Arc<Authorization>>,
    /// How often fetching one has ended, well or not.
    attempts: watch::Sender<u64>,
    /// When its tokens are fetched; none for what does not have to be.
    schedule: Mutex<Option<Schedule>>,
    /// Whether each token has a session of its own: few do, and every request asks.
    per_token: AtomicBool,
    /// Those of the sessions that tokens have of their own.
    sessions: Sessions<Arc<Self>>,
}

/// Where a proof comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration has it.
    Fixed(Authorization),
    /// It is fetched.
    Identity(Arc<Identity>),
}

// === impl Credentials ===

impl Credentials {
    /// From this source. Nothing is fetched before a configuration that refers to it is in force.
    pub fn new(source: &Source) -> Self {
        let first = match source {
            Source::Fixed(authorization) => authorization.clone(),
            Source::Identity(_) => Authorization::Pending,
        };
        let (current, attempts) = (watch::Sender::new(Arc::new(first)), watch::Sender::new(0));
        let (per_token, sessions) = (AtomicBool::new(false), Sessions::default());
        Self { current, attempts, schedule: Mutex::new(None), per_token, sessions }
    }

    /// Takes it from this source from now on, for every request that has not gone out yet. Tokens of one identity serve until
    /// the first of another has come, or they expire.
    pub fn configure(&self, source: Source) {
        let mut schedule = self.schedule();
        match source {
            Source::Fixed(authorization) => {
                *schedule = None;
                self.per_token.store(false, Ordering::Relaxed);
                self.sessions.clear();
                self.publish(authorization);
            }
            Source::Identity(identity) => {
                if schedule.as_ref().is_some_and(|schedule| *schedule.identity == *identity) {
                    return;
                }
                // A session is of an identity that is not asked any more.
                self.sessions.clear();
                self.per_token.store(identity.is_per_token(), Ordering::Relaxed);
                if schedule.replace(Schedule::new(identity)).is_none() {
                    self.publish(Authorization::Pending);
                }
            }
        }
    }

    /// Those for the requests of one token: these, or those of its own session.
    pub fn of_token(self: &Arc<Self>, token: &ObjectId, now: Instant) -> Arc<Self> {
        if !self.per_token.load(Ordering::Relaxed) {
            return Arc::clone(self);
        }
        // Held until the session is there, so that none is made of an identity that has just been replaced.
        let schedule = self.schedule();
        let Some(identity) = schedule.as_ref().map(|it| &it.identity).filter(|identity| identity.is_per_token()) else {
            return Arc::clone(self);
        };
        self.sessions.get_or_make(token, now, || {
            let source = Source::Identity(Arc::new(identity.of_token(token)));
            let session = Self::new(&source);
            session.configure(source);
            Arc::new(session)
        })
    }

    /// These, and those of the sessions in use.
    fn with_sessions(self: Arc<Self>, now: Instant) -> Vec<Arc<Self>> {
        let mut all = self.sessions.in_use(now);
        all.push(self);
        all
    }

    /// What a request that goes out now is to use.
    pub fn current(&self) -> Arc<Authorization> {
        Arc::clone(&self.current.borrow())
    }

    /// Waits for the first token, if none has come yet. Fails as soon as fetching it has failed, so that another upstream
    /// can be tried.
    ///
    /// # Errors
    /// When there is none.
    pub async fn ready(&self) -> Result<(), Stale> {
        if !matches!(**self.current.borrow(), Authorization::Pending) {
            return Ok(());
        }
        let mut watch = self.watch();
        let come = watch.wait_for(|current| !matches!(**current, Authorization::Pending)).await;
        come.map(drop).map_err(|_| Stale)
    }

    /// Whether something newer can be used than what the upstream has just rejected, as after a token was revoked before its
    /// end. Fetches a token for that, at most once in [`REPLACE_INTERVAL`], and waits for it.
    pub async fn replace(&self, rejected: &Arc<Authorization>) -> bool {
        let is_newer = || !Arc::ptr_eq(&self.current.borrow(), rejected);
        if is_newer() {
            return true;
        }
        let mut attempts = self.attempts.subscribe();
        let asked = self.schedule().as_mut().is_some_and(|schedule| schedule.replace(clock::mono(), REPLACE_INTERVAL));
        asked && timeout(REPLACE_TIMEOUT, attempts.changed()).await.is_ok_and(|ended| ended.is_ok()) && is_newer()
    }

    /// Follows it: for whoever has to know that something newer has come.
    pub fn watch(&self) -> watch::Receiver<Arc<Authorization>> {
        self.current.subscribe()
    }

    /// The identity that a token is to be fetched for now; whoever gets it has to call [`Self::fetched`].
    fn begin(&self, now: Instant) -> Option<Arc<Identity>> {
        self.schedule().as_mut()?.begin(now)
    }

    /// What came of fetching one. Returns whether it was for the identity that is still asked for.
    fn fetched(&self, identity: &Arc<Identity>, fetched: Result<Authorization, &FetchError>, now: Now) -> bool {
        let mut schedule = self.schedule();
        let Some(schedule) = schedule.as_mut() else { return false };
        if !Arc::ptr_eq(&schedule.identity, identity) {
            return false;
        }
        match fetched {
            Ok(authorization) => {
                schedule.succeeded(authorization.expires(), now);
                // The same again is newer all the same: it was issued now.
                self.current.send_replace(Arc::new(authorization));
            }
            Err(error) => {
                schedule.failed(error, now.mono);
                if matches!(*self.current(), Authorization::Pending) {
                    self.publish(Authorization::Unavailable);
                }
            }
        }
        self.attempts.send_modify(|count| *count = count.wrapping_add(1));
        true
    }

    fn publish(&self, authorization: Authorization) {
        self.current.send_if_modified(|current| {
            let differs = **current != authorization;
            if differs {
                *current = Arc::new(authorization);
            }
            differs
        });
    }

    fn schedule(&self) -> MutexGuard<'_, Option<Schedule>> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
