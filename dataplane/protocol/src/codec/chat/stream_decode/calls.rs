//! The calls of one choice while they come in pieces.
//!
//! A piece belongs to the call of its index; without an index to the call of its id, else to the last one. A new id with
//! a new name under a known index is a new call, for servers that always say 0. Arguments wait until id and name are
//! known; at the end a missing id is invented, while a missing name is an error.

use super::Blocks;
use crate::{
    codec::{
        chat::wire::{self, Call as Piece, Function},
        ids,
    },
    dialect::Family,
    ir::{BlockKind, Delta, Event, Opaque},
    problem::{Problem, ProblemKind},
};

/// Most bytes of arguments that wait for a name.
const MAX_HELD: usize = 8 << 20;

/// The calls, in order of first appearance.
#[derive(Debug, Default)]
pub struct Calls(Vec<Call>);

/// Where events of calls go.
pub struct Place<'a> {
    pub(super) blocks: &'a mut Blocks,
    pub candidate: u32,
    pub out: &'a mut Vec<Event>,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: Option<String>,
    name: Option<String>,
    state: Option<Opaque>,
    held: String,
    /// Its block, once id and name are known.
    block: Option<u32>,
}

impl Calls {
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one piece.
    pub fn push(&mut self, piece: &Piece<'_>, place: &mut Place<'_>) -> Result<(), Problem> {
        if piece.says_nothing() {
            return Ok(());
        }
        let id = piece.id.as_deref().filter(|id| !id.is_empty());
        let function = piece.function.as_ref();
        let name = function.and_then(|function| function.name.as_deref()).filter(|name| !name.is_empty());
        let call = self.find(piece.index, id, name);
        call.id = call.id.take().or_else(|| id.map(str::to_owned));
        call.name = call.name.take().or_else(|| name.map(str::to_owned));
        let google = piece.extra_content.as_ref().and_then(|extra| extra.google.as_ref());
        if let Some(value) = google.and_then(|google| google.thought_signature.as_deref()) {
            call.state = Some(Opaque { family: Family::Gemini, value: value.to_owned() });
        }
        if let Some(arguments) = function.and_then(|function| function.arguments) {
            call.held.push_str(&wire::arguments(arguments));
        }
        if call.held.len() > MAX_HELD {
            return Err(Problem::new(ProblemKind::Upstream, "the upstream sent arguments without a tool's name"));
        }
        call.release(place);
        Ok(())
    }

    /// Takes a piece of the old `function_call`, which is one call without an id.
    pub fn push_legacy(&mut self, function: &Function<'_>, seed: &str, place: &mut Place<'_>) -> Result<(), Problem> {
        let piece = Piece {
            index: Some(0),
            id: Some(ids::invented_call_id(seed, 0).into()),
            function: Some(Function { name: function.name.clone(), arguments: function.arguments }),
            extra_content: None,
        };
        self.push(&piece, place)
    }

    /// Ends all calls.
    pub fn close(&mut self, seed: &str, place: &mut Place<'_>) -> Result<(), Problem> {
        for (position, call) in self.0.iter_mut().enumerate() {
            if call.name.is_none() {
                return Err(Problem::new(ProblemKind::Upstream, "the upstream sent a tool call without a name"));
            }
            call.id.get_or_insert_with(|| ids::invented_call_id(seed, position));
            call.release(place);
            if let Some(block) = call.block {
                place.out.push(Event::BlockEnd { block });
            }
        }
        Ok(())
    }

    fn find(&mut self, index: Option<u64>, id: Option<&str>, name: Option<&str>) -> &mut Call {
        let known = match index {
            Some(index) => self.0.iter().rposition(|call| call.index == Some(index)),
            None => match id {
                Some(id) => self.0.iter().rposition(|call| call.id.as_deref() == Some(id)),
                None => self.0.len().checked_sub(1),
            },
        };
        let is_another = |call: &Call| match (id, &call.id) {
            (Some(new), Some(old)) => name.is_some() && new != old,
            _ => false,
        };
        let same = known.filter(|at| self.0.get(*at).is_some_and(|call| !is_another(call)));
        let at = same.unwrap_or(self.0.len());
        if at == self.0.len() {
            self.0.push(Call { index, ..Call::default() });
        }
        #[expect(clippy::indexing_slicing, reason = "`at` was found in the list or just pushed to it")]
        &mut self.0[at]
    }
}

impl Call {
    /// Starts the block as soon as that is possible, and sends what waits.
    fn release(&mut self, place: &mut Place<'_>) {
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
        if !self.held.is_empty() {
            let delta = Delta::Arguments(std::mem::take(&mut self.held));
            place.out.push(Event::BlockDelta { block, delta });
        }
    }
}
