//! Embeddings: unit vectors from a hash of the text, so that equal texts are equal and others nearly orthogonal.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::context::{Context, tree, wrong};
use crate::{codec::Malformed, estimate::BYTES_PER_TOKEN};

/// Members of a vector where the client does not say.
const DIMENSIONS: u64 = 256;

/// Most members of a vector.
const MOST_DIMENSIONS: u64 = 4_096;

/// Most members of all vectors of an answer: about 6 MB of JSON.
const MOST_MEMBERS: u64 = 512 * 1024;

/// Most texts in one request (OpenAI's limit).
const MOST_TEXTS: usize = 2_048;

pub(super) fn openai(context: &Context<'_>) -> Result<Value, Malformed> {
    let body = tree(context.body)?;
    let size = dimensions(body.get("dimensions"), "dimensions")?;
    let base64 = match body.get("encoding_format").map(|format| format.as_str()) {
        None | Some(Some("float")) => false,
        Some(Some("base64")) => true,
        Some(_) => return Err(wrong(Some("encoding_format"), "`encoding_format` has to be float or base64")),
    };
    let texts = inputs(body.get("input"))?;
    fits(texts.len(), size, "input")?;
    let data = texts.iter().enumerate().map(|(index, text)| {
        let vector = unit(text, size);
        let embedding = if base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|member| member.to_le_bytes()).collect();
            json!(STANDARD.encode(bytes))
        } else {
            json!(vector)
        };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    });
    let data: Vec<Value> = data.collect();
    let tokens = texts.iter().map(|text| tokens(text)).sum::<u64>();
    Ok(json!({
        "object": "list", "data": data, "model": context.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }))
}

pub(super) fn gemini(context: &Context<'_>) -> Result<Value, Malformed> {
    let (embedding, tokens) = embedding(&tree(context.body)?)?;
    Ok(json!({"embedding": embedding, "usageMetadata": {"promptTokenCount": tokens, "totalTokenCount": tokens}}))
}

pub(super) fn gemini_batch(context: &Context<'_>) -> Result<Value, Malformed> {
    let body = tree(context.body)?;
    let requests = body.get("requests").and_then(Value::as_array);
    let requests = requests.ok_or_else(|| wrong(Some("requests"), "`requests` has to be a list"))?;
    if requests.len() > MOST_TEXTS {
        return Err(wrong(Some("requests"), "too many requests in one batch"));
    }
    let (mut embeddings, mut tokens) = (Vec::new(), 0);
    for request in requests {
        fits(requests.len(), size_of(request)?, "requests")?;
        let (embedding, count) = embedding(request)?;
        embeddings.push(embedding);
        tokens += count;
    }
    Ok(json!({"embeddings": embeddings, "usageMetadata": {"promptTokenCount": tokens, "totalTokenCount": tokens}}))
}

fn embedding(request: &Value) -> Result<(Value, u64), Malformed> {
    let size = size_of(request)?;
    let parts = request.pointer("/content/parts").and_then(Value::as_array);
    let parts = parts.ok_or_else(|| wrong(Some("content"), "`content.parts` has to be a list"))?;
    let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
    let text = texts.join("\n");
    Ok((json!({"values": unit(text.as_bytes(), size)}), tokens(text.as_bytes())))
}

/// Members of the vector that a request asks for.
fn size_of(request: &Value) -> Result<u64, Malformed> {
    let camel = request.get("outputDimensionality");
    let config = request.pointer("/embedContentConfig/outputDimensionality");
    dimensions(camel.or_else(|| request.get("output_dimensionality")).or(config), "outputDimensionality")
}

/// Refuses vectors that together have more members than [`MOST_MEMBERS`].
fn fits(texts: usize, size: u64, field: &str) -> Result<(), Malformed> {
    if size.saturating_mul(texts as u64) <= MOST_MEMBERS {
        return Ok(());
    }
    let why = format!(
        "asks for vectors of more than {MOST_MEMBERS} numbers in all, which is more than the Echo upstream makes"
    );
    Err(wrong(Some(field), &why))
}

fn dimensions(value: Option<&Value>, field: &str) -> Result<u64, Malformed> {
    match value {
        None | Some(Value::Null) => Ok(DIMENSIONS),
        Some(value) => value.as_u64().filter(|size| (1..=MOST_DIMENSIONS).contains(size)).ok_or_else(|| {
            wrong(Some(field), &format!("`{field}` has to be a whole number from 1 to {MOST_DIMENSIONS}"))
        }),
    }
}

/// A string, a list of strings, a list of tokens, or a list of such lists; as bytes to hash.
fn inputs(input: Option<&Value>) -> Result<Vec<Vec<u8>>, Malformed> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(tokens) if tokens.iter().all(Value::is_u64) => Some(value.to_string().into_bytes()),
        _ => None,
    };
    let legal = || wrong(Some("input"), "`input` has to be a string, a list of strings, or lists of tokens");
    let texts = match input {
        Some(text @ Value::String(_)) => vec![one(text).ok_or_else(legal)?],
        Some(Value::Array(list)) if list.is_empty() => return Err(legal()),
        Some(tokens @ Value::Array(list)) if list.iter().all(Value::is_u64) => vec![one(tokens).ok_or_else(legal)?],
        Some(Value::Array(list)) => list.iter().map(|value| one(value).ok_or_else(legal)).collect::<Result<_, _>>()?,
        _ => return Err(legal()),
    };
    if texts.len() > MOST_TEXTS { Err(wrong(Some("input"), "too many inputs")) } else { Ok(texts) }
}

fn tokens(text: &[u8]) -> u64 {
    (text.len() as u64).div_ceil(BYTES_PER_TOKEN).max(1)
}

/// A vector of length one.
fn unit(text: &[u8], size: u64) -> Vec<f32> {
    let size = usize::try_from(size).unwrap_or(0);
    let seed = Sha256::digest(text);
    let mut members: Vec<f32> = Vec::with_capacity(size);
    for counter in 0_u64.. {
        if members.len() >= size {
            break;
        }
        let block = Sha256::new().chain_update(seed).chain_update(counter.to_le_bytes()).finalize();
        let draws = block.as_chunks::<2>().0.iter().map(|pair| f32::from(i16::from_le_bytes(*pair)));
        members.extend(draws.take(size - members.len()));
    }
    let length = members.iter().map(|member| member * member).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    members.iter().map(|member| member / length).collect()
}
