//! The Echo upstream in a session of the Realtime API: text in, text out. The last user text after a prefix, as everywhere;
//! sound is counted and not understood.

use serde_json::{Value, json};

use super::{ask::Ask, say::Say};
use crate::{
    estimate,
    ir::Delta,
    problem::{Problem, ProblemKind},
    realtime::error_event,
    scan::Scan,
};

/// Longest event that is read as a tree, in bytes.
const MAX_EVENT: usize = 256 << 10;

/// A session. What it holds is bounded by one event.
#[derive(Debug)]
pub struct EchoSession {
    model: String,
    /// The last user text.
    text: String,
    /// Characters of the conversation.
    chars: u64,
    /// Counts items, answers and events.
    count: u64,
}

impl EchoSession {
    /// One that has not begun.
    pub fn new(model: &str) -> Self {
        Self { model: model.to_owned(), text: String::new(), chars: 0, count: 0 }
    }

    /// What it says first.
    pub fn begin(&mut self) -> Vec<String> {
        let session = self.session(Value::Null);
        vec![self.event("session.created", json!({"session": session}))]
    }

    /// What it says to a client's event.
    pub fn hear(&mut self, event: &[u8]) -> Vec<String> {
        let scan = Scan::read(event).ok();
        let kind = scan.as_ref().and_then(|scan| scan.last(event, "type")?.text(event));
        match kind.as_deref() {
            // Whatever its length, there is nothing to read in sound.
            Some("input_audio_buffer.append") => Vec::new(),
            Some("input_audio_buffer.clear") => vec![self.event("input_audio_buffer.cleared", json!({}))],
            Some("response.cancel") => Vec::new(),
            Some("session.update" | "conversation.item.create" | "input_audio_buffer.commit" | "response.create")
                if event.len() > MAX_EVENT =>
            {
                vec![self.wrong(&format!("the Echo upstream reads at most {MAX_EVENT} bytes of such an event"))]
            }
            Some("session.update") => {
                let session = self.session(member(event, "session"));
                vec![self.event("session.updated", json!({"session": session}))]
            }
            Some("conversation.item.create") => self.add(member(event, "item")),
            Some("input_audio_buffer.commit") => {
                let item = json!({"type": "message", "role": "user", "content": [{"type": "input_audio"}]});
                let mut said = vec![self.event("input_audio_buffer.committed", json!({"item_id": "item_audio"}))];
                said.extend(self.add(item));
                said
            }
            Some("response.create") => self.answer(),
            Some(other) => {
                let other: String = other.chars().take(64).collect();
                vec![self.wrong(&format!("the Echo upstream does not know events of type {other:?}"))]
            }
            None => vec![self.wrong("an event needs a type")],
        }
    }

    fn add(&mut self, mut item: Value) -> Vec<String> {
        let parts = item.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect();
        let text = if parts.is_empty() {
            item.get("output").and_then(Value::as_str).unwrap_or_default().to_owned()
        } else {
            texts.join("\n")
        };
        self.chars = self.chars.saturating_add(text.chars().count() as u64);
        if !text.is_empty() {
            self.text = text;
        }
        let id = self.name("item");
        if let Some(item) = item.as_object_mut() {
            item.entry("id").or_insert_with(|| id.into());
            item.insert("object".to_owned(), "realtime.item".into());
            item.insert("status".to_owned(), "completed".into());
        }
        let added = json!({"previous_item_id": null, "item": item});
        vec![self.event("conversation.item.added", added.clone()), self.event("conversation.item.done", added)]
    }

    fn answer(&mut self) -> Vec<String> {
        let say = Say::to(&Ask { text: self.text.clone(), ..Ask::default() });
        let deltas = say.deltas().into_iter().filter_map(|delta| match delta {
            Delta::Text(text) => Some(text),
            _ => None,
        });
        let deltas: Vec<String> = deltas.collect();
        let text = deltas.concat();
        let (input, output) = (estimate::output_tokens(self.chars).max(1), estimate::output_tokens(say.chars()).max(1));
        self.chars = self.chars.saturating_add(say.chars());
        let (id, item_id) = (self.name("resp"), self.name("item"));
        let response = |status: &str, output: Value, usage: Value| {
            json!({"response": {"object": "realtime.response", "id": id, "status": status, "status_details": null,
                "output": output, "output_modalities": ["text"], "usage": usage, "metadata": null}})
        };
        let item = |status: &str, content: Value| {
            json!({"id": item_id, "object": "realtime.item", "type": "message", "status": status, "role": "assistant",
                "content": content})
        };
        let part = json!([{"type": "output_text", "text": text}]);
        let of_item = |more: Value| with(json!({"response_id": id, "output_index": 0}), more);
        let of_part = |more: Value| with(of_item(json!({"item_id": item_id, "content_index": 0})), more);
        let usage = json!({"total_tokens": input + output, "input_tokens": input, "output_tokens": output,
            "input_token_details": {"text_tokens": input, "audio_tokens": 0, "cached_tokens": 0},
            "output_token_details": {"text_tokens": output, "audio_tokens": 0}});
        let mut said = vec![
            ("response.created", response("in_progress", json!([]), Value::Null)),
            ("response.output_item.added", of_item(json!({"item": item("in_progress", json!([]))}))),
            ("response.content_part.added", of_part(json!({"part": {"type": "text", "text": ""}}))),
        ];
        said.extend(deltas.iter().map(|delta| ("response.output_text.delta", of_part(json!({"delta": delta})))));
        said.extend([
            ("response.output_text.done", of_part(json!({"text": text}))),
            ("response.content_part.done", of_part(json!({"part": {"type": "text", "text": text}}))),
            ("response.output_item.done", of_item(json!({"item": item("completed", part.clone())}))),
            ("response.done", response("completed", json!([item("completed", part)]), usage)),
        ]);
        said.into_iter().map(|(kind, event)| self.event(kind, event)).collect()
    }

    /// The session as it is told, with what the client has set in it.
    fn session(&self, set: Value) -> Value {
        let session = json!({"object": "realtime.session", "id": "sess_echo", "type": "realtime",
            "output_modalities": ["text"]});
        with(with(session, set), json!({"model": self.model}))
    }

    fn wrong(&mut self, message: &str) -> String {
        self.count += 1;
        let problem = Problem::new(ProblemKind::InvalidRequest, message.to_owned());
        error_event(&problem, &self.count.to_string(), None)
    }

    fn event(&mut self, kind: &str, event: Value) -> String {
        let id = self.name("event");
        with(json!({"type": kind, "event_id": id}), event).to_string()
    }

    fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}_echo_{}", self.count)
    }
}

/// A member of an event as a tree; the event's length has been looked at.
fn member(event: &[u8], name: &str) -> Value {
    let event: Value = serde_json::from_slice(event).unwrap_or_default();
    event.get(name).cloned().unwrap_or_default()
}

/// An object with the members of another.
fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realtime::Answers;

    fn hear(session: &mut EchoSession, event: &Value) -> Vec<Value> {
        let said = session.hear(event.to_string().as_bytes());
        said.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    #[test]
    fn a_text_is_echoed_with_a_usage_that_the_gateway_reads() {
        let mut session = EchoSession::new("m");
        let begun: Value = serde_json::from_str(&session.begin()[0]).unwrap();
        assert_eq!((&begun["type"], &begun["session"]["model"]), (&json!("session.created"), &json!("m")));
        let item =
            json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello there"}]});
        let added = hear(&mut session, &json!({"type": "conversation.item.create", "item": item}));
        assert_eq!(added[0]["type"], "conversation.item.added");
        let said = hear(&mut session, &json!({"type": "response.create"}));
        let deltas: String = said.iter().filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(deltas, "Echo: hello there");
        let done = said.last().unwrap();
        assert_eq!(done["type"], "response.done");
        let mut answers = Answers::default();
        for event in &said {
            answers.read(event.to_string().as_bytes());
        }
        let usage = &done["response"]["usage"];
        assert_eq!(answers.settled().total(), usage["total_tokens"].as_u64().unwrap());
    }

    #[test]
    fn settings_are_told_back_and_unknown_events_are_refused() {
        let mut session = EchoSession::new("m");
        let update = json!({"type": "session.update", "session": {"instructions": "be kind", "model": "x"}});
        let updated = &hear(&mut session, &update)[0];
        assert_eq!(
            (&updated["session"]["instructions"], &updated["session"]["model"]),
            (&json!("be kind"), &json!("m"))
        );
        assert!(hear(&mut session, &json!({"type": "input_audio_buffer.append", "audio": "AAAA"})).is_empty());
        for event in [json!({"type": "nonsense"}), json!({}), json!([])] {
            assert_eq!(hear(&mut session, &event)[0]["type"], "error", "{event}");
        }
    }
}
