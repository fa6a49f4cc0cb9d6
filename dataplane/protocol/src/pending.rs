//! A client's stream while no upstream has answered yet: what keeps it open, and how it ends if none does.
//!
//! Nothing here commits to an answer: a heartbeat comes before whatever an upstream's stream begins with, and is legal
//! there in each dialect. So it carries no id of an answer but one of the gateway's own (Chat), or none.

use bytes::Bytes;

use crate::{
    codec::Reply,
    dialect::{Framing, Surface},
    exchange::Observed,
    lane::terminal::{self, Past},
    problem::Problem,
};

/// A stream that was promised to a client and has no answer yet.
#[derive(Debug)]
pub struct PendingStream {
    surface: Surface,
    framing: Framing,
    reply: Reply,
}

impl PendingStream {
    /// For a call of this surface; `reply` is what its answer would be made with. None where the answer comes in one
    /// piece, or may do so although a stream is asked for (sound, pictures): nothing may stand before it that a client
    /// would not take for the answer.
    pub(crate) fn new(surface: Surface, framing: Framing, reply: Reply) -> Option<Self> {
        let promised = match surface {
            Surface::Direct(direct) => direct.promises_events(framing),
            _ => framing != Framing::Whole,
        };
        promised.then_some(Self { surface, framing, reply })
    }

    /// The content type of the stream, whatever will be in it.
    pub fn content_type(&self) -> &'static str {
        self.framing.content_type()
    }

    /// What keeps the connection open (docs/protocols/streaming.md): an empty chunk in Chat, a `ping` in Messages, a
    /// comment in Responses, a line feed in Gemini.
    pub fn heartbeat(&self) -> Bytes {
        terminal::heartbeat(self.surface, self.framing, &self.past(&Observed::default())).into()
    }

    /// No upstream answered: the dialect's terminal error, with whatever a client insists on before it.
    pub fn fail(&self, problem: &Problem) -> Bytes {
        terminal::error(self.surface, self.framing, problem, &self.past(&Observed::default())).into()
    }

    fn past<'a>(&'a self, seen: &'a Observed) -> Past<'a> {
        Past { reply: &self.reply, seen, sequence: None, elements: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{direct::Direct, problem::ProblemKind};

    const STREAMS: [(Surface, Framing); 6] = [
        (Surface::ChatCompletions, Framing::Sse),
        (Surface::Responses, Framing::Sse),
        (Surface::Messages, Framing::Sse),
        (Surface::GenerateContent, Framing::Sse),
        (Surface::GenerateContent, Framing::JsonArray),
        (Surface::Direct(Direct::Completions), Framing::Sse),
    ];

    fn pending(surface: Surface, framing: Framing) -> PendingStream {
        let reply = Reply { model: "m".into(), id: "r1".into(), created: 7, ..Reply::default() };
        PendingStream::new(surface, framing, reply).expect("a stream")
    }

    fn text(bytes: &Bytes) -> String {
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    #[test]
    fn each_dialect_has_a_heartbeat_that_commits_to_nothing() {
        let beats = STREAMS.map(|(surface, framing)| text(&pending(surface, framing).heartbeat()));
        let chunk = "data: {\"id\":\"chatcmpl-r1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\
                     \"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":null}]}\n\n";
        assert_eq!(
            beats,
            [chunk, ": keepalive\n\n", "event: ping\ndata: {\"type\":\"ping\"}\n\n", "\n", "\n", ": keepalive\n\n"]
        );
    }

    #[test]
    fn each_dialect_can_say_that_nobody_answered() {
        let problem = Problem::new(ProblemKind::Timeout, "nobody");
        for (surface, framing) in STREAMS {
            let stream = pending(surface, framing);
            let out = text(&stream.heartbeat()) + &text(&stream.fail(&problem));
            assert!(out.contains("nobody") && out.contains("\"error\""), "{surface}: {out}");
            for marker in ["[DONE]", "message_stop", "response.completed"] {
                assert!(!out.contains(marker), "{surface}: {out}");
            }
            match framing {
                Framing::JsonArray => {
                    let read: serde_json::Value = serde_json::from_str(&out).expect("an array");
                    assert_eq!(read[0]["error"]["code"], 504);
                }
                Framing::Sse | Framing::Whole => assert!(out.ends_with("\n\n"), "{out}"),
            }
        }
        let out = text(&pending(Surface::Responses, Framing::Sse).fail(&problem));
        assert!(out.find("response.created") < out.find("response.failed"), "clients insist on it: {out}");
    }

    #[test]
    fn a_whole_answer_is_not_kept_open() {
        assert!(PendingStream::new(Surface::ChatCompletions, Framing::Whole, Reply::default()).is_none());
        for direct in [Direct::ImageGenerations, Direct::Transcriptions] {
            let surface = Surface::Direct(direct);
            assert!(PendingStream::new(surface, Framing::Sse, Reply::default()).is_none(), "may be no events");
        }
    }
}
