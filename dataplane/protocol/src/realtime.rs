//! Events of OpenAI's Realtime API (docs/protocols/realtime.md): what the gateway reads in them, and the one that it writes.
//!
//! Both ways events are passed on as they come. Of a client's, only those are changed or refused that name a model:
//! [`check`]. Of a server's, usage and what an answer is made of is counted: [`Answers`].

mod client;
mod server;

use crate::problem::{Problem, render::openai_error};

pub use self::{
    client::{Refused, check},
    server::Answers,
};

/// An `error` event. `id` is one without a prefix; `about` is the id of the client's event that is to blame, if it has one.
pub fn error_event(problem: &Problem, id: &str, about: Option<&str>) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let error = openai_error(problem);
    let error = error.strip_suffix('}').unwrap_or(&error);
    let about = about.map_or_else(|| "null".to_owned(), text);
    let id = text(&format!("event_{id}"));
    format!("{{\"type\":\"error\",\"event_id\":{id},\"error\":{error},\"event_id\":{about}}}}}")
}

#[cfg(test)]
mod tests;
