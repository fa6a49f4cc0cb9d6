//! Bedrock's endpoint of vendors' own APIs (`bedrock-mantle.REGION.api.aws`, docs/protocols/clouds.md): Claude by
//! Anthropic's, all others by OpenAI's, each with its vendor's bodies, streams and errors.
//!
//! OpenAI's API is there twice, below `/v1` and below `/openai/v1`; each model is below one of them, and on the other it
//! "isn't supported on this route". The table says where to begin.

use super::{
    place::{Asked, Place, UnsafeModel},
    surface::{Surface, Surfaces},
    vendor,
};
use crate::{
    codec::converse::models::{Vendor, vendor as vendor_of, without_region},
    dialect::Operation,
};

/// Models below `/openai/v1`, by the beginning of their ids; the first row that fits counts. All others are below `/v1`.
const ROUTES: [(&str, bool); 4] =
    [("openai.gpt-oss", false), ("openai.", true), ("google.gemma-4", true), ("xai.", true)];
/// Models that Chat Completions does not serve, as far as is known; the first row that fits counts.
const RESPONSES_ALONE: [(&str, bool); 2] = [("openai.gpt-oss", false), ("openai.", true)];
/// Models that Responses does not serve, as far as is known.
const CHAT_ALONE: [(&str, bool); 1] = [("google.gemma-", true)];

const CHAT: [Surface; 2] = [Surface::ChatCompletions, Surface::OpenAiChatCompletions];
const CHAT_BELOW_OPENAI: [Surface; 2] = [Surface::OpenAiChatCompletions, Surface::ChatCompletions];
const RESPONSES: [Surface; 2] = [Surface::Responses, Surface::OpenAiResponses];
const RESPONSES_BELOW_OPENAI: [Surface; 2] = [Surface::OpenAiResponses, Surface::Responses];

/// Where to send it.
///
/// # Errors
/// None: no path here holds a model.
pub(super) fn place(asked: &Asked<'_>) -> Result<Place, UnsafeModel> {
    let place = vendor::place(asked)?;
    let prefix = match (asked.operation, asked.surface) {
        (Operation::Messages | Operation::MessagesCountTokens, _) => "/anthropic",
        (_, Some(Surface::OpenAiChatCompletions | Surface::OpenAiResponses)) => "/openai/v1",
        _ => "/v1",
    };
    Ok(Place { path: format!("{prefix}{}", place.path), ..place })
}

/// The surface on which an operation is to be had for a model, apart from those that are closed to it.
pub(super) fn surface(operation: Operation, model: &str, closed: Surfaces) -> Option<Surface> {
    let is_claude = vendor_of(model) == Vendor::Claude;
    let below_openai = listed(&ROUTES, model);
    // What the table says of one of OpenAI's APIs holds until the other is found closed.
    let is_other =
        |alone: &[(&str, bool)], other: &[Surface]| listed(alone, model) && closed.first_open(other).is_some();
    match operation {
        Operation::Messages | Operation::MessagesCountTokens if is_claude => closed.first_open(&[Surface::Messages]),
        Operation::ChatCompletions if !is_claude && !is_other(&RESPONSES_ALONE, &RESPONSES) => {
            closed.first_open(if below_openai { &CHAT_BELOW_OPENAI } else { &CHAT })
        }
        Operation::Responses if !is_claude && !is_other(&CHAT_ALONE, &CHAT) => {
            closed.first_open(if below_openai { &RESPONSES_BELOW_OPENAI } else { &RESPONSES })
        }
        _ => None,
    }
}

fn listed(table: &[(&str, bool)], model: &str) -> bool {
    let plain = without_region(model);
    table.iter().find(|(begin, _)| plain.starts_with(begin)).is_some_and(|(_, listed)| *listed)
}

/// A path of OpenAI's that names no model.
pub(super) fn passed(path: &str) -> String {
    format!("/v1{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{framing::Framing, wire::Wire};

    fn path(operation: Operation, model: &str, closed: Surfaces) -> String {
        let surface = surface(operation, model, closed);
        let asked = Asked { operation, model, framing: Framing::Sse, query: None, head: None, surface };
        place(&asked).unwrap().path
    }

    #[test]
    fn each_model_has_its_route_and_the_other_one_when_that_is_closed() {
        use Operation::{ChatCompletions, Messages, MessagesCountTokens, Responses};
        let none = Surfaces::NONE;
        for (operation, model, closed, expected) in [
            (ChatCompletions, "openai.gpt-oss-120b", none, "/v1/chat/completions"),
            (Responses, "openai.gpt-oss-120b", none, "/v1/responses"),
            (Responses, "openai.gpt-5.6-luna", none, "/openai/v1/responses"),
            (ChatCompletions, "google.gemma-4-31b", none, "/openai/v1/chat/completions"),
            (ChatCompletions, "google.gemma-3-27b-it", none, "/v1/chat/completions"),
            (ChatCompletions, "zai.glm-4.6", none.with(Surface::ChatCompletions), "/openai/v1/chat/completions"),
            (Responses, "xai.grok-4.3", none.with(Surface::OpenAiResponses), "/v1/responses"),
            (Messages, "anthropic.claude-opus-4-7", none, "/anthropic/v1/messages"),
            (MessagesCountTokens, "anthropic.claude-opus-4-7", none, "/anthropic/v1/messages/count_tokens"),
        ] {
            assert_eq!(path(operation, model, closed), expected, "{operation} {model}");
        }
    }

    #[test]
    fn what_serves_a_model_depends_on_whose_it_is() {
        use Operation::{ChatCompletions, Converse, Messages, Responses};
        let none = Surfaces::NONE;
        let rows: [(&str, Surfaces, &[Operation]); 6] = [
            ("anthropic.claude-opus-4-7", none, &[Messages]),
            ("openai.gpt-oss-20b", none, &[ChatCompletions, Responses]),
            ("openai.gpt-5.5", none, &[Responses]),
            ("google.gemma-4-31b", none, &[ChatCompletions]),
            ("openai.gpt-5.5", RESPONSES.into_iter().fold(none, Surfaces::with), &[ChatCompletions]),
            ("arn:aws:bedrock:us-east-1:1:x/abc", CHAT.into_iter().fold(none, Surfaces::with), &[Responses]),
        ];
        for (model, closed, served) in rows {
            for operation in [Messages, ChatCompletions, Responses, Converse] {
                assert_eq!(
                    surface(operation, model, closed).is_some(),
                    served.contains(&operation),
                    "{operation} {model}"
                );
            }
        }
    }

    #[test]
    fn streams_are_the_vendors_own() {
        let asked = Asked {
            operation: Operation::Messages,
            model: "anthropic.claude-opus-4-7",
            framing: Framing::Sse,
            query: None,
            head: None,
            surface: Some(Surface::Messages),
        };
        let place = place(&asked).unwrap();
        assert_eq!((place.wire, place.model_in_path), (Wire::Sse, false));
        assert_eq!(place.headers, [("anthropic-version", "2023-06-01".to_owned())]);
    }
}
