//! What whoever runs the gateway says a model takes, beside the built-in tables of the codecs.
//!
//! A provider's word counts instead of the table: a self-hosted model may be called like one that takes less, and the
//! table may be wrong. A route's word only narrows. What is said here holds on both lanes; the table holds for translated
//! requests alone, since a client that speaks the upstream's own dialect knows what it asks for.

use crate::{host::Surfaces, ir::Efforts};

/// Something of a request that a model or its server may not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
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
    /// `stop`
    Stop,
    /// How hard to think: efforts, budgets and levels.
    ReasoningEffort,
    /// Whether several tools may be called in one turn.
    ParallelToolCalls,
    /// `strict` of tools and of JSON Schemas.
    StrictSchemas,
    /// `stream_options`, through which usage is asked for.
    StreamOptions,
    /// `service_tier`
    ServiceTier,
    /// The end user's id.
    User,
    /// `verbosity`
    Verbosity,
    /// `metadata`
    Metadata,
    /// `prompt_cache_key`, `prompt_cache_retention`
    PromptCacheKey,
    /// `store` of Chat Completions.
    Store,
    /// A web search that the vendor runs.
    WebSearch,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Temperature,
        Self::TopP,
        Self::TopK,
        Self::Penalties,
        Self::Seed,
        Self::LogitBias,
        Self::LogProbs,
        Self::Stop,
        Self::ReasoningEffort,
        Self::ParallelToolCalls,
        Self::StrictSchemas,
        Self::StreamOptions,
        Self::ServiceTier,
        Self::User,
        Self::Verbosity,
        Self::Metadata,
        Self::PromptCacheKey,
        Self::Store,
        Self::WebSearch,
    ];
}

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u32);

/// What a model reads beside text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media {
    /// Images.
    pub images: bool,
    /// Sound.
    pub audio: bool,
}

/// The member in which Chat Completions takes the output limit: an older and a newer name for the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatLimit {
    /// `max_tokens`
    MaxTokens,
    /// `max_completion_tokens`
    MaxCompletionTokens,
}

/// What is said about the model of one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelLimits {
    /// Most output tokens that the model takes, instead of the table's figure.
    pub stated_max_output: Option<u64>,
    /// Most output tokens that the route allows: asked for as well where the client names no limit.
    pub route_max_output: Option<u64>,
    /// Whether `unsupported` holds the provider's list, which counts instead of the table's.
    pub is_stated: bool,
    /// What is not sent.
    pub unsupported: Features,
    /// Whether somebody has said what the model can do, and a request that it cannot serve does not come here.
    pub capabilities_stated: bool,
    /// The efforts that the model takes, instead of the table's.
    pub efforts: Option<Efforts>,
    /// The name of Chat's output limit that the upstream was found to take, instead of the table's.
    pub chat_limit: Option<ChatLimit>,
    /// Where the host was found not to serve the model.
    pub closed: Surfaces,
}

// === impl Features ===

impl Features {
    /// No feature.
    pub const NONE: Self = Self(0);

    /// Hints: what changes nothing that a client's program relies on, so that it can be left out with a warning. Not among
    /// them are log probabilities, strict schemas, the question for usage and web searches, which shape the answer.
    pub const HINTS: Self = Self::NONE
        .with(Feature::Temperature)
        .with(Feature::TopP)
        .with(Feature::TopK)
        .with(Feature::Penalties)
        .with(Feature::Seed)
        .with(Feature::LogitBias)
        .with(Feature::Stop)
        .with(Feature::ReasoningEffort)
        .with(Feature::ParallelToolCalls)
        .with(Feature::ServiceTier)
        .with(Feature::User)
        .with(Feature::Verbosity)
        .with(Feature::Metadata)
        .with(Feature::PromptCacheKey)
        .with(Feature::Store);

    /// With one more.
    #[must_use]
    pub const fn with(self, feature: Feature) -> Self {
        Self(self.0 | 1 << feature as u16)
    }

    /// Those of either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are not in the other set.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether a feature is among them.
    pub const fn contains(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u16 != 0
    }

    /// Those that are in it, in the order of their definition.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |feature| self.contains(*feature))
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Feature> for Features {
    fn from_iter<I: IntoIterator<Item = Feature>>(features: I) -> Self {
        features.into_iter().fold(Self::default(), Self::with)
    }
}

// === impl Media ===

impl Media {
    /// Text, images and sound.
    pub const ALL: Self = Self { images: true, audio: true };
    /// Text alone.
    pub const NONE: Self = Self { images: false, audio: false };
    /// No sound.
    pub const IMAGES: Self = Self { images: true, audio: false };

    /// In words for the documentation.
    pub const fn words(self) -> &'static str {
        match (self.images, self.audio) {
            (false, false) => "text",
            (true, false) => "text, images",
            (false, true) => "text, audio",
            (true, true) => "text, images, audio",
        }
    }
}

// === impl ChatLimit ===

impl ChatLimit {
    /// Both.
    pub const ALL: [Self; 2] = [Self::MaxTokens, Self::MaxCompletionTokens];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }

    /// The other name.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::MaxTokens => Self::MaxCompletionTokens,
            Self::MaxCompletionTokens => Self::MaxTokens,
        }
    }
}

// === impl ModelLimits ===

impl ModelLimits {
    /// Most output tokens, given the table's figure; none if nothing is known.
    pub fn max_output(&self, table: Option<u64>) -> Option<u64> {
        let most = self.stated_max_output.or(table);
        most.into_iter().chain(self.route_max_output).min()
    }

    /// Whether a feature is not to be sent.
    pub const fn lacks(&self, feature: Feature) -> bool {
        self.unsupported.contains(feature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_overrides_the_table_and_a_route_narrows() {
        let limits = |stated_max_output, route_max_output| ModelLimits {
            stated_max_output,
            route_max_output,
            ..ModelLimits::default()
        };
        let rows = [
            (limits(None, None), None, None),
            (limits(None, None), Some(10), Some(10)),
            (limits(Some(20), None), Some(10), Some(20)),
            (limits(Some(5), None), Some(10), Some(5)),
            (limits(Some(20), Some(30)), Some(10), Some(20)),
            (limits(Some(20), Some(7)), None, Some(7)),
            (limits(None, Some(7)), None, Some(7)),
            (limits(None, Some(30)), Some(10), Some(10)),
        ];
        for (limits, table, most) in rows {
            assert_eq!(limits.max_output(table), most, "{limits:?} {table:?}");
        }
    }

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        let set: Features = [Feature::Temperature, Feature::User].into_iter().collect();
        assert!(set.contains(Feature::User) && set.contains(Feature::Temperature) && !set.contains(Feature::Seed));
        assert!(Features::default().is_empty() && !set.is_empty());
        assert!(set.or(Features::default().with(Feature::Stop)).contains(Feature::Stop));
    }
}
