//! An upstream's chunks as events (docs/protocols/streaming.md).
//!
//! Read as loosely as compatible servers demand: `delta` may be missing, reasoning has two names, arguments may come
//! before the name, several calls may share one index, usage may ride anywhere. `Finish` is held until `[DONE]` or the
//! end, because usage may follow it. An end with a choice unfinished and no `[DONE]` is a truncation.

mod blocks;
mod calls;

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use self::{blocks::Blocks, calls::Calls};
use super::{
    annotations, finish, problem,
    reasoning_state::{self, Detail},
    usage,
    wire::{self, Choice, Chunk, Delta as WireDelta},
};
use crate::{
    codec::{
        StreamDecoder, ids,
        json::read::{Object, Spelling},
    },
    dialect::Family,
    ir::{BlockKind, Delta, Event, Opaque},
    problem::{Problem, ProblemKind, understand},
    wire::sse::Frame,
};

/// The decoder of one stream.
#[derive(Debug, Default)]
pub struct Decoder {
    started: bool,
    over: bool,
    /// The upstream's id: seed of invented call ids.
    id: String,
    blocks: Blocks,
    choices: BTreeMap<u32, Answer>,
}

/// One choice so far.
#[derive(Debug, Default)]
struct Answer {
    /// The open block of words, if one is.
    open: Option<(Words, u32)>,
    calls: Calls,
    refused: bool,
    /// Reasoning came under a name of its own, so that words in `reasoning_details` are the same words again.
    plain_reasoning: bool,
    /// The open block of reasoning has its state.
    signed: bool,
    finish: Option<String>,
}

/// Blocks of words, of which one is open at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    Text,
    Reasoning,
    Refusal,
}

impl StreamDecoder for Decoder {
    fn push(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        let data = frame.data.trim();
        if self.over || data.is_empty() {
            return;
        }
        if data == "[DONE]" {
            self.end(out);
        } else if data.starts_with(':') {
            // A comment that some server wrapped into data.
            out.push(Event::Ping);
        } else {
            match serde_json::from_str::<Option<Chunk<'_>>>(data) {
                Ok(None) => {}
                Ok(Some(chunk)) => match bare_error(frame, &chunk) {
                    Some(problem) => self.fail(problem, out),
                    None => self.chunk(&chunk, out),
                },
                Err(error) => {
                    let unreadable = || {
                        let why = format!("the upstream sent an unreadable chunk: {error}");
                        Problem::new(ProblemKind::Upstream, why)
                    };
                    let said = understand::said_instead(Family::OpenAi, data.as_bytes());
                    self.fail(said.unwrap_or_else(unreadable), out);
                }
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        if self.over {
            return;
        }
        if !self.choices.is_empty() && self.choices.values().all(|answer| answer.finish.is_some()) {
            self.end(out);
        } else {
            self.fail(Problem::new(ProblemKind::Upstream, "the upstream's answer was cut off (truncated)"), out);
        }
    }

    fn finished(&self) -> u64 {
        self.choices.values().filter(|one| one.finish.is_some()).count() as u64
    }
}

impl Decoder {
    fn chunk(&mut self, chunk: &Chunk<'_>, out: &mut Vec<Event>) {
        if let Some(problem) = chunk.error.and_then(problem::decode) {
            return self.fail(problem, out);
        }
        let choices: Vec<&Choice<'_>> = chunk.choices.iter().flatten().flatten().collect();
        if let Some(problem) = choices.iter().find_map(|choice| broken_off(choice)) {
            return self.fail(problem, out);
        }
        let has_id = chunk.id.as_deref().is_some_and(|id| !id.is_empty());
        // Azure's first chunk has neither: it tells about the prompt's filters.
        if has_id || !choices.is_empty() {
            self.start(chunk, out);
        }
        for choice in &choices {
            if let Err(problem) = self.choice(choice, out) {
                return self.fail(problem, out);
            }
        }
        let in_choice = choices.iter().find_map(|choice| choice.usage);
        if let Some(usage) = chunk.usage.or(in_choice).and_then(usage::read) {
            self.start(chunk, out);
            out.push(Event::Usage(usage));
        }
    }

    fn start(&mut self, chunk: &Chunk<'_>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let id = ids::of_answer(chunk.id.as_deref().filter(|id| !id.is_empty()).map(str::to_owned));
        self.id = id.clone().unwrap_or_default();
        out.push(Event::Start {
            id,
            model: chunk.model.as_deref().filter(|model| !model.is_empty()).map(str::to_owned),
            created: chunk.created.and_then(wire::whole_number),
            usage: None,
        });
    }

    fn choice(&mut self, choice: &Choice<'_>, out: &mut Vec<Event>) -> Result<(), Problem> {
        let index = choice.index.unwrap_or(0);
        let seed = format!("{}{index}", self.id);
        let answer = self.choices.entry(index).or_default();
        let mut growing = Growing { answer, blocks: &mut self.blocks, index, seed: &seed, out };
        match (&choice.delta, choice.message) {
            (Some(delta), _) => growing.delta(delta)?,
            (None, Some(message)) => growing.delta(&serde_json::from_str(message.get()).unwrap_or_default())?,
            (None, None) => {}
        }
        growing.words(Words::Text, choice.text.as_deref().unwrap_or_default());
        if choice.logprobs.is_some_and(|raw| raw.get() != "null") {
            out.push(Event::Lost("choices[].logprobs".into()));
        }
        if let Some(reason) = choice.finish_reason.as_deref().and_then(finish::stated) {
            let answer = self.choices.entry(index).or_default();
            answer.finish.get_or_insert_with(|| reason.to_owned());
        }
        Ok(())
    }

    /// The legal end: closes what is open and releases what was held.
    fn end(&mut self, out: &mut Vec<Event>) {
        if !self.started {
            self.started = true;
            out.push(Event::Start { id: None, model: None, created: None, usage: None });
        }
        if self.choices.is_empty() {
            self.choices.insert(0, Answer::default());
        }
        let mut finishes = Vec::new();
        for (index, mut answer) in std::mem::take(&mut self.choices) {
            let seed = format!("{}{index}", self.id);
            let mut growing = Growing { answer: &mut answer, blocks: &mut self.blocks, index, seed: &seed, out };
            if let Err(problem) = growing.close() {
                return self.fail(problem, out);
            }
            let reason = answer.finish.as_deref().unwrap_or_default();
            let reason = finish::decode(reason, !answer.calls.is_empty(), answer.refused);
            finishes.push(Event::Finish { candidate: index, finish: reason.into() });
        }
        out.append(&mut finishes);
        out.push(Event::End);
        self.over = true;
    }

    fn fail(&mut self, problem: Problem, out: &mut Vec<Event>) {
        self.over = true;
        out.push(Event::Error(problem));
    }
}

/// What a chunk says that is an error without an envelope.
fn bare_error(frame: Frame<'_>, chunk: &Chunk<'_>) -> Option<Problem> {
    if chunk.error.is_some() || chunk.choices.is_some() || chunk.usage.is_some() {
        return None;
    }
    match frame.event {
        Some("error") => Some(understand::no_answer(Family::OpenAi, frame.data.as_bytes())),
        _ => understand::bare(Family::OpenAi, frame.data.as_bytes()),
    }
}

/// Why the server gave up on a choice, if it did: in words of its own, or by the reason alone.
fn broken_off(choice: &Choice<'_>) -> Option<Problem> {
    let word = choice.finish_reason.as_deref().filter(|word| finish::broke_off(word));
    let said = choice.error.and_then(problem::decode);
    said.or_else(|| Some(problem::stopped_early(word?)))
}

/// One choice while a chunk is applied to it.
struct Growing<'a> {
    answer: &'a mut Answer,
    blocks: &'a mut Blocks,
    index: u32,
    seed: &'a str,
    out: &'a mut Vec<Event>,
}

impl Growing<'_> {
    /// Reasoning, then words, then calls: the order in which a chunk that holds everything means it.
    fn delta(&mut self, delta: &WireDelta<'_>) -> Result<(), Problem> {
        let names = [&delta.reasoning_content, &delta.reasoning];
        if let Some(text) = names.into_iter().filter_map(|text| text.as_deref()).find(|text| !text.is_empty()) {
            self.answer.plain_reasoning = true;
            self.words(Words::Reasoning, text);
        }
        if let Some(details) = delta.reasoning_details {
            self.details(details);
        }
        if let Some(content) = delta.content {
            let content = wire::content(content);
            self.words(Words::Reasoning, &content.reasoning);
            self.words(Words::Text, &content.words);
            self.words(Words::Refusal, &content.refusal);
            if let Some(images) = content.images() {
                self.images(&images);
            }
            self.lost("choices[].message.content", content.others);
        }
        self.words(Words::Refusal, delta.refusal.as_deref().unwrap_or_default());
        self.beside(delta);
        let calls = delta.tool_calls.iter().flatten();
        let legacy = delta.function_call.as_ref().filter(|function| !function.says_nothing());
        if calls.clone().any(|call| !call.says_nothing()) || legacy.is_some() {
            self.close_words();
        }
        let mut place = calls::Place { blocks: self.blocks, candidate: self.index, out: self.out };
        for call in calls {
            self.answer.calls.push(call, &mut place)?;
        }
        if let Some(function) = legacy {
            self.answer.calls.push_legacy(function, self.seed, &mut place)?;
        }
        Ok(())
    }

    /// Sources, pictures, and sounds, for which there is no place.
    fn beside(&mut self, delta: &WireDelta<'_>) {
        if let Some((citations, others)) = delta.annotations.map(annotations::citations) {
            for citation in citations {
                let block = self.open(Words::Text);
                self.out.push(Event::BlockDelta { block, delta: Delta::Citation(citation) });
            }
            self.lost("choices[].message.annotations", others);
        }
        if let Some(images) = delta.images {
            self.images(images);
        }
        self.lost("choices[].message.audio", delta.audio.is_some_and(|raw| raw.get() != "null"));
    }

    fn images(&mut self, raw: &RawValue) {
        let (images, others) = annotations::images(raw);
        for image in images {
            self.close_words();
            let block = self.blocks.next();
            let kind = BlockKind::Media(Box::new(image));
            self.out.push(Event::BlockStart { block, candidate: self.index, kind });
            self.out.push(Event::BlockEnd { block });
        }
        self.lost("choices[].message.images", others);
    }

    fn lost(&mut self, field: &'static str, is_lost: bool) {
        if is_lost {
            self.out.push(Event::Lost(field.into()));
        }
    }

    fn words(&mut self, kind: Words, text: &str) {
        if text.is_empty() {
            return;
        }
        let block = self.open(kind);
        let delta = match kind {
            Words::Reasoning => Delta::Reasoning(text.to_owned()),
            Words::Text | Words::Refusal => Delta::Text(text.to_owned()),
        };
        self.out.push(Event::BlockDelta { block, delta });
    }

    fn open(&mut self, kind: Words) -> u32 {
        if let Some((open, block)) = self.answer.open
            && open == kind
        {
            return block;
        }
        self.close_words();
        let block = self.blocks.next();
        self.answer.open = Some((kind, block));
        self.answer.refused |= kind == Words::Refusal;
        let kind = match kind {
            Words::Text => BlockKind::Text,
            Words::Reasoning => BlockKind::Reasoning { redacted: false },
            Words::Refusal => BlockKind::Refusal,
        };
        self.out.push(Event::BlockStart { block, candidate: self.index, kind });
        block
    }

    /// What `reasoning_details` hold: state, and words unless those of `reasoning` have come already.
    fn details(&mut self, raw: &RawValue) {
        let Ok(details) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else { return };
        for raw in details {
            match Object::from_raw(raw, Spelling::Exact).and_then(reasoning_state::decode) {
                Ok(Some(Detail::OnText(state))) => self.state(Words::Text, state),
                Ok(Some(Detail::Reasoning(reasoning))) => {
                    if !self.answer.plain_reasoning {
                        self.words(Words::Reasoning, &reasoning.text);
                    }
                    match reasoning.state {
                        Some(state) if reasoning.redacted => self.redacted(state),
                        Some(state) => self.state(Words::Reasoning, state),
                        None => {}
                    }
                }
                // Nobody's state: not ours to carry, and no reason to stop an answer.
                Ok(None) | Err(_) => {}
            }
        }
    }

    fn state(&mut self, kind: Words, state: Opaque) {
        let block = self.open(kind);
        self.out.push(Event::BlockDelta { block, delta: Delta::State(state) });
        if kind == Words::Reasoning {
            self.answer.signed = true;
            self.close_words();
        }
    }

    fn redacted(&mut self, state: Opaque) {
        self.close_words();
        let block = self.blocks.next();
        self.out.push(Event::BlockStart {
            block,
            candidate: self.index,
            kind: BlockKind::Reasoning { redacted: true },
        });
        self.out.push(Event::BlockDelta { block, delta: Delta::State(state) });
        self.out.push(Event::BlockEnd { block });
    }

    fn close_words(&mut self) {
        if let Some((kind, block)) = self.answer.open.take() {
            if kind == Words::Reasoning && !std::mem::take(&mut self.answer.signed) {
                self.out.push(Event::BlockDelta { block, delta: Delta::State(reasoning_state::ISSUER) });
            }
            self.out.push(Event::BlockEnd { block });
        }
    }

    fn close(&mut self) -> Result<(), Problem> {
        self.close_words();
        let mut place = calls::Place { blocks: self.blocks, candidate: self.index, out: self.out };
        self.answer.calls.close(self.seed, &mut place)
    }
}
