//! One request: as this pod to the gateway, and the answer back. It is sent again only as long as nothing of an answer has
//! come, and the gateway has not processed it: no connection, a refused stream, or one that a GOAWAY leaves out. A request
//! that only reads is also sent again when a connection breaks that has served others.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{Method, Request, Response, Version, request::Parts};
use http_body::Body as _;
use hyper::body::Incoming;
use routeapi_protocol::inbound::{self, Inbound};
use tokio::{
    sync::Notify,
    time::{sleep, timeout_at},
};

use super::{
    answer::AnswerBody,
    body::{Kept, RequestBody},
    head,
    record::{Guard, Log, Metrics},
    refusal::Refusal,
    settings::GatewayUrl,
    token::TokenFile,
};
use crate::{
    clock, random,
    request::{REQUEST_ID, family_of_path, wants_web_socket},
    server::{Drain, Handle},
    upstream::{ConnectTimeout, Host, MarkedBody, PooledBody, PooledConnection, SendError, SentMark},
};

/// Pauses before a connection is asked for again that could not be opened.
const CONNECT_PAUSES_MS: [u64; 6] = [50, 100, 200, 400, 800, 1_600];

/// Times that one request is sent at most.
const MAX_SENT: u32 = 5;

/// Forwards a pod's requests.
pub(super) struct Forwarder {
    pub gateway: GatewayUrl,
    pub host: Arc<Host>,
    /// For a connection, with all attempts to open one.
    pub connect: Duration,
    pub token: Arc<TokenFile>,
    pub kept: Arc<Kept>,
    pub metrics: Arc<Metrics>,
    pub log: Option<Arc<Log>>,
    pub drain: Drain,
    /// Is told when the gateway could not be reached.
    pub unreachable: Arc<Notify>,
}

/// Answers the app's requests.
#[derive(Clone)]
pub(super) struct Requests(pub Arc<Forwarder>);

impl Handle for Requests {
    type Body = AnswerBody;

    async fn handle(&self, _: SocketAddr, request: Request<Incoming>) -> Response<AnswerBody> {
        Box::pin(self.0.handle(request)).await
    }
}

impl Forwarder {
    async fn handle(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let mut guard = Guard::new(clock::now(), &head.method, head.uri.path(), &self.metrics, self.log.clone());
        let family = family_of_path(&head);
        let answered = tokio::select! {
            answered = self.forward(head, body, &mut guard) => answered,
            () = self.drain.expired() => Err(Refusal::ShuttingDown),
        };
        match answered {
            Ok(response) => {
                let (mut answer, body) = response.into_parts();
                answer.headers = head::to_client(answer.headers);
                answer.extensions.clear();
                answer.version = Version::default();
                let id = answer.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
                guard.head(answer.status.as_u16(), id);
                Response::from_parts(answer, AnswerBody::from_gateway(body, self.drain.expired_owned(), guard))
            }
            Err(refusal) => {
                let [high, low] = random::bits();
                let id = random::request_id(high, low);
                let response = refusal.answer(family, &id);
                guard.note(|record| {
                    (record.id, record.status) = (Some(id), Some(response.status().as_u16()));
                    (record.error, record.message) = (Some(refusal.code()), Some(refusal.to_string()));
                    record.response_bytes = response.body().len() as u64;
                });
                guard.end(refusal.outcome());
                response.map(AnswerBody::own)
            }
        }
    }

    async fn forward(&self, head: Parts, body: Incoming, guard: &mut Guard) -> Result<Response<PooledBody>, Refusal> {
        if wants_web_socket(&head) {
            let inbound = inbound::route(head.method.as_str(), head.uri.path(), head.uri.query());
            let is_realtime = matches!(inbound, Ok(Inbound::Session(_)));
            return Err(if is_realtime { Refusal::Realtime } else { Refusal::NoWebSocket });
        }
        let head = head::to_gateway(head, &self.gateway, &self.token.token()?)?;
        let length = body.size_hint().exact();
        let body = RequestBody::new(body, &self.kept);
        let sent = self.send(&head, &body, guard).await;
        // What is still on its way when an answer comes is known from its length alone.
        guard.note(|record| record.request_bytes = body.received().max(length.unwrap_or(0)));
        body.forget();
        match sent {
            Err(_) if body.is_broken() => Err(Refusal::BodyBroken),
            sent => sent,
        }
    }

    async fn send(&self, head: &Parts, body: &RequestBody, guard: &mut Guard) -> Result<Response<PooledBody>, Refusal> {
        let is_reading = matches!(head.method, Method::GET | Method::HEAD);
        let mut sent = 0;
        loop {
            let connection = self.connect(sent > 0).await.map_err(|error| self.unreachable(error))?;
            sent += 1;
            guard.note(|record| record.sent = sent);
            let error = match connection.send(request(head, body)).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let is_safe = error.is_unprocessed() || (is_reading && error.is_unseen());
            if !is_safe || sent == MAX_SENT || !body.can_be_sent_again() {
                self.unreachable.notify_one();
                return Err(match error {
                    SendError::Invalid(why) => Refusal::Malformed(why.into()),
                    error => Refusal::NoAnswer(error),
                });
            }
            tracing::debug!(%error, "a request is sent once more");
        }
    }

    /// A connection, or a stream of one. Asks again where none could be opened: nothing was sent.
    async fn connect(&self, is_again: bool) -> Result<PooledConnection, SendError> {
        let deadline = tokio::time::Instant::from_std(clock::mono()) + self.connect;
        let mut last = SendError::ConnectTimeout(ConnectTimeout { timeout: self.connect, proxy: None });
        let connecting = async {
            for pause in CONNECT_PAUSES_MS.map(Duration::from_millis) {
                match self.acquire(is_again).await {
                    Err(SendError::Connect(error)) => {
                        tracing::debug!(error, "no connection to the gateway");
                        self.unreachable.notify_one();
                        last = SendError::Connect(error);
                        sleep(pause).await;
                    }
                    acquired => return acquired,
                }
            }
            self.acquire(is_again).await
        };
        // Why there was none says more than that the time is over.
        timeout_at(deadline, connecting).await.unwrap_or_else(|_| Err(last))
    }

    async fn acquire(&self, is_again: bool) -> Result<PooledConnection, SendError> {
        if is_again { self.host.acquire_again().await } else { self.host.acquire().await }
    }

    fn unreachable(&self, error: SendError) -> Refusal {
        self.unreachable.notify_one();
        Refusal::Unreachable { gateway: self.gateway.clone(), error }
    }
}

fn request(head: &Parts, body: &RequestBody) -> Request<MarkedBody> {
    let mut request = Request::new(MarkedBody::new(body.attempt(), SentMark::default()));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.headers_mut() = head.headers.clone();
    request
}
