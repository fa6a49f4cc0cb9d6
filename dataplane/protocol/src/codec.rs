//! One codec per dialect: between its bytes and the neutral representation ([`crate::ir`]). What each does is in
//! [`contract`].

pub mod accumulate;
pub mod arguments;
pub mod block_sequencer;
pub mod block_text;
pub mod chat;
pub mod contract;
pub mod converse;
pub mod effort;
pub mod extras;
pub mod field;
pub mod free_form;
pub mod gemini;
pub mod hosted_tool;
pub mod ids;
pub mod json;
pub mod media;
pub mod messages;
pub mod openai_request;
pub mod pairing;
pub mod request_echo;
pub mod responses;
pub mod schema;
pub mod tagged_state;

pub use contract::{
    ClientCodec, Encoded, Head, Malformed, NameMap, ResponseContext, StreamDecoder, StreamEncoder, Target,
    UpstreamCodec,
};

use crate::dialect::Operation;

/// The codec of a client's operation; none if it can only be passed through.
pub fn client_codec(operation: Operation) -> Option<&'static dyn ClientCodec> {
    match operation {
        Operation::Messages => Some(&messages::Messages),
        Operation::ChatCompletions => Some(&chat::Chat),
        Operation::GenerateContent => Some(&gemini::Gemini),
        Operation::Responses => Some(&responses::Responses),
        Operation::Converse => Some(&converse::Converse),
        Operation::ResponsesInputTokens
        | Operation::ConverseCountTokens
        | Operation::Embeddings
        | Operation::MessagesCountTokens
        | Operation::EmbedContent
        | Operation::BatchEmbedContents
        | Operation::CountTokens
        | Operation::Predict
        | Operation::InvokeEmbedding
        | Operation::Direct(_)
        | Operation::Stored(_) => None,
    }
}

/// The codec of an upstream's operation; none if nothing can be translated to it.
pub fn upstream_codec(operation: Operation) -> Option<&'static dyn UpstreamCodec> {
    match operation {
        Operation::Messages => Some(&messages::Messages),
        Operation::ChatCompletions => Some(&chat::Chat),
        Operation::GenerateContent => Some(&gemini::Gemini),
        Operation::Responses => Some(&responses::Responses),
        Operation::Converse => Some(&converse::Converse),
        Operation::ResponsesInputTokens
        | Operation::ConverseCountTokens
        | Operation::Embeddings
        | Operation::MessagesCountTokens
        | Operation::EmbedContent
        | Operation::BatchEmbedContents
        | Operation::CountTokens
        | Operation::Predict
        | Operation::InvokeEmbedding
        | Operation::Direct(_)
        | Operation::Stored(_) => None,
    }
}
