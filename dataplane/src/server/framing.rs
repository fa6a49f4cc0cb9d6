//! Follows where HTTP/1 requests begin and end in the bytes a client sends, beside hyper, for two things hyper does not
//! tell: that a request has both `Content-Length` and `Transfer-Encoding`, and that a header section has begun and not
//! ended.
//!
//! hyper reads a request with both by the latter (RFC 9112 section 6.3 allows that) and hides the former. A proxy in
//! front may have read it by the other, so the only safe answer is a refusal, and for that one has to see it.
//!
//! Never decides what a request says: on anything unusual it stops looking, and hyper's own checks stand.

use memchr::memchr;

/// A line longer than this is not looked at; hyper refuses such header sections anyway.
const LONGEST_LINE: usize = 64 << 10;

/// The start of every HTTP/2 connection.
const H2_PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0";

/// Follows one connection.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    /// The unfinished line.
    line: Vec<u8>,
    /// Header sections that ended.
    heads: u64,
    ambiguous: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a header section.
    Head(Head),
    /// In a body of known length.
    Body(u64),
    /// At the size line of a chunk.
    ChunkSize,
    /// In a chunk, its final line break included.
    Chunk(u64),
    /// After the last chunk.
    Trailers,
    /// Looks no more: HTTP/2, or something that hyper will refuse.
    Off,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    begun: bool,
    length: Option<u64>,
    encoded: bool,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self { state: State::Head(Head::default()), line: Vec::new(), heads: 0, ambiguous: None }
    }

    /// Takes in what was read.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.state != State::Off {
            bytes = match self.state {
                State::Body(left) => self.skip(bytes, left, State::Body, State::Head(Head::default())),
                State::Chunk(left) => self.skip(bytes, left, State::Chunk, State::ChunkSize),
                State::Head(_) | State::ChunkSize | State::Trailers => self.read_line(bytes),
                State::Off => return,
            };
        }
    }

    /// Which request, counted from 0, has both lengths. Nothing after it is looked at.
    pub(super) fn ambiguous(&self) -> Option<u64> {
        self.ambiguous
    }

    /// Whether a header section has begun and not ended.
    pub(super) fn is_mid_head(&self) -> bool {
        match self.state {
            State::Head(head) => head.begun || !self.line.is_empty(),
            State::Body(_) | State::ChunkSize | State::Chunk(_) | State::Trailers | State::Off => false,
        }
    }

    /// Whether no header section has ended yet and this still looks like HTTP/1.
    pub(super) fn is_at_first_head(&self) -> bool {
        self.heads == 0 && matches!(self.state, State::Head(_))
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, now: fn(u64) -> State, then: State) -> &'a [u8] {
        let step = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - step as u64;
        self.state = if left == 0 { then } else { now(left) };
        bytes.get(step..).unwrap_or_default()
    }

    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr(b'\n', bytes) else {
            self.line.extend_from_slice(bytes);
            if self.line.len() > LONGEST_LINE {
                self.state = State::Off;
            }
            return &[];
        };
        let (line, rest) = bytes.split_at(end);
        if self.line.is_empty() {
            self.end_line(line);
        } else {
            let mut whole = std::mem::take(&mut self.line);
            whole.extend_from_slice(line);
            self.end_line(&whole);
        }
        rest.get(1..).unwrap_or_default()
    }

    fn end_line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.state = match self.state {
            State::Head(head) => self.end_head_line(head, line),
            State::ChunkSize => match chunk_size(line) {
                Some(0) => State::Trailers,
                // The chunk's own CRLF counts as part of it.
                Some(size) => State::Chunk(size.saturating_add(2)),
                None => State::Off,
            },
            State::Trailers if line.is_empty() => State::Head(Head::default()),
            other @ (State::Trailers | State::Body(_) | State::Chunk(_) | State::Off) => other,
        };
    }

    fn end_head_line(&mut self, mut head: Head, line: &[u8]) -> State {
        if line.is_empty() {
            // Line breaks before a request line are skipped, as hyper does.
            return if head.begun { self.end_head(head) } else { State::Head(head) };
        }
        if !head.begun {
            head.begun = true;
            return if line == H2_PREFACE_LINE { State::Off } else { State::Head(head) };
        }
        let Some(colon) = memchr(b':', line) else { return State::Off };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            head.encoded = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let digits = value.get(1..).unwrap_or_default().trim_ascii();
            match std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()) {
                Some(length) => head.length = Some(length),
                None if head.encoded => head.length = Some(0),
                None => return State::Off,
            }
        }
        State::Head(head)
    }

    fn end_head(&mut self, head: Head) -> State {
        let ordinal = self.heads;
        self.heads += 1;
        match (head.encoded, head.length) {
            (true, Some(_)) => {
                self.ambiguous = Some(ordinal);
                State::Off
            }
            (true, None) => State::ChunkSize,
            (false, Some(0) | None) => State::Head(Head::default()),
            (false, Some(length)) => State::Body(length),
        }
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
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
    fn the_request_with_both_lengths_is_found_behind_others_however_the_bytes_are_cut() {
        let stream = [PLAIN, CHUNKED, PLAIN, BOTH].concat();
        for size in 1..stream.len() {
            let framing = follow(&stream.chunks(size).collect::<Vec<_>>());
            assert_eq!(framing.ambiguous(), Some(3), "cut every {size} bytes");
        }
    }

    #[test]
    fn order_case_and_bare_line_feeds_do_not_hide_it() {
        for head in [
            &b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nCONTENT-LENGTH:\t7 \r\n\r\n"[..],
            b"POST / HTTP/1.1\ncontent-length: 7\ntransfer-encoding: gzip, chunked\n\n",
            b"\r\nPOST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: nonsense\r\n\r\n",
        ] {
            assert_eq!(follow(&[head]).ambiguous(), Some(0), "{}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn bodies_that_look_like_header_sections_are_not_read_as_such() {
        let body = b"x: y\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n";
        let head = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len());
        let framing = follow(&[head.as_bytes(), body, PLAIN]);
        assert_eq!((framing.ambiguous(), framing.heads), (None, 2));
    }

    #[test]
    fn a_header_section_is_open_from_its_first_byte_to_its_empty_line() {
        let mut framing = Framing::new();
        assert!(!framing.is_mid_head() && framing.is_at_first_head());
        framing.push(b"G");
        assert!(framing.is_mid_head());
        framing.push(b"ET / HTTP/1.1\r\n");
        assert!(framing.is_mid_head());
        framing.push(b"\r\n");
        assert!(!framing.is_mid_head() && !framing.is_at_first_head());
    }

    #[test]
    fn http2_is_left_alone() {
        let framing = follow(&[b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\n"]);
        assert_eq!(framing.state, State::Off);
        assert!(!framing.is_at_first_head());
    }
}
