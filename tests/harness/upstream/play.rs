//! Plays an answer onto the wire as the script says: waits, heartbeats, stalls, errors and cuts.
//!
//! The player is a task; the body that hyper polls is the other end of a channel of one event. When hyper drops the body
//! the client is gone: the player ends and the ledger has the moment.

use super::event::Event;
use super::record::{Exchange, Outcome};
use super::script::{Cut, CutAt, CutHow, Script};
use super::wire::Line;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Time for bytes that were handed over to reach the socket before the connection is broken off behind them.
const SETTLE: Duration = Duration::from_millis(5);

/// What is to be played.
pub(super) struct Play {
    pub events: Vec<Event>,
    pub heartbeat: Event,
    /// The error that `error_after` sends.
    pub error: Event,
    pub script: Script,
    pub line: Arc<Line>,
    pub paused: watch::Receiver<bool>,
}

enum Step {
    Event(Event),
    /// Nothing follows; the outcome is recorded when the body is told.
    End(Outcome),
    /// The connection breaks here.
    Break,
}

/// A response body.
pub(super) struct Played {
    steps: mpsc::Receiver<Step>,
    exchange: Exchange,
    length: Option<u64>,
    over: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the script cuts the response here")]
pub(super) struct ScriptedCut;

impl Played {
    /// Of a response that has none, as it switches protocols.
    pub fn nothing() -> Self {
        let (_, steps) = mpsc::channel(1);
        Self { steps, exchange: Exchange::unrecorded(), length: None, over: true }
    }

    /// `length`: the exact size of the body, when it is to be announced.
    pub fn start(play: Play, exchange: Exchange, length: Option<u64>) -> Self {
        let (sender, steps) = mpsc::channel(1);
        tokio::spawn(play.run(sender));
        Self { steps, exchange, length, over: false }
    }
}

impl Body for Played {
    type Data = Bytes;
    type Error = ScriptedCut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ScriptedCut>>> {
        if self.over {
            return Poll::Ready(None);
        }
        match ready!(self.steps.poll_recv(cx)) {
            Some(Step::Event(event)) => {
                self.exchange.note(|entry| {
                    entry.delivered_tokens += event.tokens;
                    entry.delivered_contents += u64::from(event.content);
                });
                if let Some(left) = &mut self.length {
                    *left = left.saturating_sub(event.bytes.len() as u64);
                    if *left == 0 {
                        self.exchange.end(Outcome::Completed); // hyper asks no further once the announced length is there
                    }
                }
                Poll::Ready(Some(Ok(Frame::data(event.bytes))))
            }
            Some(Step::End(outcome)) => {
                self.over = true;
                self.exchange.end(outcome);
                Poll::Ready(None)
            }
            Some(Step::Break) | None => {
                self.over = true;
                self.exchange.end(Outcome::Failed);
                Poll::Ready(Some(Err(ScriptedCut)))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Play {
    async fn run(self, out: mpsc::Sender<Step>) {
        let gone = out.clone();
        tokio::select! {
            () = gone.closed() => {}
            _ = self.steps(&out) => {}
        }
    }

    /// `None` as soon as nobody listens.
    async fn steps(mut self, out: &mpsc::Sender<Step>) -> Option<()> {
        let pace = Duration::from_millis(self.script.delay_chunk_ms);
        if self.script.only_heartbeats {
            loop {
                self.send(out, self.heartbeat.clone()).await?;
                tokio::time::sleep(pace.max(SETTLE)).await;
            }
        }
        for _ in 0..self.script.heartbeats {
            self.send(out, self.heartbeat.clone()).await?;
            tokio::time::sleep(pace).await;
        }
        let (mut bytes, mut contents) = (0, 0);
        let events = std::mem::take(&mut self.events);
        for (nth, event) in events.into_iter().enumerate() {
            if self.script.stall_after == Some(nth) {
                std::future::pending::<()>().await;
            }
            if event.content && self.script.error_after == Some(contents) {
                self.send(out, self.error.clone()).await?;
                return out.send(Step::End(Outcome::Failed)).await.ok();
            }
            if event.content && contents == 0 {
                tokio::time::sleep(Duration::from_millis(self.script.delay_content_ms)).await;
            } else if nth > 0 {
                tokio::time::sleep(pace).await;
            }
            if let Some((cut, keep)) = self.cut_in(nth, bytes, &event) {
                return self.cut(out, cut, event, keep).await;
            }
            bytes += event.bytes.len();
            contents += usize::from(event.content);
            self.send(out, event).await?;
        }
        if self.script.stall_after.is_some() || self.script.cut.is_some_and(|cut| cut.how != CutHow::End) {
            // The place lies behind the last event: the whole answer is out, and the end is still not there.
            if let Some(cut) = self.script.cut {
                return self.cut(out, cut, Event::raw(""), 0).await;
            }
            std::future::pending::<()>().await;
        }
        out.send(Step::End(Outcome::Completed)).await.ok()
    }

    async fn send(&self, out: &mpsc::Sender<Step>, event: Event) -> Option<()> {
        let mut paused = self.paused.clone();
        paused.wait_for(|paused| !paused).await.ok()?;
        out.send(Step::Event(event)).await.ok()
    }

    /// The cut that falls into this event, with the number of its bytes that still go out.
    fn cut_in(&self, nth: usize, before: usize, event: &Event) -> Option<(Cut, usize)> {
        let cut = self.script.cut?;
        let keep = match cut.at {
            CutAt::Events(events) => (nth == events).then_some(0),
            CutAt::InsideEvent(events) => (nth == events).then_some(event.bytes.len() / 2),
            CutAt::Bytes(bytes) => (bytes < before + event.bytes.len()).then(|| bytes - before),
            CutAt::InsideChar => event.bytes.iter().position(|byte| !byte.is_ascii()).map(|at| at + 1),
        };
        keep.map(|keep| (cut, keep))
    }

    async fn cut(&self, out: &mpsc::Sender<Step>, cut: Cut, event: Event, keep: usize) -> Option<()> {
        if keep > 0 {
            self.send(out, Event { bytes: event.bytes.slice(..keep), content: false, tokens: 0 }).await?;
        }
        if cut.how == CutHow::End {
            return out.send(Step::End(Outcome::Failed)).await.ok();
        }
        // The channel is empty once another place is free in it; then the bytes are with the connection.
        drop(out.reserve().await.ok()?);
        tokio::time::sleep(SETTLE).await;
        if cut.how == CutHow::Reset {
            self.line.reset_on_close();
        }
        out.send(Step::Break).await.ok()
    }
}
