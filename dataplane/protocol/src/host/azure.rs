//! Azure OpenAI and Microsoft Foundry (docs/protocols/clouds.md): OpenAI's API below `/openai/v1`, or with a dated version
//! below `/openai` and, for most calls, a deployment; Anthropic's below `/anthropic`.
//!
//! Deployments are named as their owner likes. By default a deployment has its model's name, so that the name tells whose
//! API it is called on; where it has another, the provider's `models` say which model it is.

use std::{fmt, str::FromStr};

use percent_encoding::utf8_percent_encode;

use super::{
    place::{Asked, ENCODED, Place, UnsafeModel, check},
    vendor,
};
use crate::{
    dialect::{Family, Operation},
    direct::Direct,
};

/// Which version of Azure's API is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiVersion {
    /// The v1 API, which has no versions.
    #[default]
    V1,
    /// The v1 API with what is in preview.
    V1Preview,
    /// A version of the API before v1.
    Dated(Dated),
}

/// A version by its date, such as `2024-10-21` or `2025-04-01-preview`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dated {
    year: u16,
    month: u8,
    day: u8,
    preview: bool,
}

/// The first version that reports usage in streams (`stream_options`): 2024-09-01-preview.
const STREAMS_USAGE: (u16, u8, u8) = (2024, 9, 1);

/// It is no version of Azure's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be v1, preview, or a date such as 2024-10-21 or 2025-04-01-preview")]
pub struct InvalidApiVersion;

// === impl ApiVersion ===

impl ApiVersion {
    /// Whether `stream_options` is taken.
    pub(super) fn streams_usage(self) -> bool {
        match self {
            Self::V1 | Self::V1Preview => true,
            Self::Dated(Dated { year, month, day, .. }) => (year, month, day) >= STREAMS_USAGE,
        }
    }

    /// A path with the version as Azure wants it.
    fn of(self, mut path: String) -> String {
        let version = match self {
            Self::V1 => return path,
            Self::V1Preview => "preview".to_owned(),
            Self::Dated(dated) => dated.to_string(),
        };
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str("api-version=");
        path.push_str(&version);
        path
    }
}

impl FromStr for ApiVersion {
    type Err = InvalidApiVersion;

    fn from_str(text: &str) -> Result<Self, InvalidApiVersion> {
        match text {
            "v1" => return Ok(Self::V1),
            "preview" => return Ok(Self::V1Preview),
            _ => {}
        }
        let (date, preview) = text.strip_suffix("-preview").map_or((text, false), |date| (date, true));
        let mut parts = date.split('-');
        let mut number = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits && part.bytes().all(|it| it.is_ascii_digit()));
            part.and_then(|part| part.parse::<u16>().ok()).ok_or(InvalidApiVersion)
        };
        let (year, month, day) = (number(4)?, number(2)?, number(2)?);
        if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(InvalidApiVersion);
        }
        let short = |number: u16| u8::try_from(number).map_err(|_| InvalidApiVersion);
        Ok(Self::Dated(Dated { year, month: short(month)?, day: short(day)?, preview }))
    }
}

impl fmt::Display for Dated {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, preview } = self;
        let suffix = if *preview { "-preview" } else { "" };
        write!(out, "{year:04}-{month:02}-{day:02}{suffix}")
    }
}

/// Where an operation is to be had.
///
/// # Errors
/// When the deployment would stand in the path and cannot.
pub(super) fn place(version: ApiVersion, asked: &Asked<'_>) -> Result<Place, UnsafeModel> {
    let vendors = vendor::place(asked)?;
    let path = match (asked.operation.family(), version) {
        (Family::Anthropic, _) => format!("/anthropic{}", vendors.path),
        (_, ApiVersion::Dated(_)) if is_below_deployment(asked.operation) => {
            check(asked.model)?;
            let deployment = utf8_percent_encode(asked.model, ENCODED);
            version.of(format!("/openai/deployments/{deployment}{}", vendors.path))
        }
        _ => passed(version, &vendors.path),
    };
    Ok(Place { path, ..vendors })
}

/// A path of OpenAI's that names no deployment.
pub(super) fn passed(version: ApiVersion, path: &str) -> String {
    match version {
        ApiVersion::V1 | ApiVersion::V1Preview => version.of(format!("/openai/v1{path}")),
        ApiVersion::Dated(_) => version.of(format!("/openai{path}")),
    }
}

/// Whether the dated versions have the deployment in the path. Responses have it in the body (hard case 255).
const fn is_below_deployment(operation: Operation) -> bool {
    match operation {
        Operation::ChatCompletions | Operation::Embeddings => true,
        Operation::Direct(direct) => !matches!(direct, Direct::Compaction | Direct::Unlisted),
        _ => false,
    }
}

/// Claude is called on Anthropic's API, everything else on OpenAI's.
pub(super) fn serves(operation: Operation, model: &str) -> bool {
    let is_claude = model.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("claude"));
    is_claude == (operation.family() == Family::Anthropic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{framing::Framing, stored::StoredCall};

    fn path(version: &str, operation: Operation, model: &str) -> String {
        let asked = Asked { operation, model, framing: Framing::Sse, query: None, head: None, surface: None };
        place(version.parse().unwrap(), &asked).unwrap().path
    }

    #[test]
    fn v1_names_the_deployment_in_the_body() {
        let chat = Operation::ChatCompletions;
        assert_eq!(path("v1", chat, "my gpt"), "/openai/v1/chat/completions");
        assert_eq!(path("preview", chat, "my gpt"), "/openai/v1/chat/completions?api-version=preview");
        assert_eq!(path("v1", Operation::Responses, "d"), "/openai/v1/responses");
    }

    #[test]
    fn hard_case_255_dated_responses_have_no_deployment_in_the_path() {
        let version = "2025-04-01-preview";
        assert_eq!(path(version, Operation::Responses, "d"), "/openai/responses?api-version=2025-04-01-preview");
        assert_eq!(
            path(version, Operation::ChatCompletions, "d/x 1"),
            "/openai/deployments/d%2Fx%201/chat/completions?api-version=2025-04-01-preview"
        );
        let stored = passed(version.parse().unwrap(), "/responses/resp_1?include=x");
        assert_eq!(stored, "/openai/responses/resp_1?include=x&api-version=2025-04-01-preview");
        let speech = Operation::Direct(Direct::Speech);
        assert_eq!(path("2024-10-21", speech, "tts"), "/openai/deployments/tts/audio/speech?api-version=2024-10-21");
    }

    #[test]
    fn claude_is_called_on_anthropics_api_without_a_version() {
        for version in ["v1", "2024-10-21"] {
            assert_eq!(path(version, Operation::Messages, "claude-x"), "/anthropic/v1/messages");
            assert_eq!(
                path(version, Operation::MessagesCountTokens, "claude-x"),
                "/anthropic/v1/messages/count_tokens"
            );
        }
        for (model, claude) in [("claude-sonnet-4-5", true), ("Claude-Opus", true), ("gpt-5", false), ("", false)] {
            assert_eq!(serves(Operation::Messages, model), claude, "{model}");
            assert_eq!(serves(Operation::Responses, model), !claude, "{model}");
            assert_eq!(serves(Operation::Stored(StoredCall::Retrieve), model), !claude, "{model}");
        }
    }

    #[test]
    fn deployment_that_could_leave_its_place_is_refused() {
        let version = "2024-10-21".parse().unwrap();
        for model in ["..", "a/../b", "a?b", "a%2fb", ""] {
            let asked = Asked {
                operation: Operation::ChatCompletions,
                model,
                framing: Framing::Whole,
                query: None,
                head: None,
                surface: None,
            };
            assert!(place(version, &asked).is_err(), "{model:?}");
        }
    }

    #[test]
    fn only_versions_are_versions() {
        for text in ["2024-10-21", "2024-09-01-preview"] {
            let ApiVersion::Dated(dated) = text.parse().unwrap() else { panic!("{text}") };
            assert_eq!(dated.to_string(), text);
        }
        for text in ["", "latest", "2024", "2024-13-01", "2024-1-1", "2024-10-21-beta", "2024-10-21-1", "2024-10-2x"] {
            assert_eq!(text.parse::<ApiVersion>(), Err(InvalidApiVersion), "{text:?}");
        }
    }

    #[test]
    fn old_versions_do_not_report_usage_in_streams() {
        for (version, reports) in [
            ("v1", true),
            ("preview", true),
            ("2024-09-01-preview", true),
            ("2024-10-21", true),
            ("2024-08-01-preview", false),
            ("2024-06-01", false),
        ] {
            assert_eq!(version.parse::<ApiVersion>().unwrap().streams_usage(), reports, "{version}");
        }
    }
}
