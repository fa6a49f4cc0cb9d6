//! Decides the answer to a legal request: text or tool calls, where it stops, and what it costs. The numbers made here
//! are the truth that the ledger keeps; what is *said* about usage is the script's business.

use super::ask::{Ask, ToolMode, arguments};
use super::script::{Script, UsageScript};
use serde_json::Value;

/// An answer, dialect-free.
#[derive(Debug)]
pub(super) struct Answer {
    /// Number of the request; ids are made from it.
    pub id: u64,
    /// The text; a piece is a token and a stream event.
    pub pieces: Vec<String>,
    pub calls: Vec<Call>,
    pub finish: Finish,
    pub usage: Usage,
    pub said: UsageScript,
}

#[derive(Debug)]
pub(super) struct Call {
    pub id: String,
    pub name: String,
    pub arguments: Value,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    Length,
    Sequence(String),
    Tools,
}

/// True counts. `input` includes `cached`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
}

impl Call {
    /// The arguments as JSON text, in the pieces that a stream sends. A piece is a token.
    pub fn fragments(&self) -> Vec<String> {
        let text = self.arguments.to_string();
        let letters: Vec<char> = text.chars().collect();
        letters.chunks(9).map(|piece| piece.iter().collect()).collect()
    }

    /// The call's name is a token too.
    pub fn tokens(&self) -> u64 {
        1 + self.fragments().len() as u64
    }
}

impl Answer {
    pub fn decide(id: u64, ask: &Ask, script: &Script) -> Self {
        let calls = calls(id, ask, script);
        let (pieces, finish) = if calls.is_empty() { text(ask, script) } else { (Vec::new(), Finish::Tools) };
        let per_choice = pieces.len() as u64 + calls.iter().map(Call::tokens).sum::<u64>();
        let output = per_choice * ask.choices.max(1) as u64;
        let usage = Usage { input: ask.input_tokens, cached: script.cached_tokens.min(ask.input_tokens), output };
        Self { id, pieces, calls, finish, usage, said: script.usage.clone() }
    }

    pub fn text(&self) -> String {
        self.pieces.concat()
    }

    /// The usage object to send, given the one that tells the truth; `None` when nothing is said.
    pub fn said(&self, truth: Value) -> Option<Value> {
        match &self.said {
            UsageScript::Exact => Some(truth),
            UsageScript::Absent => None,
            UsageScript::Odd(value) => Some(value.clone()),
        }
    }
}

fn calls(id: u64, ask: &Ask, script: &Script) -> Vec<Call> {
    if script.no_tools || ask.tool_mode == ToolMode::Never || !ask.tool_results.is_empty() {
        return Vec::new();
    }
    if let Some(call) = &script.tool_call {
        let offered = ask.tools.iter().filter(|tool| tool.name == call.name).take(1);
        return offered
            .map(|tool| Call { id: format!("call_{id}_0"), name: tool.name.clone(), arguments: call.arguments.clone() })
            .collect();
    }
    let named = |tool: &&_| match (&ask.tool_mode, tool) {
        (ToolMode::Named(name), super::ask::Tool { name: offered, .. }) => name == offered,
        _ => true,
    };
    let offered: Vec<_> = ask.tools.iter().filter(named).collect();
    let Some(first) = offered.first() else {
        return Vec::new();
    };
    let count = if script.parallel_tools && !ask.one_tool_only { 2 } else { 1 };
    let call = |nth: usize| {
        let tool = offered.get(nth).unwrap_or(first);
        Call { id: format!("call_{id}_{nth}"), name: tool.name.clone(), arguments: arguments(&tool.schema, nth) }
    };
    (0..count).map(call).collect()
}

fn text(ask: &Ask, script: &Script) -> (Vec<String>, Finish) {
    let full = script.pieces.clone().unwrap_or_else(|| words(&script.text.clone().unwrap_or_else(|| quote(ask))));
    let (mut pieces, mut finish) = stopped(full, &ask.stop);
    if let Some(limit) = ask.max_output.and_then(|limit| usize::try_from(limit).ok())
        && limit < pieces.len()
    {
        pieces.truncate(limit);
        finish = Finish::Length;
    }
    (pieces, finish)
}

/// Ends the text before the first stop sequence in it.
fn stopped(pieces: Vec<String>, stop: &[String]) -> (Vec<String>, Finish) {
    let whole = pieces.concat();
    let found = stop.iter().filter_map(|s| whole.find(s.as_str()).map(|at| (at, s))).min_by_key(|(at, _)| *at);
    let Some((end, sequence)) = found else {
        return (pieces, Finish::Stop);
    };
    let mut kept = Vec::new();
    let mut length = 0;
    for piece in pieces {
        let room = end - length;
        if piece.len() >= room {
            if room > 0 {
                kept.push(piece[..room].to_owned());
            }
            break;
        }
        length += piece.len();
        kept.push(piece);
    }
    (kept, Finish::Sequence(sequence.clone()))
}

fn quote(ask: &Ask) -> String {
    if !ask.tool_results.is_empty() {
        return format!("The tool said: {}", ask.tool_results.join(" | "));
    }
    let mut text = String::new();
    for image in &ask.images {
        text += &format!("I see {} of {} bytes. ", image.mime, image.bytes);
    }
    text + &format!("You said: {}", ask.text)
}

/// A piece per word, with the space that follows it.
fn words(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(String::from).collect()
}
