//! Anthropic Messages (docs/protocols/messages.md): `POST /v1/messages`, version `2023-06-01`.
//!
//! In reading order: a client's request is read by [`request_decode`], an upstream's is written by [`request_encode`];
//! answers go through [`response`] whole, and through [`stream_decode`] and [`stream_encode`] as events.

mod citations;
pub(crate) mod content_decode;
mod content_encode;
pub(crate) mod context;
pub(crate) mod conversation;
mod finish;
pub(crate) mod models;
pub(crate) mod piece;
mod problem;
mod request_decode;
pub(crate) mod request_encode;
mod response;
mod stream_decode;
mod stream_encode;
pub(crate) mod thinking;
pub(crate) mod tools_encode;
mod usage;
mod web_search;

pub(crate) use finish::of as finish_reason;
pub(crate) use problem::began_again;
pub(crate) use web_search::offers as offers_search;

use crate::{
    codec::{
        ClientCodec, Encoded, Head, Malformed, ResponseContext, StreamDecoder, StreamEncoder, Target, UpstreamCodec,
    },
    dialect::Operation,
    ir::{Request, Response},
    limits::Media,
    problem::Problem,
    report::Report,
};

/// The codec of [`Operation::Messages`].
#[derive(Clone, Copy, Debug)]
pub struct Messages;

impl ClientCodec for Messages {
    /// The client's own version and beta headers change nothing here: what they stand for is in the body, and a target
    /// of another family has neither.
    fn decode_request(&self, body: &[u8], _head: &Head) -> Result<Request, Malformed> {
        request_decode::decode(body)
    }

    fn encode_response(&self, response: &Response, context: &ResponseContext) -> Vec<u8> {
        response::encode(response, context)
    }

    fn stream_encoder(&self, context: &ResponseContext) -> Box<dyn StreamEncoder> {
        Box::new(stream_encode::Encoder::new(context))
    }
}

impl UpstreamCodec for Messages {
    fn media(&self, target: Target<'_>) -> Option<Media> {
        models::abilities(target.table_id()).limited(&target.limits).media
    }

    fn encode_request(&self, request: &Request, target: Target<'_>, from: Operation, report: &mut Report) -> Encoded {
        request_encode::encode(request, target, from, report)
    }

    fn decode_response(&self, body: &[u8]) -> Result<Response, Problem> {
        response::decode(body)
    }

    fn stream_decoder(&self) -> Box<dyn StreamDecoder> {
        Box::new(stream_decode::Decoder::default())
    }
}
