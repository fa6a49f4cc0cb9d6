//! An answer that is being handed over. Two look after it: the server, which pulls it while its client has room, and
//! [`end_overdue`](crate::request::end_overdue), which ends it when its time is over while nobody pulls.
//!
//! A client that stops reading stops the server, and with it every timer that lives in the body. So a sweep over
//! all answers under way, once a second, holds the request's deadline, a withdrawn token and the shutdown deadline against
//! each, and ends one whose client has taken nothing for too long. What is ended gives back its upstream, its slots and
//! its reservation at once and is recorded; the client that comes back finds its dialect's terminal error, or a
//! connection that is closed. One sweep costs less than a task or a timer per answer.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::AbortHandle;
use routeapi_metering::Outcome;

use super::{
    content::DeliveryContent,
    end_reason::EndReason,
    ready_bytes::{BodyError, ReadyBytes},
};
use crate::{
    clock,
    request::{
        deliveries::{Overdue, Sweep},
        gateway::Gateway,
        outcome::RequestOutcome,
    },
    server::abort,
};

/// A client that takes nothing for so long may be why its upstream gives up.
const SLOW_CLIENT_AFTER: Duration = Duration::from_secs(1);

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

/// Whose turn it is.
#[derive(Clone, Copy)]
enum Turn {
    /// The client's, since then: a piece was handed over, and the server asks for the next when there is room.
    Client(Instant),
    /// The upstream's, but a timer of the body wakes the server by then.
    Upstream(Instant),
}

// === impl Delivery ===

impl Delivery {
    /// An answer, watched from now on.
    pub(super) fn new(content: DeliveryContent, gateway: &Gateway) -> Arc<Self> {
        let state =
            State { content, turn: Turn::Client(clock::mono()), waker: Waker::noop().clone(), abort: abort::current() };
        let delivery = Arc::new(Self(Mutex::new(state)));
        let watched: Weak<Self> = Arc::downgrade(&delivery);
        gateway.deliveries.add(watched);
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Overdue for Delivery {
    fn end_if_overdue(&self, sweep: &Sweep<'_>) {
        // Whoever holds the lock is just handing over the next piece.
        let Ok(mut state) = self.0.try_lock() else { return };
        let state = &mut *state;
        let ready = if sweep.is_shut_down {
            state.content.terminate(EndReason::Shutdown)
        } else if state.content.deadline().is_some_and(|deadline| sweep.now >= deadline) {
            state.content.terminate(EndReason::Deadline)
        } else {
            sweep.changed.and_then(|runtime| state.content.terminate(EndReason::Changed(runtime)))
        };
        if let Some(ready) = ready {
            state.content = DeliveryContent::Terminated(ready);
            // What would have woken it went with the answer.
            state.waker.wake_by_ref();
        }
        let (Turn::Client(since) | Turn::Upstream(since)) = state.turn;
        if sweep.now.saturating_duration_since(since) < sweep.client_write {
            return;
        }
        let stalled = RequestOutcome::new(Outcome::ClientCancelled, "client_stalled");
        state.content.finish("the client took nothing of its answer for too long", stalled);
        state.content = DeliveryContent::Terminated(ReadyBytes::default());
        if let Some(abort) = &state.abort {
            abort.abort();
        }
    }
}
