use super::decode;
use crate::{
    codec::{
        Head, Malformed,
        tagged_state::{self, Place},
    },
    dialect::Family,
    ir::{Block, Opaque, Request, Role, ToolChoice, ToolKind},
};

fn read(body: &str) -> Result<Request, Malformed> {
    decode(body.as_bytes(), &Head::default())
}

fn of_input(input: &str) -> Request {
    read(&format!(r#"{{"model":"m","input":{input}}}"#)).unwrap()
}

/// `U("a") A("b" call) U(result)`
fn shape(request: &Request) -> String {
    let block = |block: &Block| match block {
        Block::Text(text) => format!("{:?}", text.text),
        Block::ToolCall(call) => format!("{}:{}{}", call.id, call.name, if call.state.is_some() { "!" } else { "" }),
        Block::ToolResult(result) => format!("={}", result.call_id),
        Block::Reasoning(reasoning) => format!("({})", reasoning.text),
        Block::Refusal(_) => "no".to_owned(),
        Block::Unknown(unknown) => unknown.kind.clone(),
        Block::Image(_) => "image".to_owned(),
        _ => "?".to_owned(),
    };
    let turns = request.turns.iter().map(|turn| {
        let who = match turn.role {
            Role::User => "U",
            Role::Assistant => "A",
            Role::System => "S",
        };
        format!("{who}({})", turn.blocks.iter().map(block).collect::<Vec<_>>().join(" "))
    });
    turns.collect::<Vec<_>>().join(" ")
}

#[test]
fn hard_case_22_items_without_type_and_id_are_read() {
    let request = of_input(
        r#"[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"output_text","text":"b"}]},
            {"call_id":"1","name":"f","arguments":"{}"},{"call_id":"1","output":"x"}]"#,
    );
    assert_eq!(shape(&request), r#"U("a") A("b" 1:f) U(=1)"#);
}

#[test]
fn hard_cases_119_and_120_one_turn_of_the_model_and_its_words_before_its_calls() {
    let call = |id: &str| format!(r#"{{"type":"function_call","call_id":"{id}","name":"f","arguments":"{{}}"}}"#);
    let output = |id: &str| format!(r#"{{"type":"function_call_output","call_id":"{id}","output":"x"}}"#);
    let said = r#"{"role":"assistant","content":"so"}"#;
    let thought = r#"{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"t"}]}"#;
    for (items, expected) in [
        (format!("{thought},{said},{},{}", call("1"), output("1")), r#"A((t) "so" 1:f) U(=1)"#),
        (format!("{},{said},{}", call("1"), output("1")), r#"A("so" 1:f) U(=1)"#),
        (
            format!("{},{thought},{},{said},{},{}", call("1"), call("2"), output("2"), output("1")),
            r#"A("so" 1:f (t) 2:f) U(=2 =1)"#,
        ),
        (
            format!("{},{},{said},{},{}", call("1"), output("1"), call("2"), output("2")),
            r#"A(1:f) U(=1) A("so" 2:f) U(=2)"#,
        ),
    ] {
        assert_eq!(shape(&of_input(&format!("[{items}]"))), expected, "{items}");
    }
}

#[test]
fn carried_state_returns_to_its_place() {
    let state = Opaque { family: Family::Gemini, value: "s".to_owned() };
    let carrier = |place| {
        let carried = tagged_state::write(place, Some(&state));
        format!(r#"{{"type":"reasoning","id":"rs_gw1_1","summary":[],"encrypted_content":"{carried}"}}"#)
    };
    let call = |id: &str| format!(r#"{{"type":"function_call","call_id":"{id}","name":"f","arguments":"{{}}"}}"#);
    let said = r#"{"role":"assistant","content":"so"}"#;
    let request = of_input(&format!(
        "[{said},{},{},{},{},{}]",
        carrier(Place::TextBefore),
        carrier(Place::CallBehind),
        call("1"),
        call("2"),
        carrier(Place::CallBefore)
    ));
    assert_eq!(shape(&request), r#"A("so" 1:f! 2:f!)"#);
    assert!(matches!(&request.turns[0].blocks[0], Block::Text(text) if text.state.as_ref() == Some(&state)));
}

#[test]
fn hard_case_153_native_state_keeps_its_items_id() {
    let request = of_input(
        r#"[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"},
            {"type":"reasoning","id":"rs_2","summary":[],"encrypted_content":"gBBB"}]"#,
    );
    let states: Vec<&str> = request.turns[0]
        .blocks
        .iter()
        .map(|block| match block {
            Block::Reasoning(reasoning) => reasoning.state.as_ref().unwrap().value.as_str(),
            _ => panic!(),
        })
        .collect();
    assert_eq!(states, ["rs_1.gAAA", "rs_2.gBBB"]);
}

#[test]
fn tools_of_a_namespace_have_flat_names_everywhere() {
    let request = read(
        r#"{"model":"m","tool_choice":{"type":"function","name":"b","namespace":"a"},
            "input":[{"type":"function_call","call_id":"1","namespace":"a","name":"b","arguments":"{}"}],
            "tools":[{"type":"namespace","name":"a","description":"","tools":[{"type":"function","name":"b"},{"type":"custom","name":"c"}]},
                     {"type":"web_search"}]}"#,
    )
    .unwrap();
    let names: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["a__b", "a__c", "web_search"]);
    assert!(matches!(request.tools[1].kind, ToolKind::Custom(None)));
    assert_eq!(request.tool_choice, Some(ToolChoice::Named("a__b".to_owned())));
    assert_eq!(shape(&request), "A(1:a__b)");
}

#[test]
fn a_choice_among_the_vendors_own_tools_alone_is_none_of_the_clients() {
    for (mode, expected) in [("auto", ToolChoice::None), ("required", ToolChoice::Named("mcp".to_owned()))] {
        let request = read(&format!(
            r#"{{"model":"m","input":"x","tool_choice":{{"type":"allowed_tools","mode":"{mode}","tools":[{{"type":"mcp","server_label":"s"}}]}}}}"#
        ));
        assert_eq!(request.unwrap().tool_choice, Some(expected));
    }
}

#[test]
fn what_is_illegal_is_named_where_it_stands() {
    for (body, field) in [
        (r#"{"model":"m"}"#, "input"),
        (r#"{"input":"x"}"#, "model"),
        (r#"{"model":"m","input":7}"#, "input"),
        (r#"{"model":"m","input":["x"]}"#, "input[0]"),
        (r#"{"model":"m","input":[{"role":"elf","content":"x"}]}"#, "input[0].role"),
        (
            r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_image"}]}]}"#,
            "input[0].content[0].image_url",
        ),
        (r#"{"model":"m","input":[{"type":"function_call","call_id":"c"}]}"#, "input[0].name"),
        (r#"{"model":"m","input":[{"type":"function_call_output","output":"x"}]}"#, "input[0].call_id"),
        (r#"{"model":"m","input":"x","tools":[{"type":"function"}]}"#, "tools[0].name"),
        (
            r#"{"model":"m","input":"x","tools":[{"type":"namespace","name":"a","tools":[{"type":"function"}]}]}"#,
            "tools[0].tools[0].name",
        ),
        (r#"{"model":"m","input":"x","tool_choice":"some"}"#, "tool_choice"),
        (r#"{"model":"m","input":"x","text":{"format":{}}}"#, "text.format.type"),
        (r#"{"model":"m","input":"x","reasoning":{"effort":1}}"#, "reasoning.effort"),
        (r#"{"model":"m","input":"x","temperature":"hot"}"#, "temperature"),
    ] {
        assert_eq!(read(body).unwrap_err().field.as_deref(), Some(field), "{body}");
    }
}

/// The bound is on time as well: each of these would take minutes if an item looked at all before it.
#[test]
fn long_histories_are_read_in_one_pass() {
    let call = r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#;
    let said = r#"{"role":"assistant","content":"x"}"#;
    let output = r#"{"type":"function_call_output","call_id":"c","output":""}"#;
    let text = tagged_state::write(Place::TextBefore, None);
    let carrier = format!(r#"{{"type":"reasoning","encrypted_content":"{text}"}}"#);
    for items in [[call, said], [output, output], [carrier.as_str(), call]] {
        let list = vec![items.join(","); 30_000].join(",");
        let request = of_input(&format!("[{list}]"));
        assert_eq!(request.turns.len(), 1);
    }
}
