//! How much a request and an open stream take, beside the bytes they carry. Thousands of streams are open at once, and a
//! future or a body grows without anybody noticing: one more value held across an `await` is enough.
//!
//! The bounds are a fifth to a half above what was measured (x86-64, Rust 1.95). One that is reached for a good reason is
//! raised here, in the same change. Boxing what is rarely needed is the usual cure.

use std::mem::size_of;

use http_body_util::Full;
use routeapi_protocol::response_translation::ResponseStream;

use super::{ResponseBody, delivery::Delivery, stream::StreamBody, waiting::WaitingBody, whole::WholeBody};
use crate::{
    clock,
    request::{Client, Context, Guard, Handled, RecordClient, answer, attempt, handle, serve, tests},
    server::TrustedProxies,
};

fn request() -> http::Request<Full<bytes::Bytes>> {
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    http::Request::post("/v1/chat/completions")
        .header("authorization", "Bearer sk-test")
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

/// Prints what something takes, and says if that is too much.
fn is_within(what: &str, bytes: usize, most: usize) -> bool {
    println!("figure: size: {what:<46} {bytes:5} bytes, at most {most}");
    bytes <= most
}

#[tokio::test]
async fn requests_and_streams_stay_small() {
    let (gateway, _) = tests::gateway();
    let peer: std::net::SocketAddr = ([127, 0, 0, 1], 1).into();
    let guard = || {
        let request = request();
        let client = Client::read(peer.ip(), request.headers(), &TrustedProxies::default(), RecordClient::default());
        Guard::new(&gateway, Context::read(clock::now(), peer, &request), client)
    };
    let planned = || async {
        let mut guard = guard();
        let Ok(Handled::Upstream(planned)) = serve(&gateway, request(), &mut guard).await else {
            panic!("not planned")
        };
        (planned, guard)
    };

    // Part of the connection, whether or not there is a request.
    let handling = size_of_val(&handle(&gateway, peer, request()));
    // Boxed, until the upstreams are chosen.
    let serving = size_of_val(&serve(&gateway, request(), &mut guard()));
    // Boxed, until an upstream's head is there or the client's went out.
    let (first, owner) = planned().await;
    let answering = size_of_val(&answer(*first, owner));
    // Boxed, while upstreams are tried.
    let (second, mut owner) = planned().await;
    let attempting = size_of_val(&attempt::attempt(*second, &mut owner));
    drop(owner);

    let stream = size_of::<Delivery>() + size_of::<StreamBody>();
    let within = [
        is_within("a request's future in its connection", handling, 1_800),
        is_within("while it is read and judged", serving, 3_500),
        is_within("while it waits for the first answer", answering, 3_200),
        is_within("while upstreams are tried", attempting, 8_000),
        is_within("the guard of a request", size_of::<Guard>(), 1_000),
        is_within("a response body in its connection", size_of::<ResponseBody>(), 64),
        is_within("a stream's body", stream, 1_500),
        is_within("a whole answer's body", size_of::<Delivery>() + size_of::<WholeBody>(), 1_200),
        is_within("a body that waits for an upstream", size_of::<Delivery>() + size_of::<WaitingBody>(), 640),
        is_within("the translation of a stream, without its lane", size_of::<ResponseStream>(), 64),
    ];
    assert!(within.iter().all(|within| *within), "something has grown beyond its bound; see above");
}
