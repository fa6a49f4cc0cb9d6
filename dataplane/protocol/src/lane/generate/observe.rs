//! What neutral events and answers say about an answer.

use super::unsupported;
use crate::{
    dialect::Operation,
    ir::{Block, BlockKind, Delta, Event, Response},
    response_stats::ResponseStats,
};

/// Takes one event on its way to this client.
pub(super) fn event(event: &Event, client: Operation, seen: &mut ResponseStats) {
    if let Some(field) = unsupported::event(event, client) {
        seen.lose(field);
    }
    match event {
        Event::Start { id, model, usage, .. } => {
            seen.response_id = seen.response_id.take().or_else(|| id.clone());
            seen.response_model = seen.response_model.take().or_else(|| model.clone());
            if let Some(usage) = usage {
                seen.count(*usage);
            }
        }
        Event::BlockStart { kind, .. } => {
            seen.content |=
                matches!(kind, BlockKind::ToolCall { .. } | BlockKind::Media(_) | BlockKind::Unknown { .. });
        }
        Event::BlockDelta { delta: Delta::Text(text) | Delta::Arguments(text) | Delta::Reasoning(text), .. } => {
            seen.delivered(text.chars().count() as u64);
        }
        Event::Usage(usage) => seen.count(*usage),
        Event::Finish { finish, .. } => seen.finished(finish.reason),
        Event::Error(problem) => {
            seen.error.get_or_insert_with(|| problem.clone());
        }
        Event::End => seen.complete = seen.error.is_none(),
        Event::BlockDelta { delta: Delta::State(_) | Delta::Citation(_), .. }
        | Event::BlockEnd { .. }
        | Event::Lost(_)
        | Event::Ping => {}
    }
}

/// Takes a whole answer on its way to this client.
pub(super) fn response(response: &Response, client: Operation) -> ResponseStats {
    let mut seen = ResponseStats {
        complete: true,
        response_id: response.id.clone(),
        response_model: response.model.clone(),
        ..ResponseStats::default()
    };
    if let Some(usage) = response.usage {
        seen.count(usage);
    }
    unsupported::response(response, client).into_iter().for_each(|field| seen.lose(field));
    for candidate in &response.candidates {
        for block in &candidate.blocks {
            match block {
                Block::Text(text) => seen.delivered(text.text.chars().count() as u64),
                Block::Reasoning(reasoning) => seen.delivered(reasoning.text.chars().count() as u64),
                Block::Refusal(text) => seen.delivered(text.chars().count() as u64),
                Block::ToolCall(call) => {
                    seen.content = true;
                    seen.delivered(call.arguments.chars().count() as u64);
                }
                _ => seen.content = true,
            }
        }
        seen.finished(candidate.finish.reason);
    }
    seen
}
