use std::time::Duration;

use http::{HeaderValue, header::AUTHORIZATION};
use routeapi_channel::{ObjectId, Secret, snapshot};
use routeapi_crds::value::BedrockEndpoint;

use super::*;
use crate::clock;

fn key(text: &str) -> Source {
    Source::Fixed(Authorization::header("x-key", &Secret::new(text)).unwrap())
}

fn identity(client_id: &str) -> Source {
    let told = snapshot::Credential::Azure(snapshot::Azure {
        scope: "https://cognitiveservices.azure.com/.default".to_owned(),
        identity: snapshot::AzureIdentity::Managed { client_id: Some(client_id.to_owned()) },
    });
    Source::Identity(Arc::new(Identity::new(&told).unwrap().unwrap()))
}

fn token(text: &'static str, expires: i64) -> Authorization {
    Authorization::Header { name: AUTHORIZATION, value: HeaderValue::from_static(text), expires: Some(expires) }
}

fn hour(now: Now) -> i64 {
    now.unix_ms + 3_600_000
}

#[test]
fn holders_see_what_was_published_last() {
    let credentials = Arc::new(Credentials::new(&key("old")));
    let (planned, mut watch) = (Arc::clone(&credentials), credentials.watch());
    credentials.configure(key("old"));
    assert!(!watch.has_changed().unwrap(), "the same again is no news");
    credentials.configure(key("new"));
    assert!(watch.has_changed().unwrap());
    let Source::Fixed(new) = key("new") else { unreachable!() };
    assert_eq!((&**watch.borrow_and_update(), &*planned.current()), (&new, &new));
}

#[tokio::test]
async fn requests_wait_for_the_first_token_and_for_no_other() {
    let now = clock::now();
    let credentials = Credentials::new(&identity("a"));
    credentials.configure(identity("a"));
    let fetching = credentials.begin(now.mono).unwrap();
    assert!(credentials.begin(now.mono).is_none(), "one at a time");
    let waiting = credentials.ready();
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert!(credentials.fetched(&fetching, Ok(token("Bearer 1", hour(now))), now));
    waiting.await.unwrap();

    let later = Now { mono: now.mono + Duration::from_secs(3_590), unix_ms: now.unix_ms + 3_590_000 };
    let again = credentials.begin(later.mono).expect("ahead of its end");
    credentials.ready().await.unwrap();
    assert!(credentials.fetched(&again, Ok(token("Bearer 2", hour(later))), later));
    assert_eq!(*credentials.current(), token("Bearer 2", hour(later)));
}

#[tokio::test]
async fn a_failure_ends_the_wait_and_leaves_what_still_holds() {
    let now = clock::now();
    let error = FetchError::unreachable("no route to host");
    let credentials = Credentials::new(&identity("a"));
    credentials.configure(identity("a"));
    let fetching = credentials.begin(now.mono).unwrap();
    assert!(credentials.fetched(&fetching, Err(&error), now));
    credentials.ready().await.expect("whoever waits goes on, and is refused when it sends");
    assert_eq!(*credentials.current(), Authorization::Unavailable);

    let soon = Now { mono: now.mono + Duration::from_secs(60), unix_ms: now.unix_ms + 60_000 };
    let fetching = credentials.begin(soon.mono).expect("it is tried again");
    credentials.fetched(&fetching, Ok(token("Bearer 1", hour(soon))), soon);
    let late = Now { mono: soon.mono + Duration::from_secs(3_500), unix_ms: soon.unix_ms + 3_500_000 };
    let fetching = credentials.begin(late.mono).unwrap();
    credentials.fetched(&fetching, Err(&error), late);
    assert_eq!(*credentials.current(), token("Bearer 1", hour(soon)));
}

fn per_token(role: &str) -> Source {
    let told = snapshot::Credential::Aws(snapshot::Aws {
        region: "us-east-1".to_owned(),
        endpoint: BedrockEndpoint::Runtime,
        identity: snapshot::AwsIdentity::Workload {},
        assume_role: Some(snapshot::AssumeRole {
            role_arn: role.to_owned(),
            external_id: None,
            session_per_token: true,
        }),
    });
    Source::Identity(Arc::new(Identity::new(&told).unwrap().unwrap()))
}

#[test]
fn tokens_have_sessions_of_their_own_that_end_with_their_identity() {
    let now = clock::now();
    let credentials = Arc::new(Credentials::new(&per_token("arn:1")));
    credentials.configure(per_token("arn:1"));
    let of = |name: &str| credentials.of_token(&ObjectId::new("team", name), now.mono);
    let (a, b) = (of("a"), of("b"));
    assert!(Arc::ptr_eq(&a, &of("a")) && !Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &credentials));
    let fetching = a.begin(now.mono).unwrap();
    assert!(a.begin(now.mono).is_none(), "one at a time");
    assert!(a.fetched(&fetching, Ok(token("Bearer a", hour(now))), now));
    assert_eq!(*of("a").current(), token("Bearer a", hour(now)));
    for other in [&of("b"), &credentials] {
        assert_eq!(*other.current(), Authorization::Pending, "a session is one token's alone");
    }
    assert_eq!(Arc::clone(&credentials).with_sessions(now.mono).len(), 3);

    credentials.configure(per_token("arn:1"));
    assert!(Arc::ptr_eq(&a, &of("a")), "the same identity in a new configuration");
    credentials.configure(per_token("arn:2"));
    assert!(!Arc::ptr_eq(&a, &of("a")));
    credentials.configure(key("k"));
    assert!(Arc::ptr_eq(&of("a"), &credentials), "a key has no sessions");
    assert_eq!(Arc::clone(&credentials).with_sessions(now.mono).len(), 1);
}

#[test]
fn tokens_serve_until_those_of_another_identity_come() {
    let now = clock::now();
    let credentials = Credentials::new(&identity("a"));
    credentials.configure(identity("a"));
    let first = credentials.begin(now.mono).unwrap();
    credentials.fetched(&first, Ok(token("Bearer a", hour(now))), now);
    credentials.configure(identity("a"));
    assert!(credentials.begin(now.mono).is_none(), "the same identity in a new configuration");

    credentials.configure(identity("b"));
    assert_eq!(*credentials.current(), token("Bearer a", hour(now)));
    let second = credentials.begin(now.mono).expect("at once");
    assert!(!credentials.fetched(&first, Ok(token("Bearer late", hour(now))), now), "no longer asked for");
    assert!(credentials.fetched(&second, Ok(token("Bearer b", hour(now))), now));
    assert_eq!(*credentials.current(), token("Bearer b", hour(now)));

    credentials.configure(key("k"));
    assert!(credentials.begin(now.mono).is_none(), "nothing is fetched for a key");
    credentials.configure(identity("b"));
    assert_eq!(*credentials.current(), Authorization::Pending, "a key that was taken away is not used");
}

#[tokio::test(start_paused = true)]
async fn rejected_token_is_replaced_if_it_is_not_new() {
    let now = clock::now();
    let credentials = Credentials::new(&identity("a"));
    credentials.configure(identity("a"));
    let first = credentials.begin(now.mono).unwrap();
    credentials.fetched(&first, Ok(token("Bearer 1", hour(now))), now);
    let shown = credentials.current();
    assert!(!credentials.replace(&shown).await, "it has just come");
    assert!(credentials.begin(clock::mono()).is_none());

    tokio::time::advance(REPLACE_INTERVAL).await;
    let replacing = credentials.replace(&shown);
    tokio::pin!(replacing);
    assert!(futures_util::poll!(&mut replacing).is_pending());
    let second = credentials.begin(clock::mono()).expect("at once");
    credentials.fetched(&second, Ok(token("Bearer 2", hour(now))), clock::now());
    assert!(replacing.await);
    assert!(credentials.replace(&shown).await, "what is newer already is not fetched again");

    tokio::time::advance(REPLACE_INTERVAL).await;
    let shown = credentials.current();
    let replacing = credentials.replace(&shown);
    tokio::pin!(replacing);
    assert!(futures_util::poll!(&mut replacing).is_pending());
    let third = credentials.begin(clock::mono()).unwrap();
    credentials.fetched(&third, Err(&FetchError::unreachable("down")), clock::now());
    assert!(!replacing.await, "whoever waits is told at once");
}
