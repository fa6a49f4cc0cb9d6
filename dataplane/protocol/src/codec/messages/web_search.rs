//! OpenAI's web search at an Anthropic upstream, which has one of its own (docs/protocols/mapping.md).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::context::Context;
use crate::{
    codec::json::write::Elements,
    dialect::{Family, Operation},
    ir::{Raw, Request, Tool, ToolKind},
    limits::{Feature, ModelLimits},
};

/// Its name, which is the only one that Anthropic lets it have.
pub const NAME: &str = "web_search";
/// The version that Claude has wherever it has a web search.
const VERSION: &str = "web_search_20250305";
/// What the types of OpenAI's begin with; a date or `_preview` may follow.
const OPENAI: &str = "web_search";
/// The longest tool that is read, in bytes. Lists of domains have at most 100 entries.
const MAX_BYTES: usize = 64 << 10;

/// OpenAI's tool, as far as the other one has the same.
#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    filters: Option<Filters>,
    /// City, country, region and time zone, each of which may be null; members have the same names.
    #[serde(default)]
    user_location: Option<BTreeMap<String, Value>>,
    /// Whether pages may be read as they are now, and not only as they were indexed.
    #[serde(default)]
    external_web_access: Option<bool>,
    /// Whatever else is said.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Filters {
    #[serde(default)]
    allowed_domains: Option<Vec<String>>,
    #[serde(default)]
    blocked_domains: Option<Vec<String>>,
}

/// Whether these clients can be told what was found. Only they get it back to the vendor with their next request.
pub const fn is_told_to(from: Operation) -> bool {
    matches!(from, Operation::Responses | Operation::ResponsesInputTokens)
}

/// Whether a client's request is going to offer Anthropic's search in the place of another vendor's.
pub fn offers(request: &Request, from: Operation, limits: &ModelLimits) -> bool {
    is_told_to(from)
        && !limits.lacks(Feature::WebSearch)
        && request.tools.iter().any(|tool| can_stand_for(tool, request))
}

/// Whether Anthropic's search does what this tool is to do. It reads pages as they are now, which a client may forbid; and
/// a tool of the client's may have taken its name.
pub fn can_stand_for(tool: &Tool, request: &Request) -> bool {
    let Some(raw) = search_of(tool) else { return false };
    let is_first =
        || request.tools.iter().find(|other| search_of(other).is_some()).is_some_and(|it| std::ptr::eq(it, tool));
    let reads = || read(raw).is_some_and(|search| search.external_web_access != Some(false));
    let is_taken = |other: &Tool| other.name == NAME && !matches!(other.kind, ToolKind::Server { .. });
    is_first() && reads() && !request.tools.iter().any(is_taken)
}

/// Whether a choice is about the tool that it stands for.
pub fn is_chosen(name: &str, request: &Request) -> bool {
    request.tools.iter().any(|tool| tool.name == name && can_stand_for(tool, request))
}

/// Says what of the tool is lost.
pub fn report(tool: &Tool, context: &mut Context<'_>) {
    let Some(search) = search_of(tool).and_then(|raw| read(raw)) else { return };
    for name in search.rest.iter().filter(|(name, value)| *name != "type" && !value.is_null()).map(|(name, _)| name) {
        context.report.dropped(format!("tools[].{name}"));
    }
    if let Some(Filters { allowed_domains: Some(_), blocked_domains: Some(_) }) = search.filters {
        context.report.dropped("tools[].filters.blocked_domains");
    }
}

/// Writes it.
pub fn put(raw: &RawValue, to: &mut Elements<'_>) {
    let Some(search) = read(raw) else { return };
    let (allowed, blocked) = search.filters.map_or((None, None), |it| (it.allowed_domains, it.blocked_domains));
    let location = search.user_location.unwrap_or_default().into_iter();
    let location: BTreeMap<String, Value> = location.filter(|(_, value)| value.is_string()).collect();
    to.object(|o| {
        o.put("type", VERSION);
        o.put("name", NAME);
        // Anthropic takes one of the two lists.
        match allowed {
            Some(allowed) => o.put("allowed_domains", &allowed),
            None => o.put_some("blocked_domains", blocked),
        }
        if location.len() > usize::from(location.contains_key("type")) {
            o.put("user_location", &location);
        }
    });
}

fn search_of(tool: &Tool) -> Option<&Raw> {
    match &tool.kind {
        ToolKind::Server { family: Family::OpenAi, kind, raw } if kind.starts_with(OPENAI) => Some(raw),
        _ => None,
    }
}

fn read(raw: &RawValue) -> Option<Search> {
    let text = Some(raw.get()).filter(|text| text.len() <= MAX_BYTES)?;
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        codec::{ClientCodec, Head, Target, UpstreamCodec, messages::Messages, responses::Responses},
        dialect::Operation,
        limits::{Feature, Features, ModelLimits},
        report::{Mode, Report},
    };

    /// The tools and the choice among them that are sent, and the warnings.
    fn sent(tools: &serde_json::Value, choice: &serde_json::Value, limits: ModelLimits) -> (serde_json::Value, String) {
        let body = json!({"model": "m", "input": "x", "tools": tools, "tool_choice": choice}).to_string();
        let request = Responses.decode_request(body.as_bytes(), &Head::default()).unwrap();
        let target = Target { model: "claude-opus-4-6", base_model: None, default_max_output: 100, limits };
        let mut report = Report::new(Mode::Default);
        let encoded = Messages.encode_request(&request, target, Operation::Responses, &mut report);
        let warnings: Vec<_> = report.finish().unwrap().iter().map(ToString::to_string).collect();
        let body: serde_json::Value = serde_json::from_slice(&encoded.body).unwrap();
        (json!([body["tools"], body["tool_choice"]]), warnings.join(" "))
    }

    #[test]
    fn openais_search_becomes_anthropics() {
        let place = json!({"type": "approximate", "city": "Bern", "country": "CH", "region": null, "timezone": null});
        let full = json!({"type": "web_search", "filters": {"allowed_domains": ["a.example"]}, "user_location": place,
            "search_context_size": "high"});
        let (tools, warnings) = sent(&json!([full]), &json!({"type": "web_search"}), ModelLimits::default());
        assert_eq!(
            tools,
            json!([
                [{"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a.example"],
                    "user_location": {"type": "approximate", "city": "Bern", "country": "CH"}}],
                {"type": "tool", "name": "web_search"},
            ])
        );
        assert!(warnings.contains("tools[].search_context_size"), "{warnings}");
        for plain in
            [json!({"type": "web_search"}), json!({"type": "web_search_preview_2025_03_11", "user_location": null})]
        {
            let choice = json!({"type": plain["type"]});
            let (tools, warnings) = sent(&json!([plain]), &choice, ModelLimits::default());
            assert_eq!(tools[0], json!([{"type": "web_search_20250305", "name": "web_search"}]), "{plain}");
            assert_eq!(tools[1], json!({"type": "tool", "name": "web_search"}), "{plain}");
            assert_eq!(warnings, "", "{plain}");
        }
    }

    #[test]
    fn a_search_that_cannot_be_had_is_left_out() {
        let function = json!({"type": "function", "name": "web_search", "parameters": {"type": "object"}});
        let cached = json!({"type": "web_search", "external_web_access": false});
        let limits = ModelLimits { unsupported: Features::NONE.with(Feature::WebSearch), ..ModelLimits::default() };
        for (tools, limits) in [
            (json!([cached]), ModelLimits::default()),
            (json!([{"type": "web_search"}, function]), ModelLimits::default()),
            (json!([{"type": "web_search"}]), limits),
        ] {
            let (sent, warnings) = sent(&tools, &json!("auto"), limits);
            assert!(!sent.to_string().contains("web_search_2025"), "{sent}");
            assert!(warnings.contains("web_search"), "{warnings}");
        }
        let twice = json!([{"type": "web_search"}, {"type": "web_search_preview"}]);
        let (tools, _) = sent(&twice, &json!("auto"), ModelLimits::default());
        assert_eq!(tools[0].as_array().unwrap().len(), 1, "a name is taken once");
    }
}
