//! A whole answer (docs/protocols/responses.md).

pub(super) mod item;
pub(super) mod outcome;

use self::{
    item::{Item, Part, What},
    outcome::Outcome,
};
use crate::{
    codec::{
        Malformed, arguments, chat, free_form, ids,
        json::read::{Object, Spelling, elements, malformed},
    },
    ir::{Block, Candidate, Response, Text, ToolCall},
    problem::Problem,
    report::Field,
};

/// Reads an upstream's answer.
pub fn decode(body: &[u8]) -> Result<Response, Problem> {
    let unreadable = |error: Malformed| chat::unreadable(&error);
    let outcome = Outcome::read(Object::parse(body, Spelling::Exact).map_err(unreadable)?);
    if let Some(problem) = outcome.failure() {
        return Err(problem);
    }
    let Some(output) = outcome.output else {
        return Err(unreadable(malformed("is required").within("output")));
    };
    let mut answer = Answer { seed: outcome.id.clone().unwrap_or_default(), ..Answer::default() };
    for (index, raw) in elements(output).map_err(|error| unreadable(error.within("output")))?.into_iter().enumerate() {
        let item = Item::read(raw).and_then(|item| answer.take(item, index));
        item.map_err(|error| unreadable(error.within(&format!("output[{index}]"))))?;
    }
    let finish = outcome.finish(answer.called, answer.refused).into();
    Ok(Response {
        candidates: vec![Candidate { blocks: answer.blocks, finish }],
        usage: outcome.usage,
        lost: answer.lost,
        id: outcome.id,
        model: outcome.model,
        created: outcome.created,
    })
}

/// What has been read so far.
#[derive(Default)]
struct Answer {
    /// Seed of ids that are not there.
    seed: String,
    blocks: Vec<Block>,
    /// Characters of visible text.
    said: u64,
    called: bool,
    refused: bool,
    lost: Vec<Field>,
}

impl Answer {
    fn take(&mut self, item: Item, index: usize) -> Result<(), Malformed> {
        match item.what {
            What::Message(parts) => parts.into_iter().for_each(|part| self.part(part)),
            What::Reasoning(thought) => self.blocks.extend(thought.into_block()),
            What::Call(call) => {
                self.called = true;
                let id = call.id.unwrap_or_else(|| ids::invented_call_id(&self.seed, index));
                let name = call.name.ok_or_else(|| malformed("is required").within("name"))?;
                let arguments = match call.is_free_form {
                    true => free_form::wrap(&call.arguments),
                    false => arguments::unquoted(call.arguments),
                };
                self.blocks.push(Block::ToolCall(ToolCall { id, name, arguments, state: None, cache: None }));
            }
            What::Picture(picture) => self.blocks.push(picture),
            What::Other(unknown) => self.blocks.push(Block::Unknown(unknown)),
        }
        Ok(())
    }

    fn part(&mut self, part: Part) {
        match part {
            Part::Text { text, annotations, lost } => {
                let citations = annotations.iter().map(|annotation| annotation.citation(self.said)).collect::<Vec<_>>();
                self.said = self.said.saturating_add(text.chars().count() as u64);
                self.lost.extend(lost);
                if !text.is_empty() || !citations.is_empty() {
                    self.blocks.push(Block::Text(Text { text, citations, ..Text::default() }));
                }
            }
            Part::Refusal(words) => {
                if !words.is_empty() {
                    self.refused = true;
                    self.blocks.push(Block::Refusal(words));
                }
            }
            Part::Other(lost) => self.lost.push(lost),
        }
    }
}
