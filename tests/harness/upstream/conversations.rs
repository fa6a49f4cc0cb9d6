//! The conversations that an upstream keeps, as OpenAI does: requests to `/v1/responses` go on in them, and their items are
//! listed, added and deleted.

use super::check::Check;
use super::refusal::Refusal;
use super::stage::Reply;
use hyper::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What is asked of one, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// Empty where one is made.
    id: String,
    /// Whether its items are meant.
    items: bool,
    item: Option<String>,
}

#[derive(Debug, Default)]
struct Kept {
    metadata: Value,
    items: Vec<Value>,
}

/// As many as a test goes on in; older ones are forgotten.
const MOST: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Conversations(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    made: u64,
    kept: BTreeMap<String, Kept>,
}

impl About {
    /// Of `/v1/conversations` and what is below it.
    pub fn at(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/v1/conversations")?;
        let mut parts = rest.split('/').skip(1);
        let id = parts.next().unwrap_or_default().to_owned();
        let items = parts.next().is_some_and(|part| part == "items");
        Some(Self { id, items, item: parts.next().map(str::to_owned) })
    }
}

impl Conversations {
    /// The one that a request goes on in; an error if it is not here.
    pub fn named(&self, body: &Value) -> Check<Option<String>> {
        let stated = &body["conversation"];
        let Some(id) = stated.as_str().or_else(|| stated["id"].as_str()) else { return Ok(None) };
        if self.0.lock().unwrap().kept.contains_key(id) { Ok(Some(id.to_owned())) } else { Err(not_found(id)) }
    }

    /// Adds what a request said and what was answered.
    pub fn add(&self, id: &str, input: &Value, output: &Value) {
        let mut all = self.0.lock().unwrap();
        let number = all.made + 1;
        all.made = number;
        let Some(kept) = all.kept.get_mut(id) else { return };
        let said = match input {
            Value::String(text) => vec![message(number, 0, text)],
            Value::Array(items) => items.clone(),
            _ => Vec::new(),
        };
        kept.items.extend(said);
        kept.items.extend(output.as_array().into_iter().flatten().cloned());
    }

    /// Answers a call about one.
    pub fn answer(&self, about: &About, method: &Method, body: &[u8]) -> Check<Reply> {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let mut all = self.0.lock().unwrap();
        if about.id.is_empty() {
            return Ok(Reply::Document(all.create(&body), 0));
        }
        let number = all.made + 1;
        all.made = number;
        let id = &about.id;
        let Some(kept) = all.kept.get_mut(id) else { return Err(not_found(id)) };
        let document = match (method.as_str(), about.items, &about.item) {
            ("GET", false, None) => kept.document(id),
            ("POST", false, None) => {
                kept.metadata = body["metadata"].clone();
                kept.document(id)
            }
            ("DELETE", false, None) => {
                all.kept.remove(id);
                json!({"id": id, "object": "conversation.deleted", "deleted": true})
            }
            ("GET", true, None) => page(&kept.items),
            ("POST", true, None) => {
                let added = stated(&body, number);
                kept.items.extend(added.clone());
                page(&added)
            }
            ("GET", true, Some(item)) => {
                let found = kept.items.iter().find(|kept| kept["id"] == item.as_str());
                found.cloned().ok_or_else(|| Refusal::of(404, format!("Item with id '{item}' not found.")))?
            }
            ("DELETE", true, Some(item)) => {
                kept.items.retain(|kept| kept["id"] != item.as_str());
                kept.document(id)
            }
            _ => return Err(Refusal::of(404, "Unknown request URL. Please check the URL for typos.")),
        };
        Ok(Reply::Document(document, 0))
    }
}

impl All {
    fn create(&mut self, body: &Value) -> Value {
        self.made += 1;
        let id = format!("conv_{:08}", self.made);
        let metadata = if body["metadata"].is_object() { body["metadata"].clone() } else { json!({}) };
        let kept = Kept { metadata, items: stated(body, self.made) };
        let document = kept.document(&id);
        self.kept.insert(id, kept);
        if self.kept.len() > MOST {
            self.kept.pop_first();
        }
        document
    }
}

impl Kept {
    fn document(&self, id: &str) -> Value {
        json!({"id": id, "object": "conversation", "created_at": super::CREATED, "metadata": self.metadata})
    }
}

/// The items of a body, with ids.
fn stated(body: &Value, number: u64) -> Vec<Value> {
    let items = body["items"].as_array().into_iter().flatten().enumerate();
    let text = |item: &Value| {
        let content = &item["content"];
        content.as_str().or_else(|| content[0]["text"].as_str()).unwrap_or_default().to_owned()
    };
    items.map(|(at, item)| message(number, at, &text(item))).collect()
}

fn message(number: u64, at: usize, text: &str) -> Value {
    json!({"type": "message", "id": format!("msg_{number}_{at}"), "role": "user", "status": "completed",
        "content": [{"type": "input_text", "text": text}]})
}

fn page(items: &[Value]) -> Value {
    let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    json!({"object": "list", "data": items, "first_id": id(items.first()), "last_id": id(items.last()),
        "has_more": false})
}

fn not_found(id: &str) -> Refusal {
    Refusal::of(404, format!("Conversation with id '{id}' not found."))
}
