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

/// Most characters of an answer, as a model has a most.
const MOST_CHARS: usize = 64 * 1024;

/// Most pieces that an answer comes in.
const MOST_PIECES: usize = 512;

/// Most bytes of an example, about.
const MOST_EXAMPLE: usize = 64 * 1024;

impl Say {
    pub(super) fn to(ask: &Ask) -> Self {
        if let (None, Some(tool)) = (&ask.result, &ask.tool) {
            let said = || ask.text.chars().take(MOST_CHARS).collect::<String>();
            let arguments = if tool.custom { json!({"input": said()}) } else { arguments(&tool.schema) };
            let (name, arguments) = (tool.name.clone(), arguments.to_string());
            return Self { what: What::Call { name, arguments, custom: tool.custom }, finish: FinishReason::ToolCalls };
        }
        let text = match (&ask.schema, &ask.result) {
            (Some(Value::Object(any)), _) if any.is_empty() => json!({"echo": ask.text}).to_string(),
            (Some(schema), _) => Example::of(schema).to_string(),
            (None, Some(result)) => format!("Echo of the tool's answer: {result}"),
            (None, None) => format!("Echo: {}", ask.text),
        };
        let room = ask
            .max_output
            .map_or(MOST_CHARS, |most| usize::try_from(most.saturating_mul(BYTES_PER_TOKEN)).unwrap_or(MOST_CHARS));
        let room = room.min(MOST_CHARS);
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
            What::Text(text) => {
                let mut words: Vec<&str> = text.splitn(MOST_PIECES, ' ').collect();
                let last = words.pop().unwrap_or_default();
                let mut deltas: Vec<Delta> = words.into_iter().map(|word| Delta::Text(format!("{word} "))).collect();
                deltas.extend((!last.is_empty()).then(|| Delta::Text(last.to_owned())));
                deltas
            }
            What::Call { arguments, .. } => vec![Delta::Arguments(arguments.clone())],
        }
    }
}

pub(super) fn call_id(id: &str) -> String {
    format!("call_{id}")
}

/// Arguments are an object, whatever the schema says.
fn arguments(schema: &Value) -> Value {
    match Example::of(schema) {
        Value::Object(object) => Value::Object(object),
        _ => Value::Object(Map::new()),
    }
}

/// The plainest value that a JSON Schema allows, as far as its common keywords go: required members only. References and
/// lists make more of a schema than was sent, so every value is paid for before it is made; beyond the bound all is null.
struct Example<'a> {
    root: &'a Value,
    /// Bytes that may still be made, about.
    left: usize,
}

impl Example<'_> {
    fn of(schema: &Value) -> Value {
        Example { root: schema, left: MOST_EXAMPLE }.make(schema, 0)
    }

    /// Pays for a value; whether it may be made.
    fn pay(&mut self, value: &Value) -> bool {
        let length = match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 8,
            Value::String(text) => text.len().saturating_add(8),
            Value::Array(_) | Value::Object(_) => 16,
        };
        let Some(left) = self.left.checked_sub(length) else {
            self.left = 0;
            return false;
        };
        self.left = left;
        match value {
            Value::Array(list) => list.iter().all(|one| self.pay(one)),
            Value::Object(members) => members.iter().all(|(name, one)| {
                self.left = self.left.saturating_sub(name.len());
                self.pay(one)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }

    fn copy(&mut self, value: &Value) -> Value {
        if self.pay(value) { value.clone() } else { Value::Null }
    }

    fn make(&mut self, schema: &Value, depth: usize) -> Value {
        if depth > DEEPEST || !self.pay(&Value::Null) {
            return Value::Null;
        }
        let below = depth + 1;
        for fixed in ["const", "default"] {
            if let Some(value) = schema.get(fixed) {
                return self.copy(value);
            }
        }
        if let Some(value) = schema.pointer("/enum/0") {
            return self.copy(value);
        }
        if let Some(place) = schema.get("$ref").and_then(Value::as_str).and_then(|place| place.strip_prefix('#')) {
            return self.root.pointer(place).map_or(Value::Null, |named| self.make(named, below));
        }
        for list in ["anyOf", "oneOf", "allOf"] {
            if let Some(first) = schema.get(list).and_then(Value::as_array).and_then(|list| list.first()) {
                return self.make(first, below);
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
            "integer" | "number" => schema.get("minimum").map_or_else(|| 1.into(), |least| self.copy(least)),
            "boolean" => true.into(),
            "null" => Value::Null,
            "array" => {
                let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0).min(16);
                let items = schema.get("items");
                (0..least)
                    .map(|_| items.map_or(Value::Null, |items| self.make(items, below)))
                    .collect::<Vec<_>>()
                    .into()
            }
            _ => {
                let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
                let mut object = Map::new();
                for name in required.filter_map(Value::as_str) {
                    if self.left == 0 {
                        break;
                    }
                    self.left = self.left.saturating_sub(name.len());
                    let member = schema.get("properties").and_then(|properties| properties.get(name));
                    let value = member.map_or(Value::Null, |member| self.make(member, below));
                    object.insert(name.to_owned(), value);
                }
                Value::Object(object)
            }
        }
    }
}
