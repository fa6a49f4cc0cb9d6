//! The configuration stream with both real sides, and no network between them: what a data plane refuses, and what comes
//! of it when the refused resource is mended, taken back or deleted. One stream has to last through all of it: a side
//! that counts its differences from another state than the other side does would have to reconnect.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::{convert::Infallible, sync::Arc, time::Instant};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use routeapi_channel::{
    Snapshot,
    frame::{FromDataPlane, FromOperator},
};
use routeapi_dataplane::{
    config::{
        install::Installer,
        runtime::Runtime,
        store::{Link, Origin, Store},
        subscribe::session::{Effect, Features, Session},
    },
    state::SharedState,
    upstream::AddressPolicy,
};
use routeapi_operator::{
    publish::{History, Publication},
    push::{
        ack::AckBook,
        lines::{Outbox, Outgoing},
        pod_name::PodName,
        session::{self, Peer, SessionContext, SessionEnd},
    },
};
use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// A stream between an operator and a data plane.
struct Stream {
    publications: watch::Sender<Option<Arc<Publication>>>,
    acks: Arc<AckBook>,
    say: mpsc::UnboundedSender<Bytes>,
    hear: Outgoing,
    buffer: Vec<u8>,
    ended: JoinHandle<SessionEnd>,
    session: Session,
    installer: Installer,
}

/// What one transaction did.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    put: usize,
    del: usize,
    refused: Vec<String>,
}

impl Stream {
    /// Of a data plane that holds nothing.
    fn open() -> Self {
        let store = Arc::new(Store::new(Runtime::default(), Link::Local));
        Self::open_with(
            Session::default(),
            Installer::new(store, Arc::new(SharedState::new(AddressPolicy::Workstation))),
        )
    }

    /// Of a data plane that was connected before.
    fn open_with(mut session: Session, installer: Installer) -> Self {
        let publications = watch::Sender::new(None);
        let acks = AckBook::new();
        let context = SessionContext {
            publications: publications.subscribe(),
            history: History::default(),
            response_ids: Arc::default(),
            issuer: Arc::default(),
            lists: Arc::new(Semaphore::new(session::MAX_CONCURRENT_LISTS)),
            acks: Arc::clone(&acks),
            metrics: Arc::default(),
            shutdown: CancellationToken::new(),
        };
        let (say, mut said) = mpsc::unbounded_channel::<Bytes>();
        let body = StreamBody::new(futures_util::stream::poll_fn(move |context| {
            said.poll_recv(context).map(|line| line.map(|line| Ok::<_, Infallible>(Frame::data(line))))
        }));
        let (outbox, hear) = Outbox::new();
        let pod = PodName { namespace: "ai".to_owned(), name: "one".to_owned() };
        let peer = Peer { uid: "one".to_owned(), pod };
        let ended = tokio::spawn(session::run(|_| peer, context, body, outbox, std::future::pending()));
        let hello = session.hello("one", "first", Features { list: true, nack_parts: true, credentials: true });
        let stream = Self { publications, acks, say, hear, buffer: Vec::new(), ended, session, installer };
        stream.say(&hello);
        stream
    }

    fn say(&self, frame: &FromDataPlane) {
        let mut line = serde_json::to_vec(frame).unwrap();
        line.push(b'\n');
        self.say.send(line.into()).unwrap();
    }

    async fn hear(&mut self) -> FromOperator {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let frame = self.hear.frame().await.expect("the stream lasts").unwrap();
            self.buffer.extend(frame.into_data().unwrap());
        }
    }

    /// Publishes a state and plays both sides until it is answered.
    async fn publish(&mut self, snapshot: Value) -> Told {
        let snapshot: Snapshot = serde_json::from_value(snapshot).unwrap();
        self.publications.send_replace(Some(Arc::new(Publication::of_snapshot(&snapshot).unwrap())));
        let mut told = Told { put: 0, del: 0, refused: Vec::new() };
        loop {
            let frame = self.hear().await;
            told.put += usize::from(matches!(frame, FromOperator::Put { .. }));
            told.del += usize::from(matches!(frame, FromOperator::Del { .. }));
            match self.session.receive(frame, Instant::now()).expect("both sides agree on what was told") {
                Effect::None | Effect::Share(_) | Effect::ResponseIdKeys(_) | Effect::ServiceAccountIssuer(_) => {}
                Effect::Send(frames) => frames.iter().for_each(|frame| self.say(frame)),
                Effect::Deferred(until) => panic!("nothing is older: {until:?}"),
                Effect::Install(target) => {
                    let refused = self.installer.install(&target.catalog, &target.revision, Origin::Operator);
                    told.refused = refused.iter().map(|problem| problem.key.id.to_string()).collect();
                    let answer = self.session.installed(target, self.installer.catalog(), &refused);
                    answer.iter().for_each(|frame| self.say(frame));
                    return told;
                }
            }
        }
    }

    fn provider(&self) -> Option<String> {
        let runtime = self.installer.store().current();
        Some(runtime.route("ai", "m")?.upstreams.first()?.provider.id.to_string())
    }

    /// How many refusals the operator knows of, once it has heard everything said so far.
    async fn refusals(&self, expected: usize) {
        let mut changed = self.acks.changed();
        let known = || self.acks.local_reports().first().map_or(0, |pod| pod.refused.len());
        while known() != expected {
            let next = tokio::time::timeout(std::time::Duration::from_secs(5), changed.changed()).await;
            assert!(next.is_ok(), "{} refusals are known, not {expected}", known());
        }
    }
}

/// A route `m` over provider `ai/up` at this address, and a token that changes with `number`.
fn state(address: Option<&str>, number: u32) -> Value {
    let provider = |url: &str| json!({"type": "OpenAI", "baseUrl": url, "eviction": {"consecutiveFailures": 5, "duration": "30s"}});
    let upstreams: Vec<Value> = address
        .iter()
        .map(|_| {
            json!({"name": "up", "provider": "ai/up", "priority": 0, "weight": 1,
                "timeouts": {"connect": "1s", "firstContent": "5s", "streamIdle": "5s", "request": "10s"}})
        })
        .collect();
    let providers: serde_json::Map<String, Value> =
        address.iter().map(|url| ("ai/up".to_owned(), provider(url))).collect();
    json!({
        "providers": providers,
        "routes": {"ai/m": {
            "models": ["m"], "listed": true, "created": 0, "allowedNamespaces": "all", "translation": "Default",
            "upstreams": upstreams, "fallback": {"conditions": [], "maxAttempts": 1, "maxRetryAfter": "1s"},
        }},
        "tokens": {"ai/t": {"keys": [], "models": ["*"], "maxConcurrentRequests": number}},
    })
}

const GOOD: Option<&str> = Some("https://good.example/v1");
const BAD: Option<&str> = Some("not a URL");

#[tokio::test]
async fn a_refused_change_may_be_taken_back_repeated_mended_or_deleted_on_one_stream() {
    let mut stream = Stream::open();
    let told =
        |put, del, refused: &[&str]| Told { put, del, refused: refused.iter().map(|it| (*it).to_owned()).collect() };
    assert_eq!(stream.publish(state(GOOD, 1)).await, told(3, 0, &[]));
    assert_eq!(stream.publish(state(BAD, 1)).await, told(1, 0, &["ai/up"]));
    stream.refusals(1).await;
    assert_eq!(stream.provider().as_deref(), Some("ai/up"), "the previous version stays in force");

    assert_eq!(stream.publish(state(GOOD, 1)).await, told(1, 0, &[]), "taken back");
    stream.refusals(0).await;
    assert_eq!(stream.publish(state(BAD, 1)).await, told(1, 0, &["ai/up"]), "broken again");
    stream.refusals(1).await;
    assert_eq!(stream.publish(state(BAD, 2)).await.put, 1, "another resource changes meanwhile, and only it is sent");
    stream.refusals(1).await;
    assert_eq!(stream.publish(state(None, 2)).await, told(1, 1, &[]), "deleted, with the route's upstream");
    stream.refusals(0).await;
    assert_eq!(stream.provider(), None);
    let again = stream.publish(state(BAD, 2)).await;
    assert_eq!(again, told(2, 0, &["ai/up", "ai/m"]), "made again, broken from the start, so the route has nothing");
    stream.refusals(2).await;
    assert_eq!(stream.publish(state(GOOD, 2)).await, told(1, 0, &[]), "mended");
    stream.refusals(0).await;
    assert_eq!(stream.provider().as_deref(), Some("ai/up"));
    assert!(!stream.ended.is_finished(), "one stream lasted through all of it");
}

#[tokio::test]
async fn a_stream_that_comes_back_is_told_what_was_refused_once_more() {
    let mut stream = Stream::open();
    stream.publish(state(GOOD, 1)).await;
    stream.publish(state(BAD, 1)).await;
    let mut again = Stream::open_with(stream.session, stream.installer);
    assert_eq!(again.publish(state(BAD, 1)).await, Told { put: 1, del: 0, refused: vec!["ai/up".to_owned()] });
    again.refusals(1).await;
    assert_eq!(again.publish(state(GOOD, 1)).await, Told { put: 1, del: 0, refused: Vec::new() });
    again.refusals(0).await;
}
