use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Asked, Calls, Request, split};
use crate::{
    codec::{Head, ResponseContext},
    dialect::Operation::{self, BatchEmbedContents, EmbedContent, Embeddings},
    framing::Framing,
    host::Host,
    inbound::MatchedPath,
    lane,
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
        base_model: None,
        host: Host::Vendor,
        operations: &[to],
        model: Some("up"),
        default_max_output: 1,
        limits: ModelLimits::default(),
        continued: None,
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
    let many: Vec<_> = (0..2_049).map(|number| number.to_string()).collect();
    let contents: Vec<_> = many.iter().map(|text| json!({"content": {"parts": [{"text": text}]}})).collect();
    for (from, to, body, field) in [
        (Embeddings, BatchEmbedContents, json!({"model": "m", "input": [1, 2]}), "input"),
        (Embeddings, BatchEmbedContents, json!({"model": "m", "input": [[1, 2], [3]]}), "input"),
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
        (Embeddings, BatchEmbedContents, json!({"model": "m", "input": many}), "input"),
        (BatchEmbedContents, Embeddings, json!({"requests": contents}), "requests"),
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

/// The texts of a call, by the dialect of the upstream.
fn texts_of(call: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(call).unwrap();
    let text = |text: &Value| text.as_str().unwrap().to_owned();
    match &body["requests"] {
        Value::Array(requests) => {
            requests.iter().map(|request| text(&request["content"]["parts"][0]["text"])).collect()
        }
        _ => body["input"].as_array().unwrap().iter().map(text).collect(),
    }
}

/// What an upstream answers to a call: for each text its length as the only number, and that many tokens.
fn vectors_of(upstream: Operation, call: &[u8]) -> Bytes {
    let lengths: Vec<usize> = texts_of(call).iter().map(String::len).collect();
    let tokens: usize = lengths.iter().sum();
    let answer = match upstream {
        BatchEmbedContents => {
            let embeddings: Vec<Value> = lengths.iter().map(|length| json!({"values": [length]})).collect();
            json!({"embeddings": embeddings, "usageMetadata": {"promptTokenCount": tokens}})
        }
        _ => {
            let entry = |(index, length)| json!({"object": "embedding", "index": index, "embedding": [length]});
            let data: Vec<Value> = lengths.iter().enumerate().map(entry).collect();
            json!({"object": "list", "data": data, "model": "up-1", "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
        }
    };
    answer.to_string().into()
}

/// Texts of different lengths.
fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| "x".repeat(number % 7 + 1)).collect()
}

/// Hard case 262.
#[test]
fn more_texts_than_gemini_takes_become_several_calls_and_one_answer() {
    let asked = json!({"model": "m", "input": texts(250), "dimensions": 3, "user": "u"});
    let prepared = prepare(Embeddings, BatchEmbedContents, &asked).unwrap();
    assert_eq!(prepared.parts.iter().map(|part| part.texts.clone()).collect::<Vec<_>>(), [0..100, 100..200, 200..250]);
    assert_eq!(prepared.parts.iter().map(|part| &part.body[..]).collect::<Vec<_>>().concat(), prepared.body);
    assert_eq!(prepared.parts.iter().map(|part| part.text_bytes).sum::<usize>(), texts(250).concat().len());
    assert_eq!(prepared.warnings.len(), 1, "once, and not in each call: {:?}", prepared.warnings);
    let answer = |part: &crate::request::BatchPart| {
        prepared.translation.part(part.texts.clone(), None, &vectors_of(BatchEmbedContents, &part.body)).unwrap()
    };
    let answers: Vec<_> = prepared.parts.iter().map(answer).collect();
    let context = ResponseContext { model: "m".into(), ..ResponseContext::default() };
    let whole = prepared.translation.join(&context, &answers);
    let body: Value = serde_json::from_slice(&whole.body).unwrap();
    let entry =
        |(index, text): (usize, &String)| json!({"object": "embedding", "index": index, "embedding": [text.len()]});
    let data: Vec<Value> = texts(250).iter().enumerate().map(entry).collect();
    let tokens = texts(250).concat().len();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    assert_eq!(body, json!({"object": "list", "data": data, "model": "m", "usage": usage}));
    assert_eq!(whole.stats.usage.and_then(|usage| usage.input), Some(tokens as u64));
}

#[test]
fn one_call_is_made_for_as_many_texts_as_the_upstream_takes() {
    let asked = |count: usize| json!({"model": "m", "input": texts(count)});
    let parts = |count| prepare(Embeddings, BatchEmbedContents, &asked(count)).unwrap().parts.len();
    assert_eq!([1, 100, 101, 200, 201, 2_048].map(parts), [0, 0, 2, 2, 3, 21]);
    let contents: Vec<Value> =
        texts(2_048).iter().map(|text| json!({"content": {"parts": [{"text": text}]}})).collect();
    let prepared = prepare(BatchEmbedContents, Embeddings, &json!({"requests": contents})).unwrap();
    assert!(prepared.parts.is_empty(), "OpenAI takes them all");
    assert_eq!(texts_of(&prepared.body), texts(2_048));
    let passed = prepare(BatchEmbedContents, BatchEmbedContents, &json!({"requests": contents})).unwrap();
    assert!(passed.parts.is_empty(), "what goes to the client's own vendor is that vendor's to judge");
}

#[test]
fn an_answer_to_a_part_fits_that_part() {
    let asked = json!({"model": "m", "input": texts(250)});
    let prepared = prepare(Embeddings, BatchEmbedContents, &asked).unwrap();
    let [first, _, last] = &prepared.parts[..] else { panic!("three parts") };
    let answer = |texts, body: &Bytes| prepared.translation.part(texts, None, &vectors_of(BatchEmbedContents, body));
    assert!(answer(last.texts.clone(), &last.body).is_ok());
    assert!(answer(first.texts.clone(), &last.body).is_err(), "50 vectors for 100 texts");
    assert!(answer(last.texts.clone(), &first.body).is_err(), "100 vectors for 50 texts");
    let chat = json!({"model": "m", "messages": []});
    let passed = prepare(Operation::ChatCompletions, Operation::ChatCompletions, &chat).unwrap();
    assert!(passed.translation.part(0..1, None, &Bytes::from_static(b"{}")).is_err());
}

/// One call that does not count leaves the sum unknown, which is said once.
#[test]
fn a_sum_with_an_unknown_part_is_unknown() {
    let asked = json!({"model": "m", "input": texts(101)});
    let prepared = prepare(Embeddings, BatchEmbedContents, &asked).unwrap();
    let embeddings: Vec<Value> = (0..100).map(|_| json!({"values": [1]})).collect();
    let uncounted = Bytes::from(json!({"embeddings": embeddings}).to_string());
    let counted = vectors_of(BatchEmbedContents, &prepared.parts[1].body);
    let answers = [
        prepared.translation.part(0..100, None, &uncounted).unwrap(),
        prepared.translation.part(100..101, None, &counted).unwrap(),
    ];
    assert_eq!((answers[0].stats.usage, answers[0].stats.warnings(0).count()), (None, 0));
    let whole = prepared.translation.join(&ResponseContext::default(), &answers);
    let body: Value = serde_json::from_slice(&whole.body).unwrap();
    assert_eq!((&body["usage"]["prompt_tokens"], whole.stats.usage), (&json!(0), None));
    assert_eq!(whole.stats.warnings(0).count(), 1);
}

proptest! {
    #[test]
    fn calls_of_any_size_keep_count_order_and_usage(count in 0..300_usize, most in 0..120_usize, to_gemini: bool) {
        let (client, upstream) =
            if to_gemini { (Embeddings, BatchEmbedContents) } else { (BatchEmbedContents, Embeddings) };
        let all = texts(count);
        let request = Request {
            texts: all.iter().map(Into::into).collect(), dimensions: None, base64: false, task: None, input_type: None, title: None,
        };
        let Calls { body, parts } = split::calls(&request.texts, most, |out, texts| match upstream {
            BatchEmbedContents => super::gemini::write(out, texts, &request, "models/up"),
            _ => super::openai::write(out, texts, &request, "up"),
        });
        let calls: Vec<(Bytes, std::ops::Range<usize>)> = match parts.is_empty() {
            true => vec![(body, 0..count)],
            false => parts.into_iter().map(|part| (part.body, part.texts)).collect(),
        };
        prop_assert_eq!(calls.len(), count.div_ceil(most.max(1)).max(1));
        prop_assert!(calls.iter().all(|(call, texts)| texts_of(call) == all[texts.clone()]));
        prop_assert!(calls.iter().all(|(_, texts)| texts.len() <= most.max(1)));
        let answers: Vec<_> = calls.iter().map(|(call, texts)| {
            let asked = Asked { texts: texts.clone(), base64: false };
            lane::embed::part((upstream, client), &asked, None, &vectors_of(upstream, call)).unwrap()
        }).collect();
        let whole = lane::embed::join(client, "m", &answers);
        let read: Value = serde_json::from_slice(&whole.body).unwrap();
        let tokens = all.concat().len();
        let expected: Vec<Value> = match client {
            Embeddings => all.iter().enumerate().map(|(index, text)| {
                json!({"object": "embedding", "index": index, "embedding": [text.len()]})
            }).collect(),
            _ => all.iter().map(|text| json!({"values": [text.len()]})).collect(),
        };
        let (list, counted) = match client {
            Embeddings => (&read["data"], &read["usage"]["prompt_tokens"]),
            _ => (&read["embeddings"], &read["usageMetadata"]["promptTokenCount"]),
        };
        prop_assert_eq!(list, &Value::Array(expected));
        prop_assert_eq!(counted, &json!(tokens));
        prop_assert_eq!(whole.stats.usage.and_then(|usage| usage.input), Some(tokens as u64));
    }
}
