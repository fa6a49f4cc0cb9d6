//! What hostile input may become: every kind that the codec benchmark measures in time is held here in bytes and counts.

#[path = "../benches/codec/inputs.rs"]
mod inputs;

use bytes::Bytes;
use routeapi_protocol::{
    codec::{Head, ResponseContext, client_codec, upstream_codec},
    dialect::Operation,
    host::Host,
    inbound::{Inbound, MatchedPath, route},
    limits::ModelLimits,
    report::{MAX_NAME_BYTES, MAX_WARNINGS, Mode, Warning},
    request::{Destination, ParsedRequest, Prepared, Unprepared},
};

const CLIENTS: [Operation; 5] = [
    Operation::ChatCompletions,
    Operation::Responses,
    Operation::Messages,
    Operation::GenerateContent,
    Operation::Converse,
];
const UPSTREAMS: [Operation; 5] = CLIENTS;
const SIZE: usize = 96 << 10;
const MAX_BODY: usize = 32 << 20;

fn matched(operation: Operation) -> MatchedPath {
    let path = match operation {
        Operation::ChatCompletions => "/v1/chat/completions",
        Operation::Responses => "/v1/responses",
        Operation::Messages => "/v1/messages",
        Operation::Converse => "/model/m/converse-stream",
        _ => "/v1beta/models/m:streamGenerateContent",
    };
    match route("POST", path, Some("alt=sse").filter(|_| operation == Operation::GenerateContent)) {
        Ok(Inbound::Call(matched)) => matched,
        other => unreachable!("a path of our own leads to a call: {other:?}"),
    }
}

fn prepared(from: Operation, to: Operation, body: String, max_body: usize) -> Result<Prepared, Unprepared> {
    let call = ParsedRequest::read(matched(from), Head::default(), body.into())?;
    // A model of the second generation takes the narrowest schemas.
    let destination = Destination {
        base_model: None,
        host: Host::Vendor,
        operations: &[to],
        model: Some("gemini-2.0-flash"),
        default_max_output: 4_096,
        limits: ModelLimits::default(),
        continued: None,
        max_body,
    };
    call.prepare(destination, Mode::Default)
}

#[test]
fn no_request_becomes_much_more() {
    for kind in inputs::REQUESTS {
        for (from, to) in CLIENTS.into_iter().flat_map(|from| UPSTREAMS.map(|to| (from, to))) {
            let body = inputs::request(from, kind, SIZE);
            let most = body.len() * 4 + (1 << 20);
            match prepared(from, to, body, MAX_BODY) {
                Ok(prepared) => assert!(prepared.body.len() <= most, "{from:?} to {to:?}, {kind}"),
                Err(Unprepared::Refused(refusal)) => assert!(!refusal.field.is_empty(), "{from:?} to {to:?}, {kind}"),
                Err(Unprepared::Malformed(malformed)) => {
                    assert!(malformed.message.len() < 1_024, "{from:?} to {to:?}, {kind}");
                }
                Err(other) => panic!("{from:?} to {to:?}, {kind}: {other}"),
            }
        }
    }
}

#[test]
fn the_field_that_outgrows_its_bound_is_named() {
    let rows = [
        (Operation::ChatCompletions, "tools[0].function.parameters"),
        (Operation::GenerateContent, "tools[].functionDeclarations[].parameters"),
    ];
    for (from, field) in rows {
        let to = if from == Operation::GenerateContent { Operation::Messages } else { Operation::GenerateContent };
        let body = inputs::request(from, "references to a large default", 51 << 10);
        // Without strictness Anthropic takes references as they are.
        match prepared(from, to, body, MAX_BODY) {
            Err(Unprepared::Refused(refusal)) => {
                assert_eq!(refusal.field, field);
                assert!(refusal.why.contains("expands to more than"), "{refusal}");
            }
            Ok(_) if to == Operation::Messages => {}
            other => panic!("{from:?}: {other:?}"),
        }
    }
}

#[test]
fn what_a_body_may_become_is_bounded_by_the_largest_body_too() {
    let body = inputs::request(Operation::ChatCompletions, "one string of control characters", SIZE);
    let length = body.len();
    let prepared =
        prepared(Operation::ChatCompletions, Operation::Messages, body, 1).map(|prepared| prepared.body.len());
    assert!(prepared.is_err() || prepared.is_ok_and(|bytes| bytes <= length + 1));
}

#[test]
fn warnings_are_few_and_short() {
    for from in CLIENTS {
        let to = if from == Operation::Messages { Operation::GenerateContent } else { Operation::Messages };
        let body = inputs::request(from, "unknown members of messages", SIZE);
        let warnings = prepared(from, to, body, MAX_BODY).unwrap().warnings;
        assert!(warnings.len() <= MAX_WARNINGS + 1, "{from:?}: {}", warnings.len());
        assert!(matches!(warnings.last(), Some(Warning::More { count }) if *count > 1_000), "{from:?}");
        for warning in &warnings {
            assert!(warning.to_string().len() < 4 * MAX_NAME_BYTES, "{from:?}: {warning}");
        }
    }
}

#[test]
fn bodies_of_very_many_members_or_objects_are_refused() {
    let members = inputs::request(Operation::ChatCompletions, "unknown members at the top", SIZE);
    let error = ParsedRequest::read(matched(Operation::ChatCompletions), Head::default(), members.into()).unwrap_err();
    assert!(error.message.contains("more than 1024 members"), "{}", error.message);

    let messages = inputs::request(Operation::ChatCompletions, "messages", 5 << 20);
    match prepared(Operation::ChatCompletions, Operation::Messages, messages, MAX_BODY) {
        Err(Unprepared::Malformed(malformed)) => assert!(malformed.message.contains("more than"), "{malformed}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_that_answers_repeat_are_short() {
    let long = "n".repeat(5_000);
    let model = format!(r#"{{"model":"{long}","messages":[]}}"#);
    let error = ParsedRequest::read(matched(Operation::ChatCompletions), Head::default(), model.into()).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("model"));

    let tool = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"tools":[{{"type":"function","function":{{"name":"{long}"}}}}]}}"#
    );
    let error = client_codec(Operation::ChatCompletions)
        .unwrap()
        .decode_request(tool.as_bytes(), &Head::default())
        .unwrap_err();
    assert_eq!(error.field.as_deref(), Some("tools[0].function.name"));
}

#[test]
fn no_answer_becomes_much_more() {
    for kind in inputs::ANSWERS {
        for (from, to) in UPSTREAMS.into_iter().flat_map(|from| CLIENTS.map(|to| (from, to))) {
            let body = inputs::answer(from, kind, SIZE);
            let most = body.len() * 4 + (1 << 20);
            let Ok(response) = upstream_codec(from).unwrap().decode_response(body.as_bytes()) else { continue };
            let reply = ResponseContext { most_bytes: Some(most), ..ResponseContext::default() };
            let written = client_codec(to).unwrap().encode_response(&response, &reply).len();
            assert!(written <= most + 1, "{from:?} to {to:?}, {kind}: {written}");
        }
    }
}

#[test]
fn no_stream_is_held_or_grows_without_bound() {
    for kind in inputs::STREAMS {
        for (from, to) in UPSTREAMS.into_iter().flat_map(|from| CLIENTS.map(|to| (from, to))) {
            let body = inputs::request(to, "messages", 1).replacen('{', r#"{"stream":true,"#, 1);
            let prepared = prepared(to, from, body, MAX_BODY).unwrap();
            let mut stream = prepared.translation.stream(&ResponseContext {
                model: "m".into(),
                id: "i".into(),
                ..ResponseContext::default()
            });
            let (mut taken, mut given) = (0, 0);
            for piece in inputs::stream(from, kind, SIZE) {
                taken += piece.len();
                given += stream.push(Bytes::from(piece)).len();
            }
            given += stream.finish().len();
            assert!(given <= taken * 8 + (1 << 20), "{from:?} to {to:?}, {kind}: {taken} became {given}");
            assert!(stream.stats().lost.len() <= 32, "{from:?} to {to:?}, {kind}");
        }
    }
}
