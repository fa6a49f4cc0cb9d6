//! Google Gemini: which requests are legal, and the answer whole, as SSE and as one JSON array.
//!
//! Source: the official SDK's types. Bodies are proto-JSON: camelCase or snake_case, enum words in any case, bytes in
//! either base64 alphabet. Function responses must answer the calls before them, one for one.

use super::answer::{Answer, Call, Finish, Usage};
use super::ask::{Ask, ToolMode};
use super::check::{Check, Members, base64_len, name};
use super::event::Event;
use super::refusal::Refusal;
use serde_json::{Value, json};

const MEMBERS: &str = "\
    model contents systemInstruction system_instruction tools toolConfig tool_config safetySettings \
    safety_settings generationConfig generation_config cachedContent cached_content serviceTier service_tier \
    labels store continuationToken generateContentRequest";
const SETTINGS: &str = "\
    temperature topP topK candidateCount maxOutputTokens stopSequences responseMimeType responseSchema \
    responseJsonSchema responseLogprobs logprobs seed presencePenalty frequencyPenalty thinkingConfig \
    responseModalities mediaResolution speechConfig imageConfig";

pub(super) fn ask(model: &str, body: &Value, tolerant: bool) -> Check<Ask> {
    let body = Members::of(body, "")?;
    if !tolerant {
        body.only(MEMBERS)?;
    }
    let mut ask = Ask { model: model.to_owned(), choices: 1, ..Ask::default() };
    if let Some(settings) = body.either("generationConfig", "generation_config") {
        read_settings(&Members::of(settings, "generationConfig")?, tolerant, &mut ask)?;
    }
    if let Some(system) = body.either("systemInstruction", "system_instruction") {
        for part in Members::of(system, "systemInstruction")?.array("parts")? {
            ask.count(Members::of(part, "systemInstruction.parts")?.string("text")?);
        }
    }
    tools(&body, &mut ask)?;
    contents(body.array("contents")?, &mut ask)?;
    Ok(ask)
}

fn read_settings(settings: &Members<'_>, tolerant: bool, ask: &mut Ask) -> Check {
    // Only camelCase is checked member by member; no client sends these in snake_case.
    if !tolerant {
        settings.only(SETTINGS)?;
    }
    settings.number("temperature", 0.0, 2.0)?;
    settings.number("topP", 0.0, 1.0)?;
    settings.number("topK", 0.0, 1000.0)?;
    settings.number("presencePenalty", -2.0, 2.0)?;
    settings.number("frequencyPenalty", -2.0, 2.0)?;
    ask.choices = usize::try_from(settings.integer("candidateCount", 1)?.unwrap_or(1)).unwrap_or(1);
    ask.max_output = settings.integer("maxOutputTokens", 1)?;
    if settings.get("stopSequences").is_some_and(|value| !value.is_array()) {
        return Err(Refusal::invalid("generationConfig.stopSequences", "a list is expected"));
    }
    ask.stop = settings.strings("stopSequences", 5)?;
    if let Some(thinking) = settings.object("thinkingConfig")?
        && thinking.get("thinkingBudget").is_some()
        && thinking.get("thinkingLevel").is_some()
    {
        return Err(Refusal::invalid(thinking.at, "thinkingBudget and thinkingLevel cannot be set together"));
    }
    Ok(())
}

fn tools(body: &Members<'_>, ask: &mut Ask) -> Check {
    for (i, tool) in body.array("tools")?.iter().enumerate() {
        let tool = Members::of(tool, format!("tools[{i}]"))?;
        let Some(declared) = tool.either("functionDeclarations", "function_declarations") else {
            continue;
        };
        let wrong = || Refusal::invalid(tool.place("functionDeclarations"), "a list is expected");
        for declaration in declared.as_array().ok_or_else(wrong)? {
            let declaration = Members::of(declaration, tool.place("functionDeclarations"))?;
            let word = declaration.string("name")?;
            name(word, &declaration.place("name"), 128, ".:")?;
            if word.starts_with(|c: char| !(c.is_ascii_alphabetic() || c == '_')) {
                return Err(Refusal::invalid(declaration.place("name"), "must start with a letter or underscore"));
            }
            if let Some(parameters) = declaration.get("parameters") {
                openapi(parameters, &declaration.place("parameters"))?;
            }
            let schema = declaration.get("parameters");
            ask.tool(word, schema.or(declaration.either("parametersJsonSchema", "parameters_json_schema")));
        }
    }
    let Some(config) = body.either("toolConfig", "tool_config") else {
        return Ok(());
    };
    let config = Members::of(config, "toolConfig")?;
    let Some(calling) = config.either("functionCallingConfig", "function_calling_config") else {
        return Ok(());
    };
    let calling = Members::of(calling, "toolConfig.functionCallingConfig")?;
    let mode = calling.get("mode").and_then(Value::as_str).unwrap_or("AUTO").to_ascii_uppercase();
    let allowed = calling.strings("allowedFunctionNames", 128)?;
    match mode.as_str() {
        "NONE" => ask.tool_mode = ToolMode::Never,
        "AUTO" if !allowed.is_empty() => {
            return Err(Refusal::invalid(calling.at, "allowedFunctionNames may only be set with mode ANY"));
        }
        "AUTO" | "VALIDATED" => {}
        "ANY" => {
            if let Some(first) = allowed.first() {
                ask.tool_mode = ToolMode::Named(first.clone());
            }
        }
        other => {
            return Err(Refusal::invalid(calling.place("mode"), format!("invalid value '{other}'")));
        }
    }
    Ok(())
}

/// `parameters` is an OpenAPI subset: JSON Schema words outside it are refused at any depth.
fn openapi(schema: &Value, at: &str) -> Check {
    let Some(map) = schema.as_object() else {
        return Err(Refusal::invalid(at, "an object is expected"));
    };
    for refused in
        ["$schema", "$ref", "$defs", "additionalProperties", "oneOf", "allOf", "const", "not", "patternProperties"]
    {
        if map.contains_key(refused) {
            return Err(Refusal::invalid(at, format!("Unknown name \"{refused}\": Cannot find field.")));
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        openapi(property, &format!("{at}.properties.{name}"))?;
    }
    map.get("items").map_or(Ok(()), |items| openapi(items, &format!("{at}.items")))
}

fn contents(contents: &[Value], ask: &mut Ask) -> Check {
    if contents.is_empty() {
        return Err(Refusal::invalid("contents", "contents is not specified"));
    }
    let mut open: Vec<String> = Vec::new();
    for (i, content) in contents.iter().enumerate() {
        let content = Members::of(content, format!("contents[{i}]"))?;
        content.only("role parts")?;
        let role = if content.get("role").is_some() {
            content.one_of("role", &["user", "model", "function"])?
        } else {
            "user"
        };
        let parts = content.array("parts")?;
        if parts.is_empty() {
            return Err(Refusal::invalid(content.place("parts"), "must not be empty"));
        }
        let mut turn = Turn::default();
        for (j, part) in parts.iter().enumerate() {
            turn.part(&Members::of(part, content.place(&format!("parts[{j}]")))?, ask)?;
        }
        let answers: Vec<_> = turn.results.iter().map(|(name, _)| name.clone()).collect();
        if sorted(&answers) != sorted(&open) {
            let text = "the number of function response parts must equal that of the function call parts before them";
            return Err(Refusal::invalid(content.at, format!("{text}: {open:?}, {answers:?}")));
        }
        if role == "model" {
            open = turn.calls;
            ask.tool_results.clear();
        } else {
            open.clear();
            ask.text = turn.texts.join(" ");
            ask.tool_results = turn.results.into_iter().map(|(_, result)| result).collect();
        }
    }
    if open.is_empty() { Ok(()) } else { Err(Refusal::invalid("contents", "function calls without their responses")) }
}

fn sorted(names: &[String]) -> Vec<&String> {
    let mut names: Vec<_> = names.iter().collect();
    names.sort();
    names
}

#[derive(Default)]
struct Turn {
    texts: Vec<String>,
    calls: Vec<String>,
    results: Vec<(String, String)>,
}

impl Turn {
    fn part(&mut self, part: &Members<'_>, ask: &mut Ask) -> Check {
        let kinds = [
            ("text", "text"),
            ("inlineData", "inline_data"),
            ("fileData", "file_data"),
            ("functionCall", "function_call"),
            ("functionResponse", "function_response"),
        ];
        let found: Vec<_> =
            kinds.iter().filter_map(|(camel, snake)| Some((*camel, part.either(camel, snake)?))).collect();
        let [(kind, value)] = found.as_slice() else {
            return Err(Refusal::invalid(
                part.at.clone(),
                "required oneof field 'data' must have one initialized field",
            ));
        };
        let at = part.place(kind);
        match *kind {
            "text" => {
                let text = value.as_str().ok_or_else(|| Refusal::invalid(at, "a string is expected"))?;
                ask.count(text);
                self.texts.push(text.to_owned());
            }
            "inlineData" => {
                let data = Members::of(value, at)?;
                let mime = data.either("mimeType", "mime_type").and_then(Value::as_str);
                let mime = mime.ok_or_else(|| Refusal::invalid(data.place("mimeType"), "required"))?;
                ask.image(mime, base64_len(data.string("data")?, &data.place("data"), true)?);
            }
            "functionCall" => {
                let call = Members::of(value, at)?;
                call.object("args")?;
                self.calls.push(call.string("name")?.to_owned());
            }
            "functionResponse" => {
                let response = Members::of(value, at)?;
                let result = response.object("response")?;
                if result.is_none() {
                    return Err(Refusal::invalid(response.place("response"), "required"));
                }
                let text = result_text(response.need("response")?);
                ask.count(&text);
                self.results.push((response.string("name")?.to_owned(), text));
            }
            _ => {}
        }
        Ok(())
    }
}

/// By convention `{"output": …}` or `{"error": …}`, else the object itself.
fn result_text(response: &Value) -> String {
    let inner = ["output", "result", "error"].iter().find_map(|name| response.get(name)).unwrap_or(response);
    inner.as_str().map_or_else(|| inner.to_string(), String::from)
}

fn usage(usage: Usage) -> Value {
    json!({
        "promptTokenCount": usage.input, "candidatesTokenCount": usage.output,
        "totalTokenCount": usage.input + usage.output, "cachedContentTokenCount": usage.cached,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}],
    })
}

fn document(ask: &Ask, answer: &Answer, parts: &[Value], last: bool) -> Value {
    let candidate = |index: usize| {
        let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": index});
        if last {
            candidate["finishReason"] = json!(if answer.finish == Finish::Length { "MAX_TOKENS" } else { "STOP" });
        }
        candidate
    };
    let mut document = json!({"candidates": (0..ask.choices).map(candidate).collect::<Vec<_>>(),
        "modelVersion": ask.model, "responseId": format!("resp-{}", answer.id)});
    if last && let Some(usage) = answer.said(usage(answer.usage)) {
        document["usageMetadata"] = usage;
    }
    document
}

fn call(call: &Call) -> Value {
    json!({"functionCall": {"name": call.name, "args": call.arguments}})
}

pub(super) fn whole(ask: &Ask, answer: &Answer) -> Value {
    let mut parts: Vec<_> = answer.calls.iter().map(call).collect();
    if parts.is_empty() {
        parts.push(json!({"text": answer.text()}));
    }
    document(ask, answer, &parts, true)
}

pub(super) fn events(ask: &Ask, answer: &Answer) -> Vec<Event> {
    let choices = ask.choices as u64;
    let mut parts: Vec<(Value, u64)> = answer.pieces.iter().map(|piece| (json!({"text": piece}), 1)).collect();
    parts.extend(answer.calls.iter().map(|made| (call(made), made.tokens())));
    if parts.is_empty() {
        parts.push((json!({"text": ""}), 0));
    }
    let count = parts.len();
    let framed = |(i, (part, tokens)): (usize, (Value, u64))| {
        let document = document(ask, answer, &[part], i + 1 == count);
        let event = if ask.sse {
            Event::data(&document)
        } else {
            let open = if i == 0 { "[" } else { ",\r\n" };
            let close = if i + 1 == count { "]" } else { "" };
            Event::raw(format!("{open}{document}{close}"))
        };
        event.worth(tokens * choices)
    };
    parts.into_iter().enumerate().map(framed).collect()
}
