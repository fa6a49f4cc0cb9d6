use super::{Unsupported, read};
use crate::limits::{
    ChatLimit,
    Feature::{self, *},
    Features,
};

fn set(features: &[Feature]) -> Features {
    features.iter().copied().collect()
}

/// What vendors were seen to answer: the hints that it refuses, whether they are refused whatever their value, and
/// whether that stands in members of their own.
const ANSWERS: &[(&str, &[Feature], bool, bool)] = &[
    // OpenAI
    (
        r#"{"error":{"message":"Unsupported parameter: 'temperature' is not supported with this model.","type":"invalid_request_error","param":"temperature","code":"unsupported_parameter"}}"#,
        &[Temperature],
        true,
        true,
    ),
    (
        r#"{"error":{"message":"Unsupported parameter: 'temperature' is not supported with this model.","type":"invalid_request_error","param":"temperature","code":null}}"#,
        &[Temperature],
        true,
        false,
    ),
    (
        r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.","type":"invalid_request_error","param":"temperature","code":"unsupported_value"}}"#,
        &[Temperature],
        true,
        false,
    ),
    (
        r#"{"error":{"message":"Unsupported value: 'none' is not supported with the 'gpt-5.1-codex' model. Supported values are: 'low', 'medium', and 'high'.","type":"invalid_request_error","param":"reasoning.effort","code":"unsupported_value"}}"#,
        &[ReasoningEffort],
        false,
        false,
    ),
    (
        r#"{"error":{"message":"Unrecognized request argument supplied: reasoning_effort","type":"invalid_request_error","param":null,"code":null}}"#,
        &[ReasoningEffort],
        true,
        false,
    ),
    // Azure
    (
        r#"{"error":{"message":"Unknown parameter: 'reasoning_effort'.","type":"invalid_request_error","param":"reasoning_effort","code":"unknown_parameter"}}"#,
        &[ReasoningEffort],
        true,
        true,
    ),
    // Moonshot
    (
        r#"{"error":{"message":"Unsupported value: 'reasoning_effort' does not support 'none' with this model. Supported values are: 'minimal', 'low', 'medium', and 'high'.","type":"invalid_request_error"}}"#,
        &[ReasoningEffort],
        false,
        false,
    ),
    // xAI
    (
        r#"{"code":"Client specified an invalid argument","error":"Argument not supported on this model: presencePenalty"}"#,
        &[Penalties],
        true,
        false,
    ),
    (
        r#"{"code":"invalid-argument","error":"Model grok-4.20-0309-reasoning does not support parameter reasoningEffort."}"#,
        &[ReasoningEffort],
        true,
        false,
    ),
    // Groq
    (
        r#"{"error":{"message":"property 'store' is unsupported, did you mean 'stop'?","type":"invalid_request_error"}}"#,
        &[Store],
        true,
        false,
    ),
    (
        r#"{"error":{"message":"`reasoning_effort` is not supported with this model","type":"invalid_request_error"}}"#,
        &[ReasoningEffort],
        true,
        false,
    ),
    // Mistral
    (
        r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","metadata"],"msg":"Extra inputs are not permitted","input":{"tags":["temperature"]}}]},"type":"invalid_request_error","param":null,"code":null}"#,
        &[Metadata],
        true,
        true,
    ),
    (
        r#"{"object":"Error","detail":[{"type":"extra_forbidden","loc":["body","logit_bias"],"msg":"Extra inputs are not permitted","input":{}}],"message":[{"type":"extra_forbidden","loc":["body","logit_bias"],"msg":"Extra inputs are not permitted","input":{}}],"type":"invalid_request_error","code":3001}"#,
        &[LogitBias],
        true,
        true,
    ),
    (
        r#"{"object":"error","message":"{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":[\"body\",\"frequency_penalty\"],\"msg\":\"Extra inputs are not permitted\",\"input\":0.0,\"url\":\"https://errors.pydantic.dev/2.5/v/extra_forbidden\"}]}","type":"internal_error_proxy","param":null,"code":"1000"}"#,
        &[Penalties],
        true,
        true,
    ),
    // Fireworks
    (
        r#"{"error":{"object":"error","type":"invalid_request_error","message":"Extra inputs are not permitted, field: 'parallel_tool_calls', value: True"}}"#,
        &[ParallelToolCalls],
        true,
        false,
    ),
    // vLLM
    (
        r#"{"object":"error","message":"[{'type': 'extra_forbidden', 'loc': ('body', 'service_tier'), 'msg': 'Extra inputs are not permitted', 'input': 'flex'}]","type":"BadRequestError","param":null,"code":400}"#,
        &[ServiceTier],
        true,
        false,
    ),
    // Anthropic
    (
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"`temperature` is deprecated for this model."},"request_id":"req_011"}"#,
        &[Temperature],
        true,
        false,
    ),
    (
        r#"{"error":{"code":"invalid_request_error","message":"temperature is deprecated for this model.","type":"invalid_request_error","param":null}}"#,
        &[Temperature],
        true,
        false,
    ),
    (
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"service_tier: Extra inputs are not permitted"}}"#,
        &[ServiceTier],
        true,
        false,
    ),
    (
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"This model does not support the effort parameter."}}"#,
        &[ReasoningEffort],
        false,
        false,
    ),
    (
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"`temperature` and `top_p` cannot both be specified for this model. Please use only one."}}"#,
        &[TopP],
        false,
        false,
    ),
    // Bedrock
    (
        r#"{"message":"The model returned the following errors: top_k: Extra inputs are not permitted"}"#,
        &[TopK],
        true,
        false,
    ),
    // Gemini
    (
        r#"{"error":{"code":400,"message":"Penalty is not enabled for models/gemini-2.5-flash-preview-05-20","status":"INVALID_ARGUMENT"}}"#,
        &[Penalties],
        true,
        false,
    ),
    (
        r#"{"error":{"code":400,"message":"Thinking level is not supported for this model.","status":"INVALID_ARGUMENT"}}"#,
        &[ReasoningEffort],
        false,
        false,
    ),
    (
        r#"[{"error":{"code":400,"message":"Invalid JSON payload received. Unknown name \"metadata\": Cannot find field.\nInvalid JSON payload received. Unknown name \"store\": Cannot find field.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"description":"Invalid JSON payload received. Unknown name \"metadata\": Cannot find field."},{"description":"Invalid JSON payload received. Unknown name \"store\": Cannot find field."}]}]}}]"#,
        &[Metadata, Store],
        true,
        false,
    ),
    // Vertex
    (
        r#"[{"error":{"code":400,"message":"Unable to submit request because thinking_level is not supported by this model.. Learn more: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/gemini","status":"INVALID_ARGUMENT"}}]"#,
        &[ReasoningEffort],
        false,
        false,
    ),
];

#[test]
fn refused_hints_are_known_in_the_vendors_own_words() {
    for (body, hints, lasting, coded) in ANSWERS {
        let found = read(400, None, body.as_bytes());
        let expected = Unsupported {
            hints: set(hints),
            lasting: if *lasting { set(hints) } else { Features::default() },
            coded: *coded,
            ..Unsupported::default()
        };
        assert_eq!(found, expected, "{body}");
        assert_eq!(read(422, None, body.as_bytes()), expected, "{body}");
        assert_eq!(read(429, None, body.as_bytes()), Unsupported::default(), "{body}");
        for cut in 0..body.len() {
            let _ = read(400, None, &body.as_bytes()[..cut]);
        }
    }
}

#[test]
fn a_refused_name_of_the_output_limit_is_known() {
    let rows = [
        (
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
            ChatLimit::MaxTokens,
        ),
        (
            r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","max_completion_tokens"],"msg":"Extra inputs are not permitted","input":32000}]},"type":"invalid_request_error","param":null,"code":null}"#,
            ChatLimit::MaxCompletionTokens,
        ),
        (
            r#"{"error":{"message":"Unrecognized request argument supplied: max_completion_tokens","type":"invalid_request_error","param":null,"code":null}}"#,
            ChatLimit::MaxCompletionTokens,
        ),
    ];
    for (body, name) in rows {
        assert_eq!(read(400, None, body.as_bytes()).chat_limit, Some(name), "{body}");
    }
    // Both at once, as Mistral lists them.
    let both = r#"{"detail":[{"type":"extra_forbidden","loc":["body","store"],"msg":"Extra inputs are not permitted","input":false},{"type":"extra_forbidden","loc":["body","max_completion_tokens"],"msg":"Extra inputs are not permitted","input":8192}]}"#;
    let found = read(422, None, both.as_bytes());
    assert_eq!(
        (found.hints, found.chat_limit, found.coded),
        (set(&[Store]), Some(ChatLimit::MaxCompletionTokens), true)
    );
}

#[test]
fn other_errors_name_nothing_that_can_be_left_out() {
    for body in [
        // Wrong values are the client's own affair.
        r#"{"error":{"message":"Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 99 instead.","type":"invalid_request_error","param":"temperature","code":"decimal_above_max_value"}}"#,
        r#"{"error":{"message":"Invalid value: 'banana'. Supported values are: 'low', 'medium', and 'high'.","type":"invalid_request_error","param":"reasoning_effort","code":"invalid_value"}}"#,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"temperature: range: 0..1"}}"#,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"`temperature` may only be set to 1 when thinking is enabled or in adaptive mode."}}"#,
        // What changes the answer is not left out.
        r#"{"error":{"message":"Unsupported parameter: 'tools' is not supported with this model.","type":"invalid_request_error","param":"tools","code":"unsupported_parameter"}}"#,
        r#"{"error":{"message":"Unsupported parameter: 'logprobs' is not supported with this model.","type":"invalid_request_error","param":"logprobs","code":"unsupported_parameter"}}"#,
        r#"{"error":{"message":"Unsupported value: 'max_tokens' does not support 0 with this model.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_value"}}"#,
        // Deeper inside.
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.65.content.1.tool_use.user: Extra inputs are not permitted"}}"#,
        r#"{"detail":[{"type":"extra_forbidden","loc":["body","messages",0,"user"],"msg":"Extra inputs are not permitted","input":null}]}"#,
        // Quoted from the request.
        r#"{"error":{"message":"Invalid type for 'input': got \"Unsupported parameter: 'temperature' is not supported\"","type":"invalid_request_error","param":"input","code":"invalid_type"}}"#,
        r#"{"detail":[{"type":"string_type","loc":["body","messages"],"msg":"no","input":{"type":"extra_forbidden","loc":["body","temperature"]}}]}"#,
        "",
        "null",
        "[]",
        "[[[[",
        "Bad Request",
        "\"temperature\"",
    ] {
        let found = read(400, None, body.as_bytes());
        assert_eq!((found.hints, found.chat_limit), (Features::default(), None), "{body}");
    }
    let long = format!(
        r#"{{"error":{{"message":"{}","param":"temperature","code":"unsupported_parameter"}}}}"#,
        "x".repeat(9_000)
    );
    assert!(read(400, None, long.as_bytes()).hints.is_empty());
}

#[test]
fn refused_usage_and_foreign_reasoning_are_known() {
    let usage = r#"{"error":{"message":"Unrecognized request argument supplied: stream_options"}}"#;
    assert!(read(400, None, usage.as_bytes()).usage && read(422, None, usage.as_bytes()).usage);
    let reasoning = r#"{"error":{"message":"The encrypted content could not be verified."}}"#;
    assert!(read(400, None, reasoning.as_bytes()).reasoning && !read(422, None, reasoning.as_bytes()).reasoning);
    assert!(!read(500, None, usage.as_bytes()).usage);
}
