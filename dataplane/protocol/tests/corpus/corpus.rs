//! The golden files: where they are, and what every test over them needs.

#![allow(dead_code, reason = "each test program uses its part of it")]

use std::{fs, path::PathBuf};

use routeapi_protocol::{
    codec::{ResponseContext, StreamDecoder, client_codec, upstream_codec},
    dialect::Operation,
    ir::Event,
    wire::{
        event_stream::EventStreamDecoder,
        sse::{Frame, SseDecoder},
    },
};

/// A folder of golden files.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Clients' requests.
    Requests,
    /// Upstreams' whole answers.
    Responses,
    /// Upstreams' streams.
    Streams,
}

/// One input.
pub struct Case {
    pub name: String,
    pub operation: Operation,
    pub input: Vec<u8>,
}

const ALL: [Operation; 5] = [
    Operation::ChatCompletions,
    Operation::Responses,
    Operation::Messages,
    Operation::GenerateContent,
    Operation::Converse,
];

/// The operations that clients are read and answered in.
pub fn clients() -> Vec<Operation> {
    ALL.into_iter().filter(|operation| client_codec(*operation).is_some()).collect()
}

/// The operations that upstreams are asked and read in.
pub fn upstreams() -> Vec<Operation> {
    ALL.into_iter().filter(|operation| upstream_codec(*operation).is_some()).collect()
}

impl Kind {
    /// The operations that such files are written in.
    fn sources(self) -> Vec<Operation> {
        match self {
            Self::Requests => clients(),
            Self::Responses | Self::Streams => upstreams(),
        }
    }

    /// The operations that they are translated to.
    fn targets(self) -> Vec<Operation> {
        match self {
            Self::Requests => upstreams(),
            Self::Responses | Self::Streams => clients(),
        }
    }
}

/// Models of one dialect whose encodings differ.
pub fn models(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::ChatCompletions | Operation::Responses => &["gpt-4.1", "gpt-5.4", "qwen3"],
        Operation::Messages => &["claude-sonnet-4-5", "claude-opus-4-7"],
        Operation::GenerateContent => &["gemini-2.5-flash", "gemini-3-pro-preview", "gemini-1.5-pro"],
        Operation::Converse => &[
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "us.amazon.nova-2-lite-v1:0",
            "meta.llama3-3-70b-instruct-v1:0",
        ],
        _ => &["a-model"],
    }
}

/// What the client of every golden answer asked for.
pub fn client_reply() -> ResponseContext {
    ResponseContext {
        model: "the-clients-model".into(),
        id: "0123456789abcdef".into(),
        created: 1_700_000_000,
        include_usage: true,
        custom_tools: std::sync::Arc::new(["free_form".into()].into()),
        echo: None,
        ..ResponseContext::default()
    }
}

/// Every case of one kind.
pub fn cases(kind: Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    for operation in kind.sources() {
        let Ok(files) = fs::read_dir(folder(kind, operation)) else { continue };
        for file in files {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if let Some((name, extension)) = name.split_once('.')
                && matches!(extension, "json" | "sse")
            {
                cases.push(Case { name: name.to_owned(), operation, input: fs::read(&path).unwrap() });
            }
        }
    }
    cases.sort_by(|a, b| (a.operation.name(), &a.name).cmp(&(b.operation.name(), &b.name)));
    assert!(!cases.is_empty(), "no golden {kind:?}");
    cases
}

/// Compares what `snapshot` makes of every case, for every other dialect and its own, with the file beside the case.
pub fn check(kind: Kind, snapshot: impl Fn(&Case, Operation) -> String) {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for case in cases(kind) {
        for target in kind.targets() {
            let path = folder(kind, case.operation).join(format!("{}.to_{}.txt", case.name, target.name()));
            let actual = snapshot(&case, target);
            if update {
                fs::write(&path, actual).unwrap();
                continue;
            }
            let expected = fs::read_to_string(&path).unwrap_or_default();
            if expected != actual {
                wrong.push(format!("--- {}\n{expected}+++ now\n{actual}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} golden files differ (UPDATE=1 rewrites them)\n{}", wrong.len(), wrong.join("\n"));
}

fn folder(kind: Kind, operation: Operation) -> PathBuf {
    let kind = match kind {
        Kind::Requests => "requests",
        Kind::Responses => "responses",
        Kind::Streams => "streams",
    };
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(kind).join(operation.name())
}

/// The events of a stream that arrives in these pieces. Those of Converse are written as server-sent events in golden
/// files, so that they can be read; the binary frames around them are another test's.
pub fn decode_stream(operation: Operation, pieces: &[&[u8]]) -> Vec<Event> {
    let mut decoder = upstream_codec(operation).unwrap().stream_decoder();
    let mut events = Vec::new();
    each_frame(pieces, |frame| decoder.push(frame, &mut events));
    StreamDecoder::finish(decoder.as_mut(), &mut events);
    events
}

/// The frames of server-sent events or of an event stream, which begins with a zero. The latter ends at a damaged one.
pub fn each_frame(pieces: &[&[u8]], mut each: impl FnMut(Frame<'_>)) {
    if pieces.iter().find_map(|piece| piece.first()) == Some(&0) {
        let mut frames = EventStreamDecoder::new();
        let _ends = pieces.iter().try_for_each(|piece| frames.push(piece, &mut each));
        return;
    }
    let mut frames = SseDecoder::new();
    pieces.iter().for_each(|piece| frames.push(piece, &mut each).unwrap());
    frames.finish(each);
}

/// What a client gets, for people: binary frames as server-sent events.
pub fn readable(bytes: Vec<u8>) -> String {
    if bytes.first() != Some(&0) {
        return String::from_utf8(bytes).unwrap();
    }
    let mut text = String::new();
    each_frame(&[&bytes], |frame| {
        text += &format!("event: {}\ndata: {}\n\n", frame.event.unwrap_or_default(), frame.data);
    });
    text
}

/// JSON with one member per line, its order and its numbers as they are.
pub fn prettied(json: &[u8]) -> String {
    serde_json::from_slice::<serde_json::Value>(json)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(json)));
    let text = std::str::from_utf8(json).unwrap();
    let (mut out, mut depth, mut in_string, mut escaped) = (String::new(), 0_usize, false, false);
    let mut last = ' ';
    for c in text.chars().filter(|c| !matches!(c, '\n' | '\r')) {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            last = c;
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                depth += 1;
                newline(&mut out, depth);
            }
            '}' | ']' => {
                depth -= 1;
                if matches!(last, '{' | '[') {
                    out.truncate(out.trim_end().len());
                } else {
                    newline(&mut out, depth);
                }
                out.push(c);
            }
            ',' => {
                out.push(c);
                newline(&mut out, depth);
            }
            ':' => out.push_str(": "),
            ' ' | '\t' => continue,
            _ => {
                in_string = c == '"';
                out.push(c);
            }
        }
        last = c;
    }
    out.push('\n');
    out
}

fn newline(out: &mut String, depth: usize) {
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
}
