//! The conversation as Anthropic takes it (docs/protocols/mapping.md): turns of one role joined, empty ones gone, and
//! every call answered in the one user message behind it, results first.
//!
//! Results are merged before anyone looks for unanswered calls, so that no made-up result stands beside a real one (hard
//! case 269). A later system message stays where it is, as such where the model takes it there and else as words of the
//! user with a note in front; it is never hoisted, which would rewrite the cached prefix (hard case 212). Nothing moves
//! across a user turn.

use std::collections::{HashMap, HashSet};

use super::{
    context::Context,
    piece::{Message, Piece},
};
use crate::{
    codec::field::Name,
    ir::{Block, Request, Role, ToolResult, Turn},
};

/// Stands before a system message that has to be written as the user's.
const OPERATOR: &str = "[Message from the operator of this application, not from the user]";
/// Stands before a result whose call is not there.
const ORPHAN: &str = "[Result of a tool call that is no longer part of this conversation]";
/// What the user says where the client sent no turn at all. White space alone is refused.
const NOTHING_SAID: &str = ".";

/// Whether a block can be sent; says to the report why not.
pub type Fits<'f> = &'f dyn Fn(&Block, &mut Context<'_>) -> bool;

/// Arranges the conversation, stating what it changes.
pub fn arrange<'a>(request: &'a Request, context: &mut Context<'_>, fits: Fits<'_>) -> Vec<Message<'a>> {
    let mut messages = Vec::new();
    let answered = request.turns.iter().rposition(|turn| turn.role == Role::Assistant).unwrap_or(0);
    for (index, turn) in request.turns.iter().enumerate() {
        context.is_answered = index < answered;
        if let Some(message) = message(turn, &request.turns, index, (context, fits)) {
            append(message, &mut messages);
        }
    }
    for message in &mut messages {
        calls_last(message);
    }
    let mut messages = answer_calls(messages, context, fits);
    if messages.is_empty() {
        context.adapted(Name::Messages, "empty", "placeholder");
        messages.push(Message { role: Role::User, pieces: vec![Piece::Words(NOTHING_SAID)] });
    }
    if let Some(last) = messages.last_mut().filter(|last| last.role == Role::Assistant) {
        prefill(last, context);
    }
    messages
}

/// A last turn of the assistant's is the beginning of the answer. Newer models take none (hard case 216); the others
/// refuse one that ends in white space.
fn prefill(last: &mut Message<'_>, context: &mut Context<'_>) {
    if !context.abilities.prefill {
        let field = Name::Messages.field(context.from);
        context.report.impossible(field, "the model does not continue an assistant message at the end");
    }
    let Some(piece) = last.pieces.last_mut() else { return };
    if let Piece::Block(Block::Text(text)) = *piece
        && text.text.ends_with(char::is_whitespace)
    {
        context.adapted(Name::Text, "trailing white space", "none");
        *piece = Piece::Prefill(text.text.trim_end());
    }
}

/// Whether manual thinking can go on from this history: the last turn with calls begins with reasoning, or some turn
/// has some (docs/protocols/reasoning.md, rule 5).
pub fn allows_manual_thinking(messages: &[Message<'_>]) -> bool {
    let thinks = |message: &Message<'_>| message.blocks().any(|block| matches!(block, Block::Reasoning(_)));
    let calls = |message: &&Message<'_>| message.calls().next().is_some();
    messages.iter().rfind(calls).is_none_or(thinks) || messages.iter().any(thinks)
}

/// One turn as a message, with what cannot be sent left out; none if nothing is left.
fn message<'a>(
    turn: &'a Turn,
    turns: &[Turn],
    index: usize,
    (context, fits): (&mut Context<'_>, Fits<'_>),
) -> Option<Message<'a>> {
    if turn.name.is_some() {
        context.dropped(Name::Participant);
    }
    context.is_model = turn.role == Role::Assistant;
    let blocks: Vec<Piece<'a>> = turn.blocks.iter().filter(|block| fits(block, context)).map(Piece::Block).collect();
    if blocks.is_empty() {
        return None;
    }
    if turn.role != Role::System || stays_system(turns, index, context) {
        return Some(Message { role: turn.role, pieces: blocks });
    }
    context.adapted(Name::Role, "system", "user");
    let mut pieces = vec![Piece::Words(OPERATOR)];
    pieces.extend(blocks);
    Some(Message { role: Role::User, pieces })
}

/// A system message may follow a user turn, and must be the last or be followed by an assistant turn.
fn stays_system(turns: &[Turn], index: usize, context: &Context<'_>) -> bool {
    let before = index.checked_sub(1).and_then(|before| turns.get(before));
    let behind = turns.get(index.saturating_add(1));
    context.abilities.later_system
        && before.is_some_and(|turn| turn.role == Role::User)
        && behind.is_none_or(|turn| turn.role == Role::Assistant)
}

fn append<'a>(message: Message<'a>, messages: &mut Vec<Message<'a>>) {
    match messages.last_mut() {
        Some(last) if last.role == message.role && last.role != Role::System => last.pieces.extend(message.pieces),
        _ => messages.push(message),
    }
}

/// Text behind the last call of a turn goes before the first, so that calls and their results stay neighbours (hard
/// case 120).
fn calls_last(message: &mut Message<'_>) {
    let is_call = |piece: &Piece<'_>| matches!(piece, Piece::Block(Block::ToolCall(_)));
    let (Some(first), Some(last)) = (message.pieces.iter().position(is_call), message.pieces.iter().rposition(is_call))
    else {
        return;
    };
    let behind = message.pieces.split_off(last.saturating_add(1));
    let (texts, others): (Vec<_>, Vec<_>) =
        behind.into_iter().partition(|piece| matches!(piece, Piece::Block(Block::Text(_))));
    message.pieces.splice(first..first, texts);
    message.pieces.extend(others);
}

/// Puts every call's result first in the message behind it, and makes one up where none is.
fn answer_calls<'a>(messages: Vec<Message<'a>>, context: &mut Context<'_>, fits: Fits<'_>) -> Vec<Message<'a>> {
    let mut answered: Vec<Message<'a>> = Vec::with_capacity(messages.len());
    for message in messages {
        let calls: Vec<&str> = answered.last().map(|last| last.calls().collect()).unwrap_or_default();
        if message.role == Role::User {
            answered.push(answer(message, &calls, context, fits));
        } else {
            if !calls.is_empty() {
                answered.push(answer(Message::silent(), &calls, context, fits));
            }
            answered.push(message);
        }
    }
    answered
}

fn answer<'a>(message: Message<'a>, calls: &[&'a str], context: &mut Context<'_>, fits: Fits<'_>) -> Message<'a> {
    let known: HashSet<&str> = calls.iter().copied().collect();
    // Results in the order in which they came, and where that of a call stands.
    let (mut results, mut places): (Vec<Piece<'a>>, HashMap<&str, usize>) = (Vec::new(), HashMap::new());
    let mut others = Vec::new();
    for piece in message.pieces {
        let Piece::Block(Block::ToolResult(result)) = piece else {
            others.push(piece);
            continue;
        };
        let id = result.call_id.as_str();
        if !known.contains(id) {
            context.adapted(Name::ResultId, "result", "text");
            orphan(result, &mut others, context, fits);
        } else if let Some(earlier) = places.get(id).and_then(|at| results.get_mut(*at)) {
            // Of two results the later one counts (hard case 166).
            context.dropped(Name::ResultContent);
            *earlier = piece;
        } else {
            places.insert(id, results.len());
            results.push(piece);
        }
    }
    for call in calls {
        if !places.contains_key(call) {
            context.adapted(Name::Call, "unanswered", "answered with an error");
            places.insert(call, results.len());
            results.push(Piece::Unanswered(call));
        }
    }
    results.extend(others);
    Message { role: Role::User, pieces: results }
}

/// A result without its call, as words and pictures of the user's.
fn orphan<'a>(result: &'a ToolResult, others: &mut Vec<Piece<'a>>, context: &mut Context<'_>, fits: Fits<'_>) {
    others.push(Piece::Words(ORPHAN));
    others.extend(result.content.iter().filter(|block| fits(block, context)).map(Piece::Block));
}
