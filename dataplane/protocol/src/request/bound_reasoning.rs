//! Reasoning that another account of its own vendor cannot read (docs/protocols/reasoning.md#reasoning-state).
//!
//! OpenAI's blobs are bound to the organisation that they were made for. A conversation that goes on at another one is told
//! without them.

use crate::{
    dialect::Family,
    ir::{Block, Request},
};

/// Whether a request holds some.
pub(super) fn is_in(request: &Request) -> bool {
    request.turns.iter().flat_map(|turn| &turn.blocks).any(is_bound)
}

/// The request without it.
pub(super) fn without(request: &Request) -> Request {
    let mut request = request.clone();
    for turn in &mut request.turns {
        turn.blocks.retain(|block| !is_bound(block));
    }
    request
}

fn is_bound(block: &Block) -> bool {
    let Block::Reasoning(reasoning) = block else { return false };
    reasoning.state.as_ref().is_some_and(|state| state.family == Family::OpenAi && !state.value.is_empty())
}
