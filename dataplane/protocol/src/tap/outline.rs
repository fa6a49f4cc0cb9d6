//! What can be read of an event or a document without a tree of it, and what it says of the answer.

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
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let text = text.as_bytes();
        Some(Self { text, scan: Scan::read(text).ok()? })
    }

    pub(super) fn get(&self, name: &str) -> Option<&ScanValue> {
        self.scan.last(self.text, name)
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

/// Notes id and model of the answer, once.
pub(super) fn identified(id: Option<&Value>, model: Option<&Value>, seen: &mut ResponseStats) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    seen.response_id = seen.response_id.take().or_else(|| text(id));
    seen.response_model = seen.response_model.take().or_else(|| text(model));
}
