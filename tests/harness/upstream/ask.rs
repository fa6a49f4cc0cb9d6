//! What a request asks for, as far as the scripted upstream cares; filled in by each dialect after it has checked the
//! request against its own rules.

use serde_json::{Map, Value};

/// A vendor's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// OpenAI Chat Completions, and OpenAI's models, embeddings and unknown paths.
    Chat,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Anthropic,
    /// Google Gemini.
    Gemini,
}

/// A request that is legal in its dialect.
#[derive(Debug, Default)]
pub(super) struct Ask {
    pub model: String,
    pub stream: bool,
    /// Chat: the usage chunk was asked for.
    pub include_usage: bool,
    /// Gemini: `alt=sse`; otherwise a stream is one JSON array.
    pub sse: bool,
    /// Chat `n`, Gemini `candidateCount`.
    pub choices: usize,
    /// The text of the last user message.
    pub text: String,
    pub images: Vec<Image>,
    pub tools: Vec<Tool>,
    /// Results in the last message; not empty means: the tools have spoken.
    pub tool_results: Vec<String>,
    pub tool_mode: ToolMode,
    pub one_tool_only: bool,
    pub max_output: Option<u64>,
    pub stop: Vec<String>,
    pub input_tokens: u64,
    /// Responses: the conversation that it goes on in.
    pub conversation: Option<String>,
}

#[derive(Debug)]
pub(super) struct Image {
    pub mime: String,
    /// Decoded size; 0 for an image named by URL.
    pub bytes: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub name: String,
    pub schema: Value,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum ToolMode {
    #[default]
    Auto,
    Never,
    Named(String),
}

impl Ask {
    /// Counts text into the input. A word is a token.
    pub fn count(&mut self, text: &str) {
        self.input_tokens += text.split_whitespace().count() as u64;
    }

    pub fn image(&mut self, mime: &str, bytes: usize) {
        self.input_tokens += 85;
        self.images.push(Image { mime: mime.to_owned(), bytes });
    }

    pub fn tool(&mut self, name: &str, schema: Option<&Value>) {
        self.input_tokens += 12;
        self.tools.push(Tool { name: name.to_owned(), schema: schema.cloned().unwrap_or(Value::Null) });
    }
}

/// Arguments that fit a JSON Schema, the same every time, with the values that careless code loses: 0 and false.
pub(super) fn arguments(schema: &Value, salt: usize) -> Value {
    let mut made = Map::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        made.insert(name.clone(), argument(name, property, salt));
    }
    Value::Object(made)
}

fn argument(name: &str, schema: &Value, salt: usize) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    // Gemini spells types in capitals.
    match schema["type"].as_str().unwrap_or_default().to_ascii_lowercase().as_str() {
        "integer" | "number" => Value::from(salt),
        "boolean" => Value::Bool(false),
        "array" => Value::Array(vec![argument(name, &schema["items"], salt)]),
        "object" => arguments(schema, salt),
        _ => Value::from(format!("{name} №{salt}")),
    }
}
