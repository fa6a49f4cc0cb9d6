//! OpenAI Chat Completions, and every server that follows it (docs/protocols/chat-completions.md).
//!
//! Read loosely, written strictly: servers that call themselves compatible leave out roles, repeat indices and put usage
//! anywhere, while the official clients fail on exactly such things. What this codec does not do: legacy text
//! completions, and audio answers.

mod annotations;
mod finish;
mod messages_decode;
mod messages_encode;
pub(crate) mod model;
mod problem;
mod reasoning_state;
mod request_decode;
mod request_encode;
mod response;
mod stream_decode;
mod stream_encode;
mod tools;
mod usage;
mod wire;

pub(crate) use finish::{broke_off, decode as finish_reason, stated as stated_finish};
pub(crate) use problem::{decode as error, stopped_early, unreadable};

use super::{
    ClientCodec, Encoded, Head, Malformed, ResponseContext, StreamDecoder, StreamEncoder, Target, UpstreamCodec,
};
use crate::{
    dialect::Operation,
    ir::{Request, Response},
    limits::{ChatLimit, Media},
    problem::Problem,
    report::Report,
};

/// The member in which a model of this id takes its output limit.
pub(crate) fn limit_name(model: &str) -> ChatLimit {
    if model::capability(model).new_limit { ChatLimit::MaxCompletionTokens } else { ChatLimit::MaxTokens }
}

/// The codec of `POST /v1/chat/completions`.
#[derive(Clone, Copy, Debug)]
pub struct Chat;

impl ClientCodec for Chat {
    fn decode_request(&self, body: &[u8], head: &Head) -> Result<Request, Malformed> {
        request_decode::decode(body, head)
    }

    fn encode_response(&self, response: &Response, context: &ResponseContext) -> Vec<u8> {
        response::encode(response, context)
    }

    fn stream_encoder(&self, context: &ResponseContext) -> Box<dyn StreamEncoder> {
        Box::new(stream_encode::Encoder::new(context))
    }
}

impl UpstreamCodec for Chat {
    fn media(&self, target: Target<'_>) -> Option<Media> {
        model::capability(target.table_id()).limited(&target.limits).media
    }

    fn encode_request(&self, request: &Request, target: Target<'_>, from: Operation, report: &mut Report) -> Encoded {
        request_encode::encode(request, target, from, report)
    }

    fn decode_response(&self, body: &[u8]) -> Result<Response, Problem> {
        response::decode(body)
    }

    fn stream_decoder(&self) -> Box<dyn StreamDecoder> {
        Box::<stream_decode::Decoder>::default()
    }
}
