//! Amazon Bedrock's Converse (docs/protocols/converse.md): `POST /model/{id}/converse` and `/converse-stream`.
//!
//! In reading order: a client's request is read by [`request_decode`], an upstream's is written by [`request_encode`] from
//! what [`models`] says of its model; answers go through [`response`] whole, and through [`stream_decode`] and
//! [`stream_encode`] as events.

mod content_decode;
mod content_encode;
mod finish;
mod formats;
pub(crate) mod models;
mod reasoning;
mod request_decode;
mod request_encode;
mod response;
mod stream_decode;
mod stream_encode;
mod tools_encode;
mod usage;

pub(crate) use finish::of as finish_reason;
pub(crate) use stream_encode::HEARTBEAT;

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

/// The codec of [`Operation::Converse`].
#[derive(Clone, Copy, Debug)]
pub struct Converse;

impl ClientCodec for Converse {
    fn decode_request(&self, body: &[u8], head: &Head) -> Result<Request, Malformed> {
        request_decode::decode(body, head)
    }

    fn encode_response(&self, response: &Response, context: &ResponseContext) -> Vec<u8> {
        response::encode(response, context)
    }

    /// Its events are frames of an event stream.
    fn stream_encoder(&self, context: &ResponseContext) -> Box<dyn StreamEncoder> {
        Box::new(stream_encode::Encoder::new(context))
    }
}

impl UpstreamCodec for Converse {
    fn media(&self, target: Target<'_>) -> Option<Media> {
        models::model(target.table_id()).takes.limited(&target.limits).media
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
