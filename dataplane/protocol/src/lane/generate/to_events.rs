//! A whole answer as the events it could have come as (hard case 60: an upstream that ignores `stream`).

use crate::ir::{Block, BlockKind, Delta, Event, Response, Unknown};

/// Appends the events.
pub(super) fn events(response: Response, out: &mut Vec<Event>) {
    let Response { id, model, created, candidates, usage, lost } = response;
    out.push(Event::Start { id, model, created, usage: None });
    out.extend(lost.into_iter().map(Event::Lost));
    let (mut next, mut finishes) = (0, Vec::new());
    for (candidate, answer) in (0_u32..).zip(candidates) {
        for block in answer.blocks {
            let Some((kind, deltas)) = parts(block) else { continue };
            out.push(Event::BlockStart { block: next, candidate, kind });
            out.extend(deltas.into_iter().map(|delta| Event::BlockDelta { block: next, delta }));
            out.push(Event::BlockEnd { block: next });
            next += 1;
        }
        finishes.push(Event::Finish { candidate, finish: answer.finish });
    }
    out.extend(usage.map(Event::Usage));
    out.extend(finishes);
    out.push(Event::End);
}

/// A block as its start and its deltas; none for a tool's result, which no answer holds.
fn parts(block: Block) -> Option<(BlockKind, Vec<Delta>)> {
    let with = |first: Option<Delta>, state| first.into_iter().chain(state).collect();
    Some(match block {
        Block::Text(text) => {
            let words = (!text.text.is_empty()).then_some(Delta::Text(text.text));
            let cited = text.citations.into_iter().map(Delta::Citation);
            (BlockKind::Text, words.into_iter().chain(cited).chain(text.state.map(Delta::State)).collect())
        }
        Block::Reasoning(reasoning) => {
            let words = (!reasoning.text.is_empty()).then_some(Delta::Reasoning(reasoning.text));
            let kind = BlockKind::Reasoning { redacted: reasoning.redacted };
            (kind, with(words, reasoning.state.map(Delta::State)))
        }
        Block::ToolCall(call) => {
            let arguments = (!call.arguments.is_empty()).then_some(Delta::Arguments(call.arguments));
            (BlockKind::ToolCall { id: call.id, name: call.name }, with(arguments, call.state.map(Delta::State)))
        }
        Block::Refusal(text) => (BlockKind::Refusal, vec![Delta::Text(text)]),
        Block::Unknown(Unknown { family, kind, raw }) => (BlockKind::Unknown { family, kind, raw }, Vec::new()),
        media @ (Block::Image(_) | Block::Audio(_) | Block::Video(_) | Block::Document(_)) => {
            (BlockKind::Media(Box::new(media)), Vec::new())
        }
        Block::ToolResult(_) => return None,
    })
}
