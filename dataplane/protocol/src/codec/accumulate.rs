//! Events as the whole answer they tell: what every accumulating client does.

use std::collections::BTreeMap;

use crate::{
    ir::{
        Block, BlockKind, Candidate, Delta, Event, FinishReason, Reasoning, Response, Text, ToolCall, Unknown, Usage,
    },
    problem::Problem,
};

/// Most candidates that are folded; vendors stop far below.
const MAX_CANDIDATES: usize = 128;

/// Most names of what was lost; decoders know fewer.
const MAX_LOST: usize = 64;

/// An answer that is being put together.
#[derive(Debug, Default)]
pub struct Accumulator {
    response: Response,
    /// Of each block number: candidate and position.
    places: BTreeMap<u32, (usize, usize)>,
    usage: Option<Usage>,
    ended: bool,
}

impl Accumulator {
    /// Takes one event.
    ///
    /// # Errors
    /// What the upstream's error event says.
    pub fn push(&mut self, event: Event) -> Result<(), Problem> {
        match event {
            Event::Start { id, model, created, usage } => {
                self.response.id = id;
                self.response.model = model;
                self.response.created = created;
                if let Some(usage) = usage {
                    self.usage.get_or_insert_default().merge(usage);
                }
            }
            Event::BlockStart { block, candidate, kind } => self.start(block, candidate, kind),
            Event::BlockDelta { block, delta } => self.grow(block, delta),
            Event::Usage(usage) => self.usage.get_or_insert_default().merge(usage),
            Event::Finish { candidate, finish } => {
                if let Some(candidate) = self.candidate(candidate) {
                    candidate.finish = finish;
                }
            }
            Event::Lost(field) => {
                let lost = &mut self.response.lost;
                if lost.len() < MAX_LOST && !lost.contains(&field) {
                    lost.push(field);
                }
            }
            Event::Error(problem) => return Err(problem),
            Event::End => self.ended = true,
            Event::BlockEnd { .. } | Event::Ping => {}
        }
        Ok(())
    }

    /// Whether the answer is complete.
    pub const fn is_complete(&self) -> bool {
        self.ended
    }

    /// The whole answer.
    pub fn finish(mut self) -> Response {
        self.response.usage = self.usage;
        self.response
    }

    fn candidate(&mut self, number: u32) -> Option<&mut Candidate> {
        let at = usize::try_from(number).ok().filter(|at| *at < MAX_CANDIDATES)?;
        let candidates = &mut self.response.candidates;
        if candidates.len() <= at {
            let empty = || Candidate { blocks: Vec::new(), finish: FinishReason::Other.into() };
            candidates.resize_with(at.saturating_add(1), empty);
        }
        candidates.get_mut(at)
    }

    fn start(&mut self, number: u32, candidate: u32, kind: BlockKind) {
        let block = match kind {
            BlockKind::Text => Block::Text(Text::default()),
            BlockKind::Reasoning { redacted } => {
                Block::Reasoning(Reasoning { text: String::new(), state: None, redacted })
            }
            BlockKind::ToolCall { id, name } => {
                Block::ToolCall(ToolCall { id, name, arguments: String::new(), state: None, cache: None })
            }
            BlockKind::Refusal => Block::Refusal(String::new()),
            BlockKind::Media(media) => *media,
            BlockKind::Unknown { kind, raw, family } => Block::Unknown(Unknown { family, kind, raw }),
        };
        if let Some(owner) = self.candidate(candidate) {
            let place = owner.blocks.len();
            owner.blocks.push(block);
            self.places.insert(number, (usize::try_from(candidate).unwrap_or_default(), place));
        }
    }

    fn grow(&mut self, number: u32, delta: Delta) {
        let place = self.places.get(&number).copied();
        let block = place.and_then(|(candidate, at)| self.response.candidates.get_mut(candidate)?.blocks.get_mut(at));
        match (block, delta) {
            (Some(Block::Text(block)), Delta::Text(text)) => block.text.push_str(&text),
            (Some(Block::Text(block)), Delta::State(state)) => block.state = Some(state),
            (Some(Block::Text(block)), Delta::Citation(citation)) => block.citations.push(citation),
            (Some(Block::Refusal(words)), Delta::Text(text)) => words.push_str(&text),
            (Some(Block::Reasoning(block)), Delta::Reasoning(text)) => block.text.push_str(&text),
            (Some(Block::Reasoning(block)), Delta::State(state)) => block.state = Some(state),
            (Some(Block::ToolCall(call)), Delta::Arguments(text)) => call.arguments.push_str(&text),
            (Some(Block::ToolCall(call)), Delta::State(state)) => call.state = Some(state),
            // A delta for no block, or of another kind than its block: a decoder never sends it.
            _ => {}
        }
    }
}
