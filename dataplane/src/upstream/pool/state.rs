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

use super::settings::ConnectionLifetimes;
use crate::{
    random,
    upstream::{send_error::SendError, sent::MarkedBody},
};

/// HTTP/2 connections to one host at once. With the usual limit of 100 streams, more than a process serves in all.
pub(super) const MAX_MULTIPLEXED: usize = 128;

/// HTTP/1 connections that are kept without a request.
const MAX_IDLE: usize = 256;

/// Until another connection is tried after one that failed.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// Streams of a connection until its server has said. The first request need not wait for that.
const STREAMS_BEFORE_SETTINGS: usize = 1;

/// Who waits is told through this.
pub(super) type Offer<C> = oneshot::Sender<Result<C, SendError>>;

/// The connections to a host. `C` is what a request gets that waited.
pub(super) struct State<C> {
    lifetimes: ConnectionLifetimes,
    version: HttpVersion,
    /// HTTP/1 connections without a request, the last used one last.
    idle: Vec<Http1>,
    /// HTTP/2 connections that take new requests, the oldest first.
    multiplexed: Vec<Http2>,
    /// Being opened.
    opening: usize,
    /// No further one is opened before this: the last could not be, and others still serve, or the last takes no requests.
    open_after: Option<Instant>,
    /// By the order in which they came.
    waiting: BTreeMap<u64, Offer<C>>,
    next_id: u64,
}

/// What the host's connections turned out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HttpVersion {
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
    has_settings: bool,
    in_flight: usize,
    has_answered: Arc<AtomicBool>,
    retire_at: Option<Instant>,
    idle_since: Instant,
}

/// What a request holds.
pub(super) enum CheckedOut {
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
pub(super) enum Acquired<C> {
    /// It can go.
    Now(CheckedOut),
    /// It has to wait, under this ticket.
    Later(u64, oneshot::Receiver<Result<C, SendError>>),
}

impl<C> State<C> {
    pub(super) fn new(is_https: bool, lifetimes: ConnectionLifetimes) -> Self {
        Self {
            lifetimes,
            // HTTP/2 is agreed upon in the TLS handshake, and spoken nowhere else.
            version: if is_https { HttpVersion::Unknown } else { HttpVersion::Http1 },
            idle: Vec::new(),
            multiplexed: Vec::new(),
            opening: 0,
            open_after: None,
            waiting: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// Something free, or a ticket. Who came first is served first.
    pub(super) fn take_or_wait(&mut self) -> Acquired<C> {
        if self.waiting.is_empty()
            && let Some(checked_out) = self.take(Instant::now())
        {
            return Acquired::Now(checked_out);
        }
        let (offer, receiver) = oneshot::channel();
        let ticket = self.id();
        self.waiting.insert(ticket, offer);
        Acquired::Later(ticket, receiver)
    }

    /// A request does not wait any longer.
    pub(super) fn leave(&mut self, ticket: u64) {
        self.waiting.remove(&ticket);
    }

    /// The first who waits, and something free for it.
    pub(super) fn next_offer(&mut self, now: Instant) -> Option<(Offer<C>, CheckedOut)> {
        let ticket = *self.waiting.first_key_value()?.0;
        let checked_out = self.take(now)?;
        let offer = self.waiting.remove(&ticket)?;
        Some((offer, checked_out))
    }

    /// How many connections to open for who waits. They count as being opened from now on.
    pub(super) fn begin_opening(&mut self, now: Instant) -> usize {
        let waiting = self.waiting.len();
        let missing = match self.version {
            HttpVersion::Unknown => usize::from(waiting > 0 && self.opening == 0),
            HttpVersion::Http1 => waiting.saturating_sub(self.opening),
            HttpVersion::Http2 { .. } if self.open_after.is_some_and(|at| now < at) => 0,
            HttpVersion::Http2 { streams } => {
                let awaiting_settings = self.multiplexed.iter().filter(|connection| !connection.has_settings).count();
                let coming = self.opening + awaiting_settings;
                let room = MAX_MULTIPLEXED.saturating_sub(self.multiplexed.len() + self.opening);
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
    pub(super) fn opened_http1(&mut self, connection: Http1, now: Instant) -> Vec<Offer<C>> {
        self.version = HttpVersion::Http1;
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
        if !matches!(self.version, HttpVersion::Http2 { .. }) {
            self.version = HttpVersion::Http2 { streams: None };
        }
        connection.id = self.id();
        let id = connection.id;
        self.multiplexed.push(connection);
        id
    }

    /// Whether requests share connections.
    pub(super) fn is_multiplexed(&self) -> bool {
        matches!(self.version, HttpVersion::Http2 { .. })
    }

    /// Who is to be told that a connection could not be opened. With HTTP/1 one connection is opened for each who waits.
    /// With HTTP/2 others may still serve; then also when to try again.
    pub(super) fn failed_to_open(&mut self, now: Instant) -> (Vec<Offer<C>>, Option<Instant>) {
        self.opening = self.opening.saturating_sub(1);
        if self.version == HttpVersion::Http1 {
            return (self.waiting.pop_first().into_iter().map(|(_, offer)| offer).collect(), None);
        }
        self.open_after = (!self.multiplexed.is_empty()).then_some(now + RECONNECT_DELAY);
        (self.lost_if_nothing_comes(), self.open_after)
    }

    /// Everybody who waits, if there is nothing left to wait for.
    fn lost_if_nothing_comes(&mut self) -> Vec<Offer<C>> {
        if self.multiplexed.is_empty() && self.opening == 0 {
            return std::mem::take(&mut self.waiting).into_values().collect();
        }
        Vec::new()
    }

    /// The server of a connection has said how many streams it takes.
    pub(super) fn limited(&mut self, id: u64, limit: usize, now: Instant) {
        if let Some(connection) = self.connection(id) {
            (connection.limit, connection.has_settings) = (limit, true);
            self.version = HttpVersion::Http2 { streams: Some(limit).filter(|limit| *limit > 0) };
        }
        if limit == 0 {
            // Another connection would take none either.
            self.open_after = Some(now + RECONNECT_DELAY);
        }
    }

    /// An answer has come on a connection, and with it whatever its server had to say about streams.
    pub(super) fn answered(&mut self, id: u64) {
        if let Some(connection) = self.connection(id) {
            connection.has_settings = true;
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
    pub(super) fn ended(&mut self, id: u64) -> Vec<Offer<C>> {
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
        if connection.sender.is_ready() && self.idle.len() < MAX_IDLE {
            connection.idle_since = Instant::now();
            self.idle.push(connection);
        }
    }

    /// Drops what is too old, was not used for too long or has been closed.
    pub(super) fn expire(&mut self, now: Instant) {
        let idle = self.lifetimes.idle;
        self.idle.retain(|connection| connection.is_usable(now, idle));
        self.multiplexed.retain(|connection| connection.is_usable(now, idle));
    }

    /// Whether all streams of all connections there may be are in use.
    pub(super) fn is_saturated(&self) -> bool {
        self.multiplexed.len() >= MAX_MULTIPLEXED
            || (!self.multiplexed.is_empty() && self.opening == 0 && self.multiplexed.iter().all(|it| it.has_settings))
    }

    /// Who waits, and streams in use.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.waiting.len(), self.multiplexed.iter().map(|connection| connection.in_flight).sum())
    }

    fn take(&mut self, now: Instant) -> Option<CheckedOut> {
        let idle = self.lifetimes.idle;
        self.multiplexed.retain(|connection| connection.is_usable(now, idle));
        // The oldest first: what a burst has opened falls idle when it is over.
        if let Some(connection) = self.multiplexed.iter_mut().find(|it| it.in_flight < it.limit) {
            connection.in_flight += 1;
            return Some(connection.lend(self.next_id));
        }
        while let Some(connection) = self.idle.pop() {
            if connection.is_usable(now, idle) {
                return Some(CheckedOut::Http1(connection));
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
    pub(super) fn new(sender: http1::SendRequest<MarkedBody>, lifetimes: ConnectionLifetimes) -> Self {
        let now = Instant::now();
        Self { sender, has_answered: false, retire_at: random::retire_at(lifetimes.max_age), idle_since: now }
    }

    fn is_usable(&self, now: Instant, idle: Duration) -> bool {
        let is_young = self.retire_at.is_none_or(|at| now < at);
        is_young && now.duration_since(self.idle_since) < idle && self.sender.is_ready()
    }
}

impl Http2 {
    pub(super) fn new(sender: http2::SendRequest<MarkedBody>, lifetimes: ConnectionLifetimes) -> Self {
        let now = Instant::now();
        Self {
            id: 0,
            sender,
            limit: STREAMS_BEFORE_SETTINGS,
            has_settings: false,
            in_flight: 0,
            has_answered: Arc::default(),
            retire_at: random::retire_at(lifetimes.max_age),
            idle_since: now,
        }
    }

    fn lend(&self, newest: u64) -> CheckedOut {
        let has_answered = Arc::clone(&self.has_answered);
        CheckedOut::Http2 { id: self.id, sender: self.sender.clone(), has_answered, newest }
    }

    fn is_usable(&self, now: Instant, idle: Duration) -> bool {
        let is_young = self.retire_at.is_none_or(|at| now < at);
        let is_used = self.in_flight > 0 || now.duration_since(self.idle_since) < idle;
        is_young && is_used && !self.sender.is_closed()
    }
}
