use bytes::Bytes;

use super::*;
use crate::{
    codec::{Head, Malformed},
    dialect::Operation,
    framing::Framing,
    host::{Host, Surfaces},
    inbound::MatchedPath,
    ir::Effort,
    limits::{Features, ModelLimits},
    report::{Mode, Warning},
};

const WITHOUT_USAGE: LeftOut = LeftOut {
    usage: true,
    reasoning: false,
    web_search: false,
    hints: Features::NONE,
    chat_limit: None,
    closed: Surfaces::NONE,
};

fn matched(operation: Operation) -> MatchedPath {
    MatchedPath { operation, model: None, framing: None, query: None, unknown_query: false, path: None }
}

fn read(operation: Operation, body: &str) -> Result<ParsedRequest, Malformed> {
    ParsedRequest::read(matched(operation), Head::default(), Bytes::copy_from_slice(body.as_bytes()))
}

fn chat(body: &str) -> ParsedRequest {
    read(Operation::ChatCompletions, body).expect("a legal body")
}

fn to<'a>(operations: &'a [Operation], model: Option<&'a str>) -> Destination<'a> {
    Destination {
        base_model: None,
        host: Host::Vendor,
        operations,
        model,
        default_max_output: 4_096,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    }
}

fn passed(call: &ParsedRequest, model: Option<&str>) -> Prepared {
    let operations = [call.operation()];
    call.prepare(to(&operations, model), Mode::Default).expect("the same dialect")
}

fn text(prepared: &Prepared) -> &str {
    std::str::from_utf8(&prepared.body).expect("UTF-8")
}

#[test]
fn only_the_model_changes() {
    // Protocols 5, cases 18, 19, 24 and 36.
    let body = r#" {"x_future":{"a":[1,null]},"temperature":1.0,"seed":9007199254740993,"e":1e3,
        "tools":[{"function":{"parameters":{"properties":{"model":{"type":"string"}}}}}],"model" : "m\u0061",
        "messages":[{"role":"user","content":"\u00e9 \"model\":\"x\""}],"dup":1,"dup":2} "#;
    let call = chat(body);
    assert_eq!(call.model(), "ma");
    let prepared = passed(&call, Some("up-1"));
    assert_eq!(text(&prepared), body.replace(r#""m\u0061""#, r#""up-1""#));
    assert_eq!(prepared.path, "/chat/completions");
    let untouched = passed(&call, None);
    assert_eq!(untouched.body.as_ptr(), call.body().as_ptr(), "not even copied");
}

#[test]
fn usage_is_asked_for_unless_the_client_did() {
    let cases = [
        (r#"{"model":"m","stream":true}"#, r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#),
        (
            r#"{"model":"m","stream":true,"stream_options":null}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m","stream":true,"stream_options":{"x":1}}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":1}}"#,
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(text(&passed(&chat(body), None)), expected);
    }
    for body in [r#"{"model":"m"}"#, r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#] {
        assert_eq!(text(&passed(&chat(body), None)), body);
    }
    let responses = read(Operation::Responses, r#"{"model":"m","stream":true}"#).expect("legal");
    assert_eq!(text(&passed(&responses, None)), r#"{"model":"m","stream":true}"#);
}

#[test]
fn gemini_names_its_model_in_path_and_nested_requests() {
    let matched = MatchedPath {
        operation: Operation::BatchEmbedContents,
        model: Some("org/e:1".into()),
        framing: Some(Framing::Whole),
        query: None,
        unknown_query: false,
        path: None,
    };
    let body = r#"{"requests":[{"model":"models/org/e:1","content":{}},{"content":{"model":"x"}}]}"#;
    let call = ParsedRequest::read(matched, Head::default(), body.into()).expect("legal");
    assert_eq!(passed(&call, None).path, "/v1beta/models/org%2Fe%3A1:batchEmbedContents");
    let renamed = passed(&call, Some("up"));
    assert_eq!(renamed.path, "/v1beta/models/up:batchEmbedContents");
    assert_eq!(text(&renamed), body.replace("models/org/e:1", "models/up"));
    let streamed = MatchedPath {
        operation: Operation::GenerateContent,
        model: Some("tunedModels/t".into()),
        framing: Some(Framing::Sse),
        query: None,
        path: None,
        unknown_query: true,
    };
    let call = ParsedRequest::read(streamed, Head::default(), "{}".into()).expect("legal");
    assert_eq!(passed(&call, None).path, "/v1beta/tunedModels/t:streamGenerateContent?alt=sse");
    assert_eq!(passed(&call, None).warnings, [Warning::Dropped { field: "query".into() }]);
}

#[test]
fn anthropic_headers_and_query_travel() {
    let head = Head {
        anthropic_version: Some("2026-10-21".into()),
        anthropic_beta: vec!["a".into(), "unknown-2".into()],
        ..Head::default()
    };
    let matched = MatchedPath { query: Some("beta=true"), ..matched(Operation::Messages) };
    let call = ParsedRequest::read(matched, head, r#"{"model":"m"}"#.into()).expect("legal");
    let prepared = passed(&call, None);
    assert_eq!(prepared.path, "/v1/messages?beta=true");
    let expected = [("anthropic-version", "2026-10-21".to_owned()), ("anthropic-beta", "a,unknown-2".to_owned())];
    assert_eq!(prepared.headers, expected);
    let old = passed(&read(Operation::Messages, r#"{"model":"m"}"#).expect("legal"), None);
    assert_eq!(old.headers, [("anthropic-version", "2023-06-01".to_owned())]);
}

#[test]
fn what_cannot_be_routed_is_refused_with_its_field() {
    let cases = [
        (r#"{"model":"a","\u006dodel":"b"}"#, Some("model"), "`model` is given more than once"),
        (r#"{"messages":[]}"#, Some("model"), "`model` is required"),
        (r#"{"model":1}"#, Some("model"), "`model` has to be a string"),
        (r#"{"model":"m","stream":"yes"}"#, Some("stream"), "`stream` has to be true or false"),
        (r#"{"model":"m","stream":true,"stream":false}"#, Some("stream"), "`stream` is given more than once"),
        (r#"{"model":"m","max_tokens":1,"max_tokens":2}"#, Some("max_tokens"), "`max_tokens` is given more than once"),
        (
            r#"{"model":"m",}"#,
            None,
            "the request body is not valid JSON: expected a member name in double quotes at byte 13",
        ),
    ];
    for (body, field, message) in cases {
        let refused = read(Operation::ChatCompletions, body).expect_err(body);
        assert_eq!((refused.field.as_deref(), refused.message.as_str()), (field, message));
    }
}

#[test]
fn limits_and_framing_are_read_per_dialect() {
    let call = chat(r#"{"model":"m","stream":true,"max_tokens":5,"max_completion_tokens":0}"#);
    assert_eq!((call.allowance().max_output, call.framing()), (Some(5), Framing::Sse));
    let embeddings = read(Operation::Embeddings, r#"{"model":"m","stream":true}"#).expect("legal");
    assert_eq!(embeddings.framing(), Framing::Whole);
    let gemini =
        MatchedPath { model: Some("m".into()), framing: Some(Framing::Whole), ..matched(Operation::GenerateContent) };
    let body = r#"{"generation_config":{"max_output_tokens":7}}"#;
    assert_eq!(
        ParsedRequest::read(gemini, Head::default(), body.into()).expect("legal").allowance().max_output,
        Some(7)
    );
    assert!(chat(r#"{"model":"m","stream_options":{"include_usage":true}}"#).response_context("x", 1).include_usage);
}

#[test]
fn needs_are_seen_where_they_stand() {
    let needs = |operation, body: &str| read(operation, body).expect("legal").needs();
    let plain = r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{\"type\":\"image\"}"}}]},{"role":"user","content":"image_url"}],"tools":[]}"#;
    assert_eq!(needs(Operation::ChatCompletions, plain), Needs::default());
    let rich = r#"{"model":"m","stream":true,"parallel_tool_calls":true,"tools":[{}],"response_format":{"type":"json_schema"},
        "reasoning_effort":"low","messages":[{"content":[{"type":"image_url"},{"type":"input_audio"},{"type":"file"}]}]}"#;
    let everything = Needs { embeddings: false, json_mode: false, prompt_caching: false, ..all() };
    assert_eq!(needs(Operation::ChatCompletions, rich), everything);
    let messages = r#"{"model":"m","thinking":{"type":"adaptive"},"system":[{"type":"text","cache_control":{"type":"ephemeral"}}],
        "messages":[{"content":[{"type":"tool_result","content":[{"type":"image"}]}]}]}"#;
    let expected = Needs { vision: true, reasoning: true, prompt_caching: true, ..Needs::default() };
    assert_eq!(needs(Operation::Messages, messages), expected);
    let responses = r#"{"model":"m","text":{"format":{"type":"json_object"}},"reasoning":{"effort":"none"},
        "input":[{"type":"function_call_output","output":[{"type":"input_file"}]}]}"#;
    assert_eq!(needs(Operation::Responses, responses), Needs { json_mode: true, documents: true, ..Needs::default() });
    let gemini = r#"{"model":"m","generationConfig":{"responseMimeType":"application/json","thinkingConfig":{"thinkingBudget":0}},
        "contents":[{"parts":[{"inline_data":{"mime_type":"audio/wav"}},{"fileData":{"mimeType":"video/mp4"}}]}]}"#;
    let matched =
        MatchedPath { model: Some("m".into()), framing: Some(Framing::Whole), ..matched(Operation::GenerateContent) };
    let call = ParsedRequest::read(matched, Head::default(), gemini.into()).expect("legal");
    assert_eq!(call.needs(), Needs { json_mode: true, audio: true, hearing: true, vision: true, ..Needs::default() });
    assert!(needs(Operation::Embeddings, r#"{"model":"m","input":"x"}"#).embeddings);
}

const fn all() -> Needs {
    Needs {
        streaming: true,
        tools: true,
        parallel_tools: true,
        json_mode: true,
        json_schema: true,
        vision: true,
        audio: true,
        hearing: true,
        documents: true,
        reasoning: true,
        embeddings: true,
        prompt_caching: true,
    }
}

#[test]
fn the_lane_follows_what_the_upstream_speaks() {
    let call = chat(r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#);
    let operations = [Operation::Messages, Operation::MessagesCountTokens];
    let translated = call.prepare(to(&operations, Some("claude")), Mode::Default).expect("a lane");
    assert!(!translated.translation.is_passthrough());
    assert_eq!((translated.translation.operation(), translated.path.as_str()), (Operation::Messages, "/v1/messages"));
    assert!(text(&translated).contains("\"max_tokens\":4096"), "{}", text(&translated));
    let unreachable = call.prepare(to(&[Operation::Embeddings], None), Mode::Default);
    assert_eq!(unreachable.err(), Some(Unprepared::Unreachable));
    let bad = chat(r#"{"model":"m","messages":7}"#).prepare(to(&operations, None), Mode::Default);
    assert!(matches!(bad, Err(Unprepared::Malformed(_))), "{bad:?}");
}

#[test]
fn usage_is_not_asked_for_where_that_is_refused() {
    let client = chat(r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}"#);
    let operations = [Operation::ChatCompletions];
    let asking = client.prepare(to(&operations, None), Mode::Default).expect("a lane");
    assert!(asking.asks_usage);
    let without = client.prepare_without(to(&operations, None), Mode::Default, WITHOUT_USAGE).expect("a lane");
    assert_eq!((without.asks_usage, without.body), (false, client.body().clone()), "as the client sent it");
    let own = chat(r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#);
    let passed = own.prepare_without(to(&operations, None), Mode::Default, WITHOUT_USAGE).expect("a lane");
    assert_eq!((passed.asks_usage, passed.body), (false, own.body().clone()), "what the client asks for is its own");

    let body = r#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"x"}],
        "tools":[{"name":"f","input_schema":{"a":1,"stream_options":{"include_usage":true}}}]}"#;
    let matched = MatchedPath { operation: Operation::Messages, ..chat(r#"{"model":"m"}"#).matched };
    let client = ParsedRequest::read(matched, Head::default(), Bytes::from_static(body.as_bytes())).expect("a call");
    let asking = client.prepare(to(&operations, None), Mode::Default).expect("a lane");
    let without = client.prepare_without(to(&operations, None), Mode::Default, WITHOUT_USAGE).expect("a lane");
    let read = |body: &Bytes| serde_json::from_slice::<serde_json::Value>(body).expect("JSON");
    let mut expected = read(&asking.body);
    assert!(asking.asks_usage && !without.asks_usage);
    assert!(expected.as_object_mut().expect("an object").remove("stream_options").is_some());
    assert_eq!(read(&without.body), expected, "nothing else is missing");
}

#[test]
fn of_two_dialects_of_one_server_the_one_that_loses_less_is_taken() {
    use Operation::{ChatCompletions as Chat, GenerateContent as Gemini, Messages, Responses};
    let said =
        |more: &str| format!(r#"{{"model":"m","max_tokens":99,"messages":[{{"role":"user","content":"x"}}]{more}}}"#);
    let asked = |settings: &str| {
        format!(r#"{{"model":"m","contents":[{{"parts":[{{"text":"x"}}]}}],"generationConfig":{{{settings}}}}}"#)
    };
    let rows = [
        (Messages, said(""), "gpt-4.1", Mode::Default, Responses),
        (Messages, said(r#","stop_sequences":["END"]"#), "gpt-4.1", Mode::Default, Chat),
        (Messages, said(r#","stop_sequences":["END"]"#), "gpt-4.1", Mode::Strict, Chat),
        // Its model takes no stop texts on either.
        (Messages, said(r#","stop_sequences":["END"]"#), "gpt-5", Mode::Default, Responses),
        (Messages, said(r#","stop_sequences":["END"]"#), "gpt-5", Mode::Lenient, Responses),
        (Messages, said("").replace("99", "1"), "gpt-4.1", Mode::Default, Chat),
        // What both lose counts for neither.
        (Messages, said(r#","top_k":5"#), "gpt-4.1", Mode::Default, Responses),
        (
            Messages,
            said(
                r#","thinking":{"type":"enabled","budget_tokens":2000},"tools":[{"name":"f","input_schema":{"type":"object"}}]"#,
            ),
            "gpt-5.4",
            Mode::Default,
            Responses,
        ),
        (Gemini, asked(""), "gpt-4.1", Mode::Default, Responses),
        (Gemini, asked(r#""seed":7"#), "gpt-4.1", Mode::Default, Chat),
        (Gemini, asked(r#""candidateCount":2"#), "gpt-4.1", Mode::Default, Chat),
        (Gemini, asked(r#""presencePenalty":0.5"#), "gpt-4.1", Mode::Default, Chat),
        (Chat, said(r#","stop":"END""#), "gpt-4.1", Mode::Default, Chat),
    ];
    for (client, body, model, mode, expected) in rows {
        let call = read(client, &body).expect("a legal body");
        for spoken in [[Chat, Responses], [Responses, Chat]] {
            let prepared = call.prepare(to(&spoken, Some(model)), mode).expect("one of them takes it");
            assert_eq!(prepared.translation.operation(), expected, "{body} for {model}");
        }
    }
}

#[test]
fn where_both_refuse_the_first_says_why() {
    use Operation::{ChatCompletions, Messages, Responses};
    let body = r#"{"model":"m","max_tokens":99,"stop_sequences":["END"],"tools":[{"type":"web_search_20250305","name":"web_search"}],"messages":[{"role":"user","content":"x"}]}"#;
    let refused = read(Messages, body)
        .expect("a legal body")
        .prepare(to(&[ChatCompletions, Responses], Some("gpt-4.1")), Mode::Default)
        .expect_err("another vendor's tool");
    assert!(matches!(&refused, Unprepared::Refused(refusal) if refusal.field == "tools[]"), "{refused}");
}

/// Hard cases 161 and 264: a blob is bound to the account that it was made for. Where the request passes through, the
/// upstream's words are the client's to act on.
#[test]
fn bound_reasoning_is_left_out_once_it_is_refused() {
    let without = LeftOut { reasoning: true, ..LeftOut::default() };
    let body = r#"{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"gw1.openai.thought.cnNfMS5nQUFBPT0"},{"type":"text","text":"a"}]},{"role":"user","content":"y"}]}"#;
    let call = read(Operation::Messages, body).expect("a legal body");
    let first = call.prepare(to(&[Operation::Responses], None), Mode::Default).expect("a lane");
    assert!(first.returns_reasoning && first.warnings.is_empty() && text(&first).contains("rs_1"), "{}", text(&first));
    let second = call.prepare_without(to(&[Operation::Responses], None), Mode::Default, without).expect("a lane");
    assert!(!second.returns_reasoning && !text(&second).contains("reasoning\",\"id"), "{}", text(&second));
    assert_eq!(second.warnings, [Warning::Dropped { field: "messages[].content[].thinking".into() }]);
    assert!(call.prepare_without(to(&[Operation::Responses], None), Mode::Strict, without).is_err());

    let body = r#"{"model":"m","input":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gA"}]}"#;
    let own = read(Operation::Responses, body).expect("a legal body");
    let passed = own.prepare_without(to(&[Operation::Responses], None), Mode::Default, without).expect("a lane");
    assert!(!passed.returns_reasoning);
    assert_eq!(text(&passed), body);
}

fn translated(body: &str, to: Destination<'_>) -> Result<(serde_json::Value, Vec<String>), Unprepared> {
    let prepared = read(Operation::Messages, body).expect("a legal body").prepare(to, Mode::Default)?;
    let warnings = prepared.warnings.iter().map(ToString::to_string).collect();
    Ok((serde_json::from_slice(&prepared.body).expect("JSON"), warnings))
}

#[test]
fn hard_case_256_a_deployments_name_takes_what_its_base_model_takes() {
    let body = r#"{"model":"prod-7","max_tokens":999999,"temperature":0.2,"stop_sequences":["x"],"output_config":{"effort":"xhigh"},"messages":[{"role":"user","content":"q"}]}"#;
    let operations = [Operation::ChatCompletions];
    let (trusted, _) = translated(body, to(&operations, None)).expect("a lane");
    assert_eq!((&trusted["max_tokens"], &trusted["temperature"]), (&999_999.into(), &0.2.into()));
    let deployment = Destination { base_model: Some("gpt-5.1"), ..to(&operations, None) };
    let (sent, told) = translated(body, deployment).expect("a lane");
    assert_eq!((&sent["model"], &sent["max_completion_tokens"]), (&"prod-7".into(), &128_000.into()));
    assert_eq!((&sent["reasoning_effort"], sent.get("temperature"), sent.get("stop")), (&"high".into(), None, None));
    assert_eq!(told.len(), 4, "{told:?}");
    let passed = r#"{"model":"prod-7","max_tokens":9,"temperature":0.2}"#;
    let prepared = chat(passed).prepare(deployment, Mode::Default).expect("a lane");
    assert_eq!(prepared.body, passed, "the vendor answers those who speak its own dialect");
}

#[test]
fn an_effort_becomes_the_nearest_that_the_owner_states() {
    let body = |effort: &str| {
        format!(
            r#"{{"model":"m","max_tokens":99,"output_config":{{"effort":"{effort}"}},"messages":[{{"role":"user","content":"q"}}]}}"#
        )
    };
    let operations = [Operation::ChatCompletions];
    let efforts = Some([Effort::Low, Effort::Max].into_iter().collect());
    let limits = ModelLimits { efforts, ..ModelLimits::default() };
    for (asked, sent) in [("low", "low"), ("medium", "low"), ("xhigh", "low"), ("max", "max")] {
        let stated = Destination { limits, ..to(&operations, None) };
        let (body, told) = translated(&body(asked), stated).expect("a lane");
        assert_eq!(
            (&body["reasoning_effort"], told.len()),
            (&sent.into(), usize::from(asked != sent)),
            "{asked}: {told:?}"
        );
    }
}

#[test]
fn what_a_model_cannot_see_is_refused_before_it_is_sent() {
    let image = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"what?"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}]}]}"#;
    let operations = [Operation::ChatCompletions];
    for (model, sees) in [("gpt-4o", true), ("gpt-3.5-turbo", false), ("o3-mini", false), ("o3", true), ("qwen3", true)]
    {
        match translated(image, to(&operations, Some(model))) {
            Ok(_) => assert!(sees, "{model}"),
            Err(Unprepared::Refused(refusal)) => {
                assert!(!sees && refusal.field.starts_with("messages[].content[]"), "{model}: {refusal}");
            }
            Err(other) => panic!("{model}: {other}"),
        }
    }
    let sound = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"format":"wav","data":"AAE="}}]}]}"#;
    let operations = [Operation::Responses];
    let refused = chat(sound).prepare(to(&operations, Some("gpt-5.1")), Mode::Lenient);
    let Err(Unprepared::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.field, "messages[].content[].input_audio");
    let operations = [Operation::ChatCompletions];
    let stated = ModelLimits { capabilities_stated: true, ..ModelLimits::default() };
    let known_better = Destination { limits: stated, ..to(&operations, Some("o3-mini")) };
    assert!(translated(image, known_better).is_ok(), "whoever runs it knows better");
}
