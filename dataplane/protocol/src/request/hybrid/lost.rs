//! What of a rewritten request has no place in Chat.

use crate::report::{Field, MAX_NAME_BYTES, MAX_WARNINGS, Report, cut};

/// Fields without a place in Chat: by name as many as a report tells, the others by number.
#[derive(Debug, Default)]
pub(in crate::request) struct Lost {
    pub(super) fields: Vec<Field>,
    pub(super) more: u64,
}

impl Lost {
    /// One more. Its name is asked for only where there is room for it.
    pub(super) fn add(&mut self, name: impl FnOnce() -> String) {
        if self.fields.len() < MAX_WARNINGS {
            self.fields.push(cut(name().into(), MAX_NAME_BYTES));
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Tells all of it, once for each upstream that is tried.
    pub(in crate::request) fn report(&self, report: &mut Report) {
        self.fields.iter().for_each(|field| report.dropped(field.clone()));
        report.more(self.more);
    }
}
