//! A client that speaks HTTP/1.1 byte by byte and blocks, for what no well-behaved client sends. Needs the standard library
//! and [`crate::files`] alone, so that tests of the program can have it too.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::files::TOKEN;

/// Longer than anything here may take.
pub const SOON: Duration = Duration::from_secs(20);

/// A connection whose reads do not wait for ever.
pub fn connect(to: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// Sends bytes and reads until the other side closes.
pub fn exchange(to: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = connect(to);
    socket.write_all(bytes).unwrap();
    rest(&mut socket)
}

/// What still comes, until the other side closes.
pub fn rest(socket: &mut impl Read) -> String {
    let mut text = Vec::new();
    // A reset after the answer is a close too.
    let _ = socket.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// The answer to a GET, head and body.
pub fn get(to: SocketAddr, path: &str) -> String {
    exchange(to, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
}

/// A request of Chat Completions; `more` is further members of its body, with the comma before them.
pub fn chat(model: &str, more: &str) -> String {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The status of an answer.
pub fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// The value of the first series whose line begins with this name; empty if there is none.
pub fn metric(admin: SocketAddr, name: &str) -> String {
    let page = get(admin, "/metrics");
    let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// Asks until it holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
