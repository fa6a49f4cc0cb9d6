//! What can be read of an event or a document without a tree of it, and what it says of the answer.

use std::borrow::Cow;

use serde_json::Value;

use crate::{
    dialect::Family,
    problem::understand,
    response_stats::ResponseStats,
    scan::{Scan, Value as ScanValue},
};

/// A document of which only small members are looked at: content may be long, and a tree of it would take many times
/// its bytes.
pub(super) struct Outline<'a> {
    pub(super) text: &'a [u8],
    pub(super) scan: Scan,
}

impl<'a> Outline<'a> {
    pub(super) fn read(text: &'a [u8]) -> Option<Self> {
        Some(Self { text, scan: Scan::read(text).ok()? })
    }

    pub(super) fn get(&self, name: &str) -> Option<&ScanValue> {
        self.scan.last(self.text, name)
    }

    /// A member that is a string, if it is small.
    pub(super) fn small_text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name)?.small_text(self.text)
    }

    /// A member as a tree, if it is small.
    pub(super) fn small(&self, name: &str) -> Option<Value> {
        self.get(name)?.small(self.text)
    }

    /// Small members of an object in it, as an object.
    pub(super) fn some<const N: usize>(&self, object: Option<&ScanValue>, names: [&str; N]) -> Value {
        let found = object.map_or([const { None }; N], |object| object.named(self.text, names));
        let members =
            names.iter().zip(found).filter_map(|(name, value)| Some(((*name).to_owned(), value?.small(self.text)?)));
        Value::Object(members.collect())
    }
}

/// Notes an error without an envelope: none of an answer's members (`answers`), and words of what failed.
pub(super) fn failed_bare(family: Family, data: &[u8], answers: bool, seen: &mut ResponseStats) {
    if !answers && let Some(problem) = understand::bare(family, data) {
        seen.error.get_or_insert(problem);
    }
}

/// Notes an error that came inside an answer.
pub(super) fn failed(family: Family, body: &Value, seen: &mut ResponseStats) {
    seen.error.get_or_insert_with(|| understand::event(family, body));
}

/// A member of a tree that is a string.
pub(super) fn text_of<'a>(object: &'a Value, name: &str) -> Option<Cow<'a, str>> {
    object.get(name).and_then(Value::as_str).map(Cow::Borrowed)
}

/// Notes id and model of the answer, once.
pub(super) fn identified(id: Option<Cow<'_, str>>, model: Option<Cow<'_, str>>, seen: &mut ResponseStats) {
    let said = |text: Option<Cow<'_, str>>| text.filter(|text| !text.is_empty()).map(Cow::into_owned);
    seen.response_id = seen.response_id.take().or_else(|| said(id));
    seen.response_model = seen.response_model.take().or_else(|| said(model));
}
