//! Requests: what a vendor's models take is what is sent.

use routeapi_protocol::{dialect::Operation, report::Mode};

use super::run::{
    A, C, G, Request,
    Want::{self, Is, No, Quiet, Refuses, Says, Silent, Warns},
};

const fn row(
    (from, body): (Operation, &'static str),
    (to, model): (Operation, &'static str),
    wants: &'static [Want],
) -> Request {
    Request { cases: &[], from, body, to, model, mode: Mode::Default, wants }
}

const fn strict(row: Request) -> Request {
    Request { mode: Mode::Strict, ..row }
}

const LONG_USER: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"metadata":{"user_id":"{\"device_id\":\"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1\",\"session_id\":\"0\"}"}}"#;
const PLAIN: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
const HARD: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"reasoning_effort":"high"}"#;
const HARD_WITH_LIMIT: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"reasoning_effort":"high","max_completion_tokens":8000}"#;
const BUDGET_IN_8000: &str = r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"maxOutputTokens":8000,"thinkingConfig":{"thinkingBudget":8192}}}"#;
const LEAST_BUDGET: &str = r#"{"model":"m","max_tokens":4000,"messages":[{"role":"user","content":"x"}],"thinking":{"type":"enabled","budget_tokens":1024}}"#;
const MINIMAL: &str =
    r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"thinkingConfig":{"thinkingLevel":"MINIMAL"}}}"#;
const BARE_TOOL: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f","input_schema":{"type":"object"}}]}"#;
const LIST_TOOL: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f","input_schema":{"type":"object","properties":{"ids":{"type":"array"}}}}]}"#;
const EITHER_TOOL: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f","input_schema":{"type":"object","anyOf":[{"type":"object","properties":{"a":{}},"required":["a"]},{"type":"object","properties":{"b":{}},"required":["b"]}]}}]}"#;
const LIST_OUTPUT: &str = r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"responseMimeType":"application/json","responseSchema":{"type":"ARRAY","items":{"type":"STRING"}}}}"#;
const OPTIONAL: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"ok":{"type":"boolean"},"why":{"type":"string"}},"required":["ok"],"additionalProperties":false}}}}"#;
const REQUIRED: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false}}}}"#;
const OPTIONAL_TOOL: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f","strict":true,"input_schema":{"type":"object","properties":{"ok":{}}}}]}"#;
const WARM: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"temperature":0.2,"top_p":0.5,"stop_sequences":["END"]}"#;
const NEUTRAL: &str =
    r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"temperature":1,"top_p":1.0}"#;
const MUCH: &str = r#"{"model":"m","max_tokens":320000,"messages":[{"role":"user","content":"x"}]}"#;
const MUCH_CHAT: &str = r#"{"model":"m","max_tokens":320000,"messages":[{"role":"user","content":"x"}]}"#;
const NOTES: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","title":"notes","source":{"type":"text","media_type":"text/plain","data":"The codeword is HERON."}},{"type":"text","text":"codeword?"}]}]}"#;
const CSV: &str =
    r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"text/csv","data":"YSxiCjEsMg=="}},{"text":"sum?"}]}]}"#;
const PAPER_AT: &str = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"filename":"a.pdf","file_data":"https://example.com/a.pdf"}}]}]}"#;

const SEARCHED: &str = r#"{"model":"m","max_tokens":400,"messages":[{"role":"user","content":"search tides"},{"role":"assistant","content":[{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"tides"}},{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","url":"https://example.org/t","title":"Tides","encrypted_content":"SECRETEq","page_age":null}]},{"type":"text","text":"High at 9."}]},{"role":"user","content":"and low?"}]}"#;
const RAN: &str = r#"{"contents":[{"role":"user","parts":[{"text":"6*7?"}]},{"role":"model","parts":[{"executableCode":{"language":"PYTHON","code":"print(6*7)"}},{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"42"}},{"text":"42"}]},{"role":"user","parts":[{"text":"and +1?"}]}]}"#;
const FOREIGN_THOUGHT: &str = r#"{"model":"m","messages":[{"role":"user","content":"1"},{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"2"}]},{"role":"user","content":"3"}]}"#;
const REASONED: &str = r#"{"model":"m","max_tokens":4000,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"I need the tool.","signature":"gw1.openai.thought."},{"type":"tool_use","id":"t","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"1"}]}]}"#;
const REASONED_BY_CLAUDE: &str = r#"{"model":"m","max_tokens":4000,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"secret thought","signature":"EqQB"},{"type":"tool_use","id":"t","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"1"}]}]}"#;
const DRAW: &str = r#"{"model":"m","messages":[{"role":"user","content":"draw"}],"modalities":["image","text"]}"#;
const DRAW_G: &str =
    r#"{"contents":[{"parts":[{"text":"draw"}]}],"generationConfig":{"responseModalities":["TEXT","IMAGE"]}}"#;
const SPEAK_G: &str =
    r#"{"contents":[{"parts":[{"text":"say"}]}],"generationConfig":{"responseModalities":["AUDIO"]}}"#;
const JOKE: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"Joke","description":"A joke, rated from 1 to 10","schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}}}"#;
const EAGER: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","eager_input_streaming":true,"function":{"name":"f","x_future":1,"parameters":{"type":"object","properties":{}}}}]}"#;
const FILE_G: &str = r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/abc","mimeType":"image/png"}}]}]}"#;
const SEARCH_G: &str = r#"{"contents":[{"parts":[{"text":"hi"}]}],"tools":[{"googleSearch":{}}]}"#;
const NOTHING_G: &str = r#"{"contents":[{"parts":[{"text":"x"}]}],"safetySettings":[],"labels":{},"generationConfig":{"mediaResolution":"MEDIA_RESOLUTION_UNSPECIFIED"}}"#;
const NOTHING_C: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"store":false,"metadata":{},"logit_bias":{},"presence_penalty":0,"frequency_penalty":0.0,"top_p":1,"temperature":1,"user":"","stream_options":{"include_obfuscation":false}}"#;
const NOTHING_A: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"metadata":{"user_id":""},"context_management":{"edits":[]},"mcp_servers":[]}"#;

pub const ROWS: &[Request] = &[
    // Histories that hold what another vendor ran are told in words, so that the conversation goes on.
    row(
        (A, SEARCHED),
        (C, "gpt-4o"),
        &[Says("https://example.org/t"), Says("High at 9."), Silent("SECRET"), Warns("web_search_tool_result;to=text")],
    ),
    row((A, SEARCHED), (G, "gemini-2.5-flash"), &[Says("[server_tool_use: "), Says("Tides"), Silent("SECRET")]),
    row((G, RAN), (A, "claude-sonnet-4-5"), &[Says("print(6*7)"), Says("OUTCOME_OK")]),
    row((G, RAN), (C, "gpt-4o"), &[Says("print(6*7)"), Warns("codeExecutionResult")]),
    row(
        (C, FOREIGN_THOUGHT),
        (G, "gemini-2.5-flash"),
        &[Silent("hm"), Warns("field=messages[].content[].thinking"), Silent("reasoning_details")],
    ),
    // Reasoning of a Chat server returns to Chat servers, and only there.
    row((A, REASONED), (C, "deepseek-v4-pro"), &[Is("/messages/1/reasoning_content", "\"I need the tool.\""), Quiet]),
    row((A, REASONED), (C, "gpt-5.2"), &[No("/messages/1/reasoning_content"), Warns("thinking")]),
    row((A, REASONED), (A, "claude-sonnet-4-5"), &[Silent("I need the tool."), Warns("thinking")]),
    row((A, REASONED_BY_CLAUDE), (C, "deepseek-v4-pro"), &[Silent("secret thought")]),
    // Kinds of output.
    row(
        (C, DRAW),
        (G, "gemini-2.5-flash-image"),
        &[Is("/generationConfig/responseModalities", r#"["IMAGE","TEXT"]"#), Quiet],
    ),
    row((G, DRAW_G), (C, "google/gemini-image"), &[Is("/modalities", r#"["text","image"]"#), Quiet]),
    row((G, SPEAK_G), (C, "gpt-4o"), &[Refuses("generationConfig.responseModalities")]),
    row((C, DRAW), (A, "claude-sonnet-4-5"), &[Refuses("modalities")]),
    // Nothing is dropped in silence, and fields have the client's names.
    row((C, JOKE), (A, "claude-sonnet-4-5"), &[Says("A joke, rated from 1 to 10"), Quiet]),
    row((C, JOKE), (G, "gemini-2.5-flash"), &[Says("A joke, rated from 1 to 10"), Quiet]),
    row(
        (C, EAGER),
        (A, "claude-sonnet-4-5"),
        &[Warns("tools[].eager_input_streaming"), Warns("tools[].function.x_future")],
    ),
    row((G, FILE_G), (C, "gpt-4.1"), &[Refuses("contents[].parts[].fileData")]),
    row((G, SEARCH_G), (C, "gpt-4.1"), &[Refuses("tools[].googleSearch")]),
    // Asking for nothing is no loss, in no mode.
    strict(row((G, NOTHING_G), (C, "gpt-4.1"), &[Quiet])),
    strict(row((G, NOTHING_G), (A, "claude-sonnet-4-5"), &[Quiet])),
    strict(row((C, NOTHING_C), (A, "claude-sonnet-4-5"), &[Quiet])),
    strict(row((C, NOTHING_C), (A, "claude-opus-4-7"), &[Quiet, No("/temperature")])),
    strict(row((C, NOTHING_C), (G, "gemini-3-pro-preview"), &[Quiet])),
    strict(row((A, NOTHING_A), (C, "gpt-4.1"), &[Quiet, No("/user")])),
    strict(row((A, NOTHING_A), (G, "gemini-2.5-flash"), &[Quiet])),
    // Claude Code's user id is a JSON text of 155 characters; OpenAI takes 64.
    row((A, LONG_USER), (C, "gpt-4o"), &[Silent("device_id"), Warns("metadata.user_id"), Says("\"user\":\"")]),
    // No limit means all that the model can write, and thinking leaves room for an answer.
    row((C, PLAIN), (A, "claude-sonnet-4-5"), &[Is("/max_tokens", "64000"), Quiet]),
    row((C, PLAIN), (A, "claude-unheard-of"), &[Is("/max_tokens", "8192")]),
    row(
        (C, HARD),
        (A, "claude-sonnet-4-5"),
        &[Is("/max_tokens", "64000"), Is("/thinking/budget_tokens", "16384"), Quiet],
    ),
    row(
        (C, HARD_WITH_LIMIT),
        (A, "claude-sonnet-4-5"),
        &[Is("/thinking/budget_tokens", "6000"), Is("/max_tokens", "8000")],
    ),
    row((G, BUDGET_IN_8000), (A, "claude-sonnet-4-5"), &[Is("/thinking/budget_tokens", "6000")]),
    // A wish to think never turns thinking off.
    row((A, LEAST_BUDGET), (C, "gpt-5.2"), &[Is("/reasoning_effort", "\"low\"")]),
    row((G, MINIMAL), (C, "gpt-5.2"), &[Is("/reasoning_effort", "\"low\"")]),
    row((A, LEAST_BUDGET), (C, "qwen3"), &[Is("/reasoning_effort", "\"low\"")]),
    // Schemas that OpenAI refuses and others take.
    row((A, BARE_TOOL), (C, "gpt-4o"), &[Is("/tools/0/function/parameters/properties", "{}"), Quiet]),
    row((A, LIST_TOOL), (C, "gpt-4o"), &[Is("/tools/0/function/parameters/properties/ids/items", "{}"), Quiet]),
    row(
        (A, EITHER_TOOL),
        (C, "gpt-4o"),
        &[
            No("/tools/0/function/parameters/anyOf"),
            Says("\"properties\":{\"a\":{},\"b\":{}}"),
            Warns("tools[].input_schema"),
        ],
    ),
    row((G, LIST_OUTPUT), (C, "gpt-4o"), &[Refuses("generationConfig.responseSchema")]),
    // `strict` only where the schema keeps the promise.
    row(
        (A, OPTIONAL),
        (C, "gpt-5.2"),
        &[No("/response_format/json_schema/strict"), Warns("output_config.format.schema")],
    ),
    row((A, REQUIRED), (C, "gpt-5.2"), &[Is("/response_format/json_schema/strict", "true"), Quiet]),
    row((A, OPTIONAL_TOOL), (C, "gpt-5.2"), &[No("/tools/0/function/strict"), Warns("tools[].strict")]),
    // Reasoning models refuse sampling settings and stop texts.
    row(
        (A, WARM),
        (C, "gpt-5-mini"),
        &[No("/temperature"), No("/top_p"), No("/stop"), Warns("temperature"), Warns("top_p"), Warns("stop_sequences")],
    ),
    row((A, NEUTRAL), (C, "gpt-5-mini"), &[No("/temperature"), No("/top_p"), Quiet]),
    row((A, WARM), (C, "gpt-4o"), &[Is("/temperature", "0.2"), Is("/top_p", "0.5"), Says("\"stop\""), Quiet]),
    // What is more than the model can write.
    row((A, MUCH), (C, "gpt-4o"), &[Is("/max_tokens", "16384"), Warns("max_tokens;from=320000;to=16384")]),
    row((A, MUCH), (C, "qwen3"), &[Is("/max_tokens", "320000"), Quiet]),
    row((A, MUCH), (G, "gemini-2.5-flash"), &[Is("/generationConfig/maxOutputTokens", "65536"), Warns("max_tokens")]),
    row(
        (C, MUCH_CHAT),
        (A, "claude-haiku-4-5"),
        &[Is("/max_tokens", "64000"), Warns("field=max_tokens;from=320000;to=64000")],
    ),
    // Documents of text are told as text; an address is an address.
    row((A, NOTES), (C, "gpt-4o"), &[Says("notes:\\nThe codeword is HERON."), Silent("file_data")]),
    row((G, CSV), (C, "gpt-4o"), &[Says("a,b\\n1,2"), Silent("file_data")]),
    row(
        (C, PAPER_AT),
        (A, "claude-sonnet-4-5"),
        &[Is("/messages/0/content/0/source", r#"{"type":"url","url":"https://example.com/a.pdf"}"#)],
    ),
    row(
        (C, PAPER_AT),
        (G, "gemini-2.5-flash"),
        &[Says("\"fileUri\":\"https://example.com/a.pdf\""), Silent("inlineData")],
    ),
];
