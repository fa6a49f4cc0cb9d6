//! The stream of one data plane, from hello to its end.
//!
//! At most one transaction is in flight: states that are published in the meantime are merged into the next one, so a slow pod
//! gets a later state instead of a queue. The first transaction is sent even if nothing differs: its commit tells the pod that
//! its state is current, and its acknowledgement tells us the same.
//!
//! A session ends when the pod disconnects or violates the protocol, when a newer stream of the same pod opens, when its token
//! is revoked (it reconnects with a new one), or with the operator; never because the API server is unreachable.

mod context;
mod end;
mod resume;

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Body;
use routeapi_channel::{
    Catalog, Key, Revision, Secret, ServiceAccountIssuer,
    frame::{self, FromDataPlane, FromOperator, Hello, PROTOCOL},
};
use routeapi_crds::condition;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time,
};
use tracing::{info, warn};

use super::{
    ack::{Fleet, PodReport, RejectedResource},
    acked_state::AckedState,
    lines::{Lines, Outbox, ReadError},
};
use crate::publish::Publication;
pub use context::{Peer, SessionContext};
pub use end::SessionEnd;
pub use resume::MAX_CONCURRENT_LISTS;
use resume::{HANDSHAKE_TIMEOUT, starting_state};

/// How often a ping is sent. Well below the idle timeouts of load balancers and service meshes.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// A pod that sends nothing for this long, which is three pings without a pong, is considered disconnected.
const IDLE_TIMEOUT: Duration = Duration::from_secs(35);

/// How long a pod may take to acknowledge a transaction. The largest configuration takes a few seconds; a pod that takes
/// longer hangs, and its stream is closed.
const ACK_TIMEOUT: Duration = Duration::from_secs(60);

/// Rejected resources of one acknowledgement whose message is stored. Of others only the resource is, so that a pod that rejects
/// everything costs little memory.
const MAX_MESSAGES: usize = 256;

/// A session after hello.
struct Session<B> {
    peer: Peer,
    since: i64,
    context: SessionContext,
    fleet: watch::Receiver<Arc<Fleet>>,
    lines: Lines<B>,
    outbox: Outbox,
    state: AckedState,
    /// Kept while `state` is a list from the pod.
    list_permit: Option<OwnedSemaphorePermit>,
    /// Whether the pod supports selectors.
    selectors: bool,
    in_flight: Option<InFlight>,
    /// Rejected resources of an acknowledgement whose last part has not arrived.
    rejected: Vec<(Key, String)>,
    sent_at: time::Instant,
    resumed: bool,
    acked_once: bool,
    sent_fleet: Option<(u32, u32)>,
    /// None for a pod that does not know them.
    response_ids: Option<watch::Receiver<Arc<[Secret]>>>,
    /// None for a pod that does not know it.
    issuer: Option<watch::Receiver<Option<Arc<ServiceAccountIssuer>>>>,
    last_received: time::Instant,
}

/// A transaction that is not acknowledged yet.
struct InFlight {
    revision: Revision,
    /// The state as it was sent.
    sent: Arc<Catalog>,
    /// The same state with selectors.
    state: Arc<Catalog>,
}

/// Runs a session to its end. `identify` returns the peer, given the instance in its hello; `token_revoked` completes when the
/// API server no longer confirms the peer's token.
pub async fn run<B>(
    identify: impl FnOnce(&str) -> Peer,
    context: SessionContext,
    body: B,
    mut outbox: Outbox,
    token_revoked: impl Future<Output = ()>,
) -> SessionEnd
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut lines = Lines::new(body);
    let hello = match time::timeout(HANDSHAKE_TIMEOUT, lines.next()).await {
        Ok(Ok(Some(FromDataPlane::Hello(hello)))) if hello.v == PROTOCOL => hello,
        Ok(Ok(Some(FromDataPlane::Hello(hello)))) => {
            return SessionEnd::Protocol(format!("protocol version {} is not supported, only {PROTOCOL}", hello.v));
        }
        Ok(Ok(Some(_))) => return SessionEnd::Protocol("the first line is not a hello".to_owned()),
        Ok(Ok(None)) => return SessionEnd::Closed,
        Ok(Err(error)) => return error.into(),
        Err(_) => return SessionEnd::TimedOut,
    };
    let (state, list_permit) = match starting_state(&hello, &context, &mut lines, &mut outbox).await {
        Ok(state) => state,
        Err(ended) => return ended,
    };
    let mut session = Session::begin(identify(&hello.instance), context, lines, outbox, &hello);
    (session.state, session.list_permit) = (state, list_permit);
    let ended = session.serve(token_revoked).await;
    session.context.acks.disconnected(&session.peer.uid, session.since);
    let pod = &session.peer.pod;
    info!(pod = %pod.name, namespace = %pod.namespace, reason = %ended, "data plane disconnected");
    ended
}

// === impl Session ===

impl<B> Session<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    fn begin(peer: Peer, context: SessionContext, lines: Lines<B>, outbox: Outbox, hello: &Hello) -> Self {
        let since = context.acks.connected(PodReport {
            uid: peer.uid.clone(),
            pod: peer.pod.clone(),
            since: jiff::Timestamp::now().as_millisecond(),
            revision: None,
            refused: Vec::new(),
            rejected_keys: Vec::new(),
        });
        let resumed = hello.revision.is_some();
        info!(pod = %peer.pod.name, namespace = %peer.pod.namespace, instance = %hello.instance, resumed, "data plane connected");
        Self {
            fleet: context.acks.fleet(),
            state: AckedState::default(),
            list_permit: None,
            selectors: hello.knows(frame::FEATURE_NAMESPACES),
            rejected: Vec::new(),
            last_received: time::Instant::now(),
            sent_at: time::Instant::now(),
            in_flight: None,
            sent_fleet: None,
            response_ids: hello.knows(frame::FEATURE_RESPONSE_IDS).then(|| context.response_ids.subscribe()),
            issuer: hello.knows(frame::FEATURE_SERVICE_ACCOUNTS).then(|| context.issuer.subscribe()),
            acked_once: false,
            peer,
            since,
            context,
            lines,
            outbox,
            resumed,
        }
    }

    async fn serve(&mut self, token_revoked: impl Future<Output = ()>) -> SessionEnd {
        let shutdown = self.context.shutdown.clone();
        let mut token_revoked = std::pin::pin!(token_revoked);
        let mut ping = time::interval_at(time::Instant::now() + PING_INTERVAL, PING_INTERVAL);
        let mut changed = self.context.publications.clone();
        changed.mark_changed();
        if let Err(ended) = self.send_response_id_keys().await {
            return ended;
        }
        if let Err(ended) = self.send_issuer().await {
            return ended;
        }
        loop {
            let silence = self.last_received + IDLE_TIMEOUT;
            let step = tokio::select! {
                () = shutdown.cancelled() => Err(SessionEnd::Shutdown),
                () = &mut token_revoked => Err(SessionEnd::TokenRevoked),
                () = time::sleep_until(silence) => Err(SessionEnd::TimedOut),
                line = self.lines.next() => self.handle(line).await,
                Ok(()) = changed.changed(), if self.in_flight.is_none() => {
                    let newest = changed.borrow_and_update().clone();
                    self.send_state(newest.as_deref()).await
                }
                Ok(()) = self.fleet.changed() => self.send_fleet().await,
                () = changed_if_any(&mut self.response_ids) => self.send_response_id_keys().await,
                () = changed_if_any(&mut self.issuer) => self.send_issuer().await,
                _ = ping.tick() => self.ping().await,
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    async fn handle(&mut self, line: Result<Option<FromDataPlane>, ReadError>) -> Result<(), SessionEnd> {
        self.last_received = time::Instant::now();
        match line? {
            None => Err(SessionEnd::Closed),
            Some(FromDataPlane::Pong {}) => Ok(()),
            Some(FromDataPlane::Credentials { rejected }) if rejected.len() > frame::PART => {
                Err(SessionEnd::Protocol(format!("more than {} rejected keys in one frame", frame::PART)))
            }
            Some(FromDataPlane::Credentials { mut rejected }) => {
                let messages = rejected.iter_mut().filter_map(|key| key.message.as_mut());
                messages.for_each(|message| message.truncate(message.floor_char_boundary(frame::MAX_REFUSAL)));
                self.context.acks.rejected_keys(&self.peer.uid, self.since, rejected);
                Ok(())
            }
            Some(FromDataPlane::Hello(_)) => Err(SessionEnd::Protocol("a second hello".to_owned())),
            Some(FromDataPlane::Held { .. }) => Err(SessionEnd::Protocol("unexpected held frame".to_owned())),
            Some(FromDataPlane::Ack { revision }) => self.acknowledged(&revision, Vec::new()).await,
            Some(FromDataPlane::Nack { revision, errors, more }) => {
                let known = self.in_flight.as_ref().map_or(0, |transaction| transaction.sent.len());
                if self.rejected.len() + errors.len() > known {
                    return Err(SessionEnd::Protocol("more rejected resources than were sent".to_owned()));
                }
                for error in errors {
                    let text = if self.rejected.len() < MAX_MESSAGES { &*error.message } else { "rejected as well" };
                    self.rejected.push((error.key, condition::shorten(text, frame::MAX_REFUSAL)));
                }
                if more {
                    return Ok(());
                }
                let rejected = std::mem::take(&mut self.rejected);
                self.acknowledged(&revision, rejected).await
            }
        }
    }

    async fn acknowledged(&mut self, revision: &Revision, rejected: Vec<(Key, String)>) -> Result<(), SessionEnd> {
        let Some(InFlight { revision: sent, sent: target, state }) =
            self.in_flight.take().filter(|transaction| transaction.revision == *revision)
        else {
            return Err(SessionEnd::Protocol(format!("acknowledgement of {revision}, which was not sent")));
        };
        self.list_permit = None;
        for (key, message) in rejected.iter().take(MAX_MESSAGES) {
            warn!(pod = %self.peer.pod.name, resource = %format!("{} {}", key.kind, key.id), message, "data plane rejected a resource");
        }
        self.context.metrics.answered(rejected.is_empty());
        let keys: Vec<_> = rejected.iter().map(|(key, _)| key.clone()).collect();
        self.state = AckedState::after(&sent, &target, &keys);
        // With the versions of the state with selectors, which statuses are about, whichever was sent.
        let resource =
            |(key, message)| Some(RejectedResource { version: state.get(&key)?.version.clone(), key, message });
        let rejected = rejected.into_iter().filter_map(resource).collect();
        self.context.acks.acknowledged(&self.peer.uid, self.since, &sent, rejected);
        if !std::mem::replace(&mut self.acked_once, true) {
            self.send_fleet().await?;
        }
        let newest = self.context.publications.borrow().clone();
        self.send_state(newest.as_deref()).await
    }

    /// Starts a transaction if the state has changed and none is in flight.
    async fn send_state(&mut self, newest: Option<&Publication>) -> Result<(), SessionEnd> {
        let Some(newest) = newest.filter(|_| self.in_flight.is_none()) else { return Ok(()) };
        let selectorless = if self.selectors { None } else { newest.selectorless() };
        let (state, newest) = (Arc::clone(&newest.catalog), selectorless.as_deref().unwrap_or(newest));
        if self.acked_once && self.state.revision.as_ref() == Some(&newest.revision) {
            return Ok(());
        }
        let diff = self.state.diff_to(&newest.catalog);
        let begin = FromOperator::Begin {
            revision: newest.revision.clone(),
            base: self.state.revision.clone(),
            count: diff.put.len() + diff.del.len(),
            floor: newest.min_resource_versions.clone(),
        };
        self.put(&begin).await?;
        for key in &diff.put {
            if let Some(put) = newest.put_frame(key) {
                self.outbox.put_frame(&put).await?;
            }
        }
        for key in &diff.del {
            self.put(&FromOperator::Del { t: key.kind, id: key.id.clone() }).await?;
        }
        self.send(&FromOperator::Commit { revision: newest.revision.clone() }).await?;
        self.context.metrics.sent(diff.put.len(), diff.del.len());
        let (revision, sent) = (newest.revision.clone(), Arc::clone(&newest.catalog));
        self.in_flight = Some(InFlight { revision, sent, state });
        self.sent_at = time::Instant::now();
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), SessionEnd> {
        if !self.context.acks.is_newest(&self.peer.uid, self.since) {
            return Err(SessionEnd::Superseded);
        }
        if self.in_flight.is_some() && self.sent_at.elapsed() > ACK_TIMEOUT {
            return Err(SessionEnd::TimedOut);
        }
        self.send(&FromOperator::Ping {}).await
    }

    /// Sends the pod its share of limits if it has changed and pods had time to reconnect.
    async fn send_fleet(&mut self) -> Result<(), SessionEnd> {
        let fleet = self.fleet.borrow_and_update().clone();
        if !self.acked_once || (self.resumed && !fleet.stable) {
            return Ok(());
        }
        let Ok(rank) = fleet.uids.binary_search(&self.peer.uid) else { return Ok(()) };
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let (pods, rank) = (count(fleet.uids.len()), count(rank));
        if self.sent_fleet.replace((pods, rank)) == Some((pods, rank)) {
            return Ok(());
        }
        self.send(&FromOperator::Fleet { pods, rank }).await
    }

    /// Sends the pod the keys of ids of stored responses, if there are any.
    async fn send_response_id_keys(&mut self) -> Result<(), SessionEnd> {
        let keys = self.response_ids.as_mut().map(|keys| keys.borrow_and_update().to_vec());
        match keys.filter(|keys| !keys.is_empty()) {
            Some(keys) => self.send(&FromOperator::ResponseIdKeys { keys }).await,
            None => Ok(()),
        }
    }

    /// Sends the pod who issues ServiceAccount tokens, if that is known.
    async fn send_issuer(&mut self) -> Result<(), SessionEnd> {
        let issuer = self.issuer.as_mut().and_then(|issuer| issuer.borrow_and_update().clone());
        match issuer {
            Some(issuer) => self.send(&FromOperator::ServiceAccountIssuer((*issuer).clone())).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, frame: &FromOperator) -> Result<(), SessionEnd> {
        self.put(frame).await?;
        Ok(self.outbox.flush().await?)
    }

    async fn put(&mut self, frame: &FromOperator) -> Result<(), SessionEnd> {
        Ok(self.outbox.put_frame(frame).await?)
    }
}

/// Completes when a value has changed; never without one.
async fn changed_if_any<T>(value: &mut Option<watch::Receiver<T>>) {
    if let Some(value) = value
        && value.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests;
