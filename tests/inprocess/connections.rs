//! Clients that dawdle, flood or send two lengths are cut off; others are served.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use routeapi_tests::{
    bytes::{chat, connect, eventually, exchange, get, metric, rest, status},
    files::echo,
    gateway::start,
};

/// What every answer has, whoever made it: an id and an error that says something.
fn assert_is_told(answer: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let id = head.lines().find_map(|line| line.strip_prefix("x-routeapi-request-id: ")).unwrap_or_default();
    assert_eq!(id.len(), 32, "{answer}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
}

#[test]
fn what_is_no_http_is_400_in_words() {
    let files = echo();
    let app = start(&files, |_| {});
    for broken in ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n", "GET /v1/models HTTP/9.9\r\n\r\n"] {
        let answer = exchange(app.gateway, broken.as_bytes());
        assert_eq!(status(&answer), "400", "{broken:?} {answer}");
        assert_is_told(&answer);
    }
    let behind = format!("{}nonsense\r\n\r\n", chat("hello", "").replace("connection: close\r\n", ""));
    let answers = exchange(app.gateway, behind.as_bytes());
    assert_eq!(status(&answers), "200");
    let second = answers.rfind("HTTP/1.1 ").unwrap();
    assert_eq!(status(&answers[second..]), "400", "{answers}");
    assert_is_told(&answers[second..]);
}

#[test]
fn a_header_section_that_never_ends_is_cut_off_and_neighbours_are_served() {
    let files = echo();
    let app = start(&files, |settings| settings.limits.header_read = Duration::from_millis(200));
    let mut silent = connect(app.gateway);
    let mut slow = connect(app.gateway);
    slow.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-a: ").unwrap();
    assert_eq!(status(&exchange(app.gateway, chat("hello", "").as_bytes())), "200");
    let answer = rest(&mut slow);
    assert_eq!(status(&answer), "408");
    assert_is_told(&answer);
    assert_eq!(rest(&mut silent), "", "what was opened ahead and sent nothing is closed without an answer");
    assert_eq!(metric(app.admin, "routeapi_slow_headers_total"), "2");
}

#[test]
fn a_connection_that_rests_is_closed_after_the_idle_time_and_not_before() {
    let files = echo();
    let app = start(&files, |settings| {
        settings.limits.header_read = Duration::from_millis(100);
        settings.limits.idle = Duration::from_millis(600);
    });
    let mut socket = connect(app.gateway);
    let request = chat("hello", "").replace("connection: close\r\n", "");
    socket.write_all(request.as_bytes()).unwrap();
    let begun = std::time::Instant::now();
    let answers = rest(&mut socket);
    assert_eq!(status(&answers), "200");
    assert!(begun.elapsed() >= Duration::from_millis(500), "closed after {:?}", begun.elapsed());
}

#[test]
fn too_many_and_too_long_headers_are_431() {
    let files = echo();
    let app = start(&files, |_| {});
    let many: String = (0..200).map(|it| format!("x-{it}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "a".repeat(100 << 10));
    for headers in [many, long] {
        let request = format!("GET /v1/models HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        let answer = exchange(app.gateway, request.as_bytes());
        assert_eq!(status(&answer), "431");
        assert_is_told(&answer);
    }
    assert_eq!(status(&exchange(app.gateway, chat("hello", "").as_bytes())), "200");
}

#[test]
fn two_lengths_are_refused_and_nothing_behind_them_is_read() {
    let files = echo();
    let app = start(&files, |_| {});
    for lengths in
        ["content-length: 5\r\ntransfer-encoding: chunked\r\n", "transfer-encoding: chunked\r\ncontent-length: 5\r\n"]
    {
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\n{lengths}\r\n");
        let smuggled = "0\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n";
        let answers = exchange(app.gateway, format!("{head}{smuggled}").as_bytes());
        assert_eq!(status(&answers), "400", "{answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
        assert!(answers.to_ascii_lowercase().contains("connection: close"), "{answers}");
        assert!(answers.contains("Content-Length"), "{answers}");
        assert_is_told(&answers);
    }
    assert_eq!(metric(app.admin, "routeapi_ambiguous_requests_total"), "2");
}

#[test]
fn connections_beyond_the_limit_are_turned_away_at_once() {
    let files = echo();
    let app = start(&files, |settings| settings.limits.connections = 1);
    let first = connect(app.gateway);
    eventually("the first is accepted", || metric(app.admin, "routeapi_connections_open").parse() == Ok(1));
    let mut second = connect(app.gateway);
    let answer = rest(&mut second);
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    assert_is_told(&answer);
    drop(first);
    eventually("the place is free", || status(&get(app.gateway, "/")) == "200");
}

#[test]
fn a_request_names_its_host_once_and_in_one_way() {
    let files = echo();
    let app = start(&files, |_| {});
    for to in [app.gateway, app.admin] {
        for (request, why) in [
            ("GET / HTTP/1.1\r\n\r\n", "no Host"),
            ("GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n", "more than one Host"),
            ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", "not a host"),
            ("GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n", "different hosts"),
        ] {
            let answer = exchange(to, request.as_bytes());
            assert_eq!(status(&answer), "400", "{request:?} {answer}");
            assert!(answer.contains(why), "{request:?} {answer}");
            assert_is_told(&answer);
        }
        assert_ne!(status(&exchange(to, b"GET /livez HTTP/1.0\r\n\r\n")), "400");
    }
}

#[test]
fn unfinished_header_sections_hold_so_much_and_the_oldest_go_first() {
    let files = echo();
    let app = start(&files, |settings| settings.limits.pending_bytes = 10_000);
    let begin = || {
        let mut socket = connect(app.gateway);
        write!(socket, "GET /v1/models HTTP/1.1\r\nhost: x\r\nx-a: {}", "a".repeat(4_000)).unwrap();
        socket
    };
    let mut oldest = begin();
    eventually("the first is known", || metric(app.admin, "routeapi_connections_open") == "1");
    let mut others = [begin(), begin()];
    let answer = rest(&mut oldest);
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("unfinished requests"), "{answer}");
    assert_is_told(&answer);
    assert_eq!(metric(app.admin, "routeapi_unfinished_headers_dropped_total"), "1");
    for socket in &mut others {
        socket.write_all(b"\r\nconnection: close\r\n\r\n").unwrap();
        assert_eq!(status(&rest(socket)), "401");
    }
}

#[test]
fn one_address_gets_a_share_of_the_connections() {
    let files = echo();
    let app = start(&files, |settings| settings.limits.connections_per_client = 1);
    let first = connect(app.gateway);
    eventually("the first is accepted", || metric(app.admin, "routeapi_connections_open") == "1");
    let answer = rest(&mut connect(app.gateway));
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("from this address"), "{answer}");
    drop(first);
    eventually("the place is free", || status(&get(app.gateway, "/")) == "200");
}

#[test]
fn a_connection_is_closed_behind_a_header_section_that_outgrew_its_buffer() {
    let files = echo();
    let app = start(&files, |_| {});
    for (length, closes) in [(1_000, false), (9_000, true)] {
        let mut socket = connect(app.gateway);
        write!(socket, "GET /v1/models HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n", "a".repeat(length)).unwrap();
        let mut answer = [0; 4096];
        let read = socket.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).to_ascii_lowercase();
        assert_eq!(answer.contains("connection: close"), closes, "{length}: {answer}");
    }
}

const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// `GET /v1/models` in HPACK: static names, literal values.
fn get_models() -> Vec<u8> {
    [&[0x82, 0x86, 0x01, 1][..], b"x", &[0x04, 10], b"/v1/models"].concat()
}

/// An HTTP/2 connection whose streams may send nothing.
fn http2(to: SocketAddr) -> TcpStream {
    let mut socket = connect(to);
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    socket.write_all(&[H2_PREFACE, &no_window].concat()).unwrap();
    socket
}

#[test]
fn an_http2_header_block_that_never_ends_is_cut_off() {
    let files = echo();
    let app = start(&files, |settings| settings.limits.header_read = Duration::from_millis(200));
    let mut no_frame = connect(app.gateway);
    no_frame.write_all(H2_PREFACE).unwrap();
    let mut no_end = http2(app.gateway);
    no_end.write_all(&frame(HEADERS, 1, 1, &get_models())).unwrap();
    rest(&mut no_frame);
    rest(&mut no_end);
    assert_eq!(metric(app.admin, "routeapi_slow_headers_total"), "2");
}

#[test]
fn http2_streams_beyond_the_limit_of_requests_are_refused_unprocessed() {
    let files = echo();
    let app = start(&files, |settings| settings.limits.requests = 1);
    let mut socket = http2(app.gateway);
    // The answer of the one that is served cannot be sent, so it stays.
    for stream in [1, 3] {
        socket.write_all(&frame(HEADERS, 5, stream, &get_models())).unwrap();
    }
    loop {
        let mut header = [0; 9];
        socket.read_exact(&mut header).unwrap();
        let mut payload = vec![0; usize::from(header[1]) << 8 | usize::from(header[2])];
        socket.read_exact(&mut payload).unwrap();
        if header[3] == RST_STREAM {
            assert_eq!(payload[3], 7, "REFUSED_STREAM");
            break;
        }
    }
    assert_eq!(metric(app.admin, "routeapi_streams_refused_total"), "1");
}
