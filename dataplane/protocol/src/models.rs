//! The list of models in each vendor's shape. Which models exist, and who may see them, is decided elsewhere.
//!
//! OpenAI's list has no pages. Anthropic's and Google's page through it; the cursors are model ids, so that a list
//! which changes between two pages neither repeats nor skips the models that stay. Entries come in the order given.

pub mod offered;

use serde_json::{Map, Value, json};

use crate::inbound::{ModelList, percent_decoded};

/// What a list says of one model.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelEntry<'a> {
    /// The id that clients send.
    pub id: &'a str,
    /// Whose it is, for OpenAI's `owned_by`.
    pub owned_by: &'a str,
    /// Seconds since 1970.
    pub created: i64,
    /// What people call it; none for its id.
    pub display_name: Option<&'a str>,
    /// Most input tokens, if that is known.
    pub input_limit: Option<u64>,
    /// Most output tokens, if that is known.
    pub output_limit: Option<u64>,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paging {
    /// At most so many entries.
    pub limit: Option<usize>,
    /// Only what follows this id.
    pub after: Option<String>,
    /// Only what precedes this id (Anthropic).
    pub before: Option<String>,
}

/// Most entries on a page, whatever a client asks for (both vendors' own limit).
const MOST: usize = 1_000;

impl Paging {
    /// Reads `limit`, `after_id`, `before_id`, `pageSize` and `pageToken`. What is not a number, or is 0, sets no limit.
    pub fn from_query(query: Option<&str>) -> Self {
        let mut paging = Self::default();
        for (name, value) in query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')) {
            let value = percent_decoded(value);
            match name {
                "limit" | "pageSize" | "page_size" => paging.limit = value.parse().ok().filter(|limit| *limit > 0),
                "after_id" | "pageToken" | "page_token" if !value.is_empty() => paging.after = Some(value.into_owned()),
                "before_id" if !value.is_empty() => paging.before = Some(value.into_owned()),
                _ => {}
            }
        }
        paging
    }

    /// The entries asked for, and whether more follow.
    fn of<'e, 'a>(&self, entries: &'e [ModelEntry<'a>]) -> (&'e [ModelEntry<'a>], bool) {
        let limit = self.limit.unwrap_or(MOST).min(MOST);
        let place = |id: &String| entries.iter().position(|entry| entry.id == id);
        if let Some(end) = self.before.as_ref().and_then(place) {
            let start = end.saturating_sub(limit);
            return (entries.get(start..end).unwrap_or_default(), start > 0);
        }
        let start = self.after.as_ref().and_then(place).map_or(0, |place| place + 1);
        let rest = entries.get(start..).unwrap_or_default();
        (rest.get(..limit).unwrap_or(rest), rest.len() > limit)
    }
}

/// The list.
pub fn list(kind: ModelList, entries: &[ModelEntry<'_>], paging: &Paging) -> Vec<u8> {
    let shown = |page: &[ModelEntry<'_>]| page.iter().map(|entry| one(kind, *entry)).collect::<Vec<_>>();
    let body = match kind {
        ModelList::Shared | ModelList::OpenAi => json!({"object": "list", "data": shown(entries)}),
        ModelList::Anthropic => {
            let (page, more) = paging.of(entries);
            let id = |entry: Option<&ModelEntry<'_>>| entry.map(|entry| entry.id.to_owned());
            json!({"data": shown(page), "has_more": more, "first_id": id(page.first()), "last_id": id(page.last())})
        }
        ModelList::Gemini => {
            let (page, more) = paging.of(entries);
            let mut body = Map::new();
            body.insert("models".into(), shown(page).into());
            if let Some(last) = page.last().filter(|_| more) {
                body.insert("nextPageToken".into(), last.id.into());
            }
            Value::Object(body)
        }
    };
    body.to_string().into_bytes()
}

/// One entry by itself.
pub fn get(kind: ModelList, entry: ModelEntry<'_>) -> Vec<u8> {
    one(kind, entry).to_string().into_bytes()
}

fn one(kind: ModelList, entry: ModelEntry<'_>) -> Value {
    let display_name = entry.display_name.unwrap_or(entry.id);
    // OpenAI's own list has no limits; these are Groq's names, which clients know.
    let (mut body, [input, output]) = match kind {
        ModelList::Shared | ModelList::OpenAi => (
            json!({"id": entry.id, "object": "model", "created": entry.created, "owned_by": entry.owned_by}),
            ["context_window", "max_completion_tokens"],
        ),
        ModelList::Anthropic => (
            json!({"type": "model", "id": entry.id, "display_name": display_name, "created_at": rfc3339(entry.created)}),
            ["max_input_tokens", "max_tokens"],
        ),
        ModelList::Gemini => (
            json!({
                "name": format!("models/{}", entry.id),
                "baseModelId": entry.id,
                "version": "001",
                "displayName": display_name,
                "supportedGenerationMethods": [
                    "generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"
                ],
            }),
            ["inputTokenLimit", "outputTokenLimit"],
        ),
    };
    if let Some(members) = body.as_object_mut() {
        let limits = [(input, entry.input_limit), (output, entry.output_limit)];
        members.extend(limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?.into()))));
    }
    body
}

/// UTC, in whole seconds. A time that no calendar has becomes the epoch.
fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<ModelEntry<'static>> {
        ["a", "b", "c"]
            .map(|id| ModelEntry { id, owned_by: "ns", created: 1_709_210_096, ..ModelEntry::default() })
            .to_vec()
    }

    fn read(kind: ModelList, query: &str) -> Value {
        serde_json::from_slice(&list(kind, &entries(), &Paging::from_query(Some(query)))).expect("JSON")
    }

    #[test]
    fn each_vendor_has_its_shape() {
        let openai = read(ModelList::OpenAi, "limit=1");
        assert_eq!(openai["data"].as_array().map(Vec::len), Some(3));
        assert_eq!(
            openai["data"][0],
            json!({"id": "a", "object": "model", "created": 1_709_210_096, "owned_by": "ns"})
        );
        let anthropic = read(ModelList::Anthropic, "limit=1000");
        assert_eq!(anthropic["data"][0]["created_at"], "2024-02-29T12:34:56Z");
        assert_eq!((&anthropic["has_more"], &anthropic["last_id"]), (&json!(false), &json!("c")));
        let gemini = read(ModelList::Gemini, "");
        assert_eq!(gemini["models"][2]["name"], "models/c");
        assert!(gemini.get("nextPageToken").is_none());
    }

    #[test]
    fn limits_that_are_known_have_each_vendors_names() {
        let entry = ModelEntry {
            id: "a",
            display_name: Some("A"),
            input_limit: Some(200_000),
            output_limit: Some(64_000),
            ..ModelEntry::default()
        };
        for (kind, input, output, name) in [
            (ModelList::OpenAi, "context_window", "max_completion_tokens", "id"),
            (ModelList::Anthropic, "max_input_tokens", "max_tokens", "display_name"),
            (ModelList::Gemini, "inputTokenLimit", "outputTokenLimit", "displayName"),
        ] {
            let body: Value = serde_json::from_slice(&get(kind, entry)).expect("JSON");
            assert_eq!((&body[input], &body[output]), (&json!(200_000), &json!(64_000)), "{body}");
            assert!(body[name] == "A" || kind == ModelList::OpenAi, "{body}");
        }
    }

    #[test]
    fn pages_follow_each_other() {
        let first = read(ModelList::Gemini, "pageSize=2");
        assert_eq!(first["nextPageToken"], "b");
        assert_eq!(read(ModelList::Gemini, "pageSize=2&pageToken=b")["models"][0]["baseModelId"], "c");
        let second = read(ModelList::Anthropic, "limit=1&after_id=a");
        assert_eq!((&second["first_id"], &second["has_more"]), (&json!("b"), &json!(true)));
        assert_eq!(read(ModelList::Anthropic, "limit=1&before_id=c")["first_id"], "b");
        assert_eq!(read(ModelList::Anthropic, "limit=0")["data"].as_array().map(Vec::len), Some(3));
    }
}
