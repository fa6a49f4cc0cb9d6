//! What of a request decides an echo, whatever its dialect.

use serde_json::Value;

use crate::ir::{Block, OutputFormat, Request, Role, Tool, ToolChoice, ToolKind};

/// Longest schema that is read, in bytes: a tree takes up to a hundred times its text.
const MAX_SCHEMA: usize = 256 * 1024;

/// A request, as far as the Echo upstream cares.
#[derive(Debug, Default)]
pub(super) struct Ask {
    /// The last user text.
    pub(super) text: String,
    /// What a tool answered, if that is what the conversation ended with.
    pub(super) result: Option<String>,
    /// The tool to call.
    pub(super) tool: Option<Offered>,
    /// The schema that the answer has to follow; an empty object for any JSON.
    pub(super) schema: Option<Value>,
    /// Most output tokens.
    pub(super) max_output: Option<u64>,
}

/// A tool on offer.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) name: String,
    /// Takes free-form text instead of arguments.
    pub(super) custom: bool,
    pub(super) schema: Value,
}

impl Ask {
    pub(super) fn of(request: &Request) -> Self {
        let mut ask = Self { max_output: request.max_output, ..Self::default() };
        if let Some(last) = request.turns.last() {
            let results = last.blocks.iter().filter_map(|block| match block {
                Block::ToolResult(result) => Some(text_of(&result.content)),
                _ => None,
            });
            let results: Vec<String> = results.collect();
            ask.result = (!results.is_empty()).then(|| results.join("\n"));
        }
        let mut said = request.turns.iter().rev().filter(|turn| turn.role == Role::User);
        ask.text =
            said.find_map(|turn| Some(text_of(&turn.blocks)).filter(|text| !text.is_empty())).unwrap_or_default();
        ask.tool = offered(&request.tools, request.tool_choice.as_ref());
        ask.schema = match &request.output {
            OutputFormat::Text => None,
            OutputFormat::JsonObject => Some(Value::Object(serde_json::Map::new())),
            OutputFormat::JsonSchema { schema, .. } => read_schema(schema.get()),
        };
        ask
    }
}

fn offered(tools: &[Tool], choice: Option<&ToolChoice>) -> Option<Offered> {
    let allowed = |tool: &&Tool| match choice {
        Some(ToolChoice::None) => false,
        Some(ToolChoice::Named(name)) => tool.name == *name,
        Some(ToolChoice::Allowed { names, .. }) => names.contains(&tool.name),
        Some(ToolChoice::Auto | ToolChoice::Required) | None => true,
    };
    tools.iter().filter(allowed).find_map(|tool| {
        let (custom, schema) = match &tool.kind {
            ToolKind::Function(schema) => {
                (false, schema.as_ref().and_then(|schema| read_schema(schema.get())).unwrap_or_default())
            }
            ToolKind::Custom(_) => (true, Value::Null),
            // The vendor would run it; there is nothing to ask the client for.
            ToolKind::Server { .. } => return None,
        };
        Some(Offered { name: tool.name.clone(), custom, schema })
    })
}

/// A schema as a tree; none if it is too long for one.
fn read_schema(schema: &str) -> Option<Value> {
    Some(schema).filter(|schema| schema.len() <= MAX_SCHEMA).and_then(|schema| serde_json::from_str(schema).ok())
}

fn text_of(blocks: &[Block]) -> String {
    let texts: Vec<&str> = blocks
        .iter()
        .filter_map(|block| match block {
            Block::Text(text) => Some(text.text.as_str()),
            _ => None,
        })
        .collect();
    texts.join("\n")
}
