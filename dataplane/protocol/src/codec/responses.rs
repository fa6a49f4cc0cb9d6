//! OpenAI Responses (docs/protocols/responses.md).
//!
//! A client's request is read by [`request_decode`]; what its answers repeat of it by [`request_echo`]. Answers go out whole
//! by [`response_encode`] and as events by [`stream_encode`]; both are made of the items of [`output`].
//! A request for an upstream is written by [`request_encode`]; its answers are read by [`response_decode`] and
//! [`stream_decode`].

mod ending;
mod item;
mod names;
mod object;
mod output;
pub mod reasoning_state;
mod request_decode;
pub(crate) mod request_echo;
mod request_encode;
mod response_decode;
mod response_encode;
mod stream_decode;
mod stream_encode;
mod told;
mod usage;
mod web_search;

pub(crate) use item::OWN_REASONING;
pub(crate) use web_search::OWN_SEARCH;

use super::{
    ClientCodec, Encoded, Head, Malformed, ResponseContext, StreamDecoder, StreamEncoder, Target, UpstreamCodec,
    chat::model::capability,
};
use crate::{
    dialect::Operation,
    ir::{Request, Response},
    limits::Media,
    problem::Problem,
    report::Report,
};

/// The codec of `POST /v1/responses`.
#[derive(Clone, Copy, Debug)]
pub struct Responses;

impl ClientCodec for Responses {
    fn decode_request(&self, body: &[u8], head: &Head) -> Result<Request, Malformed> {
        request_decode::decode(body, head)
    }

    fn encode_response(&self, response: &Response, context: &ResponseContext) -> Vec<u8> {
        response_encode::encode(response, context)
    }

    fn stream_encoder(&self, context: &ResponseContext) -> Box<dyn StreamEncoder> {
        Box::new(stream_encode::Encoder::new(context))
    }
}

impl UpstreamCodec for Responses {
    fn media(&self, target: Target<'_>) -> Option<Media> {
        capability(target.table_id()).limited(&target.limits).media
    }

    fn encode_request(&self, request: &Request, target: Target<'_>, from: Operation, report: &mut Report) -> Encoded {
        request_encode::encode(request, target, from, report)
    }

    fn decode_response(&self, body: &[u8]) -> Result<Response, Problem> {
        response_decode::decode(body)
    }

    fn stream_decoder(&self) -> Box<dyn StreamDecoder> {
        Box::<stream_decode::Decoder>::default()
    }
}
