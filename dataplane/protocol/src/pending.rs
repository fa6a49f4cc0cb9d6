//! A client's stream while no upstream has answered yet: what keeps it open, and how it ends if none does.
//!
//! Nothing here commits to an answer: a heartbeat comes before whatever an upstream's stream begins with, and is legal
//! there in each dialect. So it carries no id of an answer but one of the gateway's own (Chat), or none.

use bytes::Bytes;

use crate::{
    codec::ResponseContext,
    dialect::Operation,
    framing::Framing,
    lane::terminal::{self, Past},
    problem::Problem,
    response_stats::ResponseStats,
};

/// A stream that was promised to a client and has no answer yet.
#[derive(Debug)]
pub struct PendingStream {
    operation: Operation,
    framing: Framing,
    context: ResponseContext,
}

impl PendingStream {
    /// For a call of this operation; `context` gives what its answer would be made with. None where the answer comes in one
    /// piece, or may do so although a stream is asked for (sound, pictures): nothing may stand before it that a client
    /// would not take for the answer.
    pub(crate) fn new(
        operation: Operation,
        framing: Framing,
        context: impl FnOnce() -> ResponseContext,
    ) -> Option<Self> {
        let promised = match operation {
            Operation::Direct(direct) => direct.promises_events(framing),
            _ => framing != Framing::Whole,
        };
        promised.then(|| Self { operation, framing, context: context() })
    }

    /// The content type of the stream, whatever will be in it.
    pub fn content_type(&self) -> &'static str {
        self.framing.content_type()
    }

    /// What keeps the connection open (docs/protocols/streaming.md): an empty chunk in Chat, a `ping` in Messages, a
    /// comment in Responses, a line feed in Gemini, an event without meaning in Converse.
    pub fn heartbeat(&self) -> Bytes {
        terminal::heartbeat(self.operation, self.framing, &self.past(&ResponseStats::default())).into()
    }

    /// No upstream answered: the dialect's terminal error, with whatever a client insists on before it.
    pub fn fail(&self, problem: &Problem) -> Bytes {
        terminal::error(self.operation, self.framing, problem, &self.past(&ResponseStats::default())).into()
    }

    fn past<'a>(&'a self, seen: &'a ResponseStats) -> Past<'a> {
        Past { context: &self.context, seen, sequence: None, elements: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{direct::Direct, problem::ProblemKind};

    const STREAMS: [(Operation, Framing); 6] = [
        (Operation::ChatCompletions, Framing::Sse),
        (Operation::Responses, Framing::Sse),
        (Operation::Messages, Framing::Sse),
        (Operation::GenerateContent, Framing::Sse),
        (Operation::GenerateContent, Framing::JsonArray),
        (Operation::Direct(Direct::Completions), Framing::Sse),
    ];

    fn pending(operation: Operation, framing: Framing) -> PendingStream {
        let reply = ResponseContext { model: "m".into(), id: "r1".into(), created: 7, ..ResponseContext::default() };
        PendingStream::new(operation, framing, || reply).expect("a stream")
    }

    fn text(bytes: &Bytes) -> String {
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    #[test]
    fn each_dialect_has_a_heartbeat_that_commits_to_nothing() {
        let beats = STREAMS.map(|(operation, framing)| text(&pending(operation, framing).heartbeat()));
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
        for (operation, framing) in STREAMS {
            let stream = pending(operation, framing);
            let out = text(&stream.heartbeat()) + &text(&stream.fail(&problem));
            assert!(out.contains("nobody") && out.contains("\"error\""), "{operation}: {out}");
            for marker in ["[DONE]", "message_stop", "response.completed"] {
                assert!(!out.contains(marker), "{operation}: {out}");
            }
            match framing {
                Framing::JsonArray => {
                    let read: serde_json::Value = serde_json::from_str(&out).expect("an array");
                    assert_eq!(read[0]["error"]["code"], 504);
                }
                Framing::Sse | Framing::Whole | Framing::EventStream => assert!(out.ends_with("\n\n"), "{out}"),
            }
        }
        let out = text(&pending(Operation::Responses, Framing::Sse).fail(&problem));
        assert!(out.find("response.created") < out.find("response.failed"), "clients insist on it: {out}");
    }

    #[test]
    fn a_converse_stream_is_kept_open_and_ended_in_frames() {
        let stream = pending(Operation::Converse, Framing::EventStream);
        let out = [stream.heartbeat(), stream.fail(&Problem::new(ProblemKind::Overloaded, "nobody"))].concat();
        let mut told = Vec::new();
        let mut frames = crate::wire::event_stream::EventStreamDecoder::new();
        frames.push(&out, |frame| told.push((frame.event.unwrap().to_owned(), frame.data.to_owned()))).unwrap();
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].0.as_str(), told[0].1.as_str()), ("heartbeat", "{}"));
        assert!(told[1].1.contains("serviceUnavailableException") && told[1].1.contains("nobody"), "{told:?}");
    }

    #[test]
    fn a_whole_answer_is_not_kept_open() {
        let is_pending =
            |operation, framing| PendingStream::new(operation, framing, ResponseContext::default).is_some();
        assert!(!is_pending(Operation::ChatCompletions, Framing::Whole));
        for direct in [Direct::ImageGenerations, Direct::Transcriptions] {
            assert!(!is_pending(Operation::Direct(direct), Framing::Sse), "may be no events");
        }
    }
}
