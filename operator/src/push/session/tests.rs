//! Sessions over an in-memory stream.

use std::{collections::BTreeMap, convert::Infallible};

use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use k8s_openapi::{ByteString, api::core::v1::Secret as KubeSecret};
use routeapi_channel::{
    Key, Kind, ObjectId,
    frame::{Held, MAX_LISTED},
};
use routeapi_crds::value::ModelPattern;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    publish::{History, Publication},
    push::{ack::AckBook, lines::Outgoing, pod_name::PodName},
};

/// The pod's end of a stream.
struct Pod {
    to_operator: mpsc::UnboundedSender<Bytes>,
    from_operator: Outgoing,
    buffer: Vec<u8>,
    ended: JoinHandle<SessionEnd>,
}

/// A frame as data planes of the first version sent it.
fn hello(revision: Option<Revision>, held: Vec<Held>) -> Hello {
    let (pod, instance) = ("p".to_owned(), "i".to_owned());
    Hello { v: 1, pod, instance, revision, held, features: vec![], floor: BTreeMap::default() }
}

struct Operator {
    publications: watch::Sender<Option<Arc<Publication>>>,
    context: SessionContext,
}

impl Operator {
    fn new(first: Option<Publication>) -> Self {
        let publications = watch::Sender::new(first.map(Arc::new));
        let context = SessionContext {
            publications: publications.subscribe(),
            history: History::default(),
            response_ids: Arc::default(),
            issuer: Arc::default(),
            lists: Arc::new(Semaphore::new(MAX_CONCURRENT_LISTS)),
            acks: AckBook::new(),
            metrics: Arc::default(),
            shutdown: CancellationToken::new(),
        };
        Self { publications, context }
    }

    fn connect(&self, uid: &str) -> Pod {
        let (to_operator, mut received) = mpsc::unbounded_channel::<Bytes>();
        let stream = futures_util::stream::poll_fn(move |context| {
            received.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk))))
        });
        let (outbox, from_operator) = Outbox::new();
        let pod = PodName { namespace: "ai".into(), name: uid.into() };
        let peer = Peer { uid: uid.into(), pod };
        let context = self.context.clone();
        let ended = tokio::spawn(async move {
            run(|_| peer, context, StreamBody::new(stream), outbox, std::future::pending()).await
        });
        Pod { to_operator, from_operator, buffer: Vec::new(), ended }
    }
}

impl Pod {
    fn send(&self, frame: &FromDataPlane) {
        self.line(&serde_json::to_string(frame).unwrap());
    }

    fn line(&self, line: &str) {
        self.to_operator.send(format!("{line}\n").into()).unwrap();
    }

    fn hello(&self, revision: Option<Revision>, held: Vec<Held>) {
        self.send(&FromDataPlane::Hello(hello(revision, held)));
    }

    async fn receive(&mut self) -> FromOperator {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.buffer.drain(..=at).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let frame = self.from_operator.frame().await.expect("the session continues").unwrap();
            self.buffer.extend(frame.into_data().unwrap());
        }
    }

    /// (base, names put, names deleted, revision)
    async fn transaction(&mut self) -> (Option<Revision>, Vec<String>, Vec<String>, Revision) {
        let mut frame = self.receive().await;
        while matches!(frame, FromOperator::Fleet { .. } | FromOperator::Ping {}) {
            frame = self.receive().await;
        }
        let FromOperator::Begin { revision, base, count, .. } = frame else { panic!("not a begin: {frame:?}") };
        let (mut put, mut del) = (Vec::new(), Vec::new());
        for _ in 0..count {
            match self.receive().await {
                FromOperator::Put { id, .. } => put.push(id.name().to_owned()),
                FromOperator::Del { id, .. } => del.push(id.name().to_owned()),
                other => panic!("neither put nor del: {other:?}"),
            }
        }
        let FromOperator::Commit { revision: committed } = self.receive().await else { panic!("not a commit") };
        assert_eq!(committed, revision);
        (base, put, del, revision)
    }
}

/// A state with these tokens; the number makes versions differ.
fn state(tokens: &[(&str, u32)]) -> Publication {
    let mut snapshot = routeapi_channel::Snapshot::default();
    for (name, number) in tokens {
        let token = routeapi_channel::snapshot::Token {
            keys: Vec::new(),
            models: vec!["*".parse::<ModelPattern>().unwrap()],
            limits: Vec::new(),
            max_concurrent_requests: Some(*number),
            expires: None,
            service_accounts: Vec::new(),
            deny_unpriced: false,
            suspended: false,
        };
        snapshot.tokens.insert(ObjectId::new("shop", *name), token);
    }
    Publication::of_snapshot(&snapshot).unwrap()
}

fn key(name: &str) -> Key {
    Key { kind: Kind::Token, id: ObjectId::new("shop", name) }
}

#[tokio::test]
async fn a_new_pod_gets_everything_and_then_differences() {
    let first = state(&[("a", 1), ("b", 1)]);
    let operator = Operator::new(Some(first));
    let mut pod = operator.connect("1");
    pod.hello(None, vec![]);
    let (base, put, del, revision) = pod.transaction().await;
    assert_eq!((base, put, del), (None, vec!["a".to_owned(), "b".to_owned()], vec![]));
    pod.send(&FromDataPlane::Ack { revision: revision.clone() });
    assert!(matches!(pod.receive().await, FromOperator::Fleet { pods: 1, rank: 0 }), "after the first commit");
    assert_eq!(operator.context.acks.local_reports()[0].revision, Some(revision.clone()));

    operator.publications.send_replace(Some(Arc::new(state(&[("a", 2), ("c", 1)]))));
    let (base, put, del, _) = pod.transaction().await;
    assert_eq!((base, put, del), (Some(revision), vec!["a".to_owned(), "c".to_owned()], vec!["b".to_owned()]));
}

#[tokio::test]
async fn keys_of_response_ids_come_first_and_again_when_they_change() {
    let operator = Operator::new(Some(state(&[])));
    let derive = |private: &str| {
        let data = [("ca.key".to_owned(), ByteString(private.as_bytes().to_vec()))].into();
        operator.context.response_ids.derive(&KubeSecret { data: Some(data), ..KubeSecret::default() });
    };
    derive("one");
    let (mut pod, mut older) = (operator.connect("1"), operator.connect("2"));
    older.send(&modern(None));
    let features = vec![frame::FEATURE_RESPONSE_IDS.to_owned()];
    pod.send(&FromDataPlane::Hello(Hello { features, ..hello(None, vec![]) }));
    let FromOperator::ResponseIdKeys { keys: first } = pod.receive().await else { panic!("no keys") };
    pod.transaction().await;
    derive("two");
    let FromOperator::ResponseIdKeys { keys: second } = pod.receive().await else { panic!("no keys") };
    assert!(first.len() == 1 && second.len() == 1 && first != second);
    older.transaction().await;
}

#[tokio::test]
async fn issuer_of_service_account_tokens_comes_first_and_again_when_it_changes() {
    let operator = Operator::new(Some(state(&[])));
    let issuer = |name: &str| ServiceAccountIssuer { issuer: name.to_owned(), keys: Vec::new() };
    operator.context.issuer.set(issuer("one"));
    let (mut pod, mut older) = (operator.connect("1"), operator.connect("2"));
    older.send(&modern(None));
    let features = vec![frame::FEATURE_SERVICE_ACCOUNTS.to_owned()];
    pod.send(&FromDataPlane::Hello(Hello { features, ..hello(None, vec![]) }));
    let FromOperator::ServiceAccountIssuer(first) = pod.receive().await else { panic!("no issuer") };
    pod.transaction().await;
    operator.context.issuer.set(issuer("two"));
    let FromOperator::ServiceAccountIssuer(second) = pod.receive().await else { panic!("no issuer") };
    assert_eq!((first, second), (issuer("one"), issuer("two")));
    older.transaction().await;
}

#[tokio::test]
async fn a_pod_that_has_the_state_gets_a_commit_only() {
    let current = state(&[("a", 1), ("b", 1)]);
    let held = current.catalog.iter().map(|(key, entry)| Held { key: key.clone(), v: entry.version.clone() }).collect();
    let revision = current.revision.clone();
    let operator = Operator::new(Some(current));
    let mut pod = operator.connect("1");
    pod.hello(Some(revision.clone()), held);
    let (base, put, del, committed) = pod.transaction().await;
    assert_eq!((base, put.len(), del.len(), &committed), (Some(revision.clone()), 0, 0, &revision));
    assert_eq!(operator.context.metrics.puts(), 0);
}

#[tokio::test]
async fn states_published_during_a_transaction_are_merged() {
    let operator = Operator::new(Some(state(&[("a", 1)])));
    let mut pod = operator.connect("1");
    pod.hello(None, vec![]);
    let (.., first) = pod.transaction().await;
    for number in 2..50 {
        operator.publications.send_replace(Some(Arc::new(state(&[("a", number), ("b", number)]))));
    }
    pod.send(&FromDataPlane::Ack { revision: first });
    let (_, put, _, revision) = pod.transaction().await;
    assert_eq!(put, ["a", "b"]);
    assert_eq!(revision, state(&[("a", 49), ("b", 49)]).revision, "the newest, not the next");
}

#[tokio::test]
async fn a_rejection_is_recorded_until_another_version_is_acknowledged() {
    let operator = Operator::new(Some(state(&[("a", 1), ("b", 1)])));
    let mut pod = operator.connect("1");
    pod.hello(None, vec![]);
    let (.., revision) = pod.transaction().await;
    let error = routeapi_channel::catalog::Unreadable { key: key("a"), message: "unknown field".into() };
    pod.send(&FromDataPlane::Nack { revision, errors: vec![error.clone()], more: false });
    assert!(matches!(pod.receive().await, FromOperator::Fleet { .. }));
    let recorded = &operator.context.acks.local_reports()[0].refused;
    assert_eq!((recorded.len(), recorded[0].message.as_str()), (1, "unknown field"));

    operator.publications.send_replace(Some(Arc::new(state(&[("a", 1), ("b", 2)]))));
    let (_, put, _, revision) = pod.transaction().await;
    assert_eq!(put, ["b"], "the refused version is not sent again");
    pod.send(&FromDataPlane::Nack { revision, errors: vec![error], more: false });
    operator.publications.send_replace(Some(Arc::new(state(&[("a", 2), ("b", 2)]))));
    let (_, put, _, revision) = pod.transaction().await;
    assert_eq!(put, ["a"]);
    assert_eq!(operator.context.acks.local_reports()[0].refused.len(), 1, "an answer names all that is lacking");
    let mut changed = operator.context.acks.changed();
    changed.mark_unchanged();
    pod.send(&FromDataPlane::Ack { revision });
    changed.changed().await.unwrap();
    assert!(operator.context.acks.local_reports()[0].refused.is_empty());
}

#[tokio::test]
async fn nothing_is_sent_before_there_is_a_state() {
    let operator = Operator::new(None);
    let mut pod = operator.connect("1");
    pod.hello(None, vec![]);
    operator.publications.send_replace(Some(Arc::new(state(&[]))));
    let (_, put, ..) = pod.transaction().await;
    assert!(put.is_empty(), "an empty state is a state");
}

#[tokio::test]
async fn protocol_violations_end_the_session() {
    let operator = Operator::new(Some(state(&[])));
    let pod = operator.connect("1");
    pod.send(&FromDataPlane::Pong {});
    assert!(matches!(pod.ended.await.unwrap(), SessionEnd::Protocol(_)), "no hello");

    let pod = operator.connect("2");
    pod.send(&FromDataPlane::Hello(Hello { v: 99, ..hello(None, vec![]) }));
    assert!(matches!(pod.ended.await.unwrap(), SessionEnd::Protocol(_)), "another version");

    let mut pod = operator.connect("3");
    pod.hello(None, vec![]);
    pod.transaction().await;
    pod.send(&FromDataPlane::Ack { revision: state(&[("x", 1)]).revision });
    assert!(matches!(pod.ended.await.unwrap(), SessionEnd::Protocol(_)), "an answer to nothing");
    assert!(operator.context.acks.local_reports().is_empty(), "and its place is free");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_sends_nothing_times_out() {
    let operator = Operator::new(None);
    let silent = operator.connect("1");
    silent.hello(None, vec![]);
    let mut talking = operator.connect("2");
    talking.hello(None, vec![]);
    for _ in 0..10 {
        assert!(matches!(talking.receive().await, FromOperator::Ping {}));
        talking.send(&FromDataPlane::Pong {});
    }
    assert!(matches!(silent.ended.await.unwrap(), SessionEnd::TimedOut));
    assert!(!talking.ended.is_finished());
}

#[tokio::test(start_paused = true)]
async fn an_older_stream_of_a_pod_ends_when_a_newer_one_opens() {
    let operator = Operator::new(None);
    let mut older = operator.connect("1");
    older.hello(None, vec![]);
    assert!(matches!(older.receive().await, FromOperator::Ping {}));
    let newer = operator.connect("1");
    newer.hello(None, vec![]);
    assert!(matches!(older.ended.await.unwrap(), SessionEnd::Superseded));
    assert_eq!(operator.context.acks.local_reports().len(), 1);
}

#[tokio::test]
async fn shutdown_ends_the_response_gracefully() {
    let operator = Operator::new(Some(state(&[])));
    let mut pod = operator.connect("1");
    pod.hello(None, vec![]);
    pod.transaction().await;
    operator.context.shutdown.cancel();
    assert!(matches!(pod.ended.await.unwrap(), SessionEnd::Shutdown));
    assert!(pod.from_operator.frame().await.is_none(), "an end, not an error");
}

fn listed(catalog: &Catalog) -> Vec<Held> {
    catalog.iter().map(|(key, entry)| Held { key: key.clone(), v: entry.version.clone() }).collect()
}

fn modern(revision: Option<Revision>) -> FromDataPlane {
    let features = [frame::FEATURE_LIST, frame::FEATURE_NAMESPACES].map(str::to_owned).to_vec();
    FromDataPlane::Hello(Hello { features, ..hello(revision, vec![]) })
}

#[tokio::test]
async fn a_known_revision_is_not_listed() {
    let (old, new) = (state(&[("a", 1), ("b", 1)]), state(&[("a", 1), ("b", 2)]));
    let revision = old.revision.clone();
    let operator = Operator::new(Some(new));
    operator.context.history.push(revision.clone(), Arc::clone(&old.catalog), Arc::default());
    let mut pod = operator.connect("1");
    pod.send(&modern(Some(revision.clone())));
    let (base, put, ..) = pod.transaction().await;
    assert_eq!((base, put), (Some(revision), vec!["b".to_owned()]));
}

#[tokio::test]
async fn an_unknown_revision_is_listed_in_parts() {
    let old = state(&[("a", 1), ("b", 1), ("c", 1)]);
    let operator = Operator::new(Some(state(&[("a", 1), ("b", 2), ("d", 1)])));
    let mut pod = operator.connect("1");
    pod.send(&modern(Some(old.revision.clone())));
    assert!(matches!(pod.receive().await, FromOperator::List {}));
    let items = listed(&old.catalog);
    let (first, rest) = items.split_at(1);
    pod.send(&FromDataPlane::Held { items: first.to_vec(), more: true });
    pod.send(&FromDataPlane::Held { items: rest.to_vec(), more: false });
    let (base, put, del, _) = pod.transaction().await;
    assert_eq!(base, Some(old.revision));
    assert_eq!((put, del), (vec!["b".to_owned(), "d".to_owned()], vec!["c".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn without_a_permit_to_list_everything_is_sent() {
    let operator = Operator::new(Some(state(&[("a", 1)])));
    let _taken = Arc::clone(&operator.context.lists).acquire_many_owned(4).await.unwrap();
    let mut pod = operator.connect("1");
    pod.send(&modern(Some(state(&[("x", 1)]).revision)));
    let (base, put, ..) = pod.transaction().await;
    assert_eq!((base, put), (None, vec!["a".to_owned()]));
}

#[tokio::test]
async fn an_oversized_list_ends_the_session() {
    let operator = Operator::new(Some(state(&[])));
    let mut pod = operator.connect("1");
    pod.send(&modern(Some(state(&[("x", 1)]).revision)));
    assert!(matches!(pod.receive().await, FromOperator::List {}));
    let version = routeapi_channel::Entry::new(serde_json::value::to_raw_value(&1).unwrap().into()).version;
    let item = |at: usize| Held { key: key(&at.to_string()), v: version.clone() };
    for part in 0..=MAX_LISTED / frame::PART {
        let items = (0..frame::PART).map(|at| item(part * frame::PART + at)).collect();
        pod.send(&FromDataPlane::Held { items, more: true });
    }
    assert!(matches!(pod.ended.await.unwrap(), SessionEnd::Protocol(_)));
}

#[tokio::test]
async fn a_nack_in_parts_is_one_acknowledgement() {
    let operator = Operator::new(Some(state(&[("a", 1), ("b", 1), ("c", 1)])));
    let mut pod = operator.connect("1");
    pod.send(&modern(None));
    let (.., revision) = pod.transaction().await;
    let error = |name| routeapi_channel::catalog::Unreadable { key: key(name), message: "no".repeat(4096) };
    pod.send(&FromDataPlane::Nack { revision: revision.clone(), errors: vec![error("a")], more: true });
    pod.send(&FromDataPlane::Nack { revision: revision.clone(), errors: vec![error("b")], more: false });
    assert!(matches!(pod.receive().await, FromOperator::Fleet { .. }));
    let recorded = &operator.context.acks.local_reports()[0];
    assert_eq!((recorded.revision.as_ref(), recorded.refused.len()), (Some(&revision), 2));
    assert!(recorded.refused[0].message.len() <= frame::MAX_REFUSAL);

    operator.publications.send_replace(Some(Arc::new(state(&[("a", 2)]))));
    let (.., revision) = pod.transaction().await;
    pod.send(&FromDataPlane::Nack { revision, errors: vec![error("a"), error("x")], more: true });
    assert!(matches!(pod.ended.await.unwrap(), SessionEnd::Protocol(_)), "more than it was sent");
}

/// With a route that selects namespaces by label, and tokens in two of them.
fn selecting() -> Publication {
    let value = serde_json::json!({
        "routes": {"ai/gold": {
            "models": ["gold"], "listed": true, "created": 0, "translation": "Default", "upstreams": [],
            "allowedNamespaces": {"selector": {"matchLabels": {"tier": "gold"}}},
            "fallback": {"conditions": [], "maxAttempts": 1, "maxRetryAfter": "0s"}}},
        "tokens": {"shop/a": {"keys": [], "models": ["*"]}, "lab/b": {"keys": [], "models": ["*"]}},
        "namespaces": {"shop": {"labels": {"tier": "gold"}}},
    });
    Publication::of_snapshot(&serde_json::from_value(value).unwrap()).unwrap()
}

#[tokio::test]
async fn a_version_1_data_plane_gets_names_instead_of_selectors() {
    let state = selecting();
    let (catalog, key) = (Arc::clone(&state.catalog), Key { kind: Kind::Route, id: ObjectId::new("ai", "gold") });
    let operator = Operator::new(Some(state));
    let publication = operator.publications.borrow().clone().unwrap();
    operator.context.history.push(catalog.revision(), catalog, publication.selectorless_revision());
    let mut pod = operator.connect("1");
    pod.hello(None, vec![]);
    assert!(matches!(pod.receive().await, FromOperator::Begin { count: 3, .. }));
    let FromOperator::Put { id, body, .. } = pod.receive().await else { panic!("not a put") };
    let route: serde_json::Value = serde_json::from_str(body.get()).unwrap();
    assert_eq!((id.name(), &route["allowedNamespaces"]), ("gold", &serde_json::json!({"only": ["shop"]})));
    let (FromOperator::Put { .. }, FromOperator::Put { .. }) = (pod.receive().await, pod.receive().await) else {
        panic!()
    };
    let FromOperator::Commit { revision } = pod.receive().await else { panic!("not a commit") };
    pod.send(&FromDataPlane::Ack { revision });
    assert!(matches!(pod.receive().await, FromOperator::Fleet { .. }));
    let history = operator.context.history.clone();
    let summary = operator.context.acks.summary(|revision| history.resolve(revision));
    let version = &publication.catalog.get(&key).unwrap().version;
    assert!(summary.of(&key, version).complete(), "its answer is about the state that statuses ask about");
}

#[tokio::test]
async fn a_new_namespace_changes_no_route() {
    let operator = Operator::new(Some(selecting()));
    let mut pod = operator.connect("1");
    pod.send(&modern(None));
    let (_, put, _, revision) = pod.transaction().await;
    assert_eq!(put, ["gold", "b", "a", "shop"]);
    pod.send(&FromDataPlane::Ack { revision });
    let (mut snapshot, _) = selecting().catalog.decode();
    let labels = [("tier".to_owned(), "gold".to_owned())].into();
    let namespace = routeapi_channel::snapshot::Namespace { labels, unknown: false };
    snapshot.namespaces.insert("new".to_owned(), namespace);
    operator.publications.send_replace(Some(Arc::new(Publication::of_snapshot(&snapshot).unwrap())));
    let (_, put, ..) = pod.transaction().await;
    assert_eq!(put, ["new"]);
}

#[tokio::test]
async fn rejected_keys_are_recorded_up_to_a_limit() {
    let operator = Operator::new(Some(state(&[])));
    let mut pod = operator.connect("1");
    pod.hello(None, vec![]);
    let (.., revision) = pod.transaction().await;
    pod.send(&FromDataPlane::Ack { revision });
    let vendor = ObjectId::new("ai", "vendor");
    let key = frame::RejectedKey { provider: vendor.clone(), status: 401, since: 7, message: None };
    let mut changed = operator.context.acks.changed();
    pod.send(&FromDataPlane::Credentials { rejected: vec![key.clone()] });
    let rejection = || operator.context.acks.summary(|_| None).key_rejection(&vendor);
    while rejection().is_none() {
        changed.changed().await.unwrap();
    }
    assert_eq!(rejection().map(|rejection| (rejection.status, rejection.since)), Some((401, 7)));
    pod.send(&FromDataPlane::Credentials { rejected: vec![key; frame::PART + 1] });
    assert!(matches!(pod.ended.await.unwrap(), SessionEnd::Protocol(_)));
    assert_eq!(rejection(), None, "it is not connected any more");
}

#[tokio::test]
async fn unknown_frames_and_kinds_of_a_newer_data_plane_do_no_harm() {
    let operator = Operator::new(Some(state(&[("a", 1)])));
    let mut pod = operator.connect("1");
    pod.line(r#"{"weather":{"rain":true}}"#);
    let mut held = listed(&state(&[("a", 1)]).catalog);
    held.push(serde_json::from_str(r#"{"t":"quota","id":"ai/q","v":"00ff00ff00ff00ff"}"#).unwrap());
    pod.hello(Some(state(&[("z", 1)]).revision), held);
    let (_, put, del, revision) = pod.transaction().await;
    assert_eq!((put, del), (vec![], vec!["q".to_owned()]), "what it does not know is taken away");
    pod.send(&FromDataPlane::Ack { revision });
    pod.line(r#"{"weather":{"rain":false}}"#);
    let next = state(&[("a", 2)]);
    operator.publications.send_replace(Some(Arc::new(next)));
    let (_, put, ..) = pod.transaction().await;
    assert_eq!(put, ["a"]);
}
