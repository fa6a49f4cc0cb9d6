//! A stream as one JSON array, element by element: what Gemini answers without `alt=sse` (docs/protocols/gemini.md).
//!
//! Reading is tolerant of everything between elements (brackets, commas, white space), because an element is all that
//! matters: also a bare object without brackets is one. It does not check elements; their readers do.

use super::sse::{MAX_EVENT, TooLarge};

/// Most bytes of a buffer that is kept from one element to the next.
const KEPT: usize = 64 << 10;

/// Finds the ends of elements in bytes that arrive in pieces. Holds no bytes itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Boundary {
    /// Open brackets of the current element.
    depth: u32,
    in_string: bool,
    after_backslash: bool,
    /// The array's closing bracket has come.
    pub(crate) closed: bool,
    /// At least one element has begun.
    pub(crate) begun: bool,
}

impl Boundary {
    /// Where the first element that ends in `bytes` ends; none if there is none. The bytes up to there, or all of
    /// them, are taken. Elements are objects; other values between them are passed over.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.in_string {
                at += self.string(rest);
                continue;
            }
            let place = rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))?;
            at += place + 1;
            match rest.get(place) {
                Some(b'"') => self.in_string = true,
                Some(b'{') => {
                    self.depth += 1;
                    self.begun = true;
                }
                Some(b'[') if self.depth > 0 => self.depth += 1,
                Some(b']') if self.depth == 0 => self.closed = true,
                Some(b'}' | b']') if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Whether the bytes so far end between elements.
    pub(crate) fn is_between(&self) -> bool {
        self.depth == 0 && !self.in_string
    }

    /// Takes the bytes of a string; how many.
    fn string(&mut self, rest: &[u8]) -> usize {
        if std::mem::take(&mut self.after_backslash) {
            return 1;
        }
        let Some(place) = memchr::memchr2(b'"', b'\\', rest) else { return rest.len() };
        if rest.get(place) == Some(&b'"') {
            self.in_string = false;
        } else {
            self.after_backslash = true;
        }
        place + 1
    }
}

/// The object in what [`Boundary`] cut off: whatever stood before it removed. A brace in a text begins none.
pub(crate) fn element(bytes: &[u8]) -> &[u8] {
    let mut passed = Boundary::default();
    let mut rest = bytes;
    while let Some(place) = memchr::memchr2(b'{', b'"', rest) {
        if rest.get(place) == Some(&b'{') {
            return rest.get(place..).unwrap_or_default();
        }
        rest = rest.get(place + 1..).unwrap_or_default();
        passed.in_string = true;
        while passed.in_string && !rest.is_empty() {
            let taken = passed.string(rest);
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
    &[]
}
/// Reads elements out of bytes that arrive in pieces, cut anywhere.
#[derive(Debug, Default)]
pub struct ArrayDecoder {
    held: Vec<u8>,
    boundary: Boundary,
}

impl ArrayDecoder {
    /// A decoder at the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and hands on every element that is complete.
    ///
    /// # Errors
    /// When an element grows beyond [`MAX_EVENT`].
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) -> Result<(), TooLarge> {
        let mut rest = bytes;
        while let Some(end) = self.boundary.end(rest) {
            let (head, tail) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = tail;
            self.hold(head)?;
            each(&String::from_utf8_lossy(element(&self.held)));
            self.release();
        }
        if self.boundary.is_between() {
            self.release();
            return Ok(());
        }
        self.hold(rest)
    }

    /// Bytes that are held of an element that is not complete.
    pub(crate) fn held(&self) -> usize {
        self.held.capacity()
    }

    /// Keeps the buffer for the next element, unless one was unusually large.
    fn release(&mut self) {
        self.held.clear();
        self.held.shrink_to(KEPT);
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.held.len().saturating_add(bytes.len()) > MAX_EVENT {
            return Err(TooLarge);
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }
}

/// Turns the server-sent events of a Gemini encoder into an array.
#[derive(Debug, Default)]
pub struct ArrayWriter {
    begun: bool,
}

impl ArrayWriter {
    /// A writer at the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes whole events, as encoders write them (one `data:` line each, of any length), and appends their data as
    /// elements. Bytes between events become white space, which keeps an idle connection open
    /// (docs/protocols/streaming.md).
    pub fn push(&mut self, events: &[u8], out: &mut Vec<u8>) {
        let before = out.len();
        let mut rest = events;
        while !rest.is_empty() {
            let (line, behind) = rest.split_at(memchr::memchr(b'\n', rest).unwrap_or(rest.len()));
            rest = behind.get(1..).unwrap_or_default();
            if let Some(data) = line.strip_prefix(b"data: ") {
                out.extend_from_slice(if std::mem::replace(&mut self.begun, true) { b",\r\n" } else { b"[" });
                out.extend_from_slice(data);
            }
        }
        if out.len() == before && !events.is_empty() {
            out.push(b'\n');
        }
    }

    /// Closes the array.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.begun { b"]" } else { b"[]" });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
        let mut elements = Vec::new();
        let mut decoder = ArrayDecoder::new();
        for piece in pieces {
            decoder.push(piece, |element| elements.push(element.to_owned())).expect("small");
        }
        elements
    }

    #[test]
    fn elements_are_found_at_every_cut() {
        let text = "[{\"a\":\"}\\\"]é\"}\n,\r\n{\"b\":[{},[1]]}, {}\n]\n";
        let expected = ["{\"a\":\"}\\\"]é\"}", "{\"b\":[{},[1]]}", "{}"];
        for size in 1..text.len() {
            assert_eq!(read(text.as_bytes().chunks(size)), expected, "pieces of {size}");
        }
        assert_eq!(read([&b"{\"error\":{}}"[..]].into_iter()), ["{\"error\":{}}"]);
        assert_eq!(read([&b"[]"[..]].into_iter()), Vec::<String>::new());
    }

    #[test]
    fn brace_in_a_text_between_elements_begins_none() {
        let text = br#"[{"a":1}, "x {\"{ y", {"b":2}]"#;
        for size in 1..=text.len() {
            assert_eq!(read(text.chunks(size)), [r#"{"a":1}"#, r#"{"b":2}"#], "pieces of {size}");
        }
    }

    #[test]
    fn events_become_elements() {
        let mut out = Vec::new();
        let mut writer = ArrayWriter::new();
        writer.push(b"\n", &mut out);
        writer.push(b"data: {\"a\":1}\n\ndata: {\"b\":2}\n\n", &mut out);
        writer.push(b"\n", &mut out);
        writer.finish(&mut out);
        let read: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(read, serde_json::json!([{"a": 1}, {"b": 2}]));
        // What is read may be longer once it is written; it is not lost then.
        let (mut long, mut writer) = (Vec::new(), ArrayWriter::new());
        writer.push(format!("data: \"{}\"\n\n", "w".repeat(MAX_EVENT)).as_bytes(), &mut long);
        assert_eq!(long.len(), MAX_EVENT + 3);
        let mut empty = Vec::new();
        ArrayWriter::new().finish(&mut empty);
        assert_eq!(empty, b"[]");
    }

    proptest! {
        #[test]
        fn reading_undoes_writing(texts in prop::collection::vec(".{0,12}", 0..6), size in 1usize..9) {
            let elements: Vec<String> = texts.iter().map(|text| serde_json::json!({ "text": text }).to_string()).collect();
            let (mut out, mut writer) = (Vec::new(), ArrayWriter::new());
            for element in &elements {
                writer.push(format!("data: {element}\n\n").as_bytes(), &mut out);
            }
            writer.finish(&mut out);
            prop_assert_eq!(read(out.chunks(size)), elements);
        }
    }
}
