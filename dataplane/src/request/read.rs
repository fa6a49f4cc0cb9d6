//! The body of a call: bytes within a cap and within their time, decompressed, → a call that has been read.
//!
//! There is a time for each piece and one for all of them, so that a body of one byte a second comes to an end. While it
//! comes, the caller is looked at again: a token that is withdrawn, or a process that ends, does not wait for the rest.
//!
//! The cap holds before and after decompression, so a small body that inflates without end is stopped at the cap.
//! A body that declares too much is refused before a byte of it is read.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{
    HeaderMap,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    request::Parts,
};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use routeapi_protocol::{
    codec::{Head, Malformed},
    dialect::Operation,
    direct::Takes,
    inbound::MatchedPath,
    request::{Needs, ParsedRequest},
};
use tokio::time::timeout_at;

use super::{
    config_view::ConfigView,
    deadline::{RECHECK_INTERVAL, deadline_in},
    gateway::{Gateway, RequestSettings},
    memory::{BufferedBody, BuffersFull, MemoryPermit},
    offload::DeadlinePassed,
    outbound,
    refusal::Refusal,
};
use crate::clock;

mod decompress;
mod form;

pub(super) use self::form::FormRest;

use self::decompress::Encoding;
pub(super) use self::decompress::READ_ENCODINGS;

/// How much larger than its compressed form a body is taken to be when it is decided where to inflate it.
const ASSUMED_INFLATION: usize = 64;

/// A call that has been read. Held until an upstream has answered, also by threads that prepare it.
pub(super) struct ReadRequest {
    /// What the client asks for.
    pub request: ParsedRequest,
    /// What an upstream has to be able to do.
    pub needs: Needs,
    /// What is still to come of a form.
    pub rest: Option<FormRest>,
    _memory: MemoryPermit,
}

/// Reads the body and takes it apart as far as routing needs.
pub(super) async fn read<B>(
    matched: MatchedPath,
    head: &Parts,
    body: B,
    gateway: &Gateway,
    view: &mut ConfigView,
) -> Result<Arc<ReadRequest>, Refusal>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let family = matched.operation.family();
    if let Some(name) = outbound::first_too_long(family, &head.headers) {
        return Err(Refusal::Malformed(Malformed {
            field: Some(name.to_owned()),
            message: format!(
                "the header {name} makes the headers for the upstream longer than {} bytes",
                outbound::MAX_PASSED_BYTES
            ),
        }));
    }
    let settings = &gateway.settings;
    let account = Arc::clone(&view.caller().token.account);
    let memory = MemoryPermit::new(gateway, &account);
    let recheck = || {
        if gateway.drain.is_expired() {
            return Err(Refusal::ShuttingDown);
        }
        view.refresh(gateway).map(drop)
    };
    if let Some(boundary) = form_boundary(&matched, &head.headers)? {
        return read_form(matched, head, (body, &boundary), settings, memory, recheck).await;
    }
    let received = receive(&head.headers, body, settings, memory, recheck).await?;
    let content_type = foreign_content_type(&head.headers);
    let head = dialect_head(&matched, &head.headers);
    let size = match received.encoding {
        Encoding::Identity => received.bytes.len(),
        Encoding::Gzip | Encoding::Zstd | Encoding::Brotli => received.bytes.len().saturating_mul(ASSUMED_INFLATION),
    };
    let limit = settings.max_body_bytes;
    let by = deadline_in(clock::mono(), settings.body_total);
    let read = gateway.offload.run(&account, size, by, move || {
        let (bytes, mut memory) = received.decode(limit)?;
        let content_type = content_type.filter(|_| !begins_like_json(&bytes));
        let request = ParsedRequest::read(matched, head, bytes).map_err(|malformed| match content_type {
            Some(content_type) => Refusal::UnknownContentType { content_type },
            None => Refusal::Malformed(malformed),
        })?;
        // A body may have been rewritten on the way.
        memory.resize(request.body_len()).map_err(|BuffersFull| Refusal::BuffersFull)?;
        // Asked for here, since it goes through the whole body; the call keeps it.
        request.estimated_input_tokens();
        let needs = request.needs();
        Ok(Arc::new(ReadRequest { request, needs, rest: None, _memory: memory }))
    });
    read.await.unwrap_or_else(|DeadlinePassed| Err(Refusal::Busy))
}

/// The boundary, if the body is a form and may be one.
fn form_boundary(matched: &MatchedPath, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Operation::Direct(direct) = matched.operation else { return Ok(None) };
    let wrong = |wanted: &str| {
        let message = format!("the request body has to be {wanted}, as content-type has to say");
        Refusal::Malformed(Malformed { field: None, message })
    };
    match (form::boundary(headers), direct.takes()) {
        (Some(boundary), Takes::Form | Takes::Both) => boundary.map(Some),
        (Some(_), Takes::Json) => Err(wrong("application/json")),
        (None, Takes::Form) => Err(wrong("multipart/form-data")),
        (None, Takes::Json | Takes::Both) => Ok(None),
    }
}

/// Reads a form as far as its model, and a piece further.
async fn read_form<B>(
    matched: MatchedPath,
    head: &Parts,
    (body, boundary): (B, &str),
    settings: &RequestSettings,
    mut memory: MemoryPermit,
    recheck: impl FnMut() -> Result<(), Refusal>,
) -> Result<Arc<ReadRequest>, Refusal>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    check_length(&head.headers, settings)?;
    if Encoding::read(&head.headers)? != Encoding::Identity {
        return Err(Refusal::Malformed(Malformed {
            field: None,
            message: "a multipart/form-data body may have no content-encoding".to_owned(),
        }));
    }
    let dialect_head = dialect_head(&matched, &head.headers);
    let names_model = matched.model.is_none();
    let start = form::read(body, (boundary, names_model), settings, &mut memory, recheck).await?;
    let request = ParsedRequest::read_form(matched, dialect_head, start.form).map_err(Refusal::Malformed)?;
    let needs = request.needs();
    Ok(Arc::new(ReadRequest { request, needs, rest: start.rest, _memory: memory }))
}

/// Refuses a body that declares too much before a byte of it is read.
fn check_length(headers: &HeaderMap, settings: &RequestSettings) -> Result<(), Refusal> {
    let limit = settings.max_body_bytes;
    if declared(headers).is_some_and(|length| length > limit as u64) {
        return Err(Refusal::BodyTooLarge { limit });
    }
    Ok(())
}

/// A body as it came.
#[derive(Debug)]
struct Received {
    bytes: Bytes,
    encoding: Encoding,
    memory: MemoryPermit,
}

impl Received {
    /// Undoes the encoding.
    fn decode(self, limit: usize) -> Result<(Bytes, MemoryPermit), Refusal> {
        let Self { bytes, encoding, mut memory } = self;
        let bytes = decompress::decompress(encoding, bytes, limit, &mut memory)?;
        Ok((bytes, memory))
    }
}

/// Receives a body. `recheck` says whether the request may still go on.
async fn receive<B>(
    headers: &HeaderMap,
    mut body: B,
    settings: &RequestSettings,
    memory: MemoryPermit,
    mut recheck: impl FnMut() -> Result<(), Refusal>,
) -> Result<Received, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    check_length(headers, settings)?;
    let limit = settings.max_body_bytes;
    let encoding = Encoding::read(headers)?;
    let mut buffered = BufferedBody::new(memory);
    let complete_by = deadline_in(clock::mono(), settings.body_total);
    while let Some(data) = next(&mut body, settings, complete_by, &mut recheck).await? {
        if buffered.len().saturating_add(data.len()) > limit {
            return Err(Refusal::BodyTooLarge { limit });
        }
        buffered.push(data).map_err(|BuffersFull| Refusal::BuffersFull)?;
    }
    let (bytes, memory) = buffered.join();
    Ok(Received { bytes, encoding, memory })
}

/// The next piece; none at the end.
async fn next<B>(
    body: &mut B,
    settings: &RequestSettings,
    complete_by: Instant,
    recheck: &mut impl FnMut() -> Result<(), Refusal>,
) -> Result<Option<Bytes>, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut now = clock::mono();
    let next_by = deadline_in(now, settings.body_frame_idle);
    loop {
        // Also for a body that is never late with its next piece.
        if now >= complete_by {
            return Err(Refusal::BodySlow { within: settings.body_total });
        }
        if now >= next_by {
            return Err(Refusal::BodyStalled { after: settings.body_frame_idle });
        }
        let recheck_at = deadline_in(now, RECHECK_INTERVAL).min(next_by).min(complete_by);
        match timeout_at(recheck_at.into(), body.frame()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(Refusal::BodyBroken),
            // Trailers mean nothing to these dialects.
            Ok(Some(Ok(frame))) => return Ok(Some(Frame::into_data(frame).unwrap_or_default())),
            Err(_elapsed) => {
                recheck()?;
                now = clock::mono();
            }
        }
    }
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What a body is called that is not called JSON, without parameters. Only a hint: curl calls everything a form.
fn foreign_content_type(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
    let is = |name: &str| kind.eq_ignore_ascii_case(name);
    let suffix = kind.rfind('+').and_then(|plus| kind.get(plus..));
    let is_json = kind.is_empty()
        || is("application/json")
        || is("text/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"));
    (!is_json).then(|| kind.to_ascii_lowercase().chars().take(64).collect())
}

fn begins_like_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// What of a dialect stands in headers.
fn dialect_head(matched: &MatchedPath, headers: &HeaderMap) -> Head {
    let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let beta = headers.get_all("anthropic-beta").iter().filter_map(|value| value.to_str().ok());
    Head {
        model: matched.model.clone(),
        stream: matched.framing.is_some_and(|framing| framing != routeapi_protocol::framing::Framing::Whole),
        anthropic_version: headers.get("anthropic-version").and_then(text),
        anthropic_beta: beta
            .flat_map(|line| line.split(','))
            .map(|flag| flag.trim().to_owned())
            .filter(|flag| !flag.is_empty())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use http_body::Frame;
    use http_body_util::StreamBody;
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    fn settings() -> RequestSettings {
        RequestSettings { max_body_bytes: 100, body_frame_idle: Duration::from_secs(1), ..RequestSettings::default() }
    }

    async fn receive_frames(headers: &[(&str, &str)], frames: &[&[u8]]) -> Result<Bytes, Refusal> {
        let map = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let frames: Vec<_> =
            frames.iter().map(|data| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(data)))).collect();
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let received = receive(&map, body, &settings(), memory(1 << 20), || Ok(())).await?;
        received.decode(100).map(|(bytes, _)| bytes)
    }

    fn memory(limit: usize) -> MemoryPermit {
        MemoryPermit::of([(Gauge::default(), limit), (Gauge::default(), limit)])
    }

    #[tokio::test]
    async fn body_frames_are_joined_up_to_the_size_limit() {
        assert_eq!(receive_frames(&[], &[b"ab", b"", b"cd"]).await.unwrap(), "abcd");
        assert_eq!(receive_frames(&[], &[&[b'x'; 100]]).await.unwrap().len(), 100);
        for frames in [&[&[b'x'; 101][..]][..], &[&[b'x'; 60], &[b'x'; 60]]] {
            assert!(matches!(receive_frames(&[], frames).await, Err(Refusal::BodyTooLarge { limit: 100 })));
        }
        let declared = receive_frames(&[("content-length", "101")], &[]).await;
        assert!(matches!(declared, Err(Refusal::BodyTooLarge { limit: 100 })));
    }

    #[tokio::test]
    async fn stalled_body_times_out() {
        let stalled = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let timeout = Duration::from_millis(5);
        let settings = RequestSettings { body_frame_idle: timeout, ..settings() };
        let read = receive(&HeaderMap::new(), stalled, &settings, memory(1 << 20), || Ok(())).await;
        assert!(matches!(read, Err(Refusal::BodyStalled { after }) if after == timeout));
    }

    #[tokio::test]
    async fn trickling_body_hits_the_total_timeout() {
        let trickle = futures_util::stream::unfold((), |()| async {
            tokio::task::yield_now().await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::new())), ()))
        });
        let settings = RequestSettings { body_total: Duration::from_millis(5), ..settings() };
        let body = StreamBody::new(Box::pin(trickle));
        let read = receive(&HeaderMap::new(), body, &settings, memory(1 << 20), || Ok(())).await;
        assert!(matches!(read, Err(Refusal::BodySlow { within }) if within == settings.body_total), "{read:?}");
    }

    #[tokio::test]
    async fn revoked_token_stops_reading_the_body() {
        let stalled = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let settings = RequestSettings { body_frame_idle: Duration::from_secs(60), ..settings() };
        let recheck = || Err(Refusal::UnknownToken);
        let read = receive(&HeaderMap::new(), stalled, &settings, memory(1 << 20), recheck).await;
        assert!(matches!(read, Err(Refusal::UnknownToken)), "{read:?}");
    }
}
