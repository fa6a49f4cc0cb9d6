use super::*;

fn follow(parts: &[&[u8]]) -> Framing {
    let mut framing = Framing::new();
    for part in parts {
        framing.push(part);
    }
    framing
}

const PLAIN: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nt: v\r\n\r\n";
const BOTH: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";

#[test]
fn ambiguous_length_is_found_in_any_request_and_any_split() {
    let stream = [PLAIN, CHUNKED, PLAIN, BOTH].concat();
    for size in 1..stream.len() {
        let framing = follow(&stream.chunks(size).collect::<Vec<_>>());
        assert_eq!(framing.ambiguous(), Some(3), "cut every {size} bytes");
    }
}

#[test]
fn ambiguous_length_is_found_in_any_order_case_and_line_ending() {
    for head in [
        &b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nCONTENT-LENGTH:\t7 \r\n\r\n"[..],
        b"POST / HTTP/1.1\ncontent-length: 7\ntransfer-encoding: gzip, chunked\n\n",
        b"\r\nPOST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: nonsense\r\n\r\n",
        b"PRI / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n",
    ] {
        assert_eq!(follow(&[head]).ambiguous(), Some(0), "{}", String::from_utf8_lossy(head));
    }
}

#[test]
fn ambiguous_length_is_found_behind_long_lines_and_padding() {
    let long = format!("POST / HTTP/1.1\r\nx: {}\r\n", "a".repeat(70_000));
    let padded = format!("content-length: {}{}5\r\n", " ".repeat(9_000), "0".repeat(9_000));
    let head = format!("{long}{padded}transfer-encoding: chunked\r\n\r\n");
    assert_eq!(follow(&[head.as_bytes()]).ambiguous(), Some(0));
    let framing = follow(&[format!("{long}{padded}\r\nhello").as_bytes(), BOTH]);
    assert_eq!(framing.ambiguous(), Some(1));
}

#[test]
fn body_that_looks_like_a_header_section_is_skipped() {
    let body = b"x: y\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n";
    let head = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len());
    let framing = follow(&[head.as_bytes(), body, PLAIN]);
    assert_eq!((framing.ambiguous(), framing.heads), (None, 2));
}

#[test]
fn header_section_is_unfinished_until_its_empty_line() {
    let mut framing = Framing::new();
    assert!(framing.unfinished(false).is_none() && framing.is_at_start());
    framing.push(b"G");
    assert_eq!(framing.unfinished(false), Some(1));
    framing.push(b"ET / HTTP/1.1\r\n");
    assert_eq!(framing.unfinished(false), Some(16));
    framing.push(b"\r\n");
    assert!(framing.unfinished(false).is_none() && !framing.is_at_start());
}

#[test]
fn invalid_length_is_tracked_to_the_end_of_its_section() {
    let mut framing = follow(&[b"POST / HTTP/1.1\r\ncontent-length: x\r\nno colon\r\n"]);
    assert!(framing.unfinished(false).is_some() && framing.is_at_start());
    framing.push(b"\r\n");
    assert_eq!(framing.state, State::Off);
}

#[test]
fn framing_state_has_constant_size() {
    assert!(size_of::<Framing>() <= 128, "{} bytes", size_of::<Framing>());
}

#[test]
fn http2_is_tracked_frame_by_frame() {
    let mut framing = follow(&[b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\n"]);
    assert!(framing.is_at_start() && !framing.is_http1());
    framing.push(b"\0\0\x03\x01\0\0\0\0\x01abc");
    assert_eq!(framing.unfinished(true), Some(64 << 10));
}

#[test]
fn partial_http2_preface_is_http1() {
    let framing = follow(&[b"PRI * HTTP/2.0\r\n\r\nXX\r\n"]);
    assert!(framing.is_http1());
    assert_eq!(framing.heads, 1);
}
