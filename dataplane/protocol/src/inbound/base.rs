//! What stands in front of a call's own path: the base URL that a client was given, in whatever spelling.
//!
//! Every SDK appends its own paths to a base URL that people copy from another vendor's page, so the same call arrives
//! below `/v1`, `/openai/v1` (Groq, LiteLLM, Bifrost), `/api/v1` (OpenRouter, Open WebUI), `/v1beta/openai` (Google's
//! OpenAI format), `/anthropic/v1`, `/gemini/v1beta`, `/genai`, `/bedrock` (Bifrost) and doubles of these. None of these segments
//! begins a path of any vendor's API itself, so any run of them is skipped.

use crate::dialect::Family;

/// The segments that a path began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// The vendor whose base URL it is, if a segment names one; the last one counts.
    named: Option<Family>,
    /// At least one `v1`.
    v1: bool,
    /// `v1/v1`: only Anthropic's SDK appends `/v1` to a base URL that has it. (Google's does as well, and its calls show
    /// by their verb.)
    double_v1: bool,
    /// At least one `v1beta` or another of Google's versions.
    google: bool,
}

impl Base {
    /// Takes the base off a path. What is left has no slash at either end.
    pub(super) fn strip(path: &str) -> (Self, &str) {
        let (mut rest, mut ones) = (path.trim_matches('/'), 0_u32);
        let mut base = Self { named: None, v1: false, double_v1: false, google: false };
        loop {
            let (segment, tail) = rest.split_once('/').unwrap_or((rest, ""));
            match segment {
                "v1" => ones += 1,
                "v1beta" | "v1alpha" | "v1beta1" => base.google = true,
                // The same base URL as LiteLLM's for Cursor, which speaks OpenAI's dialect.
                "openai" | "cursor" => base.named = Some(Family::OpenAi),
                "anthropic" => base.named = Some(Family::Anthropic),
                "gemini" | "genai" => base.named = Some(Family::Gemini),
                "bedrock" => base.named = Some(Family::Bedrock),
                "api" => {}
                _ => break,
            }
            rest = tail.trim_start_matches('/');
        }
        base.v1 = ones > 0;
        base.double_v1 = ones > 1;
        (base, rest)
    }

    /// The vendor that the base tells, if it does: a bare `/v1` is shared by three.
    pub(super) const fn vendor(self) -> Option<Family> {
        match self {
            Self { named: Some(family), .. } => Some(family),
            Self { google: true, .. } => Some(Family::Gemini),
            Self { double_v1: true, .. } => Some(Family::Anthropic),
            Self { .. } => None,
        }
    }

    /// Whether it is one of OpenAI's API with its version.
    pub(super) fn is_openais_v1(self) -> bool {
        self.v1 && self.family() == Family::OpenAi
    }

    /// The vendor whose error shape a caller most likely reads.
    pub(super) fn family(self) -> Family {
        self.vendor().unwrap_or(Family::OpenAi)
    }
}
