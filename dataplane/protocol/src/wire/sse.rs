//! Server-sent events (WHATWG HTML, section 9.2), as strictly written and as loosely read as the field needs
//! (docs/protocols/streaming.md).
//!
//! Lines end with LF, CR or CRLF and with nothing else: U+2028, U+2029 and U+0085 are text. An event ends with an empty
//! line, or with the body. Comments, `id:` and `retry:` carry nothing for us. `data: : keepalive`, which some servers
//! send, is a comment that lost its way, and no JSON begins with a colon. Bytes that are not UTF-8 become U+FFFD, as the
//! standard says; since whole events are decoded, a character cut by the network never does.

use std::borrow::Cow;

/// Most bytes of one event that are held for parsing.
pub const MAX_EVENT: usize = 16 * 1024 * 1024;

/// One event, borrowed from the decoder's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The `event:` line, if there was one.
    pub event: Option<&'a str>,
    /// The `data:` lines, joined with line feeds.
    pub data: &'a str,
}

/// An event is larger than [`MAX_EVENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {MAX_EVENT} bytes")]
pub struct TooLarge;

/// Finds the ends of events in bytes that arrive in pieces. Holds no bytes itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boundary {
    /// The current line has no bytes yet.
    line_is_empty: bool,
    /// The last byte was a CR, so an LF belongs to it.
    after_cr: bool,
}

/// The lines of one event, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    event: Option<Cow<'a, str>>,
    data: Cow<'a, str>,
}

/// Reads events out of bytes that arrive in pieces, cut anywhere.
#[derive(Debug, Default)]
pub struct SseDecoder {
    held: Vec<u8>,
    boundary: Boundary,
    /// Something has been seen, so a byte order mark is text from here on.
    begun: bool,
}

impl Boundary {
    /// Where the first event that ends in `bytes` ends; none if all of them belong to an event that goes on. The bytes
    /// up to there, or all of them, are taken.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        if self.after_cr && bytes.first() == Some(&b'\n') {
            self.after_cr = false;
            at = 1;
        }
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            self.after_cr = false;
            let Some(length) = memchr::memchr2(b'\r', b'\n', rest) else {
                self.line_is_empty = false;
                return None;
            };
            let event_ends = self.line_is_empty && length == 0;
            self.line_is_empty = true;
            at += length + 1;
            if rest.get(length) == Some(&b'\r') {
                match bytes.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            if event_ends {
                return Some(at);
            }
        }
        None
    }
}

impl Default for Boundary {
    fn default() -> Self {
        Self { line_is_empty: true, after_cr: false }
    }
}

impl<'a> Block<'a> {
    /// Reads the lines of one event; none if it has no data.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (mut event, mut data) = (None, None::<Cow<'a, [u8]>>);
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            let (line, tail) = rest.split_at(length);
            rest = tail.get(1..).unwrap_or_default();
            let name_length = memchr::memchr(b':', line).unwrap_or(line.len());
            let (name, value) = line.split_at(name_length);
            let value = value.get(1..).unwrap_or_default();
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match (name, data.as_mut()) {
                (b"data", None) => data = Some(Cow::Borrowed(value)),
                (b"data", Some(data)) => {
                    let data = data.to_mut();
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                (b"event", _) => event = Some(String::from_utf8_lossy(value)),
                _ => {}
            }
        }
        let data = data.filter(|data| !data.trim_ascii_start().starts_with(b":"))?;
        let data = match data {
            Cow::Borrowed(data) => String::from_utf8_lossy(data),
            Cow::Owned(data) => Cow::Owned(String::from_utf8_lossy(&data).into_owned()),
        };
        Some(Self { event, data })
    }

    /// The event as codecs take it.
    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame { event: self.event.as_deref(), data: &self.data }
    }
}

impl SseDecoder {
    /// A decoder at the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and hands on every event that is complete.
    ///
    /// # Errors
    /// When an event grows beyond [`MAX_EVENT`]; the decoder is of no use then.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Frame<'_>)) -> Result<(), TooLarge> {
        let mut rest = bytes;
        while let Some(end) = self.boundary.end(rest) {
            let (head, tail) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = tail;
            if self.held.is_empty() {
                self.emit(head, &mut each);
            } else {
                self.hold(head)?;
                let held = std::mem::take(&mut self.held);
                self.emit(&held, &mut each);
            }
        }
        self.hold(rest)
    }

    /// Bytes that are held of an event that is not complete.
    pub(crate) fn held(&self) -> usize {
        self.held.capacity()
    }

    /// The body has ended: hands on an event that lacks its empty line.
    pub fn finish(&mut self, mut each: impl FnMut(Frame<'_>)) {
        let held = std::mem::take(&mut self.held);
        self.emit(&held, &mut each);
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.held.len().saturating_add(bytes.len()) > MAX_EVENT {
            return Err(TooLarge);
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    fn emit(&mut self, block: &[u8], each: &mut impl FnMut(Frame<'_>)) {
        let first = !std::mem::replace(&mut self.begun, true);
        if let Some(block) = Block::read(if first { without_mark(block) } else { block }) {
            each(block.frame());
        }
    }
}

/// The start of a body without its byte order mark.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Appends one event: an optional `event:` line, one `data: ` line, a blank line. `data` is one line of JSON.
pub fn write(out: &mut Vec<u8>, event: Option<&str>, data: &[u8]) {
    if let Some(event) = event {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (Option<String>, String);

    fn read(pieces: &[&[u8]]) -> Vec<Owned> {
        let mut events = Vec::new();
        let mut decoder = SseDecoder::new();
        let mut each = |frame: Frame<'_>| events.push((frame.event.map(str::to_owned), frame.data.to_owned()));
        for piece in pieces {
            decoder.push(piece, &mut each).expect("small");
        }
        decoder.finish(&mut each);
        events
    }

    fn data(text: &str) -> Vec<String> {
        read(&[text.as_bytes()]).into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn reads_what_the_field_sends() {
        assert_eq!(data("data: {}\n\n"), ["{}"]);
        assert_eq!(data("data:{}\n\n"), ["{}"]);
        assert_eq!(data("data: {}\r\n\r\ndata: 2\r\n\r\n"), ["{}", "2"]);
        assert_eq!(data("data: {}\r\rdata: 2\r\r"), ["{}", "2"]);
        assert_eq!(data("data: {\ndata: }\n\n"), ["{\n}"]);
        assert_eq!(data("data: last"), ["last"]);
        assert_eq!(data("data: last\n"), ["last"]);
        assert_eq!(data("\u{feff}data: x\n\n"), ["x"]);
        assert_eq!(data(": PROCESSING\n\ndata: x\n\n"), ["x"]);
        assert_eq!(data("data: : keepalive\n\ndata: x\n\n"), ["x"]);
        assert_eq!(data("id: 7\nretry: 5\ndata: x\n\n\n\n"), ["x"]);
        assert_eq!(data("data: a\u{2028}b\u{85}c\n\n"), ["a\u{2028}b\u{85}c"]);
        assert_eq!(data("data\n\n"), [""]);
        assert_eq!(read(&[b"event: ping\ndata: {}\n\n"]), [(Some("ping".into()), "{}".into())]);
        assert_eq!(read(&[b"event: ping\n\n"]), []);
    }

    #[test]
    fn an_endless_event_is_an_error() {
        let mut decoder = SseDecoder::new();
        let piece = vec![b'x'; 1024 * 1024];
        let failed = (0..17).find_map(|_| decoder.push(&piece, |_| {}).err());
        assert_eq!(failed, Some(TooLarge));
    }

    #[test]
    fn boundaries_respect_a_cut_between_cr_and_lf() {
        let mut boundary = Boundary::default();
        assert_eq!(boundary.end(b"data: x\r\n\r"), Some(10));
        assert_eq!(boundary.end(b"\ndata: y\r\n\r\n"), Some(12));
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            parts in prop::collection::vec(prop_oneof![
                Just("data: "), Just("data:"), Just("event: e"), Just(": c"), Just("\n"), Just("\r"), Just("\r\n"),
                Just("\n\n"), Just("{\"a\":1}"), Just("é\u{2028}漢"), Just("\u{feff}"), Just("x")
            ], 0..24),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let text = parts.concat();
            let bytes = text.as_bytes();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            places.sort_unstable();
            let mut pieces = Vec::new();
            let mut at = 0;
            for place in places {
                pieces.push(&bytes[at..place]);
                at = place;
            }
            pieces.push(&bytes[at..]);
            let every: Vec<&[u8]> = bytes.chunks(1).collect();
            let whole = read(&[bytes]);
            prop_assert_eq!(read(&pieces), whole.clone());
            prop_assert_eq!(read(&every), whole);
        }
    }
}
