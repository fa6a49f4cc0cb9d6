use serde_json::{Value, json};

use super::encode;
use crate::{
    codec::{ClientCodec, Head, Target, chat::Chat, messages::Messages},
    dialect::Operation,
    limits::ModelLimits,
    report::{Mode, Report},
};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const NOVA: &str = "us.amazon.nova-2-lite-v1:0";
const LLAMA: &str = "meta.llama3-3-70b-instruct-v1:0";

/// What a client's request becomes for a model, and the warnings; or the field that is refused.
fn sent(from: Operation, model: &str, body: &Value) -> Result<(Value, Vec<String>), String> {
    let codec: &dyn ClientCodec = if from == Operation::Messages { &Messages } else { &Chat };
    let request = codec.decode_request(body.to_string().as_bytes(), &Head::default()).unwrap();
    let mut report = Report::new(Mode::Default);
    let target = Target { model, base_model: None, default_max_output: 4096, limits: ModelLimits::default() };
    let encoded = encode(&request, target, from, &mut report);
    let warnings = report.finish().map_err(|refusal| refusal.field.into_owned())?;
    Ok((serde_json::from_slice(&encoded.body).unwrap(), warnings.iter().map(ToString::to_string).collect()))
}

fn messages(model: &str, more: Value) -> (Value, Vec<String>) {
    let mut body = json!({"model": "m", "max_tokens": 4096, "messages": [{"role": "user", "content": "hi"}]});
    let Value::Object(more) = more else { panic!("{more} is no object") };
    body.as_object_mut().unwrap().extend(more);
    sent(Operation::Messages, model, &body).unwrap()
}

#[test]
fn hard_case_228_a_cache_point_is_an_element_of_its_own() {
    let mark = json!({"type": "ephemeral"});
    let (body, warnings) = messages(
        CLAUDE,
        json!({
            "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
            "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": mark}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": mark}]}],
        }),
    );
    assert_eq!(body["toolConfig"]["tools"][1], json!({"cachePoint": {"type": "default"}}));
    assert_eq!(body["system"], json!([{"text": "s"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]));
    assert_eq!(body["messages"][0]["content"], json!([{"text": "hi"}, {"cachePoint": {"type": "default"}}]));
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn hard_cases_229_and_230_marks_of_results_stand_behind_them_and_keep_their_time_where_it_is_taken() {
    let more = json!({"messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [
            {"type": "text", "text": "ok", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}]},
    ]});
    let (body, warnings) = messages(CLAUDE, more.clone());
    let expected = json!([
        {"toolResult": {"toolUseId": "t1", "content": [{"text": "ok"}]}},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
    ]);
    assert_eq!((&body["messages"][2]["content"], warnings.len()), (&expected, 0), "{warnings:?}");
    let (body, warnings) = messages("anthropic.claude-3-7-sonnet-20250219-v1:0", more.clone());
    assert_eq!(body["messages"][2]["content"][1], json!({"cachePoint": {"type": "default"}}));
    assert_eq!(warnings, ["adapted;field=messages[].content[].cache_control;from=1h;to=5m"]);
    let (body, warnings) = messages(LLAMA, more);
    assert_eq!(body["messages"][2]["content"].as_array().unwrap().len(), 1);
    assert_eq!(warnings, ["dropped;field=messages[].content[].cache_control"]);
}

#[test]
fn hard_cases_156_157_and_159_signed_and_hidden_reasoning_keeps_its_place() {
    let (body, warnings) = messages(
        CLAUDE,
        json!({"messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "RW13S0Fn"},
                {"type": "text", "text": "a"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 0}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}]},
        ]}),
    );
    let expected = json!([
        {"reasoningContent": {"reasoningText": {"text": "", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "RW13S0Fn"}},
        {"text": "a"},
        {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"x": 0}}},
    ]);
    assert_eq!(body["messages"][1]["content"], expected);
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn hard_case_249_reasoning_of_others_is_dropped_whole() {
    let thought = |signature: &str| {
        json!({"messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": signature}, {"type": "text", "text": "a"}]},
            {"role": "user", "content": "b"},
        ]})
    };
    for (model, signature) in [(NOVA, "c2ln"), (NOVA, ""), (CLAUDE, ""), (CLAUDE, "gw1.openai.thought.e30")] {
        let (body, warnings) = messages(model, thought(signature));
        assert_eq!(body["messages"][1]["content"], json!([{"text": "a"}]), "{model} {signature}");
        assert_eq!(warnings, ["dropped;field=messages[].content[].thinking"], "{model} {signature}");
    }
}

#[test]
fn hard_case_192_a_history_with_calls_has_tools_to_go_with_them() {
    let history = json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}, {"type": "tool_use", "id": "t2", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}, {"type": "tool_result", "tool_use_id": "t2", "content": "ok"}]},
    ]);
    let (body, _) = messages(NOVA, json!({"messages": history}));
    let tools = body["toolConfig"]["tools"].as_array().unwrap();
    assert_eq!((tools.len(), &tools[0]["toolSpec"]["name"]), (1, &json!("f")));
    let tool = json!([{"name": "g", "input_schema": {"type": "object"}}]);
    let (body, warnings) = messages(NOVA, json!({"messages": history, "tools": tool, "tool_choice": {"type": "none"}}));
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["name"], "g");
    assert_eq!(warnings, ["dropped;field=tool_choice"]);
    let (body, warnings) = messages(NOVA, json!({"tools": tool, "tool_choice": {"type": "none"}}));
    assert_eq!((body.get("toolConfig"), warnings.len()), (None, 0));
}

#[test]
fn choices_are_said_as_far_as_the_model_takes_them() {
    let tools =
        json!([{"name": "f", "input_schema": {"type": "object"}}, {"name": "g", "input_schema": {"type": "object"}}]);
    let choose = |model: &str, choice: Value| messages(model, json!({"tools": tools, "tool_choice": choice}));
    let (body, _) = choose(CLAUDE, json!({"type": "tool", "name": "g"}));
    assert_eq!(body["toolConfig"]["toolChoice"], json!({"tool": {"name": "g"}}));
    let (body, warnings) = choose(LLAMA, json!({"type": "tool", "name": "g"}));
    assert_eq!(body["toolConfig"]["toolChoice"], json!({"any": {}}));
    assert_eq!((body["toolConfig"]["tools"].as_array().unwrap().len(), warnings.len()), (1, 1));
    let (body, warnings) = choose(CLAUDE, json!({"type": "any", "disable_parallel_tool_use": true}));
    let single = json!({"type": "any", "disable_parallel_tool_use": true});
    assert_eq!(body["additionalModelRequestFields"]["tool_choice"], single);
    assert_eq!((body["toolConfig"].get("toolChoice"), warnings.len()), (None, 0));
    let (_, warnings) = choose(NOVA, json!({"type": "auto", "disable_parallel_tool_use": true}));
    assert_eq!(warnings, ["dropped;field=tool_choice.disable_parallel_tool_use"]);
}

#[test]
fn each_vendor_is_told_in_its_own_words_how_to_think_and_sample() {
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 2048}, "top_k": 5});
    let (body, warnings) = messages(CLAUDE, thinking);
    assert_eq!(body["additionalModelRequestFields"]["thinking"], json!({"type": "enabled", "budget_tokens": 2048}));
    assert_eq!(warnings, ["dropped;field=top_k"], "not beside thinking");
    let (body, _) = messages(NOVA, json!({"top_k": 5, "output_config": {"effort": "high"}, "temperature": 0.5}));
    let fields = &body["additionalModelRequestFields"];
    assert_eq!(fields["reasoningConfig"], json!({"type": "enabled", "maxReasoningEffort": "high"}));
    assert_eq!(fields["inferenceConfig"], json!({"topK": 5}));
    assert!(body.get("inferenceConfig").is_none(), "neither a limit nor sampling beside the hardest effort: {body}");
    let (body, warnings) = messages("openai.gpt-oss-120b-1:0", json!({"output_config": {"effort": "max"}}));
    assert_eq!(body["additionalModelRequestFields"], json!({"reasoning_effort": "high"}));
    assert_eq!(warnings, ["adapted;field=output_config.effort;from=max;to=high"]);
    let (body, warnings) = messages(LLAMA, json!({"top_k": 5, "output_config": {"effort": "low"}}));
    assert!(body.get("additionalModelRequestFields").is_none());
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let (body, _) = messages("us.anthropic.claude-opus-4-6-v1", json!({"output_config": {"effort": "low"}}));
    assert_eq!(body["outputConfig"], json!({"effort": "low"}));
}

#[test]
fn a_schema_is_json_in_a_string() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let format = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    let (body, _) = messages(CLAUDE, format.clone());
    let written = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(written).unwrap(), schema);
    let mut body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(format.as_object().unwrap().clone());
    assert_eq!(sent(Operation::Messages, LLAMA, &body).unwrap_err(), "output_config.format");
}

#[test]
fn hard_case_250_addresses_of_pictures_are_refused() {
    let ask = |part: Value| json!({"model": "m", "messages": [{"role": "user", "content": [part]}]});
    let url = ask(json!({"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}));
    let refused = sent(Operation::ChatCompletions, CLAUDE, &url);
    assert_eq!(refused.unwrap_err(), "messages[].content[].image_url");
    let inline = ask(json!({"type": "image_url", "image_url": {"url": "data:image/jpg;base64,AAAA"}}));
    let (body, _) = sent(Operation::ChatCompletions, CLAUDE, &inline).unwrap();
    assert_eq!(body["messages"][0]["content"][0], json!({"image": {"format": "jpeg", "source": {"bytes": "AAAA"}}}));
}

#[test]
fn documents_have_names_of_their_own_and_words_beside_them() {
    let pdf = |name: &str| json!({"type": "file", "file": {"filename": name, "file_data": "data:application/pdf;base64,JVBERi0x"}});
    let ask = json!({"model": "m", "messages": [{"role": "user", "content": [pdf("a.pdf"), pdf("a.pdf")]}]});
    let (body, warnings) = sent(Operation::ChatCompletions, CLAUDE, &ask).unwrap();
    let content = &body["messages"][0]["content"];
    assert_eq!(content[0]["document"]["name"], "a-pdf");
    assert_eq!(content[1]["document"]["name"], "a-pdf 2");
    assert_eq!((&content[2], warnings.len()), (&json!({"text": "."}), 1));
}

#[test]
fn turns_of_one_role_are_joined_and_the_user_begins() {
    let ask = json!({"model": "m", "messages": [
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "a"}, {"role": "user", "content": ""}, {"role": "user", "content": "b"},
    ]});
    let (body, warnings) = sent(Operation::ChatCompletions, LLAMA, &ask).unwrap();
    let roles: Vec<&str> =
        body["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert_eq!(body["messages"][2]["content"], json!([{"text": "a"}, {"text": "b"}]));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn results_say_that_they_failed_where_they_can() {
    let more = json!({"messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t:1/x", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t:1/x", "is_error": true, "content": "no"}]},
    ]});
    let (body, _) = messages(CLAUDE, more.clone());
    let result = &body["messages"][2]["content"][0]["toolResult"];
    assert_eq!((&result["status"], &result["content"]), (&json!("error"), &json!([{"text": "no"}])));
    let id = result["toolUseId"].as_str().unwrap();
    assert!(id.starts_with("t:1_x_") && body["messages"][1]["content"][0]["toolUse"]["toolUseId"] == id, "{id}");
    let (body, _) = messages(LLAMA, more);
    let result = &body["messages"][2]["content"][0]["toolResult"];
    assert_eq!((result.get("status"), result["content"].as_array().unwrap().len()), (None, 2));
}

#[test]
fn an_arn_is_trusted_with_converses_own_and_no_vendors() {
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
    let (body, warnings) = messages(
        arn,
        json!({"top_k": 5, "output_config": {"effort": "low"}, "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]}),
    );
    assert_eq!(body["outputConfig"], json!({"effort": "low"}));
    assert_eq!(body["system"][1], json!({"cachePoint": {"type": "default"}}));
    assert_eq!(warnings, ["dropped;field=top_k"]);
}

#[test]
fn hard_case_164_neighbours_are_merged_without_loss() {
    let ask = json!({"model": "m", "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "c2", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "user", "content": "b"},
    ]});
    let (body, _) = sent(Operation::ChatCompletions, NOVA, &ask).unwrap();
    let content = &body["messages"][2]["content"];
    let ids: Vec<&Value> = (0..2).map(|at| &content[at]["toolResult"]["toolUseId"]).collect();
    assert_eq!((body["messages"].as_array().unwrap().len(), ids), (3, vec![&json!("c2"), &json!("c1")]));
    assert_eq!(content[2], json!({"text": "b"}));
}

#[test]
fn hard_case_180_the_blocks_of_a_result_are_kept() {
    let picture = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    let more = json!({"messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a"}, picture, {"type": "text", "text": "b"}]}]},
    ]});
    let (body, warnings) = messages(CLAUDE, more.clone());
    let expected = json!([{"text": "a"}, {"image": {"format": "png", "source": {"bytes": "AAAA"}}}, {"text": "b"}]);
    assert_eq!((&body["messages"][2]["content"][0]["toolResult"]["content"], warnings.len()), (&expected, 0));
    let mut ask = json!({"model": "m", "max_tokens": 9});
    ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_eq!(sent(Operation::Messages, LLAMA, &ask).unwrap_err(), "messages[].content[].source");
}

#[test]
fn hard_case_208_top_k_stands_at_the_top_of_the_additional_fields() {
    let (body, warnings) = messages(CLAUDE, json!({"top_k": 40}));
    assert_eq!((&body["additionalModelRequestFields"], warnings.len()), (&json!({"top_k": 40}), 0));
}

#[test]
fn hard_case_211_metadata_in_odd_letters_is_dropped_with_a_warning() {
    let user = |user: &str| json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "user": user});
    let (body, warnings) = sent(Operation::ChatCompletions, CLAUDE, &user("team:a/1")).unwrap();
    assert_eq!((&body["requestMetadata"], warnings.len()), (&json!({"user": "team:a/1"}), 0));
    let (body, warnings) = sent(Operation::ChatCompletions, CLAUDE, &user("größe")).unwrap();
    assert_eq!((body.get("requestMetadata"), warnings), (None, vec!["dropped;field=user".to_owned()]));
}
