//! Takes the envelope off an InvokeModel stream: frames `chunk` of `{"bytes":"<base64>"}` become the events of Anthropic's
//! stream that stand in them, and exceptions become its error event. What comes out is read and passed on as a stream of
//! Messages is anywhere else.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use std::borrow::Cow;

use crate::{
    dialect::Family,
    problem::{Problem, ProblemKind, render, understand},
    wire::{
        event_stream::{Broken, EventStreamDecoder},
        is_binary,
        sse::{self, Frame},
    },
};

/// One answer.
#[derive(Debug, Default)]
pub(crate) enum Chunks {
    /// Nothing has come.
    #[default]
    Unknown,
    /// Frames.
    Frames(EventStreamDecoder),
    /// Something that needs no unwrapping, or is no stream: its reader will say.
    Bare,
}

/// A frame's payload.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    bytes: Cow<'a, str>,
}

/// The type of an event of Anthropic's.
#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
}

impl Chunks {
    /// Takes what came; gives the events in it.
    ///
    /// # Errors
    /// When a frame is none.
    pub(crate) fn push<'a>(&mut self, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, Broken> {
        if let (Self::Unknown, Some(first)) = (&self, bytes.first()) {
            *self = if is_binary(*first) { Self::Frames(EventStreamDecoder::new()) } else { Self::Bare };
        }
        let Self::Frames(input) = self else { return Ok(Cow::Borrowed(bytes)) };
        let mut out = Vec::with_capacity(bytes.len());
        input.push(bytes, |frame| unwrap(frame, &mut out))?;
        Ok(Cow::Owned(out))
    }

    /// Bytes that are held of a frame that is not complete.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Frames(input) => input.held(),
            Self::Unknown | Self::Bare => 0,
        }
    }
}

fn unwrap(frame: Frame<'_>, out: &mut Vec<u8>) {
    match frame.event {
        Some("chunk") => {
            let inner = serde_json::from_str::<Chunk<'_>>(frame.data).ok();
            let Some(mut event) = inner.and_then(|chunk| STANDARD.decode(chunk.bytes.as_bytes()).ok()) else {
                let problem = Problem::new(ProblemKind::Upstream, "the upstream sent an event that cannot be read");
                return failed(&problem, out);
            };
            // An event is one line; between JSON's tokens a line feed is white space.
            event.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
            let kind = serde_json::from_slice::<Typed<'_>>(&event).ok().map(|typed| typed.r#type);
            let is_word = |kind: &Cow<'_, str>| kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let kind = kind.filter(is_word).map(Cow::into_owned);
            sse::write(out, kind.as_deref(), &event);
        }
        Some("error") => {
            let body = serde_json::from_str(frame.data).unwrap_or_default();
            failed(&understand::event(Family::Bedrock, &body), out);
        }
        _ => {}
    }
}

fn failed(problem: &Problem, out: &mut Vec<u8>) {
    let data = format!("{{\"type\":\"error\",\"error\":{}}}", render::anthropic_error(problem));
    sse::write(out, Some("error"), data.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::event_stream;

    fn chunk(event: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let payload = serde_json::json!({"bytes": STANDARD.encode(event), "p": "abcd"}).to_string();
        event_stream::write(&mut out, "chunk", payload.as_bytes());
        out
    }

    fn unwrapped(stream: &[u8], size: usize) -> Result<String, Broken> {
        let (mut chunks, mut out) = (Chunks::default(), Vec::new());
        for piece in stream.chunks(size) {
            out.extend_from_slice(&chunks.push(piece)?);
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn chunks_become_events_wherever_they_are_cut() {
        let events = [r#"{"type":"message_start","message":{}}"#, "{\"type\":\"message_stop\",\n\"x\":1}"];
        let stream = events.map(chunk).concat();
        let expected = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n\
                        event: message_stop\ndata: {\"type\":\"message_stop\", \"x\":1}\n\n";
        for size in [1, 7, 64, stream.len()] {
            assert_eq!(unwrapped(&stream, size).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn exceptions_become_errors_in_anthropics_words() {
        let mut stream = chunk(r#"{"type":"ping"}"#);
        event_stream::write_exception(&mut stream, "throttlingException", br#"{"message":"Too many requests"}"#);
        let out = unwrapped(&stream, 5).unwrap();
        assert!(out.ends_with(
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"Too many requests\"}}\n\n"
        ), "{out}");
    }

    #[test]
    fn damage_is_told_and_other_framings_go_through() {
        let mut stream = chunk("{}");
        let last = stream.len() - 1;
        stream[last] ^= 1;
        assert_eq!(unwrapped(&stream, 9), Err(Broken::Damaged));
        assert_eq!(unwrapped(b"event: ping\ndata: {}\n\n", 4).as_deref(), Ok("event: ping\ndata: {}\n\n"));
        assert_eq!(unwrapped(b"{\"message\":\"x\"}", 4).as_deref(), Ok("{\"message\":\"x\"}"));
    }

    #[test]
    fn an_event_cannot_break_out_of_its_line() {
        let out = unwrapped(&chunk("{\"type\":\"x\\ny\"}\n\ndata: 1\n\n"), 9).unwrap();
        assert_eq!(out.matches("\n\n").count(), 1, "{out:?}");
        assert!(!out.contains("event:"), "{out:?}");
    }
}
