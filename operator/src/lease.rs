//! Leader election: the holder of one `coordination.k8s.io/Lease` writes.
//!
//! The rules are those of client-go: a lease lasts 15 s, its holder steps down after 10 s without a renewal, others acquire it
//! when they have seen no renewal for 15 s by their own clock (clocks of nodes differ). Every write names the resourceVersion
//! that was read, so a lost race is a conflict. On shutdown the holder clears the lease, so that another replica need not
//! wait. The holder renews every 5 s over the version that it wrote itself: one request, twelve times a minute.

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

/// Defaults of client-go.
const LEASE_DURATION: Duration = Duration::from_secs(15);
const RENEW_DEADLINE: Duration = Duration::from_secs(10);

/// How often the holder renews; after a failure it tries again as often as others look.
const RENEW_PERIOD: Duration = Duration::from_secs(5);

/// How often others look whether the lease is free: a replica takes over within two seconds of an orderly stop.
const RETRY_PERIOD: Duration = Duration::from_millis(1500);

/// How long clearing the lease may take on shutdown.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(1500);

/// One replica's view of the lease.
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    leader: watch::Sender<bool>,
    observed: Option<Observed>,
    /// The lease as this replica wrote it last, until a write fails.
    held: Option<Lease>,
    renewed_at: Instant,
}

/// The holder's last renewal, and when this replica saw it.
#[derive(Clone, Debug, PartialEq)]
struct Observed {
    holder: String,
    renewal: Option<Timestamp>,
    at: Instant,
}

/// What to do with a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// This replica holds it.
    Renew,
    /// It has no holder, or the holder has not renewed it in time.
    Acquire,
    /// Another replica holds it.
    Wait,
}

// === impl Election ===

impl Election {
    /// A candidate for the lease that these settings name.
    pub fn new(settings: &Settings, client: &Client) -> Self {
        Self {
            api: Api::namespaced(client.clone(), &settings.namespace),
            name: settings.lease.clone(),
            identity: settings.identity.clone(),
            leader: watch::Sender::new(false),
            observed: None,
            held: None,
            renewed_at: Instant::now(),
        }
    }

    /// Whether this replica is the leader now.
    pub fn leader(&self) -> watch::Receiver<bool> {
        self.leader.subscribe()
    }

    /// Takes part until shutdown, then releases the lease.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let renewed = tokio::select! {
                renewed = time::timeout(RENEW_DEADLINE, self.acquire_or_renew()) => renewed,
                () = shutdown.cancelled() => break,
            };
            match renewed {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(lease = self.name, %error, "cannot acquire or renew the lease"),
                Err(_) => warn!(lease = self.name, "timed out waiting for the API server"),
            }
            if *self.leader.borrow() && self.renewed_at.elapsed() >= RENEW_DEADLINE {
                self.set_leader(false);
            }
            let period = if self.held.is_some() { RENEW_PERIOD } else { RETRY_PERIOD };
            tokio::select! {
                () = time::sleep(period) => {}
                () = shutdown.cancelled() => break,
            }
        }
        let was_leader = *self.leader.borrow();
        self.set_leader(false);
        if was_leader {
            let released = time::timeout(RELEASE_TIMEOUT, self.release()).await;
            info!(lease = self.name, released = matches!(released, Ok(Ok(()))), "lease released");
        }
    }

    async fn acquire_or_renew(&mut self) -> Result<(), kube::Error> {
        let started = Instant::now();
        if let Some(held) = self.held.take() {
            return self.replace(held, started).await;
        }
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(self.name.clone());
            lease.spec = Some(self.spec(None));
            return match self.api.create(&PostParams::default(), &lease).await {
                Ok(lease) => {
                    self.renewed(lease, started);
                    Ok(())
                }
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                Err(error) => Err(error),
            };
        };
        self.observe(lease.spec.as_ref(), started);
        if decide(self.observed.as_ref(), &self.identity, started) == Action::Wait {
            self.set_leader(false);
            return Ok(());
        }
        self.replace(lease, started).await
    }

    /// Writes a lease over the version that was read or written before.
    async fn replace(&mut self, lease: Lease, started: Instant) -> Result<(), kube::Error> {
        let spec = self.spec(lease.spec.as_ref());
        match self.api.replace(&self.name, &PostParams::default(), &Lease { spec: Some(spec), ..lease }).await {
            Ok(lease) => {
                self.renewed(lease, started);
                Ok(())
            }
            // Somebody else wrote: the next look tells who.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn renewed(&mut self, lease: Lease, since: Instant) {
        self.held = Some(lease);
        self.renewed_at = since;
        self.set_leader(true);
    }

    fn set_leader(&self, leads: bool) {
        let changed = self.leader.send_if_modified(|held| std::mem::replace(held, leads) != leads);
        if changed {
            info!(lease = self.name, leader = leads, "leadership changed");
        }
    }

    fn observe(&mut self, spec: Option<&LeaseSpec>, now: Instant) {
        let holder = spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        let renewal = spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
        let same =
            self.observed.as_ref().is_some_and(|observed| observed.holder == holder && observed.renewal == renewal);
        if !same {
            self.observed = Some(Observed { holder, renewal, at: now });
        }
    }

    fn spec(&self, held: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = held.filter(|spec| spec.holder_identity.as_ref() == Some(&self.identity));
        let transitions = held.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: ours.and_then(|spec| spec.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions.saturating_add(i32::from(ours.is_none() && held.is_some()))),
            ..LeaseSpec::default()
        }
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let lease = self.api.get(&self.name).await?;
        let Some(spec) = lease.spec.clone().filter(|spec| spec.holder_identity.as_ref() == Some(&self.identity)) else {
            return Ok(());
        };
        let spec = LeaseSpec { holder_identity: None, lease_duration_seconds: Some(1), ..spec };
        self.api.replace(&self.name, &PostParams::default(), &Lease { spec: Some(spec), ..lease }).await.map(drop)
    }
}

fn decide(observed: Option<&Observed>, identity: &str, now: Instant) -> Action {
    match observed {
        None => Action::Acquire,
        Some(observed) if observed.holder.is_empty() => Action::Acquire,
        Some(observed) if observed.holder == identity => Action::Renew,
        Some(observed) if now.duration_since(observed.at) >= LEASE_DURATION => Action::Acquire,
        Some(_) => Action::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(holder: &str, at: Instant) -> Option<Observed> {
        Some(Observed { holder: holder.into(), renewal: None, at })
    }

    #[tokio::test]
    async fn a_lease_is_acquired_when_free_or_not_renewed_for_its_duration() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(decide(None, "a", start), Action::Acquire);
        assert_eq!(decide(observed("", start).as_ref(), "a", start), Action::Acquire);
        assert_eq!(decide(observed("a", start).as_ref(), "a", later(60)), Action::Renew);
        assert_eq!(decide(observed("b", start).as_ref(), "a", later(14)), Action::Wait);
        assert_eq!(decide(observed("b", start).as_ref(), "a", later(15)), Action::Acquire);
    }
}
