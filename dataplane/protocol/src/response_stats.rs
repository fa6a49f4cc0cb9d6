//! What has been seen of an answer: content, token counts, the end, an error.

use crate::{
    ir::{FinishReason, Usage},
    problem::Problem,
    report::{self, Field, Warning},
};

/// Most names in [`ResponseStats::lost`]; they come from the upstream.
const MOST_LOST: usize = 32;

/// What has been seen of an answer so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResponseStats {
    /// Real content has come: text, reasoning, a call or a finish; no role-only deltas, pings, comments, empty deltas.
    pub content: bool,
    /// Token counts, as far as the upstream said.
    pub usage: Option<Usage>,
    /// Characters of text, reasoning and arguments that were delivered, for estimates where usage is missing.
    pub output_chars: u64,
    /// Events that delivered some of these characters (parts of one event count each): at least so many tokens came.
    pub content_events: u64,
    /// Why the answer ended (the first candidate's reason).
    pub finish: Option<FinishReason>,
    /// How many candidates have said why they ended.
    pub finishes: u64,
    /// The upstream failed, in an event or by stopping early.
    pub error: Option<Problem>,
    /// The dialect's terminal event has come.
    pub complete: bool,
    /// The upstream's id for the answer.
    pub response_id: Option<String>,
    /// The model that answered, as the upstream names it.
    pub response_model: Option<String>,
    /// Safety systems stopped the prompt or the answer.
    pub content_filtered: bool,
    /// What the upstream said and the client's dialect has no place for, by name, each once (translated lane only).
    pub lost: Vec<Field>,
    /// How much more was lost beyond the bound of `lost`.
    pub lost_more: u64,
}

impl ResponseStats {
    /// Takes counts over, member by member: the last value wins, but a zero never replaces a count, because upstreams
    /// fill counts with zeros before they know them (docs/protocols/usage.md).
    pub(crate) fn count(&mut self, later: Usage) {
        let mut usage = self.usage.unwrap_or_default();
        let keep = |new: Option<u64>, old: Option<u64>| if new.unwrap_or(0) == 0 { old.or(new) } else { new };
        usage.input = keep(later.input, usage.input);
        usage.cache_read = keep(later.cache_read, usage.cache_read);
        usage.cache_write = keep(later.cache_write, usage.cache_write);
        usage.output = keep(later.output, usage.output);
        usage.reasoning = keep(later.reasoning, usage.reasoning);
        self.usage = Some(usage);
    }

    /// Notes why the answer ended. An empty answer is an answer, unless it was filtered away.
    pub(crate) fn finished(&mut self, reason: FinishReason) {
        let filtered = matches!(reason, FinishReason::ContentFilter | FinishReason::Refusal);
        self.content_filtered |= filtered;
        self.content |= !filtered;
        self.finish.get_or_insert(reason);
        self.finishes = self.finishes.saturating_add(1);
    }

    /// What was lost as warnings, for `x-routeapi-warnings` where the answer is whole: `answer.` and the name. `from` is
    /// how many of [`Self::lost`] were told before; what is beyond its bound is not among them.
    pub fn warnings(&self, from: usize) -> impl Iterator<Item = Warning> {
        self.lost.iter().skip(from).map(|field| Warning::Dropped { field: format!("answer.{field}").into() })
    }

    /// Notes something that the client does not get.
    pub(crate) fn lose(&mut self, field: Field) {
        let field = report::clip(field);
        if self.lost.contains(&field) {
            return;
        }
        if self.lost.len() < MOST_LOST {
            self.lost.push(field);
        } else {
            self.lost_more = self.lost_more.saturating_add(1);
        }
    }

    /// Notes delivered characters.
    pub(crate) fn delivered(&mut self, chars: u64) {
        self.content |= chars > 0;
        self.content_events = self.content_events.saturating_add(u64::from(chars > 0));
        self.output_chars = self.output_chars.saturating_add(chars);
    }
}
