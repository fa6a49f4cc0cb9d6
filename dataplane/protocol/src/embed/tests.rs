use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    codec::{Head, ResponseContext},
    dialect::Operation::{self, BatchEmbedContents, EmbedContent, Embeddings},
    framing::Framing,
    host::Host,
    inbound::MatchedPath,
    limits::ModelLimits,
    report::Mode,
    request::{Destination, ParsedRequest, Prepared, Unprepared},
};

fn prepare(from: Operation, to: Operation, body: &Value) -> Result<Prepared, Unprepared> {
    let in_path = from.model_in_path();
    let matched = MatchedPath {
        operation: from,
        model: in_path.then(|| "m".into()),
        framing: in_path.then_some(Framing::Whole),
        query: None,
        unknown_query: false,
        path: None,
    };
    let request = ParsedRequest::read(matched, Head::default(), body.to_string().into())?;
    let to = Destination {
        host: Host::Vendor,
        operations: &[to],
        model: Some("up"),
        default_max_output: 1,
        limits: ModelLimits::default(),
        previous_response: None,
        max_body: 32 << 20,
    };
    request.prepare(to, Mode::Default)
}

fn sent(from: Operation, to: Operation, body: &Value) -> (Value, Vec<String>) {
    let prepared = prepare(from, to, body).unwrap();
    let warnings = prepared.warnings.iter().map(ToString::to_string).collect();
    (serde_json::from_slice(&prepared.body).unwrap(), warnings)
}

fn answered(from: Operation, to: Operation, asked: &Value, answer: &Value) -> Result<Value, String> {
    let prepared = prepare(from, to, asked).unwrap();
    let context = ResponseContext { model: "m".into(), ..ResponseContext::default() };
    let whole = prepared.translation.whole(&context, 200, None, Bytes::from(answer.to_string()));
    let whole = whole.map_err(|problem| problem.message.to_string())?;
    assert!(whole.stats.complete && whole.stats.content);
    Ok(serde_json::from_slice(&whole.body).unwrap())
}

#[test]
fn openai_texts_become_a_gemini_batch() {
    let one = json!({"model": "m", "input": "a", "dimensions": 3, "user": "u"});
    let prepared = prepare(Embeddings, BatchEmbedContents, &one).unwrap();
    assert_eq!(prepared.path, "/v1beta/models/up:batchEmbedContents");
    let (body, warnings) = sent(Embeddings, BatchEmbedContents, &one);
    let request =
        |text: &str| json!({"model": "models/up", "content": {"parts": [{"text": text}]}, "outputDimensionality": 3});
    assert_eq!(body, json!({"requests": [request("a")]}));
    assert!(warnings.len() == 1 && warnings[0].contains("field=user"), "{warnings:?}");
    let two = json!({"model": "m", "input": ["a", "b\n"], "dimensions": 3});
    assert_eq!(sent(Embeddings, BatchEmbedContents, &two).0, json!({"requests": [request("a"), request("b\n")]}));
}

#[test]
fn gemini_contents_become_openai_input() {
    let single = json!({"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "taskType": "RETRIEVAL_QUERY", "output_dimensionality": 2});
    let (body, warnings) = sent(EmbedContent, Embeddings, &single);
    assert_eq!(body, json!({"model": "up", "input": ["a\nb"], "encoding_format": "float", "dimensions": 2}));
    assert!(warnings.iter().any(|warning| warning.contains("taskType")), "{warnings:?}");
    let batch = json!({"requests": [
        {"model": "models/m", "content": {"parts": [{"text": "a"}]}}, {"content": {"parts": [{"text": "b"}]}}]});
    let (body, warnings) = sent(BatchEmbedContents, Embeddings, &batch);
    assert_eq!((body["input"].clone(), warnings.len()), (json!(["a", "b"]), 0));
}

/// Hard case 257: Node's client decodes base64 without looking.
#[test]
fn base64_that_was_asked_for_is_packed_from_numbers() {
    let asked = json!({"model": "m", "input": "a", "encoding_format": "base64"});
    let answer = json!({"embeddings": [{"values": [0.5, -1.25e0]}], "usageMetadata": {"promptTokenCount": 4}});
    let body = answered(Embeddings, BatchEmbedContents, &asked, &answer).unwrap();
    let bytes = STANDARD.decode(body["data"][0]["embedding"].as_str().unwrap()).unwrap();
    assert_eq!(bytes, [0.5_f32.to_le_bytes(), (-1.25_f32).to_le_bytes()].concat());
    assert_eq!(body["usage"], json!({"prompt_tokens": 4, "total_tokens": 4}));
    assert_eq!((&body["model"], &body["object"]), (&json!("m"), &json!("list")));
}

/// Hard case 261: nothing is made up, and the client is told.
#[test]
fn an_answer_without_usage_counts_zero_and_says_so() {
    let asked = json!({"model": "m", "input": ["a", "b"]});
    let answer = json!({"embeddings": [{"values": [0.1]}, {"values": [0.2]}]});
    let prepared = prepare(Embeddings, BatchEmbedContents, &asked).unwrap();
    let body = Bytes::from(answer.to_string());
    let whole = prepared.translation.whole(&ResponseContext::default(), 200, None, body).unwrap();
    let read: Value = serde_json::from_slice(&whole.body).unwrap();
    assert_eq!(read["usage"]["prompt_tokens"], 0);
    assert_eq!(read["data"][1], json!({"object": "embedding", "index": 1, "embedding": [0.2]}));
    assert_eq!(whole.stats.usage, None);
    assert_eq!(whole.stats.warnings(0).count(), 1);
}

#[test]
fn vectors_go_back_in_the_order_of_the_texts() {
    let asked = json!({"requests": [{"content": {"parts": [{"text": "a"}]}}, {"content": {"parts": [{"text": "b"}]}}]});
    let packed = STANDARD.encode(0.5_f32.to_le_bytes());
    let answer = json!({"object": "list", "model": "up-1", "usage": {"prompt_tokens": 2, "total_tokens": 2}, "data": [
        {"index": 1, "embedding": [2.0, 1e-3]}, {"index": 0, "embedding": packed}]});
    let body = answered(BatchEmbedContents, Embeddings, &asked, &answer).unwrap();
    let expected =
        json!({"embeddings": [{"values": [0.5]}, {"values": [2.0, 1e-3]}], "usageMetadata": {"promptTokenCount": 2}});
    assert_eq!(body, expected);
    let single = json!({"content": {"parts": [{"text": "a"}]}});
    let answer = json!({"data": [{"embedding": [1]}]});
    assert_eq!(answered(EmbedContent, Embeddings, &single, &answer).unwrap(), json!({"embedding": {"values": [1]}}));
}

/// Hard case 259 and others that no other vendor can be asked for.
#[test]
fn what_means_nothing_to_the_other_vendor_is_refused_by_name() {
    let many: Vec<_> = (0..101).map(|number| number.to_string()).collect();
    for (from, to, body, field) in [
        (Embeddings, BatchEmbedContents, json!({"model": "m", "input": [1, 2]}), "input"),
        (Embeddings, BatchEmbedContents, json!({"model": "m", "input": [[1, 2], [3]]}), "input"),
        (Embeddings, BatchEmbedContents, json!({"model": "m", "input": many}), "input"),
        (EmbedContent, Embeddings, json!({"content": {"parts": [{"inlineData": {"data": "AA=="}}]}}), "content.parts"),
    ] {
        match prepare(from, to, &body) {
            Err(Unprepared::Refused(refusal)) => assert_eq!(refusal.field, field, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
    for (from, to, body, field) in [
        (Embeddings, BatchEmbedContents, json!({"model": "m"}), "input"),
        (Embeddings, BatchEmbedContents, json!({"model": "m", "input": []}), "input"),
        (Embeddings, BatchEmbedContents, json!({"model": "m", "input": {"a": 1}}), "input"),
        (
            Embeddings,
            BatchEmbedContents,
            json!({"model": "m", "input": "a", "encoding_format": "int8"}),
            "encoding_format",
        ),
        (EmbedContent, Embeddings, json!({"contents": []}), "content"),
        (BatchEmbedContents, Embeddings, json!({"requests": []}), "requests"),
    ] {
        match prepare(from, to, &body) {
            Err(Unprepared::Malformed(malformed)) => assert_eq!(malformed.field.as_deref(), Some(field), "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn an_answer_that_fits_no_request_is_a_failure() {
    let asked = json!({"model": "m", "input": ["a", "b"]});
    for answer in [
        json!({"embeddings": [{"values": [1]}]}),
        json!({"embeddings": [{"values": "x"}, {"values": [1]}]}),
        json!({"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}),
        json!({}),
        json!("text"),
    ] {
        assert!(answered(Embeddings, BatchEmbedContents, &asked, &answer).is_err(), "{answer}");
    }
    let asked = json!({"requests": [{"content": {"parts": [{"text": "a"}]}}]});
    for answer in [
        json!({"data": [{"index": 1, "embedding": [1]}]}),
        json!({"data": [{"embedding": "!"}]}),
        json!({"data": [{"embedding": STANDARD.encode([0, 0, 192, 127])}]}),
        json!({"data": [{"embedding": STANDARD.encode([1, 2, 3])}]}),
    ] {
        assert!(answered(BatchEmbedContents, Embeddings, &asked, &answer).is_err(), "{answer}");
    }
}
