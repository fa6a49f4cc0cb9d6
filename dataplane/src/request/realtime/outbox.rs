//! What the gateway itself has to say to one side: pongs, pings, and events about the client's own. Whoever writes to that
//! side sends it between two messages. Bounded: of pongs the last counts (RFC 6455, section 5.5.3), pings do not add up,
//! and a client that reads none of what it causes is told no more.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::BytesMut;
use routeapi_protocol::websocket::Opcode;
use tokio::sync::Notify;

use super::socket::Heard;

/// Events that wait.
const MOST_EVENTS: usize = 16;

/// For one side.
pub(super) struct Outbox {
    state: Mutex<State>,
    filled: Notify,
    /// When the oldest ping that may still be unanswered went out.
    pinged: Heard,
    awaits_pong: AtomicBool,
}

#[derive(Default)]
struct State {
    pong: Option<BytesMut>,
    ping: bool,
    events: VecDeque<String>,
}

/// So many events wait already that this one was not taken.
#[derive(Debug)]
pub(super) struct Flooded;

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            pinged: Heard::new(),
            awaits_pong: AtomicBool::new(false),
        }
    }

    /// Answers a ping.
    pub(super) fn pong(&self, payload: BytesMut) {
        self.state().pong = Some(payload);
        self.filled.notify_one();
    }

    /// Asks whether the side is still there.
    pub(super) fn ping(&self) {
        self.state().ping = true;
        self.filled.notify_one();
    }

    /// Tells an event.
    pub(super) fn event(&self, event: String) -> Result<(), Flooded> {
        let mut state = self.state();
        if state.events.len() >= MOST_EVENTS {
            return Err(Flooded);
        }
        state.events.push_back(event);
        self.filled.notify_one();
        Ok(())
    }

    /// Whether the side has been silent since a ping that went out so long ago.
    pub(super) fn is_unanswered(&self, heard: &Heard, patience: std::time::Duration) -> bool {
        let pinged = self.pinged.last();
        let is_silent = self.awaits_pong.load(Ordering::Relaxed) && heard.last() <= pinged;
        is_silent && crate::clock::mono().saturating_duration_since(pinged) > patience
    }

    /// What is to be sent next. Cancelling loses nothing.
    pub(super) async fn next(&self) -> (Opcode, BytesMut) {
        loop {
            if let Some(frame) = self.take() {
                return frame;
            }
            self.filled.notified().await;
        }
    }

    /// A ping is going out. The first of several that are not answered is the one that counts.
    pub(super) fn sending_ping(&self, heard: &Heard) {
        let is_answered = heard.last() > self.pinged.last();
        if !self.awaits_pong.swap(true, Ordering::Relaxed) || is_answered {
            self.pinged.now();
        }
    }

    fn take(&self) -> Option<(Opcode, BytesMut)> {
        let mut state = self.state();
        if let Some(payload) = state.pong.take() {
            return Some((Opcode::Pong, payload));
        }
        if let Some(event) = state.events.pop_front() {
            return Some((Opcode::Text, event.as_bytes().into()));
        }
        std::mem::take(&mut state.ping).then(|| (Opcode::Ping, BytesMut::new()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
