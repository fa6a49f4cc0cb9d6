//! `POST /v1/embeddings`.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    request::{MOST_TEXTS, Request},
    vectors::{Asked, Vector, Vectors, unreadable},
};
use crate::{
    codec::{
        Malformed,
        json::{
            read::{Object, Spelling, elements},
            write,
        },
    },
    problem::Problem,
    report::Report,
    usage,
};

/// Reads a client's request.
pub(super) fn read<'a>(body: &'a [u8], report: &mut Report) -> Result<Request<'a>, Malformed> {
    let mut members = Object::parse(body, Spelling::Exact)?;
    // The route has read it.
    members.take_raw("model");
    let texts = match members.take_raw("input") {
        Some(raw) => texts(raw, report)?,
        None => return Err(Malformed::of("input", "`input` is required")),
    };
    let base64 = match members.take::<Cow<'_, str>>("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Malformed::of("encoding_format", "`encoding_format` has to be float or base64")),
    };
    let dimensions = members.take("dimensions")?;
    let input_type = members.take("input_type")?;
    for (name, _) in members.rest() {
        report.dropped(name.into_owned());
    }
    Ok(Request { texts, dimensions, base64, task: None, input_type, title: None })
}

/// A string or a list of strings. Tokens mean nothing to another vendor.
fn texts<'a>(raw: &'a RawValue, report: &mut Report) -> Result<Vec<Cow<'a, str>>, Malformed> {
    const WRONG: &str = "`input` has to be a string, a list of strings, or tokens";
    let raws = match raw.get().as_bytes().first() {
        Some(b'"') => vec![raw],
        Some(b'[') => elements(raw)?,
        _ => return Err(Malformed::of("input", WRONG)),
    };
    if raws.iter().any(|raw| !raw.get().starts_with('"')) {
        report.impossible("input", "token arrays are in the vocabulary of one vendor's tokenizer: send text");
        return Ok(Vec::new());
    }
    if raws.is_empty() || raws.len() > MOST_TEXTS {
        return Err(Malformed::of("input", format!("`input` has to hold 1 to {MOST_TEXTS} texts")));
    }
    raws.into_iter().map(|raw| serde_json::from_str(raw.get()).map_err(|_| Malformed::of("input", WRONG))).collect()
}

/// Says what an upstream is not sent.
pub(super) fn report_lost(request: &Request<'_>, report: &mut Report) {
    if request.task.is_some() {
        report.dropped("taskType");
    }
    if request.title.is_some() {
        report.dropped("title");
    }
}

/// Appends a request for an upstream.
pub(super) fn write(out: &mut Vec<u8>, texts: &[Cow<'_, str>], request: &Request<'_>, model: &str) {
    write::object(out, |out| {
        out.put("model", model);
        out.list("input", |list| texts.iter().for_each(|text| list.put(text.as_ref())));
        out.put("encoding_format", "float");
        out.put_some("dimensions", request.dimensions);
    });
}

/// Reads an upstream's answer. Servers may answer in base64 unasked, and in another order than they say.
pub(super) fn vectors(body: &[u8]) -> Result<Vectors<'_>, Problem> {
    let mut members = Object::parse(body, Spelling::Exact).map_err(|_| unreadable())?;
    let mut places = Vec::new();
    for (position, mut entry) in members.objects("data").map_err(|_| unreadable())?.into_iter().enumerate() {
        let raw = entry.take_raw("embedding").ok_or_else(unreadable)?;
        let vector = match raw.get().as_bytes().first() {
            Some(b'[') => Vector::Numbers(raw),
            Some(b'"') => Vector::Base64(raw),
            _ => return Err(unreadable()),
        };
        let index = entry.take::<usize>("index").map_err(|_| unreadable())?;
        places.push((index.unwrap_or(position), vector));
    }
    places.sort_by_key(|(index, _)| *index);
    if places.iter().enumerate().any(|(position, (index, _))| position != *index) {
        return Err(unreadable());
    }
    let counted = members.take_raw("usage").and_then(|raw| usage::read(raw, usage::openai)?.input);
    let model = members.take::<String>("model").ok().flatten();
    Ok(Vectors { values: places.into_iter().map(|(_, vector)| vector).collect(), input_tokens: counted, model })
}

/// The vectors as elements of a client's list, numbered as their texts are.
pub(super) fn entries(vectors: &Vectors<'_>, asked: &Asked) -> Result<String, Problem> {
    vectors.elements(|list, position, vector| {
        let embedding = if asked.base64 { vector.base64()? } else { vector.numbers()? };
        list.object(|entry| {
            entry.put("object", "embedding");
            entry.put("index", &asked.texts.start.saturating_add(position));
            entry.put_json("embedding", &embedding);
        });
        Ok(())
    })
}

/// Writes a client's answer. Clients read the counts without asking, so unknown ones are written as zero.
pub(super) fn answer<'a>(elements: impl Iterator<Item = &'a str>, model: &str, input_tokens: Option<u64>) -> Vec<u8> {
    let tokens = input_tokens.unwrap_or(0);
    let mut out = Vec::new();
    write::object(&mut out, |out| {
        out.put("object", "list");
        out.list("data", |list| elements.for_each(|elements| list.put_elements(elements)));
        out.put("model", model);
        out.object("usage", |usage| {
            usage.put("prompt_tokens", &tokens);
            usage.put("total_tokens", &tokens);
        });
    });
    out
}
