//! What an upstream must be able to do to serve a request, seen from the spans alone.
//!
//! Only the places where a dialect carries parts are looked at, so that a tool's schema or arguments which happen to
//! say `"type":"image"` ask for nothing. Unknown part types ask for nothing: the upstream will judge them.

use super::Call;
use crate::{
    dialect::{Framing, Surface},
    scan::{Kind, Value},
};

/// Capabilities that a request uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The answer as events.
    pub streaming: bool,
    /// Tools.
    pub tools: bool,
    /// Several calls in one turn, explicitly allowed.
    pub parallel_tools: bool,
    /// Any JSON object as the answer.
    pub json_mode: bool,
    /// JSON that follows a schema as the answer.
    pub json_schema: bool,
    /// Images (and films) in the prompt.
    pub vision: bool,
    /// Sound, in or out.
    pub audio: bool,
    /// PDFs and other documents in the prompt.
    pub documents: bool,
    /// Reasoning, explicitly asked for.
    pub reasoning: bool,
    /// Embeddings.
    pub embeddings: bool,
    /// Explicit prompt-cache breakpoints.
    pub prompt_caching: bool,
}

/// Looks at a request.
pub(super) fn of(call: &Call) -> Needs {
    let embeddings = matches!(call.surface().operation(), "embeddings");
    let streaming = call.framing() != Framing::Whole;
    let mut look = Look { call, needs: Needs { streaming, embeddings, ..Needs::default() } };
    match call.surface() {
        Surface::ChatCompletions => look.chat(),
        Surface::Responses | Surface::ResponsesInputTokens => look.responses(),
        Surface::Messages | Surface::MessagesCountTokens => look.messages(),
        Surface::GenerateContent => look.gemini(),
        Surface::Embeddings | Surface::EmbedContent | Surface::BatchEmbedContents | Surface::CountTokens => {}
    }
    look.needs
}

struct Look<'a> {
    call: &'a Call,
    needs: Needs,
}

impl Look<'_> {
    fn top(&self, name: &str) -> Option<&Value> {
        self.call.scan.last(&self.call.body, name)
    }

    fn either(&self, camel: &str, snake: &str) -> Option<&Value> {
        self.top(camel).or_else(|| self.top(snake))
    }

    fn member(&self, value: Option<&Value>, name: &str) -> Option<Value> {
        value?.member(&self.call.body, name)
    }

    fn is(&self, value: Option<&Value>, words: &[&str]) -> bool {
        value.and_then(|value| value.text(&self.call.body)).is_some_and(|text| words.contains(&text.as_ref()))
    }

    fn elements(&self, value: Option<&Value>) -> Vec<Value> {
        value.map(|value| value.elements(&self.call.body)).unwrap_or_default()
    }

    fn some_elements(&self, name: &str) -> bool {
        matches!(self.top(name).map(|value| value.kind), Some(Kind::Array { empty: false }))
    }

    fn chat(&mut self) {
        self.needs.tools = self.some_elements("tools") || self.some_elements("functions");
        self.openai_parallel();
        let format = self.member(self.top("response_format"), "type");
        self.format(format.as_ref());
        let effort = self.top("reasoning_effort").cloned();
        self.needs.reasoning = is_set(effort.as_ref()) && !self.is(effort.as_ref(), &["none"]);
        let modalities = self.elements(self.top("modalities"));
        self.needs.audio = modalities.iter().any(|one| self.is(Some(one), &["audio"]));
        for message in self.elements(self.top("messages")) {
            let content = self.member(Some(&message), "content");
            self.parts(content.as_ref());
        }
    }

    fn responses(&mut self) {
        self.needs.tools = self.some_elements("tools");
        self.openai_parallel();
        let format = self.member(self.top("text"), "format");
        let format = self.member(format.as_ref(), "type");
        self.format(format.as_ref());
        let effort = self.member(self.top("reasoning"), "effort");
        self.needs.reasoning = is_set(effort.as_ref()) && !self.is(effort.as_ref(), &["none"]);
        for item in self.elements(self.top("input")) {
            for name in ["content", "output"] {
                let content = self.member(Some(&item), name);
                self.parts(content.as_ref());
            }
        }
    }

    fn messages(&mut self) {
        self.needs.tools = self.some_elements("tools");
        let thinking = self.member(self.top("thinking"), "type");
        self.needs.reasoning = self.is(thinking.as_ref(), &["enabled", "adaptive", "between_tools"]);
        let format = self.member(self.top("output_config"), "format");
        let format = self.member(format.as_ref(), "type");
        self.format(format.as_ref());
        self.needs.prompt_caching = is_set(self.top("cache_control"));
        for name in ["system", "tools"] {
            for block in self.elements(self.top(name)) {
                self.cache_mark(&block);
            }
        }
        for message in self.elements(self.top("messages")) {
            let content = self.member(Some(&message), "content");
            self.parts(content.as_ref());
        }
    }

    fn gemini(&mut self) {
        self.needs.tools = self.some_elements("tools");
        let config = self.either("generationConfig", "generation_config").cloned();
        let any = |look: &Self, names: [&str; 2]| {
            names.iter().find_map(|name| look.member(config.as_ref(), name)).filter(|value| is_set(Some(value)))
        };
        let schemas = [["responseSchema", "response_schema"], ["responseJsonSchema", "response_json_schema"]];
        self.needs.json_schema = schemas.into_iter().any(|names| any(self, names).is_some());
        let mime = any(self, ["responseMimeType", "response_mime_type"]);
        self.needs.json_mode = !self.needs.json_schema && self.is(mime.as_ref(), &["application/json"]);
        let thinking = any(self, ["thinkingConfig", "thinking_config"]);
        let budget = ["thinkingBudget", "thinking_budget"].iter().find_map(|name| self.member(thinking.as_ref(), name));
        let off = budget.is_some_and(|budget| budget.count(&self.call.body) == Some(0));
        self.needs.reasoning = thinking.is_some() && !off;
        let modalities = any(self, ["responseModalities", "response_modalities"]);
        self.needs.audio = self.elements(modalities.as_ref()).iter().any(|one| self.is(Some(one), &["AUDIO", "audio"]));
        for content in self.elements(self.top("contents")) {
            let parts = self.member(Some(&content), "parts");
            for part in self.elements(parts.as_ref()) {
                self.gemini_part(&part);
            }
        }
    }

    fn openai_parallel(&mut self) {
        let parallel = self.top("parallel_tool_calls").map(|value| value.kind);
        self.needs.parallel_tools = parallel == Some(Kind::Bool(true));
    }

    fn format(&mut self, kind: Option<&Value>) {
        self.needs.json_mode = self.is(kind, &["json_object"]);
        self.needs.json_schema = self.is(kind, &["json_schema"]);
    }

    /// Parts of OpenAI's and Anthropic's dialects, and what tool results hold.
    fn parts(&mut self, content: Option<&Value>) {
        for part in self.elements(content) {
            self.cache_mark(&part);
            let kind = self.member(Some(&part), "type");
            let kind = kind.as_ref();
            self.needs.vision |= self.is(kind, &["image_url", "input_image", "image"]);
            self.needs.audio |= self.is(kind, &["input_audio"]);
            self.needs.documents |= self.is(kind, &["file", "input_file", "document"]);
            if self.is(kind, &["tool_result"]) {
                let inner = self.member(Some(&part), "content");
                self.parts(inner.as_ref());
            }
        }
    }

    fn cache_mark(&mut self, block: &Value) {
        let names = ["cache_control", "prompt_cache_breakpoint"];
        self.needs.prompt_caching |= names.iter().any(|name| is_set(self.member(Some(block), name).as_ref()));
    }

    fn gemini_part(&mut self, part: &Value) {
        for (camel, snake) in [("inlineData", "inline_data"), ("fileData", "file_data")] {
            let data = self.member(Some(part), camel).or_else(|| self.member(Some(part), snake));
            let mime = ["mimeType", "mime_type"].iter().find_map(|name| self.member(data.as_ref(), name));
            let Some(mime) = mime.as_ref().and_then(|mime| mime.text(&self.call.body)) else {
                continue;
            };
            self.needs.vision |= mime.starts_with("image/") || mime.starts_with("video/");
            self.needs.audio |= mime.starts_with("audio/");
            self.needs.documents |= mime.starts_with("application/") || mime.starts_with("text/");
        }
        let names = ["functionResponse", "function_response"];
        let response = names.iter().find_map(|name| self.member(Some(part), name));
        let inner = self.member(response.as_ref(), "parts");
        for part in self.elements(inner.as_ref()) {
            self.gemini_part(&part);
        }
    }
}

fn is_set(value: Option<&Value>) -> bool {
    value.is_some_and(|value| value.kind != Kind::Null)
}
