//! Hard cases of answers: what the client gets.

use routeapi_protocol::dialect::Operation;

use super::run::{
    A, Answer,
    Body::{self, Golden, Stream, Whole},
    C, G,
    Want::{self, Ends, Is, Loses, Once, Says, Silent, Then},
};

const fn row(cases: &'static [u16], from: Operation, body: Body, to: Operation, wants: &'static [Want]) -> Answer {
    Answer { cases, from, body, to, usage: true, wants }
}

const fn unasked(row: Answer) -> Answer {
    Answer { usage: false, ..row }
}

const CALL: Body = Golden("streams/messages/thinking_text_tool.sse");
const CITED: Body = Golden("streams/messages/citations.sse");
const NO_ARGUMENTS: Body = Stream(&[
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"c\",\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":80,\"cache_creation_input_tokens\":10,\"output_tokens\":1}}}",
    "event: ping\ndata: {\"type\":\"ping\"}",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}}}",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_2\",\"name\":\"g\",\"input\":{}}}",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"x\\\":0}\"}}",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":9}}",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}",
]);
const LATE_STOP: Body = Stream(&[
    "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"x\":0}}}]}}],\"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":50,\"thoughtsTokenCount\":30,\"totalTokenCount\":85}}",
    "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{}}}]}}],\"usageMetadata\":{\"promptTokenCount\":0,\"candidatesTokenCount\":0}}",
    "data: {\"candidates\":[{\"content\":{\"role\":\"model\"},\"finishReason\":\"STOP\"}]}",
]);
const ENVELOPED: Body = Stream(&[
    "data: {\"response\":{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":4}}}",
]);
const LOOSE: Body = Stream(&[
    "id: 7\ndata: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"}}]}",
    "data: : keepalive",
    ": PROCESSING",
    "data:{\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"hm\"}}]}",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\\u2028b\"}}],\"error\":null}",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
    "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":80}}}",
    "data: [DONE]",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"LATE\"}}]}",
]);
const GLUED: Body = Stream(&[
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"p\\\":\"}},{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]}}]}",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"{\\\"q\\\":1}\"}},{\"index\":0,\"function\":{\"arguments\":\"2}\"}}]}}]}",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
    "data: [DONE]",
]);
const SIGNED_CALLS: Body = Whole(
    r#"{"candidates":[{"content":{"parts":[{"text":"","thought":true},{"functionCall":{"name":"f","args":{"n":0.1}},"thoughtSignature":"U2lnbmVk"},{"functionCall":{"name":"f","args":{"n":1e-7}}},{"functionCall":{"name":"f","args":{"n":9007199254740993}}}]},"finishReason":"STOP"}]}"#,
);

const DOCUMENT: Body = Stream(&[
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Here\"},{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"iVBORw0KGgo=\"}}]},\"finishReason\":\"STOP\",\"urlContextMetadata\":{\"urlMetadata\":[]}}]}",
]);
const CONTAINED: Body = Whole(
    r#"{"id":"msg_1","content":[{"type":"text","text":"a","citations":null}],"stop_reason":"end_turn","container":{"id":"c"}}"#,
);

pub const ROWS: &[Answer] = &[
    unasked(row(&[12, 271], A, CALL, C, &[Silent("\"usage\""), Silent("\n:"), Ends("data: [DONE]\n\n")])),
    unasked(row(&[12, 38], C, LOOSE, C, &[Silent("\"usage\"")])),
    row(
        &[17, 76, 82],
        A,
        CALL,
        C,
        &[
            Then(&["\"finish_reason\":\"tool_calls\"", "\"choices\":[],\"usage\":{", "data: [DONE]\n\n"]),
            Ends("data: [DONE]\n\n"),
        ],
    ),
    row(
        &[15, 67, 68, 69, 70, 75, 83],
        A,
        CALL,
        C,
        &[
            Once("\"role\":\"assistant\""),
            Once("\"id\":\"toolu_1\""),
            Once("\"name\":\"get_weather\""),
            Says("\"tool_calls\":[{\"index\":0,"),
            Silent("\"tool_calls\":[{\"index\":2,"),
            Once("\"finish_reason\":\"tool_calls\""),
            Silent("\"finish_reason\":\"stop\""),
        ],
    ),
    row(&[77], A, CALL, C, &[Says("\"reasoning_content\":"), Says("\"format\":\"anthropic-claude-v1\",\"index\":0")]),
    row(
        &[52, 72, 73, 70],
        A,
        NO_ARGUMENTS,
        C,
        &[
            Says("\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":null}]"),
            Then(&[
                "\"index\":0,\"id\":\"toolu_1\"",
                "\"arguments\":\"{}\"",
                "\"index\":1,\"id\":\"toolu_2\"",
                "\"arguments\":\"{\\\"x\\\":0}\"",
                "finish_reason\":\"tool_calls\"",
            ]),
            Once("\"arguments\":\"{}\""),
        ],
    ),
    row(
        &[219, 220, 222],
        A,
        NO_ARGUMENTS,
        C,
        &[Says("\"prompt_tokens\":100,\"completion_tokens\":9,"), Says("\"cached_tokens\":80")],
    ),
    row(
        &[71, 195, 84],
        G,
        LATE_STOP,
        C,
        &[
            Says("\"tool_calls\":[{\"index\":0,"),
            Says("\"tool_calls\":[{\"index\":1,"),
            Once("\"finish_reason\":\"tool_calls\""),
            Silent("\"finish_reason\":\"stop\""),
        ],
    ),
    row(
        &[195, 91],
        G,
        LATE_STOP,
        A,
        &[
            Says("\"stop_reason\":\"tool_use\""),
            Says("\"partial_json\":\"{\\\"x\\\":0}\""),
            Silent("\"stop_reason\":\"end_turn\""),
        ],
    ),
    row(
        &[224, 225],
        G,
        LATE_STOP,
        C,
        &[Says("\"prompt_tokens\":5,\"completion_tokens\":80,"), Says("\"reasoning_tokens\":30")],
    ),
    row(&[226], G, ENVELOPED, C, &[Says("\"content\":\"hi\""), Says("\"prompt_tokens\":5,\"completion_tokens\":4,")]),
    row(
        &[74],
        G,
        Golden("streams/generate_content/two_candidates.sse"),
        C,
        &[Then(&["\"choices\":[{\"index\":0,\"delta\":{\"role\"", "\"choices\":[{\"index\":1,\"delta\":{\"role\""])],
    ),
    row(
        &[84],
        G,
        Golden("streams/generate_content/stop_on_every_chunk.sse"),
        C,
        &[Once("\"finish_reason\":\"stop\""), Ends("data: [DONE]\n\n")],
    ),
    row(
        &[84],
        G,
        Golden("streams/generate_content/stop_on_every_chunk.sse"),
        A,
        &[Once("\"stop_reason\":\"end_turn\""), Once("event: message_stop")],
    ),
    row(
        &[39, 43, 47, 48, 49, 50, 279],
        C,
        LOOSE,
        A,
        &[
            Silent("LATE"),
            Silent("PROCESSING"),
            Silent("keepalive"),
            Silent("id: 7"),
            Silent("event: error"),
            Says("a\u{2028}b"),
            Ends("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
        ],
    ),
    row(
        &[39, 56, 48, 50],
        C,
        LOOSE,
        G,
        &[Silent("LATE"), Silent("[DONE]"), Silent("\n:"), Silent("id: 7"), Silent("event:")],
    ),
    row(
        &[78, 87, 89, 97],
        C,
        LOOSE,
        A,
        &[
            Then(&[
                "\"type\":\"thinking\"",
                "\"thinking\":\"hm\"",
                "gw1.openai.thought.",
                "\"type\":\"text\"",
                "text_delta",
            ]),
            Once("\"type\":\"text\""),
        ],
    ),
    row(
        &[57, 86, 88, 101],
        C,
        LOOSE,
        A,
        &[
            Once("event: message_start\n"),
            Then(&[
                "content_block_start\",\"index\":0",
                "content_block_stop\",\"index\":0",
                "content_block_start\",\"index\":1",
                "content_block_stop\",\"index\":1",
            ]),
            Once("event: message_stop\n"),
        ],
    ),
    row(
        &[93, 96, 221],
        C,
        LOOSE,
        A,
        &[
            Once("event: message_delta\n"),
            Says("\"usage\":{\"input_tokens\":20,"),
            Says("\"cache_read_input_tokens\":80"),
        ],
    ),
    row(
        &[85, 90, 99],
        C,
        GLUED,
        A,
        &[
            Then(&[
                "\"id\":\"a\",\"name\":\"f\"",
                "{\\\"p\\\":",
                "2}",
                "content_block_stop\",\"index\":0",
                "\"id\":\"b\",\"name\":\"g\"",
                "{\\\"q\\\":1}",
                "content_block_stop\",\"index\":1",
                "message_delta",
            ]),
            Says("\"stop_reason\":\"tool_use\""),
        ],
    ),
    row(
        &[94],
        C,
        Golden("streams/chat_completions/tool_late_name.sse"),
        A,
        &[Says("\"type\":\"tool_use\",\"id\":\"call_"), Says("input_json_delta")],
    ),
    row(
        &[127, 128],
        C,
        Golden("streams/chat_completions/truncated.sse"),
        A,
        &[Says("event: error\n"), Says("\"type\":\"api_error\""), Silent("message_stop")],
    ),
    row(
        &[127, 131],
        C,
        Golden("streams/chat_completions/truncated.sse"),
        G,
        &[Says("data: {\"error\":{\"code\":502,"), Silent("finishReason")],
    ),
    row(
        &[127],
        A,
        Golden("streams/messages/truncated.sse"),
        C,
        &[Says("data: {\"error\":{"), Silent("[DONE]"), Silent("\"finish_reason\":\"stop\"")],
    ),
    row(
        &[129],
        C,
        Stream(&["data: {\"error\":{\"message\":\"m\",\"type\":\"rate_limit_error\"},\"choices\":[]}"]),
        A,
        &[Says("\"type\":\"rate_limit_error\""), Silent("message_stop")],
    ),
    row(
        &[138],
        G,
        Stream(&["data: {\"error\":{\"code\":429,\"message\":\"m\",\"status\":\"RESOURCE_EXHAUSTED\"}}"]),
        A,
        &[Says("\"type\":\"rate_limit_error\""), Silent("RESOURCE_EXHAUSTED")],
    ),
    row(
        &[136],
        G,
        Stream(&["data: [{\"error\":{\"code\":429,\"message\":\"m\",\"status\":\"RESOURCE_EXHAUSTED\"}}]"]),
        C,
        &[Says("\"type\":\"rate_limit_error\"")],
    ),
    row(
        &[144, 146, 149, 194],
        G,
        SIGNED_CALLS,
        C,
        &[
            Once("\"thought_signature\":\"U2lnbmVk\""),
            Says("{\\\"n\\\":0.1}"),
            Says("{\\\"n\\\":1e-7}"),
            Says("{\\\"n\\\":9007199254740993}"),
            Is("/choices/0/finish_reason", "\"tool_calls\""),
        ],
    ),
    row(
        &[144, 149, 150],
        G,
        SIGNED_CALLS,
        A,
        &[Once("gw1.gemini.call."), Says("\"input\":{\"n\":9007199254740993}"), Is("/content/1/type", "\"tool_use\"")],
    ),
    row(
        &[145],
        G,
        Golden("responses/generate_content/signed_text.json"),
        A,
        &[Then(&["\"type\":\"text\"", "gw1.gemini.text."])],
    ),
    row(&[231], A, Golden("streams/messages/refusal.sse"), C, &[Says("\"finish_reason\":\"content_filter\"")]),
    row(
        &[232],
        G,
        Golden("responses/generate_content/blocked.json"),
        C,
        &[Is("/choices/0/finish_reason", "\"content_filter\"")],
    ),
    row(&[232], G, Golden("streams/generate_content/blocked.sse"), A, &[Says("\"stop_reason\":\"refusal\"")]),
    row(
        &[233],
        G,
        Golden("responses/generate_content/malformed_call.json"),
        C,
        &[Says("came to nothing: MALFORMED_FUNCTION_CALL")],
    ),
    row(
        &[234, 235],
        C,
        Golden("streams/chat_completions/azure.sse"),
        A,
        &[
            Once("event: message_start\n"),
            Silent("content_filter_results"),
            Silent("event: error"),
            Once("event: message_stop\n"),
        ],
    ),
    row(
        &[79, 238],
        A,
        CITED,
        C,
        &[
            Silent("srvtoolu"),
            Loses("server_tool_use"),
            Says(
                "\"annotations\":[{\"index\":0,\"type\":\"url_citation\",\"url_citation\":{\"url\":\"https://a.example/1\",\"title\":\"One\",\"start_index\":10,\"end_index\":18}}]",
            ),
            Loses("citations"),
        ],
    ),
    row(
        &[79, 81, 238],
        A,
        Golden("responses/messages/citations.json"),
        C,
        &[
            Silent("tool_calls"),
            Is("/choices/0/message/content", "\"Zoë says: it rains\""),
            Is(
                "/choices/0/message/annotations",
                r#"[{"type":"url_citation","url_citation":{"url":"https://a.example/1","title":"One","start_index":10,"end_index":18}}]"#,
            ),
            Loses("citations"),
        ],
    ),
    row(
        &[238],
        A,
        CITED,
        G,
        &[
            Says("\"groundingChunks\":[{\"web\":{\"uri\":\"https://a.example/1\",\"title\":\"One\"}}]"),
            Loses("citations[].span"),
        ],
    ),
    row(
        &[238],
        G,
        Golden("streams/generate_content/grounded.sse"),
        C,
        &[Then(&[
            "\"annotations\":[{\"index\":0,",
            "\"start_index\":10,\"end_index\":18",
            "\"annotations\":[{\"index\":1,",
            "https://b.example/2",
        ])],
    ),
    row(
        &[238],
        G,
        Golden("responses/generate_content/grounded.json"),
        C,
        &[Is(
            "/choices/0/message/annotations/1/url_citation",
            r#"{"url":"https://b.example/2","title":"Two","start_index":10,"end_index":18}"#,
        )],
    ),
    row(
        &[60, 238],
        G,
        DOCUMENT,
        C,
        &[
            Then(&["\"content\":\"Here\"", "\"images\":[{\"type\":\"image_url\"", "[DONE]"]),
            Loses("candidates[].urlContextMetadata"),
        ],
    ),
    row(&[60, 238], G, DOCUMENT, A, &[Then(&["Here", "[image left out", "message_stop"]), Loses("image")]),
    row(&[238], A, CONTAINED, C, &[Loses("container"), Silent("annotations")]),
    row(
        &[238],
        C,
        Golden("responses/chat_completions/beside_the_words.json"),
        A,
        &[
            Loses("citations"),
            Loses("image"),
            Loses("choices[].logprobs"),
            Loses("choices[].message.audio"),
            Loses("choices[].message.annotations"),
            Says("[image left out"),
        ],
    ),
    row(
        &[238],
        C,
        Golden("streams/chat_completions/beside_the_words.sse"),
        G,
        &[Loses("choices[].logprobs"), Says("\"inlineData\":{\"mimeType\":\"image/png\"")],
    ),
    row(
        &[238],
        G,
        Golden("responses/generate_content/sound.json"),
        C,
        &[
            Says("[audio left out: an answer of this API cannot hold audio/wav]"),
            Says("[video: https://a.example/v.mp4]"),
            Says("\"images\":[{\"type\":\"image_url\""),
            Loses("audio"),
            Loses("video"),
        ],
    ),
];
