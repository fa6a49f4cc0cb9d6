//! Answers: what compatible servers really send is read as it is meant.

use routeapi_protocol::dialect::Operation;

use super::run::{
    A, Answer,
    Body::{self, Stream, Whole},
    C, G,
    Want::{self, Is, Once, Says, Silent},
};

const fn row(from: Operation, body: Body, to: Operation, wants: &'static [Want]) -> Answer {
    Answer { cases: &[], from, body, to, usage: true, wants }
}

const ZERO_VALUED: Body = Whole(
    r#"{"id":"c1","choices":[{"index":0,"message":{"role":"assistant","content":"Let me check.","function_call":{"arguments":"","name":""},"tool_calls":[{"id":"toolu_1","type":"function","custom":{"input":"","name":""},"function":{"name":"get_weather","arguments":"{\"city\":\"Lima\"}"}}]},"finish_reason":""}]}"#,
);
const ZERO_VALUED_STREAM: Body = Stream(&[
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{"function_call":{"name":"","arguments":""},"tool_calls":[{"index":0,"id":"toolu_1","function":{"name":"get_weather","arguments":"{\"city\":"}}]}}]}"#,
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{"function_call":{"name":"","arguments":""},"tool_calls":[{"index":0,"id":"","function":{"name":"","arguments":"\"Lima\"}"}},{"index":1,"id":"","function":{"name":"","arguments":""}}]}}]}"#,
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
    "data: [DONE]",
]);
const DETAILS: Body = Stream(&[
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning_details":[{"type":"reasoning.text","format":"anthropic-claude-v1","index":0,"text":"3 + 4"}]}}]}"#,
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{"content":"","reasoning_details":[{"type":"reasoning.text","format":"anthropic-claude-v1","index":0,"text":" = 7"}]}}]}"#,
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{"content":"seven"}}]}"#,
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "data: [DONE]",
]);
const DETAILS_TWICE: Body = Stream(&[
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{"reasoning":"3 + 4","reasoning_details":[{"type":"reasoning.text","format":"anthropic-claude-v1","index":0,"text":"3 + 4"}]}}]}"#,
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.text","format":"anthropic-claude-v1","index":0,"text":"3 + 4","signature":"U2ln"}]}}]}"#,
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{"content":"seven"}}]}"#,
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "data: [DONE]",
]);
const DETAILS_WHOLE: Body = Whole(
    r#"{"id":"c1","choices":[{"index":0,"message":{"role":"assistant","content":"7","reasoning_details":[{"type":"reasoning.text","format":"anthropic-claude-v1","index":0,"text":"3 + 4 = 7"}]},"finish_reason":"stop"}]}"#,
);
const SIGNED_PLAIN: Body = Whole(
    r#"{"id":"c1","choices":[{"index":0,"message":{"role":"assistant","content":"7","reasoning":"3 + 4 = 7","reasoning_details":[{"type":"reasoning.text","format":"anthropic-claude-v1","signature":"U2ln"}]},"finish_reason":"stop"}]}"#,
);
const NUMERIC: Body = Whole(
    r#"{"id":123,"created":1.5,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":7,"type":"function","function":{"name":"get_weather","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":12,"completion_tokens":9}}"#,
);
const NUMERIC_STREAM: Body = Stream(&[
    r#"data: {"id":123,"created":"1","choices":[{"index":"0","delta":{"role":"assistant","content":42}}]}"#,
    r#"data: {"id":123,"choices":[{"index":0,"delta":{"tool_calls":[{"index":"0","id":7,"type":"function","function":{"name":"get_weather","arguments":"{}"}}]}}]}"#,
    r#"data: {"id":123,"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
    "data: [DONE]",
]);

const REASONED: Body = Stream(&[
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{"reasoning_content":"I need "}}]}"#,
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{"reasoning_content":"the tool."}}]}"#,
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}"#,
    r#"data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
    "data: [DONE]",
]);
const REASONED_WHOLE: Body = Whole(
    r#"{"id":"c1","choices":[{"index":0,"message":{"role":"assistant","content":"x","reasoning_content":"I need the tool."},"finish_reason":"stop"}]}"#,
);
const SIGNED_CALL: Body = Stream(&[
    r#"data: {"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"name":"weather","args":{"city":"Paris"}},"thoughtSignature":"AAAA"}]},"finishReason":"STOP","index":0}]}"#,
]);
const PIECES: Body = Stream(&[
    r#"data: {"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"name":"f","willContinue":true}}]},"index":0}]}"#,
    r#"data: {"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"partialArgs":[{"jsonPath":"$.a","stringValue":"x","willContinue":true}],"willContinue":true}}]},"index":0}]}"#,
    r#"data: {"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"partialArgs":[{"jsonPath":"$.a","stringValue":"y"}]}}]},"finishReason":"STOP","index":0}]}"#,
]);
const SPLICED: Body = Stream(&[
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"usage\":{\"input_tokens\":17,\"output_tokens\":1}}}",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"t\",\"input\":{}}}",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"value\\\":\\\"azure b\"}}",
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_2\",\"usage\":{\"input_tokens\":17,\"output_tokens\":1}}}",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":65}}",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}",
]);

pub const ROWS: &[Answer] = &[
    row(C, REASONED, A, &[Says("gw1.openai.thought.")]),
    row(C, REASONED_WHOLE, A, &[Says("gw1.openai.thought.")]),
    // The signature rides on the call's first delta.
    row(
        G,
        SIGNED_CALL,
        C,
        &[Says("\"arguments\":\"\"},\"extra_content\":{\"google\":{\"thought_signature\":\"AAAA\"")],
    ),
    row(G, PIECES, C, &[Says(r#"{\"a\":\"xy\"}"#), Says("tool_calls"), Silent("error")]),
    row(G, PIECES, A, &[Says(r#"{\"a\":\"xy\"}"#), Says("message_stop")]),
    row(A, SPLICED, C, &[Says("\"error\""), Silent("[DONE]"), Silent("\"finish_reason\":\"tool_calls\"")]),
    row(A, SPLICED, G, &[Says("\"error\""), Silent("finishReason")]),
    row(C, ZERO_VALUED, A, &[Says("\"input\":{\"city\":\"Lima\"}"), Once("\"tool_use\",\"id\""), Says("toolu_1")]),
    row(C, ZERO_VALUED, G, &[Says("\"args\":{\"city\":\"Lima\"}"), Once("functionCall")]),
    row(C, ZERO_VALUED_STREAM, A, &[Once("\"type\":\"tool_use\""), Says("Lima"), Says("message_stop")]),
    row(C, ZERO_VALUED_STREAM, G, &[Once("functionCall"), Says("Lima")]),
    row(C, DETAILS, A, &[Says("thinking_delta\",\"thinking\":\"3 + 4\""), Says("thinking\":\" = 7\"")]),
    row(C, DETAILS, G, &[Says("\"text\":\"3 + 4\",\"thought\":true")]),
    row(C, DETAILS_TWICE, A, &[Once("3 + 4"), Says("signature_delta")]),
    row(C, DETAILS_WHOLE, A, &[Says("\"thinking\":\"3 + 4 = 7\"")]),
    row(C, SIGNED_PLAIN, A, &[Says("\"thinking\":\"3 + 4 = 7\""), Says("U2ln")]),
    row(C, NUMERIC, A, &[Is("/stop_reason", "\"tool_use\""), Says("\"id\":\"7\"")]),
    row(C, NUMERIC_STREAM, A, &[Says("\"text\":\"42\""), Says("\"id\":\"7\""), Says("message_stop"), Silent("error")]),
];
