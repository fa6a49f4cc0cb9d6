//! What an upstream says it offers: its own model list, read.
//!
//! | family | path | members read |
//! |---|---|---|
//! | OpenAI and servers that follow it | `/models` | `id`, `created`; `context_window` (Groq), `context_length` (OpenRouter), `max_model_len` (vLLM), `max_completion_tokens` |
//! | Anthropic | `/v1/models` | `id`, `display_name`, `created_at`, `max_input_tokens`, `max_tokens` |
//! | Gemini | `/v1beta/models` | `name`, `displayName`, `inputTokenLimit`, `outputTokenLimit` |
//!
//! One page is read, of the largest size that a vendor has. What is no model, or named at an absurd length, is left out.

use serde::Deserialize;

use crate::dialect::Family;

/// Most models of one upstream.
pub const MAX_MODELS: usize = 2_000;
/// Longest id and longest display name, in bytes.
const MAX_NAME: usize = 253;

/// A model that an upstream offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfferedModel {
    /// The id that requests name.
    pub id: String,
    /// What people call it.
    pub display_name: Option<String>,
    /// Seconds since 1970.
    pub created: Option<i64>,
    /// Most input tokens, or the whole context where a server has one bound for both.
    pub input_limit: Option<u64>,
    /// Most output tokens.
    pub output_limit: Option<u64>,
}

/// Where the list is, below a provider's base URL.
pub const fn path(family: Family) -> &'static str {
    match family {
        Family::OpenAi => "/models",
        Family::Anthropic => "/v1/models?limit=1000",
        Family::Gemini => "/v1beta/models?pageSize=1000",
        // Converse has no list; OpenAI's dialect beside it does.
        Family::Bedrock => "/openai/v1/models",
    }
}

/// Reads a list, in the order of their ids; none if it is no such list.
pub fn read(family: Family, body: &[u8]) -> Option<Vec<OfferedModel>> {
    let mut models: Vec<OfferedModel> = match family {
        Family::OpenAi | Family::Bedrock => {
            serde_json::from_slice::<Data<OpenAi>>(body).ok()?.data.into_iter().map(Into::into).collect()
        }
        Family::Anthropic => {
            serde_json::from_slice::<Data<Anthropic>>(body).ok()?.data.into_iter().map(Into::into).collect()
        }
        Family::Gemini => serde_json::from_slice::<Models>(body).ok()?.models.into_iter().map(Into::into).collect(),
    };
    models.retain(|model| !model.id.is_empty() && model.id.len() <= MAX_NAME && !model.id.contains(char::is_control));
    for model in &mut models {
        model.display_name.take_if(|name| name.len() > MAX_NAME || name.is_empty());
    }
    models.sort_by(|a, b| a.id.cmp(&b.id));
    models.dedup_by(|a, b| a.id == b.id);
    models.truncate(MAX_MODELS);
    Some(models)
}

#[derive(Deserialize)]
struct Data<M> {
    data: Vec<M>,
}

#[derive(Deserialize)]
struct Models {
    models: Vec<Gemini>,
}

#[derive(Deserialize)]
struct OpenAi {
    id: String,
    #[serde(default, deserialize_with = "lenient")]
    created: Option<i64>,
    #[serde(default, deserialize_with = "lenient", alias = "context_length", alias = "max_model_len")]
    context_window: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    max_completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Anthropic {
    id: String,
    display_name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    created_at: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    max_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    max_tokens: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gemini {
    name: String,
    display_name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    input_token_limit: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    output_token_limit: Option<u64>,
}

/// A value that may be of another type than a vendor documents: then it says nothing.
fn lenient<'de, D: serde::Deserializer<'de>, T: serde::de::DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).ok())
}

impl From<OpenAi> for OfferedModel {
    fn from(model: OpenAi) -> Self {
        let OpenAi { id, created, context_window, max_completion_tokens } = model;
        Self { id, display_name: None, created, input_limit: context_window, output_limit: max_completion_tokens }
    }
}

impl From<Anthropic> for OfferedModel {
    fn from(model: Anthropic) -> Self {
        let Anthropic { id, display_name, created_at, max_input_tokens, max_tokens } = model;
        let created = created_at.and_then(|at| at.parse::<jiff::Timestamp>().ok()).map(jiff::Timestamp::as_second);
        Self { id, display_name, created, input_limit: max_input_tokens, output_limit: max_tokens }
    }
}

impl From<Gemini> for OfferedModel {
    fn from(model: Gemini) -> Self {
        let Gemini { name, display_name, input_token_limit, output_token_limit } = model;
        let id = name.strip_prefix("models/").unwrap_or(&name).to_owned();
        Self { id, display_name, created: None, input_limit: input_token_limit, output_limit: output_token_limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_familys_list_is_read() {
        let openai = br#"{"object":"list","data":[{"id":"b","created":7,"owned_by":"x","max_model_len":4096},
            {"id":"a","created":"soon","context_window":"many"}]}"#;
        let named = |id: &str| OfferedModel { id: id.into(), ..OfferedModel::default() };
        assert_eq!(
            read(Family::OpenAi, openai).unwrap(),
            [named("a"), OfferedModel { created: Some(7), input_limit: Some(4096), ..named("b") }]
        );
        let anthropic =
            br#"{"data":[{"type":"model","id":"claude","display_name":"Claude","created_at":"2024-02-29T12:34:56Z",
            "max_input_tokens":200000,"max_tokens":64000}],"has_more":false}"#;
        let claude = OfferedModel {
            display_name: Some("Claude".into()),
            created: Some(1_709_210_096),
            input_limit: Some(200_000),
            output_limit: Some(64_000),
            ..named("claude")
        };
        assert_eq!(read(Family::Anthropic, anthropic).unwrap(), [claude]);
        let gemini = br#"{"models":[{"name":"models/g","displayName":"G","inputTokenLimit":10,"outputTokenLimit":5}]}"#;
        let model =
            OfferedModel { display_name: Some("G".into()), input_limit: Some(10), output_limit: Some(5), ..named("g") };
        assert_eq!(read(Family::Gemini, gemini).unwrap(), [model]);
    }

    #[test]
    fn what_is_no_list_is_none_and_absurd_lists_are_cut() {
        for body in ["", "[]", "{}", r#"{"data":{}}"#, "<html>", r#"{"models":[]}"#] {
            assert_eq!(read(Family::OpenAi, body.as_bytes()), None, "{body}");
        }
        let many: Vec<String> = (0..5_000).map(|number| format!(r#"{{"id":"m{number}"}}"#)).collect();
        let many =
            format!(r#"{{"data":[{},{{"id":""}},{{"id":"a\u0000"}},{{"id":"{}"}}]}}"#, many.join(","), "x".repeat(300));
        let read = read(Family::OpenAi, many.as_bytes()).unwrap();
        assert_eq!(read.len(), MAX_MODELS);
        assert!(read.iter().all(|model| model.id.starts_with('m')));
    }
}
