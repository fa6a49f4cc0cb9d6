//! An answer that is being handed over. Two look after it: the server, which pulls it while its client has room, and
//! [`end_overdue`], which ends it when its time is over while nobody pulls.
//!
//! A client that stops reading stops the server, and with it every timer that lives in the body. So a sweep over
//! all answers under way, once a second, holds the request's deadline, a withdrawn token and the shutdown deadline against
//! each, and ends one whose client has taken nothing for too long. What is ended gives back its upstream, its slots and
//! its reservation at once and is recorded; the client that comes back finds its dialect's terminal error, or a
//! connection that is closed. One sweep costs less than a task or a timer per answer.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::AbortHandle;
use routeapi_metering::Outcome;

use super::{
    body::{BodyError, ReadyBytes, StreamBody, WholeBody},
    waiting::{Step, WaitingBody},
};
use crate::{clock, config::runtime::Runtime, request::Gateway, request::settle::RequestOutcome, server::abort};

/// Longest time between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Answers that are looked at before other work of the thread gets its turn.
const SWEEP_BATCH: usize = 256;

/// A client that takes nothing for so long may be why its upstream gives up.
const SLOW_CLIENT_AFTER: Duration = Duration::from_secs(1);

/// Every answer under way. Those that have ended are dropped by the next sweep.
#[derive(Default)]
pub struct Deliveries(Mutex<Vec<Weak<Delivery>>>);

/// One answer under way.
pub(super) struct Delivery(Mutex<State>);

struct State {
    content: DeliveryContent,
    turn: Turn,
    /// Whoever pulls and waits; woken when the answer ends from outside.
    waker: Waker,
    /// Closes the connection or resets the stream; none in tests without a server.
    abort: Option<AbortHandle>,
}

pub(super) enum DeliveryContent {
    /// No upstream has answered yet.
    Waiting(Box<WaitingBody>),
    Stream(Box<StreamBody>),
    Whole(Box<WholeBody>),
    /// Ended from outside: what the client is still to get.
    Terminated(ReadyBytes),
    Done,
}

/// Whose turn it is.
#[derive(Clone, Copy)]
enum Turn {
    /// The client's, since then: a piece was handed over, and the server asks for the next when there is room.
    Client(Instant),
    /// The upstream's, but a timer of the body wakes the server by then.
    Upstream(Instant),
}

/// Why an answer ends from outside.
#[derive(Clone, Copy)]
pub(super) enum EndReason<'a> {
    /// The shutdown deadline has passed.
    Shutdown,
    /// The request's deadline has passed.
    Deadline,
    /// The configuration is another one: is the token still in it?
    Changed(&'a Runtime),
}

// === impl Delivery ===

impl Delivery {
    /// An answer, watched from now on.
    pub(super) fn new(content: DeliveryContent, gateway: &Gateway) -> Arc<Self> {
        let state =
            State { content, turn: Turn::Client(clock::mono()), waker: Waker::noop().clone(), abort: abort::current() };
        let delivery = Arc::new(Self(Mutex::new(state)));
        gateway.deliveries.lock().push(Arc::downgrade(&delivery));
        delivery
    }

    /// The server has room for the next piece.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut state = self.state();
        let state = &mut *state;
        let is_late = |since: Instant| clock::mono().saturating_duration_since(since) > SLOW_CLIENT_AFTER;
        if let Turn::Client(since) = state.turn
            && is_late(since)
        {
            state.content.held_back();
        }
        let next = state.content.next(context);
        let wakes_at = state.content.wakes_at().filter(|_| next.is_pending());
        let now = clock::mono();
        state.turn = wakes_at.map_or(Turn::Client(now), |at| Turn::Upstream(at.max(now)));
        if next.is_pending() {
            state.waker.clone_from(context.waker());
        }
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            state.content = DeliveryContent::Done;
        }
        next
    }

    /// The answer's own code panicked.
    pub(super) fn panicked(&self) {
        let mut state = self.state();
        state.content.panicked();
        state.content = DeliveryContent::Done;
    }

    /// Whether nothing more comes.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state().content, DeliveryContent::Done)
    }

    /// Bytes that are to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match &self.state().content {
            DeliveryContent::Whole(body) => Some(body.left()),
            DeliveryContent::Done => Some(0),
            DeliveryContent::Waiting(_) | DeliveryContent::Stream(_) | DeliveryContent::Terminated(_) => None,
        }
    }

    /// Ends it if its time is over.
    fn end_if_overdue(&self, now: Instant, gateway: &Gateway, changed: Option<&Runtime>) {
        // Whoever holds the lock is just handing over the next piece.
        let Ok(mut state) = self.0.try_lock() else { return };
        let state = &mut *state;
        let ready = if gateway.drain.is_expired() {
            state.content.terminate(EndReason::Shutdown)
        } else if state.content.deadline().is_some_and(|deadline| now >= deadline) {
            state.content.terminate(EndReason::Deadline)
        } else {
            changed.and_then(|runtime| state.content.terminate(EndReason::Changed(runtime)))
        };
        if let Some(ready) = ready {
            state.content = DeliveryContent::Terminated(ready);
            // What would have woken it went with the answer.
            state.waker.wake_by_ref();
        }
        let (Turn::Client(since) | Turn::Upstream(since)) = state.turn;
        if now.saturating_duration_since(since) < gateway.settings.client_write {
            return;
        }
        let stalled = RequestOutcome::new(Outcome::ClientCancelled, "client_stalled");
        state.content.finish("the client took nothing of its answer for too long", stalled);
        state.content = DeliveryContent::Terminated(ReadyBytes::default());
        if let Some(abort) = &state.abort {
            abort.abort();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl DeliveryContent ===

impl DeliveryContent {
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self {
            Self::Waiting(body) => match ready!(body.poll(context)) {
                Step::Heartbeat(bytes) => Poll::Ready(Some(Ok(bytes))),
                Step::Over(content) => {
                    *self = content;
                    self.next(context)
                }
            },
            Self::Stream(body) => body.next(context),
            Self::Whole(body) => Poll::Ready(body.next().map(Ok)),
            Self::Terminated(ready) => Poll::Ready(ready.next()),
            Self::Done => Poll::Ready(None),
        }
    }

    /// The client lets it wait.
    fn held_back(&self) {
        match self {
            Self::Waiting(body) => body.held_back(),
            Self::Stream(body) => body.held_back(),
            Self::Whole(_) | Self::Terminated(_) | Self::Done => {}
        }
    }

    /// Settles its request, unless that was done.
    fn finish(&mut self, message: &str, outcome: RequestOutcome) {
        match self {
            Self::Waiting(body) => body.finish(message, outcome),
            Self::Stream(body) => body.guard().finish_with(message, outcome),
            Self::Whole(body) => body.guard().finish_with(message, outcome),
            Self::Terminated(_) | Self::Done => {}
        }
    }

    fn panicked(&mut self) {
        match self {
            Self::Waiting(body) => body.panicked(),
            Self::Stream(body) => body.guard().panicked(),
            Self::Whole(body) => body.guard().panicked(),
            Self::Terminated(_) | Self::Done => {}
        }
    }

    /// When a timer wakes whoever pulls, while the upstream is silent.
    fn wakes_at(&self) -> Option<Instant> {
        match self {
            Self::Waiting(body) => Some(body.wakes_at()),
            Self::Stream(body) => Some(body.wakes_at()),
            Self::Whole(_) | Self::Terminated(_) | Self::Done => None,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Waiting(body) => Some(body.deadline()),
            Self::Stream(body) => Some(body.deadline()),
            Self::Whole(body) => Some(body.deadline()),
            Self::Terminated(_) | Self::Done => None,
        }
    }

    /// Ends the answer, if that is a reason to; gives what the client is still to get.
    fn terminate(&mut self, why: EndReason<'_>) -> Option<ReadyBytes> {
        match self {
            Self::Waiting(body) => body.terminate(why),
            Self::Stream(body) => body.terminate(why),
            Self::Whole(body) => body.terminate(why),
            Self::Terminated(_) | Self::Done => None,
        }
    }
}

// === impl Deliveries ===

impl Deliveries {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Delivery>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends answers whose time is over while nobody pulls them. Runs for as long as the process.
pub async fn end_overdue(gateway: Arc<Gateway>) {
    let every = (gateway.settings.client_write / 4).clamp(Duration::from_millis(10), SWEEP_INTERVAL);
    let mut known = gateway.config.current();
    loop {
        tokio::time::sleep(every).await;
        let current = gateway.config.current();
        let is_new = !Arc::ptr_eq(&current, &known);
        sweep(&gateway, is_new.then_some(&*current)).await;
        known = current;
    }
}

async fn sweep(gateway: &Gateway, changed: Option<&Runtime>) {
    let mut deliveries = std::mem::take(&mut *gateway.deliveries.lock());
    let now = clock::mono();
    for step in deliveries.chunks(SWEEP_BATCH) {
        for delivery in step.iter().filter_map(Weak::upgrade) {
            delivery.end_if_overdue(now, gateway, changed);
        }
        tokio::task::yield_now().await;
    }
    deliveries.retain(|delivery| delivery.strong_count() > 0);
    let mut new = gateway.deliveries.lock();
    deliveries.append(&mut new);
    *new = deliveries;
}
