//! Reads an upstream's answer frame by frame.
//!
//! Text framings are told apart by the first byte and not by what was asked for, nor by headers, which some servers leave
//! out: events, an array, or one whole document in the place of a stream (hard case 60). An event stream begins with a
//! length, which is no text unless it is much too large, and is looked for where it was asked for alone.

use super::{
    Wire,
    event_stream::{Broken, EventStreamDecoder},
    json_array::ArrayDecoder,
    sse::{Frame, MAX_EVENT, SseDecoder},
};

/// One answer's frames.
pub(crate) enum Reader {
    /// Nothing but white space so far.
    Unknown {
        /// Whether frames of an event stream may come.
        binary: bool,
    },
    Sse(SseDecoder),
    Array(ArrayDecoder),
    EventStream(EventStreamDecoder),
    /// A document, which is read when it is whole.
    Whole(Vec<u8>),
}

impl Reader {
    /// For what an upstream answers that was asked for this.
    pub(crate) fn new(wire: Wire) -> Self {
        Self::Unknown { binary: wire == Wire::EventStream }
    }

    /// Bytes that are held of what is not complete.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Unknown { .. } => 0,
            Self::Sse(input) => input.held(),
            Self::Array(input) => input.held(),
            Self::EventStream(input) => input.held(),
            Self::Whole(body) => body.capacity(),
        }
    }

    /// Takes what came; hands on each complete frame.
    pub(crate) fn push(&mut self, chunk: &[u8], mut take: impl FnMut(Frame<'_>)) -> Result<(), Broken> {
        if let Self::Unknown { binary } = *self {
            let Some(first) = chunk.iter().find(|byte| !byte.is_ascii_whitespace()) else { return Ok(()) };
            *self = if binary && is_binary(*first) {
                Self::EventStream(EventStreamDecoder::new())
            } else {
                Self::beginning_with(*first)
            };
        }
        match self {
            Self::Unknown { .. } => Ok(()),
            Self::Sse(input) => input.push(chunk, take).map_err(|_| Broken::TooLarge),
            Self::Array(input) => {
                input.push(chunk, |data| take(Frame { event: None, data })).map_err(|_| Broken::TooLarge)
            }
            Self::EventStream(input) => input.push(chunk, take),
            Self::Whole(body) => {
                body.extend_from_slice(chunk);
                if body.len() <= MAX_EVENT { Ok(()) } else { Err(Broken::TooLarge) }
            }
        }
    }

    /// The body has ended: hands on a last event that only lacks its empty line, or returns the document.
    pub(crate) fn finish(self, take: impl FnMut(Frame<'_>)) -> Option<Vec<u8>> {
        match self {
            Self::Whole(body) => Some(body),
            Self::Sse(mut input) => {
                input.finish(take);
                None
            }
            Self::Unknown { .. } | Self::Array(_) | Self::EventStream(_) => None,
        }
    }

    fn beginning_with(first: u8) -> Self {
        match first {
            b'[' => Self::Array(ArrayDecoder::new()),
            // A field's name, a comment, or a byte order mark; anything else is no event.
            b'a'..=b'z' | b':' | 0xEF => Self::Sse(SseDecoder::new()),
            _ => Self::Whole(Vec::new()),
        }
    }
}

/// Whether a stream that begins with this byte can be an event stream: no text, and no byte order mark.
pub(crate) const fn is_binary(first: u8) -> bool {
    !matches!(first, 0x20..=0x7e | 0xEF)
}
