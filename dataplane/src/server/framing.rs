//! Follows where requests begin and end in the bytes a client sends, beside hyper, for what hyper does not tell: that a
//! request has both `Content-Length` and `Transfer-Encoding`, that something has begun and not ended, and how many bytes
//! of it are held.
//!
//! hyper reads a request with both lengths by the latter (RFC 9112 section 6.3 allows that) and hides the former. A proxy
//! in front may have read it by the other, so the only safe answer is a refusal, and for that one has to see it.
//!
//! Never decides what a request says, and keeps no copy of it: a few bytes of state per connection, whatever is sent.

mod frames;
mod line;

use memchr::memchr;

use self::{
    frames::Frames,
    line::{ChunkSize, Field, Kind, Length},
};

/// The start of every HTTP/2 connection (RFC 9113 section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of line breaks in front of a request line that are taken without a thought: clients exist that end a body with one.
/// More are held by hyper like any other beginning of a header section.
const MAX_LINE_BREAKS: usize = 64;

/// Follows one connection.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    /// Bytes of the header section that has begun, line breaks in front of it included.
    head_bytes: usize,
    /// Header sections that ended.
    heads: u64,
    ambiguous: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of the connection, as many bytes as these being those of the HTTP/2 preface.
    Start(usize),
    /// In a header section.
    Head(Head),
    /// In a body of known length.
    Body(u64),
    /// At the size line of a chunk.
    ChunkSize(ChunkSize),
    /// In a chunk, its final line break included.
    Chunk(u64),
    /// After the last chunk; whether the line that has begun is empty so far.
    Trailers { empty: bool },
    /// HTTP/2.
    Frames(Frames),
    /// Looks no more: hyper refuses what was sent, or the connection is closed behind the answer.
    Off,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    /// Whether the request line has begun.
    begun: bool,
    /// Whether the request line has ended.
    in_fields: bool,
    field: Field,
    length: Option<Length>,
    encoded: bool,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self { state: State::Start(0), head_bytes: 0, heads: 0, ambiguous: None }
    }

    /// Takes in what was read.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Start(matched) => self.start(matched, bytes),
                State::Body(left) => self.skip(bytes, left, State::Body, State::Head(Head::default())),
                State::Chunk(left) => self.skip(bytes, left, State::Chunk, State::ChunkSize(ChunkSize::default())),
                State::Head(_) | State::ChunkSize(_) | State::Trailers { .. } => self.read_line(bytes),
                State::Frames(mut frames) => {
                    frames.push(bytes);
                    self.state = State::Frames(frames);
                    return;
                }
                State::Off => return,
            };
        }
    }

    /// Which request, counted from 0, has both lengths. Nothing after it is looked at.
    pub(super) fn ambiguous(&self) -> Option<u64> {
        self.ambiguous
    }

    /// Bytes held of a header section (on HTTP/2 of a header block or frame) that has begun and not ended; none
    /// otherwise. A piece of a body counts only if no request is in flight that it could belong to.
    pub(super) fn unfinished(&self, in_flight: bool) -> Option<usize> {
        match self.state {
            State::Start(matched) => Some(matched).filter(|matched| *matched > 0),
            State::Head(head) => Some(self.head_bytes).filter(|bytes| head.begun || *bytes > MAX_LINE_BREAKS),
            State::Frames(frames) => frames.unfinished(in_flight),
            State::Body(_) | State::ChunkSize(_) | State::Chunk(_) | State::Trailers { .. } | State::Off => None,
        }
    }

    /// Whether nothing whole has come yet: no header section, and on HTTP/2 no frame.
    pub(super) fn is_at_start(&self) -> bool {
        match self.state {
            State::Frames(frames) => frames.is_at_start(),
            State::Start(_) | State::Head(_) => self.heads == 0,
            State::Body(_) | State::ChunkSize(_) | State::Chunk(_) | State::Trailers { .. } | State::Off => false,
        }
    }

    /// The request, counted from 0, of whose body something has not come yet; none between requests, and on HTTP/2.
    pub(super) fn in_body_of(&self) -> Option<u64> {
        match self.state {
            State::Body(_) | State::ChunkSize(_) | State::Chunk(_) | State::Trailers { .. } => {
                self.heads.checked_sub(1)
            }
            State::Start(_) | State::Head(_) | State::Frames(_) | State::Off => None,
        }
    }

    /// Whether the client has sent all that it has begun to send, as far as can be told.
    pub(super) fn is_at_rest(&self) -> bool {
        !matches!(self.state, State::Off) && self.in_body_of().is_none() && self.unfinished(false).is_none()
    }

    /// Whether answers in HTTP/1 are understood.
    pub(super) fn is_http1(&self) -> bool {
        !matches!(self.state, State::Frames(_))
    }

    fn start<'a>(&mut self, matched: usize, bytes: &'a [u8]) -> &'a [u8] {
        let expected = H2_PREFACE.get(matched..).unwrap_or_default();
        let same = expected.iter().zip(bytes).take_while(|(left, right)| left == right).count();
        let rest = bytes.get(same..).unwrap_or_default();
        let matched = matched + same;
        if matched == H2_PREFACE.len() {
            self.state = State::Frames(Frames::default());
        } else if rest.is_empty() {
            self.state = State::Start(matched);
        } else {
            self.state = State::Head(Head::default());
            self.push(H2_PREFACE.get(..matched).unwrap_or_default());
        }
        rest
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, now: fn(u64) -> State, then: State) -> &'a [u8] {
        let step = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - step as u64;
        self.state = if left == 0 { then } else { now(left) };
        bytes.get(step..).unwrap_or_default()
    }

    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr(b'\n', bytes);
        let (piece, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        let line = piece.strip_suffix(b"\n").unwrap_or(piece);
        let ended = end.is_some();
        self.state = match self.state {
            State::Head(mut head) => {
                head.push(line);
                self.head_bytes = self.head_bytes.saturating_add(piece.len());
                if ended { self.end_head_line(head) } else { State::Head(head) }
            }
            State::ChunkSize(mut size) => {
                size.push(line);
                if ended { after_size(size) } else { State::ChunkSize(size) }
            }
            State::Trailers { empty } => match (empty && is_blank(line), ended) {
                (true, true) => State::Head(Head::default()),
                (empty, ended) => State::Trailers { empty: empty || ended },
            },
            other @ (State::Start(_) | State::Body(_) | State::Chunk(_) | State::Frames(_) | State::Off) => other,
        };
        rest
    }

    fn end_head_line(&mut self, mut head: Head) -> State {
        if !head.begun {
            // Line breaks before a request line are skipped, as hyper does.
            return State::Head(head);
        }
        if !head.in_fields {
            head.in_fields = true;
            return State::Head(head);
        }
        match std::mem::take(&mut head.field).end() {
            Kind::Empty => return self.end_head(head),
            Kind::TransferEncoding => head.encoded = true,
            Kind::ContentLength(length) => head.length = Some(length),
            Kind::Other => {}
        }
        State::Head(head)
    }

    fn end_head(&mut self, head: Head) -> State {
        let ordinal = self.heads;
        self.heads += 1;
        self.head_bytes = 0;
        match (head.encoded, head.length) {
            (true, Some(_)) => {
                self.ambiguous = Some(ordinal);
                State::Off
            }
            (true, None) => State::ChunkSize(ChunkSize::default()),
            (false, Some(Length::Known(0)) | None) => State::Head(Head::default()),
            (false, Some(Length::Known(length))) => State::Body(length),
            (false, Some(Length::Invalid)) => State::Off,
        }
    }
}

impl Head {
    fn push(&mut self, line: &[u8]) {
        if self.in_fields {
            self.field.push(line);
        } else if !is_blank(line) {
            self.begun = true;
        }
    }
}

fn after_size(size: ChunkSize) -> State {
    match size.end() {
        Some(0) => State::Trailers { empty: true },
        // The chunk's own CRLF counts as part of it.
        Some(size) => State::Chunk(size.saturating_add(2)),
        None => State::Off,
    }
}

fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"" | b"\r")
}

#[cfg(test)]
mod tests;
