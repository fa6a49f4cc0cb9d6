//! What is open to one host, what is being opened, and who waits. Bookkeeping alone: no I/O, and no clock but tokio's, which
//! tests pause.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::client::conn::{http1, http2};
use tokio::{sync::oneshot, time::Instant};

use super::{Keeping, MOST_MULTIPLEXED, Ready};
use crate::{
    random,
    upstream::{MarkedBody, SendError},
};

/// HTTP/1 connections that are kept without a request.
const MOST_IDLE: usize = 256;

/// Until another connection is tried after one that failed.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// Streams of a connection until its server has said. The first request need not wait for that.
const STREAMS_BEFORE_SETTINGS: usize = 1;

/// Who waits is told through this.
pub(super) type Offer = oneshot::Sender<Result<Ready, SendError>>;

/// The connections to a host.
pub(super) struct State {
    keeping: Keeping,
    speaks: Speaks,
    /// HTTP/1 connections without a request, the last used one last.
    idle: Vec<Http1>,
    /// HTTP/2 connections that take new requests, the oldest first.
    multiplexed: Vec<Http2>,
    /// Being opened.
    opening: usize,
    /// No further one is opened before this: the last could not be, and others still serve, or the last takes no requests.
    open_after: Option<Instant>,
    /// By the order in which they came.
    waiting: BTreeMap<u64, Offer>,
    next_id: u64,
}

/// What the host's connections turned out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Unknown,
    Http1,
    Http2 {
        /// What a connection is expected to carry: what the last one said. None as long as none has.
        streams: Option<usize>,
    },
}

/// An HTTP/1 connection.
pub(super) struct Http1 {
    pub sender: http1::SendRequest<MarkedBody>,
    /// Whether an answer has come on it.
    pub has_answered: bool,
    retire_at: Option<Instant>,
    idle_since: Instant,
}

/// An HTTP/2 connection.
pub(super) struct Http2 {
    id: u64,
    sender: http2::SendRequest<MarkedBody>,
    /// Streams at once, as the server says.
    limit: usize,
    /// Whether it has said.
    is_settled: bool,
    in_flight: usize,
    has_answered: Arc<AtomicBool>,
    retire_at: Option<Instant>,
    idle_since: Instant,
}

/// What a request holds.
pub(super) enum Lent {
    /// A connection.
    Http1(Http1),
    /// A stream of a connection.
    Http2 {
        /// The connection's.
        id: u64,
        sender: http2::SendRequest<MarkedBody>,
        /// Whether an answer has come on it.
        has_answered: Arc<AtomicBool>,
        /// The id of the newest connection at that moment.
        newest: u64,
    },
}

/// What a request gets.
pub(super) enum Taken {
    /// It can go.
    Now(Lent),
    /// It has to wait, under this ticket.
    Later(u64, oneshot::Receiver<Result<Ready, SendError>>),
}

impl State {
    pub(super) fn new(is_https: bool, keeping: Keeping) -> Self {
        Self {
            keeping,
            // HTTP/2 is agreed upon in the TLS handshake, and spoken nowhere else.
            speaks: if is_https { Speaks::Unknown } else { Speaks::Http1 },
            idle: Vec::new(),
            multiplexed: Vec::new(),
            opening: 0,
            open_after: None,
            waiting: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// Something free, or a ticket. Who came first is served first.
    pub(super) fn take_or_wait(&mut self) -> Taken {
        if self.waiting.is_empty()
            && let Some(lent) = self.take(Instant::now())
        {
            return Taken::Now(lent);
        }
        let (offer, receiver) = oneshot::channel();
        let ticket = self.id();
        self.waiting.insert(ticket, offer);
        Taken::Later(ticket, receiver)
    }

    /// A request does not wait any longer.
    pub(super) fn leave(&mut self, ticket: u64) {
        self.waiting.remove(&ticket);
    }

    /// The first who waits, and something free for it.
    pub(super) fn next_offer(&mut self, now: Instant) -> Option<(Offer, Lent)> {
        let ticket = *self.waiting.first_key_value()?.0;
        let lent = self.take(now)?;
        let offer = self.waiting.remove(&ticket)?;
        Some((offer, lent))
    }

    /// How many connections to open for who waits. They count as being opened from now on.
    pub(super) fn begin_opening(&mut self, now: Instant) -> usize {
        let waiting = self.waiting.len();
        let missing = match self.speaks {
            Speaks::Unknown => usize::from(waiting > 0 && self.opening == 0),
            Speaks::Http1 => waiting.saturating_sub(self.opening),
            Speaks::Http2 { .. } if self.open_after.is_some_and(|at| now < at) => 0,
            Speaks::Http2 { streams } => {
                let unsettled = self.multiplexed.iter().filter(|connection| !connection.is_settled).count();
                let coming = self.opening + unsettled;
                let room = MOST_MULTIPLEXED.saturating_sub(self.multiplexed.len() + self.opening);
                let wanted = match streams {
                    Some(streams) => waiting.saturating_sub(streams.saturating_mul(coming)).div_ceil(streams),
                    None => usize::from(waiting > 0 && coming == 0),
                };
                wanted.min(room)
            }
        };
        self.opening += missing;
        missing
    }

    /// Who is to be told that the connection was closed at once.
    pub(super) fn opened_http1(&mut self, connection: Http1, now: Instant) -> Vec<Offer> {
        self.speaks = Speaks::Http1;
        if !connection.sender.is_ready() {
            return self.failed_to_open(now).0;
        }
        self.opening = self.opening.saturating_sub(1);
        self.give_back(connection);
        Vec::new()
    }

    pub(super) fn opened_http2(&mut self, connection: Http2) -> u64 {
        self.opening = self.opening.saturating_sub(1);
        self.add(connection)
    }

    /// A connection takes requests from now on.
    pub(super) fn add(&mut self, mut connection: Http2) -> u64 {
        if !matches!(self.speaks, Speaks::Http2 { .. }) {
            self.speaks = Speaks::Http2 { streams: None };
        }
        connection.id = self.id();
        let id = connection.id;
        self.multiplexed.push(connection);
        id
    }

    /// Whether requests share connections.
    pub(super) fn is_multiplexed(&self) -> bool {
        matches!(self.speaks, Speaks::Http2 { .. })
    }

    /// Who is to be told that a connection could not be opened. With HTTP/1 one connection is opened for each who waits.
    /// With HTTP/2 others may still serve; then also when to try again.
    pub(super) fn failed_to_open(&mut self, now: Instant) -> (Vec<Offer>, Option<Instant>) {
        self.opening = self.opening.saturating_sub(1);
        if self.speaks == Speaks::Http1 {
            return (self.waiting.pop_first().into_iter().map(|(_, offer)| offer).collect(), None);
        }
        self.open_after = (!self.multiplexed.is_empty()).then_some(now + OPEN_AGAIN);
        (self.lost_if_nothing_comes(), self.open_after)
    }

    /// Everybody who waits, if there is nothing left to wait for.
    fn lost_if_nothing_comes(&mut self) -> Vec<Offer> {
        if self.multiplexed.is_empty() && self.opening == 0 {
            return std::mem::take(&mut self.waiting).into_values().collect();
        }
        Vec::new()
    }

    /// The server of a connection has said how many streams it takes.
    pub(super) fn limited(&mut self, id: u64, limit: usize, now: Instant) {
        if let Some(connection) = self.connection(id) {
            (connection.limit, connection.is_settled) = (limit, true);
            self.speaks = Speaks::Http2 { streams: Some(limit).filter(|limit| *limit > 0) };
        }
        if limit == 0 {
            // Another connection would take none either.
            self.open_after = Some(now + OPEN_AGAIN);
        }
    }

    /// An answer has come on a connection, and with it whatever its server had to say about streams.
    pub(super) fn answered(&mut self, id: u64) {
        if let Some(connection) = self.connection(id) {
            connection.is_settled = true;
        }
    }

    /// A connection takes no new requests. Those in flight on it go on.
    pub(super) fn retire(&mut self, id: u64) {
        self.multiplexed.retain(|connection| connection.id != id);
    }

    /// None of the connections up to this one takes new requests: they may be as stale as one that was just lost.
    pub(super) fn retire_until(&mut self, newest: u64) {
        self.multiplexed.retain(|connection| connection.id > newest);
    }

    /// A connection has ended. Who is to be told: a server that closes connections before it has served anybody is not
    /// asked again for the same requests.
    pub(super) fn ended(&mut self, id: u64) -> Vec<Offer> {
        let was_of_use = self
            .connection(id)
            .is_none_or(|connection| connection.in_flight > 0 || connection.has_answered.load(Ordering::Relaxed));
        self.retire(id);
        if was_of_use { Vec::new() } else { self.lost_if_nothing_comes() }
    }

    /// A request has ended and its stream is free.
    pub(super) fn release(&mut self, id: u64) {
        if let Some(connection) = self.connection(id) {
            connection.in_flight = connection.in_flight.saturating_sub(1);
            connection.idle_since = Instant::now();
        }
    }

    /// A connection is free, unless it cannot be used again.
    pub(super) fn give_back(&mut self, mut connection: Http1) {
        if connection.sender.is_ready() && self.idle.len() < MOST_IDLE {
            connection.idle_since = Instant::now();
            self.idle.push(connection);
        }
    }

    /// Drops what is too old, was not used for too long or has been closed.
    pub(super) fn expire(&mut self, now: Instant) {
        let idle = self.keeping.idle;
        self.idle.retain(|connection| connection.is_usable(now, idle));
        self.multiplexed.retain(|connection| connection.is_usable(now, idle));
    }

    /// Whether all streams of all connections there may be are in use.
    pub(super) fn is_saturated(&self) -> bool {
        self.multiplexed.len() >= MOST_MULTIPLEXED
            || (!self.multiplexed.is_empty() && self.opening == 0 && self.multiplexed.iter().all(|it| it.is_settled))
    }

    /// Who waits, and streams in use.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.waiting.len(), self.multiplexed.iter().map(|connection| connection.in_flight).sum())
    }

    fn take(&mut self, now: Instant) -> Option<Lent> {
        let idle = self.keeping.idle;
        self.multiplexed.retain(|connection| connection.is_usable(now, idle));
        // The oldest first: what a burst has opened falls idle when it is over.
        if let Some(connection) = self.multiplexed.iter_mut().find(|it| it.in_flight < it.limit) {
            connection.in_flight += 1;
            return Some(connection.lend(self.next_id));
        }
        while let Some(connection) = self.idle.pop() {
            if connection.is_usable(now, idle) {
                return Some(Lent::Http1(connection));
            }
        }
        None
    }

    fn connection(&mut self, id: u64) -> Option<&mut Http2> {
        self.multiplexed.iter_mut().find(|connection| connection.id == id)
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl Http1 {
    pub(super) fn new(sender: http1::SendRequest<MarkedBody>, keeping: Keeping) -> Self {
        let now = Instant::now();
        Self { sender, has_answered: false, retire_at: random::retire_at(keeping.max_age), idle_since: now }
    }

    fn is_usable(&self, now: Instant, idle: Duration) -> bool {
        let is_young = self.retire_at.is_none_or(|at| now < at);
        is_young && now.duration_since(self.idle_since) < idle && self.sender.is_ready()
    }
}

impl Http2 {
    pub(super) fn new(sender: http2::SendRequest<MarkedBody>, keeping: Keeping) -> Self {
        let now = Instant::now();
        Self {
            id: 0,
            sender,
            limit: STREAMS_BEFORE_SETTINGS,
            is_settled: false,
            in_flight: 0,
            has_answered: Arc::default(),
            retire_at: random::retire_at(keeping.max_age),
            idle_since: now,
        }
    }

    fn lend(&self, newest: u64) -> Lent {
        let has_answered = Arc::clone(&self.has_answered);
        Lent::Http2 { id: self.id, sender: self.sender.clone(), has_answered, newest }
    }

    fn is_usable(&self, now: Instant, idle: Duration) -> bool {
        let is_young = self.retire_at.is_none_or(|at| now < at);
        let is_used = self.in_flight > 0 || now.duration_since(self.idle_since) < idle;
        is_young && is_used && !self.sender.is_closed()
    }
}
