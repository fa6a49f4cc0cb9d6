//! The Echo upstream: a model without a model, for first steps and tests. No network, no key, no clock, no chance.
//!
//! It speaks every operation, so requests always reach it on the passthrough lane, and it answers in the shape that was
//! asked for. The same request gets the same answer, byte for byte: the last user text after a prefix that people
//! recognise; a call of an offered tool, with arguments made from its schema, until a tool's result comes, which is then
//! echoed; JSON for a schema; vectors from a hash. Counts are estimates of what was really sent and said.
//!
//! It refuses what a real upstream would: bodies that are not legal, with 400 in the dialect's shape.

mod answer;
mod ask;
mod context;
mod say;
mod session;
mod vectors;

use std::sync::Arc;

use bytes::Bytes;

pub use answer::EchoAnswer;
pub use session::EchoSession;

use self::{
    answer::{CREATED, JSON, whole},
    ask::Ask,
    context::{Context, wrong},
    say::Say,
};
use crate::{
    codec::{
        ClientCodec, Head, Malformed, ResponseContext, client_codec, request_echo::RequestEcho, responses::request_echo,
    },
    dialect::Operation,
    framing::Framing,
    ir::{Candidate, Event, Response, Usage},
    problem::{Problem, ProblemKind, render},
    scan::Scan,
    wire::{Wire, json_array::ArrayWriter},
};

/// Most answers to one request (`n`, `candidateCount`).
const MOST_CANDIDATES: u32 = 8;

/// Answers a request. `path` is the one of [`crate::request::Prepared`], with its query.
pub fn answer(operation: Operation, wire: Wire, path: &str, body: &[u8]) -> EchoAnswer {
    let answered = Context::new(operation, wire, path, body).and_then(|context| context.answer());
    answered.unwrap_or_else(|malformed| {
        let mut problem = Problem::new(ProblemKind::InvalidRequest, malformed.to_string());
        problem.param = malformed.field.map(Into::into);
        let (status, body) = render(operation.family(), &problem, "req_echo");
        EchoAnswer { status, content_type: JSON, chunks: vec![body.into()] }
    })
}

impl Context<'_> {
    fn answer(&self) -> Result<EchoAnswer, Malformed> {
        match self.operation {
            Operation::Embeddings => vectors::openai(self).map(whole),
            Operation::EmbedContent => vectors::gemini(self).map(whole),
            Operation::BatchEmbedContents => vectors::gemini_batch(self).map(whole),
            Operation::MessagesCountTokens => Ok(whole(serde_json::json!({"input_tokens": self.input_tokens}))),
            Operation::ResponsesInputTokens => {
                Ok(whole(serde_json::json!({"object": "response.input_tokens", "input_tokens": self.input_tokens})))
            }
            Operation::CountTokens => Ok(whole(serde_json::json!({"totalTokens": self.input_tokens}))),
            Operation::ConverseCountTokens => Ok(whole(serde_json::json!({"inputTokens": self.input_tokens}))),
            operation => match client_codec(operation) {
                Some(codec) => self.by_codec(codec),
                None => Err(wrong(None, "the Echo upstream does not have this operation")),
            },
        }
    }

    fn by_codec(&self, codec: &dyn ClientCodec) -> Result<EchoAnswer, Malformed> {
        let stream = self.wire.is_stream();
        let head = Head { model: Some(self.model.clone()), stream, ..Head::default() };
        let request = codec.decode_request(self.body, &head)?;
        let say = Say::to(&Ask::of(&request));
        let count = request.candidates.unwrap_or(1).clamp(1, MOST_CANDIDATES);
        let usage = self.usage(&say, count);
        let reply = ResponseContext {
            model: self.model.clone(),
            id: self.id.clone(),
            created: CREATED,
            include_usage: request.include_usage == Some(true),
            custom_tools: Arc::new(say.custom_tool().into_iter().collect()),
            echo: self.request_echo(),
            ..ResponseContext::default()
        };
        if stream {
            return Ok(self.stream(codec, &reply, &self.events(&say, count, usage)));
        }
        let candidate = Candidate { blocks: vec![say.block(&self.id)], finish: say.finish.into() };
        let response = Response {
            id: None,
            model: Some(self.model.clone()),
            created: Some(CREATED),
            candidates: (0..count).map(|_| candidate.clone()).collect(),
            usage: Some(usage),
            lost: Vec::new(),
        };
        let body = codec.encode_response(&response, &reply);
        Ok(EchoAnswer { status: 200, content_type: JSON, chunks: vec![body.into()] })
    }

    /// What an answer repeats of the request.
    fn request_echo(&self) -> Option<Arc<RequestEcho>> {
        let scan = Scan::read(self.body).ok().filter(|_| self.operation == Operation::Responses)?;
        Some(Arc::new(request_echo::of(&scan, self.body)))
    }

    fn events(&self, say: &Say, count: u32, usage: Usage) -> Vec<Event> {
        let usage_so_far = Some(Usage { output: None, ..usage });
        let model = Some(self.model.clone());
        let mut events = vec![Event::Start { id: None, model, created: Some(CREATED), usage: usage_so_far }];
        for candidate in 0..count {
            let kind = say.kind(&self.id);
            events.push(Event::BlockStart { block: candidate, candidate, kind });
            events.extend(say.deltas().into_iter().map(|delta| Event::BlockDelta { block: candidate, delta }));
            events.push(Event::BlockEnd { block: candidate });
        }
        events.push(Event::Usage(usage));
        events.extend((0..count).map(|candidate| Event::Finish { candidate, finish: say.finish.into() }));
        events.push(Event::End);
        events
    }

    fn stream(&self, codec: &dyn ClientCodec, reply: &ResponseContext, events: &[Event]) -> EchoAnswer {
        let mut encoder = codec.stream_encoder(reply);
        let mut array = (self.wire == Wire::JsonArray).then(ArrayWriter::new);
        let mut chunks = Vec::new();
        for event in events {
            let mut out = Vec::new();
            encoder.push(event, &mut out);
            if let Some(array) = &mut array {
                let mut elements = Vec::new();
                array.push(&out, &mut elements);
                if matches!(event, Event::End) {
                    array.finish(&mut elements);
                }
                out = elements;
            }
            if !out.is_empty() {
                chunks.push(Bytes::from(out));
            }
        }
        let content_type = match self.wire {
            Wire::Whole | Wire::JsonArray => JSON,
            Wire::Sse => Framing::Sse.content_type(),
            Wire::EventStream => Framing::EventStream.content_type(),
        };
        EchoAnswer { status: 200, content_type, chunks }
    }
}

#[cfg(test)]
mod tests;
