//! Server-sent events (WHATWG HTML, section 9.2), as strictly written and as loosely read as the field needs
//! (protocols 0.5).

/// One event, borrowed from the decoder's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The `event:` line, if there was one.
    pub event: Option<&'a str>,
    /// The `data:` lines, joined with line feeds.
    pub data: &'a str,
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
