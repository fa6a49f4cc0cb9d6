//! A client's request. The model and whether a stream is wanted stand in the path.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{contents_decode, openapi::to_json_schema, tools_decode};
use crate::{
    codec::{
        Head, Malformed, effort,
        json::read::{Object, Spelling, malformed, read},
        schema,
    },
    dialect::Family,
    ir::{Modality, OutputFormat, ReasoningControl, Request, Sampling},
};

/// What a caller relies on, where another family's model would answer something else without it.
const ESSENTIAL: [&str; 4] =
    ["cachedContent", "continuationToken", "generationConfig.responseMimeType", "generationConfig.responseModalities"];

/// Reads the body.
pub fn decode(body: &[u8], head: &Head) -> Result<Request, Malformed> {
    let mut top = Object::parse(body, Spelling::Proto)?;
    let in_body: Option<String> = top.take("model")?;
    let mut request = Request {
        model: head.model.clone().or(in_body).ok_or_else(|| malformed("the model is missing in the path"))?,
        stream: head.stream,
        service_tier: top.take("serviceTier")?,
        ..Request::default()
    };
    if let Some(raw) = top.take_raw("systemInstruction") {
        let system = contents_decode::decode_system(raw, &mut request.extras);
        request.system = system.map_err(|error| error.within("systemInstruction"))?;
    }
    tools_decode::decode(&mut top, &mut request)?;
    if let Some(config) = top.object("generationConfig")? {
        generation_config(config, &mut request).map_err(|error| error.within("generationConfig"))?;
    }
    if !top.has("contents") {
        return Err(malformed("is required").within("contents"));
    }
    contents_decode::decode(top.objects("contents")?, &mut request)?;
    for (name, raw) in top.rest() {
        note(&mut request, &name, raw);
    }
    Ok(request)
}

fn note(request: &mut Request, field: &str, raw: &RawValue) {
    request.extras.note(Family::Gemini, field.to_owned(), raw, ESSENTIAL.contains(&field));
}

fn generation_config(mut config: Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    request.sampling = Sampling {
        temperature: config.take("temperature")?,
        top_p: config.take("topP")?,
        top_k: config.take("topK")?,
        seed: config.take("seed")?,
        presence_penalty: config.take("presencePenalty")?,
        frequency_penalty: config.take("frequencyPenalty")?,
        logprobs: config.take("responseLogprobs")?,
        top_logprobs: config.take("logprobs")?,
    };
    request.max_output = count(&mut config, "maxOutputTokens")?;
    request.candidates = count(&mut config, "candidateCount")?;
    let stop: Vec<String> = config.take("stopSequences")?.unwrap_or_default();
    request.stop = stop.into_iter().filter(|text| !text.is_empty()).collect();
    if let Some(mut thinking) = config.object("thinkingConfig")? {
        reasoning(&mut thinking, request).map_err(|error| error.within("thinkingConfig"))?;
        for (name, raw) in thinking.rest() {
            note(request, &format!("generationConfig.thinkingConfig.{name}"), raw);
        }
    }
    output(&mut config, request)?;
    for (name, raw) in config.rest() {
        let known = (name == "responseModalities")
            .then(|| read::<Vec<String>>(raw).ok().and_then(|names| Modality::list(&names)));
        match known.flatten() {
            Some(modalities) => request.modalities = modalities,
            None => note(request, &format!("generationConfig.{name}"), raw),
        }
    }
    Ok(())
}

/// A count, which protobuf JSON may put in quotes.
fn count<T: DeserializeOwned>(config: &mut Object<'_>, name: &str) -> Result<Option<T>, Malformed> {
    let Some(raw) = config.take_raw(name) else { return Ok(None) };
    let text = raw.get().trim_matches('"');
    serde_json::from_str(text).map(Some).map_err(|_| malformed("must be a whole number").within(name))
}

fn reasoning(thinking: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    request.reasoning = ReasoningControl {
        budget: count(thinking, "thinkingBudget")?,
        visible: thinking.take("includeThoughts")?,
        ..ReasoningControl::default()
    };
    if let Some(raw) = thinking.take_raw("thinkingLevel") {
        match effort::parse(&read::<String>(raw).map_err(|error| error.within("thinkingLevel"))?) {
            Some(effort) => request.reasoning.effort = Some(effort),
            None => note(request, "generationConfig.thinkingConfig.thinkingLevel", raw),
        }
    }
    Ok(())
}

fn output(config: &mut Object<'_>, request: &mut Request) -> Result<(), Malformed> {
    let openapi = config.take_raw("responseSchema").map(to_json_schema).transpose();
    let openapi = openapi.map_err(|error| error.within("responseSchema"))?;
    if openapi.is_some() {
        request.spelled.push(("generationConfig.responseJsonSchema", "generationConfig.responseSchema"));
    }
    let schema = config.take_raw("responseJsonSchema").map(schema::modern).or(openapi);
    let raw = config.take_raw("responseMimeType");
    let mime: Option<String> = raw.map(read).transpose().map_err(|error| error.within("responseMimeType"))?;
    match (mime.as_deref(), schema) {
        (Some("application/json") | None, Some(schema)) => {
            request.output = OutputFormat::JsonSchema { name: None, description: None, schema, strict: None };
        }
        (Some("application/json"), None) => request.output = OutputFormat::JsonObject,
        (Some("text/plain" | "") | None, _) => {}
        (Some(_), _) => {
            if let Some(raw) = raw {
                note(request, "generationConfig.responseMimeType", raw);
            }
        }
    }
    Ok(())
}
