//! Hard cases of what goes through untouched.

use bytes::Bytes;
use routeapi_protocol::{
    codec::{Head, ResponseContext},
    dialect::Operation,
    framing::Framing,
    host::Host,
    inbound::MatchedPath,
    limits::ModelLimits,
    report::Mode,
    request::{Destination, ParsedRequest, Prepared},
};

fn passed(operation: Operation, body: &str, model: &str) -> Prepared {
    let gemini = operation.model_in_path();
    let framing = if body.contains("\"stream\":true") { Framing::Sse } else { Framing::Whole };
    let matched = MatchedPath {
        operation,
        model: gemini.then(|| "m".into()),
        framing: gemini.then_some(if operation.streams() { Framing::Sse } else { framing }),
        query: None,
        unknown_query: false,
        path: None,
    };
    let call = ParsedRequest::read(matched, Head::default(), Bytes::copy_from_slice(body.as_bytes())).unwrap();
    let to = Destination {
        base_model: None,
        host: Host::Vendor,
        operations: &[operation],
        model: Some(model),
        default_max_output: 10,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    };
    call.prepare(to, Mode::Default).unwrap()
}

/// Hard cases 11, 20, 21, 147, 259.
#[test]
fn bodies_that_only_the_vendor_knows() {
    let rows = [
        (
            Operation::Responses,
            r#"{"model":"m","store":false,"input":[{"type":"agent_message","x":0},{"type":"agent_reasoning"}]}"#,
        ),
        (
            Operation::Responses,
            r#"{"model":"m","input":[{"role":"assistant","phase":"a","content":[{"type":"output_text","text":""}]},{"type":"additional_tools","tools":[]},{"type":"tool_search_call","id":"ts_1"}]}"#,
        ),
        (Operation::Embeddings, r#"{"model":"m","input":[[1,2],[3]],"encoding_format":"base64","dimensions":0}"#),
        (
            Operation::GenerateContent,
            r#"{"contents":[{"role":"model","parts":[{"toolCall":{"id":"1"},"thoughtSignature":"a-_"},{"toolResponse":{"id":"1"}}]}],"x":1.0}"#,
        ),
    ];
    for (operation, body) in rows {
        let prepared = passed(operation, body, "up");
        assert!(prepared.translation.is_passthrough() && prepared.warnings.is_empty());
        assert_eq!(prepared.body, body.replace(r#""model":"m""#, r#""model":"up""#), "{operation}");
    }
}

/// Hard cases 25 and 42.
#[test]
fn events_that_nobody_knows() {
    let rows = [
        (
            Operation::Responses,
            "event: response.created\r\ndata: {\"type\":\"response.created\",\"x\":0,\"response\":{\"id\":\"resp_1\"}}\r\n\r\n: hi\r\n\r\nevent: response.new\ndata: {\"type\":\"response.new\",\"a\":1.0}\n\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":5}}}\n\n",
        ),
        (
            Operation::Messages,
            "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\r\n\r\nevent: new_thing\ndata: {\"type\":\"new_thing\",\"a\":1e-7}\n\n: comment\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        (
            Operation::GenerateContent,
            "data: {\"response\":{\"newThing\":[],\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":5}}}\r\n\r\n",
        ),
    ];
    for (operation, text) in rows {
        let body = if operation == Operation::GenerateContent { "{}" } else { r#"{"model":"m","stream":true}"# };
        let reply = ResponseContext { model: "m".into(), id: "abc".into(), created: 1, ..ResponseContext::default() };
        let mut stream = passed(operation, body, "m").translation.stream(&reply);
        let mut out: Vec<u8> =
            text.as_bytes().chunks(5).flat_map(|chunk| stream.push(Bytes::copy_from_slice(chunk))).collect();
        out.extend_from_slice(&stream.finish());
        assert_eq!(String::from_utf8(out).unwrap(), text, "{operation}");
        let seen = stream.stats();
        let usage = seen.usage.unwrap();
        assert_eq!((seen.complete, usage.total_input(), usage.total_output()), (true, 3, 5), "{operation}");
    }
}

/// What an answer lost can be put into a header.
#[test]
fn losses_are_warnings() {
    let matched = MatchedPath {
        operation: Operation::ChatCompletions,
        model: None,
        framing: None,
        query: None,
        unknown_query: false,
        path: None,
    };
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let call = ParsedRequest::read(matched, Head::default(), body.into()).unwrap();
    let to = Destination {
        base_model: None,
        host: Host::Vendor,
        operations: &[Operation::Messages],
        model: None,
        default_max_output: 10,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    };
    let translation = call.prepare(to, Mode::Default).unwrap().translation;
    let answer = r#"{"content":[{"type":"new_thing"},{"type":"new_thing"}],"stop_reason":"end_turn"}"#;
    let whole = translation.whole(&ResponseContext::default(), 200, None, answer.into()).unwrap();
    let warnings: Vec<String> = whole.stats.warnings(0).map(|warning| warning.to_string()).collect();
    assert_eq!(warnings, ["dropped;field=answer.new_thing"]);
}

/// Hard case 258.
#[test]
fn embeddings_of_either_encoding() {
    for embedding in [r#""AACAPw==""#, "[1.0,0.1]"] {
        let answer = format!(
            r#"{{"data":[{{"index":0,"embedding":{embedding}}}],"usage":{{"prompt_tokens":4,"total_tokens":4}}}}"#
        );
        let translation =
            passed(Operation::Embeddings, r#"{"model":"m","input":"x","encoding_format":"base64"}"#, "m").translation;
        let whole = translation
            .whole(&ResponseContext::default(), 200, Some("application/json"), answer.clone().into())
            .unwrap();
        assert_eq!((whole.body.as_ref(), whole.changed), (answer.as_bytes(), false));
        assert_eq!(whole.stats.usage.map(|usage| usage.total_input()), Some(4));
    }
}
