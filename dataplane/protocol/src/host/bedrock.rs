//! Amazon Bedrock (docs/protocols/clouds.md): which dialect it has for which model, and where.
//!
//! Models of all vendors answer Converse. Claude also takes Anthropic's Messages, in an envelope that [`claude`] makes of a
//! body and [`chunks`] takes off a stream; OpenAI's open models take OpenAI's own dialects below `/openai/v1`. Embedding models
//! take their vendors' bodies alone.
//!
//! A model id stands in the path and is percent-encoded once, every byte outside of `A-Za-z0-9-._~`: colons of versions
//! and slashes of ARNs as well. Signatures encode it once more, which is not decided here. An id that holds a percent sign
//! is refused as everywhere: a second decoding must not turn it into something else.

pub(crate) mod chunks;
pub(crate) mod claude;
pub(crate) mod embedding_models;

use bytes::Bytes;
use percent_encoding::utf8_percent_encode;

use super::{
    place::{Asked, ENCODED, Place, UnsafeModel, check},
    surface::{Surface, Surfaces},
};
pub(super) use crate::codec::converse::models::vendors_id;
use crate::{
    codec::{
        Head,
        converse::models::{Vendor, vendor},
    },
    dialect::{CallPath, Operation},
    framing::Framing,
    report::Report,
    wire::Wire,
};

/// Where OpenAI's dialects are.
const OPENAI: &str = "/openai/v1";

/// Where to send it.
///
/// # Errors
/// When the model id would stand in the path and cannot.
pub(super) fn place(asked: &Asked<'_>) -> Result<Place, UnsafeModel> {
    let streams = asked.framing != Framing::Whole;
    let action = match (asked.operation, asked.operation.path()) {
        (Operation::Converse, _) if streams => "converse-stream",
        (Operation::Messages, _) if streams => "invoke-with-response-stream",
        (Operation::Messages, _) => "invoke",
        (_, CallPath::Action(action)) => action,
        (_, CallPath::Fixed(path)) => {
            let path = passed(path);
            let wire = Wire::from(asked.framing);
            return Ok(Place { path, headers: Vec::new(), wire, model_in_path: false });
        }
        // Google's, which are not served here.
        (_, CallPath::Verb(verb)) => verb,
    };
    check(asked.model)?;
    let path = format!("/model/{}/{action}", utf8_percent_encode(asked.model, ENCODED));
    let wire = if streams { Wire::EventStream } else { Wire::Whole };
    Ok(Place { path, headers: Vec::new(), wire, model_in_path: true })
}

/// The surface on which a model, by its id in the tables, is served by this operation, apart from those that are closed to it.
/// What a model is that nobody knows, such as one behind an ARN, is not guessed: Converse serves it. Only where Converse has
/// refused a model, OpenAI's dialects are tried, which serve open models of many vendors.
pub(super) fn surface(operation: Operation, model: &str, closed: Surfaces) -> Option<Surface> {
    let vendor = vendor(model);
    let takes_openais = vendor == Vendor::OpenAi || (vendor != Vendor::Claude && closed.contains(Surface::Converse));
    let surface = match operation {
        Operation::InvokeEmbedding if embedding_models::embeds(model) => Surface::InvokeModel,
        // It does nothing else.
        _ if embedding_models::embeds(model) => return None,
        Operation::Converse => Surface::Converse,
        Operation::ConverseCountTokens => Surface::CountTokens,
        Operation::Messages if vendor == Vendor::Claude => Surface::InvokeModel,
        Operation::ChatCompletions if takes_openais => Surface::OpenAiChatCompletions,
        Operation::Responses if takes_openais => Surface::OpenAiResponses,
        _ => return None,
    };
    closed.first_open(&[surface])
}

/// A path of OpenAI's that names no model.
pub(super) fn passed(path: &str) -> String {
    format!("{OPENAI}{path}")
}

/// The body as Bedrock wants it.
pub(super) fn adapt(operation: Operation, body: Bytes, head: Option<&Head>, report: &mut Report) -> Bytes {
    match operation {
        Operation::Messages => claude::body(body, head, report),
        _ => body,
    }
}

/// Whether an operation's answers come in an envelope of Bedrock's: events in frames of an event stream, errors in
/// Amazon's shape.
pub(super) const fn wraps(operation: Operation) -> bool {
    matches!(operation, Operation::Messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(operation: Operation, model: &str, framing: Framing) -> Result<Place, UnsafeModel> {
        place(&Asked { operation, model, framing, query: None, head: None, surface: None })
    }

    #[test]
    fn hard_cases_239_and_240_a_model_id_is_encoded_once() {
        const SONNET: &str = "anthropic.claude-3-5-sonnet-20240620-v1:0";
        const PROFILE: &str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
        let rows = [
            (SONNET, "anthropic.claude-3-5-sonnet-20240620-v1%3A0"),
            (PROFILE, "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc"),
            ("us.amazon.nova-2-lite-v1:0", "us.amazon.nova-2-lite-v1%3A0"),
            ("my~model_1", "my~model_1"),
        ];
        for (model, encoded) in rows {
            for (operation, framing, action, wire) in [
                (Operation::Converse, Framing::Whole, "converse", Wire::Whole),
                (Operation::Converse, Framing::EventStream, "converse-stream", Wire::EventStream),
                (Operation::Converse, Framing::Sse, "converse-stream", Wire::EventStream),
                (Operation::ConverseCountTokens, Framing::Whole, "count-tokens", Wire::Whole),
                (Operation::Messages, Framing::Whole, "invoke", Wire::Whole),
                (Operation::Messages, Framing::Sse, "invoke-with-response-stream", Wire::EventStream),
            ] {
                let place = asked(operation, model, framing).unwrap();
                assert_eq!((place.path, place.wire), (format!("/model/{encoded}/{action}"), wire));
                assert!(place.model_in_path);
            }
        }
    }

    #[test]
    fn hard_case_241_an_id_that_is_encoded_already_is_refused_and_never_encoded_again() {
        let encoded = "anthropic.claude-3-5-sonnet-20240620-v1%3A0";
        assert_eq!(asked(Operation::Converse, encoded, Framing::Whole), Err(UnsafeModel::Character));
        for model in ["", "..", "arn:aws:x/..", "a//b", "/a"] {
            assert_eq!(asked(Operation::Converse, model, Framing::Whole), Err(UnsafeModel::Segment), "{model:?}");
        }
        for model in ["a?b", "a#b", "a\r\nb", r"a\b"] {
            assert_eq!(asked(Operation::Messages, model, Framing::Sse), Err(UnsafeModel::Character), "{model:?}");
        }
    }

    #[test]
    fn openais_dialects_are_below_a_path_of_their_own() {
        let chat = asked(Operation::ChatCompletions, "openai.gpt-oss-120b-1:0", Framing::Sse).unwrap();
        assert_eq!((chat.path.as_str(), chat.wire), ("/openai/v1/chat/completions", Wire::Sse));
        assert!(!chat.model_in_path);
        let responses = asked(Operation::Responses, "openai.gpt-oss-120b-1:0", Framing::Whole).unwrap();
        assert_eq!((responses.path.as_str(), responses.wire), ("/openai/v1/responses", Wire::Whole));
    }

    #[test]
    fn tables_of_vendors_know_their_own_ids() {
        for (model, expected) in [
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
            ("openai.gpt-5.1", "gpt-5.1"),
            ("us.amazon.nova-2-lite-v1:0", "us.amazon.nova-2-lite-v1:0"),
        ] {
            assert_eq!(vendors_id(model), expected);
            assert_eq!(vendor(vendors_id(model)), vendor(model));
        }
    }

    #[test]
    fn what_serves_a_model_depends_on_whose_it_is() {
        use Operation::{ChatCompletions, Converse, InvokeEmbedding, Messages, Responses};
        let rows: [(&str, &[Operation]); 6] = [
            ("us.cohere.embed-v4:0", &[InvokeEmbedding]),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", &[Converse, Messages]),
            ("claude-sonnet-4-5", &[Converse, Messages]),
            ("openai.gpt-oss-120b-1:0", &[Converse, ChatCompletions, Responses]),
            ("amazon.nova-pro-v1:0", &[Converse]),
            ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", &[Converse]),
        ];
        for (model, served) in rows {
            for operation in [Converse, Messages, ChatCompletions, Responses, InvokeEmbedding] {
                let open = surface(operation, model, Surfaces::NONE).is_some();
                assert_eq!(open, served.contains(&operation), "{operation} {model}");
            }
        }
    }

    #[test]
    fn another_surface_serves_where_the_first_is_closed() {
        use Operation::{ChatCompletions, Converse, Messages, Responses};
        let closed = |surfaces: &[Surface]| surfaces.iter().copied().fold(Surfaces::NONE, Surfaces::with);
        let rows: [(&str, &[Surface], &[Operation]); 6] = [
            ("anthropic.claude-sonnet-4-5-20250929-v1:0", &[Surface::InvokeModel], &[Converse]),
            ("anthropic.claude-sonnet-4-5-20250929-v1:0", &[Surface::Converse], &[Messages]),
            ("openai.gpt-oss-120b-1:0", &[Surface::OpenAiChatCompletions], &[Converse, Responses]),
            ("qwen.qwen3-32b-v1:0", &[Surface::Converse], &[ChatCompletions, Responses]),
            ("qwen.qwen3-32b-v1:0", &[Surface::Converse, Surface::OpenAiResponses], &[ChatCompletions]),
            ("amazon.nova-pro-v1:0", &[Surface::OpenAiResponses], &[Converse]),
        ];
        for (model, refused, served) in rows {
            for operation in [Converse, Messages, ChatCompletions, Responses] {
                let open = surface(operation, model, closed(refused)).is_some();
                assert_eq!(open, served.contains(&operation), "{operation} {model}");
            }
        }
    }
}
