//! Requests: what a vendor's models take is what is sent.

use routeapi_protocol::{dialect::Surface, report::Mode};

use super::run::{
    A, C, G, Request,
    Want::{self, Is, No, Quiet, Refuses, Says, Silent, Warns},
};

const fn row(
    (from, body): (Surface, &'static str),
    (to, model): (Surface, &'static str),
    wants: &'static [Want],
) -> Request {
    Request { cases: &[], from, body, to, model, mode: Mode::Default, wants }
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

pub const ROWS: &[Request] = &[
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
    row((G, LIST_OUTPUT), (C, "gpt-4o"), &[Refuses("generationConfig.responseJsonSchema")]),
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
    row((C, MUCH_CHAT), (A, "claude-haiku-4-5"), &[Is("/max_tokens", "64000"), Warns("max_completion_tokens")]),
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
