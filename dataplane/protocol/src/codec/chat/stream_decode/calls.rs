//! The calls of one choice while they come in pieces.
//!
//! A piece belongs to the call of its index; without an index to the call of its id, else to the last one. A new id with
//! a new name under a known index is a new call, for servers that always say 0. Arguments wait until id and name are
//! known; at the end a missing id is invented, while a missing name is an error.

use std::collections::HashMap;

use super::blocks::Blocks;
use crate::{
    codec::{
        arguments,
        chat::wire::{self, Call as Piece, Function},
        ids,
    },
    dialect::Family,
    ir::{BlockKind, Delta, Event, Opaque},
    problem::{Problem, ProblemKind},
};

/// Most bytes of arguments that wait for a name.
const MAX_HELD: usize = 8 << 20;
/// Most calls in one answer. Vendors stop at some hundreds.
const MAX_CALLS: usize = 4096;

/// The calls, in order of first appearance.
#[derive(Debug, Default)]
pub struct Calls {
    calls: Vec<Call>,
    /// The last call of each index.
    by_index: HashMap<u64, usize>,
    /// The last call of each id.
    by_id: HashMap<String, usize>,
}

/// Where events of calls go.
pub struct Place<'a> {
    pub(super) blocks: &'a mut Blocks,
    pub candidate: u32,
    pub out: &'a mut Vec<Event>,
}

#[derive(Debug, Default)]
struct Call {
    id: Option<String>,
    name: Option<String>,
    state: Option<Opaque>,
    held: String,
    /// Some arguments have gone out.
    sent: bool,
    /// Its block, once id and name are known.
    block: Option<u32>,
}

impl Calls {
    /// Whether no tool is called: an id alone is no call.
    pub fn is_empty(&self) -> bool {
        self.calls.iter().all(|call| call.name.is_none())
    }

    /// Takes one piece.
    pub fn push(&mut self, piece: &Piece<'_>, place: &mut Place<'_>) -> Result<(), Problem> {
        if piece.says_nothing() {
            return Ok(());
        }
        let id = piece.id.as_deref().filter(|id| !id.is_empty());
        let name = piece.tool();
        let at = self.find(piece.index, id, name);
        let Some(call) = self.calls.get_mut(at).filter(|_| at < MAX_CALLS) else {
            return Err(Problem::new(ProblemKind::Upstream, "the upstream sent too many tool calls in one answer"));
        };
        if let (None, Some(id)) = (&call.id, id) {
            call.id = Some(id.to_owned());
            let last = self.by_id.entry(id.to_owned()).or_insert(at);
            *last = at.max(*last);
        }
        call.name = call.name.take().or_else(|| name.map(str::to_owned));
        if let Some(value) = piece.signature() {
            call.state = Some(Opaque { family: Family::Gemini, value });
        }
        if let Some(arguments) = piece.pieces() {
            call.held.push_str(&wire::arguments(arguments));
        }
        if call.held.len() > MAX_HELD {
            return Err(Problem::new(ProblemKind::Upstream, "the upstream sent arguments without a tool's name"));
        }
        call.release(place, false);
        Ok(())
    }

    /// Takes a piece of the old `function_call`, which is one call without an id.
    pub fn push_legacy(&mut self, function: &Function<'_>, seed: &str, place: &mut Place<'_>) -> Result<(), Problem> {
        let piece = Piece {
            index: Some(0),
            id: Some(ids::invented_call_id(seed, 0).into()),
            function: Some(Function { name: function.name.clone(), arguments: function.arguments }),
            name: None,
            arguments: None,
            extra_content: None,
        };
        self.push(&piece, place)
    }

    /// Ends all calls.
    pub fn close(&mut self, seed: &str, place: &mut Place<'_>) -> Result<(), Problem> {
        for (position, call) in self.calls.iter_mut().enumerate() {
            if call.name.is_none() && call.held.is_empty() {
                // An id alone, which nothing followed.
                continue;
            }
            if call.name.is_none() {
                return Err(Problem::new(ProblemKind::Upstream, "the upstream sent a tool call without a name"));
            }
            call.id.get_or_insert_with(|| ids::invented_call_id(seed, position));
            call.held = arguments::unquoted(std::mem::take(&mut call.held));
            call.release(place, true);
            if let Some(block) = call.block {
                place.out.push(Event::BlockEnd { block });
            }
        }
        Ok(())
    }

    /// The position of the call that a piece belongs to, which may be new.
    fn find(&mut self, index: Option<u64>, id: Option<&str>, name: Option<&str>) -> usize {
        let known = match (index, id) {
            (Some(index), _) => self.by_index.get(&index).copied(),
            (None, Some(id)) => self.by_id.get(id).copied(),
            (None, None) => self.calls.len().checked_sub(1),
        };
        let is_another = |call: &Call| match (id, &call.id) {
            (Some(new), Some(old)) => name.is_some() && new != old,
            _ => false,
        };
        if let Some(at) = known.filter(|at| self.calls.get(*at).is_some_and(|call| !is_another(call))) {
            return at;
        }
        let at = self.calls.len();
        self.calls.push(Call::default());
        if let Some(index) = index {
            self.by_index.insert(index, at);
        }
        at
    }
}

impl Call {
    /// Starts the block as soon as that is possible, and sends what waits: a text in the place of the object when it is
    /// `whole`, since only then it is known as such.
    fn release(&mut self, place: &mut Place<'_>, whole: bool) {
        let (Some(id), Some(name)) = (&self.id, &self.name) else { return };
        let block = *self.block.get_or_insert_with(|| {
            let block = place.blocks.next();
            let kind = BlockKind::ToolCall { id: id.clone(), name: name.clone() };
            place.out.push(Event::BlockStart { block, candidate: place.candidate, kind });
            block
        });
        if let Some(state) = self.state.take() {
            place.out.push(Event::BlockDelta { block, delta: Delta::State(state) });
        }
        let is_text = !self.sent && self.held.trim_start().starts_with('"');
        if !self.held.is_empty() && (whole || !is_text) {
            self.sent = true;
            let delta = Delta::Arguments(std::mem::take(&mut self.held));
            place.out.push(Event::BlockDelta { block, delta });
        }
    }
}
