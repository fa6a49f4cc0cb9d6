//! The upstream of the benchmark. The model's name says what to answer: `chunks-200` streams 200 chunks, two
//! milliseconds apart so that each is a write and a wake of its own; anything else gets 1 KiB of JSON. Chat and Messages
//! by path, no JSON work beyond a needle.

use std::{convert::Infallible, io::Write, net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Body = UnsyncBoxBody<Bytes, Infallible>;

const PACE: Duration = Duration::from_millis(2);

/// Prints its address and serves until it is killed.
pub async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(answer)));
    }
}

#[expect(clippy::disallowed_methods, reason = "the body is limited")]
async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let messages = request.uri().path().ends_with("/messages");
    let body = Limited::new(request.into_body(), 1 << 20).collect().await.map(http_body_util::Collected::to_bytes);
    let (content_type, body) = match body.ok().and_then(|body| chunks_asked(&body)) {
        Some(count) => ("text/event-stream", paced(events(messages, count)).boxed_unsync()),
        None => ("application/json", Full::from(whole(messages)).boxed_unsync()),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

fn paced(chunks: Vec<Bytes>) -> impl http_body::Body<Data = Bytes, Error = Infallible> {
    StreamBody::new(stream::unfold(chunks.into_iter(), async |mut chunks| {
        let chunk = chunks.next()?;
        tokio::time::sleep(PACE).await;
        Some((Ok(Frame::data(chunk)), chunks))
    }))
}

fn chunks_asked(body: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("\"chunks-")?;
    rest.split('"').next()?.parse().ok()
}

fn whole(messages: bool) -> Bytes {
    let text = "lorem ipsum ".repeat(60);
    Bytes::from(if messages {
        format!(
            r#"{{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":12,"output_tokens":180}}}}"#
        )
    } else {
        format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":12,"completion_tokens":180,"total_tokens":192}}}}"#
        )
    })
}

/// Chunks of about 250 bytes with usage at the end, one write each.
fn events(messages: bool, count: usize) -> Vec<Bytes> {
    let mut out = Vec::with_capacity(count + 6);
    let mut push = |text: String| out.push(Bytes::from(text));
    if messages {
        push("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":12,\"output_tokens\":1}}}\n\n".into());
        push("event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n".into());
        let text = "word ".repeat(28);
        for _ in 0..count {
            push(format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
            ));
        }
        push("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n".into());
        push(format!(
            "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\",\"stop_sequence\":null}},\"usage\":{{\"output_tokens\":{count}}}}}\n\n"
        ));
        push("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".into());
    } else {
        let chunk = |rest: &str| {
            format!(
                "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",{rest}}}\n\n"
            )
        };
        push(chunk(r#""choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]"#));
        let text = "word ".repeat(18);
        for _ in 0..count {
            push(chunk(&format!(r#""choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]"#)));
        }
        push(chunk(r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#));
        push(chunk(&format!(
            r#""choices":[],"usage":{{"prompt_tokens":12,"completion_tokens":{count},"total_tokens":{count}}}"#
        )));
        push("data: [DONE]\n\n".into());
    }
    out
}
