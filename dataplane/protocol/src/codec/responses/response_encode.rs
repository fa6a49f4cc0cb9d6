//! A whole answer for a client: the end of the stream that would have told it, so that the two can never differ.

use super::{
    ending::Ending,
    object::{self, Identity},
    output::{Output, Writer},
};
use crate::{
    codec::{
        ResponseContext,
        block_sequencer::{BlockSequencer, Overflow, Sink},
        ids::prefixed,
        json::write,
    },
    ir::{Block, BlockKind, Delta, FinishReason, Response},
    problem::{Problem, ProblemKind},
};

/// Writes an answer. Only the first candidate can be said; none is a prompt that was blocked (hard case 232).
pub fn encode(response: &Response, context: &ResponseContext) -> Vec<u8> {
    let most = context.most_bytes.unwrap_or(usize::MAX);
    let candidate = response.candidates.first();
    let reason = candidate.map_or(FinishReason::ContentFilter, |candidate| candidate.finish.reason);
    let mut output = Output::default();
    let mut writer = Writer { output: &mut output, context, out: None };
    let mut sequencer = BlockSequencer::default();
    let mut fits = Ok(());
    for (number, block) in (0..).zip(candidate.map(|candidate| candidate.blocks.as_slice()).unwrap_or_default()) {
        // What does not fit is not made: the body shows that there would have been more.
        if fits.is_err() || writer.output.held() > most {
            break;
        }
        fits = self::block(number, block, &mut sequencer, &mut writer);
    }
    sequencer.flush(&mut writer);
    writer.end(Ending::of(reason, true) != Ending::Completed);
    let ending = match fits {
        Ok(()) => Ending::of(reason, output.refused()),
        Err(overflow) => Ending::failed(&Problem::new(ProblemKind::Upstream, overflow.to_string())),
    };
    let identity = Identity {
        id: prefixed(response.id.as_deref(), "resp_", &context.id),
        created: response.created.unwrap_or(context.created),
    };
    let mut body = Vec::with_capacity(1_024);
    write::object_within(&mut body, most, |out| {
        object::put(&identity, &ending, Some(response.usage.unwrap_or_default()), context, out, |list| {
            output.take_items().iter().for_each(|item| list.put_json(item));
        });
    });
    body
}

/// One block, as the stream would bring it.
fn block(number: u32, block: &Block, sequencer: &mut BlockSequencer, sink: &mut impl Sink) -> Result<(), Overflow> {
    let (kind, deltas) = match block {
        Block::Text(text) => {
            let words = [Delta::Text(text.text.clone())].into_iter();
            let cited = text.citations.iter().cloned().map(Delta::Citation);
            (BlockKind::Text, words.chain(cited).chain(text.state.clone().map(Delta::State)).collect())
        }
        Block::Refusal(words) => (BlockKind::Refusal, vec![Delta::Text(words.clone())]),
        Block::Reasoning(reasoning) => {
            let words = [Delta::Reasoning(reasoning.text.clone())].into_iter();
            let kind = BlockKind::Reasoning { redacted: reasoning.redacted };
            (kind, words.chain(reasoning.state.clone().map(Delta::State)).collect())
        }
        Block::ToolCall(call) => {
            // Known in time: it goes before the call.
            let state = call.state.clone().map(Delta::State).into_iter();
            let kind = BlockKind::ToolCall { id: call.id.clone(), name: call.name.clone() };
            (kind, state.chain([Delta::Arguments(call.arguments.clone())]).collect::<Vec<_>>())
        }
        Block::Unknown(unknown) => {
            let (family, kind, raw) = (unknown.family, unknown.kind.clone(), unknown.raw.clone());
            (BlockKind::Unknown { family, kind, raw }, Vec::new())
        }
        Block::Image(_) | Block::Audio(_) | Block::Video(_) | Block::Document(_) => {
            (BlockKind::Media(Box::new(block.clone())), Vec::new())
        }
        // No answer holds a result.
        Block::ToolResult(_) => return Ok(()),
    };
    sequencer.start(number, kind, sink)?;
    deltas.iter().try_for_each(|delta| sequencer.grow(number, delta, sink))?;
    sequencer.end(number, sink);
    Ok(())
}
