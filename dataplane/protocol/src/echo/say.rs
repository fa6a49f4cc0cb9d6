//! What the Echo upstream answers.

use serde_json::{Map, Value, json};

use super::ask::Ask;
use crate::{
    estimate::BYTES_PER_TOKEN,
    ir::{Block, BlockKind, Delta, FinishReason, Text, ToolCall},
};

/// An answer, without a dialect.
#[derive(Debug)]
pub(super) struct Say {
    pub(super) what: What,
    pub(super) finish: FinishReason,
}

#[derive(Debug)]
pub(super) enum What {
    Text(String),
    Call { name: String, arguments: String, custom: bool },
}

/// References and nesting in a schema are followed so far.
const DEEPEST: usize = 12;

impl Say {
    pub(super) fn to(ask: &Ask) -> Self {
        if let (None, Some(tool)) = (&ask.result, &ask.tool) {
            let arguments = if tool.custom { json!({"input": ask.text}) } else { arguments(&tool.schema) };
            let (name, arguments) = (tool.name.clone(), arguments.to_string());
            return Self { what: What::Call { name, arguments, custom: tool.custom }, finish: FinishReason::ToolCalls };
        }
        let text = match (&ask.schema, &ask.result) {
            (Some(Value::Object(any)), _) if any.is_empty() => json!({"echo": ask.text}).to_string(),
            (Some(schema), _) => example(schema, schema, 0).to_string(),
            (None, Some(result)) => format!("Echo of the tool's answer: {result}"),
            (None, None) => format!("Echo: {}", ask.text),
        };
        let room = ask
            .max_output
            .map_or(usize::MAX, |most| usize::try_from(most.saturating_mul(BYTES_PER_TOKEN)).unwrap_or(usize::MAX));
        let (text, finish) = match text.char_indices().nth(room) {
            Some((cut, _)) => (text.get(..cut).unwrap_or_default().to_owned(), FinishReason::Length),
            None => (text, FinishReason::Stop),
        };
        Self { what: What::Text(text), finish }
    }

    /// Characters of it.
    pub(super) fn chars(&self) -> u64 {
        let (What::Text(text) | What::Call { arguments: text, .. }) = &self.what;
        text.chars().count() as u64
    }

    /// The called tool, if it is free-form.
    pub(super) fn custom_tool(&self) -> Option<String> {
        match &self.what {
            What::Call { name, custom: true, .. } => Some(name.clone()),
            _ => None,
        }
    }

    pub(super) fn block(&self, id: &str) -> Block {
        match &self.what {
            What::Text(text) => Block::Text(Text { text: text.clone(), ..Text::default() }),
            What::Call { name, arguments, .. } => Block::ToolCall(ToolCall {
                id: call_id(id),
                name: name.clone(),
                arguments: arguments.clone(),
                state: None,
                cache: None,
            }),
        }
    }

    pub(super) fn kind(&self, id: &str) -> BlockKind {
        match &self.what {
            What::Text(_) => BlockKind::Text,
            What::Call { name, .. } => BlockKind::ToolCall { id: call_id(id), name: name.clone() },
        }
    }

    pub(super) fn deltas(&self) -> Vec<Delta> {
        match &self.what {
            What::Text(text) => text.split_inclusive(' ').map(|word| Delta::Text(word.to_owned())).collect(),
            What::Call { arguments, .. } => vec![Delta::Arguments(arguments.clone())],
        }
    }
}

pub(super) fn call_id(id: &str) -> String {
    format!("call_{id}")
}

/// Arguments are an object, whatever the schema says.
fn arguments(schema: &Value) -> Value {
    match example(schema, schema, 0) {
        Value::Object(object) => Value::Object(object),
        _ => Value::Object(Map::new()),
    }
}

/// The plainest value that a JSON Schema allows, as far as its common keywords go: required members only.
fn example(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth > DEEPEST {
        return Value::Null;
    }
    let next = |schema: &Value| example(schema, root, depth + 1);
    for fixed in ["const", "default"] {
        if let Some(value) = schema.get(fixed) {
            return value.clone();
        }
    }
    if let Some(value) = schema.pointer("/enum/0") {
        return value.clone();
    }
    if let Some(place) = schema.get("$ref").and_then(Value::as_str).and_then(|place| place.strip_prefix('#')) {
        return root.pointer(place).map_or(Value::Null, next);
    }
    for list in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema.get(list).and_then(Value::as_array).and_then(|list| list.first()) {
            return next(first);
        }
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        Some(kind) => kind.as_str(),
        None if schema.get("properties").is_some() => Some("object"),
        None => None,
    };
    // Google writes types in capitals.
    match kind.unwrap_or("object").to_ascii_lowercase().as_str() {
        "string" => {
            let shortest = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0).min(1_024);
            let text = "echo".repeat(usize::try_from(shortest.div_ceil(4)).unwrap_or(1).max(1));
            text.into()
        }
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
        "boolean" => true.into(),
        "null" => Value::Null,
        "array" => {
            let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0).min(16);
            (0..least).map(|_| schema.get("items").map_or(Value::Null, next)).collect::<Vec<_>>().into()
        }
        _ => {
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            let member = |name: &str| {
                let schema = schema.get("properties").and_then(|properties| properties.get(name));
                (name.to_owned(), schema.map_or(Value::Null, next))
            };
            Value::Object(required.filter_map(Value::as_str).map(member).collect())
        }
    }
}
