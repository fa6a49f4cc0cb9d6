//! A row of the tables: what goes in, and what must hold of what comes out.

use bytes::Bytes;
use routeapi_protocol::{
    codec::{Head, ResponseContext},
    dialect::Operation,
    framing::Framing,
    host::Host,
    inbound::MatchedPath,
    limits::ModelLimits,
    report::Mode,
    request::{Destination, ParsedRequest, Prepared, Unprepared},
    response_stats::ResponseStats,
};
use serde_json::Value;

pub const C: Operation = Operation::ChatCompletions;
pub const A: Operation = Operation::Messages;
pub const G: Operation = Operation::GenerateContent;
pub const R: Operation = Operation::Responses;

/// What must hold.
#[derive(Clone, Copy, Debug)]
pub enum Want {
    /// The member at this JSON pointer has this value.
    Is(&'static str, &'static str),
    /// There is no member at this JSON pointer.
    No(&'static str),
    /// The bytes hold this text.
    Says(&'static str),
    /// They hold it exactly once.
    Once(&'static str),
    /// They hold these, in this order.
    Then(&'static [&'static str]),
    /// They do not hold it.
    Silent(&'static str),
    /// They end in this.
    Ends(&'static str),
    /// A warning holds this text.
    Warns(&'static str),
    /// There is a warning, and each holds this text.
    OnlyWarns(&'static str),
    /// There are no warnings.
    Quiet,
    /// The request is refused, or illegal, because of this field.
    Refuses(&'static str),
    /// What the client does not get has this name.
    Loses(&'static str),
    /// The answer is a failure, in words that hold this text.
    Fails(&'static str),
    /// The failure has this status.
    Status(u16),
    /// The vendor's own words of the failure, as they are handed over.
    Hands(&'static str),
    /// No words of the vendor's are handed over.
    HandsNothing,
    /// The answer is complete and no failure.
    Complete,
}

use Want::{
    Complete, Ends, Fails, Hands, HandsNothing, Is, Loses, No, Once, OnlyWarns, Quiet, Refuses, Says, Silent, Status,
    Then, Warns,
};

/// A client's request on its way to an upstream.
#[derive(Clone, Copy)]
pub struct Request {
    pub cases: &'static [u16],
    pub from: Operation,
    pub body: &'static str,
    pub to: Operation,
    pub model: &'static str,
    pub mode: Mode,
    pub wants: &'static [Want],
}

/// An upstream's answer on its way to a client.
#[derive(Clone, Copy)]
pub struct Answer {
    pub cases: &'static [u16],
    pub from: Operation,
    pub body: Body,
    pub to: Operation,
    /// Whether the client asked for usage.
    pub usage: bool,
    pub wants: &'static [Want],
}

#[derive(Clone, Copy)]
pub enum Body {
    Golden(&'static str),
    Stream(&'static [&'static str]),
    Whole(&'static str),
    /// One document, for a client that asked for a stream.
    Instead(&'static str),
}

impl Request {
    /// What does not hold.
    pub fn failures(&self) -> Vec<String> {
        let place = format!("hard cases {:?}, {} to {} {}", self.cases, self.from, self.to, self.model);
        let prepared = match prepare(self) {
            Ok(prepared) => prepared,
            Err(field) => {
                let refused = matches!(self.wants, [Refuses(expected)] if *expected == field);
                return if refused { Vec::new() } else { vec![format!("{place}: refused for {field}")] };
            }
        };
        let body = String::from_utf8(prepared.body.to_vec()).unwrap();
        let warnings: Vec<String> = prepared.warnings.iter().map(ToString::to_string).collect();
        let fails = self.wants.iter().filter(|want| !holds(**want, &body, &warnings, &[]));
        fails.map(|want| format!("{place}: {want:?} of {body}\n{warnings:?}")).collect()
    }
}

fn prepare(row: &Request) -> Result<Prepared, String> {
    prepare_framed(row, Framing::Whole)
}

/// The same, for a client of Gemini's dialect that wants the answer in this framing.
fn prepare_framed(row: &Request, framing: Framing) -> Result<Prepared, String> {
    let gemini = row.from == G;
    let matched = MatchedPath {
        operation: row.from,
        model: gemini.then(|| "the-clients-model".into()),
        framing: gemini.then_some(framing),
        query: None,
        unknown_query: false,
        path: None,
    };
    let call = ParsedRequest::read(matched, Head::default(), Bytes::from_static(row.body.as_bytes())).unwrap();
    let to = Destination {
        base_model: None,
        host: Host::Vendor,
        operations: &[row.to],
        model: Some(row.model),
        default_max_output: 8_192,
        limits: ModelLimits::default(),
        continued: None,
        max_body: 32 << 20,
    };
    call.prepare(to, row.mode).map_err(|error| match error {
        Unprepared::Refused(refusal) => refusal.field.into_owned(),
        Unprepared::Malformed(malformed) => malformed.field.unwrap_or_default(),
        Unprepared::Unreachable => "unreachable".into(),
        Unprepared::UnsafeModel(error) => error.to_string(),
    })
}

impl Answer {
    /// What does not hold.
    pub fn failures(&self) -> Vec<String> {
        let place = format!("hard cases {:?}, {} from {}", self.cases, self.to, self.from);
        let (bytes, whole) = match self.body {
            Body::Golden(path) => {
                let file = format!("{}/golden/{path}", env!("CARGO_MANIFEST_DIR"));
                (std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}")), path.ends_with(".json"))
            }
            Body::Stream(frames) => {
                (frames.iter().flat_map(|frame| format!("{frame}\n\n").into_bytes()).collect(), false)
            }
            Body::Whole(text) => (text.as_bytes().to_vec(), true),
            Body::Instead(text) => (text.as_bytes().to_vec(), false),
        };
        let framing = if whole { Framing::Whole } else { Framing::Sse };
        let translation = prepare_framed(&self.request(whole), framing).exchange();
        let reply = ResponseContext { model: "m".into(), id: "abc".into(), created: 1, ..ResponseContext::default() };
        let (out, seen, stated) = if whole {
            let bytes = Bytes::from(bytes);
            match translation.whole(&reply, 200, Some("application/json"), bytes.clone()) {
                Ok(whole) => (whole.body.to_vec(), whole.stats, None),
                Err(problem) => {
                    let text = format!("problem: {problem:?}").into_bytes();
                    let seen = ResponseStats { error: Some(problem), ..ResponseStats::default() };
                    (text, seen, translation.stated_error(&bytes))
                }
            }
        } else {
            let mut stream = translation.stream(&reply);
            let mut out: Vec<u8> =
                bytes.chunks(7).flat_map(|chunk| stream.push(Bytes::copy_from_slice(chunk))).collect();
            out.extend_from_slice(&stream.finish());
            (out, stream.stats().clone(), stream.stated_error())
        };
        let out = String::from_utf8(out).unwrap();
        let stated = stated.map(|stated| String::from_utf8(stated.to_vec()).unwrap());
        let lost: Vec<String> = seen.lost.iter().map(ToString::to_string).collect();
        let fails = self.wants.iter().filter(|want| match want {
            Fails(words) => !seen.error.as_ref().is_some_and(|problem| problem.message.contains(words)),
            Status(status) => seen.error.as_ref().map(|problem| problem.status) != Some(*status),
            Hands(words) => stated.as_deref() != Some(words),
            HandsNothing => stated.is_some(),
            Complete => seen.error.is_some() || !seen.complete,
            want => !holds(**want, &out, &[], &lost),
        });
        fails
            .map(|want| format!("{place}: {want:?} of {out}\nlost {lost:?} failed {:?} stated {stated:?}", seen.error))
            .collect()
    }

    /// Any request that such an answer could belong to.
    fn request(&self, whole: bool) -> Request {
        let body = match (self.to, whole, self.usage) {
            (G, ..) => r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#,
            (R, true, _) => r#"{"model":"m","input":"hi"}"#,
            (R, ..) => r#"{"model":"m","stream":true,"input":"hi"}"#,
            (A, true, _) => r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
            (A, ..) => r#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
            (_, true, _) => r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
            (_, _, true) => {
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}"#
            }
            _ => {
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":false},"messages":[{"role":"user","content":"hi"}]}"#
            }
        };
        Request { cases: self.cases, from: self.to, body, to: self.from, model: "m", mode: Mode::Default, wants: &[] }
    }
}

trait WayBack {
    fn exchange(self) -> routeapi_protocol::response_translation::ResponseTranslation;
}

impl WayBack for Result<Prepared, String> {
    fn exchange(self) -> routeapi_protocol::response_translation::ResponseTranslation {
        self.unwrap().translation
    }
}

fn holds(want: Want, text: &str, warnings: &[String], lost: &[String]) -> bool {
    let parsed = || serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    match want {
        Is(pointer, value) => parsed().pointer(pointer) == Some(&serde_json::from_str(value).unwrap()),
        No(pointer) => parsed().is_object() && parsed().pointer(pointer).is_none(),
        Says(part) => text.contains(part),
        Once(part) => text.matches(part).count() == 1,
        Then(parts) => {
            let mut rest = text;
            parts.iter().all(|part| rest.split_once(part).map(|(_, behind)| rest = behind).is_some())
        }
        Silent(part) => !text.contains(part),
        Ends(part) => text.ends_with(part),
        Warns(part) => warnings.iter().any(|warning| warning.contains(part)),
        OnlyWarns(part) => !warnings.is_empty() && warnings.iter().all(|warning| warning.contains(part)),
        Quiet => warnings.is_empty(),
        Refuses(_) => false,
        Loses(name) => lost.iter().any(|field| field == name),
        Fails(_) | Status(_) | Hands(_) | HandsNothing | Complete => false,
    }
}
