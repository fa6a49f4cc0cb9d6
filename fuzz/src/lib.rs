//! The functions under fuzz: each takes any bytes, and panics when something does not hold.
//!
//! The fuzzer calls them through `fuzz/targets`; the protocol crate's tests include this file and replay the committed
//! seeds and the golden files. What holds, beside the absence of panics: cuts of the input change nothing, spans lie in the
//! input, what we write is JSON, and output is bounded by input.

use bytes::Bytes;
use routeapi_protocol::{
    codec::Head,
    dialect::Operation,
    host::Host,
    inbound::{Inbound, MatchedPath, route},
    limits::ModelLimits,
    problem::RetryHints,
    report::Mode,
    request::{Destination, ParsedRequest, Prepared},
    scan::Scan,
    wire::{
        event_stream::EventStreamDecoder,
        json_array::ArrayDecoder,
        sse::{Frame, SseDecoder},
    },
};
use serde::de::IgnoredAny;

/// A function under fuzz.
pub type Target = fn(&[u8]);

/// All of them, by the names of their targets and of their seeds' directories.
pub const TARGETS: [(&str, Target); 9] = [
    ("sse", sse),
    ("event_stream", event_stream),
    ("json_array", json_array),
    ("scan", scan),
    ("inbound", inbound),
    ("requests", requests),
    ("responses", responses),
    ("streams", streams),
    ("failures", failures),
];

/// Dialects that are read and written.
pub const OPERATIONS: [Operation; 5] = [
    Operation::ChatCompletions,
    Operation::Responses,
    Operation::Messages,
    Operation::GenerateContent,
    Operation::Converse,
];

/// Models whose encodings differ, tried for every upstream.
const MODELS: [&str; 3] = ["gpt-5.4", "claude-opus-4-7", "gemini-2.0-flash"];

/// Most bytes of a body, as a gateway could be told.
const MAX_BODY: usize = 1 << 20;

/// Server-sent events: however the input is cut, the same frames come out.
pub fn sse(input: &[u8]) {
    let (cut, input) = cut(input);
    let read = |pieces: &[&[u8]]| {
        let (mut decoder, mut frames) = (SseDecoder::new(), Vec::new());
        let mut keep = |frame: Frame<'_>| frames.push((frame.event.map(str::to_owned), frame.data.to_owned()));
        for piece in pieces {
            if decoder.push(piece, &mut keep).is_err() {
                return None;
            }
        }
        decoder.finish(&mut keep);
        Some(frames)
    };
    let (head, tail) = input.split_at(cut);
    assert_eq!(read(&[head, tail]), read(&[input]), "cut at {cut}");
}

/// Frames of Amazon's event stream: the same, and no frame is held that declares too much.
pub fn event_stream(input: &[u8]) {
    let (cut, input) = cut(input);
    let read = |pieces: &[&[u8]]| {
        let (mut decoder, mut frames) = (EventStreamDecoder::new(), Vec::new());
        let mut keep = |frame: Frame<'_>| frames.push((frame.event.map(str::to_owned), frame.data.to_owned()));
        for piece in pieces {
            if decoder.push(piece, &mut keep).is_err() {
                return None;
            }
        }
        Some(frames)
    };
    let (head, tail) = input.split_at(cut);
    assert_eq!(read(&[head, tail]), read(&[input]), "cut at {cut}");
}

/// Arrays of JSON, as Gemini streams them without `alt=sse`: the same.
pub fn json_array(input: &[u8]) {
    let (cut, input) = cut(input);
    let read = |pieces: &[&[u8]]| {
        let (mut decoder, mut elements) = (ArrayDecoder::new(), Vec::new());
        for piece in pieces {
            if decoder.push(piece, |element| elements.push(element.to_owned())).is_err() {
                return None;
            }
        }
        Some(elements)
    };
    let (head, tail) = input.split_at(cut);
    assert_eq!(read(&[head, tail]), read(&[input]), "cut at {cut}");
}

/// The scan of a body: strict, and every span lies in the input.
pub fn scan(input: &[u8]) {
    let parsed = serde_json::from_slice::<IgnoredAny>(input);
    match Scan::read(input) {
        Err(error) => assert!(error.position <= input.len(), "{error}"),
        Ok(scan) => {
            assert!(parsed.is_ok(), "it scans, but is no JSON: {parsed:?}");
            for member in scan.members() {
                let bytes = member.value.bytes(input);
                assert!(serde_json::from_slice::<IgnoredAny>(bytes).is_ok(), "a span is no value: {bytes:?}");
                let _ = (member.value.text(input), member.value.count(input), member.value.small(input));
                let _ = member.value.elements(input, 100);
                member.value.each_member(input, |inner| assert!(inner.value.bytes(input).len() <= bytes.len()));
            }
        }
    }
}

/// Paths and queries, as clients send them.
pub fn inbound(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (path, query) = text.split_once('?').map_or((text.as_ref(), None), |(path, query)| (path, Some(query)));
    for method in ["GET", "POST"] {
        let _ = route(method, path, query);
    }
}

/// A client's body in every dialect, for upstreams of every dialect: each decoder, and each pair.
pub fn requests(input: &[u8]) {
    for from in OPERATIONS {
        let body = Bytes::copy_from_slice(input);
        let call = match ParsedRequest::read(matched(from), Head::default(), body) {
            Ok(call) => call,
            Err(malformed) => {
                assert!(malformed.message.len() < 4_096, "{from:?}: a message of {}", malformed.message.len());
                continue;
            }
        };
        let _ = (call.needs(), call.estimated_input_tokens(), call.allowance(), call.end_user());
        for to in OPERATIONS {
            for (model, mode) in MODELS.into_iter().zip([Mode::Default, Mode::Strict, Mode::Lenient]) {
                if let Ok(prepared) = call.prepare(destination(&to, model), mode) {
                    assert!(prepared.body.len() <= input.len() * 4 + (1 << 20), "{from:?} to {to:?} grows");
                    assert_json(&prepared.body, from, to);
                }
            }
        }
    }
}

/// An upstream's whole answer in every dialect, for clients of every dialect.
pub fn responses(input: &[u8]) {
    for (from, to, call, prepared) in pairs(false) {
        let reply = call.response_context("id", 1);
        let body = Bytes::copy_from_slice(input);
        if let Ok(whole) = prepared.translation.whole(&reply, 200, Some("application/json"), body) {
            assert!(whole.body.len() <= input.len() * 16 + (1 << 16), "{from:?} to {to:?}: {}", whole.body.len());
            if !prepared.translation.is_passthrough() {
                assert_json(&whole.body, from, to);
            }
        }
    }
}

/// An upstream's stream in every dialect, for clients of every dialect, in pieces.
pub fn streams(input: &[u8]) {
    let (cut, input) = cut(input);
    let (head, tail) = input.split_at(cut);
    for (from, to, call, prepared) in pairs(true) {
        let mut stream = prepared.translation.stream(&call.response_context("id", 1));
        let mut sent = Vec::new();
        for piece in [head, tail] {
            sent.extend_from_slice(&stream.push(Bytes::copy_from_slice(piece)));
            let _ = (stream.stats().warnings(0).count(), stream.is_answered(), stream.states_error());
        }
        sent.extend_from_slice(&stream.finish());
        assert!(stream.finish().is_empty(), "{from:?} to {to:?}: a second end");
        assert!(sent.len() <= input.len() * 64 + (1 << 16), "{from:?} to {to:?}: {} of {}", sent.len(), input.len());
        if !prepared.translation.is_passthrough() {
            let check = |frame: Frame<'_>| {
                if frame.data != "[DONE]" {
                    assert_json(frame.data.as_bytes(), from, to);
                }
            };
            if to == Operation::Converse {
                let read = EventStreamDecoder::new().push(&sent, check);
                read.unwrap_or_else(|error| panic!("{from:?} to {to:?}: {error}"));
                continue;
            }
            let mut frames = SseDecoder::new();
            frames.push(&sent, check).unwrap_or_else(|error| panic!("{from:?} to {to:?}: {error}"));
            frames.finish(check);
        }
    }
}

/// An upstream's error in every dialect, for clients of every dialect.
pub fn failures(input: &[u8]) {
    let value = std::str::from_utf8(input).ok();
    let header = |_: &str| value;
    for (.., prepared) in pairs(false) {
        for status in [400, 429, 500] {
            let hints = RetryHints { header: &header, now_ms: 1_700_000_000_000 };
            let _ = prepared.translation.failure(status, hints, input);
        }
    }
}

/// Every pair of an upstream's and a client's dialect, with a request that leads from the one to the other.
fn pairs(stream: bool) -> impl Iterator<Item = (Operation, Operation, ParsedRequest, Prepared)> {
    OPERATIONS.into_iter().flat_map(move |client| {
        OPERATIONS.into_iter().filter_map(move |upstream| {
            let call = ParsedRequest::read(matched(client), head(stream), asking(client, stream)).unwrap();
            let prepared = call.prepare(destination(&upstream, MODELS[0]), Mode::Default).ok()?;
            Some((upstream, client, call, prepared))
        })
    })
}

fn destination<'a>(to: &'a Operation, model: &'a str) -> Destination<'a> {
    Destination {
        base_model: None,
        host: Host::Vendor,
        operations: std::slice::from_ref(to),
        model: Some(model),
        default_max_output: 4_096,
        limits: ModelLimits::default(),
        continued: None,
        max_body: MAX_BODY,
    }
}

fn head(stream: bool) -> Head {
    Head { model: Some("m".to_owned()), stream, ..Head::default() }
}

/// The smallest request of a client.
fn asking(client: Operation, stream: bool) -> Bytes {
    let message = r#""messages":[{"role":"user","content":"x"}]"#;
    let body = match client {
        Operation::ChatCompletions => format!(r#"{{"model":"m","stream":{stream},{message}}}"#),
        Operation::Messages => format!(r#"{{"model":"m","stream":{stream},"max_tokens":9,{message}}}"#),
        Operation::Responses => format!(r#"{{"model":"m","stream":{stream},"input":"x"}}"#),
        Operation::Converse => r#"{"messages":[{"role":"user","content":[{"text":"x"}]}]}"#.to_owned(),
        _ => r#"{"contents":[{"role":"user","parts":[{"text":"x"}]}]}"#.to_owned(),
    };
    body.into()
}

fn matched(client: Operation) -> MatchedPath {
    let (path, query) = match client {
        Operation::ChatCompletions => ("/v1/chat/completions", None),
        Operation::Responses => ("/v1/responses", None),
        Operation::Messages => ("/v1/messages", None),
        Operation::Converse => ("/model/m/converse-stream", None),
        _ => ("/v1beta/models/m:streamGenerateContent", Some("alt=sse")),
    };
    match route("POST", path, query) {
        Ok(Inbound::Call(matched)) => matched,
        other => panic!("{path} is no call: {other:?}"),
    }
}

fn assert_json(body: &[u8], from: Operation, to: Operation) {
    let parsed = serde_json::from_slice::<IgnoredAny>(body);
    assert!(parsed.is_ok(), "{from:?} to {to:?}: {parsed:?}: {}", String::from_utf8_lossy(body));
}

/// The first two bytes say where the rest is cut.
fn cut(input: &[u8]) -> (usize, &[u8]) {
    let Some((first, rest)) = input.split_first_chunk::<2>() else { return (0, input) };
    (usize::from(u16::from_le_bytes(*first)) % (rest.len() + 1), rest)
}
