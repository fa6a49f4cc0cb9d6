//! Hard cases of Responses clients whose upstreams speak something else.

use routeapi_protocol::{
    dialect::Operation,
    report::Mode::{self, Default as Normal, Lenient, Strict},
};

use super::run::{
    A, Answer,
    Body::{self, Golden, Instead, Stream, Whole},
    C, G, R, Request,
    Want::{self, Complete, Ends, Fails, Is, Loses, No, Once, OnlyWarns, Quiet, Refuses, Says, Silent, Then, Warns},
};

const fn row(
    cases: &'static [u16],
    body: &'static str,
    (to, model): (Operation, &'static str),
    wants: &'static [Want],
) -> Request {
    Request { cases, from: R, body, to, model, mode: Normal, wants }
}

const fn in_mode(mode: Mode, row: Request) -> Request {
    Request { mode, ..row }
}

const fn answer(cases: &'static [u16], from: Operation, body: Body, wants: &'static [Want]) -> Answer {
    Answer { cases, from, body, to: R, usage: true, wants }
}

const SONNET: (Operation, &str) = (A, "claude-sonnet-4-5");
const FLASH: (Operation, &str) = (G, "gemini-2.5-flash");
const GPT: (Operation, &str) = (C, "gpt-4.1");
const OTHER: (Operation, &str) = (C, "qwen3");

const SCHEMA: &str = r#"{"model":"m","input":"x","text":{"format":{"type":"json_schema","name":"p","strict":true,"schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}}}"#;
const FREE: &str = r#"{"model":"m","input":[{"role":"user","content":"x"},{"type":"custom_tool_call","call_id":"c","name":"patch","input":"***"},{"type":"custom_tool_call_output","call_id":"c","output":"ok"}],"tools":[{"type":"custom","name":"patch","format":{"type":"grammar","syntax":"lark","definition":"start: X"}},{"type":"namespace","name":"ns","description":"d","tools":[{"type":"function","name":"g"}]}],"tool_choice":{"type":"custom","name":"patch"}}"#;
const CACHE: &str = r#"{"model":"m","prompt_cache_retention":"24h","input":[{"role":"user","content":[{"type":"input_text","text":"x","prompt_cache_breakpoint":{"mode":"explicit"}}]}]}"#;
const MIXED: &str = r#"{"model":"m","input":[{"role":"user","content":"x"},{"type":"function_call","call_id":"c","name":"shot","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"here"},{"type":"input_image","image_url":"data:image/png;base64,AA=="}]}],"tools":[{"type":"function","name":"shot"}]}"#;
const LONG_ID: &str = r#"{"model":"m","input":[{"role":"user","content":"x"},{"type":"function_call","call_id":"functions.f:0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"functions.f:0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789","output":"x"}],"tools":[{"type":"function","name":"f"}]}"#;
const HOSTED: &str = r#"{"model":"m","input":"x","tools":[{"type":"web_search"},{"type":"mcp","server_label":"s","server_url":"https://s"},{"type":"function","name":"f"}]}"#;
const FORCED: &str = r#"{"model":"m","input":"x","tools":[{"type":"web_search"},{"type":"function","name":"f"}],"tool_choice":{"type":"web_search"}}"#;
const CACHED_SEARCH: &str = r#"{"model":"m","input":"x","tools":[{"type":"web_search","external_web_access":false},{"type":"function","name":"f"}],"tool_choice":{"type":"web_search"}}"#;
const STATE: &str = r#"{"model":"m","input":"x","previous_response_id":"resp_1"}"#;
const DETACHED: &str = r#"{"model":"m","input":"x","background":true}"#;
const SETTINGS: &str = r#"{"model":"m","input":"x","temperature":0,"parallel_tool_calls":false,"store":false,"truncation":"disabled","background":false,"reasoning":{"effort":"none"},"tools":[{"type":"function","name":"f"}]}"#;

const SEARCHES: &str = r#"{"model":"m","input":[{"role":"user","content":"x"},{"type":"web_search_call","id":"ws_gw1_r_0","status":"completed","action":{"type":"search","query":"tides"}},{"type":"reasoning","id":"rs_gw1_r_1","summary":[],"encrypted_content":"gw1.anthropic.hosted.W3sidHlwZSI6InNlcnZlcl90b29sX3VzZSIsImlkIjoic3J2dG9vbHVfMSIsIm5hbWUiOiJ3ZWJfc2VhcmNoIiwiaW5wdXQiOnsicXVlcnkiOiJ0aWRlcyJ9fSx7InR5cGUiOiJ3ZWJfc2VhcmNoX3Rvb2xfcmVzdWx0IiwidG9vbF91c2VfaWQiOiJzcnZ0b29sdV8xIiwiY29udGVudCI6W3sidHlwZSI6IndlYl9zZWFyY2hfcmVzdWx0IiwidXJsIjoiaHR0cHM6Ly9lLm9yZy9hIiwidGl0bGUiOiJBIiwiZW5jcnlwdGVkX2NvbnRlbnQiOiJSWEU9IiwicGFnZV9hZ2UiOm51bGx9XX1d"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"high"}]},{"role":"user","content":"and now?"}],"tools":[{"type":"web_search"}]}"#;

const NO_REASON: Body = Stream(&[
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}",
    "data: [DONE]",
]);
const SEARCHED: Body = Stream(&[
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"c\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"server_tool_use\",\"id\":\"srvtoolu_1\",\"name\":\"web_search\",\"input\":{}}}",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"query\\\":\\\"tides\\\"}\"}}",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"web_search_tool_result\",\"tool_use_id\":\"srvtoolu_1\",\"content\":[{\"type\":\"web_search_result\",\"url\":\"https://e.org/a\",\"title\":\"A\",\"encrypted_content\":\"RXE=\"}]}}",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"text_delta\",\"text\":\"high\"}}",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":2}",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}",
]);
const FAILED_SEARCH: Body = Whole(
    r#"{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[{"type":"server_tool_use","id":"s1","name":"web_search","input":{"query":"tides"}},{"type":"web_search_tool_result","tool_use_id":"s1","content":{"type":"web_search_tool_result_error","error_code":"unavailable"}},{"type":"text","text":"no"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#,
);
const CUT: Body = Stream(&["data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}"]);
const OVERLOADED: Body = Stream(&[
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"c\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}",
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}",
]);
const SPARSE: Body = Stream(&[
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"c\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":2}",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":5,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}}",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":5}",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":2}}",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}",
]);
const ONE_CHUNK: Body = Stream(&[
    "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hm\",\"thought\":true},{\"functionCall\":{\"name\":\"f\",\"args\":{\"x\":0}},\"thoughtSignature\":\"U2ln\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":4,\"thoughtsTokenCount\":3,\"totalTokenCount\":12}}",
]);
const LONG_CALL: Body = Whole(
    r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"functions.f:0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#,
);
const BLOCKED: Body = Whole(r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":5}}"#);
const PLAIN: Body =
    Whole(r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#);
const TWO: Body = Whole(
    r#"{"id":"c","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"},{"index":1,"message":{"content":"b"},"finish_reason":"stop"}]}"#,
);
const DOCUMENT: Body = Instead(
    r#"{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[{"type":"thinking","thinking":"hm","signature":"EqQB"},{"type":"text","text":"hi"}],"stop_reason":"max_tokens","usage":{"input_tokens":3,"output_tokens":2}}"#,
);

pub const REQUESTS: &[Request] = &[
    row(
        &[121],
        SCHEMA,
        GPT,
        &[Is("/response_format/json_schema/name", r#""p""#), Is("/response_format/json_schema/strict", "true"), Quiet],
    ),
    row(&[121], SCHEMA, FLASH, &[Is("/generationConfig/responseMimeType", r#""application/json""#)]),
    row(
        &[122],
        FREE,
        OTHER,
        &[
            Is("/tools/0/function/name", r#""patch""#),
            Is("/tools/1/function/name", r#""ns__g""#),
            Is("/messages/1/tool_calls/0/function/arguments", r#""{\"input\":\"***\"}""#),
            Is("/tool_choice/function/name", r#""patch""#),
            Silent("custom"),
            Warns("tools[].format"),
        ],
    ),
    row(
        &[122],
        FREE,
        SONNET,
        &[
            Is("/tools/0/input_schema/required/0", r#""input""#),
            Is("/tools/1/name", r#""ns__g""#),
            Is("/messages/1/content/0/input/input", r#""***""#),
            Is("/tool_choice/name", r#""patch""#),
        ],
    ),
    row(
        &[123],
        CACHE,
        GPT,
        &[
            No("/prompt_cache_retention"),
            Silent("breakpoint"),
            Warns("prompt_cache_retention"),
            Warns("input[].content[].prompt_cache_breakpoint"),
        ],
    ),
    row(
        &[123],
        CACHE,
        SONNET,
        &[No("/prompt_cache_retention"), Is("/messages/0/content/0/cache_control/type", r#""ephemeral""#)],
    ),
    row(
        &[178],
        MIXED,
        FLASH,
        &[Is("/contents/2/parts/0/functionResponse/response/output", r#""here""#), Once("\"inlineData\""), Quiet],
    ),
    row(
        &[177],
        MIXED,
        GPT,
        &[
            Is("/messages/2/content", r#""here""#),
            Is("/messages/3/content/1/image_url/url", r#""data:image/png;base64,AA==""#),
        ],
    ),
    row(&[177], MIXED, SONNET, &[Is("/messages/2/content/0/content/1/source/data", r#""AA==""#)]),
    row(
        &[116],
        LONG_ID,
        SONNET,
        &[Then(&["\"id\":\"functions_f_0123456789-", "\"tool_use_id\":\"functions_f_0123456789-"])],
    ),
    row(
        &[172],
        HOSTED,
        SONNET,
        &[
            Is("/tools/0", r#"{"type":"web_search_20250305","name":"web_search"}"#),
            Is("/tools/1/name", r#""f""#),
            No("/tools/2"),
            OnlyWarns("tools[].mcp"),
        ],
    ),
    row(&[172], HOSTED, GPT, &[Is("/tools/0/function/name", r#""f""#), Warns("tools[].mcp")]),
    row(&[172], HOSTED, FLASH, &[Is("/tools/0/functionDeclarations/0/name", r#""f""#), Warns("tools[].web_search")]),
    in_mode(Strict, row(&[172], HOSTED, FLASH, &[Refuses("tools[].web_search")])),
    row(&[172], FORCED, GPT, &[Refuses("tools[].web_search")]),
    row(&[172], FORCED, SONNET, &[Is("/tool_choice", r#"{"type":"tool","name":"web_search"}"#), Quiet]),
    row(&[172], CACHED_SEARCH, SONNET, &[Refuses("tools[].web_search")]),
    in_mode(Lenient, row(&[172], CACHED_SEARCH, SONNET, &[Is("/tools/0/name", r#""f""#)])),
    row(
        &[236],
        SEARCHES,
        SONNET,
        &[
            Is("/messages/1/content/0/type", r#""server_tool_use""#),
            Is("/messages/1/content/1/content/0/encrypted_content", r#""RXE=""#),
            Is("/messages/1/content/2/text", r#""high""#),
            No("/messages/1/content/3"),
            Silent("gw1"),
            Quiet,
        ],
    ),
    row(&[236], SEARCHES, OTHER, &[Says("tides"), Silent("RXE="), Silent("gw1")]),
    row(&[], STATE, SONNET, &[Refuses("previous_response_id")]),
    in_mode(Lenient, row(&[], STATE, GPT, &[Refuses("previous_response_id")])),
    row(&[], DETACHED, GPT, &[Refuses("background")]),
    row(
        &[1, 10],
        SETTINGS,
        SONNET,
        &[Is("/temperature", "0"), Is("/tool_choice/disable_parallel_tool_use", "true"), Quiet],
    ),
];

pub const ANSWERS: &[Answer] = &[
    answer(
        &[16],
        C,
        PLAIN,
        &[
            Is("/usage/input_tokens_details/cached_tokens", "0"),
            Is("/usage/output_tokens_details/reasoning_tokens", "0"),
            Is("/usage/total_tokens", "0"),
            Is("/status", r#""completed""#),
            Is("/output/0/content/0/text", r#""hi""#),
            Is("/output/0/content/0/annotations", "[]"),
        ],
    ),
    answer(
        &[236],
        A,
        SEARCHED,
        &[
            Then(&[
                r#""output_index":0,"item":{"id":"ws_gw1_"#,
                r#""status":"in_progress","action":{"type":"search","query":"tides""#,
                "response.web_search_call.searching",
                "response.web_search_call.completed",
                r#""sources":[{"type":"url","url":"https://e.org/a"}]"#,
                r#""output_index":1,"item":{"id":"rs_gw1_"#,
                "gw1.anthropic.hosted.W3si",
                r#""output_index":2,"item":{"id":"msg_"#,
                "response.completed",
            ]),
            Silent("function_call"),
            Complete,
        ],
    ),
    answer(
        &[236],
        A,
        FAILED_SEARCH,
        &[
            Is("/output/0/type", r#""web_search_call""#),
            Is("/output/0/status", r#""failed""#),
            Is("/output/2/type", r#""message""#),
        ],
    ),
    answer(
        &[104],
        A,
        SPARSE,
        &[
            Then(&["\"output_index\":0,\"item\"", "\"output_index\":1,\"item\""]),
            Silent("\"output_index\":2"),
            Complete,
        ],
    ),
    answer(
        &[109],
        C,
        NO_REASON,
        &[
            Then(&[
                "response.created",
                "response.output_text.done",
                "response.output_item.done",
                "response.function_call_arguments.done",
                "response.output_item.done",
                "event: response.completed",
            ]),
            Complete,
        ],
    ),
    answer(
        &[112],
        C,
        CUT,
        &[
            Then(&["response.output_text.delta", "response.output_item.done", "event: response.failed"]),
            Says("\"error\":{\"code\":\"server_error\""),
            Says("\"status\":\"incomplete\""),
            Silent("response.completed"),
            Silent("event: error"),
            Fails("cut off"),
        ],
    ),
    answer(
        &[112],
        A,
        OVERLOADED,
        &[
            Says("\"error\":{\"code\":\"server_is_overloaded\",\"message\":\"busy\"}"),
            Silent("response.completed"),
            Fails("busy"),
        ],
    ),
    answer(
        &[113],
        C,
        Golden("streams/chat_completions/usage_late.sse"),
        &[Once("\"input_tokens\""), Then(&["event: response.completed", "\"input_tokens\""]), Complete],
    ),
    answer(
        &[114],
        G,
        ONE_CHUNK,
        &[
            Then(&[
                "\"type\":\"reasoning\"",
                "reasoning_summary_text.delta",
                "\"encrypted_content\":\"gw1.gemini.call.",
                "\"type\":\"function_call\"",
                "event: response.completed",
            ]),
            Says("\"reasoning_tokens\":3"),
            Complete,
        ],
    ),
    answer(
        &[116],
        C,
        LONG_CALL,
        &[
            Says("\"call_id\":\"functions.f:0123456789-0123456789-0123456789-0123456789_"),
            Silent("0123456789-0123456789-0123456789-0123456789-0123456789-0123456789"),
        ],
    ),
    answer(
        &[232],
        G,
        BLOCKED,
        &[
            Is("/status", r#""incomplete""#),
            Is("/incomplete_details/reason", r#""content_filter""#),
            Is("/output", "[]"),
        ],
    ),
    answer(&[209], C, TWO, &[Is("/output/0/content/0/text", r#""a""#), No("/output/1"), Loses("candidates")]),
    answer(
        &[60],
        A,
        DOCUMENT,
        &[
            Then(&[
                "response.created",
                "reasoning_summary_text.delta",
                "\"encrypted_content\":\"gw1.anthropic.thought.",
                "output_text.delta",
                "event: response.incomplete",
            ]),
            Says("\"reason\":\"max_output_tokens\""),
            Ends("\n\n"),
            Silent("[DONE]"),
            Complete,
        ],
    ),
];
