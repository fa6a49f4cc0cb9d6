//! One data plane's stream, from its hello to its end.
//!
//! One transaction is in flight at most: what is published meanwhile is merged into the next, so a slow pod gets a later
//! state instead of a queue. The first transaction is sent even if nothing differs: its commit tells the pod that its
//! state is the current one, its answer tells us the same.
//!
//! Ends when the pod leaves or misbehaves, when a newer stream of the same pod opens, when its token ends (it comes back
//! with a fresh one), or with the operator; never because the API server cannot be reached.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Body;
use routeapi_channel::{
    Catalog, Key, Revision, Version,
    frame::{self, FromDataPlane, FromOperator, Hello, MAX_LISTED, PROTOCOL},
};
use routeapi_crds::condition;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    ack::{AckBook, Fleet, PodName, PodReport, Refusal},
    held::Held,
    lines::{Lines, Outbox, ReadError, SendError},
};
use crate::{
    publish::{History, Publication, line},
    telemetry::Metrics,
};

/// How often a ping is sent.
const PING: Duration = Duration::from_secs(10);

/// Without a word for this long the pod is taken for gone: three pings unanswered.
const SILENCE: Duration = Duration::from_secs(35);

/// How long a pod may take to answer a transaction.
const ANSWER: Duration = Duration::from_secs(60);

/// How long a pod may take to say hello, and for each part of its list.
const HELLO: Duration = Duration::from_secs(10);

/// Pods whose lists are held at once; a list of [`MAX_LISTED`] resources takes about 40 MiB.
pub const LISTS: usize = 4;

/// How long a pod waits until it may list. After that it is sent everything.
const LIST_QUEUE: Duration = Duration::from_secs(15);

/// Refusals of one answer whose text is kept; of others only the resource.
const TEXTS: usize = 256;

/// Who is at the other end, as the token says.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Key of the pod everywhere.
    pub uid: String,
    /// For people.
    pub pod: PodName,
}

/// What every session works with.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What to send.
    pub publications: watch::Receiver<Option<Arc<Publication>>>,
    /// What was sent before.
    pub history: History,
    /// Places for pods that list what they hold.
    pub lists: Arc<Semaphore>,
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
    /// While `held` is a list of the pod's own.
    listing: Option<OwnedSemaphorePermit>,
    /// Whether the pod knows selectors.
    selectors: bool,
    in_flight: Option<InFlight>,
    /// Refusals of an answer whose last part has not come.
    refused: Vec<(Key, String)>,
    asked: time::Instant,
    resumed: bool,
    greeted: bool,
    told_fleet: Option<(u32, u32)>,
    heard: time::Instant,
}

/// A transaction that was not answered yet.
struct InFlight {
    revision: Revision,
    /// What was sent.
    sent: Arc<Catalog>,
    /// The state that it is a form of.
    state: Arc<Catalog>,
}

/// Runs a stream to its end. `identify` names the peer, given the instance it says it is; `token_ends` completes when the
/// peer's token has ended and it can come back with another.
pub async fn run<B>(
    identify: impl FnOnce(&str) -> Peer,
    sources: Sources,
    body: B,
    mut outbox: Outbox,
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
    let (held, listing) = match known(&hello, &sources, &mut lines, &mut outbox).await {
        Ok(known) => known,
        Err(ended) => return ended,
    };
    let mut session = Session::begin(identify(&hello.instance), sources, lines, outbox, &hello);
    (session.held, session.listing) = (held, listing);
    let ended = session.serve(token_ends).await;
    session.sources.acks.left(&session.peer.uid, session.since);
    let pod = &session.peer.pod;
    info!(pod = %pod.name, namespace = %pod.namespace, reason = %ended, "data plane disconnected");
    ended
}

/// What a pod holds: the state that it names if that is known here, what it lists, or nothing.
async fn known<B>(
    hello: &Hello,
    sources: &Sources,
    lines: &mut Lines<B>,
    outbox: &mut Outbox,
) -> Result<(Held, Option<OwnedSemaphorePermit>), Ended>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let Some(revision) = hello.revision.as_ref().filter(|_| hello.held.is_empty() && hello.knows(frame::FEATURE_LIST))
    else {
        return Ok((Held::of(hello), None));
    };
    let current = sources.publications.borrow().clone().filter(|it| it.revision == *revision);
    if let Some(state) = current.map(|it| Arc::clone(&it.catalog)).or_else(|| sources.history.state(revision)) {
        return Ok((Held::after(revision, &state, &[]), None));
    }
    let Ok(Ok(permit)) = time::timeout(LIST_QUEUE, Arc::clone(&sources.lists).acquire_owned()).await else {
        return Ok((Held::default(), None));
    };
    outbox.put(&line(&FromOperator::List {}).map_err(|error| Ended::Protocol(error.to_string()))?).await?;
    outbox.flush().await?;
    Ok((Held::listed(revision, list(lines).await?), Some(permit)))
}

async fn list<B>(lines: &mut Lines<B>) -> Result<BTreeMap<Key, Version>, Ended>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut listed = BTreeMap::new();
    loop {
        match time::timeout(HELLO, lines.next()).await {
            Ok(Ok(Some(FromDataPlane::Held { items, more }))) => {
                listed.extend(items.into_iter().map(|frame::Held { key, v }| (key, v)));
                if listed.len() > MAX_LISTED {
                    return Err(Ended::Protocol(format!("it lists more than {MAX_LISTED} resources")));
                }
                if !more {
                    return Ok(listed);
                }
            }
            Ok(Ok(Some(_))) => {
                return Err(Ended::Protocol("it was asked for a list and said something else".to_owned()));
            }
            Ok(Ok(None)) => return Err(Ended::ByPod),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(Ended::Silent),
        }
    }
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
            rejected_keys: Vec::new(),
        });
        let resumed = hello.revision.is_some();
        info!(pod = %peer.pod.name, namespace = %peer.pod.namespace, instance = %hello.instance, resumed, "data plane connected");
        Self {
            fleet: sources.acks.fleet(),
            held: Held::default(),
            listing: None,
            selectors: hello.knows(frame::FEATURE_NAMESPACES),
            refused: Vec::new(),
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
            Some(FromDataPlane::Credentials { rejected }) if rejected.len() > frame::PART => {
                Err(Ended::Protocol(format!("it tells of more than {} rejected keys at once", frame::PART)))
            }
            Some(FromDataPlane::Credentials { rejected }) => {
                self.sources.acks.rejected_keys(&self.peer.uid, self.since, rejected);
                Ok(())
            }
            Some(FromDataPlane::Hello(_)) => Err(Ended::Protocol("a second hello".to_owned())),
            Some(FromDataPlane::Held { .. }) => Err(Ended::Protocol("a list that nobody asked for".to_owned())),
            Some(FromDataPlane::Ack { revision }) => self.answered(&revision, Vec::new()).await,
            Some(FromDataPlane::Nack { revision, errors, more }) => {
                let known = self.in_flight.as_ref().map_or(0, |it| it.sent.len());
                if self.refused.len() + errors.len() > known {
                    return Err(Ended::Protocol("it refuses more than it was sent".to_owned()));
                }
                for error in errors {
                    let text = if self.refused.len() < TEXTS { &*error.message } else { "refused as well" };
                    self.refused.push((error.key, condition::shorten(text, frame::MAX_REFUSAL)));
                }
                if more {
                    return Ok(());
                }
                let refused = std::mem::take(&mut self.refused);
                self.answered(&revision, refused).await
            }
        }
    }

    async fn answered(&mut self, revision: &Revision, refused: Vec<(Key, String)>) -> Result<(), Ended> {
        let Some(InFlight { revision: sent, sent: target, state }) =
            self.in_flight.take().filter(|it| it.revision == *revision)
        else {
            return Err(Ended::Protocol(format!("it answers to {revision}, which was not asked")));
        };
        self.listing = None;
        for (key, message) in refused.iter().take(TEXTS) {
            warn!(pod = %self.peer.pod.name, resource = %format!("{} {}", key.kind, key.id), message, "refused");
        }
        self.sources.metrics.answered(refused.is_empty());
        let keys: Vec<_> = refused.iter().map(|(key, _)| key.clone()).collect();
        self.held = Held::after(&sent, &target, &keys);
        // By the versions of the state itself, which statuses ask about, whichever form of it was sent.
        let refusal = |(key, message)| Some(Refusal { version: state.get(&key)?.version.clone(), key, message });
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
        let plain = if self.selectors { None } else { newest.plain() };
        let (state, newest) = (Arc::clone(&newest.catalog), plain.as_deref().unwrap_or(newest));
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
        let (revision, sent) = (newest.revision.clone(), Arc::clone(&newest.catalog));
        self.in_flight = Some(InFlight { revision, sent, state });
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
