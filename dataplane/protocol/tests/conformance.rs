//! What becomes of each member of a request on its way to each kind of upstream, found out by sending it there: the page
//! `docs/conformance.md`. `tests/run update conformance` rewrites it; the diff is the review.
//!
//! The same run holds the promise that nothing is dropped silently: a member that asks for something changes the upstream's
//! request, or is named in a warning, or is refused. On a `Strict` route nothing may be changed or dropped with a warning.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, and so may what it calls"
)]

#[path = "conformance/fields.rs"]
mod fields;

use std::{fmt::Write as _, fs, path::Path};

use fields::{base, fields};
use routeapi_protocol::{
    codec::{Head, client_codec, upstream_codec},
    dialect::Operation::{
        self, BatchEmbedContents, ChatCompletions, Converse, ConverseCountTokens, CountTokens, EmbedContent,
        Embeddings, GenerateContent, Messages, MessagesCountTokens, Responses, ResponsesInputTokens,
    },
    direct::Direct,
    framing::Framing,
    host::{ApiVersion, Host},
    inbound::MatchedPath,
    limits::ModelLimits,
    report::{Mode, Warning},
    request::{Destination, ParsedRequest, Prepared, Unprepared},
    stored::StoredCall,
};
use serde_json::Value;

const PAGE: &str = "docs/conformance.md";

/// One of the calls about a stored response, for all of them.
const RETRIEVAL: Operation = Operation::Stored(StoredCall::Retrieve);
const COMPACTION: Operation = Operation::Direct(Direct::Compaction);

const CLIENTS: [Operation; 5] = [ChatCompletions, Responses, Messages, GenerateContent, Converse];

/// What becomes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It reaches the upstream, in its words.
    Sent,
    /// It reaches the upstream with another value, and a warning says so.
    Adapted,
    /// It is left out, and a warning says so.
    Dropped,
    /// The request is refused with a 400 that names it.
    Refused,
}

/// A kind of upstream, and what it serves.
struct Upstream {
    name: &'static str,
    host: Host,
    /// A model that it has; none where that makes no difference.
    model: Option<&'static str>,
    operations: &'static [Operation],
}

/// What an Azure resource has, of one model or another.
const AZURE: &[Operation] = &[ChatCompletions, Responses, RETRIEVAL, Embeddings, Messages, MessagesCountTokens];
/// What a location of Vertex AI has.
const VERTEX: &[Operation] =
    &[GenerateContent, EmbedContent, CountTokens, Operation::Predict, ChatCompletions, Messages, MessagesCountTokens];

/// What a region of Bedrock has.
const BEDROCK: &[Operation] =
    &[Converse, ConverseCountTokens, Messages, ChatCompletions, Responses, Operation::InvokeEmbedding];
/// What its endpoint of the vendors' own APIs has.
const MANTLE: &[Operation] = &[ChatCompletions, Responses, Messages, MessagesCountTokens];

const UPSTREAMS: [Upstream; 15] = [
    Upstream {
        name: "OpenAI",
        host: Host::Vendor,
        model: None,
        operations: &[ChatCompletions, Responses, ResponsesInputTokens, RETRIEVAL, COMPACTION, Embeddings],
    },
    Upstream { name: "OpenAI-compatible", host: Host::Vendor, model: None, operations: &[ChatCompletions, Embeddings] },
    Upstream { name: "Anthropic", host: Host::Vendor, model: None, operations: &[Messages, MessagesCountTokens] },
    Upstream {
        name: "Gemini",
        host: Host::Vendor,
        model: None,
        operations: &[GenerateContent, EmbedContent, BatchEmbedContents, CountTokens],
    },
    Upstream { name: "Azure OpenAI", host: Host::Azure(ApiVersion::V1), model: Some("gpt-x"), operations: AZURE },
    Upstream { name: "Azure, Claude", host: Host::Azure(ApiVersion::V1), model: Some("claude-x"), operations: AZURE },
    Upstream { name: "Vertex AI, Gemini", host: Host::Vertex, model: Some("gemini-x"), operations: VERTEX },
    Upstream { name: "Vertex AI, Claude", host: Host::Vertex, model: Some("claude-x"), operations: VERTEX },
    Upstream { name: "Vertex AI, others", host: Host::Vertex, model: Some("meta/x"), operations: VERTEX },
    Upstream { name: "Bedrock, Claude", host: Host::Bedrock, model: Some("anthropic.claude-x"), operations: BEDROCK },
    Upstream { name: "Bedrock, OpenAI", host: Host::Bedrock, model: Some("openai.gpt-oss-x"), operations: BEDROCK },
    Upstream { name: "Bedrock, others", host: Host::Bedrock, model: Some("amazon.nova-x"), operations: BEDROCK },
    Upstream { name: "Bedrock, embeddings", host: Host::Bedrock, model: Some("cohere.embed-x"), operations: BEDROCK },
    Upstream {
        name: "Bedrock Mantle, Claude",
        host: Host::Mantle,
        model: Some("anthropic.claude-x"),
        operations: MANTLE,
    },
    Upstream {
        name: "Bedrock Mantle, others",
        host: Host::Mantle,
        model: Some("openai.gpt-oss-x"),
        operations: MANTLE,
    },
];

#[test]
fn the_page_says_what_happens() {
    let page = page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PAGE);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, page).unwrap();
        return;
    }
    let held = fs::read_to_string(&path).unwrap_or_default();
    let line = held.lines().zip(page.lines()).find(|(held, now)| held != now);
    assert!(held == page, "{PAGE} is not what happens any more (tests/run update conformance): {line:?}");
}

#[test]
fn nothing_is_dropped_silently() {
    let mut silent = Vec::new();
    for (client, upstream) in pairs() {
        for field in fields(client) {
            let (before, after) = (sent(client, upstream, None, Mode::Default), merged(client, field.patch));
            let after = sent(client, upstream, Some(&after), Mode::Default);
            if let (Ok(before), Ok(after)) = (before, after)
                && after.warnings.is_empty()
                && (before.path, before.body) == (after.path, after.body)
            {
                silent.push(format!("{client} to {upstream}: {}", field.name));
            }
        }
    }
    assert!(silent.is_empty(), "lost without a word: {silent:#?}");
}

#[test]
fn a_strict_route_changes_and_drops_nothing() {
    let mut wrong = Vec::new();
    for (client, upstream) in pairs() {
        for field in fields(client) {
            let body = merged(client, field.patch);
            let strict = sent(client, upstream, Some(&body), Mode::Strict);
            let holds = match fate(client, upstream, &body) {
                Fate::Sent => strict.is_ok_and(|prepared| prepared.warnings.is_empty()),
                Fate::Adapted | Fate::Dropped | Fate::Refused => matches!(strict, Err(Unprepared::Refused(_))),
            };
            if !holds {
                wrong.push(format!("{client} to {upstream}: {}", field.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Every dialect of a client with every other of an upstream.
fn pairs() -> impl Iterator<Item = (Operation, Operation)> {
    let all = CLIENTS.into_iter().flat_map(|client| CLIENTS.map(|upstream| (client, upstream)));
    all.filter(|(client, upstream)| {
        client != upstream && client_codec(*client).is_some() && upstream_codec(*upstream).is_some()
    })
}

fn page() -> String {
    let mut page = String::from(
        "<!-- Generated by `tests/run update conformance`; a test fails when it is not what happens. -->\n\n\
         # Conformance\n\n\
         What each kind of client can ask of each kind of upstream, and what becomes of every field. Each cell is what\n\
         [dataplane/protocol/tests/conformance.rs](../dataplane/protocol/tests/conformance.rs) saw when it prepared such a request; the\n\
         same test fails if a field is lost without a warning.\n\n\
         ## Calls\n\n\
         *Passed through*: the bytes stay, but for the model's name and ids of stored responses. *Translated*: to the call that is named.\n\n",
    );
    calls(&mut page);
    page.push_str(
        "\n## Fields\n\n\
         For a route with `translation: Default` and a model of which nothing is known; what known models do not take is in\n\
         [models.md](models.md).\n\n\
         | word | means |\n|---|---|\n\
         | sent | reaches the upstream, in its words |\n\
         | adapted | reaches it with another value; listed in `x-routeapi-warnings` |\n\
         | dropped | left out; listed in `x-routeapi-warnings` |\n\
         | refused | 400 that names the field, because the answer would be another one without it |\n\n\
         With `translation: Strict` everything but *sent* is refused; with `Lenient` what is refused here is dropped wherever a\n\
         request remains.\n",
    );
    for client in CLIENTS.into_iter().filter(|client| client_codec(*client).is_some()) {
        table(&mut page, client);
    }
    page
}

/// Which call each client's call becomes.
fn calls(page: &mut String) {
    let rows = [
        (ChatCompletions, base(ChatCompletions)),
        (Responses, base(Responses)),
        (Messages, base(Messages)),
        (GenerateContent, base(GenerateContent)),
        (Converse, base(Converse)),
        (Embeddings, r#"{"model":"m","input":"hi"}"#),
        (EmbedContent, r#"{"content":{"parts":[{"text":"hi"}]}}"#),
        (BatchEmbedContents, r#"{"requests":[{"model":"models/m","content":{"parts":[{"text":"hi"}]}}]}"#),
        (MessagesCountTokens, r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#),
        (CountTokens, base(GenerateContent)),
        (ResponsesInputTokens, base(Responses)),
        (ConverseCountTokens, r#"{"input":{"converse":{"messages":[{"role":"user","content":[{"text":"hi"}]}]}}}"#),
        (RETRIEVAL, "{}"),
        (COMPACTION, base(Responses)),
    ];
    let names = UPSTREAMS.iter().map(|upstream| upstream.name).collect::<Vec<_>>();
    writeln!(page, "| client's call | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len())).unwrap();
    for (client, body) in rows {
        let cells = UPSTREAMS.iter().map(|upstream| {
            let call = parsed(client, body);
            let to = Destination { host: upstream.host, model: upstream.model, ..destination(upstream.operations) };
            match call.prepare(to, Mode::Default) {
                Ok(prepared) if prepared.translation.is_passthrough() => "passed through".to_owned(),
                Ok(prepared) => format!("translated: {}", title(prepared.translation.operation())),
                Err(Unprepared::Unreachable) if call.estimated_count().is_some() => {
                    "estimated by the gateway".to_owned()
                }
                Err(Unprepared::Unreachable) => "no such call".to_owned(),
                Err(error) => panic!("{client} to {}: {error}", upstream.name),
            }
        });
        writeln!(page, "| {} | {} |", title(client), cells.collect::<Vec<_>>().join(" | ")).unwrap();
    }
}

fn table(page: &mut String, client: Operation) {
    let columns: Vec<Operation> =
        CLIENTS.into_iter().filter(|upstream| pairs().any(|pair| pair == (client, *upstream))).collect();
    let names: Vec<&str> = columns.iter().map(|upstream| title(*upstream)).collect();
    writeln!(page, "\n### {} clients\n", title(client)).unwrap();
    writeln!(page, "| field | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len())).unwrap();
    for field in fields(client) {
        let body = merged(client, field.patch);
        let cells = columns.iter().map(|upstream| match fate(client, *upstream, &body) {
            Fate::Sent => "sent",
            Fate::Adapted => "adapted",
            Fate::Dropped => "dropped",
            Fate::Refused => "refused",
        });
        let name = if field.name.contains(' ') && !field.name.contains(['[', ':', '.', '_']) {
            field.name.to_owned()
        } else {
            format!("`{}`", field.name)
        };
        writeln!(page, "| {name} | {} |", cells.collect::<Vec<_>>().join(" | ")).unwrap();
    }
}

fn fate(client: Operation, upstream: Operation, body: &str) -> Fate {
    match sent(client, upstream, Some(body), Mode::Default) {
        Err(Unprepared::Refused(_)) => Fate::Refused,
        Err(error) => panic!("{client} to {upstream}: {error}: {body}"),
        Ok(prepared) => {
            let is = |kind: fn(&Warning) -> bool| prepared.warnings.iter().any(kind);
            if is(|warning| matches!(warning, Warning::Dropped { .. } | Warning::More { .. })) {
                Fate::Dropped
            } else if is(|warning| matches!(warning, Warning::Adapted { .. })) {
                Fate::Adapted
            } else {
                Fate::Sent
            }
        }
    }
}

/// What is made of a client's request, or of its dialect's base.
fn sent(client: Operation, upstream: Operation, body: Option<&str>, mode: Mode) -> Result<Prepared, Unprepared> {
    parsed(client, body.unwrap_or(base(client))).prepare(destination(&[upstream]), mode)
}

fn parsed(client: Operation, body: &str) -> ParsedRequest {
    let in_path = client.model_in_path();
    let matched = MatchedPath {
        operation: client,
        // The id of a stored response says it.
        model: (in_path || client == RETRIEVAL).then(|| "m".into()),
        framing: in_path.then_some(Framing::Whole),
        query: None,
        unknown_query: false,
        path: None,
    };
    ParsedRequest::read(matched, Head::default(), body.to_owned().into())
        .unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn destination(operations: &[Operation]) -> Destination<'_> {
    Destination {
        base_model: None,
        host: Host::Vendor,
        operations,
        model: None,
        default_max_output: 8_192,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    }
}

const fn title(operation: Operation) -> &'static str {
    match operation {
        ChatCompletions => "Chat Completions",
        Responses => "Responses",
        Messages => "Messages",
        GenerateContent => "generateContent",
        Embeddings => "Embeddings",
        EmbedContent => "embedContent",
        BatchEmbedContents => "batchEmbedContents",
        MessagesCountTokens => "Messages count_tokens",
        CountTokens => "countTokens",
        Converse => "Converse",
        ConverseCountTokens => "Converse count-tokens",
        ResponsesInputTokens => "Responses input_tokens",
        Operation::Predict => "predict",
        Operation::InvokeEmbedding => "InvokeModel",
        Operation::Stored(_) => "stored Responses",
        Operation::Direct(Direct::Compaction) => "Responses compact",
        Operation::Direct(_) => "other",
    }
}

/// The dialect's base with a patch.
fn merged(client: Operation, patch: &str) -> String {
    let mut body: Value = serde_json::from_str(base(client)).unwrap();
    let patch = serde_json::from_str(patch).unwrap_or_else(|error| panic!("{patch}: {error}"));
    merge(&mut body, patch);
    body.to_string()
}

fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (name, value) in patch {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch,
    }
}
