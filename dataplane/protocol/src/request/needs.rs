//! What an upstream must be able to do to serve a request, seen from the spans alone.
//!
//! Only the places where a dialect carries parts are looked at, so that a tool's schema or arguments which happen to
//! say `"type":"image"` ask for nothing. Unknown part types ask for nothing: the upstream will judge them.

use super::parsed::ParsedRequest;
use crate::{
    dialect::{Operation, OperationKind},
    framing::Framing,
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
    /// Sound in the prompt.
    pub hearing: bool,
    /// PDFs and other documents in the prompt.
    pub documents: bool,
    /// Reasoning, explicitly asked for.
    pub reasoning: bool,
    /// Embeddings.
    pub embeddings: bool,
    /// Explicit prompt-cache breakpoints.
    pub prompt_caching: bool,
}

impl ParsedRequest {
    /// What an upstream must be able to do to serve this.
    pub fn needs(&self) -> Needs {
        let embeddings = self.operation().kind() == OperationKind::Embed;
        let streaming = self.framing() != Framing::Whole;
        let mut look = Look { request: self, needs: Needs { streaming, embeddings, ..Needs::default() } };
        match self.operation() {
            Operation::ChatCompletions => look.chat(),
            Operation::Responses | Operation::ResponsesInputTokens => look.responses(),
            Operation::Messages | Operation::MessagesCountTokens => look.messages(),
            Operation::GenerateContent => look.gemini(),
            Operation::Converse => look.converse(),
            Operation::Embeddings
            | Operation::EmbedContent
            | Operation::BatchEmbedContents
            | Operation::CountTokens
            | Operation::Predict
            | Operation::InvokeEmbedding
            | Operation::ConverseCountTokens
            | Operation::Direct(_)
            | Operation::Stored(_) => {}
        }
        look.needs
    }
}

struct Look<'a> {
    request: &'a ParsedRequest,
    needs: Needs,
}

/// Results of tools hold parts, and those hold no results: deeper ones are not looked into.
const DEEPEST: usize = 1;

impl<'a> Look<'a> {
    fn body(&self) -> &'a [u8] {
        &self.request.body
    }

    fn top(&self, name: &str) -> Option<&'a Value> {
        self.request.scan.last(&self.request.body, name)
    }

    fn either(&self, camel: &str, snake: &str) -> Option<&'a Value> {
        self.top(camel).or_else(|| self.top(snake))
    }

    fn member(&self, value: Option<&Value>, name: &str) -> Option<Value> {
        value?.member(self.body(), name)
    }

    /// Several members at once: the value is read once, however large it is.
    fn named<const N: usize>(&self, value: Option<&Value>, names: [&str; N]) -> [Option<Value>; N] {
        value.map_or([const { None }; N], |value| value.named(self.body(), names))
    }

    fn is(&self, value: Option<&Value>, words: &[&str]) -> bool {
        value.and_then(|value| value.text(self.body())).is_some_and(|text| words.contains(&text.as_ref()))
    }

    /// Looks at each element without keeping them.
    fn each(&mut self, list: Option<&Value>, mut look: impl FnMut(&mut Self, &Value)) {
        if let Some(list) = list {
            list.each_element(self.body(), |element| look(self, &element));
        }
    }

    fn some_elements(&self, name: &str) -> bool {
        matches!(self.top(name).map(|value| value.kind), Some(Kind::Array { empty: false }))
    }

    fn chat(&mut self) {
        self.needs.tools = self.some_elements("tools") || self.some_elements("functions");
        self.openai_parallel();
        let format = self.member(self.top("response_format"), "type");
        self.format(format.as_ref());
        let effort = self.top("reasoning_effort");
        self.needs.reasoning = is_set(effort) && !self.is(effort, &["none"]);
        self.each(self.top("modalities"), |look, one| look.needs.audio |= look.is(Some(one), &["audio"]));
        self.each(self.top("messages"), |look, message| {
            let content = look.member(Some(message), "content");
            look.parts(content.as_ref(), 0);
        });
    }

    fn responses(&mut self) {
        self.needs.tools = self.some_elements("tools");
        self.openai_parallel();
        let format = self.member(self.top("text"), "format");
        let format = self.member(format.as_ref(), "type");
        self.format(format.as_ref());
        let effort = self.member(self.top("reasoning"), "effort");
        self.needs.reasoning = is_set(effort.as_ref()) && !self.is(effort.as_ref(), &["none"]);
        self.each(self.top("input"), |look, item| {
            for content in look.named(Some(item), ["content", "output"]) {
                look.parts(content.as_ref(), 0);
            }
        });
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
            self.each(self.top(name), |look, block| {
                let mark = look.member(Some(block), "cache_control");
                look.needs.prompt_caching |= is_set(mark.as_ref());
            });
        }
        self.each(self.top("messages"), |look, message| {
            let content = look.member(Some(message), "content");
            look.parts(content.as_ref(), 0);
        });
    }

    fn gemini(&mut self) {
        self.needs.tools = self.some_elements("tools");
        let config = self.either("generationConfig", "generation_config");
        let [schema, schema_snake, json_schema, json_schema_snake, mime, mime_snake] = self.named(
            config,
            [
                "responseSchema",
                "response_schema",
                "responseJsonSchema",
                "response_json_schema",
                "responseMimeType",
                "response_mime_type",
            ],
        );
        let schemas = [schema, schema_snake, json_schema, json_schema_snake];
        self.needs.json_schema = schemas.iter().any(|schema| is_set(schema.as_ref()));
        let mime = mime.or(mime_snake);
        self.needs.json_mode = !self.needs.json_schema && self.is(mime.as_ref(), &["application/json"]);
        let [thinking, thinking_snake, modalities, modalities_snake] =
            self.named(config, ["thinkingConfig", "thinking_config", "responseModalities", "response_modalities"]);
        let thinking = thinking.or(thinking_snake).filter(|value| is_set(Some(value)));
        let [budget, budget_snake] = self.named(thinking.as_ref(), ["thinkingBudget", "thinking_budget"]);
        let off = budget.or(budget_snake).is_some_and(|budget| budget.count(self.body()) == Some(0));
        self.needs.reasoning = thinking.is_some() && !off;
        self.each(modalities.or(modalities_snake).as_ref(), |look, one| {
            look.needs.audio |= look.is(Some(one), &["AUDIO", "audio"]);
        });
        self.each(self.top("contents"), |look, content| {
            let parts = look.member(Some(content), "parts");
            look.each(parts.as_ref(), |look, part| look.gemini_part(part, 0));
        });
    }

    fn converse(&mut self) {
        let tools = self.member(self.top("toolConfig"), "tools");
        self.each(tools.as_ref(), |look, tool| {
            let [mark] = look.named(Some(tool), ["cachePoint"]);
            look.needs.prompt_caching |= is_set(mark.as_ref());
            look.needs.tools |= !is_set(mark.as_ref());
        });
        let [format, effort] = self.named(self.top("outputConfig"), ["textFormat", "effort"]);
        self.needs.json_schema = is_set(format.as_ref());
        let [thinking, config, word] =
            self.named(self.top("additionalModelRequestFields"), ["thinking", "reasoningConfig", "reasoning_effort"]);
        let is_on = |look: &Self, config: &Option<Value>| {
            let kind = look.member(config.as_ref(), "type");
            look.is(kind.as_ref(), &["enabled", "adaptive"])
        };
        self.needs.reasoning =
            is_set(effort.as_ref()) || is_set(word.as_ref()) || is_on(self, &thinking) || is_on(self, &config);
        self.each(self.top("system"), |look, block| {
            look.needs.prompt_caching |= is_set(look.member(Some(block), "cachePoint").as_ref());
        });
        self.each(self.top("messages"), |look, message| {
            let content = look.member(Some(message), "content");
            look.converse_blocks(content.as_ref(), 0);
        });
    }

    fn converse_blocks(&mut self, content: Option<&Value>, depth: usize) {
        self.each(content, |look, block| {
            let [image, video, audio, document, result, mark] =
                look.named(Some(block), ["image", "video", "audio", "document", "toolResult", "cachePoint"]);
            look.needs.vision |= is_set(image.as_ref()) || is_set(video.as_ref());
            look.needs.hearing |= is_set(audio.as_ref());
            look.needs.audio |= look.needs.hearing;
            look.needs.documents |= is_set(document.as_ref());
            look.needs.prompt_caching |= is_set(mark.as_ref());
            if depth < DEEPEST {
                let inner = look.member(result.as_ref(), "content");
                look.converse_blocks(inner.as_ref(), depth.saturating_add(1));
            }
        });
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
    fn parts(&mut self, content: Option<&Value>, depth: usize) {
        self.each(content, |look, part| {
            let [kind, content, cache, breakpoint] =
                look.named(Some(part), ["type", "content", "cache_control", "prompt_cache_breakpoint"]);
            look.needs.prompt_caching |= is_set(cache.as_ref()) || is_set(breakpoint.as_ref());
            let kind = kind.as_ref();
            look.needs.vision |= look.is(kind, &["image_url", "input_image", "image"]);
            look.needs.hearing |= look.is(kind, &["input_audio"]);
            look.needs.audio |= look.needs.hearing;
            look.needs.documents |= look.is(kind, &["file", "input_file", "document"]);
            if depth < DEEPEST && look.is(kind, &["tool_result"]) {
                look.parts(content.as_ref(), depth.saturating_add(1));
            }
        });
    }

    fn gemini_part(&mut self, part: &Value, depth: usize) {
        let [inline, inline_snake, file, file_snake, response, response_snake] = self.named(
            Some(part),
            ["inlineData", "inline_data", "fileData", "file_data", "functionResponse", "function_response"],
        );
        for data in [inline.or(inline_snake), file.or(file_snake)] {
            let [mime, mime_snake] = self.named(data.as_ref(), ["mimeType", "mime_type"]);
            let mime = mime.or(mime_snake);
            let Some(mime) = mime.as_ref().and_then(|mime| mime.text(self.body())) else {
                continue;
            };
            self.needs.vision |= mime.starts_with("image/") || mime.starts_with("video/");
            self.needs.hearing |= mime.starts_with("audio/");
            self.needs.audio |= self.needs.hearing;
            self.needs.documents |= mime.starts_with("application/") || mime.starts_with("text/");
        }
        if depth < DEEPEST {
            let inner = self.member(response.or(response_snake).as_ref(), "parts");
            self.each(inner.as_ref(), |look, part| look.gemini_part(part, depth.saturating_add(1)));
        }
    }
}

fn is_set(value: Option<&Value>) -> bool {
    value.is_some_and(|value| value.kind != Kind::Null)
}
