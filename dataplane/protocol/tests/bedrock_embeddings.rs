//! Embedding models of Amazon Bedrock, by `InvokeModel`, for clients of OpenAI's API and of Gemini's.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, and so may what it calls"
)]

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use routeapi_protocol::{
    codec::{Head, ResponseContext},
    dialect::Operation,
    host::Host,
    inbound::{Inbound, route},
    limits::ModelLimits,
    problem::{ProblemKind, RetryHints},
    report::Mode,
    request::{BatchPart, Destination, ParsedRequest, Prepared, Unprepared},
};
use serde_json::{Value, json};

const TITAN_1: &str = "amazon.titan-embed-text-v1";
const TITAN_2: &str = "amazon.titan-embed-text-v2:0";
const TITAN_IMAGE: &str = "amazon.titan-embed-image-v1";
const COHERE_3: &str = "cohere.embed-multilingual-v3";
const COHERE_4: &str = "us.cohere.embed-v4:0";
const NOVA: &str = "amazon.nova-2-multimodal-embeddings-v1:0";
const ARN: &str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";

fn prepare_for(model: &str, base_model: Option<&str>, path: &str, body: &Value) -> Result<Prepared, Unprepared> {
    let Ok(Inbound::Call(matched)) = route("POST", path, None) else { panic!("{path}") };
    let request = ParsedRequest::read(matched, Head::default(), body.to_string().into())?;
    let to = Destination {
        host: Host::Bedrock,
        operations: &[Operation::Converse, Operation::InvokeEmbedding],
        model: Some(model),
        base_model,
        default_max_output: 4_096,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    };
    request.prepare(to, Mode::Default)
}

fn openai(model: &str, body: &Value) -> Result<Prepared, Unprepared> {
    prepare_for(model, None, "/v1/embeddings", body)
}

fn gemini(model: &str, body: &Value) -> Result<Prepared, Unprepared> {
    prepare_for(model, None, "/v1beta/models/m:embedContent", body)
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn warnings(prepared: &Prepared) -> Vec<String> {
    prepared.warnings.iter().map(ToString::to_string).collect()
}

fn context(input_tokens: Option<u64>) -> ResponseContext {
    ResponseContext { model: "m".into(), input_tokens, ..ResponseContext::default() }
}

/// What the client gets for one call.
fn answered(prepared: &Prepared, counted: Option<u64>, answer: &Value) -> Value {
    let whole = prepared.translation.whole(&context(counted), 200, None, answer.to_string().into()).unwrap();
    assert!(whole.stats.complete && whole.stats.content);
    assert_eq!(whole.stats.usage.is_some(), counted.is_some() || answer.get("inputTextTokenCount").is_some());
    json_of(&whole.body)
}

#[test]
fn each_vendors_model_gets_its_vendors_body() {
    let asked = json!({"model": "m", "input": "a", "dimensions": 256});
    let nova = |dimensions| {
        json!({
            "schemaVersion": "nova-multimodal-embed-v1",
            "taskType": "SINGLE_EMBEDDING",
            "singleEmbeddingParams": {
                "embeddingPurpose": "GENERIC_INDEX",
                "embeddingDimension": dimensions,
                "text": {"truncationMode": "NONE", "value": "a"},
            },
        })
    };
    for (model, body) in [
        (TITAN_2, json!({"inputText": "a", "dimensions": 256})),
        (TITAN_IMAGE, json!({"inputText": "a", "embeddingConfig": {"outputEmbeddingLength": 256}})),
        (COHERE_4, json!({"texts": ["a"], "input_type": "search_document", "output_dimension": 256})),
        (NOVA, nova(256)),
    ] {
        let prepared = openai(model, &asked).unwrap();
        let id = model.replace(':', "%3A");
        assert_eq!(prepared.path, format!("/model/{id}/invoke"));
        assert_eq!((json_of(&prepared.body), warnings(&prepared)), (body, Vec::new()), "{model}");
    }
    let asked = json!({"model": "m", "input": "a"});
    for (model, body) in [
        (TITAN_1, json!({"inputText": "a"})),
        (TITAN_2, json!({"inputText": "a"})),
        (COHERE_3, json!({"texts": ["a"], "input_type": "search_document"})),
        (NOVA, nova(3_072)),
    ] {
        assert_eq!(json_of(&openai(model, &asked).unwrap().body), body, "{model}");
    }
    let behind_arn = prepare_for(ARN, Some(TITAN_2), "/v1/embeddings", &asked).unwrap();
    assert!(behind_arn.path.contains("application-inference-profile%2Fabc/invoke"), "{}", behind_arn.path);
    assert_eq!(json_of(&behind_arn.body), json!({"inputText": "a"}));
    for model in [ARN, "amazon.nova-pro-v1:0"] {
        assert!(matches!(openai(model, &asked), Err(Unprepared::Unreachable)), "{model} makes no vectors");
    }
}

#[test]
fn what_vectors_are_for_is_said_in_the_vendors_words() {
    let purpose = |model: &str, body: Value| {
        let prepared = openai(model, &body).unwrap();
        let sent = json_of(&prepared.body);
        let said = sent.get("input_type").or_else(|| sent.pointer("/singleEmbeddingParams/embeddingPurpose")).cloned();
        (said, warnings(&prepared))
    };
    for (input_type, cohere, nova) in [
        ("search_query", "search_query", "TEXT_RETRIEVAL"),
        ("search_document", "search_document", "GENERIC_INDEX"),
        ("clustering", "clustering", "CLUSTERING"),
        ("IMAGE_RETRIEVAL", "IMAGE_RETRIEVAL", "IMAGE_RETRIEVAL"),
    ] {
        let body = json!({"model": "m", "input": "a", "input_type": input_type});
        assert_eq!(purpose(COHERE_3, body.clone()), (Some(cohere.into()), vec![]));
        assert_eq!(purpose(NOVA, body.clone()), (Some(nova.into()), vec![]));
        assert_eq!(purpose(TITAN_2, body), (None, vec!["dropped;field=input_type".to_owned()]));
    }
    for (task, cohere, nova, warned) in [
        ("RETRIEVAL_QUERY", "search_query", "TEXT_RETRIEVAL", false),
        ("CLASSIFICATION", "classification", "CLASSIFICATION", false),
        ("SEMANTIC_SIMILARITY", "search_document", "GENERIC_INDEX", true),
    ] {
        let body = json!({"content": {"parts": [{"text": "a"}]}, "taskType": task, "title": "t"});
        let (of_cohere, of_nova) = (gemini(COHERE_4, &body).unwrap(), gemini(NOVA, &body).unwrap());
        assert_eq!(json_of(&of_cohere.body)["input_type"], cohere);
        assert_eq!(json_of(&of_nova.body)["singleEmbeddingParams"]["embeddingPurpose"], nova);
        assert_eq!(warnings(&of_cohere).iter().any(|warning| warning.contains("taskType")), warned, "{task}");
        assert!(warnings(&of_cohere).contains(&"dropped;field=title".to_owned()));
    }
}

#[test]
fn dimensions_that_a_model_does_not_have_are_refused() {
    for (model, has) in [(TITAN_1, 1_536), (COHERE_3, 1_024)] {
        let body = |dimensions: u64| json!({"model": "m", "input": "a", "dimensions": dimensions});
        let sent = json_of(&openai(model, &body(has)).unwrap().body);
        assert!(sent.get("dimensions").is_none() && sent.get("output_dimension").is_none(), "{sent}");
        let Err(Unprepared::Refused(refusal)) = openai(model, &body(256)) else { panic!("{model}") };
        assert!(refusal.field == "dimensions" && refusal.why.contains(&has.to_string()), "{refusal}");
        let asked = json!({"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 256});
        let Err(Unprepared::Refused(refusal)) = gemini(model, &asked) else { panic!("{model}") };
        assert_eq!(refusal.field, "outputDimensionality");
    }
}

#[test]
fn tokens_and_other_vendors_members_are_told() {
    let Err(Unprepared::Refused(refusal)) = openai(TITAN_2, &json!({"model": "m", "input": [1, 2]})) else {
        panic!("tokens are of another vocabulary")
    };
    assert_eq!(refusal.field, "input");
    let prepared = openai(COHERE_4, &json!({"model": "m", "input": "a", "user": "u"})).unwrap();
    assert_eq!(warnings(&prepared), ["dropped;field=user"]);
}

#[test]
fn answers_of_every_shape_are_read() {
    let numbers = json!([0.5, -1.25]);
    let openai_answer = |tokens: u64| {
        json!({
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": numbers}],
            "model": "m",
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        })
    };
    let asked = json!({"model": "m", "input": "a"});
    let titan = json!({"embedding": numbers, "embeddingsByType": {"float": numbers}, "inputTextTokenCount": 3});
    assert_eq!(answered(&openai(TITAN_2, &asked).unwrap(), Some(9), &titan), openai_answer(3), "the body's own count");
    for (model, answer) in [
        (TITAN_IMAGE, json!({"embedding": numbers, "message": null})),
        (COHERE_3, json!({"id": "x", "embeddings": [numbers], "texts": ["a"], "response_type": "embeddings_floats"})),
        (COHERE_4, json!({"id": "x", "embeddings": {"float": [numbers]}, "response_type": "embeddings_by_type"})),
        (NOVA, json!({"embeddings": [{"embeddingType": "TEXT", "embedding": numbers}]})),
    ] {
        assert_eq!(answered(&openai(model, &asked).unwrap(), Some(4), &answer), openai_answer(4), "{model}");
        let of_gemini = gemini(model, &json!({"content": {"parts": [{"text": "a"}]}})).unwrap();
        assert_eq!(
            answered(&of_gemini, Some(4), &answer),
            json!({"embedding": {"values": numbers}, "usageMetadata": {"promptTokenCount": 4}})
        );
        let header = |name: &str| (name == "x-amzn-bedrock-input-token-count").then_some("4");
        assert_eq!(of_gemini.translation.counted_input(header), Some(4));
        assert_eq!(of_gemini.translation.counted_input(|_| Some("no number")), None);
    }
    let packed = json!({"model": "m", "input": "a", "encoding_format": "base64"});
    let body = answered(&openai(NOVA, &packed).unwrap(), None, &json!({"embeddings": [{"embedding": [0.5]}]}));
    assert_eq!(body["data"][0]["embedding"], STANDARD.encode(0.5_f32.to_le_bytes()));
    assert_eq!(body["usage"]["prompt_tokens"], 0, "what nobody has counted is not made up");
}

/// Hard case 262.
#[test]
fn texts_come_back_in_their_order_however_many_go_into_one_call() {
    let texts: Vec<String> = (0..200).map(|number| "x".repeat(number % 7 + 1)).collect();
    let asked = json!({"model": "m", "input": texts});
    for (model, calls) in [(TITAN_2, 200), (COHERE_4, 3), (NOVA, 200)] {
        let prepared = openai(model, &asked).unwrap();
        assert_eq!(prepared.parts.len(), calls, "{model}");
        let answer = |part: &BatchPart| {
            let lengths: Vec<Value> = texts[part.texts.clone()].iter().map(|text| json!([text.len()])).collect();
            let tokens: usize = texts[part.texts.clone()].iter().map(String::len).sum();
            let sent = json_of(&part.body);
            assert!(sent.to_string().contains(&texts[part.texts.start]), "{sent}");
            let answer = match model {
                COHERE_4 => json!({ "embeddings": lengths }),
                NOVA => json!({"embeddings": [{"embeddingType": "TEXT", "embedding": lengths[0]}]}),
                _ => json!({"embedding": lengths[0], "inputTextTokenCount": tokens}),
            };
            let counted = Some(tokens as u64);
            prepared.translation.part(part.texts.clone(), counted, &Bytes::from(answer.to_string())).unwrap()
        };
        let parts: Vec<_> = prepared.parts.iter().map(answer).collect();
        let whole = json_of(&prepared.translation.join(&context(None), &parts).body);
        let entry =
            |(index, text): (usize, &String)| json!({"object": "embedding", "index": index, "embedding": [text.len()]});
        let data: Vec<Value> = texts.iter().enumerate().map(entry).collect();
        assert_eq!((&whole["data"], &whole["usage"]["prompt_tokens"]), (&json!(data), &json!(texts.concat().len())));
    }
    let many: Vec<&str> = vec!["a"; 251];
    let Err(Unprepared::Refused(refusal)) = openai(TITAN_2, &json!({"model": "m", "input": many})) else {
        panic!("more calls than one request may become")
    };
    assert!(refusal.field == "input" && refusal.why.contains("250"), "{refusal}");
}

#[test]
fn failures_are_bedrocks_and_told_in_the_clients_words() {
    let prepared = openai(TITAN_2, &json!({"model": "m", "input": "a"})).unwrap();
    let header = |name: &str| (name == "x-amzn-errortype").then_some("ThrottlingException:http://x/");
    let hints = RetryHints { header: &header, now_ms: 0 };
    let problem = prepared.translation.failure(429, hints, br#"{"message":"Too many requests"}"#);
    assert_eq!((problem.kind, problem.message.as_ref()), (ProblemKind::RateLimited, "Too many requests"));
    for answer in [
        json!({"embedding": "x"}),
        json!({"embeddings": [[1], [2]]}),
        json!({"embeddings": {"int8": [[1]]}}),
        json!({"embeddings": [{"embeddingType": "TEXT"}]}),
        json!({"Output": {"__type": "com.amazon.coral.service#UnknownOperationException"}}),
        json!({}),
    ] {
        let whole = prepared.translation.whole(&context(None), 200, None, answer.to_string().into());
        assert!(whole.is_err(), "{answer}");
    }
}
