//! The Responses that an upstream keeps, as OpenAI does unless it is told not to: they can be gone on from, read again,
//! listed and deleted.

use super::check::Check;
use super::event::Event;
use super::refusal::Refusal;
use super::stage::Reply;
use hyper::{Method, Uri};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What is asked of one, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct About {
    id: String,
    /// `cancel`, `input_items`, or nothing.
    what: String,
}

#[derive(Debug)]
struct Kept {
    document: Value,
    input: Value,
    events: Vec<Event>,
}

/// As many as a test goes on from; older ones are forgotten.
const MOST: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Store(Mutex<BTreeMap<String, Kept>>);

impl About {
    /// Of `/v1/responses/{id}` and what is below it.
    pub fn at(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/v1/responses/")?;
        let (id, what) = rest.split_once('/').unwrap_or((rest, ""));
        Some(Self { id: id.to_owned(), what: what.to_owned() })
    }
}

impl Store {
    /// Whether a request goes on from something that is here, if it goes on from anything.
    pub fn check(&self, body: &Value) -> Check {
        let Some(id) = body["previous_response_id"].as_str() else { return Ok(()) };
        if self.0.lock().unwrap().contains_key(id) {
            return Ok(());
        }
        Err(Refusal::invalid("previous_response_id", format!("Previous response with id '{id}' not found.")))
    }

    /// Keeps an answer, unless the request forbids it.
    pub fn keep(&self, body: &Value, mut document: Value, events: Vec<Event>) -> Value {
        let stores = body["store"] != json!(false);
        document["store"] = json!(stores);
        document["previous_response_id"] = body["previous_response_id"].clone();
        if stores {
            let kept = Kept { document: document.clone(), input: body["input"].clone(), events };
            let mut all = self.0.lock().unwrap();
            all.insert(document["id"].as_str().unwrap_or_default().to_owned(), kept);
            if all.len() > MOST {
                all.pop_first();
            }
        }
        document
    }

    /// Answers a call about one.
    pub fn answer(&self, about: &About, method: &Method, uri: &Uri) -> Check<Reply> {
        let About { id, what } = about;
        let mut all = self.0.lock().unwrap();
        let Some(kept) = all.get_mut(id) else {
            return Err(Refusal::of(404, format!("Response with id '{id}' not found.")));
        };
        let parameter = |name: &str| {
            let mut pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(given, _)| *given == name).map(|(_, value)| value.to_owned())
        };
        let document = match (method.as_str(), what.as_str()) {
            ("GET", "") if parameter("stream").as_deref() == Some("true") => {
                let from = parameter("starting_after").and_then(|number| number.parse::<usize>().ok());
                let events = kept.events.iter().skip(from.map_or(0, |last| last + 1)).cloned().collect();
                let content_type = "text/event-stream; charset=utf-8";
                return Ok(Reply::Stream {
                    events,
                    heartbeat: Event::raw(": k\n\n"),
                    error: Event::raw(""),
                    content_type,
                });
            }
            ("GET", "") => kept.document.clone(),
            ("DELETE", "") => {
                all.remove(id);
                json!({"id": id, "object": "response", "deleted": true})
            }
            ("POST", "cancel") => {
                kept.document["status"] = json!("cancelled");
                kept.document.clone()
            }
            ("GET", "input_items") => {
                let item = json!({"type": "message", "id": "msg_in", "role": "user", "status": "completed",
                    "content": [{"type": "input_text", "text": kept.input}]});
                json!({"object": "list", "data": [item], "first_id": "msg_in", "last_id": "msg_in", "has_more": false})
            }
            _ => return Err(Refusal::of(404, "Unknown request URL. Please check the URL for typos.")),
        };
        Ok(Reply::Document(document, 0))
    }
}
