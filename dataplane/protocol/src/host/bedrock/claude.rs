//! A Messages body as InvokeModel takes it (docs/protocols/clouds.md): the model is in the path and streaming is another
//! path, the API's version stands in the body, and so do beta flags, which elsewhere are a header.
//!
//! One flag that Bedrock does not know fails the whole request, so that those which are not listed are left out, and with
//! each the members that only it makes legal. Everything else of the body stays, byte for byte.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    codec::Head,
    host::{
        betas::{IMPLIED, TAKEN},
        claude::prompt,
    },
    report::{Field, Report},
    scan::{Kind, Scan},
    splice::{self, Edit},
};

/// The version that InvokeModel demands where the client states none.
const VERSION: &str = "bedrock-2023-05-31";
/// Members that stand elsewhere.
const ELSEWHERE: [&str; 2] = ["model", "stream"];
/// Longest flag that is looked up, in bytes.
const MAX_FLAG: usize = 64;
/// Most flags of one request.
const MAX_FLAGS: usize = 64;

/// Flags that Bedrock knows by another name.
const ALIASES: [(&str, &str); 1] = [("advanced-tool-use-2025-11-20", "tool-search-tool-2025-10-19")];

/// Members of a request that are legal beside a flag alone, by the beginning of its name: dates change.
const PAIRED: [(&str, &[&str]); 7] = [
    ("code-execution-", &["container"]),
    ("compact-", &["context_management"]),
    ("context-management-", &["context_management"]),
    ("fast-mode-", &["speed"]),
    ("mcp-client-", &["mcp_servers"]),
    ("skills-", &["container"]),
    ("structured-outputs-", &["output_format"]),
];

/// The body for InvokeModel. `head` is the client's, where it speaks Messages itself.
pub(crate) fn body(body: Bytes, head: Option<&Head>, report: &mut Report) -> Bytes {
    let Ok(scan) = Scan::read(&body) else { return body };
    let mut edits = edits(&body, &scan, head, report);
    edits.extend(prompt(&body, &scan, "Bedrock", report));
    splice::apply(&body, edits).into()
}

/// What is changed of a body.
fn edits(body: &[u8], scan: &Scan, head: Option<&Head>, report: &mut Report) -> Vec<Edit> {
    let flags = flags(body, scan, head);
    let (mut taken, mut paired) = (Vec::new(), Vec::new());
    for flag in &flags {
        let known = ALIASES.iter().find(|(alias, _)| alias == flag).map_or(flag.as_ref(), |(_, known)| known);
        if TAKEN.contains(&known) {
            if !taken.contains(&known) {
                taken.push(known);
            }
            continue;
        }
        if IMPLIED.contains(&known) {
            continue;
        }
        report.dropped(field(flag));
        let pair = PAIRED.iter().find(|(begin, _)| flag.starts_with(begin));
        paired.extend(pair.into_iter().flat_map(|(_, members)| members.iter().copied()));
    }
    // What another flag makes legal as well stays.
    paired.retain(|member| {
        let makes_legal =
            |flag: &&str| PAIRED.iter().any(|(begin, pair)| flag.starts_with(begin) && pair.contains(member));
        !taken.iter().any(makes_legal)
    });
    let has_version = scan.last(body, "anthropic_version").is_some_and(|value| value.kind != Kind::Null);
    let mut cut = Vec::new();
    for member in scan.members() {
        let goes = if let Some(pair) = paired.iter().find(|pair| member.is(body, pair)) {
            report.dropped(Cow::Borrowed(*pair));
            true
        } else {
            ELSEWHERE.iter().any(|elsewhere| member.is(body, elsewhere))
                || member.is(body, "anthropic_beta")
                || (!has_version && member.is(body, "anthropic_version"))
        };
        cut.push((member.name.start..member.value.span.end, goes));
    }
    let mut edits = splice::without(&cut);
    let mut added = if has_version { String::new() } else { format!("\"anthropic_version\":\"{VERSION}\"") };
    if !taken.is_empty() {
        let separator = if added.is_empty() { "" } else { "," };
        added += &format!("{separator}\"anthropic_beta\":{}", serde_json::Value::from(taken));
    }
    if let Some(start) = memchr::memchr(b'{', body).filter(|_| !added.is_empty()) {
        let empty = cut.iter().all(|(_, goes)| *goes);
        edits.push(Edit::first_member(start, empty, &added));
    }
    edits
}

/// The flags of the header, then those of the body.
fn flags<'a>(body: &'a [u8], scan: &'a Scan, head: Option<&'a Head>) -> Vec<Cow<'a, str>> {
    let mut flags: Vec<Cow<'a, str>> = Vec::new();
    let mut take = |flag: Cow<'a, str>| {
        if flags.len() < MAX_FLAGS && !flags.contains(&flag) {
            flags.push(flag);
        }
    };
    head.into_iter().flat_map(|head| &head.anthropic_beta).for_each(|flag| take(Cow::Borrowed(flag)));
    if let Some(list) = scan.last(body, "anthropic_beta") {
        list.each_element(body, |flag| {
            if let Some(flag) = flag.text(body) {
                take(Cow::Owned(flag.into_owned()));
            }
        });
    }
    flags
}

/// How a flag that is left out is told.
fn field(flag: &str) -> Field {
    let is_plain = flag.len() <= MAX_FLAG && flag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_plain { format!("anthropic-beta={flag}").into() } else { "anthropic-beta".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Mode;

    fn sent(text: &str, beta: &[&str]) -> (String, Vec<String>) {
        let head = Head { anthropic_beta: beta.iter().map(ToString::to_string).collect(), ..Head::default() };
        let mut report = Report::new(Mode::Default);
        let body = body(Bytes::from(text.to_owned()), Some(&head), &mut report);
        let warnings = report.finish().unwrap().iter().map(ToString::to_string).collect();
        (String::from_utf8(body.to_vec()).unwrap(), warnings)
    }

    #[test]
    fn only_what_stands_elsewhere_changes() {
        let rows = [
            (
                r#"{"model":"m", "max_tokens":1.0e1,"stream":true}"#,
                r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":1.0e1}"#,
            ),
            (
                r#"{ "max_tokens" : 9 , "model":"m","stream":false, "x":"\u00e9"}"#,
                r#"{"anthropic_version":"bedrock-2023-05-31", "max_tokens" : 9 , "x":"\u00e9"}"#,
            ),
            (r#"{"model":"m"}"#, r#"{"anthropic_version":"bedrock-2023-05-31"}"#),
            (r#"{"anthropic_version":"x","model":"m","a":1}"#, r#"{"anthropic_version":"x","a":1}"#),
            (r#"{"anthropic_version":null,"a":1}"#, r#"{"anthropic_version":"bedrock-2023-05-31","a":1}"#),
            ("{}", r#"{"anthropic_version":"bedrock-2023-05-31"}"#),
        ];
        for (body, expected) in rows {
            assert_eq!(sent(body, &[]), (expected.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn hard_case_245_a_flag_that_is_not_taken_goes_with_its_member() {
        let body = r#"{"model":"m","a":1,"speed":"fast","container":"c"}"#;
        let (sent_body, warnings) =
            sent(body, &["fast-mode-2026-02-01", "interleaved-thinking-2025-05-14", "files-api-2025-04-14"]);
        assert_eq!(
            sent_body,
            r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["interleaved-thinking-2025-05-14"],"a":1,"container":"c"}"#
        );
        let dropped = ["anthropic-beta=fast-mode-2026-02-01", "anthropic-beta=files-api-2025-04-14", "speed"];
        assert_eq!(warnings, dropped.map(|field| format!("dropped;field={field}")));
    }

    #[test]
    fn hard_case_250_addresses_of_images_are_refused_and_marks_lose_their_scope() {
        let mut report = Report::new(Mode::Default);
        let url = r#"{"messages":[{"content":[{"type":"image","source":{"type":"url","url":"https://x"}}]}]}"#;
        body(Bytes::from(url), None, &mut report);
        let refused = report.finish().unwrap_err().to_string();
        assert!(refused.contains("Bedrock") && refused.contains("base64"), "{refused}");
        let marked = r#"{"anthropic_version":"x","system":[{"cache_control":{"type":"ephemeral","scope":"global"}}]}"#;
        let (sent_body, _) = sent(marked, &[]);
        assert_eq!(sent_body, r#"{"anthropic_version":"x","system":[{"cache_control":{"type":"ephemeral"}}]}"#);
    }

    #[test]
    fn flags_of_header_and_body_are_one_list_under_bedrocks_names() {
        let body = r#"{"anthropic_beta":["context-1m-2025-08-07","odd\n"],"a":1}"#;
        let (sent_body, warnings) = sent(body, &["advanced-tool-use-2025-11-20", "context-1m-2025-08-07"]);
        assert_eq!(
            sent_body,
            r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["tool-search-tool-2025-10-19","context-1m-2025-08-07"],"a":1}"#
        );
        assert_eq!(warnings, ["dropped;field=anthropic-beta"]);
    }

    #[test]
    fn a_member_that_another_flag_makes_legal_stays() {
        let body = r#"{"context_management":{"edits":[]}}"#;
        let (sent_body, _) = sent(body, &["compact-2026-01-12", "context-management-2025-06-27"]);
        assert!(sent_body.contains("context_management\":{"), "{sent_body}");
        let (sent_body, warnings) = sent(body, &["compact-2026-01-12"]);
        assert!(!sent_body.contains("context_management"), "{sent_body}");
        assert_eq!(warnings.len(), 2);
    }
}
