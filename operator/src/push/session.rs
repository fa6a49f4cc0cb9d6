//! One data plane's stream, from its hello to its end.
//!
//! One transaction is in flight at most: what is published meanwhile is merged into the next, so a slow pod gets a later
//! state instead of a queue. The first transaction is sent even if nothing differs: its commit tells the pod that its
//! state is the current one, its answer tells us the same.
//!
//! Ends when the pod leaves or misbehaves, when a newer stream of the same pod opens, when its token ends (it comes back
//! with a fresh one), or with the operator; never because the API server cannot be reached.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body::Body;
use routeapi_channel::{
    Catalog, Key, Revision,
    frame::{FromDataPlane, FromOperator, Hello, PROTOCOL},
};
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    ack::{AckBook, Fleet, PodName, PodReport, Refusal},
    held::Held,
    lines::{Lines, Outbox, ReadError, SendError},
};
use crate::{
    publish::{Publication, line},
    telemetry::Metrics,
};

/// How often a ping is sent.
const PING: Duration = Duration::from_secs(10);

/// Without a word for this long the pod is taken for gone: three pings unanswered.
const SILENCE: Duration = Duration::from_secs(35);

/// How long a pod may take to answer a transaction.
const ANSWER: Duration = Duration::from_secs(60);

/// How long a pod may take to say hello.
const HELLO: Duration = Duration::from_secs(10);

/// Who is at the other end, as the token says.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Key of the pod everywhere.
    pub uid: String,
    /// For people.
    pub pod: PodName,
    /// When its token ends.
    pub expires: Option<SystemTime>,
}

/// What every session works with.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What to send.
    pub publications: watch::Receiver<Option<Arc<Publication>>>,
    /// Where answers are noted.
    pub acks: Arc<AckBook>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Ends every session in order.
    pub shutdown: CancellationToken,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The pod closed its side.
    #[error("the pod closed the stream")]
    ByPod,
    /// The operator stops.
    #[error("the operator stops")]
    Shutdown,
    /// Its token ended.
    #[error("its token ended")]
    TokenEnded,
    /// A newer stream of the same pod opened.
    #[error("the pod opened a newer stream")]
    Superseded,
    /// It said nothing for too long.
    #[error("the pod said nothing for too long")]
    Silent,
    /// It does not keep to the protocol.
    #[error("the pod broke the protocol: {0}")]
    Protocol(String),
    /// A line could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A line could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// A session between hello and end.
struct Session<B> {
    peer: Peer,
    since: i64,
    sources: Sources,
    fleet: watch::Receiver<Arc<Fleet>>,
    lines: Lines<B>,
    outbox: Outbox,
    held: Held,
    in_flight: Option<(Revision, Arc<Catalog>)>,
    asked: time::Instant,
    resumed: bool,
    greeted: bool,
    told_fleet: Option<(u32, u32)>,
    heard: time::Instant,
}

/// Runs a stream to its end. `identify` names the peer, given the instance it says it is; `token_ends` completes when the
/// peer's token has ended and it can come back with another.
pub async fn run<B>(
    identify: impl FnOnce(&str) -> Peer,
    sources: Sources,
    body: B,
    outbox: Outbox,
    token_ends: impl Future<Output = ()>,
) -> Ended
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut lines = Lines::new(body);
    let hello = match time::timeout(HELLO, lines.next()).await {
        Ok(Ok(Some(FromDataPlane::Hello(hello)))) if hello.v == PROTOCOL => hello,
        Ok(Ok(Some(FromDataPlane::Hello(hello)))) => {
            return Ended::Protocol(format!("it speaks version {}, this operator {PROTOCOL}", hello.v));
        }
        Ok(Ok(Some(_))) => return Ended::Protocol("the first line is not a hello".to_owned()),
        Ok(Ok(None)) => return Ended::ByPod,
        Ok(Err(error)) => return error.into(),
        Err(_) => return Ended::Silent,
    };
    let mut session = Session::begin(identify(&hello.instance), sources, lines, outbox, &hello);
    let ended = session.serve(token_ends).await;
    session.sources.acks.left(&session.peer.uid, session.since);
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
    fn begin(peer: Peer, sources: Sources, lines: Lines<B>, outbox: Outbox, hello: &Hello) -> Self {
        let since = sources.acks.joined(PodReport {
            uid: peer.uid.clone(),
            pod: peer.pod.clone(),
            since: jiff::Timestamp::now().as_millisecond(),
            revision: None,
            refused: Vec::new(),
        });
        let resumed = hello.revision.is_some();
        info!(pod = %peer.pod.name, namespace = %peer.pod.namespace, instance = %hello.instance, resumed, "data plane connected");
        Self {
            fleet: sources.acks.fleet(),
            held: Held::of(hello),
            heard: time::Instant::now(),
            asked: time::Instant::now(),
            in_flight: None,
            told_fleet: None,
            greeted: false,
            peer,
            since,
            sources,
            lines,
            outbox,
            resumed,
        }
    }

    async fn serve(&mut self, token_ends: impl Future<Output = ()>) -> Ended {
        let shutdown = self.sources.shutdown.clone();
        let mut token_ends = std::pin::pin!(token_ends);
        let mut ping = time::interval_at(time::Instant::now() + PING, PING);
        let mut changed = self.sources.publications.clone();
        changed.mark_changed();
        loop {
            let silence = self.heard + SILENCE;
            let step = tokio::select! {
                () = shutdown.cancelled() => Err(Ended::Shutdown),
                () = &mut token_ends => Err(Ended::TokenEnded),
                () = time::sleep_until(silence) => Err(Ended::Silent),
                line = self.lines.next() => self.hear(line).await,
                Ok(()) = changed.changed(), if self.in_flight.is_none() => {
                    let newest = changed.borrow_and_update().clone();
                    self.tell(newest.as_deref()).await
                }
                Ok(()) = self.fleet.changed() => self.tell_fleet().await,
                _ = ping.tick() => self.ping().await,
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    async fn hear(&mut self, line: Result<Option<FromDataPlane>, ReadError>) -> Result<(), Ended> {
        self.heard = time::Instant::now();
        match line? {
            None => Err(Ended::ByPod),
            Some(FromDataPlane::Pong {}) => Ok(()),
            Some(FromDataPlane::Hello(_)) => Err(Ended::Protocol("a second hello".to_owned())),
            Some(FromDataPlane::Ack { revision }) => self.answered(&revision, Vec::new()).await,
            Some(FromDataPlane::Nack { revision, errors }) => {
                let refused = errors.into_iter().map(|error| (error.key, error.message)).collect();
                self.answered(&revision, refused).await
            }
        }
    }

    async fn answered(&mut self, revision: &Revision, refused: Vec<(Key, String)>) -> Result<(), Ended> {
        let Some((sent, target)) = self.in_flight.take().filter(|(sent, _)| sent == revision) else {
            return Err(Ended::Protocol(format!("it answers to {revision}, which was not asked")));
        };
        for (key, message) in &refused {
            warn!(pod = %self.peer.pod.name, resource = %format!("{} {}", key.kind, key.id), message, "refused");
        }
        self.sources.metrics.answered(refused.is_empty());
        let keys: Vec<_> = refused.iter().map(|(key, _)| key.clone()).collect();
        self.held = Held::after(&sent, &target, &keys);
        let refusal = |(key, message)| Some(Refusal { version: self.held.refused().get(&key)?.clone(), key, message });
        let refusals = refused.into_iter().filter_map(refusal).collect();
        self.sources.acks.answered(&self.peer.uid, self.since, &sent, refusals);
        if !std::mem::replace(&mut self.greeted, true) {
            self.tell_fleet().await?;
        }
        let newest = self.sources.publications.borrow().clone();
        self.tell(newest.as_deref()).await
    }

    /// Starts a transaction, if one is due and none is in flight.
    async fn tell(&mut self, newest: Option<&Publication>) -> Result<(), Ended> {
        let Some(newest) = newest.filter(|_| self.in_flight.is_none()) else { return Ok(()) };
        if self.greeted && self.held.revision.as_ref() == Some(&newest.revision) {
            return Ok(());
        }
        let diff = self.held.to(&newest.catalog);
        let begin = FromOperator::Begin {
            revision: newest.revision.clone(),
            base: self.held.revision.clone(),
            count: diff.put.len() + diff.del.len(),
            floor: newest.floor.clone(),
        };
        self.put(&begin).await?;
        for key in &diff.put {
            if let Some(line) = newest.put_line(key) {
                self.outbox.put(line).await?;
            }
        }
        for key in &diff.del {
            self.put(&FromOperator::Del { t: key.kind, id: key.id.clone() }).await?;
        }
        self.say(&FromOperator::Commit { revision: newest.revision.clone() }).await?;
        self.sources.metrics.sent(diff.put.len(), diff.del.len());
        self.in_flight = Some((newest.revision.clone(), Arc::clone(&newest.catalog)));
        self.asked = time::Instant::now();
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), Ended> {
        if !self.sources.acks.is_newest(&self.peer.uid, self.since) {
            return Err(Ended::Superseded);
        }
        if self.in_flight.is_some() && self.asked.elapsed() > ANSWER {
            return Err(Ended::Silent);
        }
        self.say(&FromOperator::Ping {}).await
    }

    /// Tells the pod its share of limits when that changed and can be trusted.
    async fn tell_fleet(&mut self) -> Result<(), Ended> {
        let fleet = self.fleet.borrow_and_update().clone();
        if !self.greeted || (self.resumed && !fleet.settled) {
            return Ok(());
        }
        let Ok(rank) = fleet.uids.binary_search(&self.peer.uid) else { return Ok(()) };
        let count = |it| u32::try_from(it).unwrap_or(u32::MAX);
        let (pods, rank) = (count(fleet.uids.len()), count(rank));
        if self.told_fleet.replace((pods, rank)) == Some((pods, rank)) {
            return Ok(());
        }
        self.say(&FromOperator::Fleet { pods, rank }).await
    }

    async fn say(&mut self, frame: &FromOperator) -> Result<(), Ended> {
        self.put(frame).await?;
        Ok(self.outbox.flush().await?)
    }

    async fn put(&mut self, frame: &FromOperator) -> Result<(), Ended> {
        let line = line(frame).map_err(|error| Ended::Protocol(error.to_string()))?;
        Ok(self.outbox.put(&line).await?)
    }
}

#[cfg(test)]
mod tests;
