//! The PROXY protocol (HAProxy, "The PROXY protocol", versions 1 and 2): a load balancer that passes TCP on says in front
//! of everything else, TLS included, whose connection it is.
//!
//! Exactly the header is read and nothing behind it. It is refused as soon as it cannot be one any more, so that a client
//! that sends HTTP or TLS instead does not wait for the deadline.

use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest header of version 2. The protocol promises that 536 bytes pass; what makes a header longer than its 52 bytes of
/// addresses is what balancers add: names of certificates, ids of endpoints.
const MAX_HEADER_BYTES: usize = 1 << 10;
/// The shortest header: `PROXY UNKNOWN` and its line's end. Version 2 has a byte more at least.
const MIN_HEADER_BYTES: usize = 15;
/// The fixed part of version 2.
const V2_FIXED_BYTES: usize = 16;
/// Longest header of version 1, from the protocol.
const MAX_V1_BYTES: usize = 107;

/// Why a connection's beginning tells no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyHeaderError {
    /// It ended before a first byte, as balancers do that look whether the port is open.
    #[error("nothing was sent")]
    Empty,
    /// It ended within the header.
    #[error("the connection ended within the header")]
    Truncated,
    /// It begins with something else.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// The header is longer than [`MAX_HEADER_BYTES`].
    #[error("the header has {0} bytes; at most {MAX_HEADER_BYTES} are read")]
    TooLong(usize),
    /// It is not legal.
    #[error("the header is not legal: {0}")]
    Invalid(String),
    /// It did not come in time.
    #[error("the header did not come in time")]
    Timeout,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the header within this time. Gives the client's address; none if the balancer speaks for itself (`LOCAL`, health
/// checks), does not know, or names no TCP client.
///
/// # Errors
/// When there is no legal header in time. Then nothing may be answered: whoever sent that expects another protocol.
pub(super) async fn read<I>(io: &mut I, within: Duration) -> Result<Option<SocketAddr>, ProxyHeaderError>
where
    I: AsyncRead + Unpin,
{
    // Boxed, so that a connection does not keep room for the header behind it.
    tokio::time::timeout(within, Box::pin(header(io))).await.unwrap_or(Err(ProxyHeaderError::Timeout))
}

async fn header<I: AsyncRead + Unpin>(io: &mut I) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    let mut bytes = Vec::with_capacity(MAX_V1_BYTES.next_power_of_two());
    extend(io, &mut bytes, MIN_HEADER_BYTES).await?;
    if bytes.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        text(io, &mut bytes).await
    } else {
        binary(io, &mut bytes).await
    }
}

async fn text<I: AsyncRead + Unpin>(io: &mut I, bytes: &mut Vec<u8>) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    // Its length is told by its end alone. A byte at a time, since those behind it are for TLS or HTTP.
    while !bytes.ends_with(b"\n") {
        if bytes.len() == MAX_V1_BYTES {
            return Err(ProxyHeaderError::Invalid("its line has no end".to_owned()));
        }
        let next = bytes.len() + 1;
        extend(io, bytes, next).await?;
    }
    let header =
        v1::Header::try_from(bytes.as_slice()).map_err(|error| ProxyHeaderError::Invalid(error.to_string()))?;
    if header.header.len() != bytes.len() {
        return Err(ProxyHeaderError::Invalid("something stands behind its end".to_owned()));
    }
    Ok(match header.addresses {
        v1::Addresses::Tcp4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Tcp6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Unknown => None,
    })
}

async fn binary<I: AsyncRead + Unpin>(io: &mut I, bytes: &mut Vec<u8>) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    extend(io, bytes, V2_FIXED_BYTES).await?;
    let length = match bytes.last_chunk() {
        Some(&length) => V2_FIXED_BYTES + usize::from(u16::from_be_bytes(length)),
        None => return Err(ProxyHeaderError::Missing),
    };
    if length > MAX_HEADER_BYTES {
        return Err(ProxyHeaderError::TooLong(length));
    }
    extend(io, bytes, length).await?;
    let header =
        v2::Header::try_from(bytes.as_slice()).map_err(|error| ProxyHeaderError::Invalid(error.to_string()))?;
    if header.command == v2::Command::Local || header.protocol != v2::Protocol::Stream {
        return Ok(None);
    }
    Ok(match header.addresses {
        v2::Addresses::IPv4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v2::Addresses::IPv6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    })
}

/// Reads on until there are so many bytes, for as long as they may begin a header.
async fn extend<I: AsyncRead + Unpin>(io: &mut I, bytes: &mut Vec<u8>, length: usize) -> Result<(), ProxyHeaderError> {
    while let Some(missing) = length.checked_sub(bytes.len()).filter(|&missing| missing > 0) {
        let read = (&mut *io).take(missing as u64).read_buf(bytes).await?;
        match (read, bytes.is_empty()) {
            (0, true) => return Err(ProxyHeaderError::Empty),
            (0, false) => return Err(ProxyHeaderError::Truncated),
            _ if may_begin_a_header(bytes) => {}
            _ => return Err(ProxyHeaderError::Missing),
        }
    }
    Ok(())
}

fn may_begin_a_header(bytes: &[u8]) -> bool {
    let agrees = |prefix: &[u8]| bytes.iter().zip(prefix).all(|(one, other)| one == other);
    agrees(b"PROXY ") || agrees(v2::PROTOCOL_PREFIX)
}

/// Connections without a legal header since the log said so last.
static LOG_LIMIT: Mutex<LogLimit> = Mutex::new(LogLimit { logged_at: None, skipped: 0 });

/// How long the log says nothing more about it.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct LogLimit {
    logged_at: Option<Instant>,
    skipped: u64,
}

impl LogLimit {
    /// How many were left out since the last line, if it is time for another one.
    fn count(&mut self, now: Instant) -> Option<u64> {
        if self.logged_at.is_some_and(|logged_at| now.saturating_duration_since(logged_at) < LOG_INTERVAL) {
            self.skipped = self.skipped.saturating_add(1);
            return None;
        }
        self.logged_at = Some(now);
        Some(std::mem::take(&mut self.skipped))
    }
}

/// Says that a connection was closed for this, once a minute at most: who connects must not fill the log.
pub(super) fn log(peer: SocketAddr, error: &ProxyHeaderError, now: Instant) {
    let due = LOG_LIMIT.lock().unwrap_or_else(PoisonError::into_inner).count(now);
    if let Some(skipped) = due {
        tracing::warn!(
            %peer, %error, left_out = skipped,
            "connection closed: --proxy-protocol is set, and it did not begin with a valid PROXY header"
        );
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(5);

    /// Reads from these bytes; gives what the header said and what was left for others.
    async fn after(sent: &[u8]) -> (Result<Option<SocketAddr>, ProxyHeaderError>, Vec<u8>) {
        let mut io = sent;
        let result = read(&mut io, LONG).await;
        (result, io.to_vec())
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
    }

    const FOUR: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 1, 0xbb];

    fn six() -> Vec<u8> {
        let source: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
        [&source.octets()[..], &[0; 16], &[0x30, 0x39, 1, 0xbb]].concat()
    }

    #[tokio::test]
    async fn both_proxy_protocol_versions_give_the_client_address() {
        let with_more = [&FOUR[..], &[0x04, 0, 3, 1, 2, 3], &[0xea, 0, 1, 9]].concat();
        let four = Some("192.0.2.1:12345".parse().unwrap());
        let six_told = Some("[2001:db8::1]:12345".parse().unwrap());
        for (header, client) in [
            (binary(0x21, 0x11, &FOUR), four),
            (binary(0x21, 0x11, &with_more), four),
            (binary(0x21, 0x21, &six()), six_told),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\n".to_vec(), four),
            (b"PROXY TCP6 2001:db8::1 ::1 12345 443\r\n".to_vec(), six_told),
            // The balancer's own health check, a client it does not know, and ones that are not of TCP.
            (binary(0x20, 0x11, &FOUR), None),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x21, 0x00, &[]), None),
            (binary(0x21, 0x12, &FOUR), None),
            (binary(0x21, 0x31, &[7; 216]), None),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
        ] {
            let (result, rest) = after(&[&header[..], b"GET / HTTP/1.1\r\n"].concat()).await;
            assert_eq!(result.unwrap(), client, "{header:x?}");
            assert_eq!(rest, b"GET / HTTP/1.1\r\n", "{header:x?}");
        }
    }

    #[tokio::test]
    async fn proxy_header_is_read_in_pieces_of_any_size() {
        for header in [binary(0x21, 0x11, &FOUR), b"PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\n".to_vec()] {
            let (mut client, mut server) = tokio::io::duplex(1);
            let sending = tokio::spawn(async move { client.write_all(&header).await });
            assert_eq!(read(&mut server, LONG).await.unwrap(), Some("192.0.2.1:12345".parse().unwrap()));
            sending.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn missing_proxy_header_is_refused_at_once() {
        for sent in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"G",
            b"\x16\x03\x01\x02\x00",
            b"PROXIED",
            b"\r\n\r\n\0\r\nQUIX",
            b"proxy tcp4",
        ] {
            let (mut client, mut server) = tokio::io::duplex(64);
            client.write_all(sent).await.unwrap();
            let result = read(&mut server, LONG).await;
            assert!(matches!(result, Err(ProxyHeaderError::Missing)), "{sent:x?}: {result:?}");
        }
        for sent in [
            binary(0x11, 0x11, &FOUR),
            binary(0x22, 0x11, &FOUR),
            binary(0x21, 0x41, &FOUR),
            binary(0x21, 0x11, &FOUR[..11]),
            binary(0x21, 0x21, &FOUR),
            binary(0x21, 0x31, &FOUR),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 12345\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 ::1 12345 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 99999 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\n\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 10.0.0.1 12345 443\r\n".to_vec(),
            [&b"PROXY UNKNOWN"[..], &[b' '; 200], b"\r\n"].concat(),
            b"PROXY \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\r\n".to_vec(),
        ] {
            let (result, _) = after(&sent).await;
            assert!(matches!(result, Err(ProxyHeaderError::Invalid(_))), "{sent:x?}: {result:?}");
        }
    }

    #[tokio::test]
    async fn oversize_proxy_header_is_refused_before_it_is_read() {
        let longest = [&FOUR[..], &[0x04, 3, 225], &vec![0; 993]].concat();
        assert_eq!(longest.len(), MAX_HEADER_BYTES - V2_FIXED_BYTES);
        assert!(after(&binary(0x21, 0x11, &longest)).await.0.is_ok());
        let header = binary(0x21, 0x11, &[&longest[..], &[0]].concat());
        let (result, rest) = after(&header).await;
        assert!(matches!(result, Err(ProxyHeaderError::TooLong(1025))), "{result:?}");
        assert_eq!(rest.len(), header.len() - V2_FIXED_BYTES, "its rest was not read");
    }

    #[tokio::test]
    async fn truncated_or_late_proxy_header_is_an_error() {
        assert!(matches!(after(b"").await.0, Err(ProxyHeaderError::Empty)), "a port scan or a TCP health check");
        for sent in [&b"\r\n\r\n\0\r\n"[..], b"PROXY TCP4 192.0.2.1", &binary(0x21, 0x11, &FOUR)[..20]] {
            assert!(matches!(after(sent).await.0, Err(ProxyHeaderError::Truncated)), "{sent:x?}");
        }
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(b"PROXY ").await.unwrap();
        // Its time is over before the first look that finds nothing more.
        assert!(matches!(read(&mut server, Duration::ZERO).await, Err(ProxyHeaderError::Timeout)));
    }

    #[test]
    fn proxy_header_failures_are_logged_once_a_minute() {
        let mut refused = LogLimit { logged_at: None, skipped: 0 };
        let start = Instant::now();
        assert_eq!(refused.count(start), Some(0));
        assert_eq!((1..60).filter_map(|second| refused.count(start + Duration::from_secs(second))).count(), 0);
        assert_eq!(refused.count(start + LOG_INTERVAL), Some(59));
        assert_eq!(refused.count(start + LOG_INTERVAL), None);
    }
}
