//! Failures in an answer with status 200: whatever form they have, what the upstream said is told and counted as what it
//! says, and a client of the same dialect gets the vendor's own words.

use routeapi_protocol::dialect::Operation;

use super::run::{
    A, Answer,
    Body::{self, Instead, Stream, Whole},
    C, G, R,
    Want::{self, Complete, Ends, Fails, Hands, HandsNothing, Once, Says, Silent, Status, Then},
};

const fn row(from: Operation, body: Body, to: Operation, wants: &'static [Want]) -> Answer {
    Answer { cases: &[], from, body, to, usage: true, wants }
}

/// A failure in all the ways in which one document may come, for a client of each dialect.
macro_rules! everywhere {
    ($from:expr, $document:expr, $wants:expr) => {
        [
            row($from, Whole($document), C, $wants),
            row($from, Instead($document), C, $wants),
            row($from, Whole($document), A, $wants),
            row($from, Instead($document), A, $wants),
            row($from, Whole($document), G, $wants),
            row($from, Instead($document), G, $wants),
        ]
    };
}

const MESSAGE: &str = r#"{"message":"no capacity left","code":503}"#;
const DETAIL: &str = r#"{"detail":"credits are used up"}"#;
const NESTED_DETAIL: &str = r#"{"detail":{"message":"this key is locked","code":"403"}}"#;
const TEXT: &str = r#"{"error":"boom at once"}"#;
const TEXT_OF_OBJECT: &str = r#"{"error":"{\"message\":\"slow down a bit\",\"code\":429}"}"#;
const STRING: &str = r#""the model is being loaded""#;
const PAGE: &str = "<html><head><title>t</title></head><body><h1>Bad Gateway</h1></body></html>";
const MINIMAX: &str =
    r#"{"id":"","choices":null,"base_resp":{"status_code":1004,"status_msg":"login fail: renew the key"}}"#;
const QWEN: &str =
    r#"{"code":"InvalidParameter","message":"Range of input length should be [1, 30720]","request_id":"r"}"#;
const LIST: &str = r#"{"errors":[{"message":"account is closed"}],"success":false}"#;
const BAIDU: &str = r#"{"error_code":336003,"error_msg":"the prompt is malformed","id":"as"}"#;
const VLLM: &str =
    r#"{"object":"error","message":"logprobs is too large","type":"BadRequestError","param":null,"code":400}"#;
const NO_CHOICE: &str = r#"{"id":"k1","object":"chat.completion","choices":[]}"#;

const fn same(from: Operation, body: Body, wants: &'static [Want]) -> Answer {
    row(from, body, from, wants)
}

const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"status\":\"in_progress\"}}";
const FLAT: &str = r#"{"type":"error","sequence_number":1,"code":"rate_limit_exceeded","message":"slow","param":null,"vendor_hint":"tier 1"}"#;
const FLAT_EVENT: &str = "event: error\ndata: {\"type\":\"error\",\"sequence_number\":1,\"code\":\"rate_limit_exceeded\",\"message\":\"slow\",\"param\":null,\"vendor_hint\":\"tier 1\"}";
const RESPONSE_FAILED: &str = "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":1,\"response\":{\"id\":\"resp_1\",\"status\":\"failed\",\"error\":{\"code\":\"server_error\", \"message\":\"down\",\"vendor_hint\":7}}}";

const CHAT_ERROR: &str = r#"{"error":{"message":"the call is not valid","type":"invalid_request_error","code":"tool_use_failed","failed_generation":"{}","status_code":400}}"#;
const CLAUDES_ERROR: &str =
    r#"{"type":"error","error":{"type":"overloaded_error","message":"busy","vendor_hint":1},"request_id":"req_v"}"#;
const GOOGLES_ERROR: &str =
    r#"{"error":{"code":429,"message":"later","status":"RESOURCE_EXHAUSTED","details":[{"x":1}]}}"#;

const START: &str =
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"content\":[]}}";
const BEGUN: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"ha\"}}";
const STARTED_AGAIN: &str =
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_2\",\"content\":[]}}";
const STOPPED: &str =
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}";
const OVER: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}";

/// All rows.
pub fn rows() -> Vec<Answer> {
    let groups = [
        everywhere!(C, MESSAGE, &[Fails("no capacity left"), Status(503)]),
        everywhere!(C, DETAIL, &[Fails("credits are used up"), Status(502)]),
        everywhere!(C, NESTED_DETAIL, &[Fails("this key is locked"), Status(403)]),
        everywhere!(C, TEXT, &[Fails("boom at once"), Status(502)]),
        everywhere!(C, TEXT_OF_OBJECT, &[Fails("slow down a bit"), Status(429)]),
        everywhere!(C, STRING, &[Fails("the model is being loaded"), HandsNothing]),
        everywhere!(C, PAGE, &[Fails(""), Silent("Bad Gateway"), HandsNothing]),
        everywhere!(C, MINIMAX, &[Fails("login fail: renew the key"), Status(502)]),
        everywhere!(C, QWEN, &[Fails("Range of input length"), Status(400)]),
        everywhere!(C, LIST, &[Fails("account is closed")]),
        everywhere!(C, BAIDU, &[Fails("the prompt is malformed")]),
        everywhere!(C, VLLM, &[Fails("logprobs is too large"), Status(400)]),
        everywhere!(C, NO_CHOICE, &[Fails(""), HandsNothing]),
        everywhere!(A, MESSAGE, &[Fails("no capacity left"), Status(503)]),
        everywhere!(A, r#"{"type":"error","message":"pay first"}"#, &[Fails("pay first")]),
        everywhere!(A, STRING, &[Fails("the model is being loaded")]),
        everywhere!(G, MESSAGE, &[Fails("no capacity left"), Status(503)]),
        everywhere!(G, DETAIL, &[Fails("credits are used up")]),
        everywhere!(G, TEXT, &[Fails("boom at once"), Status(502)]),
        everywhere!(G, PAGE, &[Fails(""), Silent("Bad Gateway")]),
    ];
    groups.into_iter().flatten().chain(OTHERS.iter().copied()).collect()
}

const OTHERS: &[Answer] = &[
    // In the same dialect the vendor's words are handed over, byte by byte, from a document and from an event.
    same(C, Whole(CHAT_ERROR), &[Hands(CHAT_ERROR), Status(400)]),
    same(C, Instead(CHAT_ERROR), &[Hands(CHAT_ERROR), Status(400)]),
    same(C, Whole(MESSAGE), &[Hands(MESSAGE)]),
    same(C, Instead(DETAIL), &[Hands(DETAIL)]),
    same(
        C,
        Stream(&[
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
            r#"data: {"error":{"message":"the call is not valid","type":"invalid_request_error","code":"tool_use_failed","failed_generation":"{}","status_code":400}}"#,
        ]),
        &[Hands(CHAT_ERROR), Status(400)],
    ),
    same(A, Whole(CLAUDES_ERROR), &[Hands(CLAUDES_ERROR), Status(529)]),
    same(A, Instead(CLAUDES_ERROR), &[Hands(CLAUDES_ERROR), Status(529)]),
    same(
        A,
        Stream(&[
            START,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\",\"vendor_hint\":1},\"request_id\":\"req_v\"}",
        ]),
        &[Hands(CLAUDES_ERROR), Status(529)],
    ),
    same(G, Whole(GOOGLES_ERROR), &[Hands(GOOGLES_ERROR), Status(429)]),
    same(G, Instead(GOOGLES_ERROR), &[Hands(GOOGLES_ERROR), Status(429)]),
    same(
        G,
        Stream(&[
            r#"data: {"error":{"code":429,"message":"later","status":"RESOURCE_EXHAUSTED","details":[{"x":1}]}}"#,
        ]),
        &[Hands(GOOGLES_ERROR), Status(429)],
    ),
    same(R, Stream(&[FLAT_EVENT]), &[Hands(FLAT), Status(429)]),
    same(R, Stream(&[CREATED, FLAT_EVENT]), &[Hands(FLAT), Status(429), Ends("\"tier 1\"}\n\n")]),
    same(
        R,
        Stream(&[CREATED, RESPONSE_FAILED]),
        &[Hands(r#"{"error":{"code":"server_error", "message":"down","vendor_hint":7}}"#), Status(500)],
    ),
    same(R, Instead(CHAT_ERROR), &[Hands(CHAT_ERROR), Status(400)]),
    same(R, Instead(MESSAGE), &[Hands(MESSAGE), Status(503)]),
    same(R, Whole(MESSAGE), &[Hands(MESSAGE), Status(503)]),
    same(R, Instead(PAGE), &[Fails(""), Silent("Bad Gateway"), HandsNothing]),
    // No other dialect's client gets them.
    row(C, Instead(CHAT_ERROR), A, &[HandsNothing, Fails("the call is not valid"), Status(400)]),
    row(A, Instead(CLAUDES_ERROR), C, &[HandsNothing, Fails("busy"), Status(529)]),
    row(G, Instead(GOOGLES_ERROR), A, &[HandsNothing, Fails("later"), Status(429)]),
    // Events without an envelope: told as what they say, and closed by an error that the client knows.
    row(C, Stream(&[r#"data: {"message":"no capacity left","code":503}"#]), A, &[Fails("no capacity"), Status(503)]),
    same(
        C,
        Stream(&[r#"data: {"message":"no capacity left","code":503}"#]),
        &[
            Fails("no capacity"),
            Hands(MESSAGE),
            Then(&[
                "data: {\"message\":\"no capacity left\",\"code\":503}\n\n",
                "data: {\"error\":{\"message\":\"no capacity left\"",
            ]),
        ],
    ),
    same(
        A,
        Stream(&[START, BEGUN, "data: {\"message\":\"no capacity left\",\"code\":503}"]),
        &[Fails("no capacity"), Ends("\"message\":\"no capacity left\"}}\n\n"), Says("event: error")],
    ),
    row(A, Stream(&[START, "data: {\"type\":\"error\",\"message\":\"pay first\"}"]), C, &[Fails("pay first")]),
    row(G, Stream(&[r#"data: {"detail":"credits are used up"}"#]), C, &[Fails("credits are used up")]),
    row(C, Stream(&["data: upstream connect error"]), G, &[Fails("upstream connect error")]),
    // A heartbeat in words is none.
    row(
        C,
        Stream(&[
            r#"data: {"type":"keepalive","message":"queued"}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}"#,
            "data: [DONE]",
        ]),
        A,
        &[Complete, Says("hi"), Silent("queued")],
    ),
    // Two generations in one stream: the first was cut off. What came is not changed where the dialect is the same.
    row(A, Stream(&[START, BEGUN, STARTED_AGAIN, BEGUN, STOPPED, OVER]), C, &[Fails("second time"), Silent("[DONE]")]),
    row(A, Stream(&[START, BEGUN, STARTED_AGAIN, BEGUN, STOPPED, OVER]), G, &[Fails("second time")]),
    same(
        A,
        Stream(&[START, BEGUN, STARTED_AGAIN, BEGUN, STOPPED, OVER]),
        &[Fails("second time"), Ends("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), Once("msg_2")],
    ),
    // What a client of the same dialect gets of a server that gave up is what the server sent.
    same(
        C,
        Stream(&[
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{"content":"hal"}}]}"#,
            r#"data: {"id":"k1","choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}"#,
            "data: [DONE]",
        ]),
        &[Fails("abort"), Ends("data: [DONE]\n\n"), Silent("\"error\"")],
    ),
];
