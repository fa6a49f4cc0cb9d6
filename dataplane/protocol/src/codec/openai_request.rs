//! What requests for OpenAI's two generating endpoints have in common.

use std::{borrow::Cow, collections::HashSet};

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{
    codec::{field::Name, media, schema},
    dialect::{Family, Operation},
    ir::{Block, Raw, Request, ToolKind},
    report::Report,
};

/// Marks a result as a failure, which OpenAI's dialects have no member for.
pub const FAILED: &str = "[tool error] ";

/// Longest `user`, in characters (OpenAI's own API answers 400 beyond it).
const MAX_USER: usize = 64;

/// The tools that take free-form text.
pub fn custom_tools(request: &Request) -> HashSet<&str> {
    let custom = request.tools.iter().filter(|tool| matches!(tool.kind, ToolKind::Custom(_)));
    custom.map(|tool| tool.name.as_str()).collect()
}

/// The end user's id, unless it is empty. One that is too long is sent as its SHA-256, which still tells users apart.
pub fn user<'r>(request: &'r Request, from: Operation, report: &mut Report) -> Option<Cow<'r, str>> {
    let user = request.user.as_deref().filter(|user| !user.is_empty())?;
    if user.chars().count() <= MAX_USER {
        return Some(user.into());
    }
    report.adapted(Name::User.field(from), "longer than 64 characters", "its SHA-256");
    Some(hex::encode(Sha256::digest(user.as_bytes())).into())
}

/// The service tier in OpenAI's words.
pub fn service_tier<'r>(request: &'r Request, from: Operation, report: &mut Report) -> Option<&'r str> {
    let tier = request.service_tier.as_deref()?;
    if from.family() == Family::OpenAi {
        return Some(tier);
    }
    let lower = tier.to_ascii_lowercase();
    let same = match lower.as_str() {
        // What the account has by default.
        "" | "auto" | "unspecified" => return None,
        "standard_only" | "standard" | "default" => Some("default"),
        "flex" => Some("flex"),
        "priority" | "fast" => Some("priority"),
        _ => None,
    };
    if same.is_none() {
        report.dropped(Name::ServiceTier.field(from));
    }
    same
}

/// A tool's schema as OpenAI takes it; none where it is refused.
pub fn tool_schema(schema: &RawValue, from: Operation, report: &mut Report) -> Option<Raw> {
    let converted = schema::openai::for_tool(schema);
    completed(converted, Name::ToolSchema, from, report)
}

/// The schema of an answer as OpenAI takes it; none where it is refused.
pub fn output_schema(schema: &RawValue, from: Operation, report: &mut Report) -> Option<Raw> {
    let converted = schema::openai::for_output(schema);
    completed(converted, Name::OutputSchema, from, report)
}

fn completed(
    converted: Result<schema::Converted, &'static str>,
    name: Name,
    from: Operation,
    report: &mut Report,
) -> Option<Raw> {
    match converted {
        Err(why) => {
            report.refused(name.field(from), why);
            None
        }
        Ok(converted) => {
            if converted.weakened {
                report.adapted(name.field(from), "alternatives at the root", "one object");
            }
            Some(converted.schema)
        }
    }
}

/// `strict`, as far as the schema keeps it: OpenAI refuses the whole request otherwise.
pub fn promise(
    strict: Option<bool>,
    schema: &RawValue,
    name: Name,
    from: Operation,
    report: &mut Report,
) -> Option<bool> {
    if strict == Some(true) && !schema::openai::is_strict(schema) {
        report.adapted(name.field(from), "strict", "not strict");
        return None;
    }
    strict
}

/// The words of a result, those of its documents of text among them.
pub fn words_of(content: &[Block]) -> String {
    let words = content.iter().filter_map(|block| match block {
        Block::Text(text) => Some(Cow::Borrowed(text.text.as_str())),
        Block::Refusal(text) => Some(Cow::Borrowed(text.as_str())),
        other => media::text_document(other),
    });
    words.collect::<Vec<_>>().join("\n")
}
