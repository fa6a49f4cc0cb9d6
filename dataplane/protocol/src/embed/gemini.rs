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
    report::{Report, Spelled},
    usage,
};

/// What these clients call members by another name.
const SPELLED: [Spelled; 1] = [("dimensions", "outputDimensionality")];

/// Reads a client's request for one text.
pub(super) fn single<'a>(body: &'a [u8], report: &mut Report) -> Result<Request<'a>, Malformed> {
    report.spell(&SPELLED);
    let one = one(Object::parse(body, Spelling::Proto)?, report)?;
    let One { text, dimensions, task, title } = one;
    Ok(Request { texts: vec![text], dimensions, base64: false, task, input_type: None, title })
}

/// Reads a client's request for several texts. What each asks for must be the same: other vendors ask once for all.
pub(super) fn batch<'a>(body: &'a [u8], report: &mut Report) -> Result<Request<'a>, Malformed> {
    report.spell(&SPELLED);
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
    Ok(Request { texts, dimensions, base64: false, task, input_type: None, title })
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

/// Appends a request for an upstream: a batch, also of one.
pub(super) fn write(out: &mut Vec<u8>, texts: &[Cow<'_, str>], request: &Request<'_>, model: &str) {
    write::object(out, |out| {
        out.list("requests", |list| {
            for text in texts {
                list.object(|one| put(one, text, request, model));
            }
        });
    });
}

/// Appends a request for one text.
pub(super) fn write_single(out: &mut Vec<u8>, texts: &[Cow<'_, str>], request: &Request<'_>, model: &str) {
    write::object(out, |out| texts.iter().take(1).for_each(|text| put(out, text, request, model)));
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

/// Reads an upstream's answer to a request for one text.
pub(super) fn vector(body: &[u8]) -> Result<Vectors<'_>, Problem> {
    let mut members = Object::parse(body, Spelling::Proto).map_err(|_| unreadable())?;
    let embedding = members.object("embedding").map_err(|_| unreadable())?.and_then(|mut one| one.take_raw("values"));
    let raw = embedding.filter(|raw| raw.get().starts_with('[')).ok_or_else(unreadable)?;
    let counted = members.take_raw("usageMetadata").and_then(|raw| usage::read(raw, usage::gemini)?.input);
    Ok(Vectors { values: vec![Vector::Numbers(raw)], input_tokens: counted, model: None })
}

/// The vectors as elements of a client's list.
pub(super) fn entries(vectors: &Vectors<'_>) -> Result<String, Problem> {
    vectors.elements(|list, _, vector| {
        let values = vector.numbers()?;
        list.object(|embedding| embedding.put_json("values", &values));
        Ok(())
    })
}

/// Writes a client's answer to a request for one text, which has one element.
pub(super) fn answer_single<'a>(elements: impl Iterator<Item = &'a str>, input_tokens: Option<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    write::object(&mut out, |out| {
        elements.take(1).for_each(|element| out.put_json("embedding", element));
        put_usage(input_tokens, out);
    });
    out
}

/// Writes a client's answer to a batch.
pub(super) fn answer_batch<'a>(elements: impl Iterator<Item = &'a str>, input_tokens: Option<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    write::object(&mut out, |out| {
        out.list("embeddings", |list| elements.for_each(|elements| list.put_elements(elements)));
        put_usage(input_tokens, out);
    });
    out
}

fn put_usage(input_tokens: Option<u64>, out: &mut Members<'_>) {
    if let Some(tokens) = input_tokens {
        out.object("usageMetadata", |usage| usage.put("promptTokenCount", &tokens));
    }
}
