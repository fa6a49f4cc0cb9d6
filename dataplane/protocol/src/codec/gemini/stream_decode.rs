//! An upstream's chunks as events (docs/protocols/streaming.md). Chunks are answers in themselves, so whole answers are
//! read here too.
//!
//! Parts of one kind grow one block; another kind, or a signature of its own, begins the next. A signed part keeps its
//! signature to itself. The reason for the end is held until the end, since old servers state it in every chunk and usage
//! may follow it. An end without any reason, and without word that the prompt was blocked, is a truncation.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
};

use serde_json::value::RawValue;

use super::{
    contents_decode, finish,
    grounding::{MAX_CITED, Said},
    partial_args::PartialArgs,
    problem, reasoning_state, usage,
};
use crate::{
    codec::{
        Malformed, StreamDecoder, arguments, ids,
        json::{
            loose::Loose,
            read::{Object, Spelling, elements, malformed, read},
        },
    },
    dialect::Family,
    ir::{BlockKind, Citation, Delta, Event, FinishReason, Opaque, Usage},
    problem::{Problem, ProblemKind, understand},
    wire::sse::Frame,
};

/// Members of a candidate that have no place elsewhere and that a client would miss.
const LOST: [&str; 3] = ["finishMessage", "logprobsResult", "urlContextMetadata"];
/// Most bytes of addresses of one answer's sources.
const MAX_CITED_BYTES: usize = 1 << 20;

/// The decoder of one stream.
#[derive(Debug, Default)]
pub struct Decoder {
    started: bool,
    over: bool,
    /// The document is whole: an answer without a reason is taken as it is.
    whole: bool,
    blocked: bool,
    /// Seed of invented call ids.
    id: String,
    calls: usize,
    next_block: u32,
    candidates: BTreeMap<u32, Candidate>,
    usage: Usage,
}

#[derive(Debug, Default)]
struct Candidate {
    /// The open block, and whether it is a thought.
    open: Option<(u32, bool)>,
    called: bool,
    /// Some block has come.
    spoke: bool,
    finish: Option<String>,
    said: Said,
    /// Sources that were named: later chunks repeat them.
    cited: HashSet<(Range<u64>, String)>,
    cited_bytes: usize,
    /// The call whose arguments come in pieces.
    growing: Option<Growing>,
}

/// A call so far.
#[derive(Debug)]
struct Growing {
    name: String,
    id: Option<String>,
    state: Option<Opaque>,
    args: PartialArgs,
}

impl StreamDecoder for Decoder {
    fn push(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        let data = frame.data.trim();
        if self.over || data.is_empty() || data == "[DONE]" {
            return;
        }
        if data.starts_with(':') {
            out.push(Event::Ping);
            return;
        }
        match self.document(data, out) {
            Ok(()) => {}
            Err(problem) => self.fail(problem, out),
        }
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        if self.over {
            return;
        }
        let finished = !self.candidates.is_empty() && self.candidates.values().all(|one| one.finish.is_some());
        if finished || self.blocked || self.whole {
            self.end(out);
        } else {
            self.fail(Problem::new(ProblemKind::Upstream, "the upstream's answer was cut off (truncated)"), out);
        }
    }

    fn finished(&self) -> u64 {
        self.candidates.values().filter(|one| one.finish.is_some()).count() as u64
    }
}

impl Decoder {
    /// Reads a whole answer.
    pub fn whole(document: &str, out: &mut Vec<Event>) {
        let mut decoder = Self { whole: true, ..Self::default() };
        decoder.push(Frame { event: None, data: document }, out);
        decoder.finish(out);
    }

    /// One chunk; errors come wrapped into a list from some endpoints.
    fn document(&mut self, data: &str, out: &mut Vec<Event>) -> Result<(), Problem> {
        let unreadable = |error: Malformed| problem::unreadable(&error);
        if data.starts_with('[') {
            let chunks: Vec<&RawValue> = serde_json::from_str(data)
                .map_err(|error| unreadable(malformed(&format!("the chunk is not JSON: {error}"))))?;
            let mut chunks = chunks.into_iter().filter(|chunk| chunk.get() != "null");
            return chunks.try_for_each(|chunk| self.element(chunk.get(), out));
        }
        self.element(data, out)
    }

    fn element(&mut self, data: &str, out: &mut Vec<Event>) -> Result<(), Problem> {
        let unreadable = |error: Malformed| problem::unreadable(&error);
        let mut chunk = Object::parse(data.as_bytes(), Spelling::Proto).map_err(unreadable)?;
        if let Some(problem) = chunk.take_raw("error").and_then(problem::decode) {
            return Err(problem);
        }
        let answers = ["candidates", "usageMetadata", "promptFeedback", "response"].iter().any(|name| chunk.has(name));
        if !answers && let Some(problem) = understand::bare(Family::Gemini, data.as_bytes()) {
            return Err(problem);
        }
        // Code Assist puts the answer into an envelope.
        match chunk.object("response").map_err(unreadable)? {
            Some(inner) => self.chunk(inner, out),
            None => self.chunk(chunk, out),
        }
        .map_err(unreadable)
    }

    fn chunk(&mut self, mut chunk: Object<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        self.start(&mut chunk, out);
        if let Some(feedback) = chunk.object("promptFeedback")? {
            self.blocked |= feedback.has("blockReason");
        }
        let mut in_candidate = None;
        for (position, raw) in many(&mut chunk, "candidates")?.into_iter().enumerate() {
            let within = |error: Malformed| error.within(&format!("candidates[{position}]"));
            let mut candidate = Object::from_raw(raw, Spelling::Proto).map_err(within)?;
            in_candidate = in_candidate.or(candidate.take_raw("usageMetadata"));
            self.candidate(candidate, out).map_err(within)?;
        }
        if let Some(usage) = chunk.take_raw("usageMetadata").or(in_candidate).and_then(usage::read) {
            usage::settle(&mut self.usage, usage);
            out.push(Event::Usage(self.usage));
        }
        Ok(())
    }

    fn start(&mut self, chunk: &mut Object<'_>, out: &mut Vec<Event>) {
        let mut text = |name: &str| text(chunk, name);
        let (id, model) = (ids::of_answer(text("responseId")), text("modelVersion"));
        if !std::mem::replace(&mut self.started, true) {
            self.id = Option::clone(&id).unwrap_or_default();
            out.push(Event::Start { id, model, created: None, usage: None });
        }
    }

    fn candidate(&mut self, mut candidate: Object<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let index = text(&mut candidate, "index").and_then(|index| index.parse().ok()).unwrap_or(0_u32);
        self.candidates.entry(index).or_default().said.chunk();
        if let Some(mut content) = candidate.object("content")? {
            for (position, part) in many(&mut content, "parts")?.into_iter().enumerate() {
                self.part(index, part, out).map_err(|error| error.within(&format!("content.parts[{position}]")))?;
            }
        }
        self.sources(index, &mut candidate, out);
        for name in LOST {
            if candidate.has(name) {
                out.push(Event::Lost(format!("candidates[].{name}").into()));
            }
        }
        let reason = text(&mut candidate, "finishReason");
        if let Some(reason) = reason.as_deref().and_then(finish::stated)
            && let Some(known) = self.candidates.get_mut(&index)
        {
            known.finish = Some(reason.to_owned());
        }
        Ok(())
    }

    /// The sources that the chunk names, as citations of the visible text.
    fn sources(&mut self, index: u32, candidate: &mut Object<'_>, out: &mut Vec<Event>) {
        let Some(known) = self.candidates.get_mut(&index) else { return };
        let mut cited: Vec<Citation> = Vec::new();
        if let Some(raw) = candidate.take_raw("groundingMetadata") {
            cited.extend(known.said.grounded(raw));
        }
        if let Some(raw) = candidate.take_raw("citationMetadata") {
            cited.extend(known.said.recited(raw));
        }
        cited.retain(|one| {
            let place = (one.span.clone(), one.url.clone().unwrap_or_default());
            if known.cited.contains(&place) {
                return false;
            }
            known.cited_bytes = known.cited_bytes.saturating_add(place.1.len());
            known.cited.len() < MAX_CITED && known.cited_bytes <= MAX_CITED_BYTES && known.cited.insert(place)
        });
        for citation in cited {
            let block = self.text_block(index, out);
            out.push(Event::BlockDelta { block, delta: Delta::Citation(citation) });
        }
    }

    /// The open block of visible text, or a new one.
    fn text_block(&mut self, index: u32, out: &mut Vec<Event>) -> u32 {
        if let Some((block, false)) = self.candidates.get(&index).and_then(|candidate| candidate.open) {
            return block;
        }
        let block = self.open(index, BlockKind::Text, out);
        if let Some(candidate) = self.candidates.get_mut(&index) {
            candidate.open = Some((block, false));
        }
        block
    }

    fn part(&mut self, candidate: u32, raw: &RawValue, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let mut part = Object::from_raw(raw, Spelling::Proto)?;
        let thought = text(&mut part, "thought").is_some_and(|thought| thought == "true");
        let state = text(&mut part, "thoughtSignature").filter(|state| !state.is_empty());
        let state = state.map(|value| reasoning_state::native(&value).state);
        if let Some(mut call) = part.object("functionCall")?.filter(|call| !call.says_nothing()) {
            if let Some(known) = self.candidates.get_mut(&candidate) {
                known.said.part("");
            }
            return self.call(candidate, &mut call, state, out).map_err(|error| error.within("functionCall"));
        }
        let text = text(&mut part, "text");
        if let Some(known) = self.candidates.get_mut(&candidate) {
            known.said.part(text.as_deref().filter(|_| !thought).unwrap_or_default());
        }
        // A picture that is a thought is Google's own affair.
        let media = if thought { None } else { contents_decode::media(&mut part, state.clone())? };
        if let Some(media) = media {
            let block = self.open(candidate, BlockKind::Media(Box::new(media.block)), out);
            out.push(Event::BlockEnd { block });
            return Ok(());
        }
        match part.rest().find(|(_, value)| value.get() != "{}") {
            Some((kind, _)) if text.is_none() => {
                let kind = BlockKind::Unknown { family: Family::Gemini, kind: kind.into_owned(), raw: raw.to_owned() };
                let block = self.open(candidate, kind, out);
                out.push(Event::BlockEnd { block });
            }
            _ => self.words(candidate, text.unwrap_or_default(), thought, state, out),
        }
        Ok(())
    }

    fn words(&mut self, candidate: u32, text: String, thought: bool, state: Option<Opaque>, out: &mut Vec<Event>) {
        let open = self.candidates.get(&candidate).and_then(|candidate| candidate.open);
        if text.is_empty() && state.is_none() {
            return;
        }
        let block = match open {
            Some((block, kind)) if kind == thought && state.is_none() => block,
            _ => {
                let kind = if thought { BlockKind::Reasoning { redacted: false } } else { BlockKind::Text };
                let block = self.open(candidate, kind, out);
                if let Some(candidate) = self.candidates.get_mut(&candidate) {
                    candidate.open = Some((block, thought));
                }
                block
            }
        };
        if !text.is_empty() {
            let delta = if thought { Delta::Reasoning(text) } else { Delta::Text(text) };
            out.push(Event::BlockDelta { block, delta });
        }
        if let Some(state) = state {
            out.push(Event::BlockDelta { block, delta: Delta::State(state) });
            self.close(candidate, out);
        }
    }

    fn call(
        &mut self,
        candidate: u32,
        call: &mut Object<'_>,
        state: Option<Opaque>,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        let pieces = call.objects("partialArgs")?;
        let goes_on = call.take::<bool>("willContinue")? == Some(true);
        if call.has("name") {
            // Another call begins: the former one got all its pieces.
            self.grown(candidate, out);
        }
        let growing = self.candidates.get_mut(&candidate).and_then(|known| known.growing.take());
        if growing.is_some() || goes_on || !pieces.is_empty() {
            let mut growing = match growing {
                Some(growing) => growing,
                None => Growing {
                    name: call.need("name")?,
                    id: text(call, "id"),
                    state: None,
                    args: PartialArgs::default(),
                },
            };
            growing.args.push(pieces).map_err(|error| error.within("partialArgs"))?;
            growing.state = state.or(growing.state);
            if let Some(known) = self.candidates.get_mut(&candidate) {
                known.called = true;
                known.growing = Some(growing);
            }
            // The last piece says `willContinue: false`, or nothing more comes: then the candidate's end is the call's.
            if !goes_on {
                self.grown(candidate, out);
            }
            return Ok(());
        }
        let name = call.need_name()?;
        let arguments = arguments::unquoted(call.take_raw("args").map_or("", RawValue::get).to_owned());
        let id = text(call, "id");
        self.whole_call(candidate, (name, id), &arguments, state, out);
        Ok(())
    }

    /// Hands out a call whose arguments came in pieces.
    fn grown(&mut self, candidate: u32, out: &mut Vec<Event>) {
        let growing = self.candidates.get_mut(&candidate).and_then(|known| known.growing.take());
        if let Some(Growing { name, id, state, args }) = growing {
            self.whole_call(candidate, (name, id), &args.finish(), state, out);
        }
    }

    fn whole_call(
        &mut self,
        candidate: u32,
        (name, id): (String, Option<String>),
        arguments: &str,
        state: Option<Opaque>,
        out: &mut Vec<Event>,
    ) {
        let id = match id.filter(|id| !id.is_empty()) {
            Some(id) => id,
            // Without an id of the answer, its calls tell it apart.
            None if self.id.is_empty() => ids::invented_call_id(&format!("{name}{arguments}"), self.calls),
            None => ids::invented_call_id(&self.id, self.calls),
        };
        self.calls = self.calls.saturating_add(1);
        let block = self.open(candidate, BlockKind::ToolCall { id, name }, out);
        if let Some(state) = state {
            out.push(Event::BlockDelta { block, delta: Delta::State(state) });
        }
        if !arguments.is_empty() {
            out.push(Event::BlockDelta { block, delta: Delta::Arguments(arguments.to_owned()) });
        }
        out.push(Event::BlockEnd { block });
        if let Some(candidate) = self.candidates.get_mut(&candidate) {
            candidate.called = true;
        }
    }

    /// Starts a block, closing the one that is open.
    fn open(&mut self, candidate: u32, kind: BlockKind, out: &mut Vec<Event>) -> u32 {
        self.close(candidate, out);
        self.candidates.entry(candidate).or_default().spoke = true;
        let block = self.next_block;
        self.next_block = block.saturating_add(1);
        out.push(Event::BlockStart { block, candidate, kind });
        block
    }

    fn close(&mut self, candidate: u32, out: &mut Vec<Event>) {
        if let Some((block, _)) = self.candidates.get_mut(&candidate).and_then(|candidate| candidate.open.take()) {
            out.push(Event::BlockEnd { block });
        }
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        if let Some(problem) = self.broken_off() {
            return self.fail(problem, out);
        }
        if self.candidates.is_empty() && !self.blocked && self.whole {
            let nothing = "the upstream's answer has no candidates";
            return self.fail(Problem::new(ProblemKind::Upstream, nothing), out);
        }
        self.over = true;
        if !std::mem::replace(&mut self.started, true) {
            out.push(Event::Start { id: None, model: None, created: None, usage: None });
        }
        for index in self.candidates.keys().copied().collect::<Vec<_>>() {
            self.grown(index, out);
            self.close(index, out);
        }
        if self.candidates.is_empty() {
            out.push(Event::Finish { candidate: 0, finish: FinishReason::ContentFilter.into() });
        }
        for (index, candidate) in std::mem::take(&mut self.candidates) {
            let reason = finish::decode(candidate.finish.as_deref().unwrap_or_default(), candidate.called);
            out.push(Event::Finish { candidate: index, finish: reason.into() });
        }
        out.push(Event::End);
    }

    /// The model or its server gave up: as a plain end that would be an answer cut short, or an empty success (hard
    /// case 233). A reason that nobody knows is one of these where nothing was said.
    fn broken_off(&self) -> Option<Problem> {
        let given_up = self.candidates.values().filter_map(|candidate| {
            let reason = candidate.finish.as_deref()?;
            let is_unknown = !candidate.spoke && finish::decode(reason, false) == FinishReason::Other;
            (finish::broke_off(reason) || is_unknown).then_some(reason)
        });
        given_up.map(problem::came_to_nothing).next()
    }

    fn fail(&mut self, problem: Problem, out: &mut Vec<Event>) {
        self.over = true;
        out.push(Event::Error(problem));
    }
}

/// A member that should be text, also as a number or a boolean.
fn text(object: &mut Object<'_>, name: &str) -> Option<String> {
    object.take_raw(name).and_then(|raw| Some(read::<Loose<'_>>(raw).ok()?.into_string()))
}

/// The elements of a list without nulls, or one element that stands without a list around it.
fn many<'a>(object: &mut Object<'a>, name: &str) -> Result<Vec<&'a RawValue>, Malformed> {
    match object.take_raw(name) {
        Some(raw) if raw.get().starts_with('{') => Ok(vec![raw]),
        Some(raw) => {
            let elements = elements(raw).map_err(|error| error.within(name))?;
            Ok(elements.into_iter().filter(|raw| raw.get() != "null").collect())
        }
        None => Ok(Vec::new()),
    }
}
