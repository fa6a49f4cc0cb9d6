//! Embeddings between OpenAI's API and Gemini's (docs/protocols/embeddings-and-counting.md).
//!
//! In reading order: a client's request is read by its dialect's module into a [`Request`], an upstream's is written from it,
//! and the vectors go back in the order of the texts. Vectors are never parsed where both sides write numbers: their digits
//! stay as the upstream wrote them.

mod gemini;
mod openai;
mod request;
mod vectors;

pub(crate) use request::Request;
pub(crate) use vectors::Reply;

use bytes::Bytes;

use crate::{codec::Malformed, dialect::Operation, problem::Problem, report::Report};

/// The upstream's operation for a client's, where embeddings are translated: Gemini's batch is for one text as well.
pub(crate) const fn upstream(client: Operation) -> Option<Operation> {
    match client {
        Operation::Embeddings => Some(Operation::BatchEmbedContents),
        Operation::EmbedContent | Operation::BatchEmbedContents => Some(Operation::Embeddings),
        _ => None,
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

/// Writes the request for the upstream's operation. `model` is its id there, in Gemini's bodies a resource name.
pub(crate) fn write(upstream: Operation, request: &Request<'_>, model: &str, report: &mut Report) -> Vec<u8> {
    match upstream {
        Operation::BatchEmbedContents => gemini::write(request, model, report),
        _ => openai::write(request, model, report),
    }
}

/// Turns an upstream's answer into the client's.
///
/// # Errors
/// When it is no answer of the upstream's dialect, or holds another number of vectors than there were texts.
pub(crate) fn answer(
    client: Operation,
    upstream: Operation,
    reply: &Reply<'_>,
    body: &Bytes,
) -> Result<Answered, Problem> {
    let vectors = match upstream {
        Operation::BatchEmbedContents => gemini::vectors(body)?,
        _ => openai::vectors(body)?,
    };
    if vectors.values.len() != reply.texts {
        return Err(vectors::miscounted(vectors.values.len(), reply.texts));
    }
    let body = match client {
        Operation::EmbedContent => gemini::answer_single(&vectors)?,
        Operation::BatchEmbedContents => gemini::answer_batch(&vectors)?,
        _ => openai::answer(&vectors, reply)?,
    };
    Ok(Answered { body: body.into(), input_tokens: vectors.input_tokens, model: vectors.model })
}

/// An answer for the client, and what was seen in it.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) body: Bytes,
    /// Input tokens, if the upstream counted.
    pub(crate) input_tokens: Option<u64>,
    /// The model that answered, as the upstream names it.
    pub(crate) model: Option<String>,
}

#[cfg(test)]
mod tests;
