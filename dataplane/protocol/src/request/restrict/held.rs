//! What a client's body holds of what a model may not take.

use super::tables::{self, Group, Row, Step};
use crate::{
    dialect::Operation,
    limits::Features,
    scan::{Kind, Member, Scan, Value},
};

/// Longest value that can be plain, in bytes.
const MAX_PLAIN: usize = 256;

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Those of the features that were asked for that it holds.
    pub features: Features,
    /// Whether none of their values holds words of the client's.
    pub plain: bool,
}

/// Which of these features a body holds, whatever their values. Linear in the values that are looked into.
pub fn held(operation: Operation, body: &[u8], scan: &Scan, features: Features) -> Held {
    let mut look = Look { body, features, held: Held { features: Features::default(), plain: true } };
    for group in tables::of(operation) {
        if !group.rows.iter().any(|row| features.contains(row.feature)) {
            continue;
        }
        match group.path.split_first() {
            None => scan.members().iter().for_each(|member| look.member(member, group)),
            Some((Step::Member(names), rest)) => {
                let is_it = |member: &&Member| names.iter().any(|name| member.is(body, name));
                scan.members().iter().filter(is_it).for_each(|member| look.walk(&member.value, rest, group));
            }
            Some((Step::Each, _)) => {}
        }
    }
    look.held
}

struct Look<'a> {
    body: &'a [u8],
    features: Features,
    held: Held,
}

impl Look<'_> {
    fn walk(&mut self, value: &Value, path: &[Step], group: &Group) {
        let body = self.body;
        match path.split_first() {
            None if matches!(value.kind, Kind::Object { .. }) => {
                value.each_member(body, |member| self.member(&member, group));
            }
            None => {}
            Some((Step::Each, rest)) => value.each_element(body, |element| self.walk(&element, rest, group)),
            Some((Step::Member(names), rest)) => value.each_named(body, names, |inner| self.walk(&inner, rest, group)),
        }
    }

    fn member(&mut self, member: &Member, group: &Group) {
        let is_it =
            |row: &&Row| self.features.contains(row.feature) && row.names.iter().any(|name| member.is(self.body, name));
        if let Some(row) = group.rows.iter().find(is_it) {
            self.held.features = self.held.features.with(row.feature);
            self.held.plain &= is_plain(member.value.bytes(self.body));
        }
    }
}

/// Whether a value cannot be read as a sentence wherever it is quoted: no white space behind a letter, no quotation marks
/// but JSON's own, nothing escaped.
fn is_plain(value: &[u8]) -> bool {
    let mut before = b'{';
    value.len() <= MAX_PLAIN
        && value.iter().all(|byte| {
            let is_fine = match byte {
                b' ' | b'\n' | b'\r' | b'\t' => {
                    !before.is_ascii_alphanumeric() && !matches!(before, b'.' | b'-' | b'+' | b'_')
                }
                b'{' | b'}' | b'[' | b']' | b':' | b',' | b'"' | b'.' | b'-' | b'+' | b'_' => true,
                other => other.is_ascii_alphanumeric(),
            };
            before = *byte;
            is_fine
        })
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn values_that_could_be_read_as_sentences_are_not_plain() {
        for plain in [
            "0.2",
            "-1e+3",
            "null",
            "true",
            "\"minimal\"",
            "{ \"type\" : \"enabled\", \"budget_tokens\": 1024}",
            "[\"END\"]",
        ] {
            assert!(is_plain(plain.as_bytes()), "{plain}");
        }
        for sentence in [
            "\"Unsupported parameter: top_p\"",
            "\"`top_p` is deprecated for this model\"",
            "\"temperature: Extra inputs are not permitted\"",
            "{\"a\\\": Cannot find field.\":1}",
            "\"\\u0060\"",
            "\"Modèle\"",
        ] {
            assert!(!is_plain(sentence.as_bytes()), "{sentence}");
        }
        assert!(!is_plain("1".repeat(300).as_bytes()));
    }
}
