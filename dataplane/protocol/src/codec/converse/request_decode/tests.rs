use super::decode;
use crate::{
    codec::{Head, Malformed},
    dialect::Family,
    ir::{Block, Effort, MediaSource, OutputFormat, Request, Role, ToolChoice, ToolKind},
};

fn read(body: &str) -> Result<Request, Malformed> {
    decode(body.as_bytes(), &Head { model: Some("m".into()), stream: true, ..Head::default() })
}

#[test]
fn a_conversation_is_read_block_by_block() {
    let request = read(
        r#"{"system":[{"text":"be kind"},{"cachePoint":{"type":"default","ttl":"1h"}}],
            "messages":[
              {"role":"user","content":[{"text":"hi"},{"image":{"format":"jpeg","source":{"bytes":"AAAA"}}},
                {"document":{"format":"pdf","name":"a","source":{"bytes":"JVBERi0x"}}},{"cachePoint":{"type":"default"}}]},
              {"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"t","signature":"c2ln"}}},
                {"toolUse":{"toolUseId":"c1","name":"f","input":{"a":1.0}}}]},
              {"role":"user","content":[{"toolResult":{"toolUseId":"c1","status":"error","content":[{"json":{"x":1}},{"text":"y"}]}}]}]}"#,
    )
    .unwrap();
    assert_eq!((request.model.as_str(), request.stream), ("m", true));
    let [Block::Text(system)] = request.system.as_slice() else { panic!("{:?}", request.system) };
    assert_eq!(system.cache.as_ref().and_then(|mark| mark.ttl.as_deref()), Some("1h"));
    let roles: Vec<Role> = request.turns.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::User]);
    let [Block::Text(_), Block::Image(image), Block::Document(document)] = request.turns[0].blocks.as_slice() else {
        panic!("{:?}", request.turns[0])
    };
    assert_eq!(image.source, MediaSource::Inline { mime: "image/jpeg".into(), data: "AAAA".into() });
    assert!(document.cache.is_some() && image.cache.is_none(), "a mark hangs on the block before it");
    let [Block::Reasoning(thought), Block::ToolCall(call)] = request.turns[1].blocks.as_slice() else { panic!() };
    assert_eq!(thought.state.as_ref().map(|state| state.family), Some(Family::Anthropic));
    assert_eq!(call.arguments, r#"{"a":1.0}"#);
    let [Block::ToolResult(result)] = request.turns[2].blocks.as_slice() else { panic!() };
    assert_eq!((result.is_error, result.content.len()), (Some(true), 2));
}

#[test]
fn tools_settings_and_fields_of_vendors_have_names() {
    let request = read(
        r#"{"messages":[],"inferenceConfig":{"maxTokens":9,"temperature":0.0,"topP":1.0,"stopSequences":["","x"]},
            "toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{"type":"object"}},"strict":false}},
               {"cachePoint":{"type":"default"}},{"systemTool":{"name":"nova_grounding"}}],"toolChoice":{"any":{}}},
            "outputConfig":{"effort":"high","textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":"{\"type\":\"object\"}","name":"n"}}}},
            "serviceTier":{"type":"flex"},
            "additionalModelRequestFields":{"top_k":5,"thinking":{"type":"enabled","budget_tokens":2048},"tool_choice":{"type":"any","disable_parallel_tool_use":true},"x":1},
            "guardrailConfig":{"guardrailIdentifier":"g"}}"#,
    )
    .unwrap();
    assert_eq!((request.max_output, request.stop.as_slice()), (Some(9), &["x".to_owned()][..]));
    assert_eq!(request.sampling.temperature.as_ref().map(ToString::to_string).as_deref(), Some("0.0"));
    assert_eq!(request.sampling.top_k.as_ref().and_then(crate::ir::Number::as_u64), Some(5));
    assert!(request.tools[0].cache.is_some() && request.tools[0].strict == Some(false));
    assert!(matches!(&request.tools[1].kind, ToolKind::Server { family: Family::Bedrock, .. }));
    assert_eq!((&request.tool_choice, request.parallel_tools), (&Some(ToolChoice::Required), Some(false)));
    assert_eq!((request.reasoning.effort, request.reasoning.budget), (Some(Effort::High), Some(2048)));
    assert!(
        matches!(&request.output, OutputFormat::JsonSchema { schema, .. } if schema.get() == r#"{"type":"object"}"#)
    );
    assert_eq!(request.service_tier.as_deref(), Some("flex"));
    let extras: Vec<&str> = request.extras.iter().map(|extra| extra.field.as_ref()).collect();
    assert_eq!(extras, ["additionalModelRequestFields.x", "guardrailConfig"]);
}

#[test]
fn what_is_wrong_is_named_by_its_place() {
    for (body, field) in [
        ("{}", "messages"),
        (r#"{"messages":[{"role":"elf","content":[]}]}"#, "messages[0].role"),
        (r#"{"messages":[{"role":"user","content":[{"text":1}]}]}"#, "messages[0].content[0].text"),
        (r#"{"messages":[{"role":"user","content":[{}]}]}"#, "messages[0].content[0]"),
        (
            r#"{"messages":[{"role":"user","content":[{"image":{"format":"png","source":{}}}]}]}"#,
            "messages[0].content[0].image.source.bytes",
        ),
        (
            r#"{"messages":[],"outputConfig":{"textFormat":{"structure":{"jsonSchema":{"schema":"{"}}}}}"#,
            "outputConfig.textFormat.structure.jsonSchema.schema",
        ),
    ] {
        assert_eq!(read(body).unwrap_err().field.as_deref(), Some(field), "{body}");
    }
    let nested =
        r#"{"toolResult":{"toolUseId":"a","content":[{"toolResult":{"toolUseId":"b","content":[{"text":"x"}]}}]}}"#;
    assert!(read(&format!(r#"{{"messages":[{{"role":"user","content":[{nested}]}}]}}"#)).is_err());
}

#[test]
fn foreign_state_goes_where_it_belongs() {
    let state = crate::ir::Opaque { family: Family::Gemini, value: "sig".into() };
    let tag = crate::codec::tagged_state::write(crate::codec::tagged_state::Place::CallBehind, Some(&state));
    let request = read(&format!(
        r#"{{"messages":[{{"role":"assistant","content":[{{"reasoningContent":{{"reasoningText":{{"text":"","signature":"{tag}"}}}}}},{{"toolUse":{{"toolUseId":"c","name":"f","input":{{}}}}}}]}}]}}"#
    ))
    .unwrap();
    let [Block::ToolCall(call)] = request.turns[0].blocks.as_slice() else { panic!("{:?}", request.turns[0]) };
    assert_eq!(call.state, Some(state));
}
