//! Enumerations. A new value is a new variant, so that every `match` has to handle it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// API format and authentication of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ProviderType {
    /// OpenAI, or a server with an OpenAI-compatible API (vLLM, Ollama, llama.cpp, …) at its own `baseURL`.
    OpenAI,
    /// Anthropic's Messages API.
    Anthropic,
    /// Google's Gemini API (AI Studio).
    Gemini,
    /// Gemini and partner models on Google Cloud Vertex AI.
    VertexAI,
    /// OpenAI models on Azure.
    AzureOpenAI,
    /// Models on AWS Bedrock.
    Bedrock,
    /// A built-in upstream for tests that needs neither network nor key.
    Echo,
}

/// Which of Amazon Bedrock's endpoints for inference a provider is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum BedrockEndpoint {
    /// `bedrock-runtime`: Converse and InvokeModel, and OpenAI's APIs for some models.
    #[default]
    Runtime,
    /// `bedrock-mantle`: OpenAI's APIs, and Anthropic's for Claude.
    Mantle,
}

impl BedrockEndpoint {
    /// Whether it is the runtime.
    pub const fn is_runtime(&self) -> bool {
        matches!(self, Self::Runtime)
    }
}

/// An API surface that an OpenAI-type server may or may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Endpoint {
    /// `POST {baseURL}/chat/completions`
    ChatCompletions,
    /// `POST {baseURL}/responses`
    Responses,
    /// `POST {baseURL}/embeddings`
    Embeddings,
    /// `POST {baseURL}/completions`, from before chats
    Completions,
    /// `POST {baseURL}/moderations`
    Moderations,
    /// `POST {baseURL}/images/generations`, `/images/edits`, `/images/variations`
    Images,
    /// `POST {baseURL}/audio/speech`
    Speech,
    /// `POST {baseURL}/audio/transcriptions`, `/audio/translations`
    Transcriptions,
    /// `POST {baseURL}/rerank`, `/score`
    Rerank,
    /// WebSocket sessions at `{baseURL}/realtime`
    Realtime,
    /// `POST` to any other path below `baseURL`, for requests that name a model
    OtherPaths,
}

/// Which of OpenAI's two APIs for generating text an upstream is called on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum UpstreamApi {
    /// The client's own if the upstream has it; otherwise Responses if the upstream has it, unless a request contains something
    /// that only Chat Completions supports.
    #[default]
    Auto,
    /// Chat Completions.
    ChatCompletions,
    /// Responses.
    Responses,
}

impl UpstreamApi {
    /// Whether the choice is left to the gateway.
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }

    /// The endpoint that the provider must have; none if the choice is left to the gateway.
    pub const fn endpoint(self) -> Option<Endpoint> {
        match self {
            Self::Auto => None,
            Self::ChatCompletions => Some(Endpoint::ChatCompletions),
            Self::Responses => Some(Endpoint::Responses),
        }
    }
}

/// A capability of a model. Requests that need others skip the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Capability {
    /// Streaming responses.
    Streaming,
    /// Function calling.
    Tools,
    /// Several function calls in one response.
    ParallelTools,
    /// Responses that are any JSON object.
    JSONMode,
    /// Responses that follow a JSON Schema.
    JSONSchema,
    /// Image input.
    Vision,
    /// Audio input or output.
    Audio,
    /// Document (PDF) input.
    Documents,
    /// Parameters for reasoning.
    Reasoning,
    /// Embeddings.
    Embeddings,
    /// Explicit cache markers in prompts.
    PromptCaching,
}

/// A parameter that a model or its server may not support. It is removed from requests, with a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RequestFeature {
    /// `temperature`
    Temperature,
    /// `top_p`
    TopP,
    /// `top_k`
    TopK,
    /// `presence_penalty`, `frequency_penalty`
    Penalties,
    /// `seed`
    Seed,
    /// `logit_bias`
    LogitBias,
    /// `logprobs`, `top_logprobs`
    LogProbs,
    /// `stop`, `stop_sequences`
    Stop,
    /// `reasoning_effort`, `thinking`, `thinkingConfig`
    ReasoningEffort,
    /// `parallel_tool_calls`, `disable_parallel_tool_use`
    ParallelToolCalls,
    /// `strict` of tools and JSON Schemas
    StrictSchemas,
    /// `stream_options`, which requests usage from OpenAI-compatible servers
    StreamOptions,
    /// `service_tier`
    ServiceTier,
    /// ID of the end user: `user`, `metadata.user_id`
    User,
    /// `verbosity`
    Verbosity,
    /// `metadata`
    Metadata,
    /// `prompt_cache_key`, `prompt_cache_retention`
    PromptCacheKey,
    /// `store` of Chat Completions
    Store,
    /// A web search that the vendor runs: `web_search_options`, and tools of type `web_search`
    WebSearch,
}

/// A level of reasoning effort. The words are those of OpenAI's API, the widest vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ReasoningEffort {
    /// No reasoning.
    None,
    /// `minimal`
    Minimal,
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
    /// `xhigh`
    XHigh,
    /// `max`
    Max,
}

/// A failure that triggers fallback to the next upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FallbackCondition {
    /// The connection could not be established, or was closed before the response headers.
    ConnectFailure,
    /// A timeout, including no content within `firstContent`.
    Timeout,
    /// Status 429, or a vendor's equivalent.
    RateLimited,
    /// Status 500 or higher, or an error event before any content.
    ServerError,
    /// Status 401 or 403 from the upstream.
    AuthFailure,
    /// Status 404, or an error that the model does not exist.
    ModelNotFound,
    /// The upstream refused the prompt for safety reasons.
    ContentFiltered,
    /// The prompt is longer than the upstream's context window.
    ContextLengthExceeded,
}

/// What happens to request fields that the upstream's API format does not support.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Translation {
    /// Hints are dropped with a warning; requests whose meaning would change are refused.
    #[default]
    Default,
    /// All such requests are refused.
    Strict,
    /// Fields are dropped with a warning whenever the remaining request is valid.
    Lenient,
}

/// How requests are distributed among upstreams of the same priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LoadBalancing {
    /// Random, by weight.
    #[default]
    Weighted,
    /// Of two upstreams chosen by weight, the one with fewer requests in flight relative to its weight.
    LeastRequest,
    /// Of two upstreams chosen by weight, the one with the lower expected latency: its recent time to first content times its
    /// requests in flight.
    LowestLatency,
}

impl LoadBalancing {
    /// Whether this is the default of a route.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What names the session of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AffinityType {
    /// The session that coding agents and vendors' SDKs name in a header or in the body.
    #[default]
    Session,
    /// The value of a header.
    Header,
}

/// When heartbeats are sent to a streaming client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HeartbeatMode {
    /// After each interval without data, also before an upstream has responded: then status 200 and the headers are sent with the
    /// first heartbeat, and a failure of all upstreams is an error event in the stream.
    #[default]
    Always,
    /// Only after the first content. Until then the client waits for the final status.
    AfterContent,
    /// No heartbeats.
    Never,
}

/// What happens to a streamed response that exceeds its reservation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// It continues; its usage is counted when it ends.
    #[default]
    Settle,
    /// It ends with an error in the client's API format.
    Strict,
}

impl Enforcement {
    /// Whether this is the default of a limit.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Time window of a limit. `Day` and `Month` are calendar periods in UTC; the shorter ones are sliding windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Window {
    /// Any one second.
    Second,
    /// Any 60 seconds.
    Minute,
    /// Any 60 minutes.
    Hour,
    /// 00:00 to 24:00 UTC.
    Day,
    /// From the first to the last day of a month, UTC.
    Month,
}
