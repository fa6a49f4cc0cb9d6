//! Clients that say exactly what they want to say, byte by byte.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::ground::ATTACKER;

const PATIENCE: Duration = Duration::from_secs(60);

/// Sends bytes and reads until the other side closes.
pub async fn exchange(to: SocketAddr, bytes: &[u8]) -> Result<String> {
    let all = async {
        let mut socket = TcpStream::connect(to).await?;
        // The other side may answer and close before it has read everything.
        let (mut read, mut write) = socket.split();
        let mut answer = Vec::new();
        let (_, _) = tokio::join!(write.write_all(bytes), read.read_to_end(&mut answer));
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(PATIENCE, all).await.context("no answer")?
}

/// A connection from one of several addresses of this machine.
pub async fn connect_from(number: usize, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let last = u8::try_from(number % 16).unwrap_or(0) + 2;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0))?;
    socket.connect(to).await
}

/// A request of the attacker, as bytes of HTTP/1.1.
pub fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {ATTACKER}\r\nconnection: close\r\n\
         content-type: application/json\r\nanthropic-version: 2023-06-01\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The status of an answer; 0 if there is none.
pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
pub const CONTINUATION: u8 = 9;

/// An HTTP/2 frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// How an HTTP/2 connection begins whose streams may send nothing.
pub fn no_window() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat()
}

/// A field in HPACK, literal and not indexed.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &text(name), &text(value)].concat()
}

/// The pseudo-header fields of a request.
pub fn pseudo(method: &str, path: &str) -> Vec<u8> {
    let mut fields = vec![0x86, 0x01];
    fields.extend(text("gateway"));
    fields.push(0x02);
    fields.extend(text(method));
    fields.push(0x04);
    fields.extend(text(path));
    fields
}

/// A string in HPACK, without Huffman coding.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if text.len() < 127 {
        bytes.push(u8::try_from(text.len()).unwrap_or(0));
    } else {
        bytes.push(127);
        let mut left = text.len() - 127;
        while left >= 128 {
            bytes.push(u8::try_from(left % 128).unwrap_or(0) | 128);
            left /= 128;
        }
        bytes.push(u8::try_from(left).unwrap_or(0));
    }
    bytes.extend(text.as_bytes());
    bytes
}
