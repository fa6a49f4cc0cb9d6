use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::{Value, json};
use tower_service::Service;

use super::*;

#[test]
fn delays_double_up_to_the_maximum_and_never_end() {
    let mut delays = WatchBackoff::default();
    let seen: Vec<_> = delays.by_ref().take(100).collect();
    let within = |at: usize, exact: Duration| (exact * 3 / 4..=exact * 5 / 4).contains(&seen[at]);
    assert!(within(0, RESTART.first) && within(1, RESTART.first * 2) && within(99, RESTART.max), "{seen:?}");
    delays.reset();
    assert!(delays.next().unwrap() <= RESTART.first * 5 / 4);
}

/// An API server that has forgotten what happened before its second list.
#[derive(Clone)]
struct Forgetful(Arc<Seen>);

#[derive(Default)]
struct Seen {
    /// Whether a watch of an old version is refused, instead of ending with an event.
    refuses: bool,
    lists: AtomicUsize,
    /// The resourceVersions of watches.
    watched: Mutex<Vec<String>>,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl Service<Request<Body>> for Forgetful {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.answer(&request);
        Box::pin(async move { Ok(answer) })
    }
}

impl Forgetful {
    fn answer(&self, request: &Request<Body>) -> Answer {
        let query = request.uri().query().unwrap_or_default();
        if query.contains("watch=true") {
            let version = query.split('&').find_map(|part| part.strip_prefix("resourceVersion=")).unwrap_or_default();
            return self.watch(version);
        }
        let accepts = request.headers().get("accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accepts.contains("PartialObjectMetadata") {
            return text(StatusCode::OK, &list("PartialObjectMetadataList", "meta.k8s.io/v1", "10", &[]));
        }
        let (version, names) = match self.0.lists.fetch_add(1, Ordering::Relaxed) {
            0 => ("10", ["a", "b"]),
            _ => ("20", ["b", "c"]),
        };
        text(StatusCode::OK, &list("AIProviderList", "routeapi.dev/v1alpha1", version, &names))
    }

    /// A watch from the second list on stays open, and says nothing.
    fn watch(&self, version: &str) -> Answer {
        self.0.watched.lock().unwrap().push(version.to_owned());
        if version == "20" {
            let silence = futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>();
            return Response::new(UnsyncBoxBody::new(StreamBody::new(silence)));
        }
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410,
            "reason": "Expired", "message": "too old resource version: 10 (20)"});
        if self.0.refuses {
            return text(StatusCode::GONE, &status);
        }
        text(StatusCode::OK, &json!({"type": "ERROR", "object": status}))
    }
}

fn list(kind: &str, version: &str, resource_version: &str, names: &[&str]) -> Value {
    let provider = |name: &&str| {
        json!({"apiVersion": "routeapi.dev/v1alpha1", "kind": "AIProvider", "spec": {"type": "Echo"},
            "metadata": {"name": name, "namespace": "ai", "uid": name, "generation": 1, "resourceVersion": "5"}})
    };
    json!({"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": resource_version},
        "items": names.iter().map(provider).collect::<Vec<_>>()})
}

fn text(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(Full::from(format!("{value}\n")).boxed_unsync());
    *answer.status_mut() = status;
    answer
}

#[tokio::test(start_paused = true)]
async fn an_expired_watch_is_listed_anew_and_what_was_deleted_meanwhile_is_gone() {
    for refuses in [false, true] {
        let seen = Arc::new(Seen { refuses, ..Seen::default() });
        let client = Client::new(Forgetful(Arc::clone(&seen)), "default");
        let scope = Scope { plural: AIProvider::PLURAL, namespace: None };
        let index = Index::new([scope]);
        let mut changed = index.changed();
        let watches = Watches {
            client: client.clone(),
            limited: page_limit::limited(&client),
            index: Arc::clone(&index),
            metrics: Arc::default(),
        };
        let task = tokio::spawn(watches.in_namespace::<AIProvider>(None, watcher::Config::default()));
        let names = || {
            let providers = index.view().objects.providers;
            providers.iter().filter_map(|provider| provider.metadata.name.clone()).collect::<Vec<_>>().join(" ")
        };
        let followed = async {
            while names() != "b c" {
                changed.changed().await.unwrap();
            }
        };
        assert!(time::timeout(Duration::from_secs(60), followed).await.is_ok(), "has {}", names());
        time::sleep(Duration::from_secs(60)).await;
        assert_eq!(*seen.watched.lock().unwrap(), ["10", "20"], "and watched from there, once");
        assert_eq!(seen.lists.load(Ordering::Relaxed), 2);
        task.abort();
    }
}
