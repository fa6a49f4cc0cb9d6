//! A response object without what it holds: whose it is, how it ended and what it cost.

use serde_json::value::RawValue;

use crate::{
    codec::{
        chat, ids,
        json::{
            count::count,
            loose::Loose,
            read::{Object, Spelling},
        },
    },
    ir::{FinishReason, Usage},
    problem::{Problem, ProblemKind},
    usage,
};

/// Longest time that is read, in bytes.
const LONGEST_TIME: usize = 64;

/// What a response object says about the answer.
#[derive(Default)]
pub struct Outcome<'a> {
    pub id: Option<String>,
    pub model: Option<String>,
    /// Seconds since 1970.
    pub created: Option<i64>,
    pub status: Option<String>,
    pub usage: Option<Usage>,
    /// The items.
    pub output: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    reason: Option<String>,
}

impl<'a> Outcome<'a> {
    /// Reads it. What has another type than it should was not said.
    pub fn read(mut response: Object<'a>) -> Self {
        let mut word = |name: &str| text(response.take_raw(name)?);
        let (id, model, status) = (word("id"), word("model"), word("status"));
        let details = response.take_raw("incomplete_details");
        let reason = details.and_then(|raw| text(Object::from_raw(raw, Spelling::Exact).ok()?.take_raw("reason")?));
        Self {
            id: ids::of_answer(id),
            model: model.filter(|model| !model.is_empty()),
            created: response.take_raw("created_at").and_then(seconds),
            status,
            usage: response.take_raw("usage").and_then(|raw| usage::read(raw, usage::openai)),
            output: response.take_raw("output"),
            error: response.take_raw("error"),
            reason,
        }
    }

    /// Why it is no answer, if it is none.
    pub fn failure(&self) -> Option<Problem> {
        if let Some(problem) = self.error.and_then(chat::error) {
            return Some(problem);
        }
        let why = match self.status.as_deref() {
            Some("failed") => "the upstream's answer failed",
            Some("cancelled" | "canceled") => "the upstream cancelled its answer",
            Some("queued" | "in_progress") => "the upstream's answer is not finished",
            _ => return None,
        };
        Some(Problem::new(ProblemKind::Upstream, why))
    }

    /// Why it ended, given what it holds.
    pub fn finish(&self, called: bool, refused: bool) -> FinishReason {
        match self.status.as_deref() {
            // A call that was cut off is not complete, whatever has come of it.
            Some("incomplete") => match self.reason.as_deref() {
                Some(reason) => chat::finish_reason(reason, false, false),
                None => FinishReason::Other,
            },
            _ => chat::finish_reason("completed", called, refused),
        }
    }
}

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str::<Loose<'_>>(raw.get()).ok().map(Loose::into_string)
}

/// Some servers write a float.
fn seconds(raw: &RawValue) -> Option<i64> {
    let text = Some(raw.get()).filter(|text| text.len() <= LONGEST_TIME)?;
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    i64::try_from(count(&serde_json::from_str(whole).ok()?)?).ok()
}
