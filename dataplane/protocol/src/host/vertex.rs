//! Vertex AI (docs/protocols/clouds.md): models of several publishers, each in its publisher's API. All paths are below the
//! base URL `https://HOST/v1/projects/PROJECT/locations/LOCATION`.
//!
//! | model id | is served as |
//! |---|---|
//! | `gemini-…`, `google/…`, `publishers/google/models/…`, `endpoints/NUMBER`, others | Gemini |
//! | `claude-…`, `anthropic/…`, `publishers/anthropic/models/…` | Anthropic Messages by `rawPredict` |
//! | `mistral-…`, `codestral-…`, `publishers/PUBLISHER/models/…` | Chat Completions by `rawPredict` |
//! | `PUBLISHER/MODEL` | Chat Completions of the OpenAI-compatible endpoint |
//!
//! A model id is hostile and treated as in [`super::vendor`].

use bytes::Bytes;
use percent_encoding::{AsciiSet, utf8_percent_encode};

use super::{
    betas, claude,
    place::{Asked, ENCODED, Place, UnsafeModel, check},
};
use crate::{count, dialect::Operation, report::Report, wire::Wire};

/// Versions of models stand behind an `@`, which vendors' SDKs leave as it is.
const SEGMENT: &AsciiSet = &ENCODED.remove(b'@');

/// Whose model it is, and its id there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publisher<'a> {
    Google(&'a str),
    /// A tuned model of Google's, by the number of its endpoint.
    Endpoint(&'a str),
    Anthropic(&'a str),
    /// Publisher and model.
    Other(&'a str, &'a str),
    /// A model of the OpenAI-compatible endpoint.
    Open(&'a str),
}

impl<'a> Publisher<'a> {
    fn of(model: &'a str) -> Self {
        let starts = |names: &[&str]| names.iter().any(|name| model.starts_with(name));
        if let Some((publisher, id)) = model.strip_prefix("publishers/").and_then(|rest| rest.split_once("/models/")) {
            return match publisher {
                "google" => Self::Google(id),
                "anthropic" => Self::Anthropic(id),
                _ => Self::Other(publisher, id),
            };
        }
        match model.split_once('/') {
            Some(("google" | "models", id)) => Self::Google(id),
            Some(("anthropic", id)) => Self::Anthropic(id),
            Some(("endpoints", id)) => Self::Endpoint(id),
            Some(_) => Self::Open(model),
            None if starts(&["claude-"]) => Self::Anthropic(model),
            None if starts(&["mistral-", "ministral-", "codestral-"]) => Self::Other("mistralai", model),
            None => Self::Google(model),
        }
    }

    /// The resource that verbs are called on.
    fn resource(self) -> String {
        let segment = |id| utf8_percent_encode(id, SEGMENT);
        match self {
            Self::Google(id) => format!("publishers/google/models/{}", segment(id)),
            Self::Anthropic(id) => format!("publishers/anthropic/models/{}", segment(id)),
            Self::Other(publisher, id) => format!("publishers/{}/models/{}", segment(publisher), segment(id)),
            Self::Endpoint(id) => format!("endpoints/{}", segment(id)),
            Self::Open(_) => "endpoints/openapi".to_owned(),
        }
    }
}

/// Where an operation is to be had.
///
/// # Errors
/// When the model id cannot stand in the path.
pub(super) fn place(asked: &Asked<'_>) -> Result<Place, UnsafeModel> {
    check(asked.model)?;
    let publisher = Publisher::of(asked.model);
    let wire = Wire::from(asked.framing);
    let path = match (asked.operation, publisher) {
        (Operation::MessagesCountTokens, _) => "/publishers/anthropic/models/count-tokens:rawPredict".to_owned(),
        (Operation::ChatCompletions, Publisher::Open(_)) => "/endpoints/openapi/chat/completions".to_owned(),
        (operation, publisher) => format!("/{}:{}", publisher.resource(), verb(operation, wire)),
    };
    Ok(Place { path, headers: headers(asked), wire, model_in_path: asked.operation.model_in_path() })
}

/// What is called on a model.
const fn verb(operation: Operation, wire: Wire) -> &'static str {
    match (operation, wire) {
        (Operation::GenerateContent, Wire::Sse) => "streamGenerateContent?alt=sse",
        (Operation::GenerateContent, Wire::JsonArray) => "streamGenerateContent",
        (Operation::GenerateContent, Wire::Whole) => "generateContent",
        (Operation::CountTokens, _) => "countTokens",
        (Operation::EmbedContent, _) => "embedContent",
        (Operation::Predict, _) => "predict",
        (_, Wire::Whole) => "rawPredict",
        _ => "streamRawPredict",
    }
}

fn headers(asked: &Asked<'_>) -> Vec<(&'static str, String)> {
    let flags: Vec<&str> = asked.head.into_iter().flat_map(|head| betas::taken(asked.operation, head)).collect();
    let is_messages = matches!(asked.operation, Operation::Messages | Operation::MessagesCountTokens);
    if is_messages && !flags.is_empty() { vec![("anthropic-beta", flags.join(","))] } else { Vec::new() }
}

/// Whether a model is served by this operation.
pub(super) fn serves(operation: Operation, model: &str) -> bool {
    match Publisher::of(model) {
        Publisher::Anthropic(_) => matches!(operation, Operation::Messages | Operation::MessagesCountTokens),
        Publisher::Other(..) | Publisher::Open(_) => operation == Operation::ChatCompletions,
        Publisher::Endpoint(_) => matches!(operation, Operation::GenerateContent | Operation::CountTokens),
        Publisher::Google(id) => match operation {
            Operation::GenerateContent | Operation::CountTokens => true,
            Operation::Predict => embeds_by_prediction(id),
            Operation::EmbedContent => !embeds_by_prediction(id),
            _ => false,
        },
    }
}

/// Embedding models before the second generation of Gemini's, which know no `embedContent` here.
fn embeds_by_prediction(id: &str) -> bool {
    id.starts_with("gemini-embedding-001") || id.starts_with("text-")
}

/// The id without its publisher.
pub(super) fn vendors_id(model: &str) -> &str {
    match Publisher::of(model) {
        Publisher::Google(id) | Publisher::Anthropic(id) | Publisher::Other(_, id) => id,
        Publisher::Endpoint(_) => model,
        Publisher::Open(model) => model.rsplit('/').next().unwrap_or(model),
    }
}

/// Google's name of the model below the location.
pub(super) fn resource_name(model: &str) -> String {
    Publisher::of(model).resource()
}

/// The body as Vertex AI wants it.
pub(super) fn adapt(operation: Operation, body: Bytes, report: &mut Report) -> Bytes {
    match operation {
        Operation::Messages | Operation::MessagesCountTokens => claude::adapt(operation, body, report),
        Operation::CountTokens => count::for_vertex(body),
        _ => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec::Head, framing::Framing};

    fn path(operation: Operation, model: &str, framing: Framing) -> Result<String, UnsafeModel> {
        place(&Asked { operation, model, framing, query: Some("beta=true"), head: None, surface: None })
            .map(|place| place.path)
    }

    #[test]
    fn publishers_apis_have_their_verbs() {
        for (operation, model, framing, expected) in [
            (
                Operation::GenerateContent,
                "gemini-2.5-pro",
                Framing::Whole,
                "/publishers/google/models/gemini-2.5-pro:generateContent",
            ),
            (
                Operation::GenerateContent,
                "google/gemini-x",
                Framing::Sse,
                "/publishers/google/models/gemini-x:streamGenerateContent?alt=sse",
            ),
            (
                Operation::GenerateContent,
                "models/gemini-x",
                Framing::JsonArray,
                "/publishers/google/models/gemini-x:streamGenerateContent",
            ),
            (Operation::GenerateContent, "endpoints/123", Framing::Whole, "/endpoints/123:generateContent"),
            (Operation::CountTokens, "gemini-x", Framing::Whole, "/publishers/google/models/gemini-x:countTokens"),
            (
                Operation::Predict,
                "text-embedding-005",
                Framing::Whole,
                "/publishers/google/models/text-embedding-005:predict",
            ),
            (
                Operation::Messages,
                "claude-x@20250929",
                Framing::Whole,
                "/publishers/anthropic/models/claude-x@20250929:rawPredict",
            ),
            (
                Operation::Messages,
                "publishers/anthropic/models/claude-x",
                Framing::Sse,
                "/publishers/anthropic/models/claude-x:streamRawPredict",
            ),
            (
                Operation::MessagesCountTokens,
                "claude-x",
                Framing::Whole,
                "/publishers/anthropic/models/count-tokens:rawPredict",
            ),
            (
                Operation::ChatCompletions,
                "mistral-large-2411",
                Framing::Sse,
                "/publishers/mistralai/models/mistral-large-2411:streamRawPredict",
            ),
            (
                Operation::ChatCompletions,
                "publishers/ai21/models/jamba",
                Framing::Whole,
                "/publishers/ai21/models/jamba:rawPredict",
            ),
            (Operation::ChatCompletions, "meta/llama-4", Framing::Sse, "/endpoints/openapi/chat/completions"),
        ] {
            assert_eq!(path(operation, model, framing).as_deref(), Ok(expected), "hard cases 247, 253: {model}");
        }
    }

    #[test]
    fn each_model_is_served_by_its_publishers_api_alone() {
        use Operation::{ChatCompletions, CountTokens, EmbedContent, GenerateContent, Messages, Predict};
        for (model, operations) in [
            ("gemini-2.5-pro", &[GenerateContent, CountTokens, EmbedContent][..]),
            ("gemini-embedding-001", &[GenerateContent, CountTokens, Predict]),
            ("claude-sonnet-4-5", &[Messages]),
            ("mistral-large", &[ChatCompletions]),
            ("qwen/qwen3", &[ChatCompletions]),
        ] {
            for operation in [ChatCompletions, CountTokens, EmbedContent, GenerateContent, Messages, Predict] {
                assert_eq!(serves(operation, model), operations.contains(&operation), "{model} {operation}");
            }
        }
        assert_eq!(vendors_id("publishers/anthropic/models/claude-x@1"), "claude-x@1");
        assert_eq!(vendors_id("deepseek-ai/deepseek-v3"), "deepseek-v3");
    }

    #[test]
    fn model_that_could_leave_its_place_is_refused() {
        for model in
            ["..", "publishers/../models/x", "a//b", "publishers/google/models/../x", "a?x", "a%2fb", r"a\b", ""]
        {
            for operation in [Operation::GenerateContent, Operation::Messages, Operation::ChatCompletions] {
                assert!(path(operation, model, Framing::Whole).is_err(), "{model:?}");
            }
        }
        assert_eq!(
            path(Operation::GenerateContent, "publishers/google/models/a:b/c", Framing::Whole).as_deref(),
            Ok("/publishers/google/models/a%3Ab%2Fc:generateContent")
        );
    }

    #[test]
    fn hard_cases_245_and_246_only_known_flags_are_passed_on() {
        let flags = ["context-1m-2025-08-07", "files-api-2025-04-14", "prompt-caching-2024-07-31"];
        let head = Head { anthropic_beta: flags.map(str::to_owned).to_vec(), ..Head::default() };
        let asked = |operation| Asked {
            operation,
            model: "claude-x",
            framing: Framing::Whole,
            query: None,
            head: Some(&head),
            surface: None,
        };
        let messages = place(&asked(Operation::Messages)).unwrap();
        assert_eq!(messages.headers, [("anthropic-beta", "context-1m-2025-08-07".to_owned())]);
        assert!(place(&asked(Operation::MessagesCountTokens)).unwrap().headers.is_empty());
        let mut report = Report::new(crate::report::Mode::Default);
        betas::report(Operation::Messages, &head, &mut report);
        let warnings: Vec<String> = report.finish().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("files-api-2025-04-14"), "{warnings:?}");
    }

    proptest::proptest! {
        /// Whatever is written, it stays below the location, in one model's place.
        #[test]
        fn no_model_escapes(model in r"[a-z./\\%?#;:&@ \x00-\x20é]{0,24}") {
            if let Ok(path) = path(Operation::GenerateContent, &model, Framing::Whole) {
                let inner = path.strip_suffix(":generateContent").unwrap();
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%/@".contains(&byte);
                proptest::prop_assert!(inner.bytes().all(plain), "{path}");
                proptest::prop_assert!(!inner.split('/').skip(1).any(|one| matches!(one, "" | "." | "..")), "{path}");
            }
        }
    }
}
