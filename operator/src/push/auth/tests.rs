use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use std::task::{Context, Poll};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
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
fn a_confirmed_token_identifies_account_and_pod() {
    let peer = caller_of(status(good())).unwrap().peer("boot");
    assert_eq!((peer.uid.as_str(), peer.pod.namespace.as_str(), peer.pod.name.as_str()), ("u-1", "ai", "gw-1"));
}

#[test]
fn unauthenticated_tokens_and_other_audiences_are_rejected() {
    let elsewhere = json!({"authenticated": true, "audiences": ["vault"], "user": {"username": "x"}});
    assert!(caller_of(status(elsewhere)).is_err());
    let nobody = json!({"error": "token expired"});
    assert_eq!(caller_of(status(nobody)).unwrap_err(), "token expired");
}

#[test]
fn expiry_and_lifetime_are_read_from_the_token() {
    let headers = token(1_700_000_000);
    let text = bearer(&headers).unwrap();
    assert_eq!(expiry(text).map(seconds), Some(1_700_003_600));
    assert_eq!(lifetime(text), Duration::from_secs(3600));
    assert!(expiry("opaque").is_none());
    assert_eq!(lifetime("opaque"), DEFAULT_TOKEN_LIFETIME);
}

#[test]
fn the_review_interval_is_limited_with_a_wrong_clock() {
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let after = |now: u64| next_review(Some(end), SystemTime::UNIX_EPOCH + Duration::from_secs(now)).as_secs();
    assert_eq!(after(1_000_000 - 300), 301, "just after its end");
    assert_eq!(
        (after(1_000_000 + 3600), after(1_000_000 - 7200)),
        (MIN_REVIEW_INTERVAL.as_secs(), MAX_REVIEW_INTERVAL.as_secs())
    );
    assert_eq!(next_review(None, end), MAX_REVIEW_INTERVAL);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_does_not_end_streams() {
    for ahead in [0, 3600, 30 * 24 * 3600] {
        let (mut authenticator, asked) = answering(vec![Some(good())]);
        authenticator.wall_clock = match ahead {
            0 => SystemTime::now,
            3600 => || SystemTime::now() + Duration::from_secs(3600),
            _ => || SystemTime::now() + Duration::from_secs(30 * 24 * 3600),
        };
        let headers = token(seconds(SystemTime::now()));
        assert!(authenticator.authenticate(&headers, HERE, &gateway()).await.is_ok());
        let lived = time::timeout(Duration::from_secs(1800), authenticator.until_revoked(&headers)).await;
        assert!(lived.is_err(), "closed although the API server confirms the token, {ahead} s ahead");
        let reviews = asked.load(Ordering::SeqCst);
        assert!((2..=32).contains(&reviews), "{reviews} reviews in half an hour, {ahead} s ahead");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_a_review_fails_but_not_when_it_is_unavailable() {
    let (mut authenticator, asked) = answering(vec![Some(good()), None, None, Some(json!({"error": "expired"}))]);
    authenticator.wall_clock = || SystemTime::now() - Duration::from_secs(3600);
    let headers = token(seconds(SystemTime::now()));
    assert!(authenticator.authenticate(&headers, HERE, &gateway()).await.is_ok());
    let started = time::Instant::now();
    authenticator.until_revoked(&headers).await;
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    assert!(
        started.elapsed() <= MAX_REVIEW_INTERVAL + 2 * REVIEW_TIMEOUT,
        "{:?}, though its clock is behind",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn without_an_api_server_a_confirmed_token_stays_valid_for_its_lifetime() {
    let (mut authenticator, _) = answering(vec![Some(good()), None]);
    authenticator.wall_clock = || SystemTime::now() + Duration::from_secs(3600);
    let headers = token(seconds(SystemTime::now()));
    assert!(authenticator.authenticate(&headers, HERE, &gateway()).await.is_ok());
    time::advance(Duration::from_secs(3500)).await;
    assert!(authenticator.authenticate(&headers, HERE, &gateway()).await.is_ok());
    time::advance(Duration::from_secs(200)).await;
    assert_eq!(authenticator.authenticate(&headers, HERE, &gateway()).await, Err(AuthError::Unavailable));
    assert_eq!(
        authenticator.authenticate(&token(1), HERE, &gateway()).await,
        Err(AuthError::Unavailable),
        "never seen"
    );
}

#[tokio::test(start_paused = true)]
async fn invalid_tokens_cause_a_limited_number_of_reviews() {
    let (authenticator, asked) = answering(vec![Some(json!({"error": "invalid bearer token"}))]);
    for _ in 0..100 {
        let refused = authenticator.authenticate(&token(1), HERE, &gateway()).await.unwrap_err();
        assert!(matches!(refused, AuthError::Invalid(_)));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the same one again");
    for at in 2..1000 {
        assert!(authenticator.authenticate(&token(at), HERE, &gateway()).await.is_err());
    }
    assert!(asked.load(Ordering::SeqCst) <= 20, "{asked:?} others");
}

#[tokio::test(start_paused = true)]
async fn valid_tokens_of_other_accounts_cause_a_limited_number_of_reviews() {
    let mut tenant = good();
    tenant["user"]["username"] = json!("system:serviceaccount:team:default");
    let (authenticator, asked) = answering(vec![Some(tenant)]);
    for at in 0..1000 {
        let refused = authenticator.authenticate(&token(at % 2), HERE, &gateway()).await.unwrap_err();
        assert_eq!(refused, AuthError::Forbidden("system:serviceaccount:team:default".to_owned()));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
