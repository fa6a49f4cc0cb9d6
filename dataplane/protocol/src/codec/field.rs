//! How each client operation spells what the neutral representation names, for warnings and refusals.
//!
//! A client's developer looks for the word in their own request, so a warning about `generationConfig.maxOutputTokens`
//! never says `max_tokens`. Members of lists are written `[]` without a number: the neutral representation merges and
//! splits messages, and a wrong number is worse than none.

use crate::{
    dialect::{Family, Operation},
    ir::MediaSource,
    report::Field,
};

/// What can be warned about or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is a member of the neutral representation, or the block it names")]
pub enum Name {
    // the request
    Model,
    System,
    Messages,
    Tools,
    ToolChoice,
    ParallelTools,
    Output,
    OutputSchema,
    MaxOutput,
    Modalities,
    Stop,
    Candidates,
    Effort,
    Budget,
    Thinking,
    Visible,
    User,
    ServiceTier,
    Temperature,
    TopP,
    TopK,
    Seed,
    PresencePenalty,
    FrequencyPenalty,
    Logprobs,
    TopLogprobs,
    // one turn
    Role,
    Participant,
    Text,
    Image,
    ImageDetail,
    Audio,
    Video,
    Document,
    DocumentTitle,
    DocumentContext,
    DocumentCitations,
    Citations,
    Reasoning,
    Refusal,
    CacheMark,
    SystemCacheMark,
    ToolCacheMark,
    CallCacheMark,
    ResultCacheMark,
    Call,
    CallArguments,
    CallId,
    ResultId,
    ResultContent,
    ResultError,
    Block,
    // one tool
    Tool,
    ToolName,
    ToolSchema,
    ToolStrict,
    ToolFormat,
}

/// The columns of the table: operations that share their spelling share one.
#[derive(Clone, Copy)]
enum Column {
    Chat,
    Responses,
    Messages,
    Gemini,
    Converse,
}

impl Name {
    /// The spelling on a client's operation. Where the operation has no such member, the nearest one that holds it.
    pub const fn on(self, operation: Operation) -> &'static str {
        let [chat, responses, messages, gemini] = self.request_row();
        match column(operation) {
            Column::Chat => chat,
            Column::Responses => responses,
            Column::Messages => messages,
            Column::Gemini => gemini,
            Column::Converse => self.converse(),
        }
    }

    /// [`Name::on`] as the report takes it.
    pub const fn field(self, operation: Operation) -> Field {
        Field::Borrowed(self.on(operation))
    }

    /// The field of a media block: Gemini's clients write bytes and addresses in members of different names.
    pub const fn field_of(self, source: &MediaSource, operation: Operation) -> Field {
        let is_inline = matches!(source, MediaSource::Inline { .. });
        match column(operation) {
            Column::Gemini if !is_inline => Field::Borrowed("contents[].parts[].fileData"),
            _ => self.field(operation),
        }
    }

    /// The field of a tool that a vendor runs itself: a Gemini client names it by its member, a Responses client by its
    /// type, since it sends many kinds.
    pub fn of_kind(self, kind: &str, operation: Operation) -> Field {
        match column(operation) {
            Column::Responses | Column::Gemini => Field::Owned(format!("tools[].{kind}")),
            Column::Chat | Column::Messages | Column::Converse => self.field(operation),
        }
    }

    /// [`Name::on`] with the number of the first list's element, where the operation's list is the neutral one's (tools of
    /// all but Gemini, which groups them).
    pub fn at(self, operation: Operation, index: usize) -> Field {
        match column(operation) {
            Column::Gemini => self.field(operation),
            Column::Chat | Column::Responses | Column::Messages | Column::Converse => {
                self.on(operation).replacen("[]", &format!("[{index}]"), 1).into()
            }
        }
    }

    /// Chat, Responses, Messages, Gemini.
    const fn request_row(self) -> [&'static str; 4] {
        match self {
            Self::Model => ["model"; 4],
            Self::System => ["messages[].role=system", "instructions", "system", "systemInstruction"],
            Self::Messages => ["messages", "input", "messages", "contents"],
            Self::Tools => ["tools"; 4],
            Self::ToolChoice => ["tool_choice", "tool_choice", "tool_choice", "toolConfig.functionCallingConfig"],
            Self::ParallelTools => {
                ["parallel_tool_calls", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use", "toolConfig"]
            }
            Self::Output => {
                ["response_format", "text.format", "output_config.format", "generationConfig.responseMimeType"]
            }
            Self::OutputSchema => [
                "response_format.json_schema.schema",
                "text.format.schema",
                "output_config.format.schema",
                "generationConfig.responseJsonSchema",
            ],
            Self::MaxOutput => {
                ["max_completion_tokens", "max_output_tokens", "max_tokens", "generationConfig.maxOutputTokens"]
            }
            Self::Modalities => ["modalities", "modalities", "modalities", "generationConfig.responseModalities"],
            Self::Stop => ["stop", "stop", "stop_sequences", "generationConfig.stopSequences"],
            Self::Candidates => ["n", "n", "n", "generationConfig.candidateCount"],
            Self::User => ["user", "user", "metadata.user_id", "labels"],
            Self::ServiceTier => ["service_tier", "service_tier", "service_tier", "serviceTier"],
            _ => self.setting_row(),
        }
    }

    const fn setting_row(self) -> [&'static str; 4] {
        match self {
            Self::Effort => [
                "reasoning_effort",
                "reasoning.effort",
                "output_config.effort",
                "generationConfig.thinkingConfig.thinkingLevel",
            ],
            Self::Budget => [
                "thinking.budget_tokens",
                "reasoning",
                "thinking.budget_tokens",
                "generationConfig.thinkingConfig.thinkingBudget",
            ],
            Self::Thinking => ["reasoning_effort", "reasoning", "thinking", "generationConfig.thinkingConfig"],
            Self::Visible => [
                "reasoning.exclude",
                "reasoning.summary",
                "thinking.display",
                "generationConfig.thinkingConfig.includeThoughts",
            ],
            Self::Temperature => ["temperature", "temperature", "temperature", "generationConfig.temperature"],
            Self::TopP => ["top_p", "top_p", "top_p", "generationConfig.topP"],
            Self::TopK => ["top_k", "top_k", "top_k", "generationConfig.topK"],
            Self::Seed => ["seed", "seed", "seed", "generationConfig.seed"],
            Self::PresencePenalty => {
                ["presence_penalty", "presence_penalty", "presence_penalty", "generationConfig.presencePenalty"]
            }
            Self::FrequencyPenalty => {
                ["frequency_penalty", "frequency_penalty", "frequency_penalty", "generationConfig.frequencyPenalty"]
            }
            Self::Logprobs => {
                ["logprobs", "include=message.output_text.logprobs", "logprobs", "generationConfig.responseLogprobs"]
            }
            Self::TopLogprobs => ["top_logprobs", "top_logprobs", "top_logprobs", "generationConfig.logprobs"],
            _ => self.block_row(),
        }
    }

    const fn block_row(self) -> [&'static str; 4] {
        match self {
            Self::Role => ["messages[].role", "input[].role", "messages[].role", "contents[].role"],
            Self::Participant => ["messages[].name", "input[].name", "messages[].name", "contents[].name"],
            Self::Text => [
                "messages[].content[].text",
                "input[].content[].text",
                "messages[].content[].text",
                "contents[].parts[].text",
            ],
            Self::Image => [
                "messages[].content[].image_url",
                "input[].content[].image_url",
                "messages[].content[].source",
                "contents[].parts[].inlineData",
            ],
            Self::ImageDetail => [
                "messages[].content[].image_url.detail",
                "input[].content[].detail",
                "messages[].content[].source",
                "contents[].parts[].mediaResolution",
            ],
            Self::Audio => [
                "messages[].content[].input_audio",
                "input[].content[].input_audio",
                "messages[].content[].source",
                "contents[].parts[].inlineData",
            ],
            Self::Video => [
                "messages[].content[]",
                "input[].content[]",
                "messages[].content[].source",
                "contents[].parts[].inlineData",
            ],
            _ => self.mark_row(),
        }
    }

    const fn mark_row(self) -> [&'static str; 4] {
        match self {
            Self::Document => [
                "messages[].content[].file",
                "input[].content[].file_data",
                "messages[].content[].source",
                "contents[].parts[].inlineData",
            ],
            Self::DocumentTitle => [
                "messages[].content[].file.filename",
                "input[].content[].filename",
                "messages[].content[].title",
                "contents[].parts[].fileData.displayName",
            ],
            Self::DocumentContext => {
                ["messages[].content[]", "input[].content[]", "messages[].content[].context", "contents[].parts[]"]
            }
            Self::DocumentCitations | Self::Citations => [
                "messages[].content[]",
                "input[].content[].annotations",
                "messages[].content[].citations",
                "contents[].parts[]",
            ],
            Self::Reasoning => [
                "messages[].reasoning_details",
                "input[].encrypted_content",
                "messages[].content[].thinking",
                "contents[].parts[].thought",
            ],
            Self::Refusal => {
                ["messages[].refusal", "input[].content[].refusal", "messages[].content[]", "contents[].parts[]"]
            }
            Self::CacheMark => [
                "messages[].content[].cache_control",
                "input[].content[].prompt_cache_breakpoint",
                "messages[].content[].cache_control",
                "cachedContent",
            ],
            Self::SystemCacheMark => [
                "messages[].content[].cache_control",
                "input[].content[].prompt_cache_breakpoint",
                "system[].cache_control",
                "cachedContent",
            ],
            Self::ToolCacheMark => {
                ["tools[].cache_control", "tools[].prompt_cache_breakpoint", "tools[].cache_control", "cachedContent"]
            }
            Self::CallCacheMark => [
                "messages[].tool_calls[].cache_control",
                "input[].prompt_cache_breakpoint",
                "messages[].content[].cache_control",
                "cachedContent",
            ],
            Self::ResultCacheMark => [
                "messages[].cache_control",
                "input[].prompt_cache_breakpoint",
                "messages[].content[].cache_control",
                "cachedContent",
            ],
            Self::Block => ["messages[].content[]", "input[]", "messages[].content[]", "contents[].parts[]"],
            _ => self.tool_row(),
        }
    }

    const fn tool_row(self) -> [&'static str; 4] {
        match self {
            Self::CallArguments => [
                "messages[].tool_calls[].function.arguments",
                "input[].arguments",
                "messages[].content[].input",
                "contents[].parts[].functionCall.args",
            ],
            Self::CallId => [
                "messages[].tool_calls[].id",
                "input[].call_id",
                "messages[].content[].id",
                "contents[].parts[].functionCall.id",
            ],
            Self::ResultId => [
                "messages[].tool_call_id",
                "input[].call_id",
                "messages[].content[].tool_use_id",
                "contents[].parts[].functionResponse.id",
            ],
            Self::ResultContent => [
                "messages[].content",
                "input[].output",
                "messages[].content[].content",
                "contents[].parts[].functionResponse",
            ],
            Self::ResultError => [
                "messages[].content",
                "input[].output",
                "messages[].content[].is_error",
                "contents[].parts[].functionResponse",
            ],
            Self::Tool => ["tools[]", "tools[]", "tools[]", "tools[].functionDeclarations[]"],
            Self::ToolName => {
                ["tools[].function.name", "tools[].name", "tools[].name", "tools[].functionDeclarations[].name"]
            }
            Self::ToolSchema => [
                "tools[].function.parameters",
                "tools[].parameters",
                "tools[].input_schema",
                "tools[].functionDeclarations[].parameters",
            ],
            Self::ToolStrict => {
                ["tools[].function.strict", "tools[].strict", "tools[].strict", "tools[].functionDeclarations[]"]
            }
            Self::ToolFormat => ["tools[].custom.format", "tools[].format", "tools[]", "tools[]"],
            // `Call`, and the fallback of the rows above.
            _ => ["messages[].tool_calls[]", "input[]", "messages[].content[]", "contents[].parts[].functionCall"],
        }
    }

    /// Converse's spelling. What only some vendors' models understand stands among the additional fields, in Claude's words.
    const fn converse(self) -> &'static str {
        match self {
            Self::Model => "modelId",
            Self::System => "system",
            Self::Messages => "messages",
            Self::Tools => "toolConfig.tools",
            Self::ToolChoice => "toolConfig.toolChoice",
            Self::ParallelTools => "additionalModelRequestFields.tool_choice.disable_parallel_tool_use",
            Self::Output => "outputConfig.textFormat",
            Self::OutputSchema => "outputConfig.textFormat.structure.jsonSchema.schema",
            Self::MaxOutput => "inferenceConfig.maxTokens",
            Self::Temperature => "inferenceConfig.temperature",
            Self::TopP => "inferenceConfig.topP",
            Self::Stop => "inferenceConfig.stopSequences",
            Self::TopK => "additionalModelRequestFields.top_k",
            Self::Effort => "outputConfig.effort",
            Self::Budget => "additionalModelRequestFields.thinking.budget_tokens",
            Self::Thinking => "additionalModelRequestFields.thinking",
            Self::Visible => "additionalModelRequestFields.thinking.display",
            Self::User => "requestMetadata",
            Self::ServiceTier => "serviceTier",
            Self::Modalities
            | Self::Candidates
            | Self::Seed
            | Self::PresencePenalty
            | Self::FrequencyPenalty
            | Self::Logprobs
            | Self::TopLogprobs => "additionalModelRequestFields",
            Self::Role => "messages[].role",
            Self::Participant => "messages[]",
            Self::Text => "messages[].content[].text",
            Self::Image | Self::ImageDetail => "messages[].content[].image",
            Self::Audio => "messages[].content[].audio",
            Self::Video => "messages[].content[].video",
            Self::Document => "messages[].content[].document",
            Self::DocumentTitle => "messages[].content[].document.name",
            Self::DocumentContext => "messages[].content[].document.context",
            Self::DocumentCitations => "messages[].content[].document.citations",
            Self::Citations => "messages[].content[].citationsContent",
            Self::Reasoning => "messages[].content[].reasoningContent",
            Self::CacheMark | Self::CallCacheMark | Self::ResultCacheMark => "messages[].content[].cachePoint",
            Self::SystemCacheMark => "system[].cachePoint",
            Self::ToolCacheMark => "toolConfig.tools[].cachePoint",
            Self::Call => "messages[].content[].toolUse",
            Self::CallArguments => "messages[].content[].toolUse.input",
            Self::CallId => "messages[].content[].toolUse.toolUseId",
            Self::ResultId => "messages[].content[].toolResult.toolUseId",
            Self::ResultContent => "messages[].content[].toolResult.content",
            Self::ResultError => "messages[].content[].toolResult.status",
            Self::Refusal | Self::Block => "messages[].content[]",
            Self::Tool => "toolConfig.tools[]",
            Self::ToolName => "toolConfig.tools[].toolSpec.name",
            Self::ToolSchema => "toolConfig.tools[].toolSpec.inputSchema",
            Self::ToolStrict => "toolConfig.tools[].toolSpec.strict",
            Self::ToolFormat => "toolConfig.tools[].toolSpec",
        }
    }
}

/// The client's word for a field that an OpenAI upstream blames in its own words (`param`); none if the client has no such
/// field, or nobody knows it.
pub fn translated(param: &str, client: Operation) -> Option<Field> {
    const BLAMED: [Name; 26] = [
        Name::MaxOutput,
        Name::Temperature,
        Name::TopP,
        Name::TopK,
        Name::Seed,
        Name::PresencePenalty,
        Name::FrequencyPenalty,
        Name::Logprobs,
        Name::TopLogprobs,
        Name::Stop,
        Name::Candidates,
        Name::Effort,
        Name::Modalities,
        Name::User,
        Name::ServiceTier,
        Name::OutputSchema,
        Name::Output,
        Name::ToolSchema,
        Name::ToolName,
        Name::ToolStrict,
        Name::ToolChoice,
        Name::ParallelTools,
        Name::CallArguments,
        Name::Image,
        Name::Document,
        Name::Messages,
    ];
    let plain = without_numbers(param);
    let known = match plain.as_str() {
        "max_tokens" => Some(Name::MaxOutput),
        "tools" | "tools[]" => Some(Name::Tools),
        _ => [Operation::ChatCompletions, Operation::Responses].into_iter().find_map(|upstream| {
            BLAMED.into_iter().find(|name| {
                let rest = plain.strip_prefix(name.on(upstream));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            })
        }),
    };
    known.map(|name| name.field(client))
}

/// `messages[2].content` as `messages[].content`.
fn without_numbers(param: &str) -> String {
    let mut inside = false;
    let kept = param.chars().filter(|letter| {
        match letter {
            '[' => inside = true,
            ']' => inside = false,
            _ => {}
        }
        !inside || *letter == '['
    });
    kept.collect()
}

/// A family names its members alike, but for OpenAI's Responses.
const fn column(operation: Operation) -> Column {
    match operation.family() {
        Family::OpenAi if matches!(operation, Operation::Responses | Operation::ResponsesInputTokens) => {
            Column::Responses
        }
        Family::OpenAi => Column::Chat,
        Family::Anthropic => Column::Messages,
        Family::Gemini => Column::Gemini,
        Family::Bedrock => Column::Converse,
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, translated};
    use crate::dialect::Operation;

    #[test]
    fn an_upstreams_field_becomes_the_clients() {
        let rows = [
            ("max_tokens", Operation::Messages, Some("max_tokens")),
            ("max_completion_tokens", Operation::GenerateContent, Some("generationConfig.maxOutputTokens")),
            ("tools[0].function.parameters", Operation::Messages, Some("tools[].input_schema")),
            ("messages[3].content[0].image_url.url", Operation::GenerateContent, Some("contents[].parts[].inlineData")),
            ("messages[3].role", Operation::Messages, Some("messages")),
            ("reasoning_effort", Operation::Messages, Some("output_config.effort")),
            (
                "response_format.json_schema.schema",
                Operation::GenerateContent,
                Some("generationConfig.responseJsonSchema"),
            ),
            ("max_output_tokens", Operation::Messages, Some("max_tokens")),
            ("text.format.schema", Operation::GenerateContent, Some("generationConfig.responseJsonSchema")),
            ("tools[0].parameters", Operation::Messages, Some("tools[].input_schema")),
            ("input[3].call_id", Operation::ChatCompletions, Some("messages")),
            ("stream_options", Operation::Messages, None),
            ("[", Operation::Messages, None),
        ];
        for (param, client, expected) in rows {
            assert_eq!(translated(param, client).as_deref(), expected, "{param}");
        }
    }

    #[test]
    fn each_client_reads_its_own_word() {
        let rows = [
            (Name::MaxOutput, Operation::ChatCompletions, "max_completion_tokens"),
            (Name::MaxOutput, Operation::Messages, "max_tokens"),
            (Name::MaxOutput, Operation::GenerateContent, "generationConfig.maxOutputTokens"),
            (Name::MaxOutput, Operation::Responses, "max_output_tokens"),
            (Name::Stop, Operation::GenerateContent, "generationConfig.stopSequences"),
            (Name::Effort, Operation::ChatCompletions, "reasoning_effort"),
            (Name::Temperature, Operation::GenerateContent, "generationConfig.temperature"),
            (Name::Image, Operation::ChatCompletions, "messages[].content[].image_url"),
            (Name::CallArguments, Operation::ChatCompletions, "messages[].tool_calls[].function.arguments"),
            (Name::ToolSchema, Operation::Messages, "tools[].input_schema"),
            (Name::Call, Operation::GenerateContent, "contents[].parts[].functionCall"),
        ];
        for (name, operation, spelling) in rows {
            assert_eq!(name.on(operation), spelling);
        }
    }
}
