//! Reads an upstream's answer frame by frame.
//!
//! Text framings are told apart by the first byte and not by what was asked for, nor by headers, which some servers leave
//! out: events, an array, or one whole document in the place of a stream (hard case 60).

use super::{
    json_array::ArrayDecoder,
    sse::{Frame, MAX_EVENT, SseDecoder},
};

/// One answer's frames.
pub(crate) enum Reader {
    /// Nothing but white space so far.
    Unknown,
    Sse(SseDecoder),
    Array(ArrayDecoder),
    /// A document, which is read when it is whole.
    Whole(Vec<u8>),
}

/// A frame is larger than [`MAX_EVENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl Reader {
    pub(crate) const fn new() -> Self {
        Self::Unknown
    }

    /// Bytes that are held of what is not complete.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Unknown => 0,
            Self::Sse(input) => input.held(),
            Self::Array(input) => input.held(),
            Self::Whole(body) => body.capacity(),
        }
    }

    /// Takes what came; hands on each complete frame.
    pub(crate) fn push(&mut self, chunk: &[u8], mut take: impl FnMut(Frame<'_>)) -> Result<(), TooLarge> {
        if matches!(self, Self::Unknown) {
            let Some(first) = chunk.iter().find(|byte| !byte.is_ascii_whitespace()) else { return Ok(()) };
            *self = Self::beginning_with(*first);
        }
        match self {
            Self::Unknown => Ok(()),
            Self::Sse(input) => input.push(chunk, take).map_err(|_| TooLarge),
            Self::Array(input) => input.push(chunk, |data| take(Frame { event: None, data })).map_err(|_| TooLarge),
            Self::Whole(body) => {
                body.extend_from_slice(chunk);
                if body.len() <= MAX_EVENT { Ok(()) } else { Err(TooLarge) }
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
            Self::Unknown | Self::Array(_) => None,
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
