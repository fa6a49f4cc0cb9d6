//! Hints about base URLs that are valid but probably not what was meant: a version segment is missing or superfluous, or
//! the URL ends with the path of an operation. Such a provider is accepted with a hint, since a server may live at any path.

use routeapi_crds::value::ProviderType;

use crate::address::Address;

/// OpenAI-compatible vendors whose documented base URL has no version segment (docs.perplexity.ai, api-docs.deepseek.com).
const WITHOUT_VERSION: [&str; 2] = ["api.perplexity.ai", "api.deepseek.com"];

/// Paths that clients of an OpenAI-compatible API append to its base URL.
const OPENAI_OPERATIONS: [&str; 11] = [
    "/chat/completions",
    "/completions",
    "/responses",
    "/embeddings",
    "/models",
    "/moderations",
    "/images/generations",
    "/audio/speech",
    "/audio/transcriptions",
    "/rerank",
    "/score",
];

/// What looks like a mistake in a base URL, beginning with the field.
pub(crate) fn hint(type_: ProviderType, address: &Address) -> Option<String> {
    let what = match type_ {
        ProviderType::OpenAI => openai(address),
        ProviderType::Anthropic => versioned(address, "/v1/messages", &["/v1/messages", "/v1"]),
        ProviderType::Gemini => {
            let appended = "/v1beta/models/MODEL:generateContent";
            versioned(address, appended, &["/v1beta/openai", "/v1beta/models", "/v1beta", "/v1/models", "/v1"])
        }
        ProviderType::Echo | ProviderType::AzureOpenAI | ProviderType::Bedrock | ProviderType::VertexAI => None,
    };
    what.map(|what| format!("spec.baseURL: {what}"))
}

fn openai(address: &Address) -> Option<String> {
    let url = &address.url;
    if let Some((base, operation)) =
        OPENAI_OPERATIONS.iter().find_map(|operation| Some((url.strip_suffix(operation)?, operation)))
    {
        return Some(format!(
            "{url:?} ends with {operation}, which the gateway appends itself; did you mean {base:?}?"
        ));
    }
    let bare = path(url).is_empty() && !WITHOUT_VERSION.contains(&address.host.as_str());
    bare.then(|| {
        format!(
            "{url:?} has no version segment, so requests go to {url}/chat/completions; did you mean {:?}?",
            format!("{url}/v1")
        )
    })
}

/// Types whose base URL is written without the version; `ends` are the longest first.
fn versioned(address: &Address, appended: &str, ends: &[&str]) -> Option<String> {
    let url = &address.url;
    let base = ends.iter().find_map(|end| url.strip_suffix(end))?;
    Some(format!(
        "{url:?} has a version segment, which the gateway appends itself, so requests go to {url}{appended}; did you \
         mean {base:?}?"
    ))
}

/// The path of a URL as [`Address`] holds it, without a trailing slash.
fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use routeapi_crds::value::AddressPolicy;

    use super::*;
    use crate::{Options, address};

    fn hint_for(type_: ProviderType, url: &str) -> Option<String> {
        let options = Options { addresses: AddressPolicy::Workstation.into(), ..Options::default() };
        hint(type_, &address::check(url, &options).unwrap())
    }

    #[test]
    fn common_mistakes_in_base_urls_get_a_hint() {
        use ProviderType::{Anthropic, Gemini, OpenAI};
        for (type_, url, meant) in [
            (OpenAI, "https://api.openai.com", "\"https://api.openai.com/v1\""),
            (OpenAI, "https://api.openai.com/", "\"https://api.openai.com/v1\""),
            (OpenAI, "http://ollama:11434", "\"http://ollama:11434/v1\""),
            (OpenAI, "http://localhost:11434/", "\"http://localhost:11434/v1\""),
            (OpenAI, "https://api.openai.com/v1/chat/completions", "\"https://api.openai.com/v1\""),
            (OpenAI, "https://api.openai.com/v1/responses/", "\"https://api.openai.com/v1\""),
            (OpenAI, "http://vllm.ai.svc:8000/v1/completions", "\"http://vllm.ai.svc:8000/v1\""),
            (OpenAI, "http://tei.ai.svc/v1/embeddings", "\"http://tei.ai.svc/v1\""),
            (OpenAI, "http://vllm.ai.svc/v1/rerank", "\"http://vllm.ai.svc/v1\""),
            (OpenAI, "http://tts.ai.svc/v1/audio/speech", "\"http://tts.ai.svc/v1\""),
            (Anthropic, "https://api.anthropic.com/v1", "\"https://api.anthropic.com\""),
            (Anthropic, "https://api.anthropic.com/v1/messages", "\"https://api.anthropic.com\""),
            (
                Gemini,
                "https://generativelanguage.googleapis.com/v1beta",
                "\"https://generativelanguage.googleapis.com\"",
            ),
            (Gemini, "https://generativelanguage.googleapis.com/v1/", "\"https://generativelanguage.googleapis.com\""),
            (
                Gemini,
                "https://generativelanguage.googleapis.com/v1beta/openai",
                "\"https://generativelanguage.googleapis.com\"",
            ),
        ] {
            let hint = hint_for(type_, url).unwrap_or_else(|| panic!("no hint for {url}"));
            assert!(hint.starts_with("spec.baseURL: ") && hint.contains(meant), "{url}: {hint}");
        }
    }

    #[test]
    fn documented_base_urls_get_no_hint() {
        use ProviderType::{Anthropic, Gemini, OpenAI};
        for (type_, url) in [
            (OpenAI, "https://api.openai.com/v1"),
            (OpenAI, "https://api.groq.com/openai/v1"),
            (OpenAI, "https://api.deepseek.com"),
            (OpenAI, "https://api.perplexity.ai"),
            (OpenAI, "https://models.github.ai/inference"),
            (OpenAI, "https://generativelanguage.googleapis.com/v1beta/openai"),
            (OpenAI, "http://vllm.ai.svc:8000/v1/"),
            (Anthropic, "https://api.anthropic.com"),
            (Anthropic, "https://api.deepseek.com/anthropic"),
            (Gemini, "https://generativelanguage.googleapis.com/"),
        ] {
            assert_eq!(hint_for(type_, url), None, "{url}");
        }
    }
}
