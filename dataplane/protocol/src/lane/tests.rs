use bytes::Bytes;
use proptest::prelude::*;

use crate::{
    codec::{Head, ResponseContext},
    dialect::Operation,
    framing::Framing,
    host::Host,
    inbound::MatchedPath,
    ir::FinishReason,
    limits::ModelLimits,
    problem::{Problem, ProblemKind},
    report::Mode,
    request::{Destination, ParsedRequest, Prepared},
    response_translation::{ResponseStream, ResponseTranslation},
};

const CHAT: &str = concat!(
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"up\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    ": comment\r\n\r\n",
    "data:{\"id\":\"c1\",\"created\":1,\"model\":\"up\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"h\u{e9}\u{2028}llo\"},\"finish_reason\":null}],\"usage\":null}\r\n\r\n",
    "data: {\"id\":\"c1\",\"created\":1,\"model\":\"up\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
    "data: {\"id\":\"c1\",\"created\":1,\"model\":\"up\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8}}\n\n",
    "data: [DONE]\n\n",
);

const MESSAGES: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"up\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"h\u{e9}llo\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":5}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

const RESPONSES: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"model\":\"up\",\"status\":\"in_progress\"}}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"delta\":\"hello\"}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":2,\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":5}}}\n\n",
);

const GEMINI: &str = concat!(
    "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hel\"}]},\"index\":0}],\"responseId\":\"r\",\"modelVersion\":\"up\"}\r\n\r\n",
    "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"lo\"}]},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":5,\"totalTokenCount\":8}}\r\n\r\n",
);

const ARRAY: &str = "[{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hello\"}]}}]}\n,\r\n{\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":5}}\n]\n";

fn prepared(from: Operation, framing: Framing, to: Operation, include_usage: bool) -> Prepared {
    let gemini = from == Operation::GenerateContent;
    let body = match from {
        Operation::GenerateContent => r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#.to_owned(),
        Operation::Responses => r#"{"model":"m","stream":true,"input":"hi"}"#.to_owned(),
        _ => format!(
            r#"{{"model":"m","stream":{},"max_tokens":9,{}"messages":[{{"role":"user","content":"hi"}}]}}"#,
            framing != Framing::Whole,
            if include_usage { r#""stream_options":{"include_usage":true},"# } else { "" }
        ),
    };
    let matched = MatchedPath {
        operation: from,
        model: gemini.then(|| "m".into()),
        framing: gemini.then_some(framing),
        query: None,
        unknown_query: false,
        path: None,
    };
    let call = ParsedRequest::read(matched, Head::default(), body.into()).expect("legal");
    let destination = Destination {
        base_model: None,
        host: Host::Vendor,
        operations: &[to],
        model: Some("up"),
        default_max_output: 100,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    };
    call.prepare(destination, Mode::Default).expect("a lane")
}

fn reply() -> ResponseContext {
    ResponseContext { model: "m".into(), id: "abc".into(), created: 1, ..ResponseContext::default() }
}

fn stream(from: Operation, framing: Framing, to: Operation) -> ResponseStream {
    prepared(from, framing, to, true).translation.stream(&reply())
}

fn run(mut stream: ResponseStream, pieces: &[&[u8]]) -> (String, ResponseStream) {
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&stream.push(Bytes::copy_from_slice(piece)));
    }
    out.extend_from_slice(&stream.finish());
    (String::from_utf8(out).expect("UTF-8"), stream)
}

fn passthroughs() -> [(Operation, Framing, &'static str); 5] {
    [
        (Operation::ChatCompletions, Framing::Sse, CHAT),
        (Operation::Messages, Framing::Sse, MESSAGES),
        (Operation::Responses, Framing::Sse, RESPONSES),
        (Operation::GenerateContent, Framing::Sse, GEMINI),
        (Operation::GenerateContent, Framing::JsonArray, ARRAY),
    ]
}

#[test]
fn passed_streams_are_byte_identical_at_every_cut() {
    for (operation, framing, text) in passthroughs() {
        for cut in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(cut);
            let (out, stream) = run(stream(operation, framing, operation), &[head, tail]);
            assert_eq!(out, text, "{operation} cut at {cut}");
            let seen = stream.stats();
            assert!(seen.complete && seen.content && seen.error.is_none(), "{operation} cut at {cut}: {seen:?}");
            assert_eq!(seen.finish, Some(FinishReason::Stop));
            let usage = seen.usage.expect("usage");
            assert_eq!((usage.input, usage.output), (Some(3), Some(5)), "{operation}");
        }
        let every: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(run(stream(operation, framing, operation), &every).0, text);
    }
}

#[test]
fn stream_that_has_ended_says_nothing_more() {
    for (operation, framing, text) in passthroughs() {
        let behind = if framing == Framing::Sse { ": bye" } else { " " };
        let (out, mut stream) = run(stream(operation, framing, operation), &[text.as_bytes(), behind.as_bytes()]);
        assert!(out.starts_with(text), "{operation}: {out}");
        assert_eq!(stream.finish(), Bytes::new(), "{operation}");
        assert_eq!(stream.push(Bytes::from_static(b"data: {}\n\n")), Bytes::new(), "{operation}");
    }
}

#[test]
fn calls_and_streams_move_between_threads() {
    const fn sendable<T: Send>() {}
    const fn shareable<T: Send + Sync>() {}
    sendable::<ResponseStream>();
    shareable::<ParsedRequest>();
    shareable::<ResponseTranslation>();
}

#[test]
fn whole_chunks_are_not_copied() {
    let mut stream = stream(Operation::ChatCompletions, Framing::Sse, Operation::ChatCompletions);
    let chunk = Bytes::from_static(CHAT.as_bytes());
    assert_eq!(stream.push(chunk.clone()).as_ptr(), chunk.as_ptr());
}

#[test]
fn a_cut_stream_ends_in_the_dialects_error() {
    let terminal = |operation: Operation, framing: Framing| match (operation, framing) {
        (Operation::ChatCompletions, _) => "data: {\"error\":{\"message\":",
        (Operation::Messages, _) => {
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":"
        }
        (Operation::Responses, _) => "\"type\":\"response.failed\"",
        (_, Framing::JsonArray) => "{\"error\":{\"code\":502,\"message\":",
        _ => "data: {\"error\":{\"code\":502,\"message\":",
    };
    for (operation, framing, text) in passthroughs() {
        for cut in 1..text.len() / 2 {
            let (out, mut stream) = run(stream(operation, framing, operation), &[&text.as_bytes()[..cut]]);
            assert!(out.contains(terminal(operation, framing)), "{operation} cut at {cut}: {out}");
            for marker in ["[DONE]", "message_stop", "response.completed"] {
                assert!(!out.contains(marker), "{operation} cut at {cut}: {out}");
            }
            assert_eq!(stream.stats().error.as_ref().map(|problem| problem.status), Some(502));
            assert!(!stream.stats().complete);
            if framing == Framing::JsonArray {
                let read: serde_json::Value =
                    serde_json::from_str(&out).unwrap_or_else(|_| panic!("cut at {cut}: {out}"));
                assert_eq!(
                    read.as_array().and_then(|list| list.last()).map(|last| last["error"]["code"] == 502),
                    Some(true)
                );
            } else {
                assert!(out.ends_with("\n\n"));
            }
            let late = Problem::new(ProblemKind::Internal, "late");
            assert!(stream.fail(&late).is_empty() && stream.heartbeat().is_empty(), "only one end");
        }
    }
}

#[test]
fn responses_errors_continue_the_numbering() {
    let begun = &RESPONSES.as_bytes()[..RESPONSES.find("event: response.completed").expect("there")];
    let (out, _) = run(stream(Operation::Responses, Framing::Sse, Operation::Responses), &[begun]);
    assert!(
        out.contains("\"type\":\"response.failed\",\"sequence_number\":2,\"response\":{\"id\":\"resp_1\""),
        "{out}"
    );
    let (out, _) = run(stream(Operation::Responses, Framing::Sse, Operation::Responses), &[b": hi\n\n"]);
    let created = out.find("\"type\":\"response.created\",\"sequence_number\":0").expect("created first");
    assert!(created < out.find("\"type\":\"response.failed\",\"sequence_number\":1").expect("then failed"));
}

#[test]
fn hidden_usage_leaves_no_trace() {
    let translation = prepared(Operation::ChatCompletions, Framing::Sse, Operation::ChatCompletions, false).translation;
    let expected: String = CHAT
        .split_inclusive("\n\n")
        .filter(|event| !event.contains("total_tokens"))
        .map(|event| event.replace(",\"usage\":null", ""))
        .collect();
    for size in 1..CHAT.len() {
        let pieces: Vec<&[u8]> = CHAT.as_bytes().chunks(size).collect();
        let (out, stream) = run(translation.stream(&reply()), &pieces);
        assert_eq!(out, expected, "pieces of {size}");
        assert_eq!(stream.stats().usage.map(|usage| usage.total_output()), Some(5));
    }
}

#[test]
fn an_endless_event_goes_out_raw_and_is_closed_before_an_error() {
    let mut stream = stream(Operation::ChatCompletions, Framing::Sse, Operation::ChatCompletions);
    let start = b"data: {\"choices\":[{\"delta\":{\"content\":\"";
    let mut out = stream.push(Bytes::from_static(start)).to_vec();
    assert!(out.is_empty());
    let mut sent = start.to_vec();
    for _ in 0..5 {
        let piece = vec![b'x'; 20_000];
        sent.extend_from_slice(&piece);
        out.extend_from_slice(&stream.push(piece.into()));
    }
    assert_eq!(out, sent, "beyond the limit nothing is held");
    assert!(stream.heartbeat().is_empty(), "not inside an event");
    let end = stream.fail(&Problem::new(ProblemKind::Timeout, "too slow"));
    assert!(end.starts_with(b"\n\ndata: {\"error\":{\"message\":\"too slow\""));
    let mut whole = self::stream(Operation::ChatCompletions, Framing::Sse, Operation::ChatCompletions);
    let event =
        format!("data: {{\"id\":\"c\",\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "y".repeat(100_000));
    let out: Vec<u8> =
        event.as_bytes().chunks(9_000).flat_map(|piece| whole.push(Bytes::copy_from_slice(piece))).collect();
    assert_eq!(out, event.as_bytes());
    assert_eq!(whole.stats().output_chars, 100_000, "the tap still sees the whole event");
}

#[test]
fn an_upstreams_own_error_is_passed_and_not_doubled() {
    let text =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n";
    let (out, stream) = run(stream(Operation::Messages, Framing::Sse, Operation::Messages), &[text.as_bytes()]);
    assert_eq!(out, text);
    assert_eq!(stream.stats().error.as_ref().map(|problem| problem.status), Some(529));
    assert!(!stream.stats().content);
}

#[test]
fn heartbeats_are_legal_in_each_dialect() {
    let beat = |operation, framing, first: &str| {
        let mut stream = stream(operation, framing, operation);
        stream.push(Bytes::copy_from_slice(first.as_bytes()));
        String::from_utf8(stream.heartbeat().to_vec()).expect("UTF-8")
    };
    let first = |text: &'static str| text.split_inclusive("\n\n").next().expect("an event");
    let chat = beat(Operation::ChatCompletions, Framing::Sse, first(CHAT));
    assert!(chat.starts_with("data: {\"id\":\"c1\"") && chat.contains("\"delta\":{}"), "{chat}");
    assert_eq!(beat(Operation::Messages, Framing::Sse, first(MESSAGES)), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
    assert_eq!(beat(Operation::GenerateContent, Framing::Sse, GEMINI), "\n");
    assert_eq!(beat(Operation::GenerateContent, Framing::JsonArray, "[{\"candidates\":[]}"), "\n");
    assert_eq!(beat(Operation::Responses, Framing::Sse, first(RESPONSES)), ": keepalive\n\n");
}

fn pairs() -> Vec<(Operation, Operation, &'static str)> {
    let all =
        [(Operation::ChatCompletions, CHAT), (Operation::Messages, MESSAGES), (Operation::GenerateContent, GEMINI)];
    let pair =
        |from: Operation| all.iter().filter(move |(to, _)| *to != from).map(move |(to, text)| (from, *to, *text));
    all.iter().flat_map(|(from, _)| pair(*from)).collect()
}

#[test]
fn translated_streams_are_the_same_at_every_cut() {
    for (client, upstream, text) in pairs() {
        let (expected, seen) = run(stream(client, Framing::Sse, upstream), &[text.as_bytes()]);
        let seen = seen.stats();
        assert!(seen.complete && seen.error.is_none(), "{client} from {upstream}: {seen:?}");
        assert_eq!(seen.usage.map(|usage| (usage.total_input(), usage.total_output())), Some((3, 5)));
        assert!(seen.output_chars >= 5);
        for cut in 0..text.len() {
            let (head, tail) = text.as_bytes().split_at(cut);
            assert_eq!(
                run(stream(client, Framing::Sse, upstream), &[head, tail]).0,
                expected,
                "{client} from {upstream} at {cut}"
            );
        }
        let (cut, seen) = run(stream(client, Framing::Sse, upstream), &[&text.as_bytes()[..text.len() / 3]]);
        assert!(cut.contains("error") && seen.stats().error.is_some() && !seen.stats().complete, "{cut}");
        for marker in ["[DONE]", "message_stop"] {
            assert!(!cut.contains(marker), "{cut}");
        }
    }
}

#[test]
fn arrays_are_read_and_written() {
    let (out, _) =
        run(stream(Operation::GenerateContent, Framing::JsonArray, Operation::ChatCompletions), &[CHAT.as_bytes()]);
    let read: serde_json::Value = serde_json::from_str(&out).expect("an array");
    assert!(read.as_array().is_some_and(|list| !list.is_empty()), "{out}");
    let (from_array, seen) =
        run(stream(Operation::ChatCompletions, Framing::Sse, Operation::GenerateContent), &[ARRAY.as_bytes()]);
    assert!(seen.stats().complete && from_array.contains("hello") && from_array.ends_with("data: [DONE]\n\n"));
    let (converted, seen) =
        run(stream(Operation::GenerateContent, Framing::Sse, Operation::GenerateContent), &[ARRAY.as_bytes()]);
    assert!(converted.starts_with("data: {") && seen.stats().complete, "{converted}");
    let mut failing = stream(Operation::GenerateContent, Framing::JsonArray, Operation::ChatCompletions);
    let mut out = failing.push(Bytes::from_static(CHAT.as_bytes()).slice(..CHAT.find("stop").expect("there"))).to_vec();
    out.extend_from_slice(&failing.fail(&Problem::new(ProblemKind::Timeout, "slow")));
    let read: serde_json::Value = serde_json::from_slice(&out).expect("still an array");
    assert_eq!(
        read.as_array().and_then(|list| list.last()).map(|last| last["error"]["code"].clone()),
        Some(504.into())
    );
}

const CHAT_WHOLE: &str = r#"{"id":"c1","object":"chat.completion","created":1,"model":"up","choices":[{"index":0,"message":{"role":"assistant","content":"hello","tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{\"a\":0}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}"#;

#[test]
fn a_document_instead_of_a_stream_becomes_one() {
    // Protocols 5, case 60, on both lanes.
    for client in [Operation::ChatCompletions, Operation::Messages] {
        let (out, seen) = run(stream(client, Framing::Sse, Operation::ChatCompletions), &[CHAT_WHOLE.as_bytes()]);
        let seen = seen.stats();
        assert!(seen.complete && out.contains("hello"), "{client}: {out}");
        assert_eq!(
            (seen.finish, seen.usage.map(|usage| usage.total_output())),
            (Some(FinishReason::ToolCalls), Some(5))
        );
        let end = if client == Operation::Messages { "event: message_stop" } else { "data: [DONE]" };
        assert!(out.contains(end), "{out}");
        let failed = br#"{"error":{"message":"busy","type":"rate_limit_error"}}"#;
        let (_, seen) = run(stream(client, Framing::Sse, Operation::ChatCompletions), &[failed]);
        assert_eq!(seen.stats().error.as_ref().map(|problem| problem.kind), Some(ProblemKind::RateLimited));
    }
    let (out, seen) = run(stream(Operation::Responses, Framing::Sse, Operation::Responses), &[b"<html>"]);
    assert!(seen.stats().error.is_some() && out.contains("response.failed"));
}

fn whole(
    translation: &ResponseTranslation,
    body: &'static str,
    content_type: &str,
) -> Result<crate::response_translation::Whole, Problem> {
    translation.whole(&reply(), 200, Some(content_type), Bytes::from_static(body.as_bytes()))
}

#[test]
fn what_is_no_answer_is_a_failure_in_the_same_dialect_too() {
    let rows: [(Operation, &str); 9] = [
        (Operation::ChatCompletions, r#"{"error":{"message":"m","code":500}}"#),
        (Operation::ChatCompletions, "<html><body>Bad Gateway</body></html>"),
        (Operation::ChatCompletions, ""),
        (Operation::ChatCompletions, r#"{"choices":[{"message":{"content":"he"#),
        (Operation::ChatCompletions, "{}"),
        (Operation::Messages, r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#),
        (Operation::Messages, "null"),
        (Operation::GenerateContent, "[]"),
        (Operation::Responses, r#"{"status":"failed","error":{"code":"server_error","message":"m"},"output":[]}"#),
    ];
    for (operation, body) in rows {
        let translation = prepared(operation, Framing::Whole, operation, false).translation;
        assert!(whole(&translation, body, "application/json").is_err(), "{operation}: {body}");
    }
}

#[test]
fn whole_answers_pass_or_are_translated() {
    let same = prepared(Operation::ChatCompletions, Framing::Whole, Operation::ChatCompletions, false).translation;
    let passed = whole(&same, CHAT_WHOLE, "application/json").expect("an answer");
    assert!(!passed.changed && passed.body == CHAT_WHOLE.as_bytes());
    assert_eq!(passed.stats.usage.map(|usage| usage.total_output()), Some(5));
    let other = prepared(Operation::Messages, Framing::Whole, Operation::ChatCompletions, false).translation;
    let translated = whole(&other, CHAT_WHOLE, "application/json").expect("an answer");
    let body: serde_json::Value = serde_json::from_slice(&translated.body).expect("JSON");
    assert_eq!((body["stop_reason"].as_str(), translated.changed), (Some("tool_use"), true));
    assert_eq!(translated.stats.finish, Some(FinishReason::ToolCalls));
    // Events although a whole answer was asked for.
    for translation in [&same, &other] {
        let folded = whole(translation, CHAT, "text/event-stream; charset=utf-8").expect("an answer");
        assert!(String::from_utf8_lossy(&folded.body).contains("llo"), "{folded:?}");
        assert_eq!(folded.stats.usage.map(|usage| usage.total_output()), Some(5));
    }
    let refused = whole(&other, r#"{"error":{"message":"m","type":"overloaded_error"}}"#, "application/json");
    assert_eq!(refused.err().map(|problem| problem.kind), Some(ProblemKind::Overloaded));
    assert!(whole(&other, "<html>", "text/html").is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..50) {
        for (operation, framing, text) in passthroughs() {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            let mut stream = stream(operation, framing, operation);
            stream.push(Bytes::from_static(&text.as_bytes()[..text.len() / 2]));
            for piece in pieces {
                stream.push(Bytes::copy_from_slice(piece));
            }
            stream.finish();
        }
        for (client, upstream, _) in pairs() {
            let mut stream = stream(client, Framing::Sse, upstream);
            stream.push(Bytes::copy_from_slice(&bytes));
            stream.finish();
            prop_assert!(!stream.stats().complete);
        }
    }
}
