//! Which replica writes: the holder of one `coordination.k8s.io/Lease`.
//!
//! The rules are those of client-go: a lease lasts 15 s, its holder renews every 2 s and steps down after 10 s without
//! success, others take it when they have seen no renewal for 15 s by their own clock (clocks of nodes differ). Every
//! write names the resourceVersion that was read, so a lost race is a conflict. On shutdown the holder empties the lease
//! and another replica need not wait.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::settings::Settings;

const DURATION: Duration = Duration::from_secs(15);
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);

/// One replica's view of the lease.
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    leader: watch::Sender<bool>,
    observed: Option<Observed>,
    renewed: Instant,
}

/// The holder's last renewal, and when this replica saw it.
#[derive(Clone, Debug, PartialEq)]
struct Observed {
    holder: String,
    renewal: Option<Timestamp>,
    at: Instant,
}

/// What to do about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// It is ours: renew it.
    Renew,
    /// It is nobody's, or its holder is gone: take it.
    Take,
    /// Somebody else holds it.
    Wait,
}

// === impl Election ===

impl Election {
    /// Of the lease that these settings name.
    pub fn new(settings: &Settings, client: &Client) -> Self {
        Self {
            api: Api::namespaced(client.clone(), &settings.namespace),
            name: settings.lease.clone(),
            identity: settings.identity.clone(),
            leader: watch::Sender::new(false),
            observed: None,
            renewed: Instant::now(),
        }
    }

    /// Whether this replica writes now.
    pub fn leader(&self) -> watch::Receiver<bool> {
        self.leader.subscribe()
    }

    /// Takes part until shutdown, then lets go of the lease.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            match time::timeout(RENEW_DEADLINE, self.turn()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(lease = self.name, error = %error, "lease"),
                Err(_) => warn!(lease = self.name, "the API server does not answer"),
            }
            if *self.leader.borrow() && self.renewed.elapsed() >= RENEW_DEADLINE {
                self.set(false);
            }
            tokio::select! {
                () = time::sleep(RETRY) => {}
                () = shutdown.cancelled() => break,
            }
        }
        let led = *self.leader.borrow();
        self.set(false);
        if led {
            let released = time::timeout(RETRY, self.release()).await;
            info!(lease = self.name, released = matches!(released, Ok(Ok(()))), "lease let go");
        }
    }

    async fn turn(&mut self) -> Result<(), kube::Error> {
        let started = Instant::now();
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(self.name.clone());
            lease.spec = Some(self.spec(None));
            return match self.api.create(&PostParams::default(), &lease).await {
                Ok(_) => {
                    self.hold(started);
                    Ok(())
                }
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                Err(error) => Err(error),
            };
        };
        self.observe(lease.spec.as_ref(), started);
        let next = decide(self.observed.as_ref(), &self.identity, started);
        if next == Move::Wait {
            self.set(false);
            return Ok(());
        }
        let spec = self.spec(lease.spec.as_ref());
        match self.api.replace(&self.name, &PostParams::default(), &Lease { spec: Some(spec), ..lease }).await {
            Ok(_) => {
                self.hold(started);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn hold(&mut self, since: Instant) {
        self.renewed = since;
        self.set(true);
    }

    fn set(&self, leads: bool) {
        let changed = self.leader.send_if_modified(|held| std::mem::replace(held, leads) != leads);
        if changed {
            info!(lease = self.name, leads, "lease");
        }
    }

    fn observe(&mut self, spec: Option<&LeaseSpec>, now: Instant) {
        let holder = spec.and_then(|it| it.holder_identity.clone()).unwrap_or_default();
        let renewal = spec.and_then(|it| it.renew_time.as_ref()).map(|it| it.0);
        let same = self.observed.as_ref().is_some_and(|it| it.holder == holder && it.renewal == renewal);
        if !same {
            self.observed = Some(Observed { holder, renewal, at: now });
        }
    }

    fn spec(&self, held: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = held.filter(|it| it.holder_identity.as_ref() == Some(&self.identity));
        let transitions = held.and_then(|it| it.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: ours.and_then(|it| it.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions.saturating_add(i32::from(ours.is_none() && held.is_some()))),
            ..LeaseSpec::default()
        }
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let lease = self.api.get(&self.name).await?;
        let Some(spec) = lease.spec.clone().filter(|it| it.holder_identity.as_ref() == Some(&self.identity)) else {
            return Ok(());
        };
        let spec = LeaseSpec { holder_identity: None, lease_duration_seconds: Some(1), ..spec };
        self.api.replace(&self.name, &PostParams::default(), &Lease { spec: Some(spec), ..lease }).await.map(drop)
    }
}

fn decide(observed: Option<&Observed>, identity: &str, now: Instant) -> Move {
    match observed {
        None => Move::Take,
        Some(it) if it.holder.is_empty() => Move::Take,
        Some(it) if it.holder == identity => Move::Renew,
        Some(it) if now.duration_since(it.at) >= DURATION => Move::Take,
        Some(_) => Move::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(holder: &str, at: Instant) -> Option<Observed> {
        Some(Observed { holder: holder.into(), renewal: None, at })
    }

    #[tokio::test]
    async fn a_lease_is_taken_only_when_free_or_silent_for_its_duration() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(decide(None, "a", start), Move::Take);
        assert_eq!(decide(seen("", start).as_ref(), "a", start), Move::Take);
        assert_eq!(decide(seen("a", start).as_ref(), "a", later(60)), Move::Renew);
        assert_eq!(decide(seen("b", start).as_ref(), "a", later(14)), Move::Wait);
        assert_eq!(decide(seen("b", start).as_ref(), "a", later(15)), Move::Take);
    }
}
