//! Events as the whole answer they make up, for an upstream that streams although nobody asked it to.

use std::collections::BTreeMap;

use crate::{
    ir::{
        Block, BlockKind, Candidate, Delta, Event, FinishReason, Reasoning, Response, Text, ToolCall, Unknown, Usage,
    },
    problem::Problem,
};

/// Puts events together.
///
/// # Errors
/// The upstream's own error, also when its body ended too early.
pub(super) fn response(events: Vec<Event>) -> Result<Response, Problem> {
    let mut response = Response::default();
    let mut blocks: BTreeMap<u32, (u32, Block)> = BTreeMap::new();
    let mut finishes = BTreeMap::new();
    let mut ended = false;
    for event in events {
        match event {
            Event::Start { id, model, created, usage } => {
                response = Response { id, model, created, usage, ..response };
            }
            Event::BlockStart { block, candidate, kind } => {
                blocks.insert(block, (candidate, opened(kind)));
            }
            Event::BlockDelta { block, delta } => {
                if let Some((_, block)) = blocks.get_mut(&block) {
                    grow(block, delta);
                }
            }
            Event::Usage(usage) => response.usage.get_or_insert_with(Usage::default).merge(usage),
            Event::Finish { candidate, finish } => {
                finishes.insert(candidate, finish);
            }
            Event::Error(problem) => return Err(problem),
            Event::End => ended = true,
            Event::BlockEnd { .. } | Event::Ping => {}
        }
    }
    if !ended {
        return Err(super::truncated());
    }
    let last = blocks.values().map(|(candidate, _)| *candidate).chain(finishes.keys().copied()).max().unwrap_or(0);
    for candidate in 0..=last {
        let own = blocks.values().filter(|(owner, _)| *owner == candidate).map(|(_, block)| block.clone()).collect();
        let finish = finishes.remove(&candidate).unwrap_or_else(|| FinishReason::Stop.into());
        response.candidates.push(Candidate { blocks: own, finish });
    }
    Ok(response)
}

fn opened(kind: BlockKind) -> Block {
    match kind {
        BlockKind::Text => Block::Text(Text::default()),
        BlockKind::Reasoning { redacted } => Block::Reasoning(Reasoning { text: String::new(), state: None, redacted }),
        BlockKind::ToolCall { id, name } => {
            Block::ToolCall(ToolCall { id, name, arguments: String::new(), state: None, cache: None })
        }
        BlockKind::Refusal => Block::Refusal(String::new()),
        BlockKind::Unknown { family, kind, raw } => Block::Unknown(Unknown { family, kind, raw }),
    }
}

fn grow(block: &mut Block, delta: Delta) {
    match (block, delta) {
        (Block::Text(Text { text, .. }) | Block::Refusal(text), Delta::Text(more))
        | (Block::Reasoning(Reasoning { text, .. }), Delta::Reasoning(more))
        | (Block::ToolCall(ToolCall { arguments: text, .. }), Delta::Arguments(more)) => text.push_str(&more),
        (
            Block::Text(Text { state, .. })
            | Block::Reasoning(Reasoning { state, .. })
            | Block::ToolCall(ToolCall { state, .. }),
            Delta::State(new),
        ) => *state = Some(new),
        // A delta of another kind than its block is a decoder's mistake, and nothing to a reader of the whole.
        _ => {}
    }
}
