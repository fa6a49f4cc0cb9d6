//! Where each client dialect writes what a model may not take (docs/protocols/README.md).

use crate::{
    dialect::Operation,
    limits::Feature::{
        self, LogProbs, LogitBias, Metadata, ParallelToolCalls, Penalties, PromptCacheKey, ReasoningEffort, Seed,
        ServiceTier, Stop, Store, StreamOptions, StrictSchemas, Temperature, TopK, TopP, User, Verbosity, WebSearch,
    },
};

/// Objects of one kind in a body.
pub struct Group {
    /// What stands before a member's name in a warning.
    pub at: &'static str,
    /// How to get there.
    pub path: &'static [Step],
    /// Members that a model may not take.
    pub rows: &'static [Row],
    /// Members that limit the output.
    pub limits: &'static [&'static str],
}

/// One step from a value to those inside.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The member with one of these names.
    Member(&'static [&'static str]),
    /// Each element of the list.
    Each,
}

/// A member that a model may not take.
pub struct Row {
    /// The feature it belongs to.
    pub feature: Feature,
    /// Its name, then other spellings of it.
    pub names: &'static [&'static str],
    /// The value that means the same as leaving it out.
    pub neutral: Neutral,
    /// What becomes of it.
    pub act: Act,
}

/// A value that means the same as leaving the member out; `null` always does.
#[derive(Clone, Copy, Debug)]
pub enum Neutral {
    /// None.
    Never,
    /// This number.
    Number(f64),
    /// This answer.
    Bool(bool),
    /// An empty list, object or text.
    Empty,
    /// One of these words, in any case.
    Words(&'static [&'static str]),
    /// An object of type `disabled`.
    Off,
}

/// What becomes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is a hint: left out, with a warning.
    Cut,
    /// The answer would lack what was asked for: refused, unless the route is lenient.
    CutIfLenient,
    /// A promise that is not made: left out.
    Relax,
    /// A promise that is not made, where leaving it out would make it (Responses).
    RelaxToFalse,
    /// This word is taken out of the list; like `CutIfLenient`.
    CutElement(&'static str),
    /// Tools of types that begin so are taken out of the list, with a warning: clients offer them with every request.
    CutTools(&'static str),
    /// The same for clients that name such tools because they want them; like `CutIfLenient`.
    CutToolsIfLenient(&'static str),
}

/// The groups of a client's operation; none where nothing is generated and nothing is checked.
pub const fn of(operation: Operation) -> &'static [Group] {
    match operation {
        Operation::ChatCompletions => CHAT,
        Operation::Responses | Operation::ResponsesInputTokens => RESPONSES,
        Operation::Messages | Operation::MessagesCountTokens => MESSAGES,
        Operation::GenerateContent => GEMINI,
        Operation::Converse | Operation::ConverseCountTokens => CONVERSE,
        Operation::Embeddings => EMBEDDINGS,
        Operation::EmbedContent
        | Operation::BatchEmbedContents
        | Operation::CountTokens
        | Operation::Predict
        | Operation::InvokeEmbedding
        | Operation::Direct(_)
        | Operation::Stored(_) => &[],
    }
}

const fn cut(feature: Feature, names: &'static [&'static str], neutral: Neutral) -> Row {
    Row { feature, names, neutral, act: Act::Cut }
}

const fn strict(act: Act) -> Row {
    Row { feature: StrictSchemas, names: &["strict"], neutral: Neutral::Bool(false), act }
}

const fn logprobs(names: &'static [&'static str], neutral: Neutral) -> Row {
    Row { feature: LogProbs, names, neutral, act: Act::CutIfLenient }
}

/// Tools that search the web.
const fn web_search(act: Act) -> Row {
    Row { feature: WebSearch, names: &["tools"], neutral: Neutral::Never, act }
}

const TIERS: Neutral = Neutral::Words(&["auto", "default", "standard"]);

const CHAT: &[Group] = &[
    Group {
        at: "",
        path: &[],
        rows: &[
            cut(Temperature, &["temperature"], Neutral::Number(1.0)),
            cut(TopP, &["top_p"], Neutral::Number(1.0)),
            cut(TopK, &["top_k"], Neutral::Never),
            cut(Penalties, &["presence_penalty"], Neutral::Number(0.0)),
            cut(Penalties, &["frequency_penalty"], Neutral::Number(0.0)),
            cut(Seed, &["seed"], Neutral::Never),
            cut(LogitBias, &["logit_bias"], Neutral::Empty),
            logprobs(&["logprobs"], Neutral::Bool(false)),
            logprobs(&["top_logprobs"], Neutral::Number(0.0)),
            cut(Stop, &["stop"], Neutral::Empty),
            cut(ReasoningEffort, &["reasoning_effort"], Neutral::Never),
            // What other servers of this dialect take in its place.
            cut(ReasoningEffort, &["reasoning"], Neutral::Empty),
            cut(ReasoningEffort, &["thinking"], Neutral::Off),
            cut(ParallelToolCalls, &["parallel_tool_calls"], Neutral::Bool(true)),
            cut(StreamOptions, &["stream_options"], Neutral::Empty),
            cut(ServiceTier, &["service_tier"], TIERS),
            cut(User, &["user"], Neutral::Empty),
            cut(User, &["safety_identifier"], Neutral::Empty),
            cut(Verbosity, &["verbosity"], Neutral::Words(&["medium"])),
            cut(Metadata, &["metadata"], Neutral::Empty),
            cut(PromptCacheKey, &["prompt_cache_key"], Neutral::Empty),
            cut(PromptCacheKey, &["prompt_cache_retention"], Neutral::Words(&["in-memory", "in_memory"])),
            cut(Store, &["store"], Neutral::Bool(false)),
            Row { feature: WebSearch, names: &["web_search_options"], neutral: Neutral::Never, act: Act::CutIfLenient },
        ],
        limits: &["max_completion_tokens", "max_tokens"],
    },
    Group {
        at: "tools[].function.",
        path: &[Step::Member(&["tools"]), Step::Each, Step::Member(&["function"])],
        rows: &[strict(Act::Relax)],
        limits: &[],
    },
    Group {
        at: "response_format.json_schema.",
        path: &[Step::Member(&["response_format"]), Step::Member(&["json_schema"])],
        rows: &[strict(Act::Relax)],
        limits: &[],
    },
];

const RESPONSES: &[Group] = &[
    Group {
        at: "",
        path: &[],
        rows: &[
            cut(Temperature, &["temperature"], Neutral::Number(1.0)),
            cut(TopP, &["top_p"], Neutral::Number(1.0)),
            logprobs(&["top_logprobs"], Neutral::Number(0.0)),
            Row {
                feature: LogProbs,
                names: &["include"],
                neutral: Neutral::Never,
                act: Act::CutElement("message.output_text.logprobs"),
            },
            cut(ParallelToolCalls, &["parallel_tool_calls"], Neutral::Bool(true)),
            cut(StreamOptions, &["stream_options"], Neutral::Empty),
            cut(ServiceTier, &["service_tier"], TIERS),
            cut(User, &["user"], Neutral::Empty),
            cut(User, &["safety_identifier"], Neutral::Empty),
            cut(Metadata, &["metadata"], Neutral::Empty),
            cut(PromptCacheKey, &["prompt_cache_key"], Neutral::Empty),
            cut(PromptCacheKey, &["prompt_cache_retention"], Neutral::Words(&["in-memory", "in_memory"])),
            web_search(Act::CutTools("web_search")),
        ],
        limits: &["max_output_tokens"],
    },
    Group {
        at: "text.",
        path: &[Step::Member(&["text"])],
        rows: &[cut(Verbosity, &["verbosity"], Neutral::Words(&["medium"]))],
        limits: &[],
    },
    Group {
        at: "reasoning.",
        path: &[Step::Member(&["reasoning"])],
        rows: &[cut(ReasoningEffort, &["effort"], Neutral::Never)],
        limits: &[],
    },
    Group {
        at: "tools[].",
        path: &[Step::Member(&["tools"]), Step::Each],
        rows: &[strict(Act::RelaxToFalse)],
        limits: &[],
    },
    Group {
        at: "text.format.",
        path: &[Step::Member(&["text"]), Step::Member(&["format"])],
        rows: &[strict(Act::RelaxToFalse)],
        limits: &[],
    },
];

const MESSAGES: &[Group] = &[
    Group {
        at: "",
        path: &[],
        rows: &[
            cut(Temperature, &["temperature"], Neutral::Number(1.0)),
            cut(TopP, &["top_p"], Neutral::Number(1.0)),
            cut(TopK, &["top_k"], Neutral::Never),
            cut(Stop, &["stop_sequences"], Neutral::Empty),
            cut(ReasoningEffort, &["thinking"], Neutral::Off),
            cut(ServiceTier, &["service_tier"], Neutral::Words(&["auto"])),
            web_search(Act::CutToolsIfLenient("web_search_")),
        ],
        limits: &["max_tokens"],
    },
    Group {
        at: "output_config.",
        path: &[Step::Member(&["output_config"])],
        rows: &[cut(ReasoningEffort, &["effort"], Neutral::Never)],
        limits: &[],
    },
    Group {
        at: "metadata.",
        path: &[Step::Member(&["metadata"])],
        rows: &[cut(User, &["user_id"], Neutral::Empty)],
        limits: &[],
    },
    Group {
        at: "tool_choice.",
        path: &[Step::Member(&["tool_choice"])],
        rows: &[cut(ParallelToolCalls, &["disable_parallel_tool_use"], Neutral::Bool(false))],
        limits: &[],
    },
    Group { at: "tools[].", path: &[Step::Member(&["tools"]), Step::Each], rows: &[strict(Act::Relax)], limits: &[] },
];

const GEMINI: &[Group] = &[
    Group { at: "", path: &[], rows: &[cut(ServiceTier, &["serviceTier", "service_tier"], TIERS)], limits: &[] },
    Group {
        at: "generationConfig.",
        path: &[Step::Member(&["generationConfig", "generation_config"])],
        rows: &[
            cut(Temperature, &["temperature"], Neutral::Number(1.0)),
            cut(TopP, &["topP", "top_p"], Neutral::Never),
            cut(TopK, &["topK", "top_k"], Neutral::Never),
            cut(Seed, &["seed"], Neutral::Never),
            cut(Penalties, &["presencePenalty", "presence_penalty"], Neutral::Number(0.0)),
            cut(Penalties, &["frequencyPenalty", "frequency_penalty"], Neutral::Number(0.0)),
            logprobs(&["responseLogprobs", "response_logprobs"], Neutral::Bool(false)),
            logprobs(&["logprobs"], Neutral::Number(0.0)),
            cut(Stop, &["stopSequences", "stop_sequences"], Neutral::Empty),
            cut(ReasoningEffort, &["thinkingConfig", "thinking_config"], Neutral::Empty),
        ],
        limits: &["maxOutputTokens", "max_output_tokens"],
    },
];

const CONVERSE: &[Group] = &[
    Group {
        at: "inferenceConfig.",
        path: &[Step::Member(&["inferenceConfig"])],
        rows: &[
            cut(Temperature, &["temperature"], Neutral::Number(1.0)),
            cut(TopP, &["topP"], Neutral::Number(1.0)),
            cut(Stop, &["stopSequences"], Neutral::Empty),
        ],
        limits: &["maxTokens"],
    },
    Group {
        at: "",
        path: &[],
        rows: &[
            cut(ServiceTier, &["serviceTier"], Neutral::Never),
            cut(Metadata, &["requestMetadata"], Neutral::Empty),
        ],
        limits: &[],
    },
    Group {
        at: "outputConfig.",
        path: &[Step::Member(&["outputConfig"])],
        rows: &[cut(ReasoningEffort, &["effort"], Neutral::Never)],
        limits: &[],
    },
    Group {
        at: "additionalModelRequestFields.",
        path: &[Step::Member(&["additionalModelRequestFields"])],
        rows: &[
            cut(TopK, &["top_k"], Neutral::Never),
            cut(TopK, &["k"], Neutral::Never),
            cut(ReasoningEffort, &["thinking"], Neutral::Off),
            cut(ReasoningEffort, &["reasoningConfig"], Neutral::Off),
            cut(ReasoningEffort, &["reasoning_effort"], Neutral::Never),
        ],
        limits: &[],
    },
    Group {
        at: "toolConfig.tools[].toolSpec.",
        path: &[Step::Member(&["toolConfig"]), Step::Member(&["tools"]), Step::Each, Step::Member(&["toolSpec"])],
        rows: &[strict(Act::Relax)],
        limits: &[],
    },
];

const EMBEDDINGS: &[Group] = &[Group { at: "", path: &[], rows: &[cut(User, &["user"], Neutral::Empty)], limits: &[] }];
