//! Amazon's event stream (docs/protocols/clouds.md): binary frames with headers, a payload and two checksums.
//!
//! What a frame may be long is decided by its first twelve bytes, before anything behind them is held: a frame that
//! declares more than [`MAX_EVENT`], or whose first checksum is wrong, ends the stream at once. Frames are then read and
//! written by Amazon's own crate, which checks the rest.
//!
//! Readers of dialects take frames as those of server-sent events: the member's name and its JSON. An exception, which is
//! a kind of frame of its own and never one to be skipped, is an event `error` with `{"error":{"type":…}}`.

use std::borrow::Cow;

use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use serde_json::Value;

use super::sse::{Frame, MAX_EVENT};

/// Bytes of a frame before its headers: its length, that of the headers, and their checksum.
const PRELUDE: usize = 12;
/// Bytes of the checksum behind the payload.
const CHECKSUM: usize = 4;
/// Most bytes of headers that Amazon's own readers take.
const MAX_HEADERS: usize = 128 * 1024;

/// A frame that is none. Nothing behind it can be found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It declares more than [`MAX_EVENT`], or headers longer than itself.
    #[error("the upstream sent an event that is too large")]
    TooLarge,
    /// A length is too short, a checksum is wrong, or the headers cannot be read.
    #[error("the upstream sent an event that is damaged")]
    Damaged,
}

/// Finds the ends of frames in bytes that arrive in pieces. Holds no more than the beginning of one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Boundary {
    prelude: [u8; PRELUDE],
    /// How much of the prelude has come; all of it while the frame goes on.
    known: usize,
    /// How much of the frame is to come behind its prelude.
    left: usize,
}

/// Reads frames out of bytes that arrive in pieces, cut anywhere.
#[derive(Debug, Default)]
pub struct EventStreamDecoder {
    held: Vec<u8>,
    boundary: Boundary,
}

/// A frame, read.
#[derive(Debug)]
pub(crate) struct Event {
    name: Cow<'static, str>,
    data: String,
}

impl Boundary {
    /// Where the first frame that ends in `bytes` ends; none if all of them belong to a frame that goes on. The bytes up
    /// to there, or all of them, are taken.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        let mut at = 0;
        if let Some(missing) = self.prelude.get_mut(self.known..).filter(|missing| !missing.is_empty()) {
            let taken = missing.len().min(bytes.len());
            for (to, from) in missing.iter_mut().zip(bytes) {
                *to = *from;
            }
            self.known += taken;
            at = taken;
            if self.known < PRELUDE {
                return Ok(None);
            }
            self.left = length(&self.prelude)?.saturating_sub(PRELUDE);
        }
        let here = bytes.len().saturating_sub(at);
        if here < self.left {
            self.left -= here;
            return Ok(None);
        }
        let end = at.saturating_add(self.left);
        *self = Self::default();
        Ok(Some(end))
    }
}

/// The length of a frame, from its prelude.
fn length(prelude: &[u8; PRELUDE]) -> Result<usize, Broken> {
    let number = |at: usize| {
        let bytes = prelude.get(at..).and_then(|bytes| bytes.first_chunk::<4>()).copied().unwrap_or_default();
        u32::from_be_bytes(bytes)
    };
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let (total, headers) = (size(number(0)), size(number(4)));
    if total > MAX_EVENT || headers > MAX_HEADERS {
        return Err(Broken::TooLarge);
    }
    let shortest = headers.saturating_add(PRELUDE).saturating_add(CHECKSUM);
    let summed = prelude.get(..8).map(crc32fast::hash);
    if total < shortest || summed != Some(number(8)) { Err(Broken::Damaged) } else { Ok(total) }
}

impl EventStreamDecoder {
    /// A decoder at the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and hands on every frame that is complete.
    ///
    /// # Errors
    /// When a frame is none; the decoder is of no use then.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Frame<'_>)) -> Result<(), Broken> {
        let mut rest = bytes;
        while let Some(end) = self.boundary.end(rest)? {
            let (head, tail) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = tail;
            let event = if self.held.is_empty() {
                Event::read(head)?
            } else {
                self.held.extend_from_slice(head);
                Event::read(&std::mem::take(&mut self.held))?
            };
            each(event.frame());
        }
        self.held.extend_from_slice(rest);
        Ok(())
    }

    /// Bytes that are held of a frame that is not complete.
    pub(crate) fn held(&self) -> usize {
        self.held.capacity()
    }
}

impl Event {
    /// Reads one whole frame.
    pub(crate) fn read(frame: &[u8]) -> Result<Self, Broken> {
        let message = read_message_from(frame).map_err(|_| Broken::Damaged)?;
        let header = |name: &str| {
            let found = message.headers().iter().find(|header| header.name().as_str() == name)?;
            found.value().as_string().ok().map(|text| text.as_str().to_owned())
        };
        let payload = || String::from_utf8_lossy(message.payload()).into_owned();
        match header(":message-type").as_deref() {
            Some("event") => {
                let name = header(":event-type").ok_or(Broken::Damaged)?;
                Ok(Self { name: name.into(), data: payload() })
            }
            Some("exception") => Ok(Self::failure(&header(":exception-type").unwrap_or_default(), &payload())),
            Some("error") => {
                let message = header(":error-message").unwrap_or_default();
                Ok(Self::failure(&header(":error-code").unwrap_or_default(), &message))
            }
            Some(_) | None => Err(Broken::Damaged),
        }
    }

    /// An exception as an event: what it says, and of which type it is.
    fn failure(kind: &str, payload: &str) -> Self {
        let said = serde_json::from_str::<Value>(payload).ok().filter(Value::is_object);
        let mut error = said.unwrap_or_else(|| serde_json::json!({ "message": payload }));
        if let Some(members) = error.as_object_mut() {
            members.insert("type".to_owned(), kind.into());
        }
        Self { name: "error".into(), data: serde_json::json!({ "error": error }).to_string() }
    }

    /// The event as codecs take it.
    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame { event: Some(&self.name), data: &self.data }
    }
}

/// Appends one event. `data` is JSON.
pub fn write(out: &mut Vec<u8>, event: &str, data: &[u8]) {
    append(out, [(":event-type", event), (":content-type", "application/json"), (":message-type", "event")], data);
}

/// Appends one exception of a type that the stream's model names.
pub(crate) fn write_exception(out: &mut Vec<u8>, kind: &str, data: &[u8]) {
    let headers = [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
    append(out, headers, data);
}

/// Appends an error that the stream's model does not name.
pub(crate) fn write_error(out: &mut Vec<u8>, code: &str, message: &str) {
    append(out, [(":error-code", code), (":error-message", message), (":message-type", "error")], b"");
}

/// Appends a frame, or nothing: what is longer than a frame may be is no frame.
fn append(out: &mut Vec<u8>, headers: [(&'static str, &str); 3], data: &[u8]) {
    let headers = headers.map(|(name, value)| Header::new(name, HeaderValue::String(value.to_owned().into())));
    let message = Message::new_from_parts(headers.to_vec(), data.to_vec());
    let start = out.len();
    if write_message_to(&message, out).is_err() {
        out.truncate(start);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (Option<String>, String);

    fn read(pieces: &[&[u8]]) -> Result<Vec<Owned>, Broken> {
        let (mut events, mut decoder) = (Vec::new(), EventStreamDecoder::new());
        for piece in pieces {
            decoder.push(piece, |frame| events.push((frame.event.map(str::to_owned), frame.data.to_owned())))?;
        }
        Ok(events)
    }

    fn one(event: &str, data: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, event, data.as_bytes());
        out
    }

    /// A frame as its bytes say, with both checksums right.
    fn frame(total: u32, headers: u32, rest: &[u8]) -> Vec<u8> {
        let mut out = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        out.extend(crc32fast::hash(&out).to_be_bytes());
        out.extend_from_slice(rest);
        out.extend(crc32fast::hash(&out).to_be_bytes());
        out
    }

    #[test]
    fn an_event_comes_back_as_it_went() {
        let bytes = [one("messageStart", r#"{"role":"assistant"}"#), one("metadata", "{}")].concat();
        let event = |name: &str, data: &str| (Some(name.to_owned()), data.to_owned());
        let events = vec![event("messageStart", r#"{"role":"assistant"}"#), event("metadata", "{}")];
        assert_eq!(read(&[&bytes]), Ok(events));
    }

    #[test]
    fn exceptions_are_errors_with_their_type() {
        let mut out = Vec::new();
        write_exception(&mut out, "throttlingException", br#"{"message":"slow down"}"#);
        write_exception(&mut out, "odd", b"no JSON");
        write_error(&mut out, "AccessDeniedException", "not you");
        let events = read(&[&out]).unwrap();
        let told: Vec<Value> = events.iter().map(|(_, data)| serde_json::from_str(data).unwrap()).collect();
        assert!(events.iter().all(|(name, _)| name.as_deref() == Some("error")));
        assert_eq!(told[0], serde_json::json!({"error": {"type": "throttlingException", "message": "slow down"}}));
        assert_eq!(told[1]["error"]["message"], "no JSON");
        assert_eq!(told[2], serde_json::json!({"error": {"type": "AccessDeniedException", "message": "not you"}}));
    }

    #[test]
    fn a_frame_that_declares_too_much_is_refused_before_it_is_held() {
        for total in [u32::MAX, 16 * 1024 * 1024 + 1, 0x1000_0000] {
            let mut decoder = EventStreamDecoder::new();
            let begin = frame(total, 0, &[]);
            assert_eq!(decoder.push(&begin[..12], |_| {}), Err(Broken::TooLarge), "{total}");
            assert_eq!(decoder.held(), 0);
        }
        assert_eq!(read(&[&frame(200_000, 150_000, &[])[..12]]), Err(Broken::TooLarge));
    }

    #[test]
    fn lengths_that_cannot_be_are_damage() {
        for (total, headers) in [(0, 0), (15, 0), (16, 1), (20, 5), (16, 100)] {
            assert_eq!(read(&[&frame(total, headers, &[])]), Err(Broken::Damaged), "{total} {headers}");
        }
    }

    #[test]
    fn every_damaged_bit_is_seen() {
        let whole = one("metadata", r#"{"a":1}"#);
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                // A length that grew leaves the frame unfinished only if its checksum were right, too.
                assert!(read(&[&damaged]).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn headers_that_cannot_be_read_are_damage() {
        let with = |headers: &[u8]| {
            let size = u32::try_from(headers.len()).unwrap();
            frame(size + 16, size, headers)
        };
        let name = |name: &str| [&[u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
        let rows: [Vec<u8>; 6] = [
            Vec::new(),
            vec![200, b'a'],
            [name(":message-type"), vec![7, 0, 200, b'e']].concat(),
            [name(":message-type"), vec![99]].concat(),
            [name(":message-type"), vec![7, 0, 2, 0xff, 0xfe]].concat(),
            [name(":message-type"), vec![7, 0, 5], b"event".to_vec()].concat(),
        ];
        for headers in rows {
            assert_eq!(read(&[&with(&headers)]), Err(Broken::Damaged), "{headers:?}");
        }
    }

    #[test]
    fn hard_case_243_a_cut_inside_the_prelude_changes_no_length() {
        let whole = [one("a", &"x".repeat(300)), one("b", "{}")].concat();
        let expected = read(&[&whole]).unwrap();
        for at in 0..=whole.len() {
            let (head, tail) = whole.split_at(at);
            assert_eq!(read(&[head, tail]).as_ref(), Ok(&expected), "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            parts in prop::collection::vec(("[a-zA-Z]{1,12}", "[ -~]{0,64}"), 0..6),
            tail in prop::collection::vec(any::<u8>(), 0..24),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut bytes = Vec::new();
            parts.iter().for_each(|(event, data)| write(&mut bytes, event, data.as_bytes()));
            bytes.extend(tail);
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            places.sort_unstable();
            let (mut pieces, mut at) = (Vec::new(), 0);
            for place in places {
                pieces.push(&bytes[at..place]);
                at = place;
            }
            pieces.push(&bytes[at..]);
            let every: Vec<&[u8]> = bytes.chunks(1).collect();
            let whole = read(&[&bytes]);
            prop_assert_eq!(read(&pieces), whole.clone());
            prop_assert_eq!(read(&every), whole);
        }

        #[test]
        fn whatever_arrives_is_bounded_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = EventStreamDecoder::new();
            let _ = decoder.push(&bytes, |_| {});
            prop_assert!(decoder.held() <= 4 * bytes.len() + 16);
        }
    }
}
