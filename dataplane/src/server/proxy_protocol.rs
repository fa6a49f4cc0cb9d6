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
const MOST: usize = 1 << 10;
/// The shortest header: `PROXY UNKNOWN` and its line's end. Version 2 has a byte more at least.
const LEAST: usize = 15;
/// The fixed part of version 2.
const FIXED: usize = 16;
/// Longest header of version 1, from the protocol.
const MOST_TEXT: usize = 107;

/// Why a connection's beginning tells no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHeader {
    /// It ended before a first byte, as balancers do that look whether the port is open.
    #[error("nothing was sent")]
    Nothing,
    /// It ended within the header.
    #[error("the connection ended within the header")]
    Cut,
    /// It begins with something else.
    #[error("the connection does not begin with a PROXY header")]
    Absent,
    /// The header is longer than [`MOST`].
    #[error("the header has {0} bytes; at most {MOST} are read")]
    TooLong(usize),
    /// It is not legal.
    #[error("the header is not legal: {0}")]
    Illegal(String),
    /// It did not come in time.
    #[error("the header did not come in time")]
    Late,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the header within this time. Gives the client's address; none if the balancer speaks for itself (`LOCAL`, health
/// checks), does not know, or names no TCP client.
///
/// # Errors
/// When there is no legal header in time. Then nothing may be answered: whoever sent that expects another protocol.
pub(super) async fn read<I>(io: &mut I, within: Duration) -> Result<Option<SocketAddr>, NoHeader>
where
    I: AsyncRead + Unpin,
{
    // Boxed, so that a connection does not keep room for the header behind it.
    tokio::time::timeout(within, Box::pin(header(io))).await.unwrap_or(Err(NoHeader::Late))
}

async fn header<I: AsyncRead + Unpin>(io: &mut I) -> Result<Option<SocketAddr>, NoHeader> {
    let mut bytes = Vec::with_capacity(MOST_TEXT.next_power_of_two());
    extend(io, &mut bytes, LEAST).await?;
    if bytes.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        text(io, &mut bytes).await
    } else {
        binary(io, &mut bytes).await
    }
}

async fn text<I: AsyncRead + Unpin>(io: &mut I, bytes: &mut Vec<u8>) -> Result<Option<SocketAddr>, NoHeader> {
    // Its length is told by its end alone. A byte at a time, since those behind it are for TLS or HTTP.
    while !bytes.ends_with(b"\n") {
        if bytes.len() == MOST_TEXT {
            return Err(NoHeader::Illegal("its line has no end".to_owned()));
        }
        let next = bytes.len() + 1;
        extend(io, bytes, next).await?;
    }
    let header = v1::Header::try_from(bytes.as_slice()).map_err(|error| NoHeader::Illegal(error.to_string()))?;
    if header.header.len() != bytes.len() {
        return Err(NoHeader::Illegal("something stands behind its end".to_owned()));
    }
    Ok(match header.addresses {
        v1::Addresses::Tcp4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Tcp6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Unknown => None,
    })
}

async fn binary<I: AsyncRead + Unpin>(io: &mut I, bytes: &mut Vec<u8>) -> Result<Option<SocketAddr>, NoHeader> {
    extend(io, bytes, FIXED).await?;
    let length = match bytes.last_chunk() {
        Some(&length) => FIXED + usize::from(u16::from_be_bytes(length)),
        None => return Err(NoHeader::Absent),
    };
    if length > MOST {
        return Err(NoHeader::TooLong(length));
    }
    extend(io, bytes, length).await?;
    let header = v2::Header::try_from(bytes.as_slice()).map_err(|error| NoHeader::Illegal(error.to_string()))?;
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
async fn extend<I: AsyncRead + Unpin>(io: &mut I, bytes: &mut Vec<u8>, length: usize) -> Result<(), NoHeader> {
    while let Some(missing) = length.checked_sub(bytes.len()).filter(|&missing| missing > 0) {
        let read = (&mut *io).take(missing as u64).read_buf(bytes).await?;
        match (read, bytes.is_empty()) {
            (0, true) => return Err(NoHeader::Nothing),
            (0, false) => return Err(NoHeader::Cut),
            _ if may_begin_a_header(bytes) => {}
            _ => return Err(NoHeader::Absent),
        }
    }
    Ok(())
}

fn may_begin_a_header(bytes: &[u8]) -> bool {
    let agrees = |prefix: &[u8]| bytes.iter().zip(prefix).all(|(one, other)| one == other);
    agrees(b"PROXY ") || agrees(v2::PROTOCOL_PREFIX)
}

/// Connections without a legal header since the log said so last.
static SINCE_SAID: Mutex<Refused> = Mutex::new(Refused { said: None, left_out: 0 });

/// How long the log says nothing more about it.
const QUIET: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Refused {
    said: Option<Instant>,
    left_out: u64,
}

impl Refused {
    /// How many were left out since the last line, if it is time for another one.
    fn say(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < QUIET) {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Says that a connection was closed for this, once a minute at most: who connects must not fill the log.
pub(super) fn log(peer: SocketAddr, error: &NoHeader, now: Instant) {
    let due = SINCE_SAID.lock().unwrap_or_else(PoisonError::into_inner).say(now);
    if let Some(left_out) = due {
        tracing::warn!(
            %peer, %error, left_out,
            "connection closed: --proxy-protocol is set and it began without a legal PROXY header"
        );
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(5);

    /// Reads from these bytes; gives what the header said and what was left for others.
    async fn after(sent: &[u8]) -> (Result<Option<SocketAddr>, NoHeader>, Vec<u8>) {
        let mut io = sent;
        let told = read(&mut io, LONG).await;
        (told, io.to_vec())
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
    async fn headers_of_both_versions_tell_the_client_and_leave_the_rest() {
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
            let (told, rest) = after(&[&header[..], b"GET / HTTP/1.1\r\n"].concat()).await;
            assert_eq!(told.unwrap(), client, "{header:x?}");
            assert_eq!(rest, b"GET / HTTP/1.1\r\n", "{header:x?}");
        }
    }

    #[tokio::test]
    async fn pieces_of_any_size_make_the_same_header() {
        for header in [binary(0x21, 0x11, &FOUR), b"PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\n".to_vec()] {
            let (mut client, mut server) = tokio::io::duplex(1);
            let sending = tokio::spawn(async move { client.write_all(&header).await });
            assert_eq!(read(&mut server, LONG).await.unwrap(), Some("192.0.2.1:12345".parse().unwrap()));
            sending.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_at_once() {
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
            let told = read(&mut server, LONG).await;
            assert!(matches!(told, Err(NoHeader::Absent)), "{sent:x?}: {told:?}");
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
            let (told, _) = after(&sent).await;
            assert!(matches!(told, Err(NoHeader::Illegal(_))), "{sent:x?}: {told:?}");
        }
    }

    #[tokio::test]
    async fn a_long_header_is_refused_before_it_is_read() {
        let longest = [&FOUR[..], &[0x04, 3, 225], &vec![0; 993]].concat();
        assert_eq!(longest.len(), MOST - FIXED);
        assert!(after(&binary(0x21, 0x11, &longest)).await.0.is_ok());
        let header = binary(0x21, 0x11, &[&longest[..], &[0]].concat());
        let (told, rest) = after(&header).await;
        assert!(matches!(told, Err(NoHeader::TooLong(1025))), "{told:?}");
        assert_eq!(rest.len(), header.len() - FIXED, "its rest was not read");
    }

    #[tokio::test]
    async fn a_connection_that_ends_or_waits_has_no_header() {
        assert!(matches!(after(b"").await.0, Err(NoHeader::Nothing)), "a port scan or a TCP health check");
        for sent in [&b"\r\n\r\n\0\r\n"[..], b"PROXY TCP4 192.0.2.1", &binary(0x21, 0x11, &FOUR)[..20]] {
            assert!(matches!(after(sent).await.0, Err(NoHeader::Cut)), "{sent:x?}");
        }
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(b"PROXY ").await.unwrap();
        // Its time is over before the first look that finds nothing more.
        assert!(matches!(read(&mut server, Duration::ZERO).await, Err(NoHeader::Late)));
    }

    #[test]
    fn the_log_says_it_once_a_minute() {
        let mut refused = Refused { said: None, left_out: 0 };
        let start = Instant::now();
        assert_eq!(refused.say(start), Some(0));
        assert_eq!((1..60).filter_map(|second| refused.say(start + Duration::from_secs(second))).count(), 0);
        assert_eq!(refused.say(start + QUIET), Some(59));
        assert_eq!(refused.say(start + QUIET), None);
    }
}
