//! Messages as they will be sent, in pieces.

use crate::ir::{Block, Role, Text};

/// One message.
#[derive(Debug)]
pub struct Message<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub pieces: Vec<Piece<'a>>,
}

/// A part of a message.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// A block of the client's.
    Block(&'a Block),
    /// Words of ours.
    Words(&'static str),
    /// A call that nobody answered.
    Unanswered(&'a str),
    /// The beginning of the answer, which may not end in white space.
    Prefill(&'a str),
}

impl<'a> Message<'a> {
    pub(super) const fn silent() -> Self {
        Self { role: Role::User, pieces: Vec::new() }
    }

    /// The client's own blocks.
    pub fn blocks(&self) -> impl Iterator<Item = &'a Block> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Block(block) => Some(*block),
            Piece::Words(_) | Piece::Unanswered(_) | Piece::Prefill(_) => None,
        })
    }

    /// The ids of the calls in it.
    pub(super) fn calls(&self) -> impl Iterator<Item = &'a str> {
        self.blocks().filter_map(|block| match block {
            Block::ToolCall(call) => Some(call.id.as_str()),
            _ => None,
        })
    }
}

/// Whether a text says nothing. Anthropic refuses blocks of white space.
pub fn says_nothing(text: &Text) -> bool {
    text.text.trim().is_empty()
}
