//! Closed vocabularies. A new word is a new enum variant, so every `match` says what it does about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Wire protocol and authentication style of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ProviderType {
    /// OpenAI itself, or any server that speaks its HTTP API (vLLM, Ollama, llama.cpp, …) at its own `baseURL`.
    OpenAI,
    /// Anthropic's Messages API.
    Anthropic,
    /// Google's Gemini API (AI Studio).
    Gemini,
    /// Gemini and partner models on Google Cloud.
    VertexAI,
    /// OpenAI models deployed in Azure.
    AzureOpenAI,
    /// Models on AWS Bedrock.
    Bedrock,
    /// A built-in upstream that answers deterministically and needs neither network nor key.
    Echo,
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
    /// `POST` to any other path below `baseURL`, for requests that name a model
    OtherPaths,
}

/// What an upstream model can do. A request that needs more skips the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Capability {
    /// Answers as a stream of events.
    Streaming,
    /// Function calling.
    Tools,
    /// Several function calls in one turn.
    ParallelTools,
    /// Any JSON object as the answer.
    JSONMode,
    /// An answer that follows a JSON Schema.
    JSONSchema,
    /// Images in.
    Vision,
    /// Audio in or out.
    Audio,
    /// Documents (PDF) in.
    Documents,
    /// Reasoning controls.
    Reasoning,
    /// Embeddings.
    Embeddings,
    /// Explicit prompt-cache marks.
    PromptCaching,
}

/// Something that a request asks for and a model or its server may not take. It is left out of requests, with a warning.
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
    /// How hard to think: `reasoning_effort`, `thinking`, `thinkingConfig`.
    ReasoningEffort,
    /// `parallel_tool_calls`, `disable_parallel_tool_use`
    ParallelToolCalls,
    /// `strict` of tools and of JSON Schemas.
    StrictSchemas,
    /// `stream_options`, through which OpenAI-compatible servers are asked for usage.
    StreamOptions,
    /// `service_tier`
    ServiceTier,
    /// The end user's id: `user`, `metadata.user_id`.
    User,
}

/// A kind of failure after which the next upstream is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FallbackCondition {
    /// The connection could not be made, or broke before the answer's head arrived.
    ConnectFailure,
    /// A timeout passed, including no content within `firstContent`.
    Timeout,
    /// Status 429, or a vendor's way of saying so.
    RateLimited,
    /// Status 500 and above, including 529, or an error event before any content.
    ServerError,
    /// Status 401 or 403 from the upstream.
    AuthFailure,
    /// Status 404, or an error that says the model does not exist.
    ModelNotFound,
    /// The upstream refused the prompt for safety reasons.
    ContentFiltered,
    /// The prompt is longer than the upstream's context window.
    ContextLengthExceeded,
}

/// What happens to request fields that an upstream's protocol cannot express.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Translation {
    /// Hints are dropped with a warning header; what changes the meaning of the request is refused.
    #[default]
    Default,
    /// Every drop is refused.
    Strict,
    /// Drops become warnings wherever the request can still be formed.
    Lenient,
}

/// Which upstream of one priority is tried first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LoadBalancing {
    /// One at random, by weight.
    #[default]
    Weighted,
    /// Of two drawn by weight, the one with fewer requests in flight for its weight.
    LeastRequest,
    /// Of two drawn by weight, the one that is expected to answer sooner: by the time to its first content of late, times
    /// its requests in flight.
    LowestLatency,
}

impl LoadBalancing {
    /// Whether this is what a route does that says nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When a streaming client is sent heartbeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HeartbeatMode {
    /// Whenever it has heard nothing for an interval, also before an upstream has answered: then status 200 and the
    /// headers go out with the first heartbeat, and a failure of every upstream is an error event in the stream.
    #[default]
    Always,
    /// Only once an answer has begun. Until then the client waits for the true status.
    AfterContent,
    /// Not at all.
    Never,
}

/// What happens to a streamed answer that goes beyond what was reserved for its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// It goes on; what was used is counted when it ends.
    #[default]
    Settle,
    /// It is ended with an error in the client's protocol.
    Strict,
}

impl Enforcement {
    /// Whether this is what a limit does that says nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The period a limit counts over. `Day` and `Month` are calendar windows in UTC; the shorter ones slide.
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
    /// The first of the month to the last, UTC.
    Month,
}
