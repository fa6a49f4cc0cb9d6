//! Hard cases of upstreams that speak Responses.

use routeapi_protocol::{
    dialect::Operation,
    report::Mode::{self, Default as Normal, Lenient, Strict},
};

use super::run::{
    A, Answer,
    Body::{self, Golden, Stream, Whole},
    C, G, R, Request,
    Want::{self, Complete, Ends, Fails, Is, Loses, No, Once, Quiet, Refuses, Says, Silent, Status, Then, Warns},
};

const fn asks(
    cases: &'static [u16],
    from: Operation,
    body: &'static str,
    model: &'static str,
    wants: &'static [Want],
) -> Request {
    Request { cases, from, body, to: R, model, mode: Normal, wants }
}

const fn in_mode(mode: Mode, row: Request) -> Request {
    Request { mode, ..row }
}

const fn answers(cases: &'static [u16], body: Body, to: Operation, wants: &'static [Want]) -> Answer {
    Answer { cases, from: R, body, to, usage: true, wants }
}

const REASONS: &str = "gpt-5.4";
const CLASSIC: &str = "gpt-4.1";

/// Two items of reasoning with their ids, carried by a Messages client.
const CARRIED: &str = r#"{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"Hm.","signature":"gw1.openai.thought.cnNfMS5nQUFBPT0"},{"type":"thinking","thinking":"","signature":"gw1.openai.thought.cnNfMi5nQkJC"},{"type":"text","text":"I look."},{"type":"tool_use","id":"call_1","name":"f","input":{"n":0}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"1"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}]}"#;
/// The same by a Chat client, whose dialect keeps words and state apart.
const CARRIED_CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"reasoning_content":"Hm.","reasoning_details":[{"type":"reasoning.encrypted","id":"rs_1","data":"gAAA==","format":"openai-responses-v1","index":0},{"type":"reasoning.encrypted","id":"rs_2","data":"gBBB","format":"openai-responses-v1","index":1}],"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_1","content":"1"}]}"#;
/// As OpenRouter writes it: the summary first, the blob behind it.
const OPENROUTER: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"a","reasoning_details":[{"type":"reasoning.summary","summary":"Hm.","format":"openai-responses-v1","index":0},{"type":"reasoning.encrypted","id":"rs_1","data":"gAAA==","format":"openai-responses-v1","index":0}]},{"role":"user","content":"y"}]}"#;
/// And by a Gemini client.
const CARRIED_GEMINI: &str = r#"{"contents":[{"role":"user","parts":[{"text":"x"}]},{"role":"model","parts":[{"text":"Hm.","thought":true,"thoughtSignature":"Z3cxLm9wZW5haS50aG91Z2h0LnJzXzEuZ0FBQT09"},{"functionCall":{"id":"c1","name":"f","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"id":"c1","name":"f","response":{"output":"1"}}}]}]}"#;
/// Reasoning that nothing of the model's follows.
const DANGLING: &str = r#"{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"thinking","thinking":"Hm.","signature":"gw1.openai.thought.cnNfMS5nQUFBPT0"}]},{"role":"user","content":"y"}]}"#;
/// Reasoning without a blob, of another vendor, and of a Chat server.
const FOREIGN: &str = r#"{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"one","signature":"gw1.openai.thought."},{"type":"thinking","thinking":"two","signature":"EqQBNative"},{"type":"thinking","thinking":"three","signature":"gw1.gemini.thought.QUE"},{"type":"text","text":"a"}]},{"role":"user","content":"y"}]}"#;
const STREAMED: &str =
    r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"x"}]}"#;
const TWO: &str = r#"{"model":"m","n":2,"messages":[{"role":"user","content":"x"}]}"#;
const SHORT: &str = r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#;
const LACKING: &str = r#"{"model":"m","max_tokens":99,"stop":["END"],"seed":7,"presence_penalty":0.5,"frequency_penalty":0,"logit_bias":{"1":-100},"messages":[{"role":"user","content":"x","name":"ann"}]}"#;
const PROBABLE: &str = r#"{"model":"m","logprobs":true,"top_logprobs":2,"messages":[{"role":"user","content":"x"}]}"#;
const SPOKEN: &str = r#"{"model":"m","modalities":["text","audio"],"audio":{"voice":"alloy","format":"wav"},"messages":[{"role":"user","content":"x"}]}"#;
const SHARED: &str = r#"{"model":"m","store":true,"metadata":{"a":"b"},"prompt_cache_key":"k","safety_identifier":"s","verbosity":"low","service_tier":"flex","parallel_tool_calls":false,"stream":true,"stream_options":{"include_obfuscation":false},"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}]}"#;
const GRAMMAR: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"custom","custom":{"name":"sql"}},"tools":[{"type":"custom","custom":{"name":"sql","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"start: /.+/"}}}}]}"#;
const STRICT_TOOL: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object","properties":{},"additionalProperties":false}}},{"type":"function","function":{"name":"g","parameters":{"type":"object","properties":{"a":{"type":"string"}}}}}]}"#;
const LONG_ID: &str = r#"{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_0123456789012345678901234567890123456789012345678901234567890123456789012345","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_0123456789012345678901234567890123456789012345678901234567890123456789012345","content":"1"}]}]}"#;
const SHORTENED: &str = "toolu_0123456789012345678901234567890123456789012345678_";
const TOLD_LATER: &str = r#"{"model":"m","messages":[{"role":"system","content":"a"},{"role":"developer","content":"b"},{"role":"user","content":"x"},{"role":"developer","content":"c"},{"role":"user","content":"y"}]}"#;
const FILES: &str = r#"{"model":"m","max_tokens":99,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://e.org/a.pdf"}},{"type":"document","title":"notes","source":{"type":"text","media_type":"text/plain","data":"words"}}]}]}"#;
const FILE_ID: &str =
    r#"{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]}]}"#;

/// What the upstream gets.
pub const REQUESTS: &[Request] = &[
    asks(
        &[153, 263, 117],
        A,
        CARRIED,
        REASONS,
        &[
            Is(
                "/input/1",
                r#"{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"Hm."}],"encrypted_content":"gAAA=="}"#,
            ),
            Is("/input/2", r#"{"type":"reasoning","id":"rs_2","summary":[],"encrypted_content":"gBBB"}"#),
            Is("/input/3", r#"{"type":"message","role":"assistant","content":"I look."}"#),
            Is("/input/4", r#"{"type":"function_call","call_id":"call_1","name":"f","arguments":"{\"n\":0}"}"#),
            Is("/input/5", r#"{"type":"function_call_output","call_id":"call_1","output":"1"}"#),
            Quiet,
        ],
    ),
    asks(
        &[153, 154, 155, 117],
        C,
        CARRIED_CHAT,
        REASONS,
        &[
            Is("/input/1/id", "\"rs_1\""),
            Is("/input/1/encrypted_content", "\"gAAA==\""),
            Is("/input/1/summary/0/text", "\"Hm.\""),
            Is("/input/2/encrypted_content", "\"gBBB\""),
            Is("/input/3/type", "\"function_call\""),
            Is("/store", "false"),
            Is("/include", r#"["reasoning.encrypted_content"]"#),
            Silent("status"),
            Quiet,
        ],
    ),
    asks(
        &[],
        C,
        OPENROUTER,
        REASONS,
        &[
            Is(
                "/input/1",
                r#"{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"Hm."}],"encrypted_content":"gAAA=="}"#,
            ),
            Quiet,
        ],
    ),
    asks(
        &[263],
        G,
        CARRIED_GEMINI,
        REASONS,
        &[
            Is("/input/1/id", "\"rs_1\""),
            Is("/input/1/encrypted_content", "\"gAAA==\""),
            Is("/input/2/type", "\"function_call\""),
            Quiet,
        ],
    ),
    asks(&[], A, DANGLING, REASONS, &[Silent("rs_1"), Warns("dropped;field=messages[].content[].thinking")]),
    asks(
        &[154],
        A,
        FOREIGN,
        REASONS,
        &[
            Silent("\"type\":\"reasoning\""),
            Silent("one"),
            Silent("two"),
            Silent("three"),
            Warns("dropped;field=messages[].content[].thinking"),
        ],
    ),
    in_mode(Strict, asks(&[], A, FOREIGN, REASONS, &[Refuses("messages[].content[].thinking")])),
    asks(&[154], C, STREAMED, CLASSIC, &[No("/include"), No("/reasoning"), Is("/store", "false")]),
    asks(&[124], C, STREAMED, REASONS, &[Silent("stream_options"), Is("/stream", "true"), Quiet]),
    asks(&[209], C, TWO, REASONS, &[Refuses("n")]),
    asks(&[], A, SHORT, REASONS, &[Is("/max_output_tokens", "16"), Warns("adapted;field=max_tokens;from=1;to=16")]),
    in_mode(Strict, asks(&[], A, SHORT, REASONS, &[Refuses("max_tokens")])),
    asks(
        &[],
        C,
        LACKING,
        CLASSIC,
        &[
            No("/stop"),
            No("/seed"),
            No("/presence_penalty"),
            No("/frequency_penalty"),
            No("/logit_bias"),
            Silent("ann"),
            Warns("dropped;field=stop"),
            Warns("dropped;field=seed"),
            Warns("dropped;field=presence_penalty"),
            Warns("dropped;field=logit_bias"),
            Warns("dropped;field=messages[].name"),
        ],
    ),
    asks(&[], C, PROBABLE, CLASSIC, &[Refuses("logprobs")]),
    asks(&[], C, SPOKEN, CLASSIC, &[Refuses("audio")]),
    in_mode(Lenient, asks(&[], C, SPOKEN, CLASSIC, &[No("/audio"), No("/modalities"), Warns("dropped;field=audio")])),
    asks(
        &[],
        C,
        SHARED,
        REASONS,
        &[
            Is("/store", "true"),
            Is("/metadata", r#"{"a":"b"}"#),
            Is("/prompt_cache_key", "\"k\""),
            Is("/safety_identifier", "\"s\""),
            Is("/text", r#"{"verbosity":"low"}"#),
            Is("/service_tier", "\"flex\""),
            Is("/parallel_tool_calls", "false"),
            Is("/stream_options", r#"{"include_obfuscation":false}"#),
            No("/user"),
            Quiet,
        ],
    ),
    asks(
        &[],
        C,
        GRAMMAR,
        REASONS,
        &[
            Is("/tools/0/format", r#"{"type":"grammar","syntax":"lark","definition":"start: /.+/"}"#),
            Is("/tool_choice", r#"{"type":"custom","name":"sql"}"#),
        ],
    ),
    asks(&[], C, STRICT_TOOL, REASONS, &[Is("/tools/0/strict", "true"), Is("/tools/1/strict", "false"), Quiet]),
    asks(
        &[117],
        A,
        LONG_ID,
        REASONS,
        &[
            Then(&[SHORTENED, "function_call_output", SHORTENED]),
            Silent("toolu_01234567890123456789012345678901234567890123456789012"),
        ],
    ),
    asks(
        &[],
        C,
        TOLD_LATER,
        REASONS,
        &[
            Is("/instructions", r#""a\n\nb""#),
            Is("/input/1", r#"{"type":"message","role":"system","content":"c"}"#),
            Quiet,
        ],
    ),
    asks(
        &[],
        A,
        FILES,
        REASONS,
        &[
            Is("/input/0/content/0", r#"{"type":"input_file","file_url":"https://e.org/a.pdf"}"#),
            Is("/input/0/content/1", r#"{"type":"input_text","text":"notes:\nwords"}"#),
        ],
    ),
    asks(&[], C, FILE_ID, REASONS, &[Is("/input/0/content/0", r#"{"type":"input_file","file_id":"file-1"}"#), Quiet]),
];

const TWO_MESSAGES: Body = Golden("responses/responses/two_messages.json");
const THOUGHT: Body = Golden("streams/responses/reasoning_and_tools.sse");
const BEGAN_AGAIN: Body = Stream(&[
    r#"data: {"type":"response.created","response":{"id":"resp_1"}}"#,
    r#"data: {"type":"response.output_text.delta","output_index":0,"delta":"a"}"#,
    r#"data: {"type":"response.created","response":{"id":"resp_2"}}"#,
]);
const NO_NAME: Body = Stream(&[
    r#"data: {"type":"response.function_call_arguments.delta","output_index":0,"delta":"{}"}"#,
    r#"data: {"type":"response.completed","response":{"status":"completed","output":[]}}"#,
]);
const BARE: Body = Stream(&[r#"data: {"error":{"message":"no capacity","code":"server_is_overloaded"}}"#]);
const CANCELLED: Body = Whole(r#"{"id":"resp_1","status":"cancelled","output":[]}"#);
const LOOSE: Body = Whole(
    r#"{"id":7,"model":null,"created_at":"soon","output":[{"content":"plain"},{"type":"message","content":[{"type":"output_text","text":5},null,{"type":"new_part"}]},{"type":"function_call","id":"fc_1","name":"f","arguments":{"a":1}},{"type":"new_item"}],"usage":{"input_tokens":"3","output_tokens":null}}"#,
);

/// What the client gets.
pub const ANSWERS: &[Answer] = &[
    answers(
        &[80],
        TWO_MESSAGES,
        C,
        &[
            Is("/choices/0/message/content", "\"Looking. Done.\""),
            Is("/choices/0/message/tool_calls/0/id", "\"call_1\""),
            Is("/choices/0/finish_reason", "\"tool_calls\""),
            No("/choices/1"),
        ],
    ),
    answers(&[92], Golden("streams/responses/arguments_only_in_done.sse"), C, &[Once("Brest"), Complete]),
    answers(&[92], Golden("streams/responses/arguments_only_in_done.sse"), A, &[Once("Brest"), Complete]),
    answers(&[92], Golden("streams/responses/arguments_only_in_done.sse"), G, &[Once("Brest"), Complete]),
    // No stream is given a content type to be read by.
    answers(&[59], THOUGHT, C, &[Then(&["data: {", "\"finish_reason\":\"tool_calls\"", "[DONE]"]), Complete]),
    answers(
        &[95],
        THOUGHT,
        A,
        &[
            Once("\"content_block\":{\"type\":\"thinking\""),
            Then(&["I need the port.", "\\n\\n", "Then the day.", "gw1.openai.thought.", "\"type\":\"text\""]),
            Silent("early"),
        ],
    ),
    answers(
        &[106],
        Golden("streams/responses/items_only_in_done.sse"),
        C,
        &[Once("Hello."), Once("\"name\":\"tide\"")],
    ),
    answers(
        &[106],
        Golden("streams/responses/items_only_in_done.sse"),
        A,
        &[Once("Hello."), Once("\"name\":\"tide\"")],
    ),
    answers(
        &[106],
        Golden("streams/responses/items_only_at_the_end.sse"),
        G,
        &[Once("Hello."), Once("\"name\":\"tide\"")],
    ),
    answers(
        &[115],
        Golden("streams/responses/incomplete.sse"),
        C,
        &[Then(&["\"finish_reason\":\"length\"", "\"prompt_tokens\":100", "[DONE]"]), Complete],
    ),
    answers(&[115], Golden("streams/responses/incomplete.sse"), A, &[Says("\"stop_reason\":\"max_tokens\""), Complete]),
    answers(
        &[237],
        Golden("streams/responses/hosted_tools.sse"),
        A,
        &[
            Silent("web_search"),
            Silent("tool_use"),
            Says("Here."),
            Loses("web_search_call"),
            Loses("response.new_thing.delta"),
        ],
    ),
    answers(
        &[],
        Golden("responses/responses/hosted_tools.json"),
        C,
        &[Says("\"images\":[{\"type\":\"image_url\""), Loses("web_search_call")],
    ),
    answers(
        &[],
        Golden("streams/responses/cited.sse"),
        C,
        &[
            Then(&["\"start_index\":4,\"end_index\":8", "\"start_index\":13,\"end_index\":17"]),
            Loses("output[].content[].annotations"),
        ],
    ),
    answers(
        &[],
        Golden("responses/responses/cited.json"),
        C,
        &[
            Is("/choices/0/message/annotations/1/url_citation/start_index", "13"),
            Loses("output[].content[].annotations"),
        ],
    ),
    answers(&[], Golden("responses/responses/failed.json"), A, &[Fails("try again in 2.5s"), Status(429)]),
    answers(&[], Golden("streams/responses/failed_first.sse"), C, &[Fails("try again in 2.5s"), Status(429)]),
    answers(
        &[],
        Golden("streams/responses/failed.sse"),
        A,
        &[Fails("The model crashed."), Status(500), Says("event: error"), Silent("message_stop")],
    ),
    answers(
        &[],
        Golden("streams/responses/error_flat.sse"),
        C,
        &[Fails("context window"), Status(400), Silent("[DONE]")],
    ),
    answers(&[], Golden("streams/responses/error_nested.sse"), G, &[Fails("current quota"), Status(429)]),
    answers(&[], Golden("streams/responses/truncated.sse"), C, &[Fails("ended before"), Status(502), Silent("[DONE]")]),
    answers(&[], Golden("streams/responses/done_without_an_end.sse"), C, &[Fails("ended before"), Silent("[DONE]")]),
    answers(&[], Golden("streams/responses/unreadable.sse"), A, &[Fails("unreadable"), Status(502)]),
    answers(&[], Golden("responses/responses/not_finished.json"), C, &[Fails("not finished")]),
    answers(&[], Golden("responses/responses/not_an_answer.json"), C, &[Fails("output: is required")]),
    answers(&[], CANCELLED, C, &[Fails("cancelled")]),
    answers(&[], BEGAN_AGAIN, C, &[Fails("a second time")]),
    answers(&[], NO_NAME, A, &[Fails("without a name")]),
    answers(&[], BARE, A, &[Fails("no capacity"), Status(503)]),
    answers(
        &[],
        LOOSE,
        C,
        &[
            Is("/choices/0/message/content", "\"plain5\""),
            Is("/choices/0/message/tool_calls/0/id", "\"fc_1\""),
            Is("/choices/0/message/tool_calls/0/function/arguments", r#""{\"a\":1}""#),
            Is("/usage/prompt_tokens", "3"),
            Loses("new_item"),
            Loses("output[].content[].new_part"),
        ],
    ),
    answers(&[], Golden("streams/responses/refusal.sse"), C, &[Says("\"refusal\":\"I cannot \""), Ends("[DONE]\n\n")]),
];
