//! An Anthropic body as Vertex AI takes it (docs/protocols/clouds.md): without the model, which the path names, with the
//! version in it, and without what only Anthropic's own API knows.
//!
//! The rest stays as the client wrote it, byte for byte: prompt caches and signatures depend on it.

use bytes::Bytes;

use crate::{
    dialect::Operation,
    report::Report,
    scan::{Kind, Member, Scan, Value},
    splice::{self, Edit},
};

/// The version that bodies name.
const VERSION: &str = "\"anthropic_version\":\"vertex-2023-10-16\"";

/// The body. What is not readable is left as it is: the upstream refuses it in its own words.
pub(super) fn adapt(operation: Operation, body: Bytes, report: &mut Report) -> Bytes {
    let Ok(scan) = Scan::read(&body) else { return body };
    let Some(start) = memchr::memchr(b'{', &body) else { return body };
    let mut adapter = Adapter { body: &body, cloud: "Vertex AI", edits: Vec::new(), report };
    let is_kept = adapter.members(&scan, |name| match name {
        // Counting has one path for all models (hard case 247).
        "model" => operation == Operation::MessagesCountTokens,
        _ => true,
    });
    if scan.last(&body, "anthropic_version").is_none() {
        adapter.edits.push(Edit::first_member(start, !is_kept, VERSION));
    }
    adapter.prompt(&scan);
    let edits = adapter.edits;
    splice::apply(&body, edits).into()
}

/// What changes of system text, tools and messages on a cloud, which is named for the client.
pub(super) fn prompt(body: &[u8], scan: &Scan, cloud: &'static str, report: &mut Report) -> Vec<Edit> {
    let mut adapter = Adapter { body, cloud, edits: Vec::new(), report };
    adapter.prompt(scan);
    adapter.edits
}

struct Adapter<'a> {
    body: &'a [u8],
    cloud: &'static str,
    edits: Vec<Edit>,
    report: &'a mut Report,
}

impl Adapter<'_> {
    /// Takes out the top-level members that are not kept. Returns whether any is left.
    fn members(&mut self, scan: &Scan, keeps: impl Fn(&str) -> bool) -> bool {
        let mut members = Vec::with_capacity(scan.members().len());
        for member in scan.members() {
            let is_legacy = member.is(self.body, "output_format");
            if is_legacy {
                self.report.refused("output_format", "is not supported by Vertex AI; use output_config.format");
            }
            let is_model = member.is(self.body, "model");
            members.push((member, !is_legacy && (!is_model || keeps("model"))));
        }
        self.cut(members.iter().map(|(member, kept)| (*member, *kept)));
        members.iter().any(|(_, kept)| *kept)
    }

    /// Takes the members out of an object that are not kept.
    fn cut<'m>(&mut self, members: impl Iterator<Item = (&'m Member, bool)>) {
        let spans = members.map(|(member, is_kept)| (member.name.start..member.value.span.end, !is_kept));
        self.edits.extend(splice::without(&spans.collect::<Vec<_>>()));
    }

    /// Looks through system text, tools and messages.
    fn prompt(&mut self, scan: &Scan) {
        let body = self.body;
        // Nearly no body holds either.
        let has = |word: &[u8]| memchr::memmem::find(body, word).is_some();
        if !has(b"\"scope\"") && !has(b"\"url\"") {
            return;
        }
        for list in ["system", "tools"] {
            if let Some(list) = scan.last(body, list) {
                list.each_element(body, |block| self.block(&block));
            }
        }
        if let Some(messages) = scan.last(body, "messages") {
            messages.each_element(body, |message| {
                let Some(content) = message.member(body, "content") else { return };
                content.each_element(body, |block| {
                    self.block(&block);
                    if let Some(inner) = block.member(body, "content") {
                        inner.each_element(body, |block| self.block(&block));
                    }
                });
            });
        }
    }

    /// One block: its mark for the cache has no scope here, and media cannot be fetched from elsewhere.
    fn block(&mut self, block: &Value) {
        let body = self.body;
        let [mark, source] = block.named(body, ["cache_control", "source"]);
        if let Some(mark) = mark.filter(|mark| matches!(mark.kind, Kind::Object { .. })) {
            let mut members = Vec::new();
            mark.each_member(body, |member| members.push(member));
            if members.iter().any(|member| member.is(body, "scope")) {
                self.cut(members.iter().map(|member| (member, !member.is(body, "scope"))));
            }
        }
        let is_url = |source: Value| source.member(body, "type").is_some_and(|kind| kind.bytes(body) == b"\"url\"");
        if source.is_some_and(is_url) {
            let why = format!("is not supported by {}: send the file itself, as base64", self.cloud);
            self.report.impossible("messages[].content[].source.url", why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Mode;

    fn adapted(operation: Operation, body: &str) -> Result<String, String> {
        let mut report = Report::new(Mode::Default);
        let out = adapt(operation, body.to_owned().into(), &mut report);
        report.finish().map_err(|refusal| refusal.to_string())?;
        Ok(String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn the_version_takes_the_models_place() {
        for (body, expected) in [
            (r#"{"model":"m"}"#, r#"{"anthropic_version":"vertex-2023-10-16"}"#),
            (
                r#"{"model":"m", "stream":true,"max_tokens":1.0}"#,
                r#"{"anthropic_version":"vertex-2023-10-16","stream":true,"max_tokens":1.0}"#,
            ),
            (
                r#"{"max_tokens":1, "model":"m","output_config":{"effort":"low"}}"#,
                r#"{"anthropic_version":"vertex-2023-10-16","max_tokens":1, "output_config":{"effort":"low"}}"#,
            ),
            (
                r#"{"anthropic_version":"other","max_tokens":1,"model":"m"}"#,
                r#"{"anthropic_version":"other","max_tokens":1}"#,
            ),
        ] {
            assert_eq!(adapted(Operation::Messages, body).as_deref(), Ok(expected), "hard cases 251, 252: {body}");
        }
    }

    #[test]
    fn hard_case_247_counting_keeps_the_model() {
        let counted = adapted(Operation::MessagesCountTokens, r#"{"model":"m","messages":[]}"#).unwrap();
        assert_eq!(counted, r#"{"anthropic_version":"vertex-2023-10-16","model":"m","messages":[]}"#);
    }

    #[test]
    fn marks_lose_their_scope_and_nothing_else() {
        let body = r#"{"system":[{"text":"a","cache_control":{"type":"ephemeral","scope":"global","ttl":"1h"}}],"tools":[{"name":"scope","cache_control":{"scope":"x"}}],"messages":[{"content":[{"cache_control":{"type":"ephemeral", "scope":"x"},"content":[{"cache_control":{"scope":"y","type":"e"}}]}]}]}"#;
        let expected = r#"{"anthropic_version":"vertex-2023-10-16","system":[{"text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}}],"tools":[{"name":"scope","cache_control":{}}],"messages":[{"content":[{"cache_control":{"type":"ephemeral"},"content":[{"cache_control":{"type":"e"}}]}]}]}"#;
        assert_eq!(adapted(Operation::Messages, body).as_deref(), Ok(expected));
    }

    #[test]
    fn hard_case_250_addresses_of_images_are_refused() {
        let body = r#"{"messages":[{"content":[{"type":"image","source":{"type":"url","url":"https://x"}}]}]}"#;
        let refused = adapted(Operation::Messages, body).unwrap_err();
        assert!(refused.contains("base64"), "{refused}");
    }
}
