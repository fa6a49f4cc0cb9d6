//! `:predict` of Vertex AI, for embedding models before the second generation of Gemini's
//! (docs/protocols/embeddings-and-counting.md).

use std::borrow::Cow;

use super::{
    request::Request,
    vectors::{Vector, Vectors, unreadable},
};
use crate::{
    codec::json::{
        read::{Object, Spelling},
        write,
    },
    problem::Problem,
};

/// Appends a request for an upstream.
pub(super) fn write(out: &mut Vec<u8>, texts: &[Cow<'_, str>], request: &Request<'_>) {
    write::object(out, |out| {
        out.list("instances", |list| {
            for text in texts {
                list.object(|one| {
                    one.put("content", &**text);
                    one.put_some("task_type", request.task.as_deref());
                    one.put_some("title", request.title.as_deref());
                });
            }
        });
        if let Some(dimensions) = request.dimensions {
            out.object("parameters", |parameters| parameters.put("outputDimensionality", &dimensions));
        }
    });
}

/// Reads an upstream's answer. Tokens are counted for each text.
pub(super) fn vectors(body: &[u8]) -> Result<Vectors<'_>, Problem> {
    let mut members = Object::parse(body, Spelling::Proto).map_err(|_| unreadable())?;
    let (mut values, mut counted) = (Vec::new(), Some(0_u64));
    for mut prediction in members.objects("predictions").map_err(|_| unreadable())? {
        let mut embedding = prediction.object("embeddings").map_err(|_| unreadable())?.ok_or_else(unreadable)?;
        let raw = embedding.take_raw("values").filter(|raw| raw.get().starts_with('['));
        values.push(Vector::Numbers(raw.ok_or_else(unreadable)?));
        let tokens = embedding.object("statistics").ok().flatten().and_then(|mut it| it.take_raw("tokenCount"));
        // It is written as a number with a fraction of 0.
        let tokens = tokens.and_then(|raw| raw.get().split('.').next()?.parse::<u64>().ok());
        counted = counted.zip(tokens).map(|(sum, tokens)| sum.saturating_add(tokens));
    }
    Ok(Vectors { values, input_tokens: counted, model: None })
}
