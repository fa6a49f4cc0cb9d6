//! Which dialect a request is translated to, where an upstream speaks several (docs/protocols/README.md#two-lanes).

use super::prepared::{Prepared, Unprepared};
use crate::{
    dialect::Operation,
    ir::{Number, Request},
    report::Warning,
};

/// The dialects to translate to, least loss first. Responses keeps reasoning from one request to the next, and takes
/// function tools beside every effort; Chat does neither.
#[deny(clippy::wildcard_enum_match_arm)]
pub(super) const fn operations(from: Operation) -> &'static [Operation] {
    match from {
        Operation::ChatCompletions => {
            &[Operation::Responses, Operation::Messages, Operation::GenerateContent, Operation::Converse]
        }
        Operation::Responses => {
            &[Operation::ChatCompletions, Operation::Messages, Operation::GenerateContent, Operation::Converse]
        }
        Operation::Messages => {
            &[Operation::Responses, Operation::ChatCompletions, Operation::GenerateContent, Operation::Converse]
        }
        Operation::GenerateContent => {
            &[Operation::Responses, Operation::ChatCompletions, Operation::Messages, Operation::Converse]
        }
        // Most of its members are Anthropic's by another name, signed reasoning and cache marks among them.
        Operation::Converse => {
            &[Operation::Messages, Operation::Responses, Operation::ChatCompletions, Operation::GenerateContent]
        }
        Operation::ResponsesInputTokens
        | Operation::Embeddings
        | Operation::MessagesCountTokens
        | Operation::EmbedContent
        | Operation::BatchEmbedContents
        | Operation::CountTokens
        | Operation::Predict
        | Operation::InvokeEmbedding
        | Operation::ConverseCountTokens
        | Operation::Direct(_)
        | Operation::Stored(_) => &[],
    }
}

/// Whether the second may be taken in the place of the first: OpenAI's servers have both, for the same models.
pub(super) const fn are_alternatives(first: Operation, other: Operation) -> bool {
    matches!((first, other), (Operation::Responses, Operation::ChatCompletions))
}

/// Whether a request holds something that Responses has no member for and Chat has.
pub(super) fn is_kept_by_chat_alone(request: &Request) -> bool {
    /// The fewest output tokens that can be asked for on Responses.
    const LEAST_OUTPUT: u64 = 16;
    let is_set = |number: &Option<Number>| number.as_ref().is_some_and(|number| number.as_f64() != Some(0.0));
    let sampling = &request.sampling;
    !request.stop.is_empty()
        || request.candidates.is_some_and(|count| count != 1)
        || sampling.seed.is_some()
        || is_set(&sampling.presence_penalty)
        || is_set(&sampling.frequency_penalty)
        || !request.modalities.is_empty()
        || request.max_output.is_some_and(|most| most < LEAST_OUTPUT)
}

/// How many fields are changed or left out; a request that is refused loses all.
pub(super) fn losses(prepared: &Result<Prepared, Unprepared>) -> u64 {
    let Ok(prepared) = prepared else { return u64::MAX };
    let count = |warning: &Warning| match warning {
        Warning::More { count } => *count,
        Warning::Adapted { .. } | Warning::Dropped { .. } | Warning::Defaulted { .. } | Warning::Estimated { .. } => 1,
    };
    prepared.warnings.iter().map(count).fold(0, u64::saturating_add)
}
