use serde_json::{Value, json, value::RawValue};

use super::encode;
use crate::{
    codec::Target,
    dialect::{Family, Operation},
    ir::{
        Block, CacheMark, Document, Effort, Extra, Media, MediaSource, Number, Opaque, OutputFormat, Raw, Reasoning,
        Request, Role, Text, Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
    },
    limits::ModelLimits,
    report::{Mode, Refusal, Report},
};

const MODEL: &str = "claude-next";

/// The body, and warnings or the refusal.
fn run(request: &Request, model: &str, mode: Mode) -> (Value, Result<Vec<String>, Refusal>) {
    let mut report = Report::new(mode);
    let target = Target { base_model: None, model, default_max_output: 4096, limits: ModelLimits::default() };
    let encoded = encode(request, target, Operation::ChatCompletions, &mut report);
    let warnings = report.finish().map(|warnings| warnings.iter().map(ToString::to_string).collect());
    (serde_json::from_slice(&encoded.body).unwrap(), warnings)
}

fn sent(request: &Request) -> Value {
    run(request, MODEL, Mode::Default).0
}

fn warnings(request: &Request) -> Vec<String> {
    run(request, MODEL, Mode::Default).1.unwrap()
}

fn refused(request: &Request) -> String {
    run(request, MODEL, Mode::Default).1.unwrap_err().field.into_owned()
}

fn raw(json: &str) -> Raw {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn text(text: &str) -> Block {
    Block::Text(Text { text: text.to_owned(), ..Text::default() })
}

fn marked(text: &str, ttl: Option<&str>) -> Block {
    Block::Text(Text {
        text: text.to_owned(),
        cache: Some(CacheMark { ttl: ttl.map(str::to_owned) }),
        ..Text::default()
    })
}

fn call(id: &str, arguments: &str) -> Block {
    Block::ToolCall(ToolCall {
        id: id.to_owned(),
        name: "f".to_owned(),
        arguments: arguments.to_owned(),
        state: None,
        cache: None,
    })
}

fn result(id: &str, content: Vec<Block>) -> Block {
    Block::ToolResult(ToolResult { call_id: id.to_owned(), name: None, content, is_error: None, cache: None })
}

fn image(source: MediaSource) -> Block {
    Block::Image(Media { source, detail: None, state: None, cache: None })
}

fn inline(mime: &str) -> MediaSource {
    MediaSource::Inline { mime: mime.to_owned(), data: "aGk=".to_owned() }
}

fn turn(role: Role, blocks: Vec<Block>) -> Turn {
    Turn { role, blocks, name: None }
}

fn user(words: &str) -> Turn {
    turn(Role::User, vec![text(words)])
}

fn assistant(blocks: Vec<Block>) -> Turn {
    turn(Role::Assistant, blocks)
}

fn conversation(turns: Vec<Turn>) -> Request {
    Request { model: "m".to_owned(), turns, ..Request::default() }
}

fn plain() -> Request {
    conversation(vec![user("hi")])
}

fn function(name: &str, schema: Option<&str>, strict: Option<bool>) -> Tool {
    Tool { name: name.to_owned(), description: None, kind: ToolKind::Function(schema.map(raw)), strict, cache: None }
}

/// Messages as `role: type type`, texts in full.
fn outline(body: &Value) -> Vec<String> {
    let messages = body["messages"].as_array().unwrap().iter().map(|message| {
        let blocks = message["content"].as_array().unwrap().iter().map(|block| match block["type"].as_str().unwrap() {
            "text" => block["text"].as_str().unwrap().to_owned(),
            "tool_use" => format!("<{}", block["id"].as_str().unwrap()),
            "tool_result" => format!(">{}", block["tool_use_id"].as_str().unwrap()),
            other => other.to_owned(),
        });
        format!("{}: {}", message["role"].as_str().unwrap(), blocks.collect::<Vec<_>>().join(" "))
    });
    messages.collect()
}

fn number(json: &str) -> Option<Number> {
    serde_json::from_str(json).unwrap()
}

#[test]
fn hard_case_4_absent_stays_absent() {
    let expected = json!({"model": MODEL, "max_tokens": 4096, "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]});
    assert_eq!(sent(&plain()), expected);
    assert!(warnings(&plain()).is_empty());
}

#[test]
fn hard_cases_1_205_206_273_sampling() {
    // model, temperature, top_p, top_k, effort, what is sent, warnings
    let rows = [
        (MODEL, Some("0"), Some("0.0"), Some("0"), None, json!({"temperature": 0, "top_p": 0.0, "top_k": 0}), 0),
        (MODEL, Some("1.7"), None, None, None, json!({"temperature": 1}), 1),
        ("claude-opus-4-7", Some("0"), None, None, None, json!({}), 1),
        ("claude-sonnet-4-5", Some("0.5"), Some("0.9"), None, None, json!({"temperature": 0.5}), 1),
        ("claude-sonnet-4-5", None, Some("0.9"), None, Some(Effort::Low), json!({}), 1),
        ("claude-sonnet-4-5", Some("1"), None, None, Some(Effort::Low), json!({}), 0),
    ];
    for (model, temperature, top_p, top_k, effort, expected, count) in rows {
        let mut request = plain();
        request.sampling.temperature = temperature.and_then(number);
        request.sampling.top_p = top_p.and_then(number);
        request.sampling.top_k = top_k.and_then(number);
        request.reasoning.effort = effort;
        let (body, warnings) = run(&request, model, Mode::Default);
        let found: serde_json::Map<_, _> = body
            .as_object()
            .unwrap()
            .clone()
            .into_iter()
            .filter(|(name, _)| ["temperature", "top_p", "top_k"].contains(&name.as_str()))
            .collect();
        assert_eq!(Value::Object(found), expected, "{model}");
        assert_eq!(warnings.unwrap().len(), count, "{model}");
    }
}

#[test]
fn hard_case_199_max_tokens_is_always_sent() {
    let mut request = plain();
    assert_eq!(sent(&request)["max_tokens"], 4096);
    request.max_output = Some(0);
    assert_eq!(sent(&request)["max_tokens"], 0);
}

/// Name, turns, the outline of what is sent, how many warnings.
type Row<'a> = (&'a str, Vec<Turn>, &'a [&'a str], usize);

fn check(rows: Vec<Row<'_>>) {
    for (name, turns, expected, count) in rows {
        let request = conversation(turns);
        assert_eq!(outline(&sent(&request)), expected, "{name}");
        assert_eq!(warnings(&request).len(), count, "{name}: {:?}", warnings(&request));
    }
}

#[test]
fn calls_and_results_are_neighbours() {
    check(vec![
        (
            "hard case 163: results merged, first, in one message",
            vec![
                user("q"),
                assistant(vec![call("a", "{}"), call("b", "{}"), call("c", "{}")]),
                turn(Role::User, vec![result("a", vec![text("1")])]),
                turn(Role::User, vec![text("and"), result("b", vec![text("2")])]),
                turn(Role::User, vec![result("c", vec![text("3")])]),
            ],
            &["user: q", "assistant: <a <b <c", "user: >a >b >c and"],
            0,
        ),
        (
            "hard case 166: of two results the later one",
            vec![
                user("q"),
                assistant(vec![call("a", "{}")]),
                turn(Role::User, vec![result("a", vec![]), result("a", vec![])]),
            ],
            &["user: q", "assistant: <a", "user: >a"],
            1,
        ),
        (
            "hard case 269: unanswered only after merging",
            vec![
                user("q"),
                assistant(vec![call("a", "{}"), call("b", "{}")]),
                turn(Role::User, vec![result("b", vec![])]),
                turn(Role::User, vec![result("a", vec![])]),
            ],
            &["user: q", "assistant: <a <b", "user: >b >a"],
            0,
        ),
        (
            "an unanswered call",
            vec![user("q"), assistant(vec![call("a", "{}")]), user("never mind")],
            &["user: q", "assistant: <a", "user: >a never mind"],
            1,
        ),
        (
            "an orphan result",
            vec![turn(Role::User, vec![result("x", vec![text("42")]), text("so?")])],
            &["user: [Result of a tool call that is no longer part of this conversation] 42 so?"],
            1,
        ),
        (
            "hard case 120: text between call and result",
            vec![
                user("q"),
                assistant(vec![call("a", "{}")]),
                assistant(vec![text("wait")]),
                turn(Role::User, vec![result("a", vec![])]),
            ],
            &["user: q", "assistant: wait <a", "user: >a"],
            0,
        ),
    ]);
}

#[test]
fn turns_are_arranged() {
    check(vec![
        (
            "hard case 214: empty messages",
            vec![user("a"), assistant(vec![text(" \n")]), turn(Role::User, vec![]), user("b")],
            &["user: a b"],
            0,
        ),
        ("hard case 213: only a system prompt", vec![], &["user: ."], 1),
        (
            "hard case 212: later system messages stay in place",
            vec![user("a"), turn(Role::System, vec![text("s")]), user("b")],
            &["user: a [Message from the operator of this application, not from the user] s b"],
            1,
        ),
        (
            "prefill that ends in white space",
            vec![user("a"), assistant(vec![text("So \n")])],
            &["user: a", "assistant: So"],
            1,
        ),
        ("prefill", vec![user("a"), assistant(vec![text("{")])], &["user: a", "assistant: {"], 0),
    ]);
}

#[test]
fn hard_case_212_system_turns_where_the_model_takes_them() {
    let request =
        conversation(vec![user("a"), turn(Role::System, vec![text("s")]), assistant(vec![text("b")]), user("c")]);
    let (body, warnings) = run(&request, "claude-opus-4-8", Mode::Strict);
    assert_eq!(outline(&body), ["user: a", "system: s", "assistant: b", "user: c"]);
    assert!(warnings.unwrap().is_empty());
}

#[test]
fn hard_case_216_prefill_where_the_model_refuses_it() {
    let request = conversation(vec![user("a"), assistant(vec![text("{")])]);
    assert!(run(&request, "claude-opus-4-6", Mode::Lenient).1.is_err());
}

#[test]
fn calls_and_results() {
    let request = conversation(vec![
        user("q"),
        assistant(vec![
            call("functions.f:0", " "),
            call("b", r#"{"n":0,"f":1.0}"#),
            call("c", "[1]"),
            call("d", r#"{"a":1}{"b":2}"#),
        ]),
        turn(
            Role::User,
            vec![
                result("functions.f:0", vec![text("1"), image(inline("image/png"))]),
                result("b", vec![]),
                result("c", vec![text("x")]),
                result("d", vec![text("x")]),
            ],
        ),
    ]);
    let body = sent(&request);
    let (calls, results) = (&body["messages"][1]["content"], &body["messages"][2]["content"]);
    assert_eq!(calls[0]["input"], json!({}));
    assert_eq!(calls[1]["input"].to_string(), r#"{"f":1.0,"n":0}"#); // hard case 14
    assert_eq!(calls[2]["input"], json!({"_raw": [1]})); // hard case 175
    assert_eq!(calls[3]["input"], json!({"_raw": r#"{"a":1}{"b":2}"#})); // hard case 174
    assert_eq!(calls[0]["id"], results[0]["tool_use_id"]);
    assert!(calls[0]["id"].as_str().unwrap().starts_with("functions_f_0_"));
    assert_eq!(results[0]["content"][1]["type"], "image");
    assert_eq!(results[1]["content"], json!([{"type": "text", "text": "(no output)"}])); // hard case 179
    let wrapped = "adapted;field=messages[].tool_calls[].function.arguments;from=no object;to=wrapped";
    assert!(warnings(&request).iter().all(|warning| warning == wrapped));
    assert!(run(&request, MODEL, Mode::Strict).1.is_err());
}

#[test]
fn tools() {
    let mut request = plain();
    request.tools = vec![
        function("a", None, None), // hard case 170
        function("b", Some(r#"{"properties":{"z":{"minimum":0,"default":false},"a":{}}}"#), Some(false)),
        function("c", Some(r#"{"type":"object","properties":{"s":{"type":"string","minLength":1}}}"#), Some(true)), // hard case 187
        Tool { kind: ToolKind::Custom(Some(raw(r#"{"type":"grammar"}"#))), ..function("my.tool", None, None) },
    ];
    let encoded = encode(
        &request,
        Target { base_model: None, model: MODEL, default_max_output: 1, limits: ModelLimits::default() },
        Operation::ChatCompletions,
        &mut Report::default(),
    );
    let text = String::from_utf8(encoded.body.clone()).unwrap();
    assert!(text.contains(r#"{"type":"object","properties":{"z":{"minimum":0,"default":false},"a":{}}}"#), "{text}");
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    let tools = &body["tools"];
    assert_eq!(tools[0]["input_schema"], json!({"type": "object", "properties": {}}));
    assert_eq!((&tools[0].get("strict"), &tools[1]["strict"]), (&None, &json!(false)));
    assert_eq!(tools[2]["input_schema"]["properties"]["s"], json!({"type": "string", "description": "(minLength: 1)"}));
    assert_eq!(tools[2]["input_schema"]["additionalProperties"], false);
    assert_eq!(tools[3]["input_schema"]["required"], json!(["input"]));
    assert_eq!(encoded.names.original(tools[3]["name"].as_str().unwrap()), "my.tool");
    let fields = warnings(&request);
    assert_eq!(fields.len(), 2, "{fields:?}");
    assert!(body.get("tool_choice").is_none());
}

#[test]
fn tool_choice() {
    let named = || Some(ToolChoice::Named("f".to_owned()));
    let allowed = |required| Some(ToolChoice::Allowed { names: vec!["f".to_owned()], required });
    let rows = [
        (None, None, None),
        (None, Some(true), None),
        (None, Some(false), Some(json!({"type": "auto", "disable_parallel_tool_use": true}))), // hard case 10
        (Some(ToolChoice::Auto), None, Some(json!({"type": "auto"}))),
        (Some(ToolChoice::None), Some(false), Some(json!({"type": "none"}))),
        (Some(ToolChoice::Required), Some(false), Some(json!({"type": "any", "disable_parallel_tool_use": true}))),
        (named(), Some(true), Some(json!({"type": "tool", "name": "f", "disable_parallel_tool_use": false}))),
        (allowed(true), None, Some(json!({"type": "any"}))),
        (allowed(false), None, Some(json!({"type": "auto"}))),
    ];
    for (choice, parallel, expected) in rows {
        let mut request = plain();
        request.tools = vec![function("f", None, None), function("g", None, None)];
        request.tool_choice = choice;
        request.parallel_tools = parallel;
        let body = sent(&request);
        assert_eq!(body.get("tool_choice").cloned(), expected);
        let only = matches!(request.tool_choice, Some(ToolChoice::Allowed { .. }));
        assert_eq!(body["tools"].as_array().unwrap().len(), if only { 1 } else { 2 });
        request.tools.clear(); // hard case 189
        assert!(sent(&request).get("tool_choice").is_none());
    }
}

#[test]
fn hard_case_190_forced_tool_and_manual_thinking() {
    let mut request = plain();
    request.tools = vec![function("f", None, None)];
    request.tool_choice = Some(ToolChoice::Required);
    request.reasoning.effort = Some(Effort::High);
    request.max_output = Some(50_000);
    let (body, warnings) = run(&request, "claude-sonnet-4-5", Mode::Default);
    assert_eq!(body["tool_choice"], json!({"type": "auto"}));
    assert_eq!(body["thinking"], json!({"type": "enabled", "budget_tokens": 16384}));
    assert_eq!(warnings.unwrap(), ["adapted;field=tool_choice;from=required;to=auto"]);
    assert!(run(&request, "claude-sonnet-4-5", Mode::Strict).1.is_err());
    assert_eq!(run(&request, "claude-opus-4-6", Mode::Strict).0["tool_choice"], json!({"type": "any"}));
}

#[test]
fn hard_case_160_tool_turn_without_thinking() {
    let mut request =
        conversation(vec![user("q"), assistant(vec![call("a", "{}")]), turn(Role::User, vec![result("a", vec![])])]);
    request.reasoning.budget = Some(2048);
    let (body, warnings) = run(&request, MODEL, Mode::Default);
    assert!(body.get("thinking").is_none());
    assert_eq!(warnings.unwrap().len(), 1);
    let state = Some(Opaque { family: Family::Anthropic, value: "s".to_owned() });
    request.turns[1].blocks.insert(0, Block::Reasoning(Reasoning { text: String::new(), state, redacted: false }));
    let body = sent(&request);
    assert_eq!(body["thinking"]["budget_tokens"], 2048);
    assert_eq!(body["messages"][1]["content"][0], json!({"type": "thinking", "thinking": "", "signature": "s"})); // hard case 156
}

#[test]
fn hard_cases_151_and_265_foreign_reasoning_is_dropped_whole() {
    for state in [None, Some(Family::Gemini), Some(Family::OpenAi)] {
        let state = state.map(|family| Opaque { family, value: "skip_thought_signature_validator".to_owned() });
        let thought = Block::Reasoning(Reasoning { text: "why".to_owned(), state, redacted: false });
        let request = conversation(vec![user("q"), assistant(vec![thought, text("a")]), user("b")]);
        assert_eq!(outline(&sent(&request)), ["user: q", "assistant: a", "user: b"]);
        assert_eq!(warnings(&request), ["dropped;field=messages[].reasoning_details"]);
    }
}

#[test]
fn media() {
    let url = |url: &str| MediaSource::Url { url: url.to_owned(), mime: None };
    let file = |family| MediaSource::FileId { family, id: "file_1".to_owned() };
    let sources = [
        (inline("image/jpg"), Some(json!({"type": "base64", "media_type": "image/jpeg", "data": "aGk="}))),
        (inline("image/png; charset=x"), Some(json!({"type": "base64", "media_type": "image/png", "data": "aGk="}))),
        (inline("image/tiff"), None),
        (url("https://a/b.png"), Some(json!({"type": "url", "url": "https://a/b.png"}))),
        (url("gs://a/b.png"), None),
        (file(Family::Anthropic), Some(json!({"type": "file", "file_id": "file_1"}))),
        (file(Family::OpenAi), None),
    ];
    for (source, expected) in sources {
        let request = conversation(vec![turn(Role::User, vec![text("see"), image(source)])]);
        match expected {
            Some(expected) => assert_eq!(sent(&request)["messages"][0]["content"][1]["source"], expected),
            None => assert_eq!(refused(&request), "messages[].content[].image_url"),
        }
    }
    let paper = |mime| {
        let document =
            Document { source: inline(mime), title: Some("t".to_owned()), context: None, citations: None, cache: None };
        conversation(vec![turn(Role::User, vec![Block::Document(document)])])
    };
    assert_eq!(sent(&paper("application/pdf"))["messages"][0]["content"][0]["source"]["media_type"], "application/pdf");
    let plain =
        json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}, "title": "t"});
    assert_eq!(sent(&paper("text/markdown"))["messages"][0]["content"][0], plain);
    assert_eq!(refused(&paper("application/zip")), "messages[].content[].file");
    let sound = Media { source: inline("audio/wav"), detail: None, state: None, cache: None };
    assert_eq!(
        refused(&conversation(vec![turn(Role::User, vec![Block::Audio(sound)])])),
        "messages[].content[].input_audio"
    );
}

#[test]
fn output_formats() {
    let mut request = plain();
    request.output = OutputFormat::JsonObject;
    assert!(sent(&request)["system"][0]["text"].as_str().unwrap().contains("JSON object"));
    assert_eq!(warnings(&request).len(), 1);
    request.output = OutputFormat::JsonSchema {
        name: None,
        description: None,
        schema: raw(r#"{"type":"object"}"#),
        strict: Some(true),
    };
    let format =
        json!({"format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": false}}});
    assert_eq!(sent(&request)["output_config"], format);
    assert!(warnings(&request).is_empty());
    // Hard case 191: an older model.
    assert_eq!(run(&request, "claude-3-7-sonnet", Mode::Default).1.unwrap_err().field, "response_format");
}

#[test]
fn what_cannot_be_said() {
    type Change = fn(&mut Request);
    let refusals: [(Change, &str); 4] = [
        (|request| request.candidates = Some(2), "n"), // hard case 209
        (|request| request.sampling.logprobs = Some(true), "logprobs"),
        (|request| request.sampling.top_logprobs = number("3"), "logprobs"),
        (
            |request| {
                let kind = ToolKind::Server { family: Family::OpenAi, kind: "web_search".to_owned(), raw: raw("{}") };
                request.tools = vec![Tool { kind, ..function("w", None, None) }];
            },
            "tools[]",
        ),
    ];
    for (change, field) in refusals {
        let mut request = plain();
        change(&mut request);
        assert_eq!(refused(&request), field);
        assert_eq!(run(&request, MODEL, Mode::Lenient).1.unwrap().len(), 1);
    }
    let drops: [(Change, &str); 8] = [
        (|request| request.sampling.seed = number("0"), "dropped;field=seed"),
        (|request| request.sampling.presence_penalty = number("0.5"), "dropped;field=presence_penalty"),
        (|request| request.sampling.frequency_penalty = number("-1"), "dropped;field=frequency_penalty"),
        (|request| request.user = Some("a@b.c".to_owned()), "dropped;field=user"),
        (|request| request.stop = vec![" ".to_owned()], "dropped;field=stop"),
        (|request| request.service_tier = Some("flex".to_owned()), "adapted;field=service_tier;from=flex;to=auto"),
        (|request| request.turns[0].name = Some("x".to_owned()), "dropped;field=messages[].name"),
        (
            |request| {
                request.extras = vec![Extra {
                    family: Family::OpenAi,
                    field: "logit_bias".into(),
                    raw: raw(r#"{"1":-100}"#),
                    essential: false,
                }]
                .into();
            },
            "dropped;field=logit_bias",
        ),
    ];
    for (change, warning) in drops {
        let mut request = plain();
        change(&mut request);
        assert_eq!(warnings(&request), [warning]);
        assert!(run(&request, MODEL, Mode::Strict).1.is_err(), "{warning}");
    }
    let silent: [Change; 3] = [
        |request| request.candidates = Some(1),
        |request| request.sampling.logprobs = Some(false),
        |request| request.sampling.top_logprobs = number("0"),
    ];
    for change in silent {
        let mut request = plain();
        change(&mut request);
        assert!(warnings(&request).is_empty());
    }
}

#[test]
fn bookkeeping() {
    let mut request = plain();
    request.stream = true;
    request.user = Some("u1".to_owned());
    request.service_tier = Some("default".to_owned());
    request.stop = vec!["END".to_owned()]; // hard case 207
    request.extras = vec![
        Extra { family: Family::Anthropic, field: "x_future".into(), raw: raw(r#"{"a":[1,null]}"#), essential: true },
        Extra { family: Family::Anthropic, field: "metadata.x".into(), raw: raw("1"), essential: false },
    ]
    .into();
    let body = sent(&request);
    assert_eq!(body["metadata"], json!({"user_id": "u1"}));
    assert_eq!(
        (&body["service_tier"], &body["stop_sequences"], &body["stream"]),
        (&json!("standard_only"), &json!(["END"]), &json!(true))
    );
    // The first of the extras is essential.
    assert_eq!(refused(&request), "x_future");
    let mut report = Report::default();
    let target = Target { base_model: None, model: MODEL, default_max_output: 1, limits: ModelLimits::default() };
    let encoded = encode(&request, target, Operation::Messages, &mut report);
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(body["x_future"], json!({"a": [1, null]}));
    let warnings: Vec<String> = report.finish().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["dropped;field=metadata.x"]);
}

#[test]
fn hard_cases_217_229_230_cache_marks() {
    let mut request = conversation(vec![turn(Role::User, vec![marked("a", None), marked("b", Some("12h"))])]);
    request.system = vec![marked("s", Some("1h")), text("t")];
    let body = sent(&request);
    assert_eq!(body["system"][0]["cache_control"], json!({"type": "ephemeral", "ttl": "1h"}));
    assert_eq!(body["messages"][0]["content"][0]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!(body["messages"][0]["content"][1]["cache_control"], json!({"type": "ephemeral", "ttl": "1h"}));
    assert_eq!(warnings(&request).len(), 1);
    // More than four: the last four stay.
    let many: Vec<Block> = (0..6).map(|index| marked(&index.to_string(), None)).collect();
    let body = sent(&conversation(vec![turn(Role::User, many)]));
    let kept: Vec<bool> = body["messages"][0]["content"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block.get("cache_control").is_some())
        .collect();
    assert_eq!(kept, [false, false, true, true, true, true]);
}
