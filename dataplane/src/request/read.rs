//! The body of a call: bytes within a cap and within a patience per frame, decompressed, → a call that has been read.
//!
//! The cap holds before and after decompression, so a small body that inflates without end is stopped at the cap.
//! A body that declares too much is refused before a byte of it is read.

use bytes::Bytes;
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_LENGTH},
    request::Parts,
};
use http_body::Body;
use http_body_util::BodyExt;
use routeapi_protocol::{
    call::Call,
    codec::{Head, Malformed},
    inbound::Endpoint,
};
use tokio::time::timeout;

use super::{
    Gateway, RequestSettings,
    attempt::outbound,
    gathered::{Full, Gathered, Lease},
    refusal::Refusal,
};

mod inflate;

use inflate::Inflate;

/// Reads the body and takes it apart as far as routing needs. The lease is for as long as the call is held.
pub(super) async fn read<B>(
    endpoint: Endpoint,
    head: &Parts,
    body: B,
    gateway: &Gateway,
) -> Result<(Call, Lease), Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let family = endpoint.surface.family();
    if let Some(name) = outbound::too_long(family, &head.headers) {
        return Err(Refusal::Malformed(Malformed {
            field: Some(name.to_owned()),
            message: format!(
                "the header {name} makes the headers for the upstream longer than {} bytes",
                outbound::MOST_BYTES
            ),
        }));
    }
    let (bytes, lease) = receive(&head.headers, body, &gateway.settings, Lease::new(gateway)).await?;
    let head = dialect_head(&endpoint, &head.headers);
    let call = Call::read(endpoint, head, bytes).map_err(Refusal::Malformed)?;
    Ok((call, lease))
}

async fn receive<B>(
    headers: &HeaderMap,
    mut body: B,
    settings: &RequestSettings,
    lease: Lease,
) -> Result<(Bytes, Lease), Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let limit = settings.max_body_bytes;
    if declared(headers).is_some_and(|length| length > limit as u64) {
        return Err(Refusal::BodyTooLarge { limit });
    }
    let mut sink = Sink::new(headers, limit, lease)?;
    loop {
        let next = timeout(settings.body_frame_idle, body.frame()).await;
        match next.map_err(|_| Refusal::BodyStalled { after: settings.body_frame_idle })? {
            None => return sink.finish(),
            Some(Err(_)) => return Err(Refusal::BodyBroken),
            Some(Ok(frame)) => {
                // Trailers mean nothing to these dialects.
                if let Ok(data) = frame.into_data() {
                    sink.push(data)?;
                }
            }
        }
    }
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Where frames go. A body of one frame is not copied.
enum Sink {
    Plain { gathered: Gathered, limit: usize },
    Gzip { inflate: Box<Inflate>, lease: Lease },
}

impl Sink {
    fn new(headers: &HeaderMap, limit: usize, lease: Lease) -> Result<Self, Refusal> {
        let encoding = headers.get(CONTENT_ENCODING).map_or("identity", |value| value.to_str().unwrap_or("?"));
        match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Plain { gathered: Gathered::new(lease), limit }),
            "gzip" | "x-gzip" => Ok(Self::Gzip { inflate: Box::new(Inflate::new(limit)), lease }),
            other => Err(Refusal::UnknownEncoding { encoding: other.chars().take(32).collect() }),
        }
    }

    fn push(&mut self, data: Bytes) -> Result<(), Refusal> {
        match self {
            Self::Plain { gathered, limit } => {
                if gathered.len().saturating_add(data.len()) > *limit {
                    return Err(Refusal::BodyTooLarge { limit: *limit });
                }
                gathered.push(data).map_err(|Full| Refusal::Full)
            }
            Self::Gzip { inflate, lease } => {
                let before = inflate.len();
                inflate.push(&data)?;
                lease.grow(inflate.len().saturating_sub(before)).map_err(|Full| Refusal::Full)
            }
        }
    }

    fn finish(self) -> Result<(Bytes, Lease), Refusal> {
        match self {
            Self::Plain { gathered, .. } => Ok(gathered.join()),
            Self::Gzip { inflate, lease } => Ok((inflate.finish()?, lease)),
        }
    }
}

/// What of a dialect stands in headers.
fn dialect_head(endpoint: &Endpoint, headers: &HeaderMap) -> Head {
    let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let beta = headers.get_all("anthropic-beta").iter().filter_map(|value| value.to_str().ok());
    Head {
        model: endpoint.model.clone(),
        stream: endpoint.framing.is_some_and(|framing| framing != routeapi_protocol::dialect::Framing::Whole),
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
    use std::{convert::Infallible, io::Write, time::Duration};

    use flate2::{Compression, write::GzEncoder};
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
        receive(&map, body, &settings(), Lease::of(Gauge::default(), 1 << 20)).await.map(|(bytes, _)| bytes)
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn joins_frames_and_stops_at_the_cap() {
        assert_eq!(receive_frames(&[], &[b"ab", b"", b"cd"]).await.unwrap(), "abcd");
        assert_eq!(receive_frames(&[], &[&[b'x'; 100]]).await.unwrap().len(), 100);
        for frames in [&[&[b'x'; 101][..]][..], &[&[b'x'; 60], &[b'x'; 60]]] {
            assert!(matches!(receive_frames(&[], frames).await, Err(Refusal::BodyTooLarge { limit: 100 })));
        }
        let declared = receive_frames(&[("content-length", "101")], &[]).await;
        assert!(matches!(declared, Err(Refusal::BodyTooLarge { limit: 100 })));
    }

    #[tokio::test]
    async fn inflates_within_the_cap_whatever_the_cuts() {
        let packed = gzip(b"{\"model\":\"m\"}");
        for cut in 0..packed.len() {
            let (a, b) = packed.split_at(cut);
            let body = receive_frames(&[("content-encoding", "GZIP")], &[a, b]).await.unwrap();
            assert_eq!(body, "{\"model\":\"m\"}", "cut at {cut}");
        }
        let bomb = gzip(&vec![0; 1 << 20]);
        assert!(bomb.len() > 100);
        let small_bomb = gzip(&[0; 101]);
        assert!(small_bomb.len() < 100, "the cap acts on what comes out");
        for bomb in [bomb, small_bomb] {
            let stopped = receive_frames(&[("content-encoding", "gzip")], &[&bomb]).await;
            assert!(matches!(stopped, Err(Refusal::BodyTooLarge { limit: 100 })), "{stopped:?}");
        }
    }

    #[tokio::test]
    async fn tells_a_broken_encoding_from_an_unknown_one() {
        let packed = gzip(b"hello");
        for broken in [&b"not gzip"[..], &packed[..packed.len() - 3], b""] {
            let read = receive_frames(&[("content-encoding", "gzip")], &[broken]).await;
            assert!(matches!(read, Err(Refusal::BadEncoding)), "{broken:?} {read:?}");
        }
        let unknown = receive_frames(&[("content-encoding", "zstd")], &[]).await;
        assert!(matches!(unknown, Err(Refusal::UnknownEncoding { encoding }) if encoding == "zstd"));
    }

    #[tokio::test]
    async fn gives_up_on_a_client_that_stops_sending() {
        let stalled = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let patience = Duration::from_millis(5);
        let settings = RequestSettings { body_frame_idle: patience, ..settings() };
        let lease = Lease::of(Gauge::default(), 1 << 20);
        let read = receive(&HeaderMap::new(), stalled, &settings, lease).await;
        assert!(matches!(read, Err(Refusal::BodyStalled { after }) if after == patience));
    }
}
