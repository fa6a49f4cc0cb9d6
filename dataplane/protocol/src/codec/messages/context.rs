//! What every part of a request's encoder needs to know and may say.

use super::models::Abilities;
use crate::{
    codec::{NameMap, field::Name},
    dialect::Operation,
    ir::{CacheMark, MediaSource},
    report::{Field, Report},
};

/// Most cache breakpoints that Anthropic takes.
const MAX_MARKS: usize = 4;
/// Seconds of Anthropic's shorter time to live, its default.
const SHORT: u64 = 300;
/// Seconds of Anthropic's longer time to live.
const LONG: u64 = 3600;

/// One request on its way.
pub struct Context<'a> {
    /// The client's operation, for the spelling of fields.
    pub from: Operation,
    /// What the upstream's model takes.
    pub abilities: Abilities,
    /// Tool names that have to change.
    pub names: NameMap,
    /// What became of the client's fields.
    pub report: &'a mut Report,
    /// Whether the turn that is being written is the model's: its vendor's own blocks are told as text.
    pub is_model: bool,
    /// Whether the model has answered what is being written: then it is history, and told as such.
    pub is_answered: bool,
    /// How many of the first cache marks are left out, so that the last ones fit.
    skipped_marks: usize,
}

// === impl Context ===

impl<'a> Context<'a> {
    /// For one request.
    pub const fn new(from: Operation, abilities: Abilities, names: NameMap, report: &'a mut Report) -> Self {
        Self { from, abilities, names, report, is_model: false, is_answered: false, skipped_marks: 0 }
    }

    /// The field is sent with another value.
    pub fn adapted(&mut self, name: Name, from: impl Into<Field>, to: impl Into<Field>) {
        self.report.adapted(name.field(self.from), from, to);
    }

    /// A hint is not sent.
    pub fn dropped(&mut self, name: Name) {
        self.report.dropped(name.field(self.from));
    }

    /// Something the caller relies on is not sent.
    pub fn refused(&mut self, name: Name, why: &'static str) {
        self.report.refused(name.field(self.from), why);
    }

    /// Media that the caller relies on are not sent.
    pub fn refused_media(&mut self, name: Name, source: &MediaSource, why: &'static str) {
        self.report.refused(name.field_of(source, self.from), why);
    }

    /// Says how many cache marks there are; of more than four the last are kept.
    pub fn expect_marks(&mut self, count: usize) {
        self.skipped_marks = count.saturating_sub(MAX_MARKS);
        if self.skipped_marks > 0 {
            self.dropped(Name::CacheMark);
        }
    }

    /// A mark as it is sent, in the order of the prompt (tools, system, messages): the time to live, if it is not the
    /// default. None: there is no mark, or no room for it.
    pub fn mark(&mut self, mark: Option<&CacheMark>) -> Option<Option<&'static str>> {
        let mark = mark?;
        if let Some(left) = self.skipped_marks.checked_sub(1) {
            self.skipped_marks = left;
            return None;
        }
        let Some(written) = mark.ttl.as_deref() else {
            return Some(None);
        };
        let seconds = seconds(written);
        // The nearest that is not shorter; beyond the longest, the longest.
        let sent = if seconds.is_some_and(|seconds| seconds <= SHORT) { "5m" } else { "1h" };
        if seconds != Some(SHORT) && seconds != Some(LONG) {
            self.adapted(Name::CacheMark, written.to_owned(), sent);
        }
        Some(Some(sent))
    }
}

/// `5m`, `1h`, `300s` as seconds.
fn seconds(ttl: &str) -> Option<u64> {
    let (number, unit) = ttl.split_at_checked(ttl.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}
