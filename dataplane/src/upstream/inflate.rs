//! An answer that comes in gzip although identity was asked for, read all the same.
//!
//! Some servers and proxies in front of them compress whatever they send. The bytes are inflated as they come, so that
//! content, usage and the end can be seen and the client gets what it can read. How much comes out is bounded per piece,
//! not in total: whoever holds pieces has a bound of its own. An answer that ends inside its gzip has broken off.

use std::{
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_LENGTH},
};
use http_body::Body;

/// Compressed bytes that are taken at a time. A byte becomes 1032 at most, so a piece stays below 600 KiB.
const INPUT_STEP_BYTES: usize = 512;

/// A piece is handed on when it has grown to this size.
const MAX_PIECE_BYTES: usize = 64 << 10;

/// A gzip body on its way out.
#[derive(Debug)]
pub struct Inflated<B> {
    body: B,
    /// Taken from the body and not inflated yet.
    packed: Bytes,
    /// None once the end has been seen.
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
}

/// The answer broke off.
#[derive(Debug)]
pub enum InflateError<E> {
    /// As its body says.
    Body(E),
    /// Inside its encoding.
    Encoding(io::Error),
}

/// Whether an answer is in gzip. If so, the headers say afterwards what it is without.
pub(super) fn take_gzip(headers: &mut HeaderMap) -> bool {
    let gzip = is_gzip(headers);
    if gzip {
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
    }
    gzip
}

fn is_gzip(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let first = encodings.next().map(|value| value.as_bytes().trim_ascii());
    let gzip = first.is_some_and(|it| it.eq_ignore_ascii_case(b"gzip") || it.eq_ignore_ascii_case(b"x-gzip"));
    // Encoded twice is nothing that a server does unasked.
    gzip && encodings.next().is_none()
}

impl<B: Body<Data = Bytes> + Unpin> Inflated<B> {
    /// Inflates this body.
    pub(super) fn new(body: B) -> Self {
        Self { body, packed: Bytes::new(), decoder: Some(MultiGzDecoder::new(Vec::new())) }
    }

    /// The next piece; none at the end.
    pub(super) fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, InflateError<B::Error>>>> {
        loop {
            let Some(decoder) = &mut self.decoder else { return Poll::Ready(None) };
            match unpack(decoder, &mut self.packed) {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Poll::Ready(Some(Ok(piece))),
                Err(error) => {
                    self.decoder = None;
                    return Poll::Ready(Some(Err(InflateError::Encoding(error))));
                }
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.packed = data;
                    }
                }
                Some(Err(error)) => {
                    self.decoder = None;
                    return Poll::Ready(Some(Err(InflateError::Body(error))));
                }
                None => return Poll::Ready(self.end()),
            }
        }
    }

    /// Nothing more comes: all of the gzip has to be there. An empty body is none.
    fn end(&mut self) -> Option<Result<Bytes, InflateError<B::Error>>> {
        let mut decoder = self.decoder.take()?;
        decoder.try_finish().err().map(|error| Err(InflateError::Encoding(error)))
    }
}

/// Inflates until a piece is full or nothing packed is left.
fn unpack(decoder: &mut MultiGzDecoder<Vec<u8>>, packed: &mut Bytes) -> io::Result<Bytes> {
    while packed.has_remaining() && decoder.get_ref().len() < MAX_PIECE_BYTES {
        let step = packed.split_to(packed.len().min(INPUT_STEP_BYTES));
        decoder.write_all(&step)?;
    }
    // What a server flushed after an event is to go out with it.
    decoder.flush()?;
    Ok(Bytes::from(std::mem::take(decoder.get_mut())))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::poll_fn};

    use flate2::{Compression, write::GzEncoder};
    use futures_util::stream;
    use http::HeaderValue;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    async fn pieces(packed: Vec<Bytes>) -> Result<Vec<Bytes>, InflateError<Infallible>> {
        let frames = packed.into_iter().map(|piece| Ok(Frame::data(piece)));
        let mut body = Inflated::new(StreamBody::new(stream::iter(frames)));
        let mut pieces = Vec::new();
        while let Some(piece) = poll_fn(|context| body.poll_piece(context)).await {
            pieces.push(piece?);
        }
        Ok(pieces)
    }

    fn headers(encoding: &'static str) -> HeaderMap {
        let length = (CONTENT_LENGTH, HeaderValue::from_static("7"));
        [(CONTENT_ENCODING, HeaderValue::from_static(encoding)), length].into_iter().collect()
    }

    /// Each text compressed and flushed, as a server that streams does.
    fn flushed(texts: &[&str]) -> Vec<Bytes> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let mut pieces: Vec<Bytes> = Vec::new();
        for text in texts {
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.flush().unwrap();
            pieces.push(std::mem::take(encoder.get_mut()).into());
        }
        pieces.push(encoder.finish().unwrap().into());
        pieces
    }

    #[tokio::test]
    async fn flushed_gzip_events_are_inflated_at_once() {
        let texts = ["data: {\"a\":1}\n\n", "data: {\"b\":2}\n\n", "data: [DONE]\n\n"];
        assert_eq!(pieces(flushed(&texts)).await.unwrap(), texts);
    }

    #[tokio::test]
    async fn gzip_split_anywhere_inflates_and_truncation_is_an_error() {
        let packed = flushed(&["{\"choices\":[]}"]).concat();
        for size in 1..=packed.len() {
            let cut = packed.chunks(size).map(Bytes::copy_from_slice).collect();
            assert_eq!(pieces(cut).await.unwrap().concat(), b"{\"choices\":[]}");
        }
        for broken in [&packed[..packed.len() - 3], b"plain text", b""] {
            let error = pieces(vec![Bytes::copy_from_slice(broken)]).await;
            assert!(matches!(error, Err(InflateError::Encoding(_))), "{broken:?} {error:?}");
        }
    }

    #[tokio::test]
    async fn gzip_bomb_is_inflated_in_bounded_pieces() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; 32 << 20]).unwrap();
        let bomb = Bytes::from(encoder.finish().unwrap());
        let pieces = pieces(vec![bomb]).await.unwrap();
        assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), 32 << 20);
        assert!(pieces.iter().all(|piece| piece.len() <= 1 << 20));
    }

    #[test]
    fn only_gzip_by_itself_is_inflated() {
        for encoding in ["GZip", "x-gzip", " gzip "] {
            let mut headers = headers(encoding);
            assert!(take_gzip(&mut headers), "{encoding}");
            assert!(headers.is_empty(), "{headers:?}");
        }
        for encoding in ["br", "gzip, gzip", "identity"] {
            let mut headers = headers(encoding);
            assert!(!take_gzip(&mut headers), "{encoding}");
            assert_eq!(headers.len(), 2);
        }
    }
}
