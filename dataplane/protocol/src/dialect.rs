//! Which vendor's conventions hold, and which of their operation is meant.

use std::fmt;

use crate::{direct::Direct, stored::StoredCall};

/// A vendor's conventions: the shape of errors, the names of headers, the alphabet of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// OpenAI and every server that follows it.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
    /// Amazon Bedrock's runtime API.
    Bedrock,
}

/// One kind of call of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/responses/input_tokens`
    ResponsesInputTokens,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    MessagesCountTokens,
    /// `POST /v1beta/models/{m}:generateContent` and `:streamGenerateContent`
    GenerateContent,
    /// `POST /v1beta/models/{m}:embedContent`
    EmbedContent,
    /// `POST /v1beta/models/{m}:batchEmbedContents`
    BatchEmbedContents,
    /// `POST /v1beta/models/{m}:countTokens`
    CountTokens,
    /// `POST …/publishers/google/models/{m}:predict` of Vertex AI, which only upstreams have
    Predict,
    /// `POST /model/{m}/invoke` of Bedrock for an embedding model, which only upstreams have
    InvokeEmbedding,
    /// `POST /model/{m}/converse` and `/converse-stream`
    Converse,
    /// `POST /model/{m}/count-tokens`
    ConverseCountTokens,
    /// Another endpoint of OpenAI's, which is passed on and never translated.
    Direct(Direct),
    /// A call about a response or a conversation that OpenAI keeps.
    Stored(StoredCall),
}

/// Where an operation is below an API's base, at clients' side and at upstreams'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallPath {
    /// This path; the model is named in the body.
    Fixed(&'static str),
    /// `models/{model}:{verb}`, with Google's verb.
    Verb(&'static str),
    /// `model/{model}/{action}`, with Bedrock's action.
    Action(&'static str),
}

/// What an operation gives. Requests are translated between operations of one kind only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// What a model writes.
    Generate,
    /// Vectors.
    Embed,
    /// How many tokens a prompt has.
    CountTokens,
    /// What is passed on and never translated.
    Direct(Direct),
    /// What was generated before.
    Stored,
}

impl Operation {
    /// The operations of clients that are translated or looked into: all but [`Operation::Direct`] and
    /// [`Operation::Stored`].
    pub const KNOWN: [Self; 12] = [
        Self::ChatCompletions,
        Self::Responses,
        Self::ResponsesInputTokens,
        Self::Embeddings,
        Self::Messages,
        Self::MessagesCountTokens,
        Self::GenerateContent,
        Self::EmbedContent,
        Self::BatchEmbedContents,
        Self::CountTokens,
        Self::Converse,
        Self::ConverseCountTokens,
    ];

    /// Its path. `streamGenerateContent` is another verb of [`Operation::GenerateContent`], `converse-stream` another action
    /// of [`Operation::Converse`].
    pub const fn path(self) -> CallPath {
        match self {
            Self::ChatCompletions => CallPath::Fixed("/chat/completions"),
            Self::Responses => CallPath::Fixed("/responses"),
            Self::ResponsesInputTokens => CallPath::Fixed("/responses/input_tokens"),
            Self::Embeddings => CallPath::Fixed("/embeddings"),
            Self::Messages => CallPath::Fixed("/messages"),
            Self::MessagesCountTokens => CallPath::Fixed("/messages/count_tokens"),
            Self::GenerateContent => CallPath::Verb("generateContent"),
            Self::EmbedContent => CallPath::Verb("embedContent"),
            Self::BatchEmbedContents => CallPath::Verb("batchEmbedContents"),
            Self::CountTokens => CallPath::Verb("countTokens"),
            Self::Predict => CallPath::Verb("predict"),
            Self::InvokeEmbedding => CallPath::Action("invoke"),
            Self::Converse => CallPath::Action("converse"),
            Self::ConverseCountTokens => CallPath::Action("count-tokens"),
            Self::Direct(direct) => CallPath::Fixed(direct.path()),
            // It has an id in it.
            Self::Stored(_) => CallPath::Fixed(""),
        }
    }

    /// Its method, at clients' side and at upstreams'.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Stored(call) => call.method(),
            Self::Direct(Direct::Realtime) => "GET",
            _ => "POST",
        }
    }

    /// The vendor it belongs to.
    pub const fn family(self) -> Family {
        match self {
            Self::ChatCompletions
            | Self::Responses
            | Self::ResponsesInputTokens
            | Self::Embeddings
            | Self::Direct(_)
            | Self::Stored(_) => Family::OpenAi,
            Self::Messages | Self::MessagesCountTokens => Family::Anthropic,
            Self::GenerateContent
            | Self::EmbedContent
            | Self::BatchEmbedContents
            | Self::CountTokens
            | Self::Predict => Family::Gemini,
            Self::InvokeEmbedding | Self::Converse | Self::ConverseCountTokens => Family::Bedrock,
        }
    }

    /// Whether the model is named in the path and not in the body.
    pub const fn model_in_path(self) -> bool {
        matches!(self.path(), CallPath::Verb(_) | CallPath::Action(_))
    }

    /// What it gives.
    pub const fn kind(self) -> OperationKind {
        match self {
            Self::ChatCompletions | Self::Responses | Self::Messages | Self::GenerateContent | Self::Converse => {
                OperationKind::Generate
            }
            Self::Embeddings
            | Self::EmbedContent
            | Self::BatchEmbedContents
            | Self::Predict
            | Self::InvokeEmbedding => OperationKind::Embed,
            Self::ResponsesInputTokens | Self::MessagesCountTokens | Self::CountTokens | Self::ConverseCountTokens => {
                OperationKind::CountTokens
            }
            Self::Direct(direct) => OperationKind::Direct(direct),
            Self::Stored(_) => OperationKind::Stored,
        }
    }

    /// Whether an answer can arrive as events.
    pub const fn streams(self) -> bool {
        match self.kind() {
            OperationKind::Generate => true,
            OperationKind::Direct(direct) => direct.streams(),
            OperationKind::Stored => matches!(self, Self::Stored(StoredCall::Retrieve)),
            OperationKind::Embed | OperationKind::CountTokens => false,
        }
    }

    /// Whether its answers are made of tokens that somebody pays for.
    pub const fn bills_output(self) -> bool {
        match self.kind() {
            OperationKind::Generate => true,
            OperationKind::Direct(direct) => direct.bills_output(),
            OperationKind::Embed | OperationKind::CountTokens | OperationKind::Stored => false,
        }
    }

    /// Whether vendors charge nothing for it.
    pub const fn is_free(self) -> bool {
        match self.kind() {
            // What a stored response cost, was charged to the request that made it.
            OperationKind::CountTokens | OperationKind::Stored => true,
            OperationKind::Direct(direct) => direct.is_free(),
            OperationKind::Generate | OperationKind::Embed => false,
        }
    }

    /// The value of `gen_ai.operation.name` (OpenTelemetry GenAI semantic conventions).
    pub const fn gen_ai_operation(self) -> &'static str {
        match self {
            Self::ChatCompletions | Self::Responses | Self::Messages | Self::Converse => "chat",
            Self::GenerateContent => "generate_content",
            Self::Embeddings
            | Self::EmbedContent
            | Self::BatchEmbedContents
            | Self::Predict
            | Self::InvokeEmbedding => "embeddings",
            Self::ResponsesInputTokens | Self::MessagesCountTokens | Self::CountTokens | Self::ConverseCountTokens => {
                "count_tokens"
            }
            Self::Direct(direct) => direct.gen_ai_operation(),
            // OpenTelemetry has no name for them.
            Self::Stored(call) => call.name(),
        }
    }

    /// As its vendor's documentation calls it, with the verb of a sentence about it: `chat completions are`.
    pub const fn called(self) -> &'static str {
        match self {
            Self::ResponsesInputTokens | Self::MessagesCountTokens | Self::CountTokens | Self::ConverseCountTokens => {
                "token counting is"
            }
            Self::Converse => "the Converse API is",
            Self::Embeddings
            | Self::EmbedContent
            | Self::BatchEmbedContents
            | Self::Predict
            | Self::InvokeEmbedding => "embeddings are",
            Self::Responses => "the Responses API is",
            Self::ChatCompletions => "chat completions are",
            Self::Messages => "the Messages API is",
            Self::GenerateContent => "generateContent is",
            Self::Direct(direct) => direct.called(),
            Self::Stored(call) => call.called(),
        }
    }

    /// A short stable name for logs and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Responses => "responses",
            Self::ResponsesInputTokens => "responses_input_tokens",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::MessagesCountTokens => "messages_count_tokens",
            Self::GenerateContent => "generate_content",
            Self::EmbedContent => "embed_content",
            Self::BatchEmbedContents => "batch_embed_contents",
            Self::CountTokens => "count_tokens",
            Self::Predict => "predict",
            Self::InvokeEmbedding => "invoke_embedding",
            Self::Converse => "converse",
            Self::ConverseCountTokens => "converse_count_tokens",
            Self::Direct(direct) => direct.name(),
            Self::Stored(call) => call.name(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Bedrock => "bedrock",
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
