//! What is said in a session, passed on both ways: a message at a time, the next one only when the last is written.
//!
//! Messages go on as they are, but for the model's name in a client's `session.update`. Pings are answered here and not
//! passed on, since each connection has to be kept open by itself.

use std::{future::pending, sync::Arc, time::Duration};

use bytes::BytesMut;
use hyper::upgrade::OnUpgrade;
use routeapi_protocol::{
    problem::Problem,
    realtime::{self, Answers, Refused},
    websocket::{Incoming, Opcode, Role},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    time::timeout,
};

use super::{
    echo,
    end::{End, Farewell, Side, Verdict},
    outbox::Outbox,
    socket::{self, ClientIo, Heard, Receiver, Sender, Unsent},
    watch::Watch,
};
use crate::{
    clock,
    config::runtime::Upstream,
    counted::Counted,
    limits::Account,
    request::{
        answer::UpstreamPermits, config_view::ConfigView, deadline::deadline_in, gateway::Gateway,
        memory::MemoryPermit, offload::DeadlinePassed, settle::Guard,
    },
    upstream::WebSocketIo,
};

/// How long a large message may wait for a thread.
const OFFLOAD_PATIENCE: Duration = Duration::from_secs(30);

/// How long a side may take to answer a close frame.
const CLOSING: Duration = Duration::from_secs(2);

/// The same when the process ends, which leaves two seconds for last words.
const CLOSING_AT_SHUTDOWN: Duration = Duration::from_secs(1);

/// Frames of a client in a second that the gateway has to answer: far more than any client pings.
const MOST_CONTROL_FRAMES: u32 = 100;

/// A session whose upstream is open, and whose client is about to be.
pub(super) struct Session {
    pub guard: Guard,
    pub view: ConfigView,
    pub upstream: Arc<Upstream>,
    pub permits: UpstreamPermits,
    /// The model as the client named it.
    pub asked: Arc<str>,
}

/// What both directions need.
struct Shared {
    gateway: Arc<Gateway>,
    account: Arc<Account>,
    /// The model as the client named it, and as the upstream knows it.
    asked: Arc<str>,
    sent: Arc<str>,
    /// The last message, whoever sent it.
    message: Heard,
    client: Peer,
    upstream: Peer,
    /// Names the gateway's own events.
    id: String,
}

/// What is known of one side.
#[derive(Clone)]
struct Peer {
    outbox: Arc<Outbox>,
    heard: Heard,
}

/// Control frames in the second that runs.
struct Flood {
    since: std::time::Instant,
    count: u32,
}

impl Session {
    /// Runs from the moment in which HTTP ends on the client's connection to the end of both.
    pub(super) async fn run(self, upgrade: OnUpgrade, io: WebSocketIo, echo: Option<DuplexStream>) {
        let Self { mut guard, view, upstream, permits, asked } = self;
        // Dropped without it, the guard knows that the client has gone.
        let Some(client) = socket::handed_over(upgrade).await else { return };
        let gateway = Arc::clone(guard.gateway());
        let _open = Counted::in_gauge(gateway.metrics.sessions());
        let account = Arc::clone(&view.caller().token.account);
        let (most, write_timeout) = (gateway.settings.sessions.max_message_bytes, gateway.settings.client_write);
        let sent = upstream.model.as_deref().map_or_else(|| Arc::clone(&asked), Arc::from);
        let shared = Shared {
            account: Arc::clone(&account),
            asked: Arc::clone(&asked),
            sent: Arc::clone(&sent),
            message: Heard::new(),
            client: Peer::new(),
            upstream: Peer::new(),
            id: guard.context().id.clone(),
            gateway: Arc::clone(&gateway),
        };
        let part = |peer: &Peer| (MemoryPermit::new(&gateway, &account), peer.heard.clone());
        let (mut from_client, mut to_client) =
            socket::split(client, Role::Server, most, write_timeout, part(&shared.client));
        let (mut from_upstream, mut to_upstream) =
            socket::split(io, Role::Client, most, write_timeout, part(&shared.upstream));
        let watch = Watch {
            gateway: Arc::clone(&gateway),
            view,
            asked,
            sides: [(Side::Client, &shared.client), (Side::Upstream, &shared.upstream)]
                .map(|(side, peer)| (side, Arc::clone(&peer.outbox), peer.heard.clone())),
            message: shared.message.clone(),
        };
        let echo = async {
            if let Some(io) = echo {
                echo::serve(io, &sent, most).await;
            }
            pending::<End>().await
        };
        let talk = async {
            let end = tokio::select! {
                end = shared.upward(&mut from_client, &mut to_upstream) => end,
                end = shared.downward(&mut from_upstream, &mut to_client, &mut guard) => end,
                end = watch.run() => end,
            };
            let Verdict { outcome, message, event, client, upstream } = end.verdict();
            if let Some(message) = message {
                guard.facts.explain(&message);
            }
            // At once, so that a client that connects again finds its place free.
            guard.finish(outcome);
            drop(permits);
            let event = event.map(|problem| shared.event(&problem, None));
            let closing_timeout = if gateway.drain.is_expired() { CLOSING_AT_SHUTDOWN } else { CLOSING };
            tokio::join!(
                part_from((&mut from_client, &mut to_client), client, event, closing_timeout),
                part_from((&mut from_upstream, &mut to_upstream), upstream, None, closing_timeout),
            );
        };
        tokio::select! {
            () = talk => {}
            _never = echo => {}
        }
    }
}

impl Shared {
    /// From the client to the upstream.
    async fn upward(&self, from: &mut Receiver<ClientIo>, to: &mut Sender<WebSocketIo>) -> End {
        let mut flood = Flood { since: clock::mono(), count: 0 };
        loop {
            let incoming = tokio::select! {
                biased;
                frame = self.upstream.outbox.next() => {
                    if let Err(unsent) = self.upstream.say(to, frame).await {
                        return End::unsent(Side::Upstream, &unsent);
                    }
                    continue;
                }
                incoming = from.next() => incoming,
            };
            match incoming {
                Err(broken) => return End::broken(Side::Client, &broken),
                Ok(Incoming::Close(close)) => return End::Closed(Side::Client, close),
                Ok(Incoming::Binary(_)) => return End::Binary,
                Ok(Incoming::Ping(_) | Incoming::Pong) if flood.is_one() => return End::Flood,
                Ok(Incoming::Ping(payload)) => self.client.outbox.pong(payload),
                Ok(Incoming::Pong) => {}
                Ok(Incoming::Text(payload)) => {
                    if let Err(end) = self.pass_up(payload, to).await {
                        return end;
                    }
                    from.passed_on();
                }
            }
        }
    }

    /// Passes a client's event on, if it may have it.
    async fn pass_up(&self, payload: BytesMut, to: &mut Sender<WebSocketIo>) -> Result<(), End> {
        self.message.now();
        let (asked, sent, length) = (Arc::clone(&self.asked), Arc::clone(&self.sent), payload.len());
        let check = move || {
            let checked = realtime::check(&payload, &asked, &sent);
            (payload, checked)
        };
        let (mut payload, checked) = self.offload(length, check).await?;
        match checked {
            Ok(changed) => {
                if let Some(changed) = changed {
                    payload = BytesMut::from(&*changed);
                }
                let sent = to.send(Opcode::Text, &mut payload).await;
                sent.map_err(|unsent| End::unsent(Side::Upstream, &unsent))
            }
            Err(Refused { problem, event }) => {
                let event = self.event(&problem, event.as_deref());
                self.client.outbox.event(event).map_err(|_flooded| End::Flood)
            }
        }
    }

    /// From the upstream to the client.
    async fn downward(&self, from: &mut Receiver<WebSocketIo>, to: &mut Sender<ClientIo>, guard: &mut Guard) -> End {
        let mut answers = Answers::default();
        loop {
            let incoming = tokio::select! {
                biased;
                frame = self.client.outbox.next() => {
                    guard.facts.add_sent(frame.1.len());
                    if let Err(unsent) = self.client.say(to, frame).await {
                        return End::unsent(Side::Client, &unsent);
                    }
                    continue;
                }
                incoming = from.next() => incoming,
            };
            let (opcode, mut payload) = match incoming {
                Err(broken) => return End::broken(Side::Upstream, &broken),
                Ok(Incoming::Close(close)) => return End::Closed(Side::Upstream, close),
                Ok(Incoming::Ping(payload)) => {
                    self.upstream.outbox.pong(payload);
                    continue;
                }
                Ok(Incoming::Pong) => continue,
                Ok(Incoming::Text(payload)) => (Opcode::Text, payload),
                Ok(Incoming::Binary(payload)) => (Opcode::Binary, payload),
            };
            self.message.now();
            guard.facts.add_sent(payload.len());
            let mut room = Ok(());
            if opcode == Opcode::Text {
                match self.read(payload, &mut answers, guard).await {
                    Ok((read, found)) => (payload, room) = (read, found),
                    Err(end) => return end,
                }
            }
            if let Err(unsent) = to.send(opcode, &mut payload).await {
                return End::unsent(Side::Client, &unsent);
            }
            from.passed_on();
            // What was paid for has gone out.
            if let Err(end) = room {
                return end;
            }
        }
    }

    /// Reads what an upstream's event says of usage, and counts it. Returns the event, and whether the session may go on
    /// behind it.
    async fn read(
        &self,
        payload: BytesMut,
        answers: &mut Answers,
        guard: &mut Guard,
    ) -> Result<(BytesMut, Result<(), End>), End> {
        let (mut known, length) = (answers.clone(), payload.len());
        let read = move || {
            let is_final = known.read(&payload);
            (payload, known, is_final)
        };
        let (payload, known, is_final) = self.offload(length, read).await?;
        *answers = known;
        guard.session_used(answers.usage(), answers.has_content());
        let room = if is_final { guard.count_session(&answers.settled()).map_err(End::Limit) } else { Ok(()) };
        Ok((payload, room))
    }

    async fn offload<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, End> {
        let by = deadline_in(clock::mono(), OFFLOAD_PATIENCE);
        self.gateway.offload.run(&self.account, bytes, by, work).await.map_err(|DeadlinePassed| End::Busy)
    }

    fn event(&self, problem: &Problem, about: Option<&str>) -> String {
        realtime::error_event(problem, &self.id, about)
    }
}

impl Peer {
    fn new() -> Self {
        Self { outbox: Arc::new(Outbox::new()), heard: Heard::new() }
    }

    /// Sends what the gateway itself has to say.
    async fn say<I: AsyncWrite>(
        &self,
        to: &mut Sender<I>,
        (opcode, mut payload): (Opcode, BytesMut),
    ) -> Result<(), Unsent> {
        if opcode == Opcode::Ping {
            self.outbox.sending_ping(&self.heard);
        }
        to.send(opcode, &mut payload).await
    }
}

impl Flood {
    /// Counts one more. Whether that is too many.
    fn is_one(&mut self) -> bool {
        let now = clock::mono();
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count > MOST_CONTROL_FRAMES
    }
}

/// Parts from one side.
async fn part_from<I: AsyncRead + AsyncWrite>(
    (from, to): (&mut Receiver<I>, &mut Sender<I>),
    farewell: Farewell,
    event: Option<String>,
    closing_timeout: Duration,
) {
    let parting = async {
        if let Some(event) = event.filter(|_| farewell != Farewell::Nothing) {
            to.send(Opcode::Text, &mut event.into_bytes()).await?;
        }
        match farewell {
            Farewell::Nothing => {}
            Farewell::Answer(close) => to.close(close.as_ref()).await?,
            Farewell::Say(close) => {
                to.close(close.as_ref()).await?;
                from.await_close().await;
            }
            Farewell::Refuse(close) => {
                to.close(Some(&close)).await?;
                to.shut_down().await;
                from.discard().await;
            }
        }
        Ok::<(), Unsent>(())
    };
    // A side that does not take its leave in time is left without it.
    let _ = timeout(closing_timeout, parting).await;
    let _ = timeout(closing_timeout, to.shut_down()).await;
}
