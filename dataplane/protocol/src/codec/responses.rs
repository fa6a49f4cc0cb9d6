//! OpenAI Responses (docs/protocols/responses.md).

pub mod reasoning_state;
mod request_encode;
mod response_decode;
mod stream_decode;

use super::{Encoded, StreamDecoder, Target, UpstreamCodec};
use crate::{
    dialect::Operation,
    ir::{Request, Response},
    problem::Problem,
    report::Report,
};

/// The codec of `POST /v1/responses`.
#[derive(Clone, Copy, Debug)]
pub struct Responses;

impl UpstreamCodec for Responses {
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
