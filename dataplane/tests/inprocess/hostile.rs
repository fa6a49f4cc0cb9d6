//! Clients that dawdle, flood or send two lengths are cut off; others are served.

use std::{io::Write, time::Duration};

use super::gateway::{chat, connect, echo, exchange, get, metric, rest, start, status};

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
    for socket in [&mut slow, &mut silent] {
        let answer = rest(socket);
        assert_eq!(status(&answer), "408");
        assert_is_told(&answer);
    }
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
    super::gateway::eventually("the first is accepted", || {
        metric(app.admin, "routeapi_connections_open").parse() == Ok(1)
    });
    let mut second = connect(app.gateway);
    let answer = rest(&mut second);
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    assert_is_told(&answer);
    drop(first);
    super::gateway::eventually("the place is free", || status(&get(app.gateway, "/")) == "200");
}
