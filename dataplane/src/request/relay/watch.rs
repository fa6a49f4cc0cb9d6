//! What may end or disturb a stream. While its upstream is silent: the idle limit and a due heartbeat. In any case: the
//! request's deadline, the shutdown deadline, and a token that was withdrawn.
//!
//! Idle time counts only while the stream really waits for its upstream: a client that reads slowly holds the upstream
//! back and must not be blamed on it. One timer serves all; it is set anew when it fires, not with each piece.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::{
    clock,
    config::runtime::Runtime,
    request::{caller, gateway::Gateway, refusal::Refusal, settle::Guard},
};

/// Watches one stream.
pub(super) struct Watch {
    gateway: Arc<Gateway>,
    known: Arc<Runtime>,
    idle: Duration,
    heartbeat: Option<Duration>,
    deadline: Instant,
    /// Since when the stream waits for its upstream; none while it does not.
    waiting_since: Option<Instant>,
    /// When the client last got something.
    last_sent: Instant,
    timer: Pin<Box<Sleep>>,
    expired: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The client has heard nothing for a while.
    HeartbeatDue,
    /// The upstream has said nothing for too long.
    Idle(Duration),
    /// The request has taken too long.
    DeadlinePassed,
    /// The process ends.
    Shutdown,
}

impl Watch {
    /// Sends heartbeats at this interval, until the deadline.
    pub(super) fn new(gateway: &Arc<Gateway>, heartbeat: Option<Duration>, deadline: Instant) -> Self {
        let now = clock::mono();
        Self {
            known: gateway.config.current(),
            idle: Duration::MAX,
            heartbeat,
            deadline,
            waiting_since: None,
            last_sent: now,
            timer: Box::pin(tokio::time::sleep_until(now.into())),
            expired: Box::pin(gateway.drain.expired_owned()),
            gateway: Arc::clone(gateway),
        }
    }

    /// Also ends a wait for the upstream that lasts so long.
    pub(super) fn idle_after(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    /// End of the whole request.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits this long at most from now on, each time the upstream is silent.
    pub(super) fn shorten_idle(&mut self, idle: Duration) {
        self.idle = self.idle.min(idle);
    }

    /// When the timer goes off next, as of the last [`Self::poll`].
    pub(super) fn wakes_at(&self) -> Instant {
        self.timer.deadline().into_std()
    }

    /// The upstream sent something.
    pub(super) fn heard(&mut self) {
        self.waiting_since = None;
    }

    /// Nothing comes from the upstream now.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        if self.expired.as_mut().poll(context).is_ready() {
            return Poll::Ready(Event::Shutdown);
        }
        let now = clock::mono();
        let since = match self.waiting_since {
            Some(since) => since,
            None => {
                // Whatever came last went to the client, so it has heard something as well.
                self.last_sent = now;
                *self.waiting_since.insert(now)
            }
        };
        if now >= self.deadline {
            return Poll::Ready(Event::DeadlinePassed);
        }
        if now.saturating_duration_since(since) >= self.idle {
            return Poll::Ready(Event::Idle(self.idle));
        }
        let heartbeat_at = self.heartbeat.and_then(|every| self.last_sent.checked_add(every));
        if heartbeat_at.is_some_and(|at| at <= now) {
            self.last_sent = now;
            return Poll::Ready(Event::HeartbeatDue);
        }
        let idle_at = since.checked_add(self.idle).unwrap_or(self.deadline);
        let next = heartbeat_at.unwrap_or(self.deadline).min(idle_at).min(self.deadline);
        self.wake_at(next, context)
    }

    /// Arms the timer, unless it will wake soon enough as it is.
    fn wake_at(&mut self, next: Instant, context: &mut Context<'_>) -> Poll<Event> {
        let armed = self.timer.deadline().into_std();
        if self.timer.is_elapsed() || armed > next {
            self.timer.as_mut().reset(next.into());
        }
        match self.timer.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                // It was armed for an earlier wait. Set for this one, it cannot be ready again without time passing.
                self.timer.as_mut().reset(next.into());
                if self.timer.as_mut().poll(context).is_ready() {
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }

    /// Whether the token still stands. Costs a pointer comparison while the configuration has not changed.
    pub(super) fn revoked(&mut self, guard: &Guard) -> Option<Refusal> {
        let current = self.gateway.config.current();
        if Arc::ptr_eq(&current, &self.known) {
            return None;
        }
        self.known = current;
        caller::revoked(&self.known, guard.facts.caller()?)
    }

    /// What ends a stream whose upstream is never silent.
    pub(super) fn deadline_event(&self) -> Option<Event> {
        if self.gateway.drain.is_expired() {
            return Some(Event::Shutdown);
        }
        (clock::mono() >= self.deadline).then_some(Event::DeadlinePassed)
    }
}
