//! The ways in which one host serves models, where it has several: Bedrock's runtime, and its endpoint of vendors' own
//! APIs. Which of them serves which model differs by model and region and changes, so that a table says where to begin
//! and the host's own refusals ([`crate::unsupported`]) what to try instead.

/// A way of serving a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// `Converse` and `ConverseStream`.
    Converse,
    /// `CountTokens`.
    CountTokens,
    /// `InvokeModel`, with the body of the model's vendor.
    InvokeModel,
    /// `/anthropic/v1/messages` and what is below it.
    Messages,
    /// `/v1/chat/completions`
    ChatCompletions,
    /// `/v1/responses`
    Responses,
    /// `/openai/v1/chat/completions`
    OpenAiChatCompletions,
    /// `/openai/v1/responses`
    OpenAiResponses,
}

/// A set of surfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surfaces(u8);

impl Surface {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Converse,
        Self::CountTokens,
        Self::InvokeModel,
        Self::Messages,
        Self::ChatCompletions,
        Self::Responses,
        Self::OpenAiChatCompletions,
        Self::OpenAiResponses,
    ];

    /// As logs and `/config` show it: the path without the model.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Converse => "converse",
            Self::CountTokens => "count-tokens",
            Self::InvokeModel => "invoke",
            Self::Messages => "/anthropic/v1/messages",
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::OpenAiChatCompletions => "/openai/v1/chat/completions",
            Self::OpenAiResponses => "/openai/v1/responses",
        }
    }
}

impl Surfaces {
    /// No surface.
    pub const NONE: Self = Self(0);

    /// With one more.
    #[must_use]
    pub const fn with(self, surface: Surface) -> Self {
        Self(self.0 | 1 << surface as u8)
    }

    /// Those of either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a surface is in it.
    pub const fn contains(self, surface: Surface) -> bool {
        self.0 & 1 << surface as u8 != 0
    }

    /// Whether none is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in it.
    pub fn iter(self) -> impl Iterator<Item = Surface> {
        Surface::ALL.into_iter().filter(move |surface| self.contains(*surface))
    }

    /// The first of a list that is not in it.
    pub(super) fn first_open(self, surfaces: &[Surface]) -> Option<Surface> {
        surfaces.iter().copied().find(|surface| !self.contains(*surface))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in() {
        let set = Surfaces::NONE.with(Surface::Converse).or(Surfaces::NONE.with(Surface::OpenAiResponses));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Surface::Converse, Surface::OpenAiResponses]);
        assert!(Surfaces::NONE.is_empty() && !set.is_empty());
        assert_eq!(set.first_open(&[Surface::OpenAiResponses, Surface::Responses]), Some(Surface::Responses));
        assert_eq!(set.first_open(&[Surface::Converse]), None);
        let all = Surface::ALL.into_iter().fold(Surfaces::NONE, Surfaces::with);
        assert_eq!(all.iter().count(), Surface::ALL.len(), "no two have one bit");
    }
}
