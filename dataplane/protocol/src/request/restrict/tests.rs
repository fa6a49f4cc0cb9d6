use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    codec::Head,
    dialect::Operation,
    framing::Framing,
    host::Host,
    inbound::MatchedPath,
    limits::{
        ChatLimit,
        Feature::{self, *},
        Features, ModelLimits,
    },
    report::Mode,
    request::{Destination, LeftOut, ParsedRequest, ReasoningSetting, Unprepared},
};

const ALL: [Feature; 19] = Feature::ALL;

fn lacks(features: &[Feature]) -> ModelLimits {
    ModelLimits { is_stated: true, unsupported: features.iter().copied().collect(), ..ModelLimits::default() }
}

fn call(operation: Operation, body: &str) -> ParsedRequest {
    let in_path = operation.model_in_path();
    let matched = MatchedPath {
        operation,
        model: in_path.then(|| "m".into()),
        framing: in_path.then_some(Framing::Whole),
        query: None,
        unknown_query: false,
        path: None,
    };
    ParsedRequest::read(matched, Head::default(), Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

/// The body that is sent, and the warnings.
fn sent(
    from: Operation,
    to: Operation,
    body: &str,
    limits: ModelLimits,
    mode: Mode,
) -> Result<(String, String), Unprepared> {
    let to = Destination {
        base_model: None,
        host: Host::Vendor,
        operations: &[to],
        model: None,
        default_max_output: 4_096,
        limits,
        continued: None,
        max_body: 32 << 20,
    };
    let prepared = call(from, body).prepare(to, mode)?;
    let warnings: Vec<String> = prepared.warnings.iter().map(ToString::to_string).collect();
    Ok((String::from_utf8(prepared.body.to_vec()).unwrap(), warnings.join(" ")))
}

fn passed(operation: Operation, body: &str, limits: ModelLimits) -> (String, String) {
    sent(operation, operation, body, limits, Mode::Lenient).unwrap()
}

/// Each dialect's whole vocabulary.
fn everything(operation: Operation) -> Value {
    match operation {
        Operation::ChatCompletions => json!({
            "temperature": 0.2, "top_p": 0.9, "top_k": 4, "presence_penalty": 0.1, "frequency_penalty": 0.1, "seed": 1,
            "logit_bias": {"1": 2}, "logprobs": true, "top_logprobs": 2, "stop": "x", "reasoning_effort": "low",
            "parallel_tool_calls": false, "service_tier": "flex", "user": "u", "stream": true, "verbosity": "low",
            "metadata": {"a": "b"}, "prompt_cache_key": "k", "prompt_cache_retention": "24h", "store": true,
            "web_search_options": {}, "stream_options": {"include_usage": true}, "model": "m", "messages": [{"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "function": {"name": "f", "strict": true, "parameters": {
                "type": "object", "properties": {}, "required": [], "additionalProperties": false}}}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": {
                "type": "object", "properties": {}, "required": [], "additionalProperties": false}}},
        }),
        Operation::Responses => json!({
            "temperature": 0.2, "top_p": 0.9, "top_logprobs": 2, "include": ["a", "message.output_text.logprobs"],
            "parallel_tool_calls": false, "stream": true, "stream_options": {"include_obfuscation": false},
            "service_tier": "flex", "user": "u", "reasoning": {"effort": "low", "summary": "auto"}, "model": "m",
            "metadata": {"a": "b"}, "prompt_cache_key": "k", "prompt_cache_retention": "24h", "store": true,
            "input": "hi", "tools": [{"type": "web_search"}, {"type": "function", "name": "f", "strict": true, "parameters": {}}],
            "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "n", "strict": true, "schema": {}}},
        }),
        Operation::Messages => json!({
            "temperature": 0.2, "top_p": 0.9, "top_k": 4, "stop_sequences": ["x"], "max_tokens": 4000, "model": "m",
            "thinking": {"type": "enabled", "budget_tokens": 2000}, "service_tier": "standard_only",
            "output_config": {"effort": "low"}, "metadata": {"user_id": "u"}, "stream": true,
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
            "tools": [{"name": "f", "strict": true, "input_schema": {
                "type": "object", "properties": {}, "required": [], "additionalProperties": false}},
                {"type": "web_search_20250305", "name": "web_search"}],
            "messages": [{"role": "user", "content": "hi"}],
        }),
        _ => json!({
            "serviceTier": "flex", "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "generationConfig": {
                "temperature": 0.2, "topP": 0.9, "topK": 4, "seed": 1, "presencePenalty": 0.1, "frequencyPenalty": 0.1,
                "responseLogprobs": true, "logprobs": 2, "stopSequences": ["x"],
                "thinkingConfig": {"thinkingBudget": 1024}},
        }),
    }
}

/// What each dialect calls a feature; empty where it has none.
fn fields(operation: Operation, feature: Feature) -> &'static [&'static str] {
    match (operation, feature) {
        (Operation::GenerateContent, Temperature) => &["generationConfig.temperature"],
        (Operation::GenerateContent, TopP) => &["generationConfig.topP"],
        (Operation::GenerateContent, TopK) => &["generationConfig.topK"],
        (Operation::GenerateContent, Penalties) => {
            &["generationConfig.presencePenalty", "generationConfig.frequencyPenalty"]
        }
        (Operation::GenerateContent, Seed) => &["generationConfig.seed"],
        (Operation::GenerateContent, LogProbs) => &["generationConfig.responseLogprobs", "generationConfig.logprobs"],
        (Operation::GenerateContent, Stop) => &["generationConfig.stopSequences"],
        (Operation::GenerateContent, ReasoningEffort) => &["generationConfig.thinkingConfig"],
        (Operation::GenerateContent, ServiceTier) => &["serviceTier"],
        (Operation::GenerateContent, _) => &[],
        (_, Temperature) => &["temperature"],
        (_, TopP) => &["top_p"],
        (Operation::Responses, TopK | Penalties | Seed | LogitBias | Stop) => &[],
        (Operation::Messages, Penalties | Seed | LogitBias | LogProbs | StreamOptions) => &[],
        (Operation::Messages, Verbosity | Metadata | PromptCacheKey | Store) | (Operation::Responses, Store) => &[],
        (_, TopK) => &["top_k"],
        (_, Penalties) => &["presence_penalty", "frequency_penalty"],
        (_, Seed) => &["seed"],
        (_, LogitBias) => &["logit_bias"],
        (Operation::Responses, LogProbs) => &["top_logprobs", "include=message.output_text.logprobs"],
        (_, LogProbs) => &["logprobs", "top_logprobs"],
        (Operation::Messages, Stop) => &["stop_sequences"],
        (_, Stop) => &["stop"],
        (Operation::Responses, ReasoningEffort) => &["reasoning.effort"],
        (Operation::Messages, ReasoningEffort) => &["thinking", "output_config.effort"],
        (_, ReasoningEffort) => &["reasoning_effort"],
        (Operation::Messages, ParallelToolCalls) => &["tool_choice.disable_parallel_tool_use"],
        (_, ParallelToolCalls) => &["parallel_tool_calls"],
        (Operation::Responses, StrictSchemas) => &["tools[].strict", "text.format.strict"],
        (Operation::Messages, StrictSchemas) => &["tools[].strict"],
        (_, StrictSchemas) => &["tools[].function.strict", "response_format.json_schema.strict"],
        (_, StreamOptions) => &["stream_options"],
        (_, ServiceTier) => &["service_tier"],
        (Operation::Responses, Verbosity) => &["text.verbosity"],
        (_, Verbosity) => &["verbosity"],
        (_, Metadata) => &["metadata"],
        (_, PromptCacheKey) => &["prompt_cache_key", "prompt_cache_retention"],
        (_, Store) => &["store"],
        (Operation::ChatCompletions, WebSearch) => &["web_search_options"],
        (_, WebSearch) => &["tools[].web_search"],
        (Operation::Messages, User) => &["metadata.user_id"],
        (_, User) => &["user"],
    }
}

const DIALECTS: [Operation; 4] =
    [Operation::ChatCompletions, Operation::Responses, Operation::Messages, Operation::GenerateContent];

/// How many members of a body are called so at any depth, if their value is not `false`.
fn occurrences(value: &Value, path: &str) -> usize {
    let last = path.rsplit(['.', '=']).next().unwrap_or(path);
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, inner)| usize::from(name == last && *inner != false) + occurrences(inner, path))
            .sum(),
        Value::Array(elements) => elements.iter().map(|inner| occurrences(inner, path)).sum(),
        Value::String(text) => usize::from(path.contains('=') && path.ends_with(text.as_str())),
        _ => 0,
    }
}

#[test]
fn every_feature_leaves_every_dialect_with_a_word() {
    for operation in DIALECTS {
        let whole = everything(operation);
        for feature in ALL {
            let (body, warnings) = passed(operation, &whole.to_string(), lacks(&[feature]));
            let left: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
            let told = warnings.matches("field=").count();
            let fields = fields(operation, feature);
            assert_eq!(told, fields.len(), "{operation} {feature:?}: {warnings}");
            for field in fields {
                assert!(warnings.contains(&format!("field={field}")), "{operation} {feature:?}: {warnings}");
            }
            if fields.is_empty() {
                assert_eq!(left, whole, "{operation} {feature:?}");
            }
            for field in fields {
                assert_eq!(occurrences(&left, field), 0, "{operation} {feature:?}: {body}");
            }
            assert!(feature != WebSearch || !body.contains("web_search"), "{operation}: {body}");
        }
        let (body, _) = passed(operation, &whole.to_string(), lacks(&ALL));
        serde_json::from_str::<Value>(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    }
}

#[test]
fn no_translation_brings_a_feature_back() {
    let names = [
        "temperature",
        "top_p",
        "topP",
        "top_k",
        "topK",
        "presence_penalty",
        "presencePenalty",
        "frequency_penalty",
        "frequencyPenalty",
        "seed",
        "logit_bias",
        "logprobs",
        "responseLogprobs",
        "stop",
        "stop_sequences",
        "stopSequences",
        "reasoning_effort",
        "thinking",
        "effort",
        "thinkingConfig",
        "parallel_tool_calls",
        "disable_parallel_tool_use",
        "strict",
        "stream_options",
        "service_tier",
        "serviceTier",
        "user",
        "user_id",
        "verbosity",
        "prompt_cache_key",
        "prompt_cache_retention",
        "store",
        "web_search_options",
    ];
    let operations = [Operation::ChatCompletions, Operation::Messages, Operation::GenerateContent];
    for from in operations {
        for to in operations.into_iter().filter(|to| *to != from) {
            let (body, warnings) = sent(from, to, &everything(from).to_string(), lacks(&ALL), Mode::Lenient).unwrap();
            let left: Value = serde_json::from_str(&body).unwrap();
            for name in names {
                assert_eq!(occurrences(&left, name), 0, "{from} to {to}: {name} in {body}");
            }
            for feature in ALL {
                for field in fields(from, feature) {
                    assert!(warnings.contains(&format!("field={field}")), "{from} to {to}: {field}: {warnings}");
                }
            }
        }
    }
}

#[test]
fn every_other_byte_stays() {
    let rows = [
        (r#"{ "temperature" : 0.5 , "model":"m" , "x":1.0 }"#, r#"{ "model":"m" , "x":1.0 }"#),
        (r#"{"model":"m", "x":1e3 , "temperature":0.5 }"#, r#"{"model":"m", "x":1e3 }"#),
        (r#"{"temperature":0.5,"top_p":0.1,"model":"m"}"#, r#"{"model":"m"}"#),
        (r#"{"model":"m","temperature":0.5,"x":0,"top_p":0.1}"#, r#"{"model":"m","x":0}"#),
        (r#"{"temperature":0.5,"model":"m","temperature":0.7}"#, r#"{"model":"m"}"#),
        (r#"{"temperat\u0075re":0.5,"model":"m"}"#, r#"{"model":"m"}"#),
        (r#"{"model":"m","metadata":{"temperature":0.5}}"#, r#"{"model":"m","metadata":{"temperature":0.5}}"#),
    ];
    for (body, expected) in rows {
        let (sent, warnings) = passed(Operation::ChatCompletions, body, lacks(&[Temperature, TopP]));
        assert_eq!(sent, expected);
        assert_eq!(warnings.is_empty(), body.contains("metadata"), "{body}: {warnings}");
    }
    let (sent, _) =
        passed(Operation::Responses, r#"{"include":["message.output_text.logprobs"],"model":"m"}"#, lacks(&[LogProbs]));
    assert_eq!(sent, r#"{"include":[],"model":"m"}"#);
}

#[test]
fn neutral_values_go_without_a_word_even_in_strict_mode() {
    let chat = r#"{"model":"m","temperature":1.0,"top_p":1,"presence_penalty":0,"frequency_penalty":0.0,"logit_bias":{},"stop":[],"logprobs":false,"parallel_tool_calls":true,"user":"","service_tier":"auto","seed":null,"reasoning_effort":null}"#;
    let (body, warnings) =
        sent(Operation::ChatCompletions, Operation::ChatCompletions, chat, lacks(&ALL), Mode::Strict).unwrap();
    assert_eq!((body.as_str(), warnings.as_str()), (r#"{"model":"m"}"#, ""));
    let messages = r#"{"model":"m","max_tokens":5,"thinking":{"type":"disabled"},"stop_sequences":[],"metadata":{}}"#;
    let (body, _) = sent(Operation::Messages, Operation::Messages, messages, lacks(&ALL), Mode::Strict).unwrap();
    assert_eq!(body, r#"{"model":"m","max_tokens":5,"metadata":{}}"#);
}

#[test]
fn strict_mode_refuses_and_default_mode_refuses_what_the_answer_would_lack() {
    let refusal =
        |body: &str, mode| match sent(Operation::ChatCompletions, Operation::Messages, body, lacks(&ALL), mode) {
            Err(Unprepared::Refused(refusal)) => refusal.field.into_owned(),
            other => panic!("{other:?}"),
        };
    let body = |more: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"q"}}],{more}}}"#);
    assert_eq!(refusal(&body(r#""temperature":0.5"#), Mode::Strict), "temperature");
    assert_eq!(refusal(&body(r#""logprobs":true"#), Mode::Default), "logprobs");
}

#[test]
fn larger_limits_become_what_the_model_takes() {
    let most = |most| ModelLimits { stated_max_output: Some(most), ..ModelLimits::default() };
    let rows = [
        (
            Operation::ChatCompletions,
            r#"{"model":"m","max_tokens":900}"#,
            r#"{"model":"m","max_tokens":100}"#,
            "max_completion_tokens",
        ),
        (
            Operation::ChatCompletions,
            r#"{"model":"m","max_completion_tokens":"900"}"#,
            r#"{"model":"m","max_completion_tokens":100}"#,
            "max_completion_tokens",
        ),
        (Operation::ChatCompletions, r#"{"model":"m","max_tokens":100}"#, r#"{"model":"m","max_tokens":100}"#, ""),
        (Operation::ChatCompletions, r#"{"model":"m"}"#, r#"{"model":"m"}"#, ""),
        (
            Operation::ChatCompletions,
            r#"{"model":"m","max_tokens":"many"}"#,
            r#"{"model":"m","max_tokens":"many"}"#,
            "",
        ),
        (
            Operation::Responses,
            r#"{"model":"m","max_output_tokens":101}"#,
            r#"{"model":"m","max_output_tokens":100}"#,
            "max_output_tokens",
        ),
        (Operation::Messages, r#"{"model":"m","max_tokens":101}"#, r#"{"model":"m","max_tokens":100}"#, "max_tokens"),
        (
            Operation::GenerateContent,
            r#"{"generation_config":{"max_output_tokens":101}}"#,
            r#"{"generation_config":{"max_output_tokens":100}}"#,
            "generationConfig.maxOutputTokens",
        ),
    ];
    for (operation, body, expected, field) in rows {
        let (sent, warnings) = passed(operation, body, most(100));
        assert_eq!(sent, expected);
        assert_eq!(warnings.is_empty(), field.is_empty(), "{warnings}");
        assert!(warnings.contains(field) && (field.is_empty() || warnings.ends_with(";to=100")), "{warnings}");
    }
}

#[test]
fn a_routes_limit_holds_for_whoever_names_none() {
    let most = |most| ModelLimits { route_max_output: Some(most), ..ModelLimits::default() };
    let rows = [
        (Operation::ChatCompletions, r#"{"model":"m"}"#, r#"{"max_tokens":100,"model":"m"}"#),
        (Operation::ChatCompletions, r#"{"model":"gpt-5"}"#, r#"{"max_completion_tokens":100,"model":"gpt-5"}"#),
        (Operation::ChatCompletions, r#"{"model":"m","max_tokens":null}"#, r#"{"model":"m","max_tokens":100}"#),
        (Operation::ChatCompletions, r#"{"model":"m","max_tokens":7}"#, r#"{"model":"m","max_tokens":7}"#),
        (Operation::Responses, r#"{"model":"m"}"#, r#"{"max_output_tokens":100,"model":"m"}"#),
        (
            Operation::GenerateContent,
            r#"{"contents":[]}"#,
            r#"{"generationConfig":{"maxOutputTokens":100},"contents":[]}"#,
        ),
        (Operation::GenerateContent, r#"{"generationConfig":null}"#, r#"{"generationConfig":{"maxOutputTokens":100}}"#),
        (Operation::GenerateContent, r#"{"generationConfig":{}}"#, r#"{"generationConfig":{"maxOutputTokens":100}}"#),
        (
            Operation::GenerateContent,
            r#"{"generationConfig":{"topK":1}}"#,
            r#"{"generationConfig":{"maxOutputTokens":100}}"#,
        ),
        (Operation::GenerateContent, r#"{"serviceTier":"flex"}"#, r#"{"generationConfig":{"maxOutputTokens":100}}"#),
        (Operation::GenerateContent, r#"{"generationConfig":7}"#, r#"{"generationConfig":7}"#),
        (Operation::Embeddings, r#"{"model":"m"}"#, r#"{"model":"m"}"#),
        (Operation::CountTokens, r#"{"contents":[]}"#, r#"{"contents":[]}"#),
        (Operation::MessagesCountTokens, r#"{"model":"m"}"#, r#"{"model":"m"}"#),
    ];
    for (operation, body, expected) in rows {
        let limits = ModelLimits { unsupported: [TopK, ServiceTier].into_iter().collect(), ..most(100) };
        assert_eq!(passed(operation, body, limits).0, expected, "{operation}");
    }
    let streamed = r#"{"temperature":0.5,"model":"m","stream":true}"#;
    let limits = ModelLimits { unsupported: [Temperature].into_iter().collect(), ..most(100) };
    let (body, _) = passed(Operation::ChatCompletions, streamed, limits);
    let sent: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        sent,
        json!({"max_tokens": 100, "stream_options": {"include_usage": true}, "model": "m", "stream": true})
    );
}

#[test]
fn a_thinking_budget_fits_into_a_smaller_limit() {
    let most = |most| ModelLimits { route_max_output: Some(most), ..ModelLimits::default() };
    let body = r#"{"model":"m","max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":8000}}"#;
    let (sent, warnings) = passed(Operation::Messages, body, most(4_000));
    assert_eq!(sent, r#"{"model":"m","max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":3000}}"#);
    assert!(warnings.contains("field=thinking.budget_tokens;from=8000;to=3000"), "{warnings}");
    let (sent, warnings) = passed(Operation::Messages, body, most(1_000));
    assert_eq!(sent, r#"{"model":"m","max_tokens":1000,"thinking":{"type":"disabled"}}"#);
    assert!(warnings.contains("dropped;field=thinking"), "{warnings}");
}

#[test]
fn translated_requests_ask_for_what_the_owner_says() {
    let body = r#"{"model":"gpt-4o","max_tokens":32000,"messages":[{"role":"user","content":"q"}],"temperature":0.2}"#;
    let run = |body: &str, limits| {
        let (body, warnings) =
            sent(Operation::Messages, Operation::ChatCompletions, body, limits, Mode::Default).unwrap();
        (serde_json::from_str::<Value>(&body).unwrap(), warnings)
    };
    let (sent, warnings) = run(body, ModelLimits::default());
    assert_eq!(sent["max_tokens"], 16_384, "the table's");
    assert_eq!(warnings, "adapted;field=max_tokens;from=32000;to=16384");
    let (sent, warnings) = run(body, ModelLimits { stated_max_output: Some(64_000), ..ModelLimits::default() });
    assert_eq!((sent["max_tokens"].as_u64(), warnings.as_str()), (Some(32_000), ""), "the owner knows better");
    let both = ModelLimits { stated_max_output: Some(64_000), route_max_output: Some(500), ..ModelLimits::default() };
    let (sent, warnings) = run(body, both);
    assert_eq!(
        (sent["max_tokens"].as_u64(), warnings.as_str()),
        (Some(500), "adapted;field=max_tokens;from=32000;to=500")
    );
    let unknown = body.replace("gpt-4o", "qwen3");
    assert_eq!(run(&unknown, ModelLimits::default()).0["max_tokens"], 32_000, "never clamped by what is not known");

    let reasoner = body.replace("gpt-4o", "gpt-5-mini");
    assert_eq!(run(&reasoner, ModelLimits::default()).0.get("temperature"), None);
    let (sent, warnings) = run(&reasoner, lacks(&[]));
    assert_eq!(
        (sent["temperature"].as_f64(), warnings.as_str()),
        (Some(0.2), ""),
        "an empty list: it takes everything"
    );
    let route = ModelLimits { unsupported: [Temperature].into_iter().collect(), ..ModelLimits::default() };
    assert_eq!(run(body, route).1, "dropped;field=temperature adapted;field=max_tokens;from=32000;to=16384");
}

#[test]
fn chat_clients_without_a_limit_get_the_owners_from_anthropic() {
    let body = r#"{"model":"own-claude","messages":[{"role":"user","content":"q"}]}"#;
    let run = |limits| {
        let (body, warnings) =
            sent(Operation::ChatCompletions, Operation::Messages, body, limits, Mode::Strict).unwrap();
        assert_eq!(warnings, "");
        serde_json::from_str::<Value>(&body).unwrap()["max_tokens"].as_u64().unwrap()
    };
    assert_eq!(run(ModelLimits::default()), 4_096);
    assert_eq!(run(ModelLimits { stated_max_output: Some(50_000), ..ModelLimits::default() }), 50_000);
    assert_eq!(run(ModelLimits { route_max_output: Some(300), ..ModelLimits::default() }), 300);
}

#[test]
fn hostile_bodies_cost_a_bounded_number_of_edits() {
    let members = r#""user_id":1,"x":1,"#.repeat(120_000);
    let body = format!(r#"{{"model":"m","max_tokens":5,"metadata":{{{members}"y":1}}}}"#);
    match sent(Operation::Messages, Operation::Messages, &body, lacks(&[User]), Mode::Lenient) {
        Err(Unprepared::Refused(refusal)) => assert_eq!(refusal.field, "request"),
        other => panic!("{:?}", other.map(|(body, warnings)| (body.len(), warnings))),
    }
}

#[test]
fn a_refused_name_of_the_output_limit_becomes_the_other() {
    let taken = |name| ModelLimits { chat_limit: Some(name), ..ModelLimits::default() };
    let rows = [
        (
            ChatLimit::MaxCompletionTokens,
            r#"{"model":"m" , "max_tokens" : 9 }"#,
            r#"{"model":"m" , "max_completion_tokens" : 9 }"#,
            "adapted;field=max_tokens;from=max_tokens;to=max_completion_tokens",
        ),
        (
            ChatLimit::MaxTokens,
            r#"{"max_completion_tokens":9,"model":"m"}"#,
            r#"{"max_tokens":9,"model":"m"}"#,
            "adapted;field=max_completion_tokens;from=max_completion_tokens;to=max_tokens",
        ),
        (
            ChatLimit::MaxTokens,
            r#"{"max_tokens":7,"max_completion_tokens":9,"model":"m"}"#,
            r#"{"max_tokens":7,"model":"m"}"#,
            "dropped;field=max_completion_tokens",
        ),
        (ChatLimit::MaxTokens, r#"{"max_tokens":7,"model":"m"}"#, r#"{"max_tokens":7,"model":"m"}"#, ""),
    ];
    for (name, body, expected, told) in rows {
        assert_eq!(passed(Operation::ChatCompletions, body, taken(name)), (expected.to_owned(), told.to_owned()));
    }
    let both = ModelLimits { stated_max_output: Some(5), ..taken(ChatLimit::MaxCompletionTokens) };
    let (body, warnings) = passed(Operation::ChatCompletions, r#"{"model":"m","max_tokens":9}"#, both);
    assert_eq!(body, r#"{"model":"m","max_completion_tokens":5}"#);
    assert_eq!(warnings.matches("adapted").count(), 2, "{warnings}");
    let route = ModelLimits { route_max_output: Some(5), ..taken(ChatLimit::MaxCompletionTokens) };
    assert_eq!(
        passed(Operation::ChatCompletions, r#"{"model":"m"}"#, route).0,
        r#"{"max_completion_tokens":5,"model":"m"}"#
    );
    let messages = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"q"}]}"#;
    let limits = taken(ChatLimit::MaxCompletionTokens);
    let (body, warnings) =
        sent(Operation::Messages, Operation::ChatCompletions, messages, limits, Mode::Strict).unwrap();
    assert!(body.contains(r#""max_completion_tokens":9"#) && warnings.is_empty(), "{body}: {warnings}");
    assert_eq!(passed(Operation::Messages, messages, limits).0, messages, "its name there is its only one");
}

#[test]
fn what_a_body_holds_is_seen_in_every_dialect() {
    for operation in DIALECTS {
        let whole = everything(operation);
        let request = call(operation, &whole.to_string());
        for feature in ALL {
            let held = request.held(Features::NONE.with(feature)).features;
            assert_eq!(held.is_empty(), fields(operation, feature).is_empty(), "{operation} {feature:?}");
            assert!(
                call(operation, r#"{"model":"m","max_tokens":1}"#)
                    .held(Features::NONE.with(feature))
                    .features
                    .is_empty()
            );
        }
    }
    let plain = |body: &str| call(Operation::ChatCompletions, body).held(Features::HINTS);
    assert!(plain(r#"{"model":"m","temperature":0.5,"stop":["END"],"user":"u-1"}"#).plain);
    let held = plain(r#"{"model":"m","temperature":0.5,"user":"a sentence of mine"}"#);
    assert_eq!((held.plain, held.features), (false, [Temperature, User].into_iter().collect()));
    assert!(plain(r#"{"model":"m","messages":[{"role":"user","content":"a sentence"}]}"#).plain);
}

#[test]
fn reasoning_is_asked_for_turned_off_or_left_alone() {
    let rows = [
        (Operation::ChatCompletions, r#"{"model":"m"}"#, ReasoningSetting::Default),
        (Operation::ChatCompletions, r#"{"model":"m","reasoning_effort":"none"}"#, ReasoningSetting::Off),
        (Operation::ChatCompletions, r#"{"model":"m","reasoning_effort":"low"}"#, ReasoningSetting::On),
        (Operation::Responses, r#"{"model":"m","reasoning":{"summary":"auto"}}"#, ReasoningSetting::Default),
        (Operation::Responses, r#"{"model":"m","reasoning":{"effort":"high"}}"#, ReasoningSetting::On),
        (Operation::Messages, r#"{"model":"m","max_tokens":1,"thinking":{"type":"disabled"}}"#, ReasoningSetting::Off),
        (
            Operation::GenerateContent,
            r#"{"generationConfig":{"thinkingConfig":{"thinkingBudget":0}}}"#,
            ReasoningSetting::Off,
        ),
    ];
    for (operation, body, expected) in rows {
        let request = call(operation, body);
        assert_eq!(request.reasoning_setting(request.needs()), expected, "{operation} {body}");
    }
}

#[test]
fn what_is_left_out_of_a_request_is_told() {
    let left_out = LeftOut {
        hints: [Temperature, Store].into_iter().collect(),
        chat_limit: Some(ChatLimit::MaxTokens),
        ..LeftOut::default()
    };
    let to = Destination {
        base_model: None,
        host: Host::Vendor,
        operations: &[Operation::ChatCompletions],
        model: None,
        default_max_output: 4_096,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    };
    let body = r#"{"model":"m","temperature":0.5,"store":true,"max_tokens":9}"#;
    let prepared = call(Operation::ChatCompletions, body).prepare_without(to, Mode::Default, left_out).unwrap();
    assert_eq!(prepared.body, r#"{"model":"m","max_completion_tokens":9}"#);
    assert_eq!((prepared.warnings.len(), prepared.left_out), (3, left_out));
}
