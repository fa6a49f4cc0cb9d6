//! The smaller endpoints: embeddings, token counting, model lists.

use super::answer::Usage;
use super::check::{Check, Members};
use super::refusal::Refusal;
use super::script::{Script, UsageScript};
use base64::Engine as _;
use serde_json::{Value, json};

/// The models that every list names.
pub(super) const MODELS: [&str; 2] = ["scripted-large", "scripted-small"];
const DIMENSIONS: u64 = 8;
/// Most inputs of one request, by the vendors' own limits.
const MOST_OF_OPENAI: usize = 2_048;
const MOST_OF_GEMINI: usize = 100;

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// A vector that depends on the text alone; each number is exact in 32 bits.
fn vector(text: &str, dimensions: u64) -> Vec<f32> {
    let seed = text.bytes().fold(7_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let number = |i: u64| f32::from(u8::try_from((u64::from(seed) + i * 37) % 256).unwrap_or_default()) / 256.0;
    (0..dimensions).map(number).collect()
}

/// OpenAI `/v1/embeddings`: the answer and what it cost.
pub(super) fn openai_embeddings(body: &Value, script: &Script) -> Check<(String, Value, Usage)> {
    let body = Members::of(body, "")?;
    if !script.tolerate_unknown {
        body.only("model input dimensions encoding_format user")?;
    }
    let model = body.string("model")?.to_owned();
    let dimensions = body.integer("dimensions", 1)?.unwrap_or(DIMENSIONS);
    let base64 = match body.get("encoding_format") {
        Some(_) => body.one_of("encoding_format", &["float", "base64"])? == "base64",
        None => false,
    };
    let input = body.need("input")?;
    let inputs: Vec<&Value> = match input {
        Value::Array(items) if items.iter().all(Value::is_number) => vec![input],
        Value::Array(items) => items.iter().collect(),
        _ => vec![input],
    };
    if inputs.is_empty() {
        return Err(Refusal::invalid("input", "must not be empty"));
    }
    if inputs.len() > MOST_OF_OPENAI {
        return Err(Refusal::invalid("input", format!("at most {MOST_OF_OPENAI} inputs are taken at once")));
    }
    let (mut data, mut tokens) = (Vec::new(), 0);
    for (index, input) in inputs.into_iter().enumerate() {
        tokens += match input {
            Value::String(text) if !text.is_empty() => words(text),
            Value::Array(ids) if ids.iter().all(Value::is_u64) => ids.len() as u64,
            _ => return Err(Refusal::invalid("input", "strings or arrays of tokens are expected")),
        };
        let text = input.as_str().map_or_else(|| input.to_string(), String::from);
        let vector = vector(&text, dimensions);
        let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        let packed = || json!(base64::engine::general_purpose::STANDARD.encode(&bytes));
        let embedding = if base64 { packed() } else { json!(vector) };
        data.push(json!({"object": "embedding", "index": index, "embedding": embedding}));
    }
    let mut document = json!({"object": "list", "model": model, "data": data});
    let truth = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    match &script.usage {
        UsageScript::Exact => document["usage"] = truth,
        UsageScript::Absent => {}
        UsageScript::Odd(value) => document["usage"] = value.clone(),
    }
    Ok((model, document, Usage { input: tokens, ..Usage::default() }))
}

/// Gemini `:embedContent` (one) and `:batchEmbedContents` (several).
pub(super) fn gemini_embeddings(body: &Value, batch: bool, script: &Script) -> Check<(Value, Usage)> {
    let body = Members::of(body, "")?;
    let answer = |mut document: Value, tokens: u64| {
        match &script.usage {
            UsageScript::Exact => {
                document["usageMetadata"] = json!({"promptTokenCount": tokens, "totalTokenCount": tokens});
            }
            UsageScript::Absent => {}
            UsageScript::Odd(value) => document["usageMetadata"] = value.clone(),
        }
        Ok((document, Usage { input: tokens, ..Usage::default() }))
    };
    if !batch {
        let (embedding, tokens) = gemini_embedding(&body)?;
        return answer(json!({"embedding": embedding}), tokens);
    }
    let (mut embeddings, mut tokens) = (Vec::new(), 0);
    let requests = body.array("requests")?;
    if requests.len() > MOST_OF_GEMINI {
        let message = format!("at most {MOST_OF_GEMINI} requests can be in one batch");
        return Err(Refusal::invalid("BatchEmbedContentsRequest.requests", message));
    }
    for (i, request) in requests.iter().enumerate() {
        let request = Members::of(request, format!("requests[{i}]"))?;
        if !request.string("model")?.starts_with("models/") {
            return Err(Refusal::invalid(request.place("model"), "unexpected model name format"));
        }
        let (embedding, cost) = gemini_embedding(&request)?;
        embeddings.push(embedding);
        tokens += cost;
    }
    if embeddings.is_empty() {
        return Err(Refusal::invalid("requests", "at least one is expected"));
    }
    answer(json!({"embeddings": embeddings}), tokens)
}

fn gemini_embedding(request: &Members<'_>) -> Check<(Value, u64)> {
    request.only(
        "model content taskType title outputDimensionality task_type output_dimensionality config embedContentConfig",
    )?;
    let content = request.object("content")?.ok_or_else(|| Refusal::invalid(request.place("content"), "required"))?;
    let mut text = String::new();
    for part in content.array("parts")? {
        text += Members::of(part, content.place("parts"))?.string("text")?;
    }
    let dimensions = request.integer("outputDimensionality", 1)?.unwrap_or(DIMENSIONS);
    Ok((json!({"values": vector(&text, dimensions)}), words(&text)))
}

/// `GET /v1/models[/{id}]` in OpenAI's shape.
pub(super) fn openai_models(id: Option<&str>) -> Check<Value> {
    let model = |id: &str| json!({"id": id, "object": "model", "created": super::CREATED, "owned_by": "scripted"});
    match id {
        None => Ok(json!({"object": "list", "data": MODELS.map(model)})),
        Some(id) => known(id).map(|()| model(id)),
    }
}

/// `GET /v1/models[/{id}]` in Anthropic's shape.
pub(super) fn anthropic_models(id: Option<&str>) -> Check<Value> {
    let model = |id: &str| {
        json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z",
            "max_input_tokens": 200_000, "max_tokens": 64_000})
    };
    match id {
        None => {
            let (first, last) = (MODELS[0], MODELS[MODELS.len() - 1]);
            Ok(json!({"data": MODELS.map(model), "has_more": false, "first_id": first, "last_id": last}))
        }
        Some(id) => known(id).map(|()| model(id)),
    }
}

/// `GET /v1beta/models[/{id}]`.
pub(super) fn gemini_models(id: Option<&str>) -> Check<Value> {
    let model = |id: &str| {
        json!({"name": format!("models/{id}"), "displayName": id, "version": "1", "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536, "supportedGenerationMethods": ["generateContent", "countTokens"]})
    };
    match id {
        None => Ok(json!({"models": MODELS.map(model)})),
        Some(id) => known(id).map(|()| model(id)),
    }
}

fn known(id: &str) -> Check {
    if MODELS.contains(&id) {
        return Ok(());
    }
    Err(Refusal::of(404, format!("The model '{id}' does not exist")))
}
