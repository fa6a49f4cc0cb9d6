//! Undoes a content encoding, never holding more than the cap of what comes out, nor more than the memory permit allows.

use std::io::{self, BufReader, Write};

use brotli_decompressor::Decompressor;
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::{HeaderMap, header::CONTENT_ENCODING};

use crate::request::{
    memory::{BuffersFull, MemoryPermit},
    refusal::Refusal,
};

/// Largest zstd window, as a power of two: 8 MiB, what RFC 9659 lets senders use in HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Largest brotli window (RFC 7932, section 9.1): a little less than 16 MiB.
const BROTLI_WINDOW: usize = 16 << 20;
/// Compressed bytes that are handed to the brotli decoder at a time.
const BROTLI_INPUT: usize = 4 << 10;

/// What a request body may be encoded in, as `accept-encoding` says it.
pub(in crate::request) const READ_ENCODINGS: &str = "gzip, zstd, br, identity";

/// How a request body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878. Codex sends it.
    Zstd,
    /// RFC 7932.
    Brotli,
}

impl Encoding {
    /// What `content-encoding` names.
    ///
    /// # Errors
    /// When it is another one, or several.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let unknown = |named: &str| Refusal::UnknownEncoding { encoding: named.chars().take(32).collect() };
        let mut named = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?"));
        let first = named.next().unwrap_or_default();
        if named.next().is_some() {
            return Err(unknown("more than one"));
        }
        match first.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            "br" => Ok(Self::Brotli),
            other => Err(unknown(other)),
        }
    }

    /// What a body has to be, for clients whose body is not.
    fn expected(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd (with a window of at most 8 MiB)",
            Self::Brotli => "brotli",
        }
    }

    /// Bytes that its decoder may hold besides what goes in and comes out.
    fn working_memory(self) -> usize {
        match self {
            Self::Identity => 0,
            Self::Gzip => 64 << 10,
            Self::Zstd => 1 << ZSTD_WINDOW_LOG,
            Self::Brotli => BROTLI_WINDOW,
        }
    }
}

/// A whole body as it reads without its encoding. The permit counts what came out.
///
/// # Errors
/// When it is not complete in its encoding, becomes larger than `limit`, or more than may be held.
pub(super) fn decompress(
    encoding: Encoding,
    packed: Bytes,
    limit: usize,
    memory: &mut MemoryPermit,
) -> Result<Bytes, Refusal> {
    if encoding == Encoding::Identity {
        return Ok(packed);
    }
    memory.grow(encoding.working_memory()).map_err(|BuffersFull| Refusal::BuffersFull)?;
    let mut sink = Capped { bytes: Vec::new(), limit, memory, refusal: None };
    let copied = copy(encoding, &packed, &mut sink);
    let Capped { bytes, memory, refusal, .. } = sink;
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    if copied.is_err() || packed.is_empty() {
        return Err(Refusal::BadEncoding { expected: encoding.expected() });
    }
    drop(packed);
    memory.resize(bytes.len()).map_err(|BuffersFull| Refusal::BuffersFull)?;
    Ok(Bytes::from(bytes))
}

fn copy(encoding: Encoding, packed: &[u8], sink: &mut Capped<'_>) -> io::Result<u64> {
    match encoding {
        Encoding::Identity => io::copy(&mut BufReader::new(packed), sink),
        Encoding::Gzip => io::copy(&mut MultiGzDecoder::new(packed), sink),
        Encoding::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(packed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            io::copy(&mut decoder, sink)
        }
        // What stands behind the end of a brotli stream is not looked at, as in other servers.
        Encoding::Brotli => io::copy(&mut Decompressor::new(packed, BROTLI_INPUT), sink),
    }
}

/// Collects up to `limit` bytes and fails at the next.
struct Capped<'a> {
    bytes: Vec<u8>,
    limit: usize,
    memory: &'a mut MemoryPermit,
    /// Why no more is taken.
    refusal: Option<Refusal>,
}

impl Write for Capped<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(data.len()) > self.limit {
            self.refusal = Some(Refusal::BodyTooLarge { limit: self.limit });
        } else if self.memory.grow(data.len()) == Err(BuffersFull) {
            self.refusal = Some(Refusal::BuffersFull);
        }
        if self.refusal.is_some() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    const BODY: &str = r#"{"model":"m"}"#;
    const ZEROS: usize = 1 << 20;
    // Written by another implementation (Node's zlib), since the decoder's crate cannot write.
    const BODY_IN_BROTLI: &str = "0b06807b226d6f64656c223a226d227d03";
    const ZEROS_IN_BROTLI: &str = "5bffff8f7f02201e0b0472ef1f00";

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(data: &[u8], window_log: u32) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// A short body and a megabyte of zeros, in each encoding.
    fn samples() -> [(&'static str, Vec<u8>, Vec<u8>); 3] {
        let zeros = vec![0; ZEROS];
        [
            ("GZIP", gzip(BODY.as_bytes()), gzip(&zeros)),
            ("zstd", zstd(BODY.as_bytes(), 20), zstd(&zeros, 20)),
            ("br", hex::decode(BODY_IN_BROTLI).unwrap(), hex::decode(ZEROS_IN_BROTLI).unwrap()),
        ]
    }

    fn read(named: &str, packed: &[u8], limit: usize, memory: &mut MemoryPermit) -> Result<Bytes, Refusal> {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, named.parse().unwrap())]);
        decompress(Encoding::read(&headers)?, Bytes::copy_from_slice(packed), limit, memory)
    }

    fn memory(limit: usize) -> (Gauge, MemoryPermit) {
        let held = Gauge::default();
        (held.clone(), MemoryPermit::of([(held, limit), (Gauge::default(), usize::MAX)]))
    }

    #[test]
    fn each_encoding_is_decompressed_up_to_the_limit() {
        for (named, body, zeros) in samples() {
            let (held, mut memory) = memory(64 << 20);
            assert_eq!(read(named, &body, 100, &mut memory).unwrap(), BODY, "{named}");
            assert_eq!(held.get(), 13, "{named}: what came out is held, and no more");
            let stopped = read(named, &zeros, ZEROS - 1, &mut memory);
            assert!(matches!(stopped, Err(Refusal::BodyTooLarge { .. })), "{named} {stopped:?}");
            assert_eq!(read(named, &zeros, ZEROS, &mut memory).unwrap().len(), ZEROS, "{named}");
        }
    }

    #[test]
    fn decompressed_bytes_and_working_memory_count_as_held() {
        for (named, body, zeros) in samples() {
            let (_, mut small) = memory(60 << 10);
            assert!(matches!(read(named, &body, 100, &mut small), Err(Refusal::BuffersFull)), "{named}");
            let (_, mut large) = memory((16 << 20) + (64 << 10));
            large.grow(Encoding::Brotli.working_memory()).unwrap();
            assert!(matches!(read(named, &zeros, usize::MAX, &mut large), Err(Refusal::BuffersFull)), "{named}");
        }
    }

    #[test]
    fn truncated_or_mislabelled_body_is_refused() {
        for (named, body, _) in samples() {
            let (_, mut memory) = memory(64 << 20);
            for broken in [b"{\"model\":\"m\"}", &body[..body.len() - 2], b""] {
                let read = read(named, broken, 100, &mut memory);
                assert!(matches!(read, Err(Refusal::BadEncoding { .. })), "{named} {broken:?} {read:?}");
            }
        }
    }

    #[test]
    fn zstd_window_is_limited_to_eight_mebibytes() {
        let (_, mut memory) = memory(64 << 20);
        assert_eq!(read("zstd", &zstd(BODY.as_bytes(), 23), 100, &mut memory).unwrap(), BODY);
        let refused = read("zstd", &zstd(BODY.as_bytes(), 24), 100, &mut memory);
        assert!(matches!(refused, Err(Refusal::BadEncoding { expected }) if expected.contains("8 MiB")), "{refused:?}");
    }

    #[test]
    fn unsupported_encodings_are_named() {
        let (_, mut memory) = memory(1 << 20);
        for named in ["deflate", "gzip, zstd"] {
            let read = read(named, b"", 100, &mut memory);
            assert!(matches!(&read, Err(Refusal::UnknownEncoding { encoding }) if encoding == named), "{read:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_ENCODING, "gzip".parse().unwrap());
        headers.append(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert!(matches!(Encoding::read(&headers), Err(Refusal::UnknownEncoding { .. })));
    }
}
