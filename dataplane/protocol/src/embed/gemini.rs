//! `:embedContent` and `:batchEmbedContents`.

use std::borrow::Cow;

use super::{
    request::{MOST_TEXTS, Request},
    vectors::{Vector, Vectors, unreadable},
};
use crate::{
    codec::{
        Malformed,
        json::{
            read::{Object, Spelling},
            write::{self, Members},
        },
    },
    problem::Problem,
    report::Report,
    usage,
};

/// Most texts in one batch, by Google's own limit.
const MOST_IN_BATCH: usize = 100;

/// Reads a client's request for one text.
pub(super) fn single<'a>(body: &'a [u8], report: &mut Report) -> Result<Request<'a>, Malformed> {
    let one = one(Object::parse(body, Spelling::Proto)?, report)?;
    Ok(Request { texts: vec![one.text], dimensions: one.dimensions, base64: false, task: one.task, title: one.title })
}

/// Reads a client's request for several texts. What each asks for must be the same: other vendors ask once for all.
pub(super) fn batch<'a>(body: &'a [u8], report: &mut Report) -> Result<Request<'a>, Malformed> {
    let mut members = Object::parse(body, Spelling::Proto)?;
    let requests = members.objects("requests")?;
    if requests.is_empty() || requests.len() > MOST_TEXTS {
        return Err(Malformed::of("requests", format!("`requests` has to hold 1 to {MOST_TEXTS} texts")));
    }
    let (mut texts, mut first) = (Vec::with_capacity(requests.len()), None);
    for request in requests {
        let One { text, dimensions, task, title } = one(request, report)?;
        texts.push(text);
        let first = first.get_or_insert_with(|| (dimensions, task.clone(), title.clone()));
        if first.0 != dimensions {
            report.impossible("requests[].outputDimensionality", "the upstream takes one number for all texts");
        }
        if first.1 != task {
            report.dropped("requests[].taskType");
        }
    }
    let (dimensions, task, title) = first.unwrap_or_default();
    Ok(Request { texts, dimensions, base64: false, task, title })
}

/// One text and what is asked for it.
struct One<'a> {
    text: Cow<'a, str>,
    dimensions: Option<u64>,
    task: Option<Cow<'a, str>>,
    title: Option<Cow<'a, str>>,
}

fn one<'a>(mut members: Object<'a>, report: &mut Report) -> Result<One<'a>, Malformed> {
    let Some(mut content) = members.object("content")? else {
        return Err(Malformed::of("content", "`content` is required"));
    };
    let mut texts = Vec::new();
    for mut part in content.objects("parts")? {
        match part.take::<Cow<'_, str>>("text")? {
            Some(text) => texts.push(text),
            None => report.impossible("content.parts", "the upstream embeds text only"),
        }
    }
    let text = match texts.len() {
        1 => texts.pop().unwrap_or_default(),
        _ => Cow::Owned(texts.join("\n")),
    };
    let dimensions = members.take("outputDimensionality")?;
    let (task, title) = (members.take("taskType")?, members.take("title")?);
    if members.take::<bool>("autoTruncate")?.is_some() {
        report.dropped("autoTruncate");
    }
    Ok(One { text, dimensions, task, title })
}

/// Writes a request for an upstream: a batch, also of one.
pub(super) fn write(request: &Request<'_>, model: &str, report: &mut Report) -> Vec<u8> {
    if request.texts.len() > MOST_IN_BATCH {
        report.impossible("input", format!("Gemini embeds at most {MOST_IN_BATCH} texts in one request"));
    }
    let mut out = Vec::new();
    write::object(&mut out, |out| {
        out.list("requests", |list| {
            for text in &request.texts {
                list.object(|one| put(one, text, request, model));
            }
        });
    });
    out
}

fn put(out: &mut Members<'_>, text: &str, request: &Request<'_>, model: &str) {
    out.put("model", model);
    out.object("content", |content| {
        content.list("parts", |parts| parts.object(|part| part.put("text", text)));
    });
    out.put_some("outputDimensionality", request.dimensions);
    out.put_some("taskType", request.task.as_deref());
    out.put_some("title", request.title.as_deref());
}

/// Reads an upstream's answer.
pub(super) fn vectors(body: &[u8]) -> Result<Vectors<'_>, Problem> {
    let mut members = Object::parse(body, Spelling::Proto).map_err(|_| unreadable())?;
    let mut values = Vec::new();
    for mut embedding in members.objects("embeddings").map_err(|_| unreadable())? {
        let raw = embedding.take_raw("values").filter(|raw| raw.get().starts_with('['));
        values.push(Vector::Numbers(raw.ok_or_else(unreadable)?));
    }
    let counted = members.take_raw("usageMetadata").and_then(|raw| usage::read(raw, usage::gemini)?.input);
    Ok(Vectors { values, input_tokens: counted, model: None })
}

/// Writes a client's answer to a request for one text.
pub(super) fn answer_single(vectors: &Vectors<'_>) -> Result<Vec<u8>, Problem> {
    let values = vectors.values.first().ok_or_else(unreadable)?.numbers()?;
    let mut out = Vec::new();
    write::object(&mut out, |out| {
        out.object("embedding", |embedding| embedding.put_json("values", &values));
        put_usage(vectors, out);
    });
    Ok(out)
}

/// Writes a client's answer to a batch.
pub(super) fn answer_batch(vectors: &Vectors<'_>) -> Result<Vec<u8>, Problem> {
    let mut written = Vec::with_capacity(vectors.values.len());
    for vector in &vectors.values {
        written.push(vector.numbers()?);
    }
    let mut out = Vec::new();
    write::object(&mut out, |out| {
        out.list("embeddings", |list| {
            for values in &written {
                list.object(|embedding| embedding.put_json("values", values));
            }
        });
        put_usage(vectors, out);
    });
    Ok(out)
}

fn put_usage(vectors: &Vectors<'_>, out: &mut Members<'_>) {
    if let Some(tokens) = vectors.input_tokens {
        out.object("usageMetadata", |usage| usage.put("promptTokenCount", &tokens));
    }
}
