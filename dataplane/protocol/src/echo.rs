//! The Echo upstream: a model without a model, for first steps and tests. No network, no key, no clock, no chance.
//!
//! It speaks every operation, so requests always reach it on the passthrough lane, and it answers in the shape that was
//! asked for. The same request gets the same answer, byte for byte: the last user text after a prefix that people
//! recognise; a call of an offered tool, with arguments made from its schema, until a tool's result comes, which is then
//! echoed; JSON for a schema; vectors from a hash. Counts are estimates of what was really sent and said.
//!
//! It refuses what a real upstream would: bodies that are not legal, with 400 in the dialect's shape.

mod ask;
mod responses;
mod say;
mod vectors;

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    codec::{ClientCodec, Head, Malformed, ResponseContext, client_codec},
    dialect::Operation,
    estimate,
    inbound::{self, Inbound},
    ir::{Candidate, Event, Response, Usage},
    problem::{Problem, ProblemKind, render},
    scan::Scan,
    wire::{Wire, json_array::ArrayWriter},
};

use ask::Ask;
use say::Say;

/// An answer of the Echo upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoAnswer {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub content_type: &'static str,
    /// The body, one piece per event where it is a stream.
    pub chunks: Vec<Bytes>,
}

/// When every answer was made: seconds since 1970 of the first moment of 2026.
const CREATED: i64 = 1_767_225_600;

const JSON: &str = "application/json";

/// Most answers to one request (`n`, `candidateCount`).
const MOST_CANDIDATES: u32 = 8;

/// Longest body that is read as a tree (Responses, embeddings), in bytes: a tree takes up to a hundred times its text.
const MAX_TREE_BODY: usize = 1 << 20;

/// What is known of a request before it is read.
struct Context<'a> {
    operation: Operation,
    wire: Wire,
    model: String,
    /// Names this request and no other.
    id: String,
    body: &'a [u8],
    input_tokens: u64,
}

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

impl<'a> Context<'a> {
    fn new(operation: Operation, wire: Wire, path: &str, body: &'a [u8]) -> Result<Self, Malformed> {
        let model = if operation.model_in_path() {
            let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
            match inbound::route("POST", path, query) {
                Ok(Inbound::Call(matched)) => matched.model,
                _ => None,
            }
        } else {
            let scan = Scan::read(body).map_err(|error| wrong(None, &error.to_string()))?;
            scan.last(body, "model").and_then(|model| model.text(body)).map(Cow::into_owned)
        };
        let model = model.ok_or_else(|| wrong(Some("model"), "`model` is required"))?;
        let id = hex::encode(Sha256::digest(body)).chars().take(24).collect();
        let input_tokens = estimate::input(operation, body).reserved.max(1);
        Ok(Self { operation, wire, model, id, body, input_tokens })
    }

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
            operation => match client_codec(operation) {
                Some(codec) => self.by_codec(codec),
                None => responses::answer(self),
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
            most_bytes: None,
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

    fn usage(&self, say: &Say, count: u32) -> Usage {
        let output = estimate::output_tokens(say.chars()).max(1).saturating_mul(u64::from(count));
        Usage { input: Some(self.input_tokens), output: Some(output), ..Usage::default() }
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
        let content_type = if array.is_some() { JSON } else { "text/event-stream" };
        EchoAnswer { status: 200, content_type, chunks }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the value ends here")]
fn whole(body: Value) -> EchoAnswer {
    EchoAnswer { status: 200, content_type: JSON, chunks: vec![body.to_string().into()] }
}

/// A body as a tree.
fn tree(body: &[u8]) -> Result<Value, Malformed> {
    if body.len() > MAX_TREE_BODY {
        return Err(wrong(None, &format!("the Echo upstream reads at most {MAX_TREE_BODY} bytes of such a request")));
    }
    serde_json::from_slice(body).map_err(|error| wrong(None, &error.to_string()))
}

fn wrong(field: Option<&str>, message: &str) -> Malformed {
    Malformed { field: field.map(str::to_owned), message: message.to_owned() }
}

#[cfg(test)]
mod tests;
