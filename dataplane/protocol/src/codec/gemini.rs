//! Google's GenerateContent (docs/protocols/gemini.md).
//!
//! Bodies are protobuf JSON: member names in two spellings, enums in any case, bytes in either base64 alphabet. What is
//! written is always `camelCase` and standard base64. Calls may lack ids, which are then invented by position; results
//! need the tool's name, which is looked up. Both streams and whole answers are read by one decoder, for a chunk *is* a
//! whole answer. What this codec does not do: media answers for clients of other dialects.

mod contents_decode;
mod contents_encode;
mod finish;
mod generation;
mod grounding;
pub(crate) mod model;
mod openapi;
mod partial_args;
mod problem;
mod reasoning_state;
mod request_decode;
mod request_encode;
mod response;
mod stream_decode;
mod stream_encode;
mod tools_decode;
mod tools_encode;
mod usage;

pub(crate) use finish::{broke_off, decode as finish_reason, stated as stated_finish};
pub(crate) use problem::came_to_nothing;

use super::{
    ClientCodec, Encoded, Head, Malformed, ResponseContext, StreamDecoder, StreamEncoder, Target, UpstreamCodec,
};
use crate::{
    dialect::Operation,
    ir::{Request, Response},
    limits::Media,
    problem::Problem,
    report::Report,
};

/// What a signature that carries another vendor's state begins with: the tag in base64, as far as whole characters go.
pub const SIGNATURE_TAG: &[u8] = b"Z3cxL";

/// Google's documented stand-in for a signature that is not there.
pub fn stand_in_signature() -> String {
    reasoning_state::dummy()
}

/// The codec of `:generateContent` and `:streamGenerateContent`.
#[derive(Clone, Copy, Debug)]
pub struct Gemini;

impl ClientCodec for Gemini {
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

impl UpstreamCodec for Gemini {
    fn media(&self, _: Target<'_>) -> Option<Media> {
        model::MEDIA
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
