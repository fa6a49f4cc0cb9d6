use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use serde_json::json;

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn status(value: serde_json::Value) -> TokenReviewStatus {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn good() -> serde_json::Value {
    json!({"authenticated": true, "audiences": [AUDIENCE],
        "user": {"username": "system:serviceaccount:ai:gateway", "extra": {POD_NAME: ["gw-1"], POD_UID: ["u-1"]}}})
}

/// An API server whose answers to TokenReviews are these, the last for ever; none: it cannot be reached.
pub(crate) fn answering(answers: Vec<Option<serde_json::Value>>) -> (Authenticator, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let service = ApiServer { answers: answers.into(), asked: Arc::clone(&asked) };
    (Authenticator::new(Client::new(service, "default")), asked)
}

#[derive(Clone)]
struct ApiServer {
    answers: Arc<[Option<serde_json::Value>]>,
    asked: Arc<AtomicUsize>,
}

impl tower_service::Service<http::Request<kube::client::Body>> for ApiServer {
    type Response = http::Response<kube::client::Body>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<kube::client::Body>) -> Self::Future {
        let at = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.get(at).or(self.answers.last()).cloned().flatten();
        Box::pin(async move {
            let Some(status) = answer else { return Err(std::io::ErrorKind::ConnectionRefused.into()) };
            let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
                "spec": {"token": "t"}, "status": status});
            Ok(http::Response::new(kube::client::Body::from(serde_json::to_vec(&body).unwrap())))
        })
    }
}

/// A token that says it was issued at one time and ends an hour later, in seconds since 1970.
pub(crate) fn token(issued: u64) -> HeaderMap {
    let payload = URL_SAFE_NO_PAD.encode(json!({"iat": issued, "exp": issued + 3600}).to_string());
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer h.{payload}.s").parse().unwrap());
    headers
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn gateway() -> Vec<Account> {
    vec!["ai/gateway".parse().unwrap()]
}

#[test]
fn a_confirmed_token_names_account_and_pod() {
    let peer = confirmed(status(good())).unwrap().peer("boot");
    assert_eq!((peer.uid.as_str(), peer.pod.namespace.as_str(), peer.pod.name.as_str()), ("u-1", "ai", "gw-1"));
}

#[test]
fn a_token_for_another_audience_or_of_nobody_is_refused() {
    let elsewhere = json!({"authenticated": true, "audiences": ["vault"], "user": {"username": "x"}});
    assert!(confirmed(status(elsewhere)).is_err());
    let nobody = json!({"error": "token expired"});
    assert_eq!(confirmed(status(nobody)).unwrap_err(), "token expired");
}

#[test]
fn a_token_says_when_it_ends_and_how_long_it_lives() {
    let headers = token(1_700_000_000);
    let text = bearer(&headers).unwrap();
    assert_eq!(expiry(text).map(seconds), Some(1_700_003_600));
    assert_eq!(life(text), Duration::from_secs(3600));
    assert!(expiry("opaque").is_none());
    assert_eq!(life("opaque"), LIFE);
}

#[test]
fn the_hint_of_a_token_is_kept_within_bounds_whatever_the_clock_says() {
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let after = |now: u64| again_after(Some(end), SystemTime::UNIX_EPOCH + Duration::from_secs(now)).as_secs();
    assert_eq!(after(1_000_000 - 300), 301, "just after its end");
    assert_eq!((after(1_000_000 + 3600), after(1_000_000 - 7200)), (SOONEST.as_secs(), LATEST.as_secs()));
    assert_eq!(again_after(None, end), LATEST);
}

#[tokio::test(start_paused = true)]
async fn an_operator_whose_clock_is_ahead_keeps_streams_that_the_review_confirms() {
    for ahead in [0, 3600, 30 * 24 * 3600] {
        let (mut authenticator, asked) = answering(vec![Some(good())]);
        authenticator.wall = match ahead {
            0 => SystemTime::now,
            3600 => || SystemTime::now() + Duration::from_secs(3600),
            _ => || SystemTime::now() + Duration::from_secs(30 * 24 * 3600),
        };
        let headers = token(seconds(SystemTime::now()));
        assert!(authenticator.admit(&headers, HERE, &gateway()).await.is_ok());
        let lived = time::timeout(Duration::from_secs(1800), authenticator.ended(&headers)).await;
        assert!(lived.is_err(), "closed although the API server confirms the token, {ahead} s ahead");
        let reviews = asked.load(Ordering::SeqCst);
        assert!((2..=32).contains(&reviews), "{reviews} reviews in half an hour, {ahead} s ahead");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_the_review_says_so_and_not_while_nobody_answers() {
    let (mut authenticator, asked) = answering(vec![Some(good()), None, None, Some(json!({"error": "expired"}))]);
    authenticator.wall = || SystemTime::now() - Duration::from_secs(3600);
    let headers = token(seconds(SystemTime::now()));
    assert!(authenticator.admit(&headers, HERE, &gateway()).await.is_ok());
    let started = time::Instant::now();
    authenticator.ended(&headers).await;
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    assert!(started.elapsed() <= LATEST + 2 * REVIEW, "{:?}, though its clock is behind", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_an_api_server_a_confirmed_token_lives_by_a_monotonic_clock() {
    let (mut authenticator, _) = answering(vec![Some(good()), None]);
    authenticator.wall = || SystemTime::now() + Duration::from_secs(3600);
    let headers = token(seconds(SystemTime::now()));
    assert!(authenticator.admit(&headers, HERE, &gateway()).await.is_ok());
    time::advance(Duration::from_secs(3500)).await;
    assert!(authenticator.admit(&headers, HERE, &gateway()).await.is_ok());
    time::advance(Duration::from_secs(200)).await;
    assert_eq!(authenticator.admit(&headers, HERE, &gateway()).await, Err(Refused::Unavailable));
    assert_eq!(authenticator.admit(&token(1), HERE, &gateway()).await, Err(Refused::Unavailable), "never seen");
}

#[tokio::test(start_paused = true)]
async fn garbage_is_not_handed_on_to_the_api_server_without_end() {
    let (authenticator, asked) = answering(vec![Some(json!({"error": "invalid bearer token"}))]);
    for _ in 0..100 {
        let refused = authenticator.admit(&token(1), HERE, &gateway()).await.unwrap_err();
        assert!(matches!(refused, Refused::Invalid(_)));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the same one again");
    for at in 2..1000 {
        assert!(authenticator.admit(&token(at), HERE, &gateway()).await.is_err());
    }
    assert!(asked.load(Ordering::SeqCst) <= 20, "{asked:?} others");
}

#[tokio::test(start_paused = true)]
async fn a_tenants_own_account_is_a_stranger_too() {
    let mut tenant = good();
    tenant["user"]["username"] = json!("system:serviceaccount:team:default");
    let (authenticator, asked) = answering(vec![Some(tenant)]);
    for at in 0..1000 {
        let refused = authenticator.admit(&token(at % 2), HERE, &gateway()).await.unwrap_err();
        assert_eq!(refused, Refused::NotAllowed("system:serviceaccount:team:default".to_owned()));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
