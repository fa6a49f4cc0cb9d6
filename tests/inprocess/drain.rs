//! Ending well: not ready first, answers finish, what does not is ended in the client's dialect.

use std::{
    io::{Read, Write},
    net::TcpListener,
    time::{Duration, Instant},
};

use routeapi_tests::{
    bytes::{chat, connect, eventually, exchange, get, rest, status},
    files::{Files, echo, manifests},
    gateway::start,
};

#[test]
fn at_shutdown_readiness_fails_while_requests_are_served_for_the_delay() {
    let files = echo();
    let app = start(&files, |settings| settings.shutdown.delay = Duration::from_secs(2));
    assert_eq!(status(&get(app.admin, "/readyz")), "200");
    app.shutdown();
    eventually("not ready", || status(&get(app.admin, "/readyz")) == "503");
    assert_eq!(status(&exchange(app.gateway, chat("hello", "").as_bytes())), "200");
    assert_eq!(status(&get(app.admin, "/livez")), "200");
    let gateway = app.gateway;
    app.join();
    assert!(std::net::TcpStream::connect(gateway).is_err());
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let files = echo();
    let app = start(&files, |settings| settings.shutdown.timeout = Duration::from_secs(60));
    let mut idle = connect(app.gateway);
    idle.write_all(chat("hello", "").replace("connection: close\r\n", "").as_bytes()).unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let begun = Instant::now();
    app.shutdown();
    app.join();
    assert!(begun.elapsed() < Duration::from_secs(20), "took {:?}", begun.elapsed());
}

#[test]
fn a_stream_that_outlives_the_deadline_ends_with_an_error_of_its_dialect() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = upstream.local_addr().unwrap().port();
    let upstream = std::thread::spawn(move || {
        let (mut socket, _) = upstream.accept().unwrap();
        let mut request = [0; 4096];
        assert!(socket.read(&mut request).unwrap() > 0);
        let event = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"one"},"finish_reason":null}]}"#;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        socket.write_all(format!("{head}{event}\n\n").as_bytes()).unwrap();
        // Until the gateway gives up on this stream.
        rest(&mut socket)
    });
    let files = Files::new(&manifests("m", &format!("{{type: OpenAI, baseURL: 'http://127.0.0.1:{port}/v1'}}")));
    let app = start(&files, |settings| settings.shutdown.timeout = Duration::from_millis(300));
    let mut client = connect(app.gateway);
    client.write_all(chat("m", r#","stream":true"#).as_bytes()).unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("one") {
        let mut more = [0; 1024];
        let count = client.read(&mut more).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&more[..count]);
    }
    app.shutdown();
    let tail = rest(&mut client);
    app.join();
    assert!(tail.contains("\"error\""), "{tail}");
    assert!(!tail.contains("[DONE]"), "{tail}");
    upstream.join().unwrap();
}
