//! Embeddings between OpenAI's API, Gemini's, Vertex AI's and those of Amazon Bedrock's models (docs/protocols/embeddings-and-counting.md).
//!
//! In reading order: a client's request is read by its dialect's module into a [`Request`], an upstream's is written from it,
//! in several calls where the upstream takes fewer texts in one ([`split`]), and the vectors go back in the order of the
//! texts: each call's answer becomes a piece of the client's list, and the pieces one answer. Vectors are never parsed where
//! both sides write numbers: their digits stay as the upstream wrote them.

mod gemini;
mod invoke;
mod openai;
mod predict;
mod request;
mod split;
mod vectors;

pub(crate) use request::Request;
pub use split::BatchPart;
pub(crate) use split::Calls;
pub(crate) use vectors::Asked;

use bytes::Bytes;

use crate::{
    codec::Malformed,
    dialect::Operation,
    host::{
        Host,
        bedrock::embedding_models::{self, Model},
    },
    problem::Problem,
    report::Report,
};

/// The operations that a client's can be translated to, least loss first: Gemini's batch is for one text as well.
pub(crate) const fn upstreams(client: Operation) -> &'static [Operation] {
    match client {
        Operation::Embeddings => {
            &[Operation::BatchEmbedContents, Operation::Predict, Operation::EmbedContent, Operation::InvokeEmbedding]
        }
        Operation::EmbedContent => &[Operation::Predict, Operation::Embeddings, Operation::InvokeEmbedding],
        Operation::BatchEmbedContents => {
            &[Operation::Predict, Operation::EmbedContent, Operation::Embeddings, Operation::InvokeEmbedding]
        }
        _ => &[],
    }
}

/// Reads a client's request.
///
/// # Errors
/// When the body is not legal in its dialect.
pub(crate) fn read<'a>(client: Operation, body: &'a [u8], report: &mut Report) -> Result<Request<'a>, Malformed> {
    match client {
        Operation::EmbedContent => gemini::single(body, report),
        Operation::BatchEmbedContents => gemini::batch(body, report),
        _ => openai::read(body, report),
    }
}

/// Writes the request for the upstream's operation. `model` is its id there, in Gemini's bodies a resource name, and
/// `base_model` what tables know it by.
pub(crate) fn write(
    (upstream, host): (Operation, Host),
    request: &Request<'_>,
    (model, base_model): (&str, &str),
    report: &mut Report,
) -> Calls {
    let invoked = embedding_models::model(base_model).filter(|_| upstream == Operation::InvokeEmbedding);
    let most = invoked.map_or_else(|| split::most_in_call(host, upstream, model), Model::most_in_call);
    if request.texts.len().div_ceil(most) > split::MOST_CALLS {
        let why = format!(
            "holds more than {} texts, of which the upstream's model takes {most} at once",
            split::MOST_CALLS.saturating_mul(most)
        );
        report.impossible("input", why);
    }
    if let Some(invoked) = invoked {
        invoked.report_lost(request, report);
        return split::calls(&request.texts, most, |out, texts| invoked.write(out, texts, request));
    }
    if request.input_type.is_some() {
        report.dropped("input_type");
    }
    match upstream {
        Operation::BatchEmbedContents => {
            split::calls(&request.texts, most, |out, texts| gemini::write(out, texts, request, model))
        }
        Operation::EmbedContent => {
            split::calls(&request.texts, most, |out, texts| gemini::write_single(out, texts, request, model))
        }
        Operation::Predict => split::calls(&request.texts, most, |out, texts| predict::write(out, texts, request)),
        _ => {
            openai::report_lost(request, report);
            split::calls(&request.texts, most, |out, texts| openai::write(out, texts, request, model))
        }
    }
}

/// What an upstream answered to one call.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The vectors as the client's list holds them, without its brackets.
    pub(crate) elements: String,
    /// Input tokens, if the upstream counted.
    pub(crate) input_tokens: Option<u64>,
    /// The model that answered, as the upstream names it.
    pub(crate) model: Option<String>,
}

/// Reads an upstream's answer to one call, and writes its vectors for the client.
///
/// # Errors
/// When it is no answer of the upstream's dialect, or holds another number of vectors than there were texts.
pub(crate) fn answered(
    client: Operation,
    upstream: Operation,
    asked: &Asked,
    body: &Bytes,
) -> Result<Answered, Problem> {
    let vectors = match upstream {
        Operation::BatchEmbedContents => gemini::vectors(body)?,
        Operation::EmbedContent => gemini::vector(body)?,
        Operation::Predict => predict::vectors(body)?,
        Operation::InvokeEmbedding => invoke::vectors(body)?,
        _ => openai::vectors(body)?,
    };
    if vectors.values.len() != asked.texts.len() {
        return Err(vectors::miscounted(vectors.values.len(), asked.texts.len()));
    }
    let elements = match client {
        Operation::EmbedContent | Operation::BatchEmbedContents => gemini::entries(&vectors)?,
        _ => openai::entries(&vectors, asked)?,
    };
    Ok(Answered { elements, input_tokens: vectors.input_tokens, model: vectors.model })
}

/// The client's answer, made of the elements of all calls in their order. `model` is its id as the client wrote it.
pub(crate) fn joined<'a>(
    client: Operation,
    model: &str,
    elements: impl Iterator<Item = &'a str>,
    input_tokens: Option<u64>,
) -> Vec<u8> {
    match client {
        Operation::EmbedContent => gemini::answer_single(elements, input_tokens),
        Operation::BatchEmbedContents => gemini::answer_batch(elements, input_tokens),
        _ => openai::answer(elements, model, input_tokens),
    }
}

#[cfg(test)]
mod tests;
